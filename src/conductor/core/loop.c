/* SPDX-License-Identifier: Apache-2.0 */
/* The loop under the phases: waiting, calls that block, signals, and words for the person. */
#include "conductor/server/answers.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/core/move.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/plain.h"

#include <glib-unix.h>
#include <signal.h>

bool journey_check_cancel(struct journey *journey, GError **error)
{
	if (!journey->cancelled)
		return true;
	return error_set(error, WATARI_ERROR_CANCELLED, NULL, _("cancelled by the user"));
}

static gboolean wake(gpointer data)
{
	*(bool *) data = true;
	return G_SOURCE_REMOVE;
}

bool journey_wait(struct journey *journey, bool (*done)(void *data), void *data, int timeout_ms,
		  GError **error)
{
	bool over = false;
	guint timer = timeout_ms >= 0 ? g_timeout_add((guint) timeout_ms, wake, &over) : 0;
	bool good;
	while (!(good = done(data)) && !over && !journey->cancelled)
		g_main_context_iteration(NULL, TRUE);
	if (timer && !over)
		g_source_remove(timer);
	if (good)
		return true;
	if (journey->cancelled)
		return journey_check_cancel(journey, error);
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no answer in time"));
}

static bool never(void *data)
{
	return false;
}

void journey_pause(struct journey *journey, int ms)
{
	journey_wait(journey, never, NULL, ms, NULL);
}

struct call {
	void (*call)(void *data);
	void *data;
	gint done; /* atomic */
};

static gpointer run_call(gpointer data)
{
	struct call *call = data;
	call->call(call->data);
	g_atomic_int_set(&call->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* A call that does not come back. */
struct patience {
	struct journey *journey;
	int64_t began_ms, cancelled_ms; /* 0: not cancelled */
	const char *doing; /* what was said before it was said that nobody answers; or NULL */
	bool cut;
};

/* A libvirtd that hangs answers nobody, and its connection does not break: so it is said, and
 * whoever cancels is not held by it. Until the migration has begun nothing there needs an answer. */
static gboolean lose_patience(gpointer data)
{
	enum { SAY_MS = 15000, CUT_MS = 5000 };
	struct patience *patience = data;
	struct journey *journey = patience->journey;
	int64_t now_ms = clock_now_ms();
	if (journey->cancelled && !patience->cancelled_ms)
		patience->cancelled_ms = now_ms;
	if (!patience->doing && now_ms - patience->began_ms >= SAY_MS) {
		patience->doing = journey->progress.doing ? journey->progress.doing : "";
		journey_say(journey, _("waiting for an answer of libvirt or of a host's programs"));
	}
	if (!patience->cut && patience->cancelled_ms && journey->guard && !journey->performed &&
	    now_ms - patience->cancelled_ms >= CUT_MS) {
		patience->cut = true;
		guard_cut(journey->guard);
	}
	return G_SOURCE_CONTINUE;
}

void journey_call(struct journey *journey, void (*function)(void *data), void *data)
{
	enum { LOOK_MS = 1000 };
	struct call call = { function, data, 0 };
	struct patience patience = { .journey = journey, .began_ms = clock_now_ms() };
	guint timer = g_timeout_add(LOOK_MS, lose_patience, &patience);
	GThread *thread = g_thread_new("call", run_call, &call);
	while (!g_atomic_int_get(&call.done))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
	g_source_remove(timer);
	if (patience.doing)
		journey_say(journey, patience.doing);
}

static int64_t stop_began_us(const struct journey *journey)
{
	return journey->still ? journey->still_us : journey->stopped ? journey->stopped_us : 0;
}

struct journey_progress journey_shown_progress(const struct journey *journey)
{
	struct journey_progress shown = journey->progress;
	int64_t stop_us = postcopy_asked(journey) ? 0 : stop_began_us(journey);
	shown.elapsed_ms = (clock_now_us() - journey->started_us) / 1000;
	if (!stop_us)
		return shown;
	shown.iteration = 0;
	shown.dirty_rate = 0;
	if (journey->stopped) /* the memory is out: only the device state and proofs are left */
		shown.rate = 0;
	if (journey->stopped || shown.asked_us < stop_us) {
		shown.remaining = 0;
		shown.left_ms = -1;
	}
	return shown;
}

void journey_show_progress(struct journey *journey)
{
	const struct journey_progress shown = journey_shown_progress(journey);
	if (journey->observer->progress)
		journey->observer->progress(&shown, journey->observer->data);
	counter_show(journey);
}

/* How long the step before would have taken does not hold for this one. */
void journey_say(struct journey *journey, const char *doing)
{
	journey->progress.doing = doing;
	journey->progress.left_ms = -1;
	journey_show_progress(journey);
}

void journey_note(struct journey *journey, bool important, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = plain_line(g_strdup_vprintf(format, args));
	va_end(args);
	if (journey->observer->note)
		journey->observer->note(text, important, journey->observer->data);
	if (important)
		g_ptr_array_add(journey->report->notes, text);
	else
		g_free(text);
}

bool journey_cancel(struct journey *journey, const char **what)
{
	bool over = journey->guard && journey->performed && guard_finish_sent(journey->guard);
	bool left = journey->through && journey->through->stage >= THROUGH_LEFT;
	if (over || left || journey->defining || journey->over) {
		*what = _("The hand-over has begun and cannot be cancelled any more.");
		return false;
	}
	if (postcopy_asked(journey)) {
		*what = _("Post-copy has begun: neither host alone has the whole VM, so it "
			  "cannot be cancelled any more. The rest of the memory follows.");
		return false;
	}
	if (journey->cancelled) {
		*what = _("Already cancelling; please wait.");
		return true;
	}
	journey->cancelled = true;
	*what = _("Cancelling; the VM stays at the source.");
	return true;
}

static gboolean on_signal(gpointer data)
{
	struct journey *journey = data;
	const char *what = NULL;
	journey_cancel(journey, &what);
	journey_note(journey, false, "%s", what);
	return G_SOURCE_CONTINUE;
}

void journey_catch_signals(struct journey *journey)
{
	static const int numbers[] = { SIGINT, SIGTERM };
	signal(SIGHUP, SIG_IGN);
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		journey->signals[i] = g_unix_signal_add(numbers[i], on_signal, journey);
}

void journey_release_signals(struct journey *journey)
{
	for (size_t i = 0; i < G_N_ELEMENTS(journey->signals); i++)
		if (journey->signals[i])
			g_source_remove(journey->signals[i]);
}
