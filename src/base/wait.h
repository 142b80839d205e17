/* SPDX-License-Identifier: Apache-2.0 */
/* Condition variables that wait by the monotonic clock. pthread's own wait by the wall clock,
 * which whoever sets the host's time moves: a wait of 5 ms then takes an hour, or none at all. So
 * nothing else in src/ makes one, or waits on one for a time (a static check). GLib's GCond is
 * monotonic by itself. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void wait_cond_init(pthread_cond_t *cond);
/* With LOCK held, until signalled or UNTIL_US of clock_now_us(). False when that time has come.
 * Like pthread's, it may return early for no reason. */
bool wait_cond_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t until_us);
