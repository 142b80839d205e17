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
#include "conductor/quick/quick.h"
#include "conductor/convergence/limit_decisions.h"
#include "conductor/measure/prediction.h"
#include "conductor/measure/rehearsal.h"
#include "conductor/convergence/ladder_decisions.h"
#include "conductor/live/pause_watch.h"
#include "conductor/live/qemu_errors.h"

#include "base/clock.h"
#include "base/i18n.h"

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
	struct journey *journey = performing->journey;
	int max = 0;
	/* the VM's name is in it, and may hold what a URI cannot */
	g_autofree char *path = g_uri_escape_string(journey->socket, "/", FALSE);
	g_autofree char *uri = g_strdup_printf("unix://%s", path);
	if (virTypedParamsAddString(&performing->params, &performing->param_count, &max,
				    VIR_MIGRATE_PARAM_URI, uri) < 0 ||
	    virTypedParamsAddULLong(&performing->params, &performing->param_count, &max,
				    VIR_MIGRATE_PARAM_BANDWIDTH, unlimited_mib) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
	performing->flags =
		journey->resume_flags ? journey->resume_flags : journey_migrate_flags(journey);
	if (journey->limits.max_slowdown > 0 &&
	    (virTypedParamsAddInt(&performing->params, &performing->param_count, &max,
				  VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL, THROTTLE_LEAST) < 0 ||
	     virTypedParamsAddInt(&performing->params, &performing->param_count, &max,
				  VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT, THROTTLE_MOST) < 0))
		return host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
	return disk_params_add(journey, performing->flags, &performing->params,
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
	struct journey *journey = performing->journey;
	performing->result = virDomainMigrate3(
		journey->domain, journey->hosts[JOURNEY_DESTINATION]->connection,
		performing->params, (unsigned) performing->param_count, performing->flags);
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
	while (watch_take_change(performing->watch, &change))
		raises_note(performing->journey, &change);
	struct ladder_decision decision;
	/* one that stands still comes to its end by itself */
	while (watch_take_decision(performing->watch, &decision))
		if (!performing->quick && !performing->journey->rehearsal)
			rungs_take(performing->journey, &decision);
}

static void look_after_strategy(struct performing *performing)
{
	struct watch_numbers numbers;
	watch_get(performing->watch, &numbers);
	postcopy_tick(performing->journey);
	quick_tick(performing->quick, &numbers);
}

static void cut_sleeper(struct performing *performing)
{
	struct journey *journey = performing->journey;
	if (!performing->slept)
		journey_note(journey, true,
			     _("libvirt at %s does not notice that the VM's migration is over, for "
			       "the VM has "
			       "ended; until it is restarted (systemctl restart libvirtd, or "
			       "virtqemud; VMs "
			       "go on running) it will not start this VM again"),
			     journey->hosts[JOURNEY_SOURCE]->name);
	performing->slept = true;
	guard_cut(journey->guard);
}

static gboolean tick(gpointer data)
{
	struct performing *performing = data;
	struct journey *journey = performing->journey;
	const struct journey_limits *limits = &journey->limits;
	watch_tighten(performing->watch, limits->ceiling_ms, limits->hand_over_ms,
		      limits->postcopy && !postcopy_refused(journey));
	perform_show(performing);
	tell_changes(performing);
	ahead_tick(journey);
	perform_nudge(performing);
	ceiling_tick(performing->ceiling);
	look_after_strategy(performing);
	const char *reason = perform_reason(performing);
	if (reason && !(journey->released && guard_finish_sent(journey->guard)))
		perform_end_it(performing, reason);
	if (perform_is_silent(performing))
		guard_cut(journey->guard);
	if (perform_sleeps(performing))
		cut_sleeper(performing);
	return G_SOURCE_CONTINUE;
}

/* Into the report, what of libvirt's word can be true. */
static void note_downtime(struct performing *performing)
{
	enum { LATE_MS = 1000 }; /* so late at the most is a stop heard of here */
	struct journey *journey = performing->journey;
	struct downtime_sight *sight = &performing->downtime;
	int64_t heard_us = journey->still ? journey->still_us : journey->stopped_us;
	if (!performing->result)
		return;
	sight->least_ms = journey->report->stop_to_release_ms;
	sight->most_ms = journey->report->migration_ms;
	if (heard_us)
		sight->most_ms = MIN(sight->most_ms, (clock_now_us() - heard_us) / 1000 + LATE_MS);
	sight->apart_known =
		ahead_clocks_apart_ms(journey->ahead, &sight->apart_ms, &sight->round_trip_ms);
	journey->report->libvirt_downtime_ms = downtime_choose(sight);
}

/* ---- the whole ---- */

/* The source's mover starts its clock now: the disks' last writes are part of the standstill. */
static void on_still(void *data)
{
	struct journey *journey = data;
	journey->still = true;
	journey->still_us = clock_now_us();
	movers_tell(journey, JOURNEY_SOURCE, dialogue_message("stopped"));
	journal_note_event(journey->journal, journey->report->id, "still", NULL);
	journey_say(journey, _("the VM is stopped; sending the rest"));
}

static void run_migration(struct performing *performing)
{
	struct journey *journey = performing->journey;
	int64_t start_ms = clock_now_ms();
	journey->performed = journey->performing = true;
	int64_t ceiling_ms = journey->limits.ceiling_ms;
	struct watch_rules rules = { .ceiling_ms = ceiling_ms ? ceiling_ms
							      : journey->request->max_downtime_ms,
				     .reserve_ms = journey->limits.hand_over_ms,
				     .easy_ms = journey_easy_ms(journey) };
	rungs_rules(journey, &rules.ladder);
	journey->report->limit_ms = LIMIT_LEAST_MS;
	struct standstill *standstill = NULL;
	performing->quick = quick_new(journey);
	if (journey->disks_socket)
		journey_say(journey, _("copying disks"));
	if ((journey->disks_socket || performing->quick) && !journey->paused_before)
		standstill = standstill_new(journey->domain, STOP_LOOK_MS, on_still, journey);
	performing->ceiling = ceiling_new(journey, standstill != NULL);
	performing->disk_watch = disk_watch_new(journey);
	performing->watch = watch_new(journey->domain, &rules);
	GThread *thread = g_thread_new("migrate", migrate, performing);
	guint timer = g_timeout_add(TICK_MS, tick, performing);
	while (!g_atomic_int_get(&performing->done)) {
		g_main_context_iteration(NULL, TRUE);
		if (journey->cancelled && !performing->ending_ms)
			tick(performing); /* while the VM is stopped every moment counts */
	}
	g_source_remove(timer);
	standstill_free(standstill);
	ceiling_free(performing->ceiling);
	disk_watch_free(performing->disk_watch);
	g_thread_join(thread);
	journey->report->migration_ms = clock_now_ms() - start_ms;
	note_downtime(performing);
	tell_changes(performing);
	watch_free(performing->watch);
	perform_join(performing);
	postcopy_join(journey);
	journey->performing = false;
	quick_end(performing->quick);
}

/* What libvirt says when a mover closed the socket is less than what the mover says. */
static void explain(struct performing *performing, GError **error)
{
	struct journey *journey = performing->journey;
	g_autofree char *libvirt_says = error_what(performing->error);
	/* behind the gate nothing was ended for it, but it may be why libvirt failed */
	if (!journey->mover_reason && movers_failure(journey))
		journey->mover_reason = error_what(movers_failure(journey));
	if (journey->cancelled && (!journey->released || performing->ending_ms))
		journey_check_cancel(journey, error);
	else if (journey->mover_reason && journey->mover_next)
		error_set(error, WATARI_ERROR_FAILED, journey->mover_next, "%s",
			  journey->mover_reason);
	else if (journey->mover_reason)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s (%s)", journey->mover_reason,
			  libvirt_says);
	else {
		g_autofree char *next = late_advise(libvirt_says, journey->report->vm_name,
						    journey->hosts[JOURNEY_SOURCE]->name,
						    journey->hosts[JOURNEY_DESTINATION]->name,
						    journey->disks_socket != NULL);
		error_set(error, WATARI_ERROR_FAILED, next, "%s", libvirt_says);
	}
}

