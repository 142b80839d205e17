/* SPDX-License-Identifier: Apache-2.0 */
/* Reads blocks of an image at the destination while something else writes to it: a raw image as it is, any
 * other format through an NBD export of the QEMU that has it open.
 *
 * What is read is what was completely written when the call began; the caller checks whether it is
 * what he wants. Thread rules: any thread. Errors: WATARI_ERROR_INTERNAL; they name the disk.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct disk_reader_config {
	const char *path;   /* of a raw image; NULL: through the export */
	const char *socket; /* path of the server's unix socket, and the name there */
	const char *export;
	const char *disk; /* for messages: "vda" */
};

struct disk_piece {
	uint64_t offset;
	uint32_t length;
	uint8_t *data;
};

struct disk_reader;
struct disk_reader *disk_reader_open(const struct disk_reader_config *config, GError **error);
void disk_reader_free(struct disk_reader *reader);
/* All PIECES, as many at a time as the way allows. */
bool disk_reader_read(struct disk_reader *reader, const struct disk_piece *pieces, unsigned count,
		      GError **error);
