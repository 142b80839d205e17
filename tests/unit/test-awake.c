/* SPDX-License-Identifier: Apache-2.0 */
/* The gate asks whether the conductor is awake: which answers count. The conductor is the main loop of this program, the gate a
 * thread of its own. */
#include "base/clock.h"
#include "base/json.h"
#include "base/wait.h"
#include "mover/core/conductor_check.h"

#include <string.h>

enum { STALE_MS = 300, SOON_MS = 5000 };

struct scene {
	struct transfer transfer;
	int64_t asked;    /* the newest question that was heard */
	int64_t lies_by;  /* added to its number */
	int64_t pause_ms; /* of the gate, between question and wait */
	GThread *gate;
	bool passed;
	gint ended; /* atomic */
};

static void hear(JsonObject *event, void *data)
{
	struct scene *scene = data;
	g_assert_cmpstr(json_get_string(event, "what", ""), ==, "ask-awake");
	scene->asked = json_get_int(event, "n", 0);
	conductor_check_answered(&scene->transfer, scene->asked + scene->lies_by);
}

static void *pass_gate(void *data)
{
	struct scene *scene = data;
	g_autoptr(GError) error = NULL;
	conductor_check_ask(&scene->transfer);
	g_usleep((gulong) scene->pause_ms * 1000);
	scene->passed = conductor_check_wait(&scene->transfer, &error);
	g_assert_true(scene->passed == !error);
	g_atomic_int_set(&scene->ended, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

static void begin(struct scene *scene, int64_t pause_ms, int64_t lies_by)
{
	*scene = (struct scene){ .pause_ms = pause_ms, .lies_by = lies_by };
	pthread_mutex_init(&scene->transfer.lock, NULL);
	wait_cond_init(&scene->transfer.changed);
	scene->transfer.on_event = hear;
	scene->transfer.on_event_data = scene;
	scene->gate = g_thread_new("gate", pass_gate, scene);
}

static void end(struct scene *scene, bool passed, int64_t asked)
{
	int64_t began = clock_now_ms();
	while (!g_atomic_int_get(&scene->ended))
		g_main_context_iteration(NULL, TRUE);
	g_thread_join(scene->gate);
	g_assert_true(scene->passed == passed);
	g_assert_cmpint(scene->asked, ==, asked);
	g_assert_cmpint(clock_now_ms() - began, <, SOON_MS);
	pthread_cond_destroy(&scene->transfer.changed);
	pthread_mutex_destroy(&scene->transfer.lock);
}

static void test_awake(void)
{
	struct scene scene;
	begin(&scene, 0, 0);
	end(&scene, true, 1);
}

/* What was answered before a long proof says nothing of now. */
static void test_asks_again(void)
{
	struct scene scene;
	begin(&scene, STALE_MS, 0);
	end(&scene, true, 2);
}

static gboolean refuse(void *data)
{
	struct scene *scene = data;
	pthread_mutex_lock(&scene->transfer.lock);
	scene->transfer.phase = TRANSFER_REFUSED;
	pthread_cond_broadcast(&scene->transfer.changed);
	pthread_mutex_unlock(&scene->transfer.lock);
	return G_SOURCE_REMOVE;
}

/* An answer to a question that was not asked, and one to an older one: neither opens the gate. The ceiling ends that. */
static void test_other_answers(void)
{
	static const int64_t lies[] = { 1, -1 };
	for (size_t i = 0; i < G_N_ELEMENTS(lies); i++) {
		struct scene scene;
		begin(&scene, 0, lies[i]);
		g_timeout_add(STALE_MS, refuse, &scene);
		end(&scene, false, 1);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/awake/awake", test_awake);
	g_test_add_func("/awake/asks-again", test_asks_again);
	g_test_add_func("/awake/other-answers", test_other_answers);
	return g_test_run();
}
