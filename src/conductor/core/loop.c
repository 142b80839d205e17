/* SPDX-License-Identifier: Apache-2.0 */
/* The loop under the phases: waiting, calls that block, signals, and words for the person. */
#include "conductor/core/part.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/plain.h"

#include <glib-unix.h>
#include <signal.h>

bool move_check_cancel(struct move *move, GError **error)
{
	if (!move->cancelled)
		return true;
	return error_set(error, WATARI_ERROR_CANCELLED, NULL, _("cancelled by the user"));
}

static gboolean wake_loop(gpointer data)
{
	*(bool *) data = true;
	return G_SOURCE_REMOVE;
}

bool move_wait(struct move *move, bool (*done)(void *data), void *data, int timeout_ms,
	       GError **error)
{
	bool over = false;
	guint timer = timeout_ms >= 0 ? g_timeout_add((guint) timeout_ms, wake_loop, &over) : 0;
	bool good;
	while (!(good = done(data)) && !over && !move->cancelled)
		g_main_context_iteration(NULL, TRUE);
	if (timer && !over)
		g_source_remove(timer);
	if (good)
		return true;
	if (move->cancelled)
		return move_check_cancel(move, error);
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("no answer in time"));
}

static bool never(void *data)
{
	return false;
}

void move_pause(struct move *move, int ms)
{
	move_wait(move, never, NULL, ms, NULL);
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
	struct move *move;
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
	struct move *move = patience->move;
	int64_t now_ms = clock_now_ms();
	if (move->cancelled && !patience->cancelled_ms)
		patience->cancelled_ms = now_ms;
	if (!patience->doing && now_ms - patience->began_ms >= SAY_MS) {
		patience->doing = move->progress.doing ? move->progress.doing : "";
		move_say(move, _("waiting for an answer of libvirt or of a host's programs"));
	}
	if (!patience->cut && patience->cancelled_ms && move->guard && !move->performed &&
	    now_ms - patience->cancelled_ms >= CUT_MS) {
		patience->cut = true;
		guard_cut(move->guard);
	}
	return G_SOURCE_CONTINUE;
}

void move_call(struct move *move, void (*function)(void *data), void *data)
{
	enum { LOOK_MS = 1000 };
	struct call call = { function, data, 0 };
	struct patience patience = { .move = move, .began_ms = clock_now_ms() };
	guint timer = g_timeout_add(LOOK_MS, lose_patience, &patience);
	GThread *thread = g_thread_new("call", run_call, &call);
	while (!g_atomic_int_get(&call.done))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(thread);
	g_source_remove(timer);
	if (patience.doing)
		move_say(move, patience.doing);
}

static int64_t stop_began_us(const struct move *move)
{
	return move->still ? move->still_us : move->stopped ? move->stopped_us : 0;
}

struct move_progress move_shown_progress(const struct move *move)
{
	struct move_progress shown = move->progress;
	int64_t stop_us = postcopy_asked(move) ? 0 : stop_began_us(move);
	shown.elapsed_ms = (clock_now_us() - move->started_us) / 1000;
	if (!stop_us)
		return shown;
	shown.iteration = 0;
	shown.dirty_rate = 0;
	if (move->stopped) /* the memory is out: only the device state and proofs are left */
		shown.rate = 0;
	if (move->stopped || shown.asked_us < stop_us) {
		shown.remaining = 0;
		shown.left_ms = -1;
	}
	return shown;
}

void move_show_progress(struct move *move)
{
	const struct move_progress shown = move_shown_progress(move);
	if (move->observer->progress)
		move->observer->progress(&shown, move->observer->data);
	parts_show(move);
}

/* How long the step before would have taken does not hold for this one. */
void move_say(struct move *move, const char *doing)
{
	move->progress.doing = doing;
	move->progress.left_ms = -1;
	move_show_progress(move);
}

void move_note(struct move *move, bool important, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = plain_line(g_strdup_vprintf(format, args));
	va_end(args);
	if (move->observer->note)
		move->observer->note(text, important, move->observer->data);
	if (important)
		g_ptr_array_add(move->report->notes, text);
	else
		g_free(text);
}

bool move_cancel(struct move *move, const char **what)
{
	bool over = move->guard && move->performed && guard_finish_sent(move->guard);
	if (over || parts_are_past_cancel(move) || move->defining || move->over) {
		*what = _("The hand-over has begun and cannot be cancelled any more.");
		return false;
	}
	if (postcopy_asked(move)) {
		*what = _("Post-copy has begun: neither host alone has the whole VM, so it "
			  "cannot be cancelled any more. The rest of the memory follows.");
		return false;
	}
	if (move->cancelled) {
		*what = _("Already cancelling; please wait.");
		return true;
	}
	move->cancelled = true;
	*what = _("Cancelling; the VM stays at the source.");
	return true;
}

static gboolean on_signal(gpointer data)
{
	struct move *move = data;
	const char *what = NULL;
	move_cancel(move, &what);
	move_note(move, false, "%s", what);
	return G_SOURCE_CONTINUE;
}

void move_catch_signals(struct move *move)
{
	static const int numbers[] = { SIGINT, SIGTERM };
	signal(SIGHUP, SIG_IGN);
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		move->signals[i] = g_unix_signal_add(numbers[i], on_signal, move);
}

void move_release_signals(struct move *move)
{
	for (size_t i = 0; i < G_N_ELEMENTS(move->signals); i++)
		if (move->signals[i])
			g_source_remove(move->signals[i]);
}
