/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor: one migration as a table of phases. */
#include "conductor/conductor.h"

#include "conductor/measure/prediction.h"
#include "journal/conductor_process.h"
#include "conductor/server/answers.h"
#include "conductor/core/earlier_moves.h"
#include "conductor/core/hand_over.h"
#include "conductor/convergence/downtime_limit.h"
#include "conductor/files/files.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/offline/offline.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/endings/advice.h"
#include "conductor/endings/move_hosts.h"
#include "conductor/endings/settle.h"
#include "conductor/core/ssh_link.h"
#include "conductor/core/move.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/random.h"
#include "base/unit.h"

#include <string.h>

static bool phase_record(struct journey *journey, GError **error);

enum {
	LIVE = 1 << JOURNEY_LIVE,
	OFFLINE = 1 << JOURNEY_OFFLINE,
	PLAN = 1 << JOURNEY_PLAN,
	REHEARSAL = 1 << JOURNEY_REHEARSAL,
	QUICK = 1 << JOURNEY_QUICK,
	ALL = (1 << JOURNEY_KIND_LAST) - 1,
	THROUGH = 1 << JOURNEY_KIND_LAST, /* a quick one without a link */
};

/* What each kind of journey goes through, from top to bottom. Until "perform" and "copy" nothing has
 * moved, so what goes wrong is a refusal. */
static const struct journey_phase phases[] = {
	{ "request", NULL, phase_request, ALL | THROUGH },
	{ "connect", N_("connecting to both hosts"), phase_connect, ALL | THROUGH },
	{ "check", N_("checking both hosts"), phase_check, ALL | THROUGH },
	{ "record", N_("opening the journal"), phase_record, ALL | THROUGH },
	{ "link", N_("starting the movers"), phase_link, ALL },
	{ "movers", N_("starting the movers"), phase_movers, THROUGH },
	{ "directory", N_("finding out whether both hosts see the directory"), phase_directory,
	  THROUGH },
	{ "measure", N_("measuring link, hosts and memory"), phase_measure, ALL & ~OFFLINE },
	{ "share", N_("finding out which disks both hosts share"), phase_share, ALL | THROUGH },
	{ "stay", N_("finding out which disks both hosts share"), phase_stay, THROUGH },
	{ "secrets", N_("carrying the VM's secrets"), phase_secrets, (ALL & ~PLAN) | THROUGH },
	{ "disks", N_("making the disks at the destination"), phase_disks, ALL },
	{ "belongings", N_("reading what belongs to the VM"), phase_belongings,
	  (ALL & ~PLAN) | THROUGH },
	{ "forecast", N_("predicting the move"), phase_forecast, ALL & ~OFFLINE },
	{ "ask", N_("asking whether the VM may stand still"), phase_ask, QUICK | THROUGH },
	{ JOURNEY_PERFORM, N_("copying memory"), phase_perform, LIVE | QUICK | REHEARSAL },
	{ "rehearsed", N_("working out what was seen"), phase_rehearsed, REHEARSAL },
	{ "save", N_("saving the state of the VM"), phase_save, THROUGH },
	{ "restore", N_("proving the saved state at the destination"), phase_restore, THROUGH },
	{ "copy", N_("copying disks"), phase_copy, OFFLINE },
	{ "define", N_("defining the VM at the destination"), phase_define, OFFLINE },
};

/* ---- the journal ---- */

/* What resolve cannot ask anybody any more. */
static void describe_through(struct journey *journey, JsonObject *options)
{
	unsigned flags = journey_migrate_flags(journey);
	journey->through->persist = flags & VIR_MIGRATE_PERSIST_DEST;
	json_object_set_string_member(options, "state", journey->through->path);
	json_object_set_boolean_member(options, "persist_destination", journey->through->persist);
}

