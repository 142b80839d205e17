/* SPDX-License-Identifier: Apache-2.0 */
/* Before the VM is stopped: how long will it stand still, and may it? */
#include "conductor/core/movers.h"
#include "conductor/quick/quick.h"

#include "base/i18n.h"
#include "base/unit.h"
#include "control/messages.h"

enum { REMIND_MS = 30000 };

static char *predict(struct move *move)
{
	const struct forecast *forecast = move->forecast;
	const char *name = move->report->vm_name;
	if (!forecast)
		return g_strdup_printf(
			_("“%s” will stand still while it is moved; for how long was "
			  "not measured."),
			name);
	g_autofree char *likely = unit_format_duration_ms((int64_t) forecast->stop_ms.p50);
	g_autofree char *most = unit_format_duration_ms((int64_t) forecast->stop_ms.p90);
	return g_strdup_printf(_("“%s” will stand still for about %s, and in nine of ten cases for "
				 "no longer than %s."),
			       name, likely, most);
}

/* What is known to fail is not begun. */
static bool check_stop_limit(struct move *move, GError **error)
{
	const struct forecast *forecast = move->forecast;
	int64_t limit_ms = move_stop_ceiling_ms(move);
	if (!forecast || !limit_ms || forecast->stop_ms.p50 <= (double) limit_ms)
		return true;
	g_autofree char *limit = unit_format_duration_ms(limit_ms);
	g_autofree char *likely = unit_format_duration_ms((int64_t) forecast->stop_ms.p50);
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Allow a longer stop (--max-stop), shorten it (--prewarm), or move it "
			   "while it runs (watari migrate)."),
			 _("“%s” would have to stand still for about %s, and --max-stop is %s"),
			 move->report->vm_name, likely, limit);
}

/* The movers do not wait for ever, and a person may take long. */
static gboolean remind_movers(gpointer data)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		movers_tell(data, side, dialogue_message(MESSAGE_LIMITS));
	return G_SOURCE_CONTINUE;
}

static bool confirm(struct move *move, const char *question)
{
	const struct move_observer *observer = move->observer;
	guint timer = g_timeout_add(REMIND_MS, remind_movers, move);
	bool yes = observer->confirm && observer->confirm(question, observer->data);
	g_source_remove(timer);
	return yes;
}

/* Without a terminal, a refusal carries the prediction. */
static bool ask_person(struct move *move, const char *prediction, GError **error)
{
	g_autofree char *question = g_strdup_printf(_("%s Go on?"), prediction);
	if (confirm(move, question))
		return move_check_cancel(move, error);
	return move_check_cancel(move, error) &&
	       error_set(error, WATARI_ERROR_REFUSED,
			 _("To go on without being asked, give --yes."),
			 _("nobody agreed to the stop: %s"), prediction);
}

bool quick_ask(struct move *move, bool ask, GError **error)
{
	if (move->paused_before)
		return true; /* the checks have said that it will be paused there */
	g_autofree char *prediction = predict(move);
	if (!check_stop_limit(move, error))
		return false;
	if (ask)
		return ask_person(move, prediction, error);
	move_note(move, false, "%s", prediction);
	return true;
}

bool phase_ask(struct move *move, GError **error)
{
	return quick_ask(move, !move->request->yes && !move->request->plan, error);
}
