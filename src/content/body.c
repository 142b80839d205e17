/* SPDX-License-Identifier: Apache-2.0 */
/* Writes and reads the body of a frame. */
#include "content/body.h"

#include <glib.h>
#include <string.h>

#define RUN_BLOCK 7
#define HEAD_MAX 32
#define SHORT_TAG sizeof(uint64_t)

_Static_assert(ITEM_KIND_LAST <= RUN_BLOCK, "three bits hold the kind of a run");

struct body *body_new(void)
{
	struct body *body = g_new0(struct body, 1);
	body->table = g_malloc(BODY_TABLE_MAX);
	return body;
}

void body_free(struct body *body)
{
	if (!body)
		return;
	g_free(body->table);
	g_free(body);
}

bool body_fits(const struct batch *batch)
{
	uint32_t pieces = 0;
	for (uint32_t i = 0; i < batch->count; i++)
		pieces +=
			batch->items[i].kind == ITEM_BYTES || batch->items[i].kind == ITEM_LITERAL;
	return batch->body + HEAD_MAX <= BATCH_BODY_MAX && pieces + 3 <= BODY_PARTS_MAX;
}

/* ---- writing ---- */

static void put_byte(struct body *body, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		body->table[body->table_length++] = (uint8_t) (value | 0x80);
	body->table[body->table_length++] = (uint8_t) value;
}

static void put_signed(struct body *body, uint64_t distance)
{
	put_byte(body, distance << 1 ^ -(distance >> 63));
}

/* Where the numbers in the table are counted from. */
struct place_in_table {
	uint32_t block;
	uint64_t next_page;
	uint32_t next_place;
};

static bool has_place(enum item_kind kind)
{
	return kind == ITEM_REFERENCE || kind == ITEM_DELTA || kind == ITEM_DISK;
}

/* How many items from FIRST on make one run. */
static uint32_t run_of_zeros(const struct batch *batch, uint32_t first)
{
	const struct item *items = batch->items;
	uint32_t n = 1;
	if (items[first].kind == ITEM_BYTES || items[first].kind == ITEM_ZERO)
		return 1;
	while (first + n < batch->count && items[first + n].kind == items[first].kind &&
	       items[first + n].block == items[first].block &&
	       items[first + n].page == items[first].page + n)
		n++;
	return n;
}

static void put_bytes(struct body *body, const struct item *item)
{
	put_byte(body, (uint64_t) item->length << 3 | ITEM_BYTES);
	put_byte(body, item->block == BATCH_NO_BLOCK ? 0 : (uint64_t) item->block + 1);
}

static void put_run(struct body *body, const struct item *items, uint32_t n,
		    struct place_in_table *at)
{
	uint32_t count = items->kind == ITEM_ZERO ? items->count : n;
	if (items->block != at->block)
		put_byte(body, (uint64_t) items->block << 3 | RUN_BLOCK);
	at->block = items->block;
	put_byte(body, (uint64_t) count << 3 | items->kind);
	put_signed(body, items->page - at->next_page);
	at->next_page = items->page + count;
	for (uint32_t i = 0; has_place(items->kind) && i < n; i++) {
		put_signed(body, (uint64_t) items[i].place - at->next_place);
		at->next_place = items[i].place + 1;
		if (items->kind == ITEM_DELTA)
			put_byte(body, items[i].length);
	}
}

static void put_table(struct body *body, const struct batch *batch)
{
	struct place_in_table at = { 0 };
	for (uint32_t i = 0; i < batch->count;) {
		uint32_t n = run_of_zeros(batch, i);
		if (batch->items[i].kind == ITEM_BYTES)
			put_bytes(body, &batch->items[i]);
		else
			put_run(body, &batch->items[i], n, &at);
		i += n;
	}
}

static void add_part(struct body *body, const void *data, size_t length)
{
	struct codec_part *last = body->part_count ? &body->parts[body->part_count - 1] : NULL;
	body->length += length;
	if (!length)
		return;
	if (last && (const uint8_t *) last->data + last->length == data)
		last->length += length;
	else
		body->parts[body->part_count++] = (struct codec_part){ data, length };
}

static void add_data(struct body *body, const struct batch *batch, enum item_kind kind)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->items[i].kind == kind)
			add_part(body, batch->items[i].data, batch->items[i].length);
}

static void add_tags(struct body *body, const struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->items[i].kind == ITEM_DISK)
			add_part(body, batch->items[i].tag, SHORT_TAG);
}

/* The head comes before the table, but says how long it is: it is written behind it. */
static void write_items(struct body *body, const struct batch *batch)
{
	put_table(body, batch);
	size_t table = body->table_length;
	put_byte(body, batch->original_bytes);
	put_byte(body, (uint64_t) __builtin_ctz(batch->page_bytes));
	put_byte(body, table);
	add_part(body, body->table + table, body->table_length - table);
	/* apart, or they would seem to be one piece in the wrong order */
	body->parts[body->part_count++] = (struct codec_part){ body->table, table };
	body->length += table;
	add_data(body, batch, ITEM_BYTES);
	add_part(body, batch->deltas, batch->deltas_length);
	add_tags(body, batch);
	add_data(body, batch, ITEM_LITERAL);
}

