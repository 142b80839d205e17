/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the conductor whether it is awake, and waits for the answer. */
#include "mover/core/conductor_check.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "control/messages.h"

enum {
	ANSWER_MS = 10000, /* far below what libvirt waits for a client that is silent (30 s) */
	FRESH_MS = 100,    /* a proof of memory may have taken seconds since the answer came */
};

void conductor_check_ask(struct transfer *transfer)
{
	JsonObject *question = json_object_new();
	pthread_mutex_lock(&transfer->lock);
	json_object_set_int_member(question, "n", ++transfer->awake.asked);
	pthread_mutex_unlock(&transfer->lock);
	transfer_post(transfer, EVENT_ASK_AWAKE, question);
}

static bool wait_answer(struct transfer *transfer)
{
	int64_t until_us = clock_now_us() + ANSWER_MS * INT64_C(1000);
	pthread_mutex_lock(&transfer->lock);
	while (transfer->awake.answered < transfer->awake.asked &&
	       transfer->phase != TRANSFER_REFUSED)
		if (!wait_cond_until(&transfer->changed, &transfer->lock, until_us))
			break;
	bool good = transfer->awake.answered >= transfer->awake.asked;
	pthread_mutex_unlock(&transfer->lock);
	return good;
}

static bool is_stale(struct transfer *transfer)
{
	pthread_mutex_lock(&transfer->lock);
	bool stale = transfer->awake.answered == transfer->awake.asked &&
		     clock_now_us() - transfer->awake.answered_us > FRESH_MS * INT64_C(1000);
	pthread_mutex_unlock(&transfer->lock);
	return stale;
}

bool conductor_check_wait(struct transfer *transfer, GError **error)
{
	if (is_stale(transfer))
		conductor_check_ask(transfer);
	return wait_answer(transfer) ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the program that drives the move does not answer, so the VM was not "
			   "handed over; it goes on at the source"));
}

void conductor_check_answered(struct transfer *transfer, int64_t number)
{
	pthread_mutex_lock(&transfer->lock);
	if (number > transfer->awake.answered && number <= transfer->awake.asked) {
		transfer->awake.answered = number;
		transfer->awake.answered_us = clock_now_us();
		pthread_cond_broadcast(&transfer->changed);
	}
	pthread_mutex_unlock(&transfer->lock);
}
