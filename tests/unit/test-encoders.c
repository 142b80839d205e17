/* SPDX-License-Identifier: Apache-2.0 */
/* The encoders together, from QEMU's stream to QEMU's stream: whatever a guest does to its pages
 * arrives; what is damaged or lied about is refused; memory stays inside its bound. */
#include "content-pair.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

/* A sanitizer's own memory would count as ours. */
#ifdef __has_feature
#define HAS(feature) __has_feature(feature)
#else
#define HAS(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS(address_sanitizer) || \
	HAS(thread_sanitizer)
static const bool sanitized = true;
#else
static const bool sanitized = false;
#endif

static void send(struct pair *pair, GByteArray *bytes)
{
	g_assert_true(pair_send(pair, bytes->data, bytes->len));
	g_byte_array_set_size(bytes, 0);
}

/* Every page once, then ROUNDS of dirty ones, then the end, in pieces of any length. */
static void send_life(struct pair *pair, struct guest *guest, unsigned rounds, bool change_effort)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	uint32_t all = guest->pages[0] + guest->pages[1];
	guest_put_start(guest, bytes);
	send(pair, bytes);
	for (unsigned round = 0; round < rounds; round++) {
		int last_block = -1;
		guest_put_part(bytes);
		for (uint32_t page = 0; page < all; page++) {
			if (round > 0 && g_rand_int_range(guest->rand, 0, 3))
				continue;
			int change = g_rand_int_range(guest->rand, 0, CHANGE_LAST + 6);
			if (change >= CHANGE_LAST)
				change = round % 2 ? CHANGE_BYTES : CHANGE_COPY;
			guest_change(guest, page, (enum guest_change) change);
			guest_put_page(guest, bytes, page, &last_block);
			if (bytes->len < 1000 || g_rand_int_range(guest->rand, 0, 40))
				continue;
			if (change_effort)
				pair->effort = *pair_effort(g_rand_int(guest->rand));
			send(pair, bytes);
		}
		guest_put_part_end(bytes);
		send(pair, bytes);
	}
	guest_put_end(bytes, 70000);
	send(pair, bytes);
}

static void test_any_pages(void)
{
	for (uint32_t seed = 0; seed < 8; seed++) {
		struct pair *pair = pair_new(64 * MIB);
		struct guest *guest = guest_new(700, 130, seed);
		send_life(pair, guest, 6, true);
		meaning_assert_same(pair->sent, pair->emitted);
		const struct sorter_counts *counts = sorter_counts(pair->sorter);
		/* It was not for nothing. */
		g_assert_cmpuint(counts->zero_pages, >, 100);
		g_assert_cmpuint(counts->same_pages, >, 20);
		g_assert_cmpuint(counts->reference_pages, >, 100);
		g_assert_cmpuint(counts->delta_pages, >, 20);
		g_assert_cmpuint(counts->literal_pages, >, 100);
		g_assert_cmpuint(pair->emitted->page_records, <, pair->sent->page_records);
		guest_free(guest);
		pair_free(pair);
	}
}

/* Each effort alone, and without any. */
static void test_each_effort(void)
{
	for (unsigned i = 0; i <= PAIR_EFFORTS; i++) {
		struct pair *pair = pair_new(64 * MIB);
		struct guest *guest = guest_new(400, 60, i);
		pair->plain = i == PAIR_EFFORTS;
		pair->effort = *pair_effort(i);
		send_life(pair, guest, 3, false);
		meaning_assert_same(pair->sent, pair->emitted);
		if (i == 2)
			g_assert_cmpuint(pair->wire_bytes * 3, <, pair->original_bytes * 2);
		guest_free(guest);
		pair_free(pair);
	}
}

