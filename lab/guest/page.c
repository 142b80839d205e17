/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-checking page. 4096 bytes, all numbers in the machine's own order:
 *
 *   0  magic        8
 *   8  number       8   which page this is
 *  16  generation   8   how often it was written; never goes down
 *  24  kind         8
 *  32  body_sum     8   hash of bytes 64..4095
 *  40  seal         8   hash of the five words before it
 *  48  zero        16
 *  64  body      4032   made from number, generation and kind
 *
 * The seal stands apart from the body's hash so that a page can be renewed by changing 16 bytes of
 * it (the pattern "few") and still be checked as a whole. A page of kind PAGE_ZERO is nothing but
 * zeroes: only the table can say that it must be.
 */
#include <string.h>

#include "guestd.h"

#define PAGE_MAGIC 0x5741544152493031ull /* "WATARI01" */
#define WORDS (PAGE_BYTES / 8)
#define BODY_WORD 8

struct page {
	uint64_t magic;
	uint64_t number;
	uint64_t generation;
	uint64_t kind;
	uint64_t body_sum;
	uint64_t seal;
	uint64_t zero[2];
	uint64_t body[WORDS - BODY_WORD];
};

_Static_assert(sizeof(struct page) == PAGE_BYTES, "a page is a page");

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* Every word counts with its place; four lanes because a page is hashed before every write. */
static uint64_t sum_words(const uint64_t *word, size_t n)
{
	uint64_t lane[4] = { 1, 2, 3, 4 };

	for (size_t i = 0; i + 4 <= n; i += 4)
		for (size_t k = 0; k < 4; k++)
			lane[k] = (lane[k] ^ word[i + k]) * 0x9e3779b97f4a7c15ull + (lane[k] >> 32);
	return mix(lane[0] + mix(lane[1] + mix(lane[2] + mix(lane[3]))));
}

static uint64_t page_seal(const struct page *page)
{
	uint64_t seal = mix(page->magic + page->zero[0] + page->zero[1]);

	seal = mix(seal ^ page->number);
	seal = mix(seal ^ page->generation);
	seal = mix(seal ^ page->kind);
	return mix(seal ^ page->body_sum);
}

static bool page_is_zero(const struct page *page)
{
	const uint64_t *word = (const uint64_t *) page;

	for (size_t i = 0; i < WORDS; i++)
		if (word[i])
			return false;
	return true;
}

static void fill_random(struct page *page)
{
	uint64_t seed = mix(page->number * 0x100000001b3ull + page->generation);

	for (size_t i = 0; i < WORDS - BODY_WORD; i++)
		page->body[i] = mix(seed += 0x9e3779b97f4a7c15ull);
}

/* Lines as a log or a table has them: the same words again and again, a number that changes every
 * line. */
static void fill_text(struct page *page)
{
	static const char line[64] =
		"2026-01-01 00:00:00 INFO watari: the ferry crosses at line .... ";
	char *body = (char *) page->body;
	unsigned int value = (unsigned int) (page->number * 31 + page->generation);

	for (size_t at = 0; at + 64 <= sizeof(page->body); at += 64, value++) {
		memcpy(body + at, line, 64);
		for (size_t digit = 0; digit < 4; digit++)
			body[at + 59 + digit] = (char) ('a' + (value >> (4 * digit) & 15));
		body[at + 63] = '\n';
	}
}

void page_build(void *memory, uint64_t number, const struct page_expected *expected)
{
	struct page *page = memory;

	if (expected->kind == PAGE_ZERO) {
		memset(page, 0, sizeof(*page));
		return;
	}
	page->magic = PAGE_MAGIC;
	page->number = number;
	page->generation = expected->generation;
	page->kind = expected->kind;
	page->zero[0] = page->zero[1] = 0;
	if (expected->kind == PAGE_RANDOM)
		fill_random(page);
	else
		fill_text(page);
	page->body_sum = sum_words(page->body, WORDS - BODY_WORD);
	page->seal = page_seal(page);
}

void page_renew(void *memory, uint64_t number, const struct page_expected *expected)
{
	struct page *page = memory;

	(void) number;
	page->generation = expected->generation;
	page->seal = page_seal(page);
}

const char *page_verify(const void *memory, uint64_t number, const struct page_expected *expected)
{
	const struct page *page = memory;

	if (expected->kind == PAGE_ZERO)
		return page_is_zero(page) ? NULL : "must be zero and is not";
	if (page->magic != PAGE_MAGIC)
		return page_is_zero(page) ? "is zero and must not be" : "does not look like a page";
	if (page->seal != page_seal(page))
		return "its head is damaged";
	if (page->number != number)
		return "is another page";
	if (page->generation < expected->generation)
		return "is older than it must be";
	if (page->generation > expected->generation)
		return "is newer than it can be";
	if (page->kind != expected->kind)
		return "is of another kind";
	if (page->body_sum != sum_words(page->body, WORDS - BODY_WORD))
		return "its body is damaged";
	return NULL;
}

bool page_recognise(const void *memory, uint64_t number, struct page_expected *found)
{
	const struct page *page = memory;

	*found = (struct page_expected){ .generation = page->generation };
	if (page_is_zero(page))
		return true;
	if (page->magic != PAGE_MAGIC || page->kind <= PAGE_ZERO || page->kind >= PAGE_KINDS)
		return false;
	found->kind = (uint8_t) page->kind;
	return !page_verify(page, number, found);
}

static void spoil_bit(struct page *page, uint64_t number, const struct page_expected *expected)
{
	page->body[number % (WORDS - BODY_WORD)] ^= 1ull << (number % 64);
}

static void spoil_stale(struct page *page, uint64_t number, const struct page_expected *expected)
{
	struct page_expected older = *expected;

	older.generation--;
	if (older.kind == PAGE_ZERO)
		older.kind = PAGE_TEXT;
	page_build(page, number, &older);
}

static void spoil_zero(struct page *page, uint64_t number, const struct page_expected *expected)
{
	memset(page, 0, sizeof(*page));
}

static void spoil_other(struct page *page, uint64_t number, const struct page_expected *expected)
{
	page_build(page, number + 1, expected);
}

bool page_spoil(void *memory, uint64_t number, const struct page_expected *expected,
		const char *how)
{
	static const struct {
		const char *how;
		void (*spoil)(struct page *page, uint64_t number,
			      const struct page_expected *expected);
	} ways[] = {
		{ "bit", spoil_bit },
		{ "stale", spoil_stale },
		{ "zero", spoil_zero },
		{ "other", spoil_other },
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(how, ways[i].how)) {
			ways[i].spoil(memory, number, expected);
			return true;
		}
	return false;
}
