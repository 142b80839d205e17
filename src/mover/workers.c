/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/workers.h"

#include <time.h>
#include <unistd.h>

#define WORKERS_DEFAULT_MAX 4

unsigned workers_count(const struct run *run)
{
	unsigned asked = run->settings->cores;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	if (asked)
		return MIN(asked, RUN_WORKERS_MAX);
	return (unsigned) CLAMP(cores / 4, 1, WORKERS_DEFAULT_MAX);
}

int64_t workers_cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
