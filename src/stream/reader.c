/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's frame: the table of states, the carry for records split over two feeds, counters.
 *
 * A state gets the bytes straight from the caller's buffer. Only where a record is not complete in
 * it are its bytes put by in the carry, then topped up from the next feed to exactly what the
 * state asked for. So page data is copied only when a page straddles two feeds.
 */
#include <stdlib.h>
#include <string.h>
#include "base/i18n.h"
#include "stream/internal.h"

static enum step blob_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	struct blob *blob = &reader->blob;
	size_t part = length < blob->left_bytes ? length : (size_t) blob->left_bytes;
	blob->left_bytes -= part;
	record->first = !blob->begun;
	blob->begun = true;
	return step_record(reader, record, blob->kind, part,
			   blob->left_bytes ? STATE_BLOB : blob->next);
}

static enum step tail_step(struct stream_reader *reader, size_t length,
			   struct stream_record *record, enum stream_kind kind)
{
	record->first = !reader->begun_opaque;
	reader->begun_opaque = true;
	return step_record(reader, record, kind, length, reader->state);
}

static enum step device_state_step(struct stream_reader *reader, const uint8_t *bytes,
				   size_t length, struct stream_record *record)
{
	return tail_step(reader, length, record, STREAM_DEVICE_STATE);
}

/* The blocks' names and sizes were told on an earlier connection. Nothing has to be known of pages that
 * travel once. */
static enum step resumed_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			      struct stream_record *record)
{
	return tail_step(reader, length, record, STREAM_OTHER);
}

static enum step opaque_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			     struct stream_record *record)
{
	return tail_step(reader, length, record, STREAM_OPAQUE);
}

static state_step *const steps[] = {
	[STATE_HEADER] = header_step,
	[STATE_CONFIGURATION] = configuration_step,
	[STATE_SUBSECTION] = subsection_step,
	[STATE_ELEMENT] = element_step,
	[STATE_FOOTER] = footer_step,
	[STATE_RAM] = ram_step,
	[STATE_BLOCK_ENTRY] = block_entry_step,
	[STATE_BLOCK_FIELD] = block_field_step,
	[STATE_DIRTY_BITMAP] = dirty_bitmap_step,
	[STATE_VFIO] = vfio_step,
	[STATE_VIRTIO_MEM] = virtio_mem_step,
	[STATE_DESCRIPTION] = description_step,
	[STATE_BLOB] = blob_step,
	[STATE_DEVICE_STATE] = device_state_step,
	[STATE_RESUMED] = resumed_step,
	[STATE_OPAQUE] = opaque_step,
};
_Static_assert(sizeof(steps) / sizeof(steps[0]) == STATE_LAST, "a step for every state");

static const char *const kind_names[] = {
	[STREAM_HEADER] = "header",
	[STREAM_CONFIGURATION] = "configuration",
	[STREAM_COMMAND] = "command",
	[STREAM_SECTION] = "section",
	[STREAM_FOOTER] = "footer",
	[STREAM_BLOCK_LIST] = "block-list",
	[STREAM_PAGE] = "page",
	[STREAM_ZERO_PAGE] = "zero-page",
	[STREAM_XBZRLE_PAGE] = "xbzrle-page",
	[STREAM_COMPRESSED_PAGE] = "compressed-page",
	[STREAM_RAM_MARK] = "ram-mark",
	[STREAM_RAM_END] = "ram-end",
	[STREAM_OTHER] = "other",
	[STREAM_EOF] = "eof",
	[STREAM_DESCRIPTION] = "description",
	[STREAM_DEVICE_STATE] = "device-state",
	[STREAM_OPAQUE] = "opaque",
};
_Static_assert(sizeof(kind_names) / sizeof(kind_names[0]) == STREAM_KIND_LAST,
	       "a name for every kind");

struct stream_reader *stream_reader_new(void)
{
	struct stream_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		abort(); /* at start, as GLib does: the hot path allocates nothing */
	reader->page_bytes = 4096;
	reader->ram.block = BLOCK_NONE;
	reader->ram.new_pass = true;
	return reader;
}

void stream_reader_free(struct stream_reader *reader)
{
	if (!reader)
		return;
	free(reader->table.blocks);
	free(reader);
}