/* Without a hold on it QEMU would throttle the VM further than the user permits. */
static bool hold_throttle(struct journey *journey, GError **error)
{
	return before_read(journey, error) &&
	       (journey->limits.max_slowdown == 0 ||
		throttle_hold(journey->domain, &journey->throttle, error) ||
		throttle_refuse(error));
}

/* In post-copy the end of libvirt's call need not be the end: the movers may go on all the same, or
 * QEMU can be brought to go on (postcopy.h). */
static bool mend(struct performing *performing, GError **error)
{
	struct journey *journey = performing->journey;
	while (!performing->result && postcopy_holds(journey) && !postcopy_wait(journey)) {
		if (!postcopy_renew(journey, error) ||
		    (!performing->params && !fill_params(performing, error)))
			return false;
		performing->flags |= VIR_MIGRATE_POSTCOPY_RESUME;
		g_clear_error(&performing->error);
		performing->done = 0;
		performing->ending_ms = performing->abort_at_ms = 0;
		finish_arm(journey);
		run_migration(performing);
	}
	if (performing->result)
		postcopy_await_proof(journey);
	return performing->result != NULL;
}

static void clear(struct performing *performing)
{
	virTypedParamsFree(performing->params, performing->param_count);
	if (performing->result)
		virDomainFree(performing->result);
	g_clear_error(&performing->error);
	*performing = (struct performing){ .journey = performing->journey };
}

static bool conclude(struct performing *performing, bool good, GError **error)
{
	struct journey *journey = performing->journey;
	if (journey->rehearsal)
		good = rehearsal_judge(journey, error);
	if (!good && !*error)
		explain(performing, error);
	clear(performing);
	return good;
}

static void start(struct performing *performing)
{
	struct journey *journey = performing->journey;
	for (int side = JOURNEY_SIDES - 1; side >= 0; side--)
		movers_tell(journey, side, dialogue_message("start"));
	finish_arm(journey);
	rehearsal_begin(journey);
	run_migration(performing);
	if (performing->result)
		ahead_end(journey);
}

/* Of a rehearsal whose disks are more than was to be copied. */
static bool rehearse_memory(struct performing *performing, GError **error)
{
	clear(performing);
	if (!rehearsal_renew(performing->journey, error) || !fill_params(performing, error))
		return false;
	start(performing);
	return true;
}

bool phase_perform(struct journey *journey, GError **error)
{
	struct performing performing = { .journey = journey };
	if (!fill_params(&performing, error) || !hold_throttle(journey, error)) {
		clear(&performing);
		return false;
	}
	finish_begin(journey);
	start(&performing);
	if (rehearsal_wants_memory(journey) && !rehearse_memory(&performing, error))
		return conclude(&performing, false, error);
	return conclude(&performing, performing.result || mend(&performing, error), error);
}

bool phase_perform_resume(struct journey *journey, GError **error)
{
	struct performing performing = { .journey = journey };
	return conclude(&performing, mend(&performing, error), error);
}
