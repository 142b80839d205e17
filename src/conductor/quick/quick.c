/* SPDX-License-Identifier: Apache-2.0 */
/* The stop of a quick migration: when it begins, and when it will take too long. See quick.h. */
#include "conductor/quick/quick.h"
#include "conductor/core/part.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"
#include "conductor/core/stage.h"
#include "conductor/quick/quick_limit.h"

struct quick {
	struct move *move;
	GThread *suspender; /* NULL: not asked for the stop */
	gint suspended;     /* atomic: the call has ended */
	bool limited;       /* `limit` counts */
	bool gave_up;
	struct quick_limit limit;
	int64_t looked_us; /* of the last numbers */
};

static void begin(struct move *move)
{
	if (move->request->kind != MOVE_QUICK)
		return;
	move->quick = g_new0(struct quick, 1);
	move->quick->move = move;
}

/* ---- after the first pass ---- */

static gpointer suspend(gpointer data)
{
	struct quick *quick = data;
	/* Within a migration libvirt notes it as the migration's own stop. */
	virDomainSuspend(quick->move->domain);
	g_atomic_int_set(&quick->suspended, 1);
	return NULL;
}

/* Whoever found it stopped would take it for stopped by a person. */
static bool may_suspend(struct move *move)
{
	g_autoptr(GError) error = NULL;
	if (stage_enter(move, STAGE_SUSPENDING, NULL, &error))
		return true;
	move->mover_reason = error_what(error);
	move->mover_next = error_next(error);
	return false;
}

static void stop_in_time(struct quick *quick)
{
	struct move *move = quick->move;
	if (!move->request->prewarm || quick->suspender || move->still || move->stopped ||
	    move->paused_before || move->cancelled || move->mover_reason ||
	    move->progress.iteration < 2)
		return;
	if (!may_suspend(move))
		return;
	move->suspending = true;
	quick->suspender = g_thread_new("suspend", suspend, quick);
}

static bool is_calling(struct move *move)
{
	struct quick *quick = move->quick;
	return quick && quick->suspender && !g_atomic_int_get(&quick->suspended);
}

/* ---- --max-stop ---- */

static char *describe_needed(int64_t needed_ms)
{
	g_autofree char *needed = unit_format_duration_ms(needed_ms);
	return g_strdup_printf(_("at the rate so far it would have taken about %s"), needed);
}

static void give_up_stop(struct quick *quick)
{
	struct move *move = quick->move;
	quick->gave_up = true;
	g_autofree char *limit = unit_format_duration_ms(quick->limit.limit_ms);
	g_autofree char *needed = describe_needed(quick->limit.needed_ms);
	move->mover_reason = g_strdup_printf(
		_("the stop would have lasted longer than the limit of %s: %s"), limit, needed);
	g_free(move->mover_next);
	move->mover_next = g_strdup(_("Allow a longer stop (--max-stop), or give the move a "
				      "faster link."));
}

static void look_at_limit(struct quick *quick, const struct job_stats_numbers *numbers)
{
	struct move *move = quick->move;
	if (!move->still || move->released || numbers->at_us == quick->looked_us || !numbers->total)
		return;
	quick->looked_us = numbers->at_us;
	if (!quick->limited)
		quick_limit_init(&quick->limit, move->still_us, move_stop_ceiling_ms(move));
	quick->limited = true;
	bool missed = quick_limit_look(&quick->limit, numbers->at_us, numbers->remaining);
	if (missed && !move->mover_reason && !move->stopped)
		give_up_stop(quick);
}

/* The source's mover keeps the limit too, and sharper. */
static void complete_reason(struct quick *quick)
{
	struct move *move = quick->move;
	int64_t stood_ms = (clock_now_us() - move->still_us) / 1000;
	if (!move->mover_reason || quick->gave_up || move->released || !quick->limited ||
	    !quick->limit.limit_ms || quick->limit.needed_ms <= 0 ||
	    stood_ms < quick->limit.limit_ms / 2)
		return;
	g_autofree char *reason = move->mover_reason;
	g_autofree char *needed =
		describe_needed(MAX(quick->limit.needed_ms, quick->limit.limit_ms));
	move->mover_reason = g_strdup_printf("%s; %s", reason, needed);
}

/* ---- the whole ---- */

static void tick(struct move *move, const struct job_stats_numbers *numbers)
{
	if (!move->quick)
		return;
	stop_in_time(move->quick);
	look_at_limit(move->quick, numbers);
}

/* When the source's mover broke the move off at --max-stop, its reason is completed by what would have been needed. */
static void end(struct move *move)
{
	struct quick *quick = g_steal_pointer(&move->quick);
	if (!quick)
		return;
	if (quick->suspender)
		g_thread_join(quick->suspender);
	complete_reason(quick);
	g_free(quick);
}

const struct part quick_part = {
	.name = "quick",
	.begin = begin,
	.tick = tick,
	.is_waiting = is_calling,
	.end = end,
};
