/* SPDX-License-Identifier: Apache-2.0 */
/* Looks back in the journal before a move begins. See earlier_moves.h.
 *
 * What a dead move left is not ended here but by `watari resolve`, which waits for hosts, may need a word of
 * a person, and has its own report. A new move that went on regardless would take the dead one's settings
 * of QEMU for the VM's own, stumble over its images, and move the VM away from its snapshots. */
#include "conductor/prepare/earlier_moves.h"

#include "journal/conductor_process.h"
#include "conductor/core/stage.h"

#include "base/i18n.h"

#include <string.h>

static GPtrArray *list_earlier(struct move *move)
{
	if (!move->journal)
		move->journal = journal_open(NULL, NULL);
	GPtrArray *rows = journal_list_unfinished(move->journal, move->report->vm_uuid, NULL);
	/* newest first: what came after our own is not earlier */
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		if (!g_str_equal(row->id, move->report->id))
			continue;
		g_ptr_array_remove_range(rows, 0, i + 1);
		break;
	}
	return rows;
}

static const char *name_host(const char *address)
{
	return address && *address ? address : _("this machine");
}

bool earlier_refuse_driven(struct move *move, GError **error)
{
	g_autoptr(GPtrArray) rows = list_earlier(move);
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		if (!conductor_lives(row))
			continue;
		g_autofree char *next = g_strdup_printf(
			_("Wait for its end: watari watch %s. Or end it: watari cancel %s."),
			row->vm_name, row->vm_name);
		return error_set(error, WATARI_ERROR_REFUSED, next,
				 _("“%s” is being moved already, from %s to %s, by process %d"),
				 row->vm_name, name_host(row->source), name_host(row->destination),
				 (int) row->pid);
	}
	return true;
}

/* Killed so early that nothing was made or set yet at either host. */
static bool changed_nothing(struct move *move, const struct journal_move *row)
{
	static const char *const phases[] = { "connect", "check",     "record", "link",
					      "movers",  "directory", "measure" };
	bool early = false;
	for (size_t i = 0; i < G_N_ELEMENTS(phases); i++)
		early |= g_strcmp0(row->phase, phases[i]) == 0;
	return early && !row->outcome && !stage_any(move->journal, row->id);
}

static void add_earlier(struct move *move, const struct journal_move *row)
{
	g_autofree char *next = g_strdup_printf(
		_("Run “watari resolve %s” first: it ends that move and gives back what it took."),
		row->id);
	check_add(move->report->findings, "earlier-move", CHECK_REFUSE, next,
		  row->outcome ? _("how an earlier move of “%s” ended, from %s to %s, is not clear")
			       : _("an earlier move of “%s”, from %s to %s, was broken off and has "
				   "not been ended"),
		  row->vm_name, name_host(row->source), name_host(row->destination));
}

void earlier_check(struct move *move)
{
	g_autoptr(GPtrArray) rows = list_earlier(move);
	for (guint i = 0; i < rows->len; i++) {
		const struct journal_move *row = rows->pdata[i];
		bool nothing = changed_nothing(move, row);
		if (nothing && move->request->kind != MOVE_PLAN)
			journal_end(move->journal, row->id, move_outcome_name(MOVE_FAILED), NULL,
				    NULL);
		if (!nothing)
			add_earlier(move, row);
	}
	if (rows->len == 0)
		check_add(move->report->findings, "earlier-move", CHECK_PASS, NULL, NULL);
}
