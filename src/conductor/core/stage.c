/* SPDX-License-Identifier: Apache-2.0 */
/* Writes stages to the journal before what they name is done. */
#include "conductor/core/stage.h"

#include "base/i18n.h"

/* DOING is what is not begun; of one that is done, what was, and what not knowing it means. */
static const struct {
	const char *name, *doing, *harm;
} stages[] = {
	[STAGE_PRIVATE_FILES] = { "private-files", N_("taking over the VM's firmware and TPM"),
				  NULL },
	[STAGE_IMAGES] = { "images", N_("making images at the destination"), NULL },
	[STAGE_BELONGINGS] = { "belongings", N_("taking off what belongs to the VM"), NULL },
	[STAGE_BEFORE] = { "before", N_("changing QEMU's limits of the VM"), NULL },
	[STAGE_POSTCOPY_ASKED] = { "postcopy-asked", N_("the switch to post-copy"), NULL },
	[STAGE_SUSPENDING] = { "suspending", N_("stopping the VM"), NULL },
	[STAGE_DEFINING] = { "defining", N_("defining the VM at the destination"), NULL },
	[STAGE_THROUGH_STOPPED] = { "through-stopped", N_("stopping the VM"), NULL },
	[STAGE_THROUGH_DIGEST] = { "through-digest", N_("going on with the saved state"), NULL },
	[STAGE_THROUGH_LEFT] = { "through-left", N_("ending the stopped copy at the source"),
				 NULL },
	[STAGE_THROUGH_RESUMED] = { "through-resumed", N_("letting the VM go on from its state"),
				    NULL },
	[STAGE_THROUGH_BACK] = { "through-back", N_("going back to the source"), NULL },
	[STAGE_THROUGH_RESTORED] = { "through-restored",
				     N_("letting the VM go on at the source from its state"),
				     NULL },
	[STAGE_IMAGES_REMOVED] = { "images-removed", N_("the new images are removed"),
				   N_("“watari resolve” would look for them again") },
	[STAGE_BELONGINGS_GIVEN] = { "belongings-given",
				     N_("the VM has got back what belongs to it"),
				     N_("“watari resolve” would give it to the VM again") },
	[STAGE_BEFORE_RESTORED] = { "before-restored", N_("QEMU's limits of the VM are as before"),
				    N_("“watari resolve” would set them again") },
	[STAGE_POSTCOPY] = { "postcopy", N_("the VM runs at the destination, in post-copy"),
			     N_("until the last page is there, let this program run") },
};
_Static_assert(G_N_ELEMENTS(stages) == STAGE_LAST, "every stage is described");

const char *stage_name(enum stage stage)
{
	return stages[stage].name;
}

bool stage_any(struct journal *journal, const char *id)
{
	for (size_t i = 0; i < STAGE_LAST; i++)
		if (journal_has_event(journal, id, stages[i].name))
			return true;
	return false;
}

static bool write_stage(struct move *move, enum stage stage, const char *text, GError **error)
{
	return journal_add_event(move->journal, move->report->id, stages[stage].name, text, error);
}

static bool refuse_stage(enum stage stage, const char *why, GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL,
			 _("Make the journal's directory writable, or set WATARI_STATE_DIR to "
			   "another one."),
			 _("%s was not begun, for it could not be written down before: %s"),
			 _(stages[stage].doing), why);
}

bool stage_enter(struct move *move, enum stage stage, const char *text, GError **error)
{
	g_autoptr(GError) failure = NULL;
	if (!move->journal || move->unrecorded || write_stage(move, stage, text, &failure))
		return true;
	g_autofree char *why = error_what(failure);
	return refuse_stage(stage, why, error);
}

bool stage_enter_recorded(struct move *move, enum stage stage, const char *text, GError **error)
{
	if (!move->journal || move->unrecorded)
		return refuse_stage(stage, _("there is no journal"), error);
	return stage_enter(move, stage, text, error);
}

void stage_note_done(struct move *move, enum stage stage)
{
	g_autoptr(GError) failure = NULL;
	if (!move->journal || move->unrecorded || write_stage(move, stage, NULL, &failure))
		return;
	g_autofree char *why = error_what(failure);
	move_note(move, true, _("It could not be written down that %s; %s. (%s)"),
		  _(stages[stage].doing), _(stages[stage].harm), why);
}
