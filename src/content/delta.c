/* SPDX-License-Identifier: Apache-2.0 */
/* Run-length delta of a page against an older version of it; the format is in the header. */
#include "content/delta.h"

#include <glib.h>
#include <string.h>
/* DELTA_PORTABLE: a test of what other processors take. */
#if defined(__SSE2__) && !defined(DELTA_PORTABLE)
#include <emmintrin.h>
#define HAVE_SSE2 1
#else
#define HAVE_SSE2 0
#endif

#define GAP_MIN 4 /* equal bytes that end a changed run */

#if HAVE_SSE2
/* One bit for each of 64 bytes: do they differ? */
static inline uint64_t differences(const uint8_t *old, const uint8_t *new)
{
	uint64_t equal = 0;
	for (int i = 0; i < 4; i++) {
		__m128i a = _mm_loadu_si128((const __m128i *) (const void *) (old + 16 * i));
		__m128i b = _mm_loadu_si128((const __m128i *) (const void *) (new + 16 * i));
		unsigned bits = (unsigned) _mm_movemask_epi8(_mm_cmpeq_epi8(a, b));
		equal |= (uint64_t) bits << (16 * i);
	}
	return ~equal;
}
#else
static inline uint64_t load_le64(const uint8_t *at)
{
	uint64_t word;
	memcpy(&word, at, sizeof(word));
	return GUINT64_FROM_LE(word);
}

static inline uint64_t differences(const uint8_t *old, const uint8_t *new)
{
	const uint64_t low7 = 0x7f7f7f7f7f7f7f7f;
	uint64_t mask = 0;
	for (int i = 0; i < 8; i++) {
		uint64_t x = load_le64(old + 8 * i) ^ load_le64(new + 8 * i);
		/* The high bit of every byte that is not zero, then all eight into one byte. */
		uint64_t high = (((x & low7) + low7) | x) & ~low7;
		mask |= (((high >> 7) * 0x0102040810204080) >> 56) << (8 * i);
	}
	return mask;
}
#endif

/* Gaps shorter than GAP_MIN become part of the runs around them. Those that touch the upper end
 * are left to run_add(). */
static inline uint64_t close_gaps(uint64_t mask)
{
	uint64_t wide = mask | mask << 1 | mask << 2 | mask << 3;
	return mask | (wide & wide >> 1 & wide >> 2 & wide >> 3);
}

static inline uint8_t *put_number(uint8_t *at, size_t number)
{
	for (; number >= 0x80; number >>= 7)
		*at++ = (uint8_t) (number | 0x80);
	*at++ = (uint8_t) number;
	return at;
}

/* NULL when it is cut short or too large for any page. */
static inline const uint8_t *get_number(const uint8_t *at, const uint8_t *end, size_t *number)
{
	*number = 0;
	for (unsigned shift = 0; at < end && shift <= 14; shift += 7) {
		uint8_t byte = *at++;
		*number |= (size_t) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return at;
	}
	return NULL;
}

struct runs {
	uint8_t *at;    /* where the next number goes */
	uint8_t *limit; /* from here on two numbers (DELTA_SPARE) might not fit */
	size_t done;    /* bytes of the page that the numbers written cover */
	size_t start;   /* of the run that may still grow */
	size_t end;     /* start == end: none yet */
	size_t changed; /* bytes in the runs written */
};

static inline bool run_flush(struct runs *runs)
{
	if (runs->at > runs->limit)
		return false;
	runs->at = put_number(runs->at, runs->start - runs->done);
	runs->at = put_number(runs->at, runs->end - runs->start);
	runs->changed += runs->end - runs->start;
	runs->done = runs->end;
	return true;
}

static inline bool run_add(struct runs *runs, size_t start, size_t end)
{
	if (runs->start < runs->end) {
		if (start - runs->end < GAP_MIN) {
			runs->end = end;
			return true;
		}
		if (!run_flush(runs))
			return false;
	}
	runs->start = start;
	runs->end = end;
	return true;
}

