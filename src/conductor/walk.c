/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor: one migration as a table of phases. */
#include "conductor/conductor.h"

#include "journal/conductor_process.h"
#include "conductor/server/answers.h"
#include "conductor/prepare/earlier_moves.h"
#include "conductor/disks/disk_params.h"
#include "conductor/core/hand_over.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/offline/offline.h"
#include "conductor/core/advice.h"
#include "conductor/settle/move_hosts.h"
#include "conductor/settle/settle.h"
#include "conductor/core/ssh_link.h"
#include "conductor/core/part.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/random.h"
#include "base/unit.h"

#include <string.h>

static bool phase_record(struct move *move, GError **error);

enum {
	LIVE = 1 << MOVE_LIVE,
	OFFLINE = 1 << MOVE_OFFLINE,
	PLAN = 1 << MOVE_PLAN,
	REHEARSAL = 1 << MOVE_REHEARSAL,
	QUICK = 1 << MOVE_QUICK,
	ALL = (1 << MOVE_KIND_LAST) - 1,
	THROUGH = 1 << MOVE_KIND_LAST, /* a quick one without a link */
};

/* What each kind of move goes through, from top to bottom. Until "perform" and "copy" nothing has
 * moved, so what goes wrong is a refusal. */
static const struct move_phase phases[] = {
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
	{ MOVE_PERFORM, N_("copying memory"), phase_perform, LIVE | QUICK | REHEARSAL },
	{ "rehearsed", N_("working out what was seen"), phase_rehearsed, REHEARSAL },
	{ "save", N_("saving the state of the VM"), phase_save, THROUGH },
	{ "restore", N_("proving the saved state at the destination"), phase_restore, THROUGH },
	{ "copy", N_("copying disks"), phase_copy, OFFLINE },
	{ "define", N_("defining the VM at the destination"), phase_define, OFFLINE },
};

/* ---- the journal ---- */

/* What resolve cannot ask anybody any more. */
static void describe_through(struct move *move, JsonObject *options)
{
	unsigned flags = move_migrate_flags(move);
	move->through->persist = flags & VIR_MIGRATE_PERSIST_DEST;
	json_object_set_string_member(options, "state", move->through->path);
	json_object_set_boolean_member(options, "persist_destination", move->through->persist);
}

static char *describe_options(struct move *move)
{
	const struct move_request *request = move->request;
	g_autoptr(JsonObject) options = json_object_new();
	/* a rehearsal leaves all definitions alone */
	move->undefine_source =
		request->kind != MOVE_REHEARSAL &&
		(request->undefine_source || (!request->persistent && move->persistent));
	json_object_set_boolean_member(options, "undefine_source", move->undefine_source);
	json_object_set_string_member(options, "kind", move_kind_name(request->kind));
	move_hosts_describe(move, options);
	conductor_describe(options);
	json_object_set_boolean_member(options, "paused_before", move->paused_before);
	if (move->through)
		describe_through(move, options);
	if (request->rsh)
		json_object_set_string_member(options, "rsh", request->rsh);
	if (request->remote_watari)
		json_object_set_string_member(options, "remote_watari", request->remote_watari);
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_set_object(node, options);
	return json_to_string(node, FALSE);
}

static void note_journal(struct move *move, const GError *failure)
{
	g_autofree char *what = error_what(failure);
	move_note(move, true, _("Without a journal this move cannot be picked up again: %s"), what);
}

static void learn_hand_over(struct move *move)
{
	const struct move_report *report = move->report;
	int64_t measured[HAND_OVER_MOVES];
	int count = hand_over_measured(move->journal, report->sides[MOVE_SOURCE].address,
				       report->sides[MOVE_DESTINATION].address, measured);
	move->limits.hand_over_ms =
		hand_over_choose(measured, count, move->limits.bandwidth, move->limits.ceiling_ms);
	g_autofree char *text = g_strdup_printf("{\"hand_over_ms\":%d,\"measured\":%d}",
						(int) move->limits.hand_over_ms, count);
	journal_note_event(move->journal, report->id, "hand-over", text);
	move->report->hand_over_ms = move->limits.hand_over_ms;
}

/* A journal that cannot be written is said, but does not stop the move. */
static bool phase_record(struct move *move, GError **error)
{
	g_autoptr(GError) failure = NULL;
	g_autofree char *options = describe_options(move);
	struct move_report *report = move->report;
	if (!move->journal)
		move->journal = journal_open(NULL, &failure);
	struct journal_move row = {
		.id = report->id,
		.vm_name = report->vm_name,
		.vm_uuid = report->vm_uuid,
		.source = report->sides[MOVE_SOURCE].address,
		.destination = report->sides[MOVE_DESTINATION].address,
		.options = options,
		.phase = g_strdup(move->phase->name),
		.pid = getpid(),
		.started_s = report->started_s,
	};
	/* A plan is no move: it only reads what moves have left. */
	bool moves = move->request->kind != MOVE_PLAN;
	move->unrecorded =
		!move->journal || !moves || !journal_begin(move->journal, &row, &failure);
	if (failure)
		note_journal(move, failure);
	g_free(row.phase);
	/* Two may have begun at once: the one that was written down first goes on. */
	if (!earlier_refuse_driven(move, error))
		return false;
	learn_hand_over(move);
	answers_open(move);
	if (moves)
		move->inhibit = inhibit_begin(_("this program moves a virtual machine"));
	return true;
}

/* ---- the walk ---- */

