/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for the stop. See pause_watch.h. */
#include "conductor/live/pause_watch.h"

#include <stdint.h>

struct pause_watch {
	/* set once */
	virDomainPtr domain;
	int look_ms;
	void (*stopped)(void *data);
	void *data;
	GThread *thread;
	/* under lock */
	GMutex lock;
	GCond wake;
	gboolean stop;
	guint source; /* on its way to the main context; 0: not */
};

static gboolean tell_stopped(gpointer data)
{
	struct pause_watch *pause_watch = data;
	g_mutex_lock(&pause_watch->lock);
	pause_watch->source = 0;
	g_mutex_unlock(&pause_watch->lock);
	pause_watch->stopped(pause_watch->data);
	return G_SOURCE_REMOVE;
}

static gboolean is_paused(struct pause_watch *pause_watch)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;
	return virDomainGetState(pause_watch->domain, &state, &reason, 0) == 0 &&
	       state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
}

static gpointer pause_watch_thread(gpointer data)
{
	struct pause_watch *pause_watch = data;
	gboolean paused = FALSE;
	g_mutex_lock(&pause_watch->lock);
	while (!pause_watch->stop && !paused) {
		g_mutex_unlock(&pause_watch->lock);
		paused = is_paused(pause_watch);
		g_mutex_lock(&pause_watch->lock);
		if (paused && !pause_watch->stop)
			pause_watch->source =
				g_idle_add_full(G_PRIORITY_HIGH, tell_stopped, pause_watch, NULL);
		gint64 until = g_get_monotonic_time() + pause_watch->look_ms * INT64_C(1000);
		while (!pause_watch->stop && !paused &&
		       g_cond_wait_until(&pause_watch->wake, &pause_watch->lock, until))
			;
	}
	g_mutex_unlock(&pause_watch->lock);
	return NULL;
}

struct pause_watch *pause_watch_new(virDomainPtr domain, int look_ms, void (*stopped)(void *data),
				    void *data)
{
	struct pause_watch *pause_watch = g_new0(struct pause_watch, 1);
	virDomainRef(domain);
	pause_watch->domain = domain;
	pause_watch->look_ms = look_ms;
	pause_watch->stopped = stopped;
	pause_watch->data = data;
	g_mutex_init(&pause_watch->lock);
	g_cond_init(&pause_watch->wake);
	pause_watch->thread = g_thread_new("pause-watch", pause_watch_thread, pause_watch);
	return pause_watch;
}

void pause_watch_free(struct pause_watch *pause_watch)
{
	if (!pause_watch)
		return;
	g_mutex_lock(&pause_watch->lock);
	pause_watch->stop = TRUE;
	g_cond_signal(&pause_watch->wake);
	g_mutex_unlock(&pause_watch->lock);
	g_thread_join(pause_watch->thread);
	if (pause_watch->source)
		g_source_remove(pause_watch->source);
	virDomainFree(pause_watch->domain);
	g_mutex_clear(&pause_watch->lock);
	g_cond_clear(&pause_watch->wake);
	g_free(pause_watch);
}
