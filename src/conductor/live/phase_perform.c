/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's own migration, driven from here, with the movers' socket as its way. The call blocks,
 * so it has a thread; this thread looks after it: cancels, movers that give up, a ceiling that is
 * reached, a destination that falls silent. */
#include "conductor/disks/disk_params.h"
#include "conductor/disks/disk_watch.h"
#include "conductor/core/movers.h"
#include "conductor/live/qemu_settings.h"
#include "conductor/live/downtime_guard.h"
#include "conductor/live/finish.h"
#include "conductor/live/performing.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/live/limit_decisions.h"
#include "conductor/measure/prediction.h"
#include "conductor/measure/rehearsal.h"
#include "conductor/live/ladder_decisions.h"
#include "conductor/live/pause_watch.h"
#include "conductor/live/qemu_errors.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "control/messages.h"

#include <libvirt/virterror.h>

enum {
	TICK_MS = 200,
	STOP_LOOK_MS = 20, /* between looks for the stop, where the mover's clock waits for it */
};

/* libvirt: in MiB/s; this is the most it takes, and QEMU's own default would be 128 MiB/s. The cap
 * of the user is kept by the mover, on the wire. */
static const unsigned long long unlimited_mib = INT64_MAX / (1024 * 1024);

static bool fill_params(struct performing *performing, GError **error)
{
	struct move *move = performing->move;
	int max = 0;
	/* the VM's name is in it, and may hold what a URI cannot */
	g_autofree char *path = g_uri_escape_string(move->socket, "/", FALSE);
	g_autofree char *uri = g_strdup_printf("unix://%s", path);
	if (virTypedParamsAddString(&performing->params, &performing->param_count, &max,
				    VIR_MIGRATE_PARAM_URI, uri) < 0 ||
	    virTypedParamsAddULLong(&performing->params, &performing->param_count, &max,
				    VIR_MIGRATE_PARAM_BANDWIDTH, unlimited_mib) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
	performing->flags = move->resume_flags ? move->resume_flags : move_migrate_flags(move);
	if (move->limits.max_slowdown > 0 &&
	    (virTypedParamsAddInt(&performing->params, &performing->param_count, &max,
				  VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL, THROTTLE_LEAST) < 0 ||
	     virTypedParamsAddInt(&performing->params, &performing->param_count, &max,
				  VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT, THROTTLE_MOST) < 0))
		return host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
	return disk_params_add(move, performing->flags, &performing->params,
			       &performing->param_count, &max, error);
}

static int64_t read_ms(virTypedParameterPtr params, int count, const char *name)
{
	unsigned long long ms = 0;
	bool there = virTypedParamsGetULLong(params, count, name, &ms) > 0;
	return there && ms <= INT32_MAX ? (int64_t) ms : -1;
}

static void read_downtime(struct performing *performing)
{
	struct downtime_sight *sight = &performing->downtime;
	virTypedParameterPtr params = NULL;
	int count = 0, type = 0;
	sight->whole_ms = sight->net_ms = -1;
	if (virDomainGetJobStats(performing->result, &type, &params, &count,
				 VIR_DOMAIN_JOB_STATS_COMPLETED) < 0)
		return;
	sight->whole_ms = read_ms(params, count, VIR_DOMAIN_JOB_DOWNTIME);
	sight->net_ms = read_ms(params, count, VIR_DOMAIN_JOB_DOWNTIME_NET);
	virTypedParamsFree(params, count);
}

static gpointer migrate(gpointer data)
{
	struct performing *performing = data;
	struct move *move = performing->move;
	performing->result = virDomainMigrate3(
		move->domain, move->hosts[MOVE_DESTINATION]->connection, performing->params,
		(unsigned) performing->param_count, performing->flags);
	if (performing->result)
		read_downtime(performing);
	else
		host_error(&performing->error, WATARI_ERROR_INTERNAL, NULL, _("libvirt"));
	g_atomic_int_set(&performing->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* ---- looking after it ---- */

static void tell_changes(struct performing *performing)
{
	struct limit_change change;
	while (job_stats_take_change(performing->watch, &change))
		limit_decisions_note(performing->move, &change);
	struct ladder_decision decision;
	/* one that stands still comes to its end by itself */
	while (job_stats_take_decision(performing->watch, &decision))
		if (!performing->move->quick && !performing->move->rehearsal)
			ladder_decisions_take(performing->move, &decision);
}

static void cut_sleeper(struct performing *performing)
{
	struct move *move = performing->move;
	if (!performing->slept)
		move_note(move, true,
			  _("libvirt at %s does not notice that the VM's migration is over, for "
			    "the VM has "
			    "ended; until it is restarted (systemctl restart libvirtd, or "
			    "virtqemud; VMs "
			    "go on running) it will not start this VM again"),
			  move->hosts[MOVE_SOURCE]->name);
	performing->slept = true;
	guard_cut(move->guard);
}

static gboolean tick_performing(gpointer data)
{
	struct performing *performing = data;
	struct move *move = performing->move;
	const struct move_limits *limits = &move->limits;
	struct job_stats_numbers numbers;
	job_stats_tighten(performing->watch, limits->ceiling_ms, limits->hand_over_ms,
			  limits->postcopy && !postcopy_refused(move));
	perform_show(performing);
	tell_changes(performing);
	perform_nudge(performing);
	downtime_guard_tick(performing->ceiling);
	job_stats_get(performing->watch, &numbers);
	parts_tick(move, &numbers);
	const char *reason = perform_reason(performing);
	if (reason && !(move->released && guard_finish_sent(move->guard)))
		perform_end_it(performing, reason);
	if (perform_is_silent(performing))
		guard_cut(move->guard);
	if (perform_sleeps(performing))
		cut_sleeper(performing);
	return G_SOURCE_CONTINUE;
}

/* Into the report, what of libvirt's word can be true. */
static void note_downtime(struct performing *performing)
{
	enum { LATE_MS = 1000 }; /* so late at the most is a stop heard of here */
	struct move *move = performing->move;
	struct downtime_sight *sight = &performing->downtime;
	int64_t heard_us = move->still ? move->still_us : move->stopped_us;
	if (!performing->result)
		return;
	sight->least_ms = move->report->stop_to_release_ms;
	sight->most_ms = move->report->migration_ms;
	if (heard_us)
		sight->most_ms = MIN(sight->most_ms, (clock_now_us() - heard_us) / 1000 + LATE_MS);
	sight->apart_known = prediction_clocks_apart_ms(move->prediction, &sight->apart_ms,
							&sight->round_trip_ms);
	move->report->libvirt_downtime_ms = downtime_choose(sight);
}

/* ---- the whole ---- */

/* The source's mover starts its clock now: the disks' last writes are part of the standstill. */
static void on_still(void *data)
{
	struct move *move = data;
	move->still = true;
	move->still_us = clock_now_us();
	movers_tell(move, MOVE_SOURCE, dialogue_message(MESSAGE_STOPPED));
	journal_note_event(move->journal, move->report->id, "still", NULL);
	move_say(move, _("the VM is stopped; sending the rest"));
}

static void run_migration(struct performing *performing)
{
	struct move *move = performing->move;
	int64_t start_ms = clock_now_ms();
	move->performed = move->performing = true;
	int64_t ceiling_ms = move->limits.ceiling_ms;
	struct job_stats_rules rules = { .ceiling_ms = ceiling_ms ? ceiling_ms
								  : move->request->max_downtime_ms,
					 .reserve_ms = move->limits.hand_over_ms,
					 .easy_ms = move_easy_ms(move) };
	ladder_decisions_rules(move, &rules.ladder);
	move->report->limit_ms = LIMIT_LEAST_MS;
	struct pause_watch *pause_watch = NULL;
	parts_begin(move);
	if (move->disks_socket)
		move_say(move, _("copying disks"));
	if ((move->disks_socket || move->quick) && !move->paused_before)
		pause_watch = pause_watch_new(move->domain, STOP_LOOK_MS, on_still, move);
	performing->ceiling = downtime_guard_new(move, pause_watch != NULL);
	performing->disk_watch = disk_watch_new(move);
	performing->watch = job_stats_new(move->domain, &rules);
	GThread *thread = g_thread_new("migrate", migrate, performing);
	guint timer = g_timeout_add(TICK_MS, tick_performing, performing);
	while (!g_atomic_int_get(&performing->done)) {
		g_main_context_iteration(NULL, TRUE);
		if (move->cancelled && !performing->ending_ms)
			tick_performing(
				performing); /* while the VM is stopped every moment counts */
	}
	g_source_remove(timer);
	pause_watch_free(pause_watch);
	downtime_guard_free(performing->ceiling);
	disk_watch_free(performing->disk_watch);
	g_thread_join(thread);
	move->report->migration_ms = clock_now_ms() - start_ms;
	note_downtime(performing);
	tell_changes(performing);
	job_stats_free(performing->watch);
	perform_join(performing);
	parts_end(move);
	move->performing = false;
}

/* What libvirt says when a mover closed the socket is less than what the mover says. */
static void explain_failure(struct performing *performing, GError **error)
{
	struct move *move = performing->move;
	g_autofree char *libvirt_says = error_what(performing->error);
	/* behind the gate nothing was ended for it, but it may be why libvirt failed */
	if (!move->mover_reason && movers_failure(move))
		move->mover_reason = error_what(movers_failure(move));
	if (move->cancelled && (!move->released || performing->ending_ms))
		move_check_cancel(move, error);
	else if (move->mover_reason && move->mover_next)
		error_set(error, WATARI_ERROR_FAILED, move->mover_next, "%s", move->mover_reason);
	else if (move->mover_reason)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s (%s)", move->mover_reason,
			  libvirt_says);
	else {
		g_autofree char *next = qemu_error_advise(
			libvirt_says, move->report->vm_name, move->hosts[MOVE_SOURCE]->name,
			move->hosts[MOVE_DESTINATION]->name, move->disks_socket != NULL);
		error_set(error, WATARI_ERROR_FAILED, next, "%s", libvirt_says);
	}
}

/* Without a hold on it QEMU would throttle the VM further than the user permits. */
static bool hold_throttle(struct move *move, GError **error)
{
	return qemu_settings_read(move, error) &&
	       (move->limits.max_slowdown == 0 ||
		throttle_hold(move->domain, &move->throttle, error) || throttle_refuse(error));
}

/* In post-copy the end of libvirt's call need not be the end: the movers may go on all the same, or
 * QEMU can be brought to go on (postcopy.h). */
static bool mend(struct performing *performing, GError **error)
{
	struct move *move = performing->move;
	while (!performing->result && postcopy_holds(move) && !postcopy_wait(move)) {
		if (!postcopy_renew(move, error) ||
		    (!performing->params && !fill_params(performing, error)))
			return false;
		performing->flags |= VIR_MIGRATE_POSTCOPY_RESUME;
		g_clear_error(&performing->error);
		performing->done = 0;
		performing->ending_ms = performing->abort_at_ms = 0;
		finish_arm(move);
		run_migration(performing);
	}
	if (performing->result)
		postcopy_await_proof(move);
	return performing->result != NULL;
}

static void clear_performing(struct performing *performing)
{
	virTypedParamsFree(performing->params, performing->param_count);
	if (performing->result)
		virDomainFree(performing->result);
	g_clear_error(&performing->error);
	*performing = (struct performing){ .move = performing->move };
}

static bool conclude_migration(struct performing *performing, bool good, GError **error)
{
	struct move *move = performing->move;
	if (move->rehearsal)
		good = rehearsal_judge(move, error);
	if (!good && !*error)
		explain_failure(performing, error);
	clear_performing(performing);
	return good;
}

static void start_migration(struct performing *performing)
{
	struct move *move = performing->move;
	for (int side = MOVE_SIDES - 1; side >= 0; side--)
		movers_tell(move, side, dialogue_message(MESSAGE_START));
	finish_arm(move);
	run_migration(performing);
	if (performing->result)
		parts_arrived(move);
}

/* Of a rehearsal whose disks are more than was to be copied. */
static bool rehearse_memory(struct performing *performing, GError **error)
{
	clear_performing(performing);
	if (!rehearsal_renew(performing->move, error) || !fill_params(performing, error))
		return false;
	start_migration(performing);
	return true;
}

bool phase_perform(struct move *move, GError **error)
{
	struct performing performing = { .move = move };
	if (!fill_params(&performing, error) || !hold_throttle(move, error)) {
		clear_performing(&performing);
		return false;
	}
	finish_begin(move);
	start_migration(&performing);
	if (rehearsal_wants_memory(move) && !rehearse_memory(&performing, error))
		return conclude_migration(&performing, false, error);
	return conclude_migration(&performing, performing.result || mend(&performing, error),
				  error);
}

bool phase_perform_resume(struct move *move, GError **error)
{
	struct performing performing = { .move = move };
	return conclude_migration(&performing, mend(&performing, error), error);
}
