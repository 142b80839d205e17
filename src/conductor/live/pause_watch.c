/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for the stop. See pause_watch.h. */
#include "conductor/live/pause_watch.h"

#include <stdint.h>

struct standstill {
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

static gboolean tell(gpointer data)
{
	struct standstill *standstill = data;
	g_mutex_lock(&standstill->lock);
	standstill->source = 0;
	g_mutex_unlock(&standstill->lock);
	standstill->stopped(standstill->data);
	return G_SOURCE_REMOVE;
}

static gboolean is_paused(struct standstill *standstill)
{
	int state = VIR_DOMAIN_NOSTATE, reason = 0;
	return virDomainGetState(standstill->domain, &state, &reason, 0) == 0 &&
	       state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
}

static gpointer work(gpointer data)
{
	struct standstill *standstill = data;
	gboolean paused = FALSE;
	g_mutex_lock(&standstill->lock);
	while (!standstill->stop && !paused) {
		g_mutex_unlock(&standstill->lock);
		paused = is_paused(standstill);
		g_mutex_lock(&standstill->lock);
		if (paused && !standstill->stop)
			standstill->source =
				g_idle_add_full(G_PRIORITY_HIGH, tell, standstill, NULL);
		gint64 until = g_get_monotonic_time() + standstill->look_ms * INT64_C(1000);
		while (!standstill->stop && !paused &&
		       g_cond_wait_until(&standstill->wake, &standstill->lock, until))
			;
	}
	g_mutex_unlock(&standstill->lock);
	return NULL;
}

struct standstill *standstill_new(virDomainPtr domain, int look_ms, void (*stopped)(void *data),
				  void *data)
{
	struct standstill *standstill = g_new0(struct standstill, 1);
	virDomainRef(domain);
	standstill->domain = domain;
	standstill->look_ms = look_ms;
	standstill->stopped = stopped;
	standstill->data = data;
	g_mutex_init(&standstill->lock);
	g_cond_init(&standstill->wake);
	standstill->thread = g_thread_new("standstill", work, standstill);
	return standstill;
}

void standstill_free(struct standstill *standstill)
{
	if (!standstill)
		return;
	g_mutex_lock(&standstill->lock);
	standstill->stop = TRUE;
	g_cond_signal(&standstill->wake);
	g_mutex_unlock(&standstill->lock);
	g_thread_join(standstill->thread);
	if (standstill->source)
		g_source_remove(standstill->source);
	virDomainFree(standstill->domain);
	g_mutex_clear(&standstill->lock);
	g_cond_clear(&standstill->wake);
	g_free(standstill);
}
