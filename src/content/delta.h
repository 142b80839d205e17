/* SPDX-License-Identifier: Apache-2.0 */
/* Run-length delta of a page against an older version of it.
 *
 * Format, all numbers little-endian base 128 (7 bits a byte, high bit = more follows):
 *
 *   runs:   { equal, changed } ... in turns until the sum is the size of the page. Every number
 *           but the first is at least 1; the last one may be of either kind.
 *   bytes:  old XOR new of all changed runs, one after the other
 *
 * Changed bytes with fewer than four equal ones between them are one run. Runs before bytes, and
 * XOR rather than the new bytes, because of what zstd -1 then makes of 64 such pages at once;
 * 4096 / mean bytes a page, of processes' pages one second apart (SQLite updates, Python objects,
 * one counter a page):
 *
 *                             SQLite   objects   counter   encoder alone
 *   alternating, new bytes      9.9      71.5       88
 *   alternating, XOR            9.8      71.4      116
 *   runs first, new bytes      10.0      76.2       97
 *   runs first, XOR             9.8      76.2      107      2.0-3.6 GB/s
 *   words of 8 bytes, XOR       9.7      70.9       --
 *   this, before zstd           4.3      71.4       88
 *
 * A wrong old version decodes to a wrong page without complaint: what is decoded has to be
 * checked against a tag (content/tag.h).
 *
 * Thread rules: pure functions.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DELTA_BLOCK 64       /* a page's size is a multiple of it */
#define DELTA_PAGE_MAX 65536 /* largest page */
#define DELTA_SPARE 6

/* Bytes written to OUT, at least 1 and at most OUT_MAX; 0 when they do not fit (it may ask for up
 * to DELTA_SPARE bytes more than it needs). PAGE_BYTES is a multiple of DELTA_BLOCK. */
size_t delta_encode(const uint8_t *old, const uint8_t *new, size_t page_bytes, uint8_t *out,
		    size_t out_max);
/* False when IN is no delta of a page of this size; NEW is untouched then. NEW may be OLD. */
bool delta_decode(const uint8_t *old, const uint8_t *in, size_t length, uint8_t *new,
		  size_t page_bytes);
