/* SPDX-License-Identifier: Apache-2.0 */
/* The general-purpose compressors behind one face: nothing, LZ4, zstd on one batch alone, and zstd
 * as an endless stream whose window reaches over earlier batches (with long-distance matching).
 *
 * A stream is worth it where the link is slow: on a warm Debian guest a window of 32 MiB takes
 * level 3 from 3.17 to 3.47 times smaller, for half the speed. Its batches can only be unpacked in
 * order; each stream has a context of its own on both sides, and starts again whenever level or
 * window change.
 *
 * zstd frames are magicless, without content size and checksum: the link's frame tag covers them.
 *
 * Thread rules: one context belongs to one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* On the wire: never renumber. */
enum codec_method {
	CODEC_STORE = 0,
	CODEC_LZ4 = 1,
	CODEC_ZSTD = 2,
	CODEC_STREAM_START = 3, /* the first batch of a stream */
	CODEC_STREAM = 4,
	CODEC_METHOD_LAST
};

#define CODEC_WINDOW_LOG_MIN 18
#define CODEC_WINDOW_LOG_MAX 27 /* what the receiver takes: 128 MiB */

/* How hard to try. */
struct codec_effort {
	enum codec_method method; /* CODEC_STREAM: begins one by itself when needed */
	int level;                /* zstd's */
	int window_log;           /* of a stream */
};

struct codec_part {
	const void *data;
	size_t length;
};

struct packer;
struct packer *packer_new(void);
void packer_free(struct packer *packer);
/* Pack the PARTS, in order, into OUT. Returns the bytes written and says in *METHOD how. Where it
 * gains nothing (OUT_MAX included) the parts are stored, if OUT_MAX allows, else 0; a stream goes on
 * all the same, its output may be a little longer than the parts together. */
size_t packer_pack(struct packer *packer, const struct codec_effort *effort,
		   const struct codec_part *parts, unsigned count, uint8_t *out, size_t out_max,
		   enum codec_method *method);
/* Most bytes packer_pack() writes for LENGTH bytes. */
size_t packer_bound(size_t length);

struct unpacker;
/* Refuses windows above WINDOW_LOG_MAX. */
struct unpacker *unpacker_new(int window_log_max);
void unpacker_free(struct unpacker *unpacker);
/* Exactly LENGTH bytes come out, or it returns false (damaged input); all of IN is used. */
bool unpacker_unpack(struct unpacker *unpacker, enum codec_method method, const uint8_t *in,
		     size_t in_length, uint8_t *out, size_t length);
