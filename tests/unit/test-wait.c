/* SPDX-License-Identifier: Apache-2.0 */
/* Waits by the monotonic clock. One by the wall clock would end at once here, for that clock is
 * decades further. */
#include "base/clock.h"
#include "base/wait.h"

#include <glib.h>

enum { LONG_MS = 60 };

struct pair {
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void pair_init(struct pair *pair)
{
	pthread_mutex_init(&pair->lock, NULL);
	wait_cond_init(&pair->cond);
	pthread_mutex_lock(&pair->lock);
}

static void pair_destroy(struct pair *pair)
{
	pthread_mutex_unlock(&pair->lock);
	pthread_cond_destroy(&pair->cond);
	pthread_mutex_destroy(&pair->lock);
}

static void test_lasts(void)
{
	struct pair pair;
	pair_init(&pair);
	int64_t began_us = clock_now_us(), until_us = began_us + LONG_MS * 1000;
	while (wait_cond_until(&pair.cond, &pair.lock, until_us))
		continue;
	g_assert_cmpint(clock_now_us() - began_us, >=, LONG_MS * 1000);
	g_assert_cmpint(clock_now_us() - began_us, <, 10 * 1000 * 1000);
	pair_destroy(&pair);
}

static void test_past(void)
{
	static const int64_t times[] = { INT64_MIN, -1, 0, 1, 999999, 1000000 };
	struct pair pair;
	pair_init(&pair);
	for (size_t i = 0; i < G_N_ELEMENTS(times); i++)
		g_assert_false(wait_cond_until(&pair.cond, &pair.lock, times[i]));
	pair_destroy(&pair);
}

static void *signal_it(void *data)
{
	struct pair *pair = data;
	pthread_mutex_lock(&pair->lock);
	pthread_cond_signal(&pair->cond);
	pthread_mutex_unlock(&pair->lock);
	return NULL;
}

static void test_signalled(void)
{
	struct pair pair;
	pthread_t thread;
	pair_init(&pair);
	g_assert_cmpint(pthread_create(&thread, NULL, signal_it, &pair), ==, 0);
	g_assert_true(wait_cond_until(&pair.cond, &pair.lock, clock_now_us() + 30000000));
	pthread_mutex_unlock(&pair.lock);
	pthread_join(thread, NULL);
	pthread_mutex_lock(&pair.lock);
	pair_destroy(&pair);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wait/lasts", test_lasts);
	g_test_add_func("/wait/past", test_past);
	g_test_add_func("/wait/signalled", test_signalled);
	return g_test_run();
}