static char *describe_options(struct journey *journey)
{
	const struct journey_request *request = journey->request;
	g_autoptr(JsonObject) options = json_object_new();
	/* a rehearsal leaves all definitions alone */
	journey->undefine_source =
		request->kind != JOURNEY_REHEARSAL &&
		(request->undefine_source || (!request->persistent && journey->persistent));
	json_object_set_boolean_member(options, "undefine_source", journey->undefine_source);
	json_object_set_string_member(options, "kind", journey_kind_name(request->kind));
	move_hosts_describe(journey, options);
	conductor_describe(options);
	json_object_set_boolean_member(options, "paused_before", journey->paused_before);
	if (journey->through)
		describe_through(journey, options);
	if (request->rsh)
		json_object_set_string_member(options, "rsh", request->rsh);
	if (request->remote_watari)
		json_object_set_string_member(options, "remote_watari", request->remote_watari);
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_set_object(node, options);
	return json_to_string(node, FALSE);
}

static void note_journal(struct journey *journey, const GError *failure)
{
	g_autofree char *what = error_what(failure);
	journey_note(journey, true, _("Without a journal this move cannot be picked up again: %s"),
		     what);
}

static void learn_hand_over(struct journey *journey)
{
	const struct journey_report *report = journey->report;
	int64_t measured[HAND_OVER_MOVES];
	int count = hand_over_measured(journey->journal, report->sides[JOURNEY_SOURCE].address,
				       report->sides[JOURNEY_DESTINATION].address, measured);
	journey->limits.hand_over_ms = hand_over_choose(measured, count, journey->limits.bandwidth,
							journey->limits.ceiling_ms);
	g_autofree char *text = g_strdup_printf("{\"hand_over_ms\":%d,\"measured\":%d}",
						(int) journey->limits.hand_over_ms, count);
	journal_note_event(journey->journal, report->id, "hand-over", text);
	journey->report->hand_over_ms = journey->limits.hand_over_ms;
}

/* A journal that cannot be written is said, but does not stop the move. */
static bool phase_record(struct journey *journey, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *options = describe_options(journey);
	struct journey_report *report = journey->report;
	if (!journey->journal)
		journey->journal = journal_open(NULL, &failure);
	struct journal_move move = {
		.id = report->id,
		.vm_name = report->vm_name,
		.vm_uuid = report->vm_uuid,
		.source = report->sides[JOURNEY_SOURCE].address,
		.destination = report->sides[JOURNEY_DESTINATION].address,
		.options = options,
		.phase = g_strdup(journey->phase->name),
		.pid = getpid(),
		.started_s = report->started_s,
	};
	/* A plan is no move: it only reads what moves have left. */
	bool moves = journey->request->kind != JOURNEY_PLAN;
	journey->unrecorded =
		!journey->journal || !moves || !journal_begin(journey->journal, &move, &failure);
	if (failure)
		note_journal(journey, failure);
	g_free(move.phase);
	/* Two may have begun at once: the one that was written down first goes on. */
	if (!earlier_refuse_driven(journey, error))
		return false;
	learn_hand_over(journey);
	counter_open(journey);
	if (moves)
		journey->inhibit = inhibit_begin(_("this program moves a virtual machine"));
	return true;
}

/* ---- the walk ---- */

static bool enter(struct journey *journey, const struct journey_phase *phase, GError **error)
{
	journey->phase = phase;
	journey->progress.phase = phase->name;
	if (phase->doing)
		journey_say(journey, _(phase->doing));
	journal_set_phase(journey->journal, journey->report->id, phase->name, NULL);
	int64_t began_ms = clock_now_ms();
	bool good = journey_check_cancel(journey, error) && phase->run(journey, error);
	json_object_set_int_member(journey->report->phases_ms, phase->name,
				   clock_now_ms() - began_ms);
	return good;
}

static bool walk(struct journey *journey, GError **error)
{
	unsigned kind = journey->through ? THROUGH : 1U << journey->request->kind;
	journey->report->phases_ms = json_object_new();
	for (size_t i = 0; i < G_N_ELEMENTS(phases); i++) {
		if (!(phases[i].kinds & kind))
			continue;
		if (enter(journey, &phases[i], error))
			continue;
		journey->report->failed_phase = g_strdup(phases[i].name);
		return false;
	}
	return true;
}

