/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 and zstd, on one batch or as a stream. */
#define ZSTD_STATIC_LINKING_ONLY /* magicless frames */
#include "content/codec.h"

#include <glib.h>
#include <lz4.h>
#include <string.h>
#include <zstd.h>

struct packer {
	ZSTD_CCtx *zstd;
	ZSTD_CCtx *stream;
	bool streaming; /* a stream is under way, made with `made` */
	struct codec_effort made;
	uint8_t *joined; /* LZ4 wants its input in one piece */
	size_t joined_size;
};

struct unpacker {
	ZSTD_DCtx *zstd;
	ZSTD_DCtx *stream;
	bool streaming;
};

static void set_parameter(ZSTD_CCtx *context, ZSTD_cParameter parameter, int value)
{
	size_t result = ZSTD_CCtx_setParameter(context, parameter, value);
	if (ZSTD_isError(result))
		g_error("zstd takes no parameter %d = %d: %s", (int) parameter, value,
			ZSTD_getErrorName(result));
}

static ZSTD_CCtx *context_new(void)
{
	ZSTD_CCtx *context = ZSTD_createCCtx();
	if (!context)
		g_error("no memory for a compressor");
	set_parameter(context, ZSTD_c_format, ZSTD_f_zstd1_magicless);
	set_parameter(context, ZSTD_c_contentSizeFlag, 0);
	set_parameter(context, ZSTD_c_checksumFlag, 0);
	set_parameter(context, ZSTD_c_dictIDFlag, 0);
	return context;
}

struct packer *packer_new(void)
{
	struct packer *packer = g_new0(struct packer, 1);
	packer->zstd = context_new();
	return packer;
}

void packer_free(struct packer *packer)
{
	if (!packer)
		return;
	ZSTD_freeCCtx(packer->zstd);
	ZSTD_freeCCtx(packer->stream);
	g_free(packer->joined);
	g_free(packer);
}

size_t packer_bound(size_t length)
{
	return ZSTD_compressBound(length) + 64; /* a flush ends a block early */
}

static size_t parts_length(const struct codec_part *parts, unsigned count)
{
	size_t length = 0;
	for (unsigned i = 0; i < count; i++)
		length += parts[i].length;
	return length;
}

static void join(const struct codec_part *parts, unsigned count, uint8_t *out)
{
	for (unsigned i = 0; i < count; i++) {
		if (parts[i].length)
			memcpy(out, parts[i].data, parts[i].length);
		out += parts[i].length;
	}
}

/* 0: it does not fit. */
static size_t zstd_parts(ZSTD_CCtx *context, ZSTD_EndDirective end, const struct codec_part *parts,
			 unsigned count, uint8_t *out, size_t out_max)
{
	ZSTD_outBuffer to = { out, out_max, 0 };
	for (unsigned i = 0; i < count; i++) {
		ZSTD_inBuffer from = { parts[i].data, parts[i].length, 0 };
		ZSTD_EndDirective how = i + 1 == count ? end : ZSTD_e_continue;
		size_t left;
		do
			left = ZSTD_compressStream2(context, &to, &from, how);
		while (!ZSTD_isError(left) && to.pos < to.size &&
		       (from.pos < from.size || (how != ZSTD_e_continue && left > 0)));
		if (ZSTD_isError(left) || from.pos < from.size ||
		    (how != ZSTD_e_continue && left > 0))
			return 0;
	}
	return to.pos;
}

static size_t pack_zstd(struct packer *packer, const struct codec_effort *effort,
			const struct codec_part *parts, unsigned count, uint8_t *out,
			size_t out_max)
{
	ZSTD_CCtx_reset(packer->zstd, ZSTD_reset_session_only);
	set_parameter(packer->zstd, ZSTD_c_compressionLevel, effort->level);
	/* With the size known zstd takes the tables that suit it. */
	ZSTD_CCtx_setPledgedSrcSize(packer->zstd, parts_length(parts, count));
	return zstd_parts(packer->zstd, ZSTD_e_end, parts, count, out, out_max);
}

static void begin_stream(struct packer *packer, const struct codec_effort *effort)
{
	if (!packer->stream)
		packer->stream = context_new();
	ZSTD_CCtx_reset(packer->stream, ZSTD_reset_session_only);
	set_parameter(packer->stream, ZSTD_c_compressionLevel, effort->level);
	set_parameter(packer->stream, ZSTD_c_windowLog, effort->window_log);
	set_parameter(packer->stream, ZSTD_c_enableLongDistanceMatching, effort->window_log > 21);
	packer->made = *effort;
	packer->streaming = true;
}

