/* SPDX-License-Identifier: Apache-2.0 */
/* Picks a broken-off move up again. */
#include "conductor/endings/resolve.h"

#include "conductor/core/belongings.h"
#include "conductor/files/files.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/core/stage.h"
#include "conductor/offline/offline.h"
#include "conductor/live/qemu_settings.h"
#include "conductor/live/finish.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/endings/advice.h"
#include "conductor/endings/settle.h"
#include "conductor/endings/which_move.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

#include <signal.h>
#include <string.h>
#include <time.h>

/* ---- which VM is it? ---- */

static bool identify(struct journey *journey, const struct journal_move *move, GError **error)
{
	if (move) {
		g_strlcpy(journey->report->id, move->id, sizeof journey->report->id);
		g_free(journey->report->vm_name);
		g_free(journey->report->vm_uuid);
		journey->report->vm_name = g_strdup(move->vm_name);
		journey->report->vm_uuid = g_strdup(move->vm_uuid);
		return true;
	}
	/* the hosts were asked for it already */
	if (journey->report->vm_uuid)
		return true;
	return error_set(error, WATARI_ERROR_REFUSED, _("Give its name or UUID as virsh shows it."),
			 _("neither host knows a VM “%s”, or neither can be reached"), journey->vm);
}

/* ---- what the move left written ---- */

/* It was killed, or it ended without knowing where the VM is. */
static bool is_unfinished(const struct journal_move *move)
{
	return !move->outcome ||
	       g_str_equal(move->outcome, journey_outcome_name(JOURNEY_ATTENTION));
}

static void read_options(struct journey *journey, const struct journal_move *move)
{
	g_autoptr(JsonObject) options = json_parse_kept(move->options);
	if (journey->outdated)
		return;
	journey->undefine_source = options && json_get_bool(options, "undefine_source", false);
	if (options && g_str_equal(json_get_string(options, "kind", ""), "offline"))
		journey->offline = g_new0(struct offline, 1);
	if (journal_has_event(journey->journal, move->id, stage_name(STAGE_POSTCOPY)))
		postcopy_note_switched(journey);
	journey->defining =
		journal_has_event(journey->journal, move->id, stage_name(STAGE_DEFINING));
	const char *state = options ? json_get_string(options, "state", NULL) : NULL;
	/* After an end that was clear, whatever stands still is somebody else's doing. */
	if (!is_unfinished(move)) {
		bool moved = g_str_equal(move->outcome, journey_outcome_name(JOURNEY_MIGRATED));
		journey->closed = moved ? ENDING_CLOSED_AT_DESTINATION : ENDING_CLOSED_AT_SOURCE;
		return;
	}
	journey->paused_before = options && json_get_bool(options, "paused_before", false);
	journey->suspending =
		journal_has_event(journey->journal, move->id, stage_name(STAGE_SUSPENDING));
	journey->broken_off = g_str_equal(move->phase, JOURNEY_PERFORM);
	before_recall(journey, move->id);
	if (!state)
		return;
	journey->through = through_new(state);
	journey->through->persist = json_get_bool(options, "persist_destination", false);
	through_read(journey, move->id);
}

/* Only a person can know what neither host tells. */
static bool take_word(struct journey *journey, const struct resolve_request *request,
		      GError **error)
{
	journey->ran = request->ran         ? ENDING_RAN_ONCE
		       : request->never_ran ? ENDING_RAN_NEVER
					    : ENDING_RAN_MAYBE;
	return !(request->ran && request->never_ran) ||
	       error_set(error, WATARI_ERROR_USAGE, NULL,
			 _("--ran and --never-ran contradict each other"));
}

static bool prepare(struct journey *journey, const struct resolve_request *request,
		    struct journal_move **move, GError **error)
{
	if (!take_word(journey, request, error))
		return false;
	if (!which_move_choose(journey, request, move, error) || !identify(journey, *move, error))
		return false;
	if (*move)
		read_options(journey, *move);
	if (*move && !journey->outdated) {
		belongings_recall(journey, (*move)->id);
		files_read(journey, (*move)->id);
		/* after a good end they are the VM's */
		if (g_strcmp0((*move)->outcome, journey_outcome_name(JOURNEY_MIGRATED)) != 0)
			images_read(journey, (*move)->id);
	}
	return true;
}

/* Neither host has the whole VM, and no mover carries it on: QEMU's own recovery is tried. */
static bool recover(struct journey *journey, const struct journal_move *move, GError **error)
{
	static struct journey_request request; /* one resolve a process */
	g_autofree char *text =
		journal_find_event(journey->journal, move->id, stage_name(STAGE_POSTCOPY_ASKED));
	g_clear_error(error);
	/* it is said anew, and no old mark may speak of that */
	if (!finish_forget(journey))
		return error_set(error, WATARI_ERROR_ATTENTION, NULL,
				 _("the mark of the hand-over (%s.finish) cannot be removed"),
				 journey->report->id);
	bool good = postcopy_resume(journey, text, &request, error);
	movers_end(journey);
	journey->acted = true;
	return journey_settle(journey, good, error);
}

/* Until it is there a new move of this VM is refused. */
static void write_end(struct journey *journey, const struct journal_move *move)
{
	g_autoptr(GError) failure = NULL;
	if (journal_end(journey->journal, move->id, journey_outcome_name(journey->report->outcome),
			move->numbers, &failure))
		return;
	g_autofree char *what = error_what(failure);
	journey_note(journey, true,
		     _("The end of the move could not be written down; run “watari resolve” "
		       "again when it can: %s"),
		     what);
}

static bool resolve(struct journey *journey, const struct journal_move *move,
		    struct resolve_result *result, GError **error)
{
	bool good = journey_settle(journey, false, error);
	if (!good && move && !journey->dry_run && journey->postcopy_failed)
		good = recover(journey, move, error);
	/* Not before: an orphan past its gate may still be carrying the hand-over out. */
	if (move && !journey->dry_run && journey->report->outcome != JOURNEY_ATTENTION)
		movers_sweep(journey);
	result->situation = journey->situation;
	result->what = journey->situation_what;
	result->acted = journey->acted;
	/* That the VM is back at the source is a good end here. */
	if (!good && journey->report->outcome == JOURNEY_FAILED) {
		g_clear_error(error);
		good = true;
	}
	if (good && move && !journey->dry_run && is_unfinished(move))
		write_end(journey, move);
	return good;
}

bool resolve_run(const struct resolve_request *request, const struct journey_observer *observer,
		 struct journey_report *report, struct resolve_result *result, GError **error)
{
	static const struct journey_request nothing = { 0 };
	struct journey journey = { .request = &nothing,
				   .observer = observer,
				   .report = report,
				   .vm = request->vm,
				   .dry_run = request->dry_run };
	struct journal_move *move = NULL;
	int64_t start_us = clock_now_us();
	journey_prepare(&journey);
	*result = (struct resolve_result){ 0 };
	report->outcome = JOURNEY_ATTENTION;
	bool good =
		prepare(&journey, request, &move, error) && resolve(&journey, move, result, error);
	if (!good) {
		g_autofree char *advice = advice_find(&journey);
		advice_give(error, advice);
	}
	movers_end(&journey);
	report->total_ms = (clock_now_us() - start_us) / 1000;
	journal_move_free(move);
	journey_clear(&journey);
	return good;
}