static enum journey_outcome outcome_of(const GError *error)
{
	switch (error->code) {
	case WATARI_ERROR_CANCELLED:
		return JOURNEY_CANCELLED;
	case WATARI_ERROR_USAGE:
	case WATARI_ERROR_REFUSED:
		return JOURNEY_REFUSED;
	case WATARI_ERROR_FAILED:
		return JOURNEY_FAILED;
	default:
		return JOURNEY_ATTENTION;
	}
}

/* A mover that was killed, or lost its connection behind the gate, leaves files; none does before
 * both have said hello. While it is unclear where the VM is, orphans may still be needed. */
static void end_movers(struct journey *journey, bool good)
{
	movers_end(journey);
	g_clear_pointer(&journey->splice, splice_free);
	bool suspect = journey->mover_lost || (journey->performed && !good);
	bool unclear = journey->performed && journey->report->outcome == JOURNEY_ATTENTION;
	if (suspect && !unclear && journey->hellos[JOURNEY_DESTINATION])
		movers_sweep(journey);
}

/* A source that is held by a mover's open socket cannot go on, so they let go before the hosts are
 * asked. */
static bool end_well(struct journey *journey, bool good, GError **error)
{
	struct journey_report *report = journey->report;
	g_autofree char *advice = advice_find(journey);
	journey->mover_lost |= movers_failure(journey) != NULL;
	if (journey->performed) {
		movers_let_go(journey);
		offline_end_storage(journey);
		good = journey_settle(journey, good, error);
		advice_give(error, advice);
	}
	end_movers(journey, good);
	if (journey->performed)
		return good;
	journey_restore_source(journey);
	images_remove(journey, journey->hosts[JOURNEY_DESTINATION]);
	if (good) {
		report->outcome = JOURNEY_PLANNED;
		return true;
	}
	error_classify(error, WATARI_ERROR_REFUSED, NULL);
	advice_explain_ended(journey, error);
	advice_give(error, advice);
	report->outcome = outcome_of(*error);
	return false;
}

int64_t journey_stop_ceiling_ms(const struct journey *journey)
{
	bool quick = journey->request->kind == JOURNEY_QUICK;
	return quick && journey->paused_before ? 0 : journey->limits.ceiling_ms;
}

/* Where QEMU may lose a page each time that it looks for dirty ones (the check "tcg"), few rounds are
 * worth more than a short stop. */
int64_t journey_easy_ms(const struct journey *journey)
{
	enum { FEW_ROUNDS_MS = 100 }; /* or a third of the ceiling */
	const GPtrArray *findings = journey->report->findings;
	int64_t ceiling_ms = journey->limits.ceiling_ms;
	if (!ceiling_ms)
		ceiling_ms = journey->request->max_downtime_ms;
	for (guint i = 0; findings && i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (g_str_equal(finding->check, "tcg") && finding->result == CHECK_WARN)
			return MAX(MIN(FEW_ROUNDS_MS, ceiling_ms / 3), RULE_EASY_MS);
	}
	return RULE_EASY_MS;
}

/* A ceiling that was exceeded after all (in libvirt's own part, which cannot be broken off) is
 * never passed over in silence. */
static void judge_downtime(struct journey *journey)
{
	struct journey_report *report = journey->report;
	/* Of a VM that went back nobody knows here how long it stood still. */
	if (report->outcome != JOURNEY_MIGRATED)
		return;
	/* One that was paused before stood still anyhow. */
	if (journey->paused_before) {
		report->stop_to_release_ms = -1;
		return;
	}
	int64_t ceiling_ms = journey_stop_ceiling_ms(journey);
	report->downtime_ms = MAX(report->libvirt_downtime_ms, report->stop_to_release_ms);
	report->downtime_ms = MAX(report->downtime_ms, journey->stood_ms ? journey->stood_ms : -1);
	if (!ceiling_ms || report->downtime_ms <= ceiling_ms)
		return;
	g_autofree char *down = unit_format_duration_ms(report->downtime_ms);
	g_autofree char *ceiling = unit_format_duration_ms(ceiling_ms);
	journey_note(
		journey, true,
		_("The VM stood still for %s, longer than the ceiling of %s: the hand-over took "
		  "longer than it was given."),
		down, ceiling);
}

/* ---- the struct ---- */

