/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover tells about itself: the `stats` message of docs/control.md. */
#pragma once
#include "mover/core/transfer.h"

#define STATS_INTERVAL_MS 200

JsonObject *stats_describe(struct transfer *transfer);