/* Plain and sorted batches take turns: both sides must remember the same of either. */
static void test_plain_now_and_then(void)
{
	struct pair *pair = pair_new(64 * MIB);
	struct guest *guest = guest_new(600, 10, 3);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	guest_put_start(guest, bytes);
	for (unsigned round = 0; round < 8; round++) {
		int last_block = -1;
		guest_put_part(bytes);
		for (uint32_t page = 0; page < 610; page++) {
			guest_change(guest, page, (enum guest_change)(g_rand_int(guest->rand) % 6));
			guest_put_page(guest, bytes, page, &last_block);
			if (bytes->len < 100000)
				continue;
			pair->plain = g_rand_boolean(guest->rand);
			send(pair, bytes);
		}
		guest_put_part_end(bytes);
	}
	guest_put_end(bytes, 100);
	send(pair, bytes);
	meaning_assert_same(pair->sent, pair->emitted);
	g_assert_cmpuint(sorter_counts(pair->sorter)->plain_pages, >, 100);
	g_assert_cmpuint(sorter_counts(pair->sorter)->same_pages, >, 100);
	guest_free(guest);
	pair_free(pair);
}

/* ---- bounds ---- */

static uint64_t resident_bytes(void)
{
	g_autofree char *text = NULL;
	unsigned long pages = 0;
	g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
	g_assert_cmpint(sscanf(text, "%*u %lu", &pages), ==, 1);
	return pages * (uint64_t) sysconf(_SC_PAGESIZE);
}

/* Dirtying that no cache likes, and a memory limit far too small for the guest: sweeps in which
 * every page is new, pages that come back just after they were forgotten, equal pages far apart,
 * zero pages with gaps. Both sides must forget the same and stay inside the limit. */
static void test_hostile_dirtying(void)
{
	const uint64_t limit = 8 * MIB;
	const uint32_t pages = 20000; /* 78 MiB */
	struct pair *pair = pair_new(limit);
	struct guest *guest = guest_new(pages, 1, 1);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	guest_put_start(guest, bytes);
	uint64_t before = resident_bytes();
	pair->effort = *pair_effort(0);
	for (unsigned round = 0; round < 5; round++) {
		int last_block = -1;
		uint32_t stride = (uint32_t[]){ 1, 2, 7, 511, 769 }[round];
		guest_put_part(bytes);
		for (uint32_t i = 0; i < pages; i++) {
			uint32_t page = (uint32_t) ((uint64_t) i * stride % pages);
			uint32_t kind = (page + round) % 4;
			guest_change(guest, page,
				     kind == 0   ? CHANGE_ZERO
				     : kind == 1 ? CHANGE_COPY
				     : kind == 2 ? CHANGE_BYTES
						 : CHANGE_ALL);
			guest_put_page(guest, bytes, page, &last_block);
			if (bytes->len > 200000)
				send(pair, bytes);
		}
		guest_put_part_end(bytes);
	}
	guest_put_end(bytes, 5000);
	send(pair, bytes);
	uint64_t grown = resident_bytes() - before;
	meaning_assert_same(pair->sent, pair->emitted);
	/* Both sides are in this process; the guest, its meaning (20000 small entries, twice) and
	 * batches come on top. */
	g_test_message("resident memory grew by %.1f MiB", (double) grown / (double) MIB);
	const struct known_sizes *sizes = &pair->sizes;
	uint64_t caches = 2 * (sizes->page_table + sizes->page_cache) + sizes->content_index;
	if (!sanitized)
		g_assert_cmpuint(grown, <, pages * (uint64_t) GUEST_PAGE + caches + 16 * MIB);
	guest_free(guest);
	pair_free(pair);
}