static void close_hosts(void *data)
{
	struct journey *journey = data;
	if (journey->domain)
		virDomainFree(journey->domain);
	for (int side = 0; side < JOURNEY_SIDES; side++)
		g_clear_pointer(&journey->hosts[side], host_free);
	g_clear_pointer(&journey->guard, guard_free);
}

void journey_clear(struct journey *journey)
{
	journey_call(journey, close_hosts, journey);
	journey_release_signals(journey);
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_clear_pointer(&journey->host_uuids[side], g_free);
		g_clear_pointer(&journey->hellos[side], json_object_unref);
		if (journey->addresses[side])
			host_address_free(journey->addresses[side]);
	}
	g_clear_pointer(&journey->nics, g_ptr_array_unref);
	g_clear_pointer(&journey->paths, g_ptr_array_unref);
	g_clear_pointer(&journey->absent_media, g_strfreev);
	g_clear_pointer(&journey->belongings, json_object_unref);
	files_free(journey);
	g_clear_pointer(&journey->images, json_array_unref);
	offline_free(journey);
	postcopy_free(journey);
	through_free(journey->through);
	g_free(journey->forecast);
	ahead_free(journey->ahead);
	g_free(journey->rehearsal);
	finish_mark_free(journey->finish_mark);
	inhibit_end(journey->inhibit);
	journal_close(journey->journal);
	g_strfreev(journey->shell.rsh);
	free(journey->live_xml); /* libvirt's */
	g_free(journey->socket);
	g_free(journey->disks_socket);
	g_free(journey->mover_reason);
	g_free(journey->mover_next);
	g_free(journey->refuse_code);
	explicit_bzero(journey->key, sizeof journey->key);
}

static void end_journal(struct journey *journey)
{
	struct journey_report *report = journey->report;
	g_autofree char *numbers = journey_report_print(report, NULL);
	g_autoptr(GError) failure = NULL;
	if (journal_end(journey->journal, report->id, journey_outcome_name(report->outcome),
			numbers, &failure) &&
	    journal_flush(journey->journal, &failure))
		return;
	g_autofree char *what = error_what(failure);
	journey_note(journey, true, _("Not all of this move could be written to the journal: %s"),
		     what);
}

void journey_prepare(struct journey *journey)
{
	journey_report_init(journey->report);
	journey->started_us = clock_now_us();
	journey->progress.left_ms = -1;
	journey_catch_signals(journey);
}

void journey_set_limits(struct journey *journey)
{
	const struct journey_request *request = journey->request;
	int64_t ceiling_ms =
		request->kind == JOURNEY_QUICK ? request->max_stop_ms : request->max_downtime_ms;
	journey->limits = (struct journey_limits){
		.bandwidth = request->bandwidth,
		.ceiling_ms = ceiling_ms,
		.hand_over_ms = hand_over_choose(NULL, 0, request->bandwidth, ceiling_ms),
		.link_timeout_ms = request->link_timeout_ms,
		/* only a move that may come to its end is worth a slower VM */
		.max_slowdown = request->kind == JOURNEY_LIVE ? request->max_slowdown : 0,
		.postcopy = request->allow_postcopy,
	};
}

bool journey_run(const struct journey_request *request, const struct journey_observer *observer,
		 struct journey_report *report, GError **error)
{
	struct journey journey = { .request = request, .observer = observer, .report = report };
	GError *own = NULL;
	journey.offline = request->kind == JOURNEY_OFFLINE ? g_new0(struct offline, 1) : NULL;
	journey_prepare(&journey);
	report->kind = request->kind;
	journey_set_limits(&journey);
	bool good = random_hex(journey.key, 64, &own) && random_hex(report->id, 32, &own);
	if (good && request->through) {
		g_autofree char *path =
			g_strdup_printf("%s/watari-%s.state", request->through, report->id);
		journey.through = through_new(path);
	}
	good = good && walk(&journey, &own);
	journey.over = true;
	good = end_well(&journey, good, &own);
	judge_downtime(&journey);
	report->total_ms = (clock_now_us() - journey.started_us) / 1000;
	end_journal(&journey);
	counter_close(&journey, own);
	journey_clear(&journey);
	if (own)
		g_propagate_error(error, own);
	return good;
}
