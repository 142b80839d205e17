/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a guest's memory lies on its disks as well: such pages will travel as references, if the
 * destination has the disk or gets it before. The images are looked through at this host, beside the looks at the
 * memory, and what is found is kept for the next time (disk/seed_index.h, under this host's own key).
 *
 * Memory: an index of each image that is looked at, one after the other. */
#pragma once
#include "mover/sample.h"

struct image_tags;
/* IMAGES: [{"path", "format", "below": it is one that the last before it that is not stands on}]. Looks through those of
 * which nothing is kept, or something old, for SCAN_MS at most (0: not at all), in a thread of its own. NULL:
 * nonsense, or no key could be had. */
struct image_tags *image_tags_begin(JsonArray *images, int64_t scan_ms);
/* Waits for the end of the looking through, and finds the pages of SAMPLE's last look (NULL: none).
 * [{"path", "known": how many of them, those of earlier images left out, "bytes": of the image that are not
 * zero, "size": of its file, "kept": it was known from before, "whole": to its end, "content": what it alone gives to
 * the disk (image_content.h); only where there was time to scan}]. Frees TAGS. */
JsonArray *image_tags_end(struct image_tags *tags, struct sample *sample);
