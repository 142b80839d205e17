/* SPDX-License-Identifier: Apache-2.0 */
/* See content-pair.h. */
#include "content-pair.h"

#include <string.h>
#include <xxhash.h>

#include "stream-kit.h"

/* ---- the guest ---- */

struct guest *guest_new(uint32_t pages_a, uint32_t pages_b, uint32_t seed)
{
	struct guest *guest = g_new0(struct guest, 1);
	guest->pages[0] = pages_a;
	guest->pages[1] = pages_b;
	guest->memory = g_malloc0((size_t) (pages_a + pages_b) * GUEST_PAGE);
	guest->rand = g_rand_new_with_seed(seed);
	return guest;
}

void guest_free(struct guest *guest)
{
	g_free(guest->memory);
	g_rand_free(guest->rand);
	g_free(guest);
}

static void fill_random(GRand *rand, uint8_t *page)
{
	for (size_t i = 0; i < GUEST_PAGE; i += 4) {
		uint32_t word = g_rand_int(rand);
		memcpy(page + i, &word, 4);
	}
}

static void fill_text(GRand *rand, uint8_t *page)
{
	static const char *const words[] = { "the ",    "guest ", "page ", "memory ",
					     "copies ", "of\n",   "host ", "1970-01-01 " };
	for (size_t at = 0; at < GUEST_PAGE;) {
		const char *word = words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))];
		size_t n = MIN(strlen(word), GUEST_PAGE - at);
		memcpy(page + at, word, n);
		at += n;
	}
}

void guest_change(struct guest *guest, uint32_t number, enum guest_change change)
{
	GRand *rand = guest->rand;
	int all = (int) (guest->pages[0] + guest->pages[1]);
	uint8_t *page = guest->memory + (size_t) number * GUEST_PAGE;
	switch (change) {
	case CHANGE_BYTES:
		for (int i = g_rand_int_range(rand, 1, 20); i > 0; i--)
			page[g_rand_int_range(rand, 0, GUEST_PAGE)]++;
		break;
	case CHANGE_ALL:
		fill_random(rand, page);
		break;
	case CHANGE_TEXT:
		fill_text(rand, page);
		break;
	case CHANGE_COPY:
		memmove(page, guest->memory + (size_t) g_rand_int_range(rand, 0, all) * GUEST_PAGE,
			GUEST_PAGE);
		break;
	case CHANGE_ZERO:
		memset(page, 0, GUEST_PAGE);
		break;
	default:
		break;
	}
}

void guest_put_start(const struct guest *guest, GByteArray *out)
{
	put_header(out, "pc-test");
	put_section(out, 1, 2, "ram", 4);
	put_u64(out, (uint64_t) (guest->pages[0] + guest->pages[1]) * GUEST_PAGE | 4);
	put_name(out, "a");
	put_u64(out, (uint64_t) guest->pages[0] * GUEST_PAGE);
	put_name(out, "b");
	put_u64(out, (uint64_t) guest->pages[1] * GUEST_PAGE);
	put_ram_end(out);
}

void guest_put_part(GByteArray *out)
{
	put_part(out, 2, 2);
}

void guest_put_page(const struct guest *guest, GByteArray *out, uint32_t number, int *last_block)
{
	static const uint8_t zeros[GUEST_PAGE];
	const uint8_t *page = guest->memory + (size_t) number * GUEST_PAGE;
	int block = number >= guest->pages[0];
	uint64_t offset = (uint64_t) (block ? number - guest->pages[0] : number) * GUEST_PAGE;
	const char *name = block == *last_block ? NULL : block ? "b" : "a";
	*last_block = block;
	if (memcmp(page, zeros, GUEST_PAGE) == 0) {
		put_zero_page(out, name, offset);
		return;
	}
	put_u64(out, offset | 0x08 | (name ? 0 : 0x20));
	if (name)
		put_name(out, name);
	g_byte_array_append(out, page, GUEST_PAGE);
}

void guest_put_part_end(GByteArray *out)
{
	put_ram_end(out);
}

void guest_put_end(GByteArray *out, size_t device_bytes)
{
	put_part(out, 3, 2);
	put_ram_end(out);
	put_section(out, 4, 3, "cpu", 12);
	for (size_t i = 0; i < device_bytes; i++)
		put_u8(out, (uint8_t) (i * 7 >> 2));
	put_footer(out, 3);
	put_u8(out, 0);
}

/* ---- what a stream means ---- */

