/* SPDX-License-Identifier: Apache-2.0 */
/* Waits that no change of the wall clock lengthens. */
#include "base/wait.h"

#include <errno.h>
#include <time.h>

void wait_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

bool wait_cond_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us)
{
	struct timespec until = { 0 };
	if (until_us > 0) {
		until.tv_sec = until_us / 1000000;
		until.tv_nsec = until_us % 1000000 * 1000;
	}
	return pthread_cond_timedwait(cond, lock, &until) != ETIMEDOUT;
}
