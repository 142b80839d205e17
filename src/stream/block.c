/* SPDX-License-Identifier: Apache-2.0 */
/* MEM_SIZE: the list of RAM blocks, and finding a block by its name.
 *
 * An entry is: u8 n, n bytes name, u64 used bytes, then up to two u64 that nothing announces: the
 * page size of the block (postcopy, huge pages) and its guest physical address (x-ignore-shared).
 * They show themselves. What can follow an entry is
 *   - the name of the next one, whose length is never 0, while these fields are below 2^56 and so
 *     begin with a 0 byte;
 *   - or, once the lengths add up to the total, a record word, which has a flag in its low bits,
 *     while page sizes and addresses are multiples of the page size.
 * So no reading has to be tried and taken back, and an entry can be handed on when it is complete.
 */
#include <stdlib.h>
#include <string.h>
#include "base/i18n.h"
#include "stream/internal.h"

static uint32_t name_hash(const uint8_t *name, size_t length)
{
	uint32_t hash = 2166136261U; /* FNV-1a */
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ name[i]) * 16777619U;
	return hash % BLOCK_SLOTS;
}

static bool block_is(const struct stream_block *block, const uint8_t *name, size_t length)
{
	return !memcmp(block->name, name, length) && !block->name[length];
}

/* The slot of the name, or the free one where it belongs. At most half of the slots are used. */
static uint32_t slot_find(const struct block_table *table, const uint8_t *name, size_t length)
{
	uint32_t slot = name_hash(name, length);
	while (table->slots[slot] &&
	       !block_is(&table->blocks[table->slots[slot] - 1], name, length))
		slot = (slot + 1) % BLOCK_SLOTS;
	return slot;
}

uint32_t block_find(const struct block_table *table, const uint8_t *name, size_t length)
{
	uint16_t index = table->slots[slot_find(table, name, length)];
	return index ? index - 1U : BLOCK_NONE;
}

static bool table_grow(struct block_table *table)
{
	if (table->count < table->capacity)
		return true;
	uint32_t capacity = table->capacity ? 2 * table->capacity : 32;
	struct stream_block *blocks = realloc(table->blocks, capacity * sizeof(*blocks));
	if (!blocks)
		return false;
	table->blocks = blocks;
	table->capacity = capacity;
	return true;
}

/* NULL, or why it cannot be added. */
static const char *table_add(struct block_table *table, const uint8_t *name, size_t length,
			     uint64_t used_bytes)
{
	if (!length || memchr(name, 0, length))
		return N_("a RAM block without a proper name");
	if (used_bytes > table->total_bytes - table->sum_bytes)
		return N_("RAM blocks that do not add up");
	if (table->count == STREAM_BLOCKS_MAX)
		return N_("more RAM blocks than the reader keeps");
	uint32_t slot = slot_find(table, name, length);
	if (table->slots[slot])
		return N_("two RAM blocks of one name");
	if (!table_grow(table))
		return N_("no memory for the table of RAM blocks");
	struct stream_block *block = &table->blocks[table->count];
	*block = (struct stream_block){ .used_bytes = used_bytes };
	memcpy(block->name, name, length);
	table->sum_bytes += used_bytes;
	table->slots[slot] = (uint16_t) ++table->count;
	return NULL;
}

enum step block_list_begin(struct stream_reader *reader, uint64_t total_bytes,
			   struct stream_record *record)
{
	if (reader->table.begun)
		return step_opaque(reader, N_("a second list of RAM blocks"));
	reader->table.begun = true;
	reader->table.total_bytes = total_bytes;
	return step_record(reader, record, STREAM_BLOCK_LIST, 8,
			   total_bytes ? STATE_BLOCK_ENTRY : STATE_RAM);
}

enum step block_entry_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	size_t entry = 1U + bytes[0] + 8U;
	if (length < entry)
		return step_more(reader, entry);
	const char *reason =
		table_add(&reader->table, bytes + 1, bytes[0], be_get64(bytes + 1 + bytes[0]));
	if (reason)
		return step_opaque(reader, reason);
	reader->table.fields = 0;
	record->first = false;
	return step_record(reader, record, STREAM_BLOCK_LIST, entry, STATE_BLOCK_FIELD);
}

/* No (further) field: the next entry, or the next record of the section. */
static enum step fields_end(struct stream_reader *reader, bool complete)
{
	if (reader->ignore_shared && !reader->table.fields)
		return step_opaque(reader, N_("a RAM block without the address announced"));
	return step_again(reader, complete ? STATE_RAM : STATE_BLOCK_ENTRY);
}

enum step block_field_step(struct stream_reader *reader, const uint8_t *bytes, size_t length,
			   struct stream_record *record)
{
	bool complete = reader->table.sum_bytes == reader->table.total_bytes;
	unsigned fields_max = reader->ignore_shared ? 2 : 1;
	if (bytes[0] || reader->table.fields == fields_max)
		return fields_end(reader, complete);
	if (length < 8)
		return step_more(reader, 8);
	uint64_t value = be_get64(bytes);
	if (value & (reader->page_bytes - 1))
		return fields_end(reader, complete);
	if (!reader->ignore_shared && (!value || value & (value - 1)))
		return step_opaque(reader, N_("a RAM block with an impossible page size"));
	reader->table.fields++;
	record->first = false;
	return step_record(reader, record, STREAM_BLOCK_LIST, 8, STATE_BLOCK_FIELD);
}