struct meaning *meaning_new(void)
{
	struct meaning *meaning = g_new0(struct meaning, 1);
	meaning->reader = stream_reader_new();
	meaning->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
	meaning->others = g_checksum_new(G_CHECKSUM_SHA256);
	return meaning;
}

void meaning_free(struct meaning *meaning)
{
	if (!meaning)
		return;
	stream_reader_free(meaning->reader);
	g_hash_table_unref(meaning->pages);
	g_checksum_free(meaning->others);
	g_free(meaning);
}

static void meaning_page(struct meaning *meaning, const struct stream_record *record)
{
	static const uint8_t zeros[GUEST_PAGE];
	uint64_t key = (uint64_t) record->block << 40 | record->offset / GUEST_PAGE;
	uint64_t sum = XXH3_64bits(record->page ? record->page : zeros, GUEST_PAGE);
	g_hash_table_replace(meaning->pages, g_memdup2(&key, sizeof(key)),
			     g_memdup2(&sum, sizeof(sum)));
	meaning->page_records++;
}

void meaning_add(struct meaning *meaning, const uint8_t *bytes, size_t length)
{
	struct stream_record record;
	meaning->bytes += length;
	stream_reader_feed(meaning->reader, bytes, length);
	while (stream_reader_next(meaning->reader, &record)) {
		if (record.kind == STREAM_PAGE || record.kind == STREAM_ZERO_PAGE)
			meaning_page(meaning, &record);
		else
			g_checksum_update(meaning->others, record.bytes, (gssize) record.length);
	}
}

void meaning_assert_same(struct meaning *one, struct meaning *other)
{
	GHashTableIter at;
	void *key, *sum;
	g_assert_cmpstr(stream_reader_opaque_reason(one->reader), ==, NULL);
	g_assert_cmpstr(stream_reader_opaque_reason(other->reader), ==, NULL);
	g_assert_cmpuint(g_hash_table_size(one->pages), ==, g_hash_table_size(other->pages));
	g_hash_table_iter_init(&at, one->pages);
	while (g_hash_table_iter_next(&at, &key, &sum)) {
		const uint64_t *same = g_hash_table_lookup(other->pages, key);
		g_assert_nonnull(same);
		g_assert_cmpuint(*same, ==, *(const uint64_t *) sum);
	}
	g_assert_cmpstr(g_checksum_get_string(one->others), ==,
			g_checksum_get_string(other->others));
}

/* ---- the two halves ---- */

static const uint8_t key[TAG_KEY_BYTES] = { 1, 2, 3 };
static const struct codec_effort efforts[PAIR_EFFORTS] = {
	{ CODEC_STORE, 0, 0 },   { CODEC_LZ4, 0, 0 },     { CODEC_ZSTD, 1, 0 },
	{ CODEC_STREAM, 1, 20 }, { CODEC_STREAM, 3, 22 },
};

const struct codec_effort *pair_effort(unsigned number)
{
	return &efforts[number % PAIR_EFFORTS];
}

struct pair *pair_new_destination(uint64_t memory_limit)
{
	struct pair *pair = g_new0(struct pair, 1);
	pair->sizes = known_sizes_for(memory_limit);
	pair->tags = tag_context_new(key, "page");
	pair->destination_reader = stream_reader_new();
	pair->resolver = resolver_new(key, key, &pair->sizes);
	pair->unpacker = unpacker_new(25);
	pair->in = batch_new();
	pair->records = g_malloc(BATCH_EMIT_MAX);
	return pair;
}

struct pair *pair_new(uint64_t memory_limit)
{
	struct pair *pair = pair_new_destination(memory_limit);
	pair->source_reader = stream_reader_new();
	pair->sorter = sorter_new(key, key, &pair->sizes);
	pair->packer = packer_new();
	pair->body = body_new();
	pair->out = batch_new();
	pair->sent = meaning_new();
	pair->emitted = meaning_new();
	batch_clear(pair->out);
	return pair;
}

void pair_free(struct pair *pair)
{
	tag_context_free(pair->tags);
	stream_reader_free(pair->source_reader);
	sorter_free(pair->sorter);
	packer_free(pair->packer);
	body_free(pair->body);
	batch_free(pair->out);
	stream_reader_free(pair->destination_reader);
	resolver_free(pair->resolver);
	unpacker_free(pair->unpacker);
	batch_free(pair->in);
	g_free(pair->records);
	meaning_free(pair->sent);
	meaning_free(pair->emitted);
	g_free(pair);
}

