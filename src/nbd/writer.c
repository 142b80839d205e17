/* SPDX-License-Identifier: Apache-2.0 */
/* Writes operations on a disk through libnbd, in order. */
#include "nbd/writer.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"

#include <errno.h>
#include <inttypes.h>
#include <libnbd.h>

#define CLEAR_MAX (1ull << 30) /* bytes in one request, which has 32 bits for them */

/* An operation that is under way. */
struct op {
	struct disk_writer *writer;
	uint64_t offset, length, bytes; /* bytes: of memory */
	uint8_t *data;
	bool used, flush;
};

struct disk_writer {
	struct nbd_handle *nbd;
	char *disk;
	uint64_t size, bytes_max;
	bool can_trim;

	struct op *ops; /* ops_max of them */
	unsigned ops_max, ops_used;
	uint64_t bytes_used;

	bool dirty;    /* something was written since the last flush began */
	bool flushing; /* in the background */
	int64_t flushed_us;
	int reason; /* errno of the first failure, 0: none */
};

/* ---- failures ---- */

/* Of the library's last call in this thread. */
static bool fail_library(const struct disk_writer *writer, GError **error)
{
	const char *told = nbd_get_error();
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("disk %s at the destination: %s"),
			 writer->disk, told ? told : g_strerror(nbd_get_errno()));
}

static bool fail_kept(const struct disk_writer *writer, GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL,
			 writer->reason == ENOSPC ? _("Make room at the destination.") : NULL,
			 _("disk %s at the destination: %s"), writer->disk,
			 g_strerror(writer->reason));
}

static void keep_failure(struct disk_writer *writer, int reason)
{
	if (!writer->reason)
		writer->reason = reason ? reason : EIO;
}

/* ---- operations under way ---- */

static void op_free(void *data)
{
	struct op *op = data;
	struct disk_writer *writer = op->writer;
	writer->bytes_used -= op->bytes;
	writer->ops_used--;
	if (op->flush)
		writer->flushing = false;
	g_free(op->data);
	*op = (struct op){ 0 };
}

/* The library calls it in the middle of our own calls; the answer: this one is done with. */
static int op_done(void *data, int *reason)
{
	struct op *op = data;
	if (*reason)
		keep_failure(op->writer, *reason);
	return 1;
}

static bool overlaps(const struct disk_writer *writer, uint64_t offset, uint64_t length)
{
	for (unsigned i = 0; i < writer->ops_max && length > 0; i++) {
		const struct op *op = &writer->ops[i];
		if (op->used && offset < op->offset + op->length && op->offset < offset + length)
			return true;
	}
	return false;
}

/* TIMEOUT_MS as poll has it. */
static bool make_progress(struct disk_writer *writer, int timeout_ms, GError **error)
{
	if (!writer->reason && nbd_poll(writer->nbd, timeout_ms) < 0) {
		keep_failure(writer, nbd_get_errno());
		return fail_library(writer, error);
	}
	return !writer->reason || fail_kept(writer, error);
}

static bool wait_for_room(struct disk_writer *writer, uint64_t offset, uint64_t length,
			  uint64_t bytes, GError **error)
{
	while (!writer->reason && writer->ops_used > 0 &&
	       (writer->ops_used == writer->ops_max ||
		writer->bytes_used + bytes > writer->bytes_max || overlaps(writer, offset, length)))
		if (!make_progress(writer, -1, error))
			return false;
	return !writer->reason || fail_kept(writer, error);
}

static struct op *op_begin(struct disk_writer *writer, uint64_t offset, uint64_t length,
			   uint8_t *data)
{
	struct op *op = writer->ops;
	while (op->used)
		op++;
	*op = (struct op){ .writer = writer,
			   .offset = offset,
			   .length = length,
			   .bytes = data ? length : 0,
			   .data = data,
			   .used = true };
	writer->ops_used++;
	writer->bytes_used += op->bytes;
	return op;
}

static nbd_completion_callback when_done(struct op *op)
{
	return (nbd_completion_callback){ .callback = op_done, .user_data = op, .free = op_free };
}

/* COOKIE: of the library; it has freed the operation already if it took none. */
static bool op_issued(struct disk_writer *writer, int64_t cookie, GError **error)
{
	if (cookie >= 0)
		return true;
	keep_failure(writer, nbd_get_errno());
	return fail_library(writer, error);
}

/* ---- the operations ---- */

static bool check_range(const struct disk_writer *writer, uint64_t offset, uint64_t length,
			GError **error)
{
	if (offset <= writer->size && length <= writer->size - offset)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("disk %s: %" PRIu64 " bytes at %" PRIu64 " are beyond its end"),
			 writer->disk, length, offset);
}

bool disk_writer_write(struct disk_writer *writer, uint64_t offset, uint8_t *data, uint64_t length,
		       GError **error)
{
	g_assert(length > 0 && length <= DISK_WRITER_WRITE_MAX);
	if (!check_range(writer, offset, length, error) ||
	    !wait_for_room(writer, offset, length, length, error)) {
		g_free(data);
		return false;
	}
	struct op *op = op_begin(writer, offset, length, data);
	writer->dirty = true;
	return op_issued(
		writer, nbd_aio_pwrite(writer->nbd, data, length, offset, when_done(op), 0), error);
}

typedef int64_t (*clear_call)(struct nbd_handle *, uint64_t count, uint64_t offset,
			      nbd_completion_callback, uint32_t flags);

