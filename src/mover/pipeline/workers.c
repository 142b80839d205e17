/* SPDX-License-Identifier: Apache-2.0 */
/* How many workers there are, and their processor time. */
#include "mover/pipeline/workers.h"

#include <time.h>
#include <unistd.h>

#define WORKERS_DEFAULT_MAX 4
#define WORKER_BYTES (32 * 1024 * 1024) /* of the memory limit, for each worker */

unsigned workers_count(const struct transfer *transfer)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned wanted = (unsigned) CLAMP(cores / 4, 1, WORKERS_DEFAULT_MAX);
	unsigned most = (unsigned) MIN(transfer->settings->memory_limit / WORKER_BYTES,
				       TRANSFER_WORKERS_MAX);
	if (transfer->settings->cores)
		wanted = transfer->settings->cores;
	return MIN(wanted, MAX(most, 1));
}

int64_t workers_cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