void frame_free(struct frame *frame)
{
	g_clear_pointer(&frame->data, g_free);
}

static struct frame pair_encode(struct pair *pair)
{
	struct batch *batch = pair->out;
	struct frame frame = { 0 };
	if (batch->has_blocks)
		sorter_set_blocks(pair->sorter, pair->source_reader);
	sorter_sort(pair->sorter, batch, pair->plain);
	if (pair->lie)
		pair->lies += pair->lie(batch, pair->lie_data);
	body_write(pair->body, batch);
	frame.kind = batch->kind;
	frame.body = (uint32_t) pair->body->length;
	memcpy(frame.tag, batch->tag, TAG_BYTES);
	size_t bound = packer_bound(frame.body);
	g_autofree uint8_t *data = g_malloc(bound);
	frame.length = packer_pack(pair->packer, &pair->effort, pair->body->parts,
				   pair->body->part_count, data, bound, &frame.method);
	g_assert_true(frame.length > 0 || frame.body == 0);
	frame.data = g_memdup2(data, frame.length + !frame.length);
	pair->wire_bytes += frame.length;
	pair->original_bytes += batch->original_bytes;
	return frame;
}

static bool is_taken(const struct pair *pair)
{
	return pair->answer == RESOLVER_GOOD ||
	       (pair->trusting && pair->answer == RESOLVER_DIFFERENT);
}

static bool resolve(struct pair *pair, const struct frame *frame, const uint8_t **records,
		    size_t *length)
{
	struct batch *batch = pair->in;
	*records = batch->raw;
	*length = frame->body;
	if (frame->kind == BATCH_ITEMS) {
		if (!body_read(batch, batch->raw, frame->body))
			return false;
		batch_tag_literals(batch, pair->tags);
		*records = pair->records;
		pair->answer = resolver_items(pair->resolver, batch, pair->destination_reader,
					      frame->tag, pair->records, length);
		return is_taken(pair);
	}
	if (frame->body > BATCH_RAW_MAX)
		return false;
	batch->kind = frame->kind;
	batch->filled = frame->body;
	batch->original_bytes = batch->parsed = frame->body;
	if (frame->kind == BATCH_RAW) {
		pair->answer = resolver_pass(pair->resolver, batch, frame->tag);
	} else {
		batch->parsed = 0;
		batch_read(batch, pair->destination_reader);
		if (batch->has_blocks)
			resolver_set_blocks(pair->resolver, pair->destination_reader);
		pair->answer = resolver_plain(pair->resolver, batch, frame->tag);
	}
	return is_taken(pair);
}

bool pair_decode(struct pair *pair, const struct frame *frame)
{
	const uint8_t *records;
	size_t length;
	struct stream_record record;
	batch_clear(pair->in);
	pair->answer = RESOLVER_DAMAGED;
	if (frame->body > BATCH_BODY_MAX ||
	    !unpacker_unpack(pair->unpacker, frame->method, frame->data, frame->length,
			     pair->in->raw, frame->body) ||
	    !resolve(pair, frame, &records, &length))
		return false;
	g_assert_cmpuint(length, <=, BATCH_EMIT_MAX);
	if (frame->kind != BATCH_PLAIN) {
		stream_reader_feed(pair->destination_reader, records, length);
		while (stream_reader_next(pair->destination_reader, &record))
			continue;
	}
	if (pair->emitted)
		meaning_add(pair->emitted, records, length);
	return true;
}

struct frame pair_encode_bytes(struct pair *pair, const uint8_t *bytes, size_t *length)
{
	struct batch *batch = pair->out;
	size_t n = MIN(*length, batch_room(batch));
	memcpy(batch->raw + batch->filled, bytes, n);
	batch->filled += n;
	*length -= n;
	batch_read(batch, pair->source_reader);
	if (!batch->count)
		return (struct frame){ 0 };
	size_t left = batch_take_tail(batch, pair->tail);
	struct frame frame = pair_encode(pair);
	batch_clear(batch);
	batch_begin(batch, pair->tail, left);
	return frame;
}

bool pair_send(struct pair *pair, const uint8_t *bytes, size_t length)
{
	if (pair->sent)
		meaning_add(pair->sent, bytes, length);
	while (length > 0) {
		size_t left = length;
		struct frame frame = pair_encode_bytes(pair, bytes, &left);
		bytes += length - left;
		length = left;
		if (!frame.data)
			continue;
		bool good = pair_decode(pair, &frame);
		frame_free(&frame);
		if (!good)
			return false;
	}
	return true;
}
