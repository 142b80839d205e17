/* SPDX-License-Identifier: Apache-2.0 */
/* Ends libvirt's migration before its time: who does it, when, and why. */
#include "conductor/core/movers.h"
#include "conductor/live/performing.h"
#include "conductor/postcopy/postcopy.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "control/messages.h"

enum {
	MOVER_ABORT_MS = 500,  /* libvirt is asked first, it ends it more tidily */
	ABORT_AGAIN_MS = 2000, /* libvirt may not know of its job yet when it is first asked */
	SILENCE_MS = 60000,    /* from the hand-over to libvirt's answer */
	NUDGE_MS = 400,        /* an answer that is longer in coming may not have been asked for */
	STUCK_MS = 45000,      /* from a cancel or a lost mover to libvirt's answer */
	GONE_MS = 10000,       /* from the VM's own end to libvirt's answer */
};

static gpointer abort_job(gpointer data)
{
	struct performing *performing = data;
	virDomainAbortJob(performing->move->domain);
	g_atomic_int_set(&performing->aborter_done, 1);
	return NULL;
}

static void join_aborter(struct performing *performing)
{
	if (performing->aborter)
		g_thread_join(g_steal_pointer(&performing->aborter));
}

static gpointer nudge(gpointer data)
{
	struct performing *performing = data;
	virDomainIsActive(performing->move->domain);
	g_atomic_int_set(&performing->nudger_done, 1);
	return NULL;
}

static void join_nudger(struct performing *performing)
{
	if (performing->nudger)
		g_thread_join(g_steal_pointer(&performing->nudger));
}

void perform_join(struct performing *performing)
{
	join_aborter(performing);
	join_nudger(performing);
}

/* libvirt's library before 10.0 may leave a thread's call unsent while another thread (here: the one
 * that migrates) waits for its own answer: the wake-up is lost when it comes between two turns of the
 * library's loop. The next call of anybody sends both. */
void perform_nudge(struct performing *performing)
{
	bool waits = job_stats_waiting_ms(performing->watch) > NUDGE_MS ||
		     parts_are_waiting(performing->move) ||
		     (performing->aborter && !g_atomic_int_get(&performing->aborter_done));
	if (!waits || (performing->nudger && !g_atomic_int_get(&performing->nudger_done)))
		return;
	join_nudger(performing);
	g_atomic_int_set(&performing->nudger_done, 0);
	performing->nudger = g_thread_new("nudge", nudge, performing);
}

/* Until the stop libvirt cancels within milliseconds. After it QEMU writes with its big lock held
 * and may answer nobody, but when the source's mover closes the socket the VM runs on at once. */
void perform_end_it(struct performing *performing, const char *reason)
{
	struct move *move = performing->move;
	int64_t now = clock_now_ms();
	if (!performing->ending_ms)
		performing->ending_ms = now;
	bool late = now - performing->ending_ms >= MOVER_ABORT_MS;
	if ((move->stopped || late) && !performing->told_source) {
		JsonObject *message = dialogue_message(MESSAGE_ABORT);
		json_object_set_string_member(message, "reason", reason);
		movers_tell(move, MOVE_SOURCE, message);
		performing->told_source = true;
	}
	if (now < performing->abort_at_ms ||
	    (performing->aborter && !g_atomic_int_get(&performing->aborter_done)))
		return;
	join_aborter(performing);
	performing->abort_at_ms = now + ABORT_AGAIN_MS;
	g_atomic_int_set(&performing->aborter_done, 0);
	performing->aborter = g_thread_new("abort", abort_job, performing);
}

/* ---- why ---- */

/* A destination that nobody can hand over to is not worth the rest of the memory. */
static void look_at_guard(struct move *move)
{
	if (move->mover_reason || move->released ||
	    !guard_is_broken(move->guard, GUARD_DESTINATION, NULL))
		return;
	move->mover_reason = g_strdup_printf(_("the connection to libvirt at %s broke"),
					     move->hosts[MOVE_DESTINATION]->name);
}

const char *perform_reason(struct performing *performing)
{
	struct move *move = performing->move;
	struct job_stats_numbers numbers;
	job_stats_get(performing->watch, &numbers);
	/* Nothing is broken off any more; but a mover that fails before the switch is a failure like any
	 * other, and the one at the source knows whether it is before. */
	bool failed = move->mover_reason || movers_failure(move);
	if (postcopy_asked(move) && (postcopy_switched(move) || !failed))
		return NULL;
	if (move->cancelled)
		return _("cancelled by the user");
	if (move->released)
		return NULL;
	const char *reason = parts_reason(move);
	if (reason)
		return reason;
	look_at_guard(move);
	if (!move->mover_reason && movers_failure(move))
		move->mover_reason = error_what(movers_failure(move));
	if (!move->mover_reason && performing->disks_hopeless && numbers.disks_only)
		move->mover_reason =
			g_strdup(_("the VM writes to its disks faster than the link carries it; "
				   "give the move a faster link, or a cap (--bandwidth) below what "
				   "the link carries, so that its writes wait"));
	return move->mover_reason;
}

/* libvirt 9.0 may sleep for ever over the migration of a VM that has ended: it goes to wait for a copied
 * disk's news after the last of them was told. It still answers others. */
bool perform_sleeps(struct performing *performing)
{
	return !performing->move->released && job_stats_gone_ms(performing->watch) > GONE_MS;
}

bool perform_is_silent(struct performing *performing)
{
	struct move *move = performing->move;
	int64_t now = clock_now_us();
	if (postcopy_is_stuck(move))
		return true;
	if (move->released && now - move->released_us > (int64_t) SILENCE_MS * 1000)
		return true;
	return performing->ending_ms && !move->released &&
	       now / 1000 - performing->ending_ms > STUCK_MS;
}
