/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an image while something else may write to it: a raw image as it is; any other format through the
 * NBD export of a QEMU that has it open, or by a qemu-nbd of its own.
 *
 * What is read is what was completely written when the call began, and with a qemu-nbd of its own maybe
 * something older or none at all: the caller checks whether it is what he wants.
 *
 * Thread rules: any thread. Errors: WATARI_ERROR_INTERNAL; they name the disk.
 */
#pragma once
#include "nbd/dial.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct disk_reader_config {
	const char *socket, *export; /* of a server that has it; NULL: PATH is opened */
	disk_dial dial;              /* connects to the socket; NULL: the library does */
	void *dial_data;
	const char *path, *format; /* never guessed: what FORMAT says is what is opened */
	const char *disk;          /* for messages: "vda" */
};

struct disk_piece {
	uint64_t offset;
	uint32_t length;
	uint8_t *data;
};

/* Is it the name of a format at all? It becomes a part of qemu-nbd's list of options. */
bool disk_reader_is_format(const char *word);

/* How qemu-nbd is started: as each of WORDS, ended by NULL, an argument vector that is put before its own; the next one where
 * the image cannot be opened that way. Nothing is said before: it is started as it is. Once, before there are threads. */
void disk_reader_start_by(char **const *words);

struct disk_reader;
struct disk_reader *disk_reader_open(const struct disk_reader_config *config, GError **error);
void disk_reader_free(struct disk_reader *reader);
uint64_t disk_reader_size(const struct disk_reader *reader);
/* All PIECES, as many at a time as the way allows. */
bool disk_reader_read(struct disk_reader *reader, const struct disk_piece *pieces, unsigned count,
		      GError **error);
/* The next piece from OFFSET on that is not a hole: its start and its end, which is behind OFFSET; both are
 * the size when there is none. */
bool disk_reader_find_data(struct disk_reader *reader, uint64_t offset, uint64_t *start,
			   uint64_t *end, GError **error);