static bool clear_operation(struct disk_writer *writer, clear_call call, uint32_t flags,
			    uint64_t offset, uint64_t length, GError **error)
{
	if (!check_range(writer, offset, length, error))
		return false;
	while (length > 0) {
		uint64_t piece = MIN(length, CLEAR_MAX);
		if (!wait_for_room(writer, offset, piece, 0, error))
			return false;
		struct op *op = op_begin(writer, offset, piece, NULL);
		writer->dirty = true;
		if (!op_issued(writer, call(writer->nbd, piece, offset, when_done(op), flags),
			       error))
			return false;
		offset += piece;
		length -= piece;
	}
	return true;
}

bool disk_writer_zero(struct disk_writer *writer, uint64_t offset, uint64_t length, bool no_hole,
		      GError **error)
{
	return clear_operation(writer, nbd_aio_zero, no_hole ? LIBNBD_CMD_FLAG_NO_HOLE : 0, offset,
			       length, error);
}

bool disk_writer_trim(struct disk_writer *writer, uint64_t offset, uint64_t length, GError **error)
{
	if (!writer->can_trim)
		return check_range(writer, offset, length, error);
	return clear_operation(writer, nbd_aio_trim, 0, offset, length, error);
}

bool disk_writer_read(struct disk_writer *writer, uint64_t offset, void *data, uint64_t length,
		      GError **error)
{
	g_assert(length > 0 && length <= DISK_WRITER_WRITE_MAX);
	if (!check_range(writer, offset, length, error) ||
	    !wait_for_room(writer, offset, length, 0, error))
		return false;
	if (nbd_pread(writer->nbd, data, length, offset, 0) == 0)
		return !writer->reason || fail_kept(writer, error);
	keep_failure(writer, nbd_get_errno());
	return fail_library(writer, error);
}

static bool begin_flush(struct disk_writer *writer, GError **error)
{
	struct op *op = op_begin(writer, 0, 0, NULL);
	op->flush = writer->flushing = true;
	writer->dirty = false;
	writer->flushed_us = clock_now_us();
	return op_issued(writer, nbd_aio_flush(writer->nbd, when_done(op), 0), error);
}

/* A flush covers what was answered before it was asked for: so first everything, then the flush. */
bool disk_writer_flush(struct disk_writer *writer, GError **error)
{
	while (writer->ops_used > 0)
		if (!make_progress(writer, -1, error))
			return false;
	if (writer->reason)
		return fail_kept(writer, error);
	if (!begin_flush(writer, error))
		return false;
	while (writer->ops_used > 0)
		if (!make_progress(writer, -1, error))
			return false;
	return !writer->reason || fail_kept(writer, error);
}

bool disk_writer_tick(struct disk_writer *writer, GError **error)
{
	if (!make_progress(writer, 0, error))
		return false;
	bool due = clock_now_us() - writer->flushed_us >= DISK_WRITER_FLUSH_US;
	if (!writer->dirty || writer->flushing || !due || writer->ops_used == writer->ops_max)
		return true;
	return begin_flush(writer, error);
}

bool disk_writer_is_idle(const struct disk_writer *writer)
{
	return writer->ops_used == 0 && !writer->dirty && !writer->reason;
}

unsigned disk_writer_under_way(const struct disk_writer *writer)
{
	return writer->ops_used;
}

/* ---- life ---- */

static bool connect_export(struct disk_writer *writer, const struct disk_writer_config *config,
			   GError **error)
{
	struct nbd_handle *nbd = writer->nbd;
	int fd = config->dial ? config->dial(config->socket, config->dial_data, error) : -1;
	if (config->dial && fd < 0)
		return false;
	if (nbd_set_export_name(nbd, config->export) < 0 ||
	    (config->dial ? nbd_connect_socket(nbd, fd) : nbd_connect_unix(nbd, config->socket)) <
		    0)
		return fail_library(writer, error);
	int64_t size = nbd_get_size(nbd);
	int read_only = nbd_is_read_only(nbd), flush = nbd_can_flush(nbd);
	int zero = nbd_can_zero(nbd);
	if (size < 0 || read_only < 0 || flush < 0 || zero < 0)
		return fail_library(writer, error);
	if (read_only || !flush || !zero)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("disk %s at the destination: its NBD export cannot be written, "
				   "flushed or zeroed"),
				 writer->disk);
	writer->size = (uint64_t) size;
	writer->can_trim = nbd_can_trim(nbd) > 0;
	return true;
}

struct disk_writer *disk_writer_open(const struct disk_writer_config *config, GError **error)
{
	struct disk_writer *writer = g_new0(struct disk_writer, 1);
	writer->disk = g_strdup(config->disk);
	writer->ops_max = MAX(config->ops_max, 1);
	writer->bytes_max = config->bytes_max;
	writer->ops = g_new0(struct op, writer->ops_max);
	writer->flushed_us = clock_now_us();
	writer->nbd = nbd_create();
	if (writer->nbd ? connect_export(writer, config, error) : fail_library(writer, error))
		return writer;
	disk_writer_free(writer);
	return NULL;
}

uint64_t disk_writer_size(const struct disk_writer *writer)
{
	return writer->size;
}

bool disk_writer_close(struct disk_writer *writer, GError **error)
{
	if (!disk_writer_flush(writer, error))
		return false;
	return nbd_shutdown(writer->nbd, 0) == 0 || fail_library(writer, error);
}

void disk_writer_free(struct disk_writer *writer)
{
	if (!writer)
		return;
	nbd_close(writer->nbd); /* frees the operations, too */
	g_free(writer->ops);
	g_free(writer->disk);
	g_free(writer);
}
