/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's own migration, driven from here, with the movers' socket as its way. The call blocks,
 * so it has a thread; this thread looks after it: cancels, movers that give up, a ceiling that is
 * reached, a destination that falls silent. */
#include "journey/disk_params.h"
#include "journey/disk_trend.h"
#include "journey/disk_watch.h"
#include "journey/movers.h"
#include "journey/postcopy.h"
#include "journey/raises.h"
#include "journey/standstill.h"
#include "journey/watch.h"

#include "base/clock.h"
#include "base/i18n.h"

#include <libvirt/virterror.h>

enum {
	TICK_MS = 200,
	MOVER_ABORT_MS = 500,  /* libvirt is asked first, it ends it more tidily */
	ABORT_AGAIN_MS = 2000, /* libvirt may not know of its job yet when it is first asked */
	SILENCE_MS = 60000,    /* from the hand-over to libvirt's answer */
	NUDGE_MS = 400,        /* an answer that is longer in coming may not have been asked for */
	TCG_LIMIT_MS = 100,    /* or a third of the ceiling */
	STUCK_MS = 45000,      /* from a cancel or a lost mover to libvirt's answer */
};

/* libvirt: in MiB/s; this is the most it takes, and QEMU's own default would be 128 MiB/s. The cap
 * of the user is kept by the mover, on the wire. */
static const unsigned long long unlimited_mib = INT64_MAX / (1024 * 1024);

struct performing {
	struct journey *journey;
	/* set once */
	virTypedParameterPtr params;
	int param_count;
	unsigned flags;
	/* the call's thread, read after `done` */
	virDomainPtr result;
	GError *error;
	gint done; /* atomic */
	/* this thread */
	struct watch *watch;
	GThread *aborter;
	gint aborter_done; /* atomic */
	GThread *nudger;
	gint nudger_done;  /* atomic */
	int64_t ending_ms; /* since when it is being ended from here; 0: not */
	int64_t abort_at_ms;
	bool told_source;
	int64_t disks_us; /* of the last numbers of disks; 0: none yet */
	double disk_rate; /* bytes a second, smoothed */
	struct disk_trend disk_trend;
	struct disk_watch *disk_watch; /* NULL: none */
	bool disks_hopeless;
};

static const double disk_rate_weight = 0.2; /* of each look */

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
	return disk_params_add(journey, performing->flags, &performing->params,
			       &performing->param_count, &max, error);
}

