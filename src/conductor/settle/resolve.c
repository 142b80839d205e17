/* SPDX-License-Identifier: Apache-2.0 */
/* Picks a broken-off move up again. */
#include "conductor/settle/resolve.h"

#include "conductor/prepare/belongings.h"
#include "conductor/disks/files.h"
#include "conductor/disks/images.h"
#include "conductor/core/movers.h"
#include "conductor/core/stage.h"
#include "conductor/offline/offline.h"
#include "conductor/live/qemu_settings.h"
#include "conductor/live/finish.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/core/advice.h"
#include "conductor/settle/postcopy_resume.h"
#include "conductor/settle/settle.h"
#include "conductor/settle/which_move.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"

#include <signal.h>
#include <string.h>
#include <time.h>

/* ---- which VM is it? ---- */

static bool identify_vm(struct move *move, const struct journal_move *row, GError **error)
{
	if (row) {
		g_strlcpy(move->report->id, row->id, sizeof move->report->id);
		g_free(move->report->vm_name);
		g_free(move->report->vm_uuid);
		move->report->vm_name = g_strdup(row->vm_name);
		move->report->vm_uuid = g_strdup(row->vm_uuid);
		return true;
	}
	/* the hosts were asked for it already */
	if (move->report->vm_uuid)
		return true;
	return error_set(error, WATARI_ERROR_REFUSED, _("Give its name or UUID as virsh shows it."),
			 _("neither host knows a VM “%s”, or neither can be reached"), move->vm);
}

/* ---- what the move left written ---- */

/* It was killed, or it ended without knowing where the VM is. */
static bool is_unfinished(const struct journal_move *row)
{
	return !row->outcome || g_str_equal(row->outcome, move_outcome_name(MOVE_ATTENTION));
}

static void read_options(struct move *move, const struct journal_move *row)
{
	g_autoptr(JsonObject) options = json_parse_kept(row->options);
	if (move->outdated)
		return;
	move->undefine_source = options && json_get_bool(options, "undefine_source", false);
	if (options && g_str_equal(json_get_string(options, "kind", ""), "offline"))
		move->offline = g_new0(struct offline, 1);
	if (journal_has_event(move->journal, row->id, stage_name(STAGE_POSTCOPY)))
		postcopy_note_switched(move);
	move->defining = journal_has_event(move->journal, row->id, stage_name(STAGE_DEFINING));
	const char *state = options ? json_get_string(options, "state", NULL) : NULL;
	/* After an end that was clear, whatever stands still is somebody else's doing. */
	if (!is_unfinished(row)) {
		bool moved = g_str_equal(row->outcome, move_outcome_name(MOVE_MIGRATED));
		move->closed = moved ? ENDING_CLOSED_AT_DESTINATION : ENDING_CLOSED_AT_SOURCE;
		return;
	}
	move->paused_before = options && json_get_bool(options, "paused_before", false);
	move->suspending = journal_has_event(move->journal, row->id, stage_name(STAGE_SUSPENDING));
	move->broken_off = g_str_equal(row->phase, MOVE_PERFORM);
	qemu_settings_recall(move, row->id);
	if (!state)
		return;
	move->through = through_new(state);
	move->through->persist = json_get_bool(options, "persist_destination", false);
	through_read(move, row->id);
}

/* Only a person can know what neither host tells. */
static bool take_persons_word(struct move *move, const struct resolve_request *request,
			      GError **error)
{
	move->ran = request->ran         ? ENDING_RAN_ONCE
		    : request->never_ran ? ENDING_RAN_NEVER
					 : ENDING_RAN_MAYBE;
	return !(request->ran && request->never_ran) ||
	       error_set(error, WATARI_ERROR_USAGE, NULL,
			 _("--ran and --never-ran contradict each other"));
}

static bool prepare_resolve(struct move *move, const struct resolve_request *request,
			    struct journal_move **row, GError **error)
{
	if (!take_persons_word(move, request, error))
		return false;
	if (!which_move_choose(move, request, row, error) || !identify_vm(move, *row, error))
		return false;
	if (*row)
		read_options(move, *row);
	if (*row && !move->outdated) {
		belongings_recall(move, (*row)->id);
		files_read(move, (*row)->id);
		/* after a good end they are the VM's */
		if (g_strcmp0((*row)->outcome, move_outcome_name(MOVE_MIGRATED)) != 0)
			images_read(move, (*row)->id);
	}
	return true;
}

/* Neither host has the whole VM, and no mover carries it on: QEMU's own recovery is tried. */
static bool recover(struct move *move, const struct journal_move *row, GError **error)
{
	static struct move_request request; /* one resolve a process */
	g_autofree char *text =
		journal_find_event(move->journal, row->id, stage_name(STAGE_POSTCOPY_ASKED));
	g_clear_error(error);
	/* it is said anew, and no old mark may speak of that */
	if (!finish_forget(move))
		return error_set(error, WATARI_ERROR_ATTENTION, NULL,
				 _("the mark of the hand-over (%s.finish) cannot be removed"),
				 move->report->id);
	bool good = postcopy_resume(move, text, &request, error);
	movers_end(move);
	move->acted = true;
	return move_settle(move, good, error);
}

/* Until it is there a new move of this VM is refused. */
static void write_end(struct move *move, const struct journal_move *row)
{
	g_autoptr(GError) failure = NULL;
	if (journal_end(move->journal, row->id, move_outcome_name(move->report->outcome),
			row->numbers, &failure))
		return;
	g_autofree char *what = error_what(failure);
	move_note(move, true,
		  _("The end of the move could not be written down; run “watari resolve” "
		    "again when it can: %s"),
		  what);
}

static bool resolve_move(struct move *move, const struct journal_move *row,
			 struct resolve_result *result, GError **error)
{
	bool good = move_settle(move, false, error);
	if (!good && row && !move->dry_run && move->postcopy_failed)
		good = recover(move, row, error);
	/* Not before: an orphan past its gate may still be carrying the hand-over out. */
	if (row && !move->dry_run && move->report->outcome != MOVE_ATTENTION)
		movers_sweep(move);
	result->situation = move->situation;
	result->what = move->situation_what;
	result->acted = move->acted;
	/* That the VM is back at the source is a good end here. */
	if (!good && move->report->outcome == MOVE_FAILED) {
		g_clear_error(error);
		good = true;
	}
	if (good && row && !move->dry_run && is_unfinished(row))
		write_end(move, row);
	return good;
}

bool resolve_run(const struct resolve_request *request, const struct move_observer *observer,
		 struct move_report *report, struct resolve_result *result, GError **error)
{
	static const struct move_request nothing = { 0 };
	struct move move = { .request = &nothing,
			     .observer = observer,
			     .report = report,
			     .vm = request->vm,
			     .dry_run = request->dry_run };
	struct journal_move *row = NULL;
	int64_t start_us = clock_now_us();
	move_prepare(&move);
	*result = (struct resolve_result){ 0 };
	report->outcome = MOVE_ATTENTION;
	bool good = prepare_resolve(&move, request, &row, error) &&
		    resolve_move(&move, row, result, error);
	if (!good) {
		g_autofree char *advice = advice_find(&move);
		advice_give(error, advice);
	}
	movers_end(&move);
	report->total_ms = (clock_now_us() - start_us) / 1000;
	journal_move_free(row);
	move_clear(&move);
	return good;
}
