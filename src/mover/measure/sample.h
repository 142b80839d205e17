/* SPDX-License-Identifier: Apache-2.0 */
/* A sample of a running guest's memory, read from outside: what it is made of, and how fast its content
 * changes. Nothing is asked of QEMU, and nothing is written.
 *
 * The sample is SAMPLE_CLUSTER neighbouring pages at a time, a cluster in each of equal parts of the
 * memory. Only pages that QEMU has mapped are read: reading another one would make the kernel give the
 * guest memory (shared kinds), or fetch it from swap. A page that is not there counts as zeros, one
 * that is swapped out as one that nothing is known of.
 *
 * What changes is *content*: a page that was written with what it held before does not count, and
 * neither does how often it was written.
 *
 * Thread rules: one thread at a time. Memory: two copies of the sample at most.
 */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

#define SAMPLE_PAGE 4096
#define SAMPLE_CLUSTER 16

struct sample;
/* Of the memory of process PID, which lies in COUNT mappings of those LENGTHS; about PAGES pages of it. */
struct sample *sample_new(int pid, const uint64_t *lengths, unsigned count, unsigned pages,
			  GError **error);
void sample_free(struct sample *sample);
/* Read all of it: the first time to remember it, later to compare with that. Returns how many pages of
 * the sample differ from the first time (or 0), -1 with *error if the process is gone. */
int64_t sample_look(struct sample *sample, GError **error);
/* The next page of the last look, from *AT on, that holds something; *AT goes behind it. NULL: no more. It
 * belongs to SAMPLE, until the next look. */
const uint8_t *sample_next_page(const struct sample *sample, size_t *at);
/* The same for pages that changed since the first look: as they were then. */
const uint8_t *sample_next_older(const struct sample *sample, size_t *at);
/* Page number PAGE of it (*AT - 1 of the call that gave it) will not travel: it lies on an image as well, or an
 * earlier one of the sample is the same; or it changed, and what it was lay on an image: no older version of it will
 * have travelled, so that the new one goes whole. */
enum sample_elsewhere { SAMPLE_ON_IMAGE = 1, SAMPLE_TWICE = 2, SAMPLE_OLDER_ON_IMAGE = 4 };
void sample_note_elsewhere(struct sample *sample, size_t page, enum sample_elsewhere where);
/* How those pages of the last look pack that lie nowhere else, and those that changed since the first. */
JsonObject *sample_describe(struct sample *sample);
