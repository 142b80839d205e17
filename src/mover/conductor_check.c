/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/conductor_check.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/wait.h"

enum {
	ANSWER_MS = 10000, /* far below what libvirt waits for a client that is silent (30 s) */
	FRESH_MS = 100,    /* a proof of memory may have taken seconds since the answer came */
};

void awake_ask(struct run *run)
{
	JsonObject *question = json_object_new();
	pthread_mutex_lock(&run->lock);
	json_object_set_int_member(question, "n", ++run->awake.asked);
	pthread_mutex_unlock(&run->lock);
	run_post(run, "ask-awake", question);
}

static bool wait_answer(struct run *run)
{
	int64_t until_us = clock_now_us() + ANSWER_MS * INT64_C(1000);
	pthread_mutex_lock(&run->lock);
	while (run->awake.answered < run->awake.asked && run->phase != RUN_REFUSED)
		if (!wait_cond_until(&run->changed, &run->lock, until_us))
			break;
	bool good = run->awake.answered >= run->awake.asked;
	pthread_mutex_unlock(&run->lock);
	return good;
}

static bool is_stale(struct run *run)
{
	pthread_mutex_lock(&run->lock);
	bool stale = run->awake.answered == run->awake.asked &&
		     clock_now_us() - run->awake.answered_us > FRESH_MS * INT64_C(1000);
	pthread_mutex_unlock(&run->lock);
	return stale;
}

bool awake_wait(struct run *run, GError **error)
{
	if (is_stale(run))
		awake_ask(run);
	return wait_answer(run) ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the program that drives the move does not answer, so the VM was not "
			   "handed over; it goes on at the source"));
}

void awake_answered(struct run *run, int64_t number)
{
	pthread_mutex_lock(&run->lock);
	if (number > run->awake.answered && number <= run->awake.asked) {
		run->awake.answered = number;
		run->awake.answered_us = clock_now_us();
		pthread_cond_broadcast(&run->changed);
	}
	pthread_mutex_unlock(&run->lock);
}
