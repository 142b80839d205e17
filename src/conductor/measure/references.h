/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the VM's memory will travel as references to its disks, and how much of its copied disks as references
 * to images that the destination has. The movers look through the images, and for sampled pages on them
 * (mover/measure/image_tags.h), before it is known what becomes of each disk; once that is known, it follows what the
 * destination will have. Only inside src/conductor. */
#pragma once
#include <json-glib/json-glib.h>

struct move;
/* The images of the message "measure": [{"path", "format", "below"}]. Caller owns it. */
JsonArray *references_list_images(struct move *move);
/* What both movers found on them, and what becomes of the disks: into the facts. After the disks' phases. */
void references_take(struct move *move);
