/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the stream reader: its state, and what its files share.
 *
 * The reader is a table of states (reader.c). A state looks at the bytes at hand and says what it
 * found: a record of so many bytes, another state, how many bytes it must see together, or that it
 * does not understand. It changes the reader only when it answers STEP_RECORD or STEP_AGAIN, so it
 * may be asked again with more bytes. It judges bytes that are there and never their absence, so
 * the answer does not depend on how the stream was cut.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/be.h"
#include "stream/reader.h"

enum step {
	STEP_RECORD, /* the record is filled in; its length bytes are consumed */
	STEP_AGAIN,  /* nothing consumed, ask the new state */
	STEP_MORE,   /* reader->need bytes must be seen together */
	STEP_OPAQUE, /* not understood; reader->reason is set */
};

enum state {
	STATE_HEADER,
	STATE_CONFIGURATION,
	STATE_SUBSECTION,
	STATE_ELEMENT,
	STATE_FOOTER,
	STATE_RAM,
	STATE_BLOCK_ENTRY,
	STATE_BLOCK_FIELD,
	STATE_DIRTY_BITMAP,
	STATE_VFIO,
	STATE_VIRTIO_MEM,
	STATE_DESCRIPTION,
	STATE_BLOB,
	STATE_DEVICE_STATE,
	STATE_RESUMED,
	STATE_OPAQUE,
	STATE_LAST
};

/* Bytes that begin a top-level element. */
enum element {
	ELEMENT_EOF = 0x00,
	ELEMENT_START = 0x01,
	ELEMENT_PART = 0x02,
	ELEMENT_END = 0x03,
	ELEMENT_FULL = 0x04,
	ELEMENT_SUBSECTION = 0x05,
	ELEMENT_DESCRIPTION = 0x06,
	ELEMENT_CONFIGURATION = 0x07,
	ELEMENT_COMMAND = 0x08,
	ELEMENT_FOOTER = 0x7e,
};

#define COMMAND_PACKAGED 7
#define COMMAND_RECV_BITMAP 10

enum footers {
	FOOTERS_UNKNOWN, /* no section has ended yet */
	FOOTERS_SENT,
	FOOTERS_ABSENT, /* old machine types */
};

/* A section that comes in parts. */
struct section {
	uint32_t id;
	enum state payload;
	bool ended; /* its END was seen */
};

/* A long run of bytes of known length, handed on in fragments. */
struct blob {
	uint64_t left_bytes;
	enum stream_kind kind;
	enum state next; /* state after it */
	bool begun;      /* false: its first fragment begins a record */
};

/* The table of RAM blocks, with a hash of the names (open addressing, index + 1, 0: free). */
#define BLOCK_SLOTS (2 * STREAM_BLOCKS_MAX)
struct block_table {
	struct stream_block *blocks;
	uint32_t count;
	uint32_t capacity;
	uint64_t total_bytes; /* as announced */
	uint64_t sum_bytes;   /* of the entries read so far */
	bool begun;           /* a block list was seen */
	unsigned fields;      /* optional fields of the entry being read */
	uint16_t slots[BLOCK_SLOTS];
};

#define BLOCK_NONE UINT32_MAX

/* Where the ram section is. */
struct ram_place {
	uint32_t block; /* of the last page record; BLOCK_NONE at first */
	uint64_t offset;
	bool compressed; /* compressed pages were seen: the order is loose */
	bool new_pass;   /* the next page record begins a pass whatever its place */
};

struct stream_reader {
	enum state state;
	uint32_t page_bytes;
	enum footers footers;
	bool ignore_shared; /* capability x-ignore-shared: the block list carries addresses */
	bool begun_opaque;  /* a fragment of the opaque or device state tail was given */
	struct section sections[STREAM_SECTIONS_MAX];
	uint32_t section_count;
	uint32_t section_id; /* of the section being read */
	struct blob blob;
	struct ram_place ram;
	struct block_table table;
	struct stream_stats stats;
	const char *reason;

	size_t need; /* after STEP_MORE */
	const uint8_t *input;
	size_t input_length;
	size_t carry_length;
	size_t carry_given; /* bytes of the carry that the last record was made of */
	uint8_t carry[STREAM_CARRY_MAX];
};

typedef enum step state_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			     struct stream_record *record);

/* header.c */
state_step header_step, configuration_step, subsection_step;
/* section.c */
state_step element_step, footer_step, description_step;
/* command.c */
enum step command_read(struct stream_reader *reader, const uint8_t *bytes, size_t length,
		       struct stream_record *record);
/* ram.c */
state_step ram_step;
/* block.c */
state_step block_entry_step, block_field_step;
enum step block_list_begin(struct stream_reader *reader, uint64_t total_bytes,
			   struct stream_record *record);
/* Index of the block of that name, BLOCK_NONE if there is none. */
uint32_t block_find(const struct block_table *table, const uint8_t *name, size_t length);
/* other.c */
state_step dirty_bitmap_step, vfio_step, virtio_mem_step;

static inline enum step step_more(struct stream_reader *reader, size_t need)
{
	reader->need = need;
	return STEP_MORE;
}

static inline enum step step_again(struct stream_reader *reader, enum state state)
{
	reader->state = state;
	return STEP_AGAIN;
}

static inline enum step step_opaque(struct stream_reader *reader, const char *reason)
{
	reader->reason = reason;
	return STEP_OPAQUE;
}

/* A record of LENGTH bytes; the reader goes on in STATE. */
static inline enum step step_record(struct stream_reader *reader, struct stream_record *record,
				    enum stream_kind kind, size_t length, enum state state)
{
	record->kind = kind;
	record->length = length;
	reader->state = state;
	return STEP_RECORD;
}

/* The state in which LEFT_BYTES of KIND pass before NEXT. They go on the record that announced
 * them, except for a package, whose command is a record of its own. */
static inline enum state blob_begin(struct stream_reader *reader, uint64_t left_bytes,
				    enum stream_kind kind, enum state next)
{
	if (!left_bytes)
		return next;
	reader->blob = (struct blob){ left_bytes, kind, next, kind != STREAM_DEVICE_STATE };
	return STATE_BLOB;
}

static inline bool is_page_size(uint64_t bytes)
{
	return bytes >= 1024 && bytes <= STREAM_PAGE_MAX && !(bytes & (bytes - 1));
}
