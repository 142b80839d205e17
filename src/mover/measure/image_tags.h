/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a guest's memory lies on its disks as well: such pages will travel as references, if the
 * destination has the disk or gets it before. The images are looked through at this host, beside the looks at the
 * memory, and what is found is kept for the next time (nbd/seed_index.h, under this host's own key).
 *
 * Memory: an index of each image that is looked at, one after the other. */
#pragma once
#include "mover/measure/sample.h"

struct image_tags;
/* IMAGES: [{"path", "format", "below": it is one that the last before it that is not stands on}]. Looks through those of
 * which nothing is kept, or something old, for SCAN_MS at most (0: not at all), in a thread of its own. NULL:
 * nonsense, or no key could be had. */
struct image_tags *image_tags_begin(JsonArray *images, int64_t scan_ms);
/* Gives the thread its time, and hardly more: storage that does not answer holds nobody for long. */
void image_tags_wait(struct image_tags *tags);
/* Finds the pages of SAMPLE's last look (NULL: none) on what is known by now, and notes in SAMPLE which are there.
 * [{"path", "known": how many of them, those of earlier images left out, "bytes": of the image that are not
 * zero, "size": of its file, "kept": it was known from before, "whole": to its end, "content": what it alone gives to
 * the disk (image_content.h); only where there was time to scan}]. */
JsonArray *image_tags_describe(struct image_tags *tags, struct sample *sample);
/* NULL is none. */
void image_tags_free(struct image_tags *tags);