/* A guest of 512 GiB of which a little is used: what the records cost on the wire. */
static void test_mostly_empty_guest(void)
{
	struct pair *pair = pair_new(64 * MIB);
	const uint64_t pages = UINT64_C(512) << 18;
	const uint64_t sent = pages / 16; /* 32 GiB of zero pages: the others are the same */
	struct guest *guest = guest_new(1, 1, 1);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	guest->pages[0] = (uint32_t) pages;
	g_clear_pointer(&pair->sent, meaning_free);
	g_clear_pointer(&pair->emitted, meaning_free);
	pair->effort = *pair_effort(2);
	guest_put_start(guest, bytes);
	guest->pages[0] = 1;
	guest_put_part(bytes);
	send(pair, bytes);
	uint64_t wire = pair->wire_bytes, before = resident_bytes();
	for (uint64_t page = 0; page < sent; page++) {
		uint64_t word = GUINT64_TO_BE(page * GUEST_PAGE | 2 | (page ? 0x20 : 0));
		g_byte_array_append(bytes, (const uint8_t *) &word, sizeof(word));
		g_byte_array_append(bytes, (const uint8_t *) "\1a", page ? 0 : 2);
		g_byte_array_append(bytes, (const uint8_t *) "", 1);
		if (bytes->len > 225000)
			send(pair, bytes);
	}
	send(pair, bytes);
	wire = pair->wire_bytes - wire;
	g_test_message("%" G_GUINT64_FORMAT " zero pages: %" G_GUINT64_FORMAT " bytes", sent, wire);
	g_assert_cmpuint(sorter_counts(pair->sorter)->zero_pages, ==, sent);
	g_assert_cmpuint(wire, <, 16384);
	if (!sanitized)
		g_assert_cmpuint(resident_bytes() - before, <, 4 * MIB);
	guest_free(guest);
	pair_free(pair);
}

/* ---- encoders that lie ---- */

enum lie {
	LIE_BYTES,
	LIE_ZERO_PAGE,
	LIE_ZERO_COUNT,
	LIE_LITERAL,
	LIE_SAME,
	LIE_REFERENCE,
	LIE_DELTA_DATA,
	LIE_DELTA_BASE,
	LIE_NOT_ZERO,
	LIE_LEFT_OUT,
	LIE_TWICE,
	LIE_LAST
};

struct liar {
	enum lie lie;
	unsigned skip; /* occasions that are let pass */
};

static const enum item_kind lie_kinds[LIE_LAST] = {
	[LIE_BYTES] = ITEM_BYTES,      [LIE_ZERO_PAGE] = ITEM_ZERO,
	[LIE_ZERO_COUNT] = ITEM_ZERO,  [LIE_LITERAL] = ITEM_LITERAL,
	[LIE_SAME] = ITEM_SAME,        [LIE_REFERENCE] = ITEM_REFERENCE,
	[LIE_DELTA_DATA] = ITEM_DELTA, [LIE_DELTA_BASE] = ITEM_DELTA,
	[LIE_NOT_ZERO] = ITEM_SAME,    [LIE_LEFT_OUT] = ITEM_LITERAL,
	[LIE_TWICE] = ITEM_REFERENCE,
};

static void flip(const uint8_t *byte)
{
	*(uint8_t *) (uintptr_t) byte ^= 0x10;
}

static void tell_lie(struct batch *batch, uint32_t at, enum lie lie)
{
	struct item *item = &batch->items[at];
	switch (lie) {
	case LIE_BYTES:
	case LIE_LITERAL:
	case LIE_DELTA_DATA:
		flip(item->data + item->length - 1);
		break;
	case LIE_ZERO_PAGE:
	case LIE_SAME:
		item->page += item->page ? -1 : 1;
		break;
	case LIE_ZERO_COUNT:
		item->count += item->count > 1 ? -1u : 1u;
		break;
	case LIE_REFERENCE:
	case LIE_DELTA_BASE:
		item->place += item->place > 1 ? -1u : 1u;
		break;
	case LIE_NOT_ZERO:
		item->kind = ITEM_ZERO;
		break;
	case LIE_LEFT_OUT:
		memmove(item, item + 1, (batch->count - at - 1) * sizeof(*item));
		batch->count--;
		break;
	default:
		item->page = batch->items[at ? at - 1 : at + 1].page;
	}
}

static bool lie_once(struct batch *batch, void *data)
{
	struct liar *liar = data;
	if (batch->kind != BATCH_ITEMS)
		return false;
	for (uint32_t i = 0; i < batch->count; i++) {
		struct item *item = &batch->items[i];
		bool fits = item->kind == lie_kinds[liar->lie] &&
			    (item->kind != ITEM_BYTES || item->length > 0);
		if (!fits || liar->skip-- > 0)
			continue;
		tell_lie(batch, i, liar->lie);
		liar->skip = UINT32_MAX;
		return true;
	}
	return false;
}