void body_write(struct body *body, const struct batch *batch)
{
	body->table_length = body->part_count = 0;
	body->length = 0;
	if (batch->kind == BATCH_ITEMS || batch->kind == BATCH_DISK)
		write_items(body, batch);
	else
		add_part(body, batch->raw, batch->parsed);
}

/* ---- reading ---- */

struct input {
	const uint8_t *at, *end;
	bool bad;
};

static uint64_t take_body_bytes(struct input *in)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (in->at == in->end)
			break;
		uint8_t byte = *in->at++;
		value |= (uint64_t) (byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	in->bad = true;
	return 0;
}

static uint64_t take_signed(struct input *in)
{
	uint64_t value = take_body_bytes(in);
	return value >> 1 ^ -(value & 1);
}

/* A number that must not be above MOST. */
static uint64_t take_most(struct input *in, uint64_t most)
{
	uint64_t value = take_body_bytes(in);
	in->bad |= value > most;
	return in->bad ? 0 : value;
}

static struct item *new_item(struct batch *batch, struct input *in, enum item_kind kind,
			     uint32_t block)
{
	if (batch->count == BATCH_ITEMS_MAX) {
		in->bad = true;
		return NULL;
	}
	struct item *item = &batch->items[batch->count++];
	*item = (struct item){ .kind = kind, .block = block, .count = 1 };
	return item;
}

static void take_bytes(struct batch *batch, struct input *in, uint64_t length)
{
	uint64_t block = take_most(in, STREAM_BLOCKS_MAX);
	struct item *item =
		new_item(batch, in, ITEM_BYTES, block ? (uint32_t) block - 1 : BATCH_NO_BLOCK);
	in->bad |= length > BATCH_BODY_MAX;
	if (!in->bad)
		item->length = (uint32_t) length;
}

static void take_page(struct batch *batch, struct input *in, enum item_kind kind,
		      struct place_in_table *at)
{
	struct item *item = new_item(batch, in, kind, at->block);
	if (!item)
		return;
	item->page = at->next_page++;
	if (kind == ITEM_LITERAL)
		item->length = batch->page_bytes;
	if (!has_place(kind))
		return;
	item->place = (uint32_t) (at->next_place + take_signed(in));
	at->next_place = item->place + 1;
	if (kind == ITEM_DELTA)
		item->length = (uint32_t) take_most(in, BATCH_BODY_MAX);
}

static void take_zero(struct batch *batch, struct input *in, uint64_t count,
		      struct place_in_table *at)
{
	struct item *item = new_item(batch, in, ITEM_ZERO, at->block);
	in->bad |= count > UINT32_MAX;
	if (in->bad)
		return;
	item->page = at->next_page;
	item->count = (uint32_t) count;
	at->next_page += count;
}

static void take_run(struct batch *batch, struct input *in, struct place_in_table *at)
{
	uint64_t run = take_body_bytes(in), count = run >> 3;
	unsigned kind = run & 7;
	if (kind == ITEM_BYTES) {
		take_bytes(batch, in, count);
		return;
	}
	if (kind == RUN_BLOCK) {
		in->bad |= count >= STREAM_BLOCKS_MAX;
		at->block = (uint32_t) count;
		return;
	}
	in->bad |= kind >= ITEM_KIND_LAST || !count;
	at->next_page += take_signed(in);
	if (kind == ITEM_ZERO)
		take_zero(batch, in, count, at);
	else
		for (uint64_t i = 0; !in->bad && i < count; i++)
			take_page(batch, in, (enum item_kind) kind, at);
}

/* The data of the items of KIND lies at AT, in order. */
static void point_at_data(struct batch *batch, enum item_kind kind, struct input *in)
{
	for (uint32_t i = 0; !in->bad && i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind != kind)
			continue;
		if ((size_t) (in->end - in->at) < item->length) {
			in->bad = true;
			return;
		}
		item->data = in->at;
		in->at += item->length;
	}
}

static void take_tags(struct batch *batch, struct input *in)
{
	for (uint32_t i = 0; !in->bad && i < batch->count; i++) {
		struct item *item = &batch->items[i];
		if (item->kind != ITEM_DISK)
			continue;
		in->bad |= (size_t) (in->end - in->at) < SHORT_TAG;
		if (in->bad)
			return;
		memcpy(item->tag, in->at, SHORT_TAG);
		in->at += SHORT_TAG;
	}
}

bool body_read(struct batch *batch, const uint8_t *bytes, size_t length)
{
	struct input in = { bytes, bytes + length, false };
	struct place_in_table at = { 0 };
	batch_clear(batch);
	batch->kind = BATCH_ITEMS;
	batch->original_bytes = take_most(&in, BATCH_RAW_MAX);
	unsigned page_log = (unsigned) take_most(&in, 16);
	uint64_t table = take_most(&in, length);
	batch->page_bytes = 1u << page_log;
	if (in.bad || page_log < 10 || table > (size_t) (in.end - in.at))
		return false;
	struct input rows = { in.at, in.at + table, false };
	while (!rows.bad && rows.at < rows.end)
		take_run(batch, &rows, &at);
	in.at += table;
	in.bad |= rows.bad;
	point_at_data(batch, ITEM_BYTES, &in);
	point_at_data(batch, ITEM_DELTA, &in);
	take_tags(batch, &in);
	point_at_data(batch, ITEM_LITERAL, &in);
	return !in.bad && in.at == in.end;
}
