/* SPDX-License-Identifier: Apache-2.0 */
/* The stages, and the file. See through.h. */
#include "conductor/through/through.h"
#include "conductor/core/part.h"

#include "conductor/core/movers.h"
#include "conductor/core/stage.h"

#include "base/i18n.h"
#include "base/json.h"

#include <string.h>

enum { FILE_MS = 3600 * 1000 }; /* a large state is read whole */

struct through *through_new(const char *path)
{
	struct through *through = g_new0(struct through, 1);
	through->path = g_strdup(path);
	through->stage = THROUGH_BEFORE;
	return through;
}

void through_free(struct through *through)
{
	if (!through)
		return;
	g_free(through->path);
	g_free(through->sha256);
	g_free(through->checked);
	g_free(through);
}

/* ---- stages ---- */

/* From STOPPED on. */
static const enum stage written[] = {
	[THROUGH_STOPPED] = STAGE_THROUGH_STOPPED,   [THROUGH_LEFT] = STAGE_THROUGH_LEFT,
	[THROUGH_RESUMED] = STAGE_THROUGH_RESUMED,   [THROUGH_BACK] = STAGE_THROUGH_BACK,
	[THROUGH_RESTORED] = STAGE_THROUGH_RESTORED,
};
_Static_assert(G_N_ELEMENTS(written) == THROUGH_LAST, "every stage is written down");

bool through_enter(struct move *move, enum ending_through stage, GError **error)
{
	bool good = stage_enter_recorded(move, written[stage], NULL, error);
	if (good)
		move->through->stage = stage;
	return good;
}

void through_read(struct move *move, const char *id)
{
	move->through->stage = THROUGH_BEFORE;
	for (int stage = THROUGH_STOPPED; stage < THROUGH_LAST; stage++)
		if (journal_has_event(move->journal, id, stage_name(written[stage])))
			move->through->stage = (enum ending_through) stage;
	g_free(move->through->sha256);
	move->through->sha256 =
		journal_find_event(move->journal, id, stage_name(STAGE_THROUGH_DIGEST));
}

/* ---- the file ---- */

struct asking {
	struct move *move;
	enum move_side side;
	const char *action;
	JsonObject *answer;
	GError *error;
};

static void call_ask_file(void *data)
{
	struct asking *asking = data;
	struct move *move = asking->move;
	const char *const words[] = {
		"mover", "--saved", asking->action, move->through->path, move->report->vm_uuid, NULL
	};
	g_auto(GStrv) command = movers_command(move, asking->side, words);
	g_autofree char *output = NULL;
	int status = 0;
	if (!remote_run(&move->shell, move->addresses[asking->side], (const char *const *) command,
			FILE_MS, &output, &status, &asking->error))
		return;
	asking->answer = json_parse_object(output, strlen(output), NULL);
	const char *reason =
		asking->answer ? json_get_string(asking->answer, "reason", NULL) : output;
	if (status != 0 || reason)
		error_set(&asking->error, WATARI_ERROR_FAILED, NULL, "%s",
			  reason && *reason ? reason : _("watari did not answer"));
}

bool through_file(struct move *move, enum move_side side, const char *action, JsonObject **answer,
		  GError **error)
{
	struct asking asking = { move, side, action, NULL, NULL };
	move_call(move, call_ask_file, &asking);
	bool good = !asking.error;
	if (answer && good)
		*answer = g_steal_pointer(&asking.answer);
	g_clear_pointer(&asking.answer, json_object_unref);
	if (good)
		return true;
	error_prefix(&asking.error, "%s", move->addresses[side]->text);
	error_classify(&asking.error, WATARI_ERROR_FAILED, NULL);
	g_propagate_error(error, asking.error);
	return false;
}

bool through_note_digest(struct move *move, const char *sha256, GError **error)
{
	g_free(move->through->sha256);
	move->through->sha256 = g_strdup(sha256);
	return stage_enter_recorded(move, STAGE_THROUGH_DIGEST, sha256, error);
}

bool through_check(struct move *move, enum move_side side, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	const char *saved = move->through->sha256;
	if (!through_file(move, side, "check", &answer, error))
		return false;
	const char *found = answer ? json_get_string(answer, "sha256", "") : "";
	g_free(move->through->checked);
	move->through->checked =
		g_strdup(answer ? json_get_string(answer, "identity", NULL) : NULL);
	return !saved || g_str_equal(saved, found) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who can write in that directory; do not restore from it."),
			 _("%s at %s is not what the source saved: it was replaced, and its digest "
			   "with it"),
			 move->through->path, move->addresses[side]->text);
}

bool through_is_unchanged(struct move *move, enum move_side side, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	if (!through_file(move, side, "look", &answer, error))
		return false;
	const char *found = answer ? json_get_string(answer, "identity", NULL) : NULL;
	return (found && g_strcmp0(found, move->through->checked) == 0) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who can write in that directory; do not restore from it."),
			 _("%s at %s is not the file any more that was checked: it was written to, "
			   "or replaced"),
			 move->through->path, move->addresses[side]->text);
}

void through_remove(struct move *move)
{
	g_autoptr(GError) error = NULL;
	if (!move->through || move->through->stage < THROUGH_STOPPED)
		return;
	/* By the host that saw it last, unless only the other one sees it now: where the directory is gone
	 * there is nothing to remove. */
	enum move_side first =
		move->through->stage == THROUGH_RESUMED ? MOVE_DESTINATION : MOVE_SOURCE;
	if (!through_file(move, first, "look", NULL, NULL) &&
	    through_file(move, !first, "look", NULL, NULL))
		first = !first;
	if (through_file(move, first, "remove", NULL, NULL) ||
	    through_file(move, !first, "remove", NULL, &error))
		return;
	g_autofree char *what = error_what(error);
	move_note(move, true,
		  _("The saved state %s could not be removed: %s. Remove it and its digest; never "
		    "restore from it."),
		  move->through->path, what);
}

static bool is_past_cancel(struct move *move)
{
	return move->through && move->through->stage >= THROUGH_LEFT;
}

static void clear(struct move *move)
{
	through_free(g_steal_pointer(&move->through));
}

const struct part through_part = {
	.name = "through",
	.is_past_cancel = is_past_cancel,
	.clear = clear,
};
