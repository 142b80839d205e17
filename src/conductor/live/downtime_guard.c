/* SPDX-License-Identifier: Apache-2.0 */
/* Kills a source mover that hangs while the VM is stopped. See downtime_guard.h. */
#include "conductor/live/downtime_guard.h"

#include "conductor/core/movers.h"
#include "conductor/postcopy/postcopy.h"
#include "conductor/live/pause_watch.h"

#include "base/clock.h"
#include "base/i18n.h"

enum {
	GRACE_MS = 1000,        /* the mover and its child are given so long beyond the ceiling */
	AGAIN_MS = 3000,        /* the shell connection may have broken */
	HANDING_OVER_MS = 2000, /* from the word that the gate is open until libvirt says Finish */
	LOOK_MS = 100,
};

struct downtime_guard {
	struct move *move;
	struct pause_watch *pause_watch; /* NULL: others look for the stop */
	int64_t seen_us;                 /* the VM is stopped, as libvirt says; 0: not */
	int64_t killed_ms;               /* last; 0: never */
	GThread *killer;
	gint killer_done; /* atomic */
};

static void note_standstill(void *data)
{
	struct downtime_guard *ceiling = data;
	ceiling->seen_us = clock_now_us();
}

/* Whoever saw it first; 0: it runs. */
static int64_t stopped_since_us(const struct downtime_guard *ceiling)
{
	const struct move *move = ceiling->move;
	const int64_t seen[] = { ceiling->seen_us, move->still ? move->still_us : 0,
				 move->stopped ? move->stopped_us : 0 };
	int64_t first = 0;
	for (size_t i = 0; i < G_N_ELEMENTS(seen); i++)
		if (seen[i] && (!first || seen[i] < first))
			first = seen[i];
	return first;
}

static bool is_exceeded(const struct downtime_guard *ceiling)
{
	struct move *move = ceiling->move;
	int64_t ceiling_ms = move_stop_ceiling_ms(move), since_us = stopped_since_us(ceiling);
	if (!ceiling_ms || !since_us || postcopy_asked(move))
		return false;
	int64_t now_us = clock_now_us();
	/* A mover may hang between that word and its deed. Once libvirt says Finish, it did not. */
	if (move->released &&
	    (guard_finish_sent(move->guard) || now_us - move->released_us < HANDING_OVER_MS * 1000))
		return false;
	return now_us - since_us > (ceiling_ms + GRACE_MS) * 1000;
}

static gpointer kill_mover(gpointer data)
{
	struct downtime_guard *ceiling = data;
	movers_kill(ceiling->move, MOVE_SOURCE);
	g_atomic_int_set(&ceiling->killer_done, 1);
	return NULL;
}

static void join_killer(struct downtime_guard *ceiling)
{
	if (ceiling->killer)
		g_thread_join(g_steal_pointer(&ceiling->killer));
}

void downtime_guard_tick(struct downtime_guard *ceiling)
{
	struct move *move = ceiling->move;
	int64_t now_ms = clock_now_ms();
	if (!is_exceeded(ceiling) || !movers_alive(move, MOVE_SOURCE) ||
	    (ceiling->killed_ms && now_ms - ceiling->killed_ms < AGAIN_MS) ||
	    (ceiling->killer && !g_atomic_int_get(&ceiling->killer_done)))
		return;
	if (!move->mover_reason)
		move->mover_reason = g_strdup_printf(
			_("the mover at %s neither handed over nor broke off when the VM had been "
			  "stopped for as long as it may; it was killed, so that the VM goes on"),
			move->hosts[MOVE_SOURCE]->name);
	join_killer(ceiling);
	ceiling->killed_ms = now_ms;
	g_atomic_int_set(&ceiling->killer_done, 0);
	ceiling->killer = g_thread_new("kill", kill_mover, ceiling);
}

struct downtime_guard *downtime_guard_new(struct move *move, bool looked_at)
{
	struct downtime_guard *ceiling = g_new0(struct downtime_guard, 1);
	ceiling->move = move;
	if (!looked_at && !move->paused_before && move_stop_ceiling_ms(move))
		ceiling->pause_watch =
			pause_watch_new(move->domain, LOOK_MS, note_standstill, ceiling);
	return ceiling;
}

void downtime_guard_free(struct downtime_guard *ceiling)
{
	if (!ceiling)
		return;
	pause_watch_free(ceiling->pause_watch);
	join_killer(ceiling);
	g_free(ceiling);
}