static bool enter_phase(struct move *move, const struct move_phase *phase, GError **error)
{
	move->phase = phase;
	move->progress.phase = phase->name;
	if (phase->doing)
		move_say(move, _(phase->doing));
	journal_set_phase(move->journal, move->report->id, phase->name, NULL);
	int64_t began_ms = clock_now_ms();
	bool good = move_check_cancel(move, error) && phase->run(move, error);
	json_object_set_int_member(move->report->phases_ms, phase->name, clock_now_ms() - began_ms);
	return good;
}

static bool walk(struct move *move, GError **error)
{
	unsigned kind = move->through ? THROUGH : 1U << move->request->kind;
	move->report->phases_ms = json_object_new();
	for (size_t i = 0; i < G_N_ELEMENTS(phases); i++) {
		if (!(phases[i].kinds & kind))
			continue;
		if (enter_phase(move, &phases[i], error))
			continue;
		move->report->failed_phase = g_strdup(phases[i].name);
		return false;
	}
	return true;
}

static enum move_outcome outcome_of(const GError *error)
{
	switch (error->code) {
	case WATARI_ERROR_CANCELLED:
		return MOVE_CANCELLED;
	case WATARI_ERROR_USAGE:
	case WATARI_ERROR_REFUSED:
		return MOVE_REFUSED;
	case WATARI_ERROR_FAILED:
		return MOVE_FAILED;
	default:
		return MOVE_ATTENTION;
	}
}

/* A mover that was killed, or lost its connection behind the gate, leaves files; none does before
 * both have said hello. While it is unclear where the VM is, orphans may still be needed. */
static void end_movers(struct move *move, bool good)
{
	movers_end(move);
	g_clear_pointer(&move->ssh_link, ssh_link_free);
	bool suspect = move->mover_lost || (move->performed && !good);
	bool unclear = move->performed && move->report->outcome == MOVE_ATTENTION;
	if (suspect && !unclear && move->hellos[MOVE_DESTINATION])
		movers_sweep(move);
}

/* A source that is held by a mover's open socket cannot go on, so they let go before the hosts are
 * asked. */
static bool end_well(struct move *move, bool good, GError **error)
{
	struct move_report *report = move->report;
	g_autofree char *advice = advice_find(move);
	move->mover_lost |= movers_failure(move) != NULL;
	if (move->performed) {
		movers_let_go(move);
		offline_end_storage(move);
		good = move_settle(move, good, error);
		advice_give(error, advice);
	}
	end_movers(move, good);
	if (move->performed)
		return good;
	move_restore_source(move);
	images_remove(move, move->hosts[MOVE_DESTINATION]);
	if (good) {
		report->outcome = MOVE_PLANNED;
		return true;
	}
	error_classify(error, WATARI_ERROR_REFUSED, NULL);
	advice_explain_ended(move, error);
	advice_give(error, advice);
	report->outcome = outcome_of(*error);
	return false;
}

/* A ceiling that was exceeded after all (in libvirt's own part, which cannot be broken off) is
 * never passed over in silence. */
static void judge_downtime(struct move *move)
{
	struct move_report *report = move->report;
	/* Of a VM that went back nobody knows here how long it stood still. */
	if (report->outcome != MOVE_MIGRATED)
		return;
	/* One that was paused before stood still anyhow. */
	if (move->paused_before) {
		report->stop_to_release_ms = -1;
		return;
	}
	int64_t ceiling_ms = move_stop_ceiling_ms(move);
	report->downtime_ms = MAX(report->libvirt_downtime_ms, report->stop_to_release_ms);
	report->downtime_ms = MAX(report->downtime_ms, move->stood_ms ? move->stood_ms : -1);
	if (!ceiling_ms || report->downtime_ms <= ceiling_ms)
		return;
	g_autofree char *down = unit_format_duration_ms(report->downtime_ms);
	g_autofree char *ceiling = unit_format_duration_ms(ceiling_ms);
	move_note(move, true,
		  _("The VM stood still for %s, longer than the ceiling of %s: the hand-over took "
		    "longer than it was given."),
		  down, ceiling);
}

/* ---- the struct ---- */

static void end_journal(struct move *move)
{
	struct move_report *report = move->report;
	report->parts = parts_describe(move);
	g_autofree char *numbers = move_report_print(report, NULL);
	g_autoptr(GError) failure = NULL;
	if (journal_end(move->journal, report->id, move_outcome_name(report->outcome), numbers,
			&failure) &&
	    journal_flush(move->journal, &failure))
		return;
	g_autofree char *what = error_what(failure);
	move_note(move, true, _("Not all of this move could be written to the journal: %s"), what);
}

bool move_run(const struct move_request *request, const struct move_observer *observer,
	      struct move_report *report, GError **error)
{
	struct move move = { .request = request, .observer = observer, .report = report };
	GError *own = NULL;
	move.offline = request->kind == MOVE_OFFLINE ? g_new0(struct offline, 1) : NULL;
	move_prepare(&move);
	report->kind = request->kind;
	move_set_limits(&move);
	bool good = random_hex(move.key, 64, &own) && random_hex(report->id, 32, &own);
	if (good && request->through) {
		g_autofree char *path =
			g_strdup_printf("%s/watari-%s.state", request->through, report->id);
		move.through = through_new(path);
	}
	good = good && walk(&move, &own);
	move.over = true;
	good = end_well(&move, good, &own);
	judge_downtime(&move);
	report->total_ms = (clock_now_us() - move.started_us) / 1000;
	end_journal(&move);
	answers_close(&move, own);
	move_clear(&move);
	if (own)
		g_propagate_error(error, own);
	return good;
}