static void read_downtime(struct performing *performing)
{
	virTypedParameterPtr params = NULL;
	int count = 0, type = 0;
	unsigned long long downtime = 0;
	if (virDomainGetJobStats(performing->result, &type, &params, &count,
				 VIR_DOMAIN_JOB_STATS_COMPLETED) < 0)
		return;
	if (virTypedParamsGetULLong(params, count, VIR_DOMAIN_JOB_DOWNTIME, &downtime) > 0)
		performing->journey->report->libvirt_downtime_ms = (int64_t) downtime;
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

/* ---- ending it from here ---- */

static gpointer abort_job(gpointer data)
{
	struct performing *performing = data;
	virDomainAbortJob(performing->journey->domain);
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
	virDomainIsActive(performing->journey->domain);
	g_atomic_int_set(&performing->nudger_done, 1);
	return NULL;
}

static void join_nudger(struct performing *performing)
{
	if (performing->nudger)
		g_thread_join(g_steal_pointer(&performing->nudger));
}

/* libvirt's library before 10.0 may leave a thread's call unsent while another thread (here: the one
 * that migrates) waits for its own answer: the wake-up is lost when it comes between two turns of the
 * library's loop. The next call of anybody sends both. */
static void nudge_library(struct performing *performing)
{
	bool waits = watch_waiting_ms(performing->watch) > NUDGE_MS ||
		     postcopy_is_waiting(performing->journey) ||
		     (performing->aborter && !g_atomic_int_get(&performing->aborter_done));
	if (!waits || (performing->nudger && !g_atomic_int_get(&performing->nudger_done)))
		return;
	join_nudger(performing);
	g_atomic_int_set(&performing->nudger_done, 0);
	performing->nudger = g_thread_new("nudge", nudge, performing);
}

/* Until the stop libvirt cancels within milliseconds. After it QEMU writes with its big lock held
 * and may answer nobody, but when the source's mover closes the socket the VM runs on at once. */
static void end_it(struct performing *performing, const char *reason)
{
	struct journey *journey = performing->journey;
	int64_t now = clock_now_ms();
	if (!performing->ending_ms)
		performing->ending_ms = now;
	bool late = now - performing->ending_ms >= MOVER_ABORT_MS;
	if ((journey->stopped || late) && !performing->told_source) {
		JsonObject *message = dialogue_message("abort");
		json_object_set_string_member(message, "reason", reason);
		movers_tell(journey, JOURNEY_SOURCE, message);
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

/* ---- looking after it ---- */

static void tell_changes(struct performing *performing)
{
	struct limit_change change;
	while (watch_take_change(performing->watch, &change))
		raises_note(performing->journey, &change);
}

/* Before the memory's turn only disks are copied. */
static void show_disks(struct performing *performing, const struct watch_numbers *numbers)
{
	struct journey_progress *progress = &performing->journey->progress;
	double elapsed_s = (double) (numbers->at_us - performing->disks_us) / 1e6;
	double done = (double) numbers->disk_done;
	if (performing->disks_us && elapsed_s > 0)
		performing->disk_rate += ((done - (double) progress->disk_done) / elapsed_s -
					  performing->disk_rate) *
					 disk_rate_weight;
	performing->disks_us = numbers->at_us;
	progress->disk_done = numbers->disk_done;
	progress->disk_total = numbers->disk_total;
	progress->rate = MAX(performing->disk_rate, 0);
	double left = (double) numbers->disk_total - done;
	progress->left_ms =
		progress->rate > 0 && left >= 0 ? (int64_t) (left / progress->rate * 1000) : -1;
	int64_t patience_ms =
		DISK_TREND_PATIENCE_MS + performing->journey->request->link_timeout_ms;
	performing->disks_hopeless = disk_trend_is_hopeless(
		&performing->disk_trend, (uint64_t) MAX(left, 0), numbers->at_us, patience_ms);
	journey_show_progress(performing->journey);
}

static void show_numbers(struct performing *performing)
{
	struct journey *journey = performing->journey;
	struct journey_progress *progress = &journey->progress;
	struct watch_numbers numbers;
	watch_set_link(performing->watch, &journey->link);
	watch_get(performing->watch, &numbers);
	if (numbers.disks_only)
		show_disks(performing, &numbers);
	if (!numbers.total)
		disk_watch_tick(performing->disk_watch, true);
	if (!numbers.total)
		return;
	disk_watch_tick(performing->disk_watch, false);
	bool begins = progress->disk_total > 0;
	progress->disk_total = progress->disk_done = 0;
	if (begins && !journey->stopped && !journey->still)
		journey_say(journey, _("copying memory"));
	progress->remaining = numbers.remaining;
	progress->total = numbers.total;
	progress->dirty_rate = numbers.dirty_rate;
	if (numbers.iteration > progress->iteration)
		progress->iteration = numbers.iteration;
	double gain = progress->rate - numbers.dirty_rate;
	progress->left_ms = !journey->stopped && gain > 0
				    ? (int64_t) ((double) numbers.remaining / gain * 1000)
				    : -1;
}

/* A destination that nobody can hand over to is not worth the rest of the memory. */
static void look_at_guard(struct journey *journey)
{
	if (journey->mover_reason || journey->released ||
	    !guard_is_broken(journey->guard, GUARD_DESTINATION, NULL))
		return;
	journey->mover_reason = g_strdup_printf(_("the connection to libvirt at %s broke"),
						journey->hosts[JOURNEY_DESTINATION]->name);
}

static const char *reason_to_end(struct performing *performing)
{
	struct journey *journey = performing->journey;
	struct watch_numbers numbers;
	watch_get(performing->watch, &numbers);
	if (postcopy_asked(journey))
		return NULL; /* nothing is broken off any more */
	if (journey->cancelled)
		return _("cancelled by the user");
	if (journey->released)
		return NULL;
	look_at_guard(journey);
	if (!journey->mover_reason && movers_failure(journey))
		journey->mover_reason = error_what(movers_failure(journey));
	if (!journey->mover_reason && numbers.hopeless && !journey->stopped)
		journey->mover_reason =
			g_strdup(_("the VM changes its memory faster than the link carries it; "
				   "allow a longer downtime (--max-downtime) or a faster link"));
	if (!journey->mover_reason && performing->disks_hopeless && numbers.disks_only)
		journey->mover_reason =
			g_strdup(_("the VM writes to its disks faster than the link carries it; "
				   "give the move a faster link, or a cap (--bandwidth) below what "
				   "the link carries, so that its writes wait"));
	return journey->mover_reason;
}

/* A destination that is there but silent must not hold us for ever. */
static bool is_silent(struct performing *performing)
{
	struct journey *journey = performing->journey;
	int64_t now = clock_now_us();
	if (postcopy_is_stuck(journey))
		return true;
	if (journey->released && now - journey->released_us > (int64_t) SILENCE_MS * 1000)
		return true;
	return performing->ending_ms && !journey->released &&
	       now / 1000 - performing->ending_ms > STUCK_MS;
}

static void look_after_postcopy(struct performing *performing)
{
	struct watch_numbers numbers;
	watch_get(performing->watch, &numbers);
	postcopy_tick(performing->journey, &numbers);
}

static gboolean tick(gpointer data)
{
	struct performing *performing = data;
	struct journey *journey = performing->journey;
	show_numbers(performing);
	tell_changes(performing);
	nudge_library(performing);
	look_after_postcopy(performing);
	const char *reason = reason_to_end(performing);
	if (reason && !(journey->released && guard_finish_sent(journey->guard)))
		end_it(performing, reason);
	if (is_silent(performing))
		guard_cut(journey->guard);
	return G_SOURCE_CONTINUE;
}

/* ---- the whole ---- */

/* Where QEMU may lose a page each time that it looks for dirty ones (the check "tcg"), few rounds are
 * worth more than a short stop. */
static int64_t least_limit_ms(struct journey *journey, int64_t ceiling_ms)
{
	GPtrArray *findings = journey->report->findings;
	for (guint i = 0; findings && i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (g_str_equal(finding->check, "tcg") && finding->result == CHECK_WARN)
			return MIN(TCG_LIMIT_MS, ceiling_ms / 3);
	}
	return LIMIT_LEAST_MS;
}

/* The source's mover starts its clock now: the disks' last writes are part of the standstill. */
static void on_still(void *data)
{
	struct journey *journey = data;
	journey->still = true;
	movers_tell(journey, JOURNEY_SOURCE, dialogue_message("stopped"));
	journey_say(journey, _("the VM is stopped; sending the rest"));
}

static void run_migration(struct performing *performing)
{
	struct journey *journey = performing->journey;
	int64_t start_ms = clock_now_ms();
	journey->performed = journey->performing = true;
	int64_t ceiling_ms = journey->request->max_downtime_ms;
	int64_t least_ms = least_limit_ms(journey, ceiling_ms);
	journey->report->limit_ms = least_ms;
	struct standstill *standstill = NULL;
	if (journey->disks_socket) {
		journey_say(journey, _("copying disks"));
		standstill = journey->paused_before
				     ? NULL
				     : standstill_new(journey->domain, on_still, journey);
	}
	performing->disk_watch = disk_watch_new(journey);
	performing->watch = watch_new(journey->domain, ceiling_ms, least_ms);
	GThread *thread = g_thread_new("migrate", migrate, performing);
	guint timer = g_timeout_add(TICK_MS, tick, performing);
	while (!g_atomic_int_get(&performing->done)) {
		g_main_context_iteration(NULL, TRUE);
		if (journey->cancelled && !performing->ending_ms)
			tick(performing); /* while the VM is stopped every moment counts */
	}
	g_source_remove(timer);
	standstill_free(standstill);
	disk_watch_free(performing->disk_watch);
	g_thread_join(thread);
	journey->report->migration_ms = clock_now_ms() - start_ms;
	tell_changes(performing);
	watch_free(performing->watch);
	join_aborter(performing);
	join_nudger(performing);
	postcopy_join(journey);
	journey->performing = false;
}

/* What libvirt says when a mover closed the socket is less than what the mover says. */
static void explain(struct performing *performing, GError **error)
{
	struct journey *journey = performing->journey;
	g_autofree char *libvirt_says = error_what(performing->error);
	if (journey->cancelled && (!journey->released || performing->ending_ms))
		journey_check_cancel(journey, error);
	else if (journey->mover_reason)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s (%s)", journey->mover_reason,
			  libvirt_says);
	else
		error_set(error, WATARI_ERROR_FAILED,
			  journey->disks_socket ? _("If it is about a disk, see whether its image "
						    "can be read at the source, and the logs in "
						    "/var/log/libvirt/qemu at both hosts.")
						: NULL,
			  "%s", libvirt_says);
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
		guard_arm(journey->guard);
		run_migration(performing);
	}
	return performing->result != NULL;
}

bool phase_perform(struct journey *journey, GError **error)
{
	struct performing performing = { .journey = journey };
	if (!fill_params(&performing, error))
		return false;
	if (virDomainMigrateGetMaxDowntime(journey->domain, &journey->old_downtime_ms, 0) < 0)
		journey->old_downtime_ms = 0;
	for (int side = JOURNEY_SIDES - 1; side >= 0; side--)
		movers_tell(journey, side, dialogue_message("start"));
	guard_arm(journey->guard);
	run_migration(&performing);
	bool good = performing.result || mend(&performing, error);
	virTypedParamsFree(performing.params, performing.param_count);
	if (good)
		virDomainFree(performing.result);
	else if (!*error)
		explain(&performing, error);
	g_clear_error(&performing.error);
	return good;
}

bool phase_perform_resume(struct journey *journey, GError **error)
{
	struct performing performing = { .journey = journey };
	bool good = mend(&performing, error);
	virTypedParamsFree(performing.params, performing.param_count);
	if (good)
		virDomainFree(performing.result);
	else if (!*error)
		explain(&performing, error);
	g_clear_error(&performing.error);
	return good;
}