/* Forget the bytes of the carry that the last record was made of. */
static void carry_drop(struct stream_reader *reader)
{
	reader->carry_length -= reader->carry_given;
	if (reader->carry_length)
		memmove(reader->carry, reader->carry + reader->carry_given, reader->carry_length);
	reader->carry_given = 0;
}

/* Top the carry up to reader->need bytes; false if the input does not have as many. */
static bool carry_fill(struct stream_reader *reader)
{
	size_t part = reader->need - reader->carry_length;
	if (part > reader->input_length)
		part = reader->input_length;
	if (!part)
		return false;
	memcpy(reader->carry + reader->carry_length, reader->input, part);
	reader->carry_length += part;
	reader->input += part;
	reader->input_length -= part;
	return reader->carry_length == reader->need;
}

void stream_reader_feed(struct stream_reader *reader, const uint8_t *data, size_t length)
{
	if (reader->carry_given)
		carry_drop(reader);
	reader->input = data;
	reader->input_length = length;
}

static void count_record(struct stream_stats *stats, const struct stream_record *record)
{
	stats->bytes += record->length;
	stats->records[record->kind] += record->first;
	stats->kind_bytes[record->kind] += record->length;
}

/* Whatever comes behind the package, but for the command that announced it. */
static void note_commit(struct stream_stats *stats, const struct stream_record *record)
{
	bool package = record->kind == STREAM_DEVICE_STATE ||
		       (record->kind == STREAM_COMMAND && record->value == COMMAND_PACKAGED);
	stats->committed |= stats->postcopy && !package;
}

static void consume(struct stream_reader *reader, size_t length)
{
	if (reader->carry_length) {
		reader->carry_given = length;
		return;
	}
	reader->input += length;
	reader->input_length -= length;
}

static void go_opaque(struct stream_reader *reader)
{
	reader->state = STATE_OPAQUE;
	reader->begun_opaque = false;
}

bool stream_reader_next(struct stream_reader *reader, struct stream_record *record)
{
	if (reader->carry_given)
		carry_drop(reader);
	for (;;) {
		bool carried = reader->carry_length > 0;
		const uint8_t *bytes = carried ? reader->carry : reader->input;
		size_t length = carried ? reader->carry_length : reader->input_length;
		if (!length)
			return false;
		*record = (struct stream_record){ .bytes = bytes, .first = true };
		switch (steps[reader->state](reader, bytes, length, record)) {
		case STEP_RECORD:
			count_record(&reader->stats, record);
			note_commit(&reader->stats, record);
			consume(reader, record->length);
			return true;
		case STEP_AGAIN:
			break;
		case STEP_MORE:
			if (reader->need > STREAM_CARRY_MAX) {
				reader->reason = N_("a record longer than any that QEMU sends");
				go_opaque(reader);
			} else if (!carry_fill(reader)) {
				return false;
			}
			break;
		case STEP_OPAQUE:
			go_opaque(reader);
			break;
		}
	}
}

size_t stream_reader_flush(struct stream_reader *reader, const uint8_t **bytes)
{
	carry_drop(reader);
	*bytes = reader->carry;
	reader->carry_given = reader->carry_length;
	if (!reader->carry_length)
		return 0;
	if (!reader->reason)
		reader->reason = N_("the stream ends within a record");
	go_opaque(reader);
	reader->begun_opaque = true;
	count_record(&reader->stats, &(struct stream_record){ .kind = STREAM_OPAQUE,
							      .length = reader->carry_length,
							      .first = true });
	return reader->carry_length;
}

const struct stream_stats *stream_reader_stats(const struct stream_reader *reader)
{
	return &reader->stats;
}

const char *stream_reader_opaque_reason(const struct stream_reader *reader)
{
	return reader->reason;
}

uint32_t stream_reader_page_size(const struct stream_reader *reader)
{
	return reader->page_bytes;
}

const struct stream_block *stream_reader_block(const struct stream_reader *reader, uint32_t index)
{
	return index < reader->table.count ? &reader->table.blocks[index] : NULL;
}

const char *stream_kind_name(enum stream_kind kind)
{
	return (unsigned) kind < STREAM_KIND_LAST ? kind_names[kind] : "unknown";
}
