/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a disk at the destination: operations in the order in which the guest made them, through
 * libnbd, to the export of the destination's QEMU (or of qemu-nbd).
 *
 * Several operations are under way at a time, but never two that touch the same bytes: NBD does not
 * order them, and the guest's second write must win. A call blocks while there are OPS_MAX operations
 * or BYTES_MAX bytes under way, or one that overlaps.
 *
 * What was written is flushed once a second in the background, so that the last flush, which has the
 * guest standing still, has little left to do.
 *
 * An operation may fail after its call has returned. The first failure is kept, and every later call
 * fails with it: nothing is ever lost silently.
 *
 * Memory: BYTES_MAX, or one operation if that is longer. Thread rules: one thread at a time.
 * Errors: WATARI_ERROR_INTERNAL; they name the disk.
 */
#pragma once
#include "nbd/dial.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define DISK_WRITER_FLUSH_US 1000000
#define DISK_WRITER_WRITE_MAX (2 * 1024 * 1024) /* of one write or read */

struct disk_writer_config {
	const char *socket; /* path of the server's unix socket */
	disk_dial dial;     /* connects to it; NULL: the library does */
	void *dial_data;
	const char *export; /* name there */
	const char *disk;   /* for messages: "vda" */
	unsigned ops_max;   /* at least 1 */
	uint64_t bytes_max;
};

struct disk_writer;
struct disk_writer *disk_writer_open(const struct disk_writer_config *config, GError **error);
uint64_t disk_writer_size(const struct disk_writer *writer);

/* Takes DATA (g_malloc). */
bool disk_writer_write(struct disk_writer *writer, uint64_t offset, uint8_t *data, uint64_t length,
		       GError **error);
/* NO_HOLE: the room must be there afterwards. */
bool disk_writer_zero(struct disk_writer *writer, uint64_t offset, uint64_t length, bool no_hole,
		      GError **error);
/* What is there afterwards is undefined. */
bool disk_writer_trim(struct disk_writer *writer, uint64_t offset, uint64_t length, GError **error);
/* What was written before, whether or not it has arrived. */
bool disk_writer_read(struct disk_writer *writer, uint64_t offset, void *data, uint64_t length,
		      GError **error);
/* All of it is on stable storage. */
bool disk_writer_flush(struct disk_writer *writer, GError **error);
/* Takes in what has become of operations, and flushes in the background when it is time: to be called
 * now and then while there is nothing else to do. Never blocks. */
bool disk_writer_tick(struct disk_writer *writer, GError **error);
/* Nothing is under way, and everything is flushed. */
bool disk_writer_is_idle(const struct disk_writer *writer);
unsigned disk_writer_under_way(const struct disk_writer *writer);

/* A flush, and an orderly end. Without it the server only sees that we are gone. */
bool disk_writer_close(struct disk_writer *writer, GError **error);
void disk_writer_free(struct disk_writer *writer);