static size_t pack_stream(struct packer *packer, const struct codec_effort *effort,
			  const struct codec_part *parts, unsigned count, uint8_t *out,
			  size_t out_max, enum codec_method *method)
{
	*method = CODEC_STREAM;
	if (!packer->streaming || packer->made.level != effort->level ||
	    packer->made.window_log != effort->window_log) {
		begin_stream(packer, effort);
		*method = CODEC_STREAM_START;
	}
	size_t length = zstd_parts(packer->stream, ZSTD_e_flush, parts, count, out, out_max);
	packer->streaming = length > 0; /* else both sides begin anew */
	return length;
}

static size_t pack_lz4(struct packer *packer, const struct codec_part *parts, unsigned count,
		       uint8_t *out, size_t out_max)
{
	size_t length = parts_length(parts, count);
	if (length > LZ4_MAX_INPUT_SIZE || out_max > INT32_MAX)
		return 0;
	if (packer->joined_size < length) {
		g_free(packer->joined);
		packer->joined = g_malloc(length);
		packer->joined_size = length;
	}
	join(parts, count, packer->joined);
	return (size_t) LZ4_compress_default((const char *) packer->joined, (char *) out,
					     (int) length, (int) out_max);
}

static size_t pack_store(const struct codec_part *parts, unsigned count, uint8_t *out,
			 size_t out_max, enum codec_method *method)
{
	size_t length = parts_length(parts, count);
	*method = CODEC_STORE;
	if (length > out_max)
		return 0;
	join(parts, count, out);
	return length;
}

size_t packer_pack(struct packer *packer, const struct codec_effort *effort,
		   const struct codec_part *parts, unsigned count, uint8_t *out, size_t out_max,
		   enum codec_method *method)
{
	size_t length = parts_length(parts, count), packed = 0;
	size_t useful = MIN(out_max, length ? length - 1 : 0);
	if (effort->method == CODEC_STREAM && length > 0) {
		packed = pack_stream(packer, effort, parts, count, out, out_max, method);
		if (packed)
			return packed;
	} else if (effort->method == CODEC_ZSTD && useful) {
		*method = CODEC_ZSTD;
		packed = pack_zstd(packer, effort, parts, count, out, useful);
	} else if (effort->method == CODEC_LZ4 && useful) {
		*method = CODEC_LZ4;
		packed = pack_lz4(packer, parts, count, out, useful);
	}
	return packed ? packed : pack_store(parts, count, out, out_max, method);
}

/* ---- the other way ---- */

struct unpacker *unpacker_new(int window_log_max)
{
	struct unpacker *unpacker = g_new0(struct unpacker, 1);
	ZSTD_DCtx **both[] = { &unpacker->zstd, &unpacker->stream };
	for (size_t i = 0; i < G_N_ELEMENTS(both); i++) {
		ZSTD_DCtx *context = *both[i] = ZSTD_createDCtx();
		if (!context ||
		    ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_format,
							ZSTD_f_zstd1_magicless)) ||
		    ZSTD_isError(
			    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, window_log_max)))
			g_error("no decompressor");
	}
	return unpacker;
}

void unpacker_free(struct unpacker *unpacker)
{
	if (!unpacker)
		return;
	ZSTD_freeDCtx(unpacker->zstd);
	ZSTD_freeDCtx(unpacker->stream);
	g_free(unpacker);
}

static bool unpack_stream(struct unpacker *unpacker, bool start, const uint8_t *in,
			  size_t in_length, uint8_t *out, size_t length)
{
	ZSTD_inBuffer from = { in, in_length, 0 };
	ZSTD_outBuffer to = { out, length, 0 };
	if (start)
		ZSTD_DCtx_reset(unpacker->stream, ZSTD_reset_session_only);
	else if (!unpacker->streaming)
		return false;
	unpacker->streaming = false;
	while (from.pos < from.size || to.pos < to.size) {
		size_t before = from.pos + to.pos;
		size_t hint = ZSTD_decompressStream(unpacker->stream, &to, &from);
		/* 0: the stream's end, which its packer never writes */
		if (ZSTD_isError(hint) || hint == 0 || from.pos + to.pos == before)
			return false;
	}
	unpacker->streaming = true;
	return true;
}

bool unpacker_unpack(struct unpacker *unpacker, enum codec_method method, const uint8_t *in,
		     size_t in_length, uint8_t *out, size_t length)
{
	size_t result;
	switch (method) {
	case CODEC_STORE:
		if (in_length != length)
			return false;
		if (length)
			memcpy(out, in, length);
		return true;
	case CODEC_LZ4:
		return in_length <= INT32_MAX && length <= INT32_MAX &&
		       LZ4_decompress_safe((const char *) in, (char *) out, (int) in_length,
					   (int) length) == (int) length;
	case CODEC_ZSTD:
		result = ZSTD_decompressDCtx(unpacker->zstd, out, length, in, in_length);
		return !ZSTD_isError(result) && result == length;
	case CODEC_STREAM_START:
	case CODEC_STREAM:
		return unpack_stream(unpacker, method == CODEC_STREAM_START, in, in_length, out,
				     length);
	default:
		return false;
	}
}
