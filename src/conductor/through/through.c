/* SPDX-License-Identifier: Apache-2.0 */
/* The stages, and the file. See through.h. */
#include "conductor/through/through.h"

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

bool through_enter(struct journey *journey, enum ending_through stage, GError **error)
{
	bool good = stage_enter_recorded(journey, written[stage], NULL, error);
	if (good)
		journey->through->stage = stage;
	return good;
}

void through_read(struct journey *journey, const char *id)
{
	journey->through->stage = THROUGH_BEFORE;
	for (int stage = THROUGH_STOPPED; stage < THROUGH_LAST; stage++)
		if (journal_has_event(journey->journal, id, stage_name(written[stage])))
			journey->through->stage = (enum ending_through) stage;
	g_free(journey->through->sha256);
	journey->through->sha256 =
		journal_find_event(journey->journal, id, stage_name(STAGE_THROUGH_DIGEST));
}

/* ---- the file ---- */

struct asking {
	struct journey *journey;
	enum journey_side side;
	const char *action;
	JsonObject *answer;
	GError *error;
};

static void call_ask(void *data)
{
	struct asking *asking = data;
	struct journey *journey = asking->journey;
	const char *const words[] = { "mover",
				      "--saved",
				      asking->action,
				      journey->through->path,
				      journey->report->vm_uuid,
				      NULL };
	g_auto(GStrv) command = movers_command(journey, asking->side, words);
	g_autofree char *output = NULL;
	int status = 0;
	if (!remote_run(&journey->shell, journey->addresses[asking->side],
			(const char *const *) command, FILE_MS, &output, &status, &asking->error))
		return;
	asking->answer = json_parse_object(output, strlen(output), NULL);
	const char *reason =
		asking->answer ? json_get_string(asking->answer, "reason", NULL) : output;
	if (status != 0 || reason)
		error_set(&asking->error, WATARI_ERROR_FAILED, NULL, "%s",
			  reason && *reason ? reason : _("watari did not answer"));
}

bool through_file(struct journey *journey, enum journey_side side, const char *action,
		  JsonObject **answer, GError **error)
{
	struct asking asking = { journey, side, action, NULL, NULL };
	journey_call(journey, call_ask, &asking);
	bool good = !asking.error;
	if (answer && good)
		*answer = g_steal_pointer(&asking.answer);
	g_clear_pointer(&asking.answer, json_object_unref);
	if (good)
		return true;
	error_prefix(&asking.error, "%s", journey->addresses[side]->text);
	error_classify(&asking.error, WATARI_ERROR_FAILED, NULL);
	g_propagate_error(error, asking.error);
	return false;
}

bool through_note_digest(struct journey *journey, const char *sha256, GError **error)
{
	g_free(journey->through->sha256);
	journey->through->sha256 = g_strdup(sha256);
	return stage_enter_recorded(journey, STAGE_THROUGH_DIGEST, sha256, error);
}

bool through_check(struct journey *journey, enum journey_side side, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	const char *saved = journey->through->sha256;
	if (!through_file(journey, side, "check", &answer, error))
		return false;
	const char *found = answer ? json_get_string(answer, "sha256", "") : "";
	g_free(journey->through->checked);
	journey->through->checked =
		g_strdup(answer ? json_get_string(answer, "identity", NULL) : NULL);
	return !saved || g_str_equal(saved, found) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who can write in that directory; do not restore from it."),
			 _("%s at %s is not what the source saved: it was replaced, and its digest "
			   "with it"),
			 journey->through->path, journey->addresses[side]->text);
}

bool through_is_unchanged(struct journey *journey, enum journey_side side, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	if (!through_file(journey, side, "look", &answer, error))
		return false;
	const char *found = answer ? json_get_string(answer, "identity", NULL) : NULL;
	return (found && g_strcmp0(found, journey->through->checked) == 0) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who can write in that directory; do not restore from it."),
			 _("%s at %s is not the file any more that was checked: it was written to, "
			   "or replaced"),
			 journey->through->path, journey->addresses[side]->text);
}

void through_remove(struct journey *journey)
{
	g_autoptr(GError) error = NULL;
	if (!journey->through || journey->through->stage < THROUGH_STOPPED)
		return;
	/* By the host that saw it last, unless only the other one sees it now: where the directory is gone
	 * there is nothing to remove. */
	enum journey_side first =
		journey->through->stage == THROUGH_RESUMED ? JOURNEY_DESTINATION : JOURNEY_SOURCE;
	if (!through_file(journey, first, "look", NULL, NULL) &&
	    through_file(journey, !first, "look", NULL, NULL))
		first = !first;
	if (through_file(journey, first, "remove", NULL, NULL) ||
	    through_file(journey, !first, "remove", NULL, &error))
		return;
	g_autofree char *what = error_what(error);
	journey_note(
		journey, true,
		_("The saved state %s could not be removed: %s. Remove it and its digest; never "
		  "restore from it."),
		journey->through->path, what);
}
