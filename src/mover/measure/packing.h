/* SPDX-License-Identifier: Apache-2.0 */
/* How pages pack in our own encoders, tried on some of them: each group alone, and as one long stream.
 *
 * Memory: a group of pages and two packers. Thread rules: one thread at a time. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#define PACKING_PAGE 4096

struct packing;
/* Of MOST pages at most. */
struct packing *packing_new(unsigned most);
/* The next of them, in the order in which they would travel. PAGE is read before the call returns. False: no
 * more are taken. */
bool packing_add(struct packing *packing, const uint8_t *page);
/* OBJECT gets "batch" and "stream": {"share": packed / original, "speed": original bytes a second of one
 * thread}; nothing where too little was tried. Frees PACKING. */
void packing_end(struct packing *packing, JsonObject *object);
