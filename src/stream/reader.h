/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a QEMU migration stream (source to destination) and says what each byte belongs to.
 *
 * Purpose: everything that treats pages differently from device state stands on this. The format
 * is described in docs/qemu-stream.md.
 *
 * A pull-style object that knows no network and no clock: feed it bytes, then take records until
 * it wants more. The `bytes` of all records, one after the other, are exactly the bytes fed, for
 * any chunking. What it does not understand becomes STREAM_OPAQUE from that byte to the end of the
 * stream: the reader never fails and never drops a byte. Driven by the bytes it sees, never by a
 * version string.
 *
 * Records come as early as they can: the reader holds back only the bytes of a record that is not
 * complete yet, never one that is. A page record always comes whole.
 *
 * Memory: sizeof(reader) + STREAM_CARRY_MAX + a bounded table of RAM blocks (STREAM_BLOCKS_MAX).
 * Thread rules: one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_BLOCKS_MAX 4096  /* RAM blocks of one VM; more: opaque */
#define STREAM_SECTIONS_MAX 256 /* sections that come in parts (ram, vfio, ...); more: opaque */
#define STREAM_PAGE_MAX 65536   /* largest target page */
#define STREAM_CARRY_MAX (STREAM_PAGE_MAX + 4096) /* longest record that comes whole */

enum stream_kind {
	STREAM_HEADER,        /* magic and version */
	STREAM_CONFIGURATION, /* machine name and its subsections */
	STREAM_COMMAND,       /* a QEMU_VM_COMMAND; `value` is its number */
	STREAM_SECTION,       /* head of a START, PART, END or FULL section; `value` is its id */
	STREAM_FOOTER,
	STREAM_BLOCK_LIST, /* MEM_SIZE: the table of RAM blocks is complete after it */
	STREAM_PAGE,       /* flags word (and name) with the whole page; `page` points at it */
	STREAM_ZERO_PAGE,
	STREAM_XBZRLE_PAGE,
	STREAM_COMPRESSED_PAGE,
	STREAM_RAM_MARK,    /* MULTIFD_FLUSH */
	STREAM_RAM_END,     /* EOS: the ram section's payload is complete */
	STREAM_OTHER,       /* payload of another section that is understood (dirty-bitmap, vfio) */
	STREAM_EOF,         /* end of the section list */
	STREAM_DESCRIPTION, /* vmdescription, where it follows something that was understood */
	STREAM_DEVICE_STATE, /* from the first FULL section after ram END to the end: opaque by
			      * nature; in postcopy the package, after which the reader is in step
			      * again */
	STREAM_OPAQUE,       /* not understood from here on; `reason` of the reader says why */
	STREAM_KIND_LAST
};

struct stream_record {
	enum stream_kind kind;
	const uint8_t *bytes; /* this record or fragment; valid until the next feed or next. In a
			       * page record it points into the data fed unless the record was split
			       * over two feeds */
	size_t length;
	const uint8_t *page; /* STREAM_PAGE: its content (page_size bytes), else NULL */
	uint32_t block;      /* page-like records: index into the block table */
	uint64_t offset;     /* page-like records: bytes into the block */
	uint32_t value;
	bool first; /* first fragment of its record (long records come in fragments) */
};

struct stream_block {
	char name[256];
	uint64_t used_bytes;
};

/* Counters; all since the start of the stream. */
struct stream_stats {
	uint64_t bytes;
	uint64_t records[STREAM_KIND_LAST];
	uint64_t kind_bytes[STREAM_KIND_LAST];
	uint64_t iterations; /* passes over RAM seen: 1 in the first; counted where the (block,
			      * offset) order starts again; see reader.c for the rule and its limits
			      */
	bool stopped;        /* the head of ram END was seen: the VM is stopped at the source */
	bool switching; /* the switch to post-copy has begun: the VM is stopped at the source */
	bool postcopy;  /* POSTCOPY_LISTEN or a PACKAGED command was seen */
	bool committed; /* something follows the package: the source's QEMU did not fail in
			      * sending it, and will not run the VM again by itself */
	bool resumed;   /* the stream of a post-copy recovery, which has no header */
};

struct stream_reader;
struct stream_reader *stream_reader_new(void);
void stream_reader_free(struct stream_reader *reader);

/* Give the reader DATA; it stays owned by the caller and must not change until next() has
 * returned false. Only one feed may be outstanding. */
void stream_reader_feed(struct stream_reader *reader, const uint8_t *data, size_t length);
/* The next record; false when more data is needed. */
bool stream_reader_next(struct stream_reader *reader, struct stream_record *record);
/* At the end of input: the bytes of an unfinished record that are still carried; valid until the
 * next call. They count as STREAM_OPAQUE; what is fed after that is opaque as well. */
size_t stream_reader_flush(struct stream_reader *reader, const uint8_t **bytes);

const struct stream_stats *stream_reader_stats(const struct stream_reader *reader);
/* Why the reader went opaque, or NULL. A constant string, marked for translation: show it with _().
 */
const char *stream_reader_opaque_reason(const struct stream_reader *reader);
/* Target page size in bytes: 4096 until the stream says another one. */
uint32_t stream_reader_page_size(const struct stream_reader *reader);
/* The RAM blocks by index, NULL past the end. Stable once the first page record has come. */
const struct stream_block *stream_reader_block(const struct stream_reader *reader, uint32_t index);
const char *stream_kind_name(enum stream_kind kind);
