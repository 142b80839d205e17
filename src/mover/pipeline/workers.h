/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that encode (source) or decode (destination). */
#pragma once
#include "mover/core/transfer.h"

/* How many: what the user said, else a quarter of the machine's cores, 1 to 4: the others are the
 * guests'. Never more than the memory limit is good for, one for each 32 MiB. */
unsigned workers_count(const struct transfer *transfer);
/* CPU time of the calling thread. */
int64_t workers_cpu_us(void);
