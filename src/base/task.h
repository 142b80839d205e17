/* SPDX-License-Identifier: Apache-2.0 */
/* Something that takes a while and ends with one message to the conductor, in a thread of its own. What is known
 * earlier may be reported before. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

struct task;
/* WORK returns the answer; it looks at task_sleep() for the end. SEND gets it in the main thread, unless
 * the task was freed before. DATA is given to CLEAR at the end (which may be NULL). */
struct task *task_new(JsonObject *(*work)(struct task *task, void *data), void *data,
		      void (*clear)(void *data), void (*send)(JsonObject *answer, void *data),
		      void *send_data);
/* Sends MESSAGE before the answer; takes it. The task's own thread. */
void task_report(struct task *task, JsonObject *message);
/* False: it is over, go home. Any thread, as is task_is_over(). */
bool task_sleep(struct task *task, int ms);
bool task_is_over(struct task *task);
/* Has its answer been sent? Main thread. */
bool task_is_done(const struct task *task);
/* Waits for the thread. NULL is no task. Main thread. */
void task_free(struct task *task);