/* Rounds until the lie is told; true if the destination took notice of it. */
static bool is_caught(struct liar *liar, uint32_t seed)
{
	struct pair *pair = pair_new(64 * MIB);
	struct guest *guest = guest_new(150, 30, seed);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	bool good = true;
	pair->effort = *pair_effort(seed);
	pair->lie = lie_once;
	pair->lie_data = liar;
	guest_put_start(guest, bytes);
	send(pair, bytes);
	for (unsigned round = 0; round < 60 && !pair->lies && good; round++) {
		int last_block = -1;
		guest_put_part(bytes);
		for (uint32_t page = 0; page < 180; page++) {
			guest_change(guest, page, (enum guest_change)(g_rand_int(guest->rand) % 6));
			guest_put_page(guest, bytes, page, &last_block);
		}
		guest_put_part_end(bytes);
		good = pair_send(pair, bytes->data, bytes->len);
		g_byte_array_set_size(bytes, 0);
	}
	if (pair->lies != 1)
		g_error("lie %d never told", liar->lie);
	guest_free(guest);
	pair_free(pair);
	return !good;
}

static void test_lies_are_caught(void)
{
	for (enum lie lie = 0; lie < LIE_LAST; lie++) {
		for (uint32_t seed = 0; seed < 6; seed++) {
			struct liar liar = { lie, seed * 3 };
			bool caught = is_caught(&liar, seed);
			if (!caught)
				g_test_message("lie %d of seed %u was believed", lie, seed);
			g_assert_true(caught);
		}
	}
}

/* One bit of a frame, anywhere: it does not unpack, or is no body, or its tag is wrong. What still
 * decodes to the same records is no damage (a compressor's spare bits). */
static void test_damaged_frames(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(9);
	unsigned refused = 0, harmless = 0;
	for (unsigned i = 0; i < 200; i++) {
		struct pair *pair = pair_new(64 * MIB);
		struct guest *guest = guest_new(50, 10, i / 40);
		g_autoptr(GByteArray) bytes = g_byte_array_new();
		int last_block = -1;
		pair->effort = *pair_effort(i);
		guest_put_start(guest, bytes);
		guest_put_part(bytes);
		for (uint32_t page = 0; page < 120; page++) {
			guest_change(guest, page % 60,
				     (enum guest_change)(g_rand_int(guest->rand) % 6));
			guest_put_page(guest, bytes, page % 60, &last_block);
			if (page == 59)
				send(pair, bytes);
		}
		size_t left = bytes->len;
		struct frame frame = pair_encode_bytes(pair, bytes->data, &left);
		g_assert_cmpuint(left, ==, 0);
		frame.data[g_rand_int_range(rand, 0, (gint32) frame.length)] ^=
			(uint8_t) (1 << g_rand_int_range(rand, 0, 8));
		meaning_add(pair->sent, bytes->data, bytes->len);
		if (!pair_decode(pair, &frame)) {
			refused++;
		} else {
			harmless++;
			meaning_assert_same(pair->sent, pair->emitted);
		}
		frame_free(&frame);
		guest_free(guest);
		pair_free(pair);
	}
	g_test_message("%u refused, %u harmless", refused, harmless);
	g_assert_cmpuint(refused, >, 180);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/encoders/any-pages", test_any_pages);
	g_test_add_func("/encoders/each-effort", test_each_effort);
	g_test_add_func("/encoders/plain-now-and-then", test_plain_now_and_then);
	g_test_add_func("/encoders/hostile-dirtying", test_hostile_dirtying);
	g_test_add_func("/encoders/mostly-empty-guest", test_mostly_empty_guest);
	g_test_add_func("/encoders/lies-are-caught", test_lies_are_caught);
	g_test_add_func("/encoders/damaged-frames", test_damaged_frames);
	return g_test_run();
}
