/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that works, reports and answers in the main loop. */
#include "base/task.h"

struct task {
	/* set once */
	JsonObject *(*work)(struct task *task, void *data);
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

static gboolean deliver_message(void *data)
{
	struct task *task = data;
	g_mutex_lock(&task->lock);
	JsonObject *message = g_queue_pop_head(&task->messages);
	bool more = !g_queue_is_empty(&task->messages);
	task->done = task->ended && !more;
	if (!more)
		task->source = 0;
	g_mutex_unlock(&task->lock);
	task->send(message, task->send_data);
	return more ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void post_message(struct task *task, JsonObject *message, bool ended)
{
	g_mutex_lock(&task->lock);
	task->ended = ended;
	g_queue_push_tail(&task->messages, message);
	if (!task->source)
		task->source = g_idle_add(deliver_message, task);
	g_mutex_unlock(&task->lock);
}

static void *task_thread(void *data)
{
	struct task *task = data;
	post_message(task, task->work(task, task->data), true);
	return NULL;
}

struct task *task_new(JsonObject *(*work)(struct task *task, void *data), void *data,
		      void (*clear)(void *data), void (*send)(JsonObject *answer, void *data),
		      void *send_data)
{
	struct task *task = g_new0(struct task, 1);
	task->work = work;
	task->data = data;
	task->clear = clear;
	task->send = send;
	task->send_data = send_data;
	g_queue_init(&task->messages);
	g_mutex_init(&task->lock);
	g_cond_init(&task->wake);
	task->thread = g_thread_new("task", task_thread, task);
	return task;
}

void task_report(struct task *task, JsonObject *message)
{
	post_message(task, message, false);
}

bool task_sleep(struct task *task, int ms)
{
	gint64 until = g_get_monotonic_time() + (gint64) ms * 1000;
	g_mutex_lock(&task->lock);
	while (!task->over && g_cond_wait_until(&task->wake, &task->lock, until))
		;
	bool over = task->over;
	g_mutex_unlock(&task->lock);
	return !over;
}

bool task_is_over(struct task *task)
{
	g_mutex_lock(&task->lock);
	bool over = task->over;
	g_mutex_unlock(&task->lock);
	return over;
}

bool task_is_done(const struct task *task)
{
	return task->done;
}

void task_free(struct task *task)
{
	if (!task)
		return;
	g_mutex_lock(&task->lock);
	task->over = true;
	g_cond_signal(&task->wake);
	g_mutex_unlock(&task->lock);
	g_thread_join(task->thread);
	if (task->source)
		g_source_remove(task->source);
	g_queue_clear_full(&task->messages, (GDestroyNotify) json_object_unref);
	if (task->clear)
		task->clear(task->data);
	g_mutex_clear(&task->lock);
	g_cond_clear(&task->wake);
	g_free(task);
}
