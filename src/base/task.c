/* SPDX-License-Identifier: Apache-2.0 */
#include "base/task.h"

struct errand {
	/* set once */
	JsonObject *(*work)(struct errand *errand, void *data);
	void *data;
	void (*clear)(void *data);
	void (*send)(JsonObject *answer, void *data);
	void *send_data;
	GThread *thread;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool over, ended;
	GQueue messages; /* JsonObject, on their way to the main thread */
	guint source;    /* that brings them */
	/* main thread */
	bool done;
};

static gboolean deliver(void *data)
{
	struct errand *errand = data;
	g_mutex_lock(&errand->lock);
	JsonObject *message = g_queue_pop_head(&errand->messages);
	bool more = !g_queue_is_empty(&errand->messages);
	errand->done = errand->ended && !more;
	if (!more)
		errand->source = 0;
	g_mutex_unlock(&errand->lock);
	errand->send(message, errand->send_data);
	return more ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void post_message(struct errand *errand, JsonObject *message, bool ended)
{
	g_mutex_lock(&errand->lock);
	errand->ended = ended;
	g_queue_push_tail(&errand->messages, message);
	if (!errand->source)
		errand->source = g_idle_add(deliver, errand);
	g_mutex_unlock(&errand->lock);
}

static void *run(void *data)
{
	struct errand *errand = data;
	post_message(errand, errand->work(errand, errand->data), true);
	return NULL;
}

struct errand *errand_new(JsonObject *(*work)(struct errand *errand, void *data), void *data,
			  void (*clear)(void *data), void (*send)(JsonObject *answer, void *data),
			  void *send_data)
{
	struct errand *errand = g_new0(struct errand, 1);
	errand->work = work;
	errand->data = data;
	errand->clear = clear;
	errand->send = send;
	errand->send_data = send_data;
	g_queue_init(&errand->messages);
	g_mutex_init(&errand->lock);
	g_cond_init(&errand->wake);
	errand->thread = g_thread_new("errand", run, errand);
	return errand;
}

void errand_report(struct errand *errand, JsonObject *message)
{
	post_message(errand, message, false);
}

bool errand_sleep(struct errand *errand, int ms)
{
	gint64 until = g_get_monotonic_time() + (gint64) ms * 1000;
	g_mutex_lock(&errand->lock);
	while (!errand->over && g_cond_wait_until(&errand->wake, &errand->lock, until))
		;
	bool over = errand->over;
	g_mutex_unlock(&errand->lock);
	return !over;
}

bool errand_is_over(struct errand *errand)
{
	g_mutex_lock(&errand->lock);
	bool over = errand->over;
	g_mutex_unlock(&errand->lock);
	return over;
}

bool errand_is_done(const struct errand *errand)
{
	return errand->done;
}

void errand_free(struct errand *errand)
{
	if (!errand)
		return;
	g_mutex_lock(&errand->lock);
	errand->over = true;
	g_cond_signal(&errand->wake);
	g_mutex_unlock(&errand->lock);
	g_thread_join(errand->thread);
	if (errand->source)
		g_source_remove(errand->source);
	g_queue_clear_full(&errand->messages, (GDestroyNotify) json_object_unref);
	if (errand->clear)
		errand->clear(errand->data);
	g_mutex_clear(&errand->lock);
	g_cond_clear(&errand->wake);
	g_free(errand);
}
