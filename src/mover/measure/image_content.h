/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is made of, by its index (nbd/seed_index.h): how many different blocks it holds, which of them lie on the
 * images that it stands on, and how they pack. For a disk that is to be copied: what lies below may be there
 * already, and nothing travels twice.
 *
 * Memory: 8 bytes a block of an image and of one below, and a trial of the encoders. */
#pragma once
#include "content/tag.h"
#include "nbd/reader.h"
#include "nbd/seed_index.h"

#include <json-glib/json-glib.h>

/* The tags of an image's blocks, each once, in order: uint64_t. INDEX may be NULL. */
GArray *image_content_new(const struct seed_index *index);
/* Takes those out of LEFT that INDEX (NULL: none) has as well, and returns them. */
GArray *image_content_take(GArray *left, const struct seed_index *index);
/* Into OBJECT: "blocks", how many TAGS are; and how some of them pack, read of the image by READER ("batch", "stream",
 * as packing_end()); NULL: it cannot be read. */
void image_content_describe(GArray *tags, const struct seed_index *index,
			    struct disk_reader *reader, JsonObject *object);