/* The runs of one block, given as its mask of changed bytes. */
static inline bool runs_add_block(struct runs *runs, size_t base, uint64_t mask)
{
	while (mask) {
		unsigned start = (unsigned) __builtin_ctzll(mask);
		uint64_t rest = ~(mask >> start);
		unsigned end = rest ? start + (unsigned) __builtin_ctzll(rest) : DELTA_BLOCK;
		end = MIN(end, DELTA_BLOCK);
		if (!run_add(runs, base + start, base + end))
			return false;
		mask = end < DELTA_BLOCK ? mask & ~UINT64_C(0) << end : 0;
	}
	return true;
}

static bool runs_find(struct runs *runs, const uint8_t *old, const uint8_t *new, size_t page_bytes,
		      size_t out_max)
{
	for (size_t base = 0; base < page_bytes; base += DELTA_BLOCK) {
		uint64_t mask = differences(old + base, new + base);
		if (mask && !runs_add_block(runs, base, close_gaps(mask)))
			return false;
		/* Pages that changed all over are given up early. */
		if (runs->changed + (runs->end - runs->start) > out_max)
			return false;
	}
	if (runs->start < runs->end && !run_flush(runs))
		return false;
	if (runs->done == page_bytes)
		return true;
	if (runs->at > runs->limit)
		return false;
	runs->at = put_number(runs->at, page_bytes - runs->done);
	return true;
}

static inline void xor_run(uint8_t *to, const uint8_t *a, const uint8_t *b, size_t length)
{
	uint64_t x, y;
	for (; length >= sizeof(x); length -= sizeof(x)) {
		memcpy(&x, a, sizeof(x));
		memcpy(&y, b, sizeof(y));
		x ^= y;
		memcpy(to, &x, sizeof(x));
		to += sizeof(x);
		a += sizeof(x);
		b += sizeof(x);
	}
	for (; length > 0; length--)
		*to++ = *a++ ^ *b++;
}

size_t delta_encode(const uint8_t *old, const uint8_t *new, size_t page_bytes, uint8_t *out,
		    size_t out_max)
{
	if (out_max < DELTA_SPARE)
		return 0;
	struct runs runs = { .at = out, .limit = out + out_max - DELTA_SPARE };
	if (!runs_find(&runs, old, new, page_bytes, out_max) ||
	    runs.changed > out_max - (size_t) (runs.at - out))
		return 0;

	const uint8_t *number = out, *end = runs.at;
	uint8_t *bytes = runs.at;
	size_t equal, changed = 0, at = 0;
	while ((number = get_number(number, end, &equal)) && number < end) {
		number = get_number(number, end, &changed);
		at += equal;
		xor_run(bytes, old + at, new + at, changed);
		bytes += changed;
		at += changed;
		if (number == end)
			break;
	}
	return (size_t) (bytes - out);
}

/* The end of the runs in IN, when they cover just one page and LENGTH is what they ask for; else
 * NULL. */
static const uint8_t *runs_check(const uint8_t *in, size_t length, size_t page_bytes)
{
	const uint8_t *number = in, *end = in + length;
	size_t at = 0, changed = 0, count = 0;
	for (bool is_changed = false; at < page_bytes; is_changed = !is_changed) {
		number = get_number(number, end, &count);
		if (!number || count > page_bytes - at || (count == 0 && number != in + 1))
			return NULL;
		at += count;
		changed += is_changed ? count : 0;
	}
	return (size_t) (end - number) == changed ? number : NULL;
}

bool delta_decode(const uint8_t *old, const uint8_t *in, size_t length, uint8_t *new,
		  size_t page_bytes)
{
	const uint8_t *runs_end = runs_check(in, length, page_bytes);
	if (!runs_end)
		return false;
	if (new != old)
		memcpy(new, old, page_bytes);

	const uint8_t *number = in, *bytes = runs_end;
	size_t equal, changed, at = 0;
	while (number < runs_end) {
		number = get_number(number, runs_end, &equal);
		if (number == runs_end)
			break;
		number = get_number(number, runs_end, &changed);
		at += equal;
		xor_run(new + at, new + at, bytes, changed);
		at += changed;
		bytes += changed;
	}
	return true;
}
