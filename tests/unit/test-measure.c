/* SPDX-License-Identifier: Apache-2.0 */
/* What a mover says when it is asked to measure, and when. */
#include "mover/measure/measure.h"

#include "base/json.h"

#include <string.h>

struct heard {
	GPtrArray *messages;
	struct task *task;
};

static void hear(JsonObject *message, void *data)
{
	struct heard *heard = data;
	g_ptr_array_add(heard->messages, message);
}

static void listen_to(struct heard *heard)
{
	*heard = (struct heard){ .messages = g_ptr_array_new_with_free_func(
					 (GDestroyNotify) json_object_unref) };
}

static const char *type_of(const struct heard *heard, guint index)
{
	return json_get_string(heard->messages->pdata[index], "t", "");
}

static void wait_done(struct heard *heard)
{
	while (!task_is_done(heard->task))
		g_main_context_iteration(NULL, TRUE);
	task_free(heard->task);
}

/* ---- an task ---- */

static JsonObject *word(const char *type)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", type);
	return message;
}

static JsonObject *report_twice(struct task *task, void *data)
{
	task_report(task, word("one"));
	task_report(task, word("two"));
	return word("answer");
}

static void test_reports_come_first(void)
{
	struct heard heard;
	listen_to(&heard);
	heard.task = task_new(report_twice, NULL, NULL, hear, &heard);
	wait_done(&heard);
	g_assert_cmpuint(heard.messages->len, ==, 3);
	g_assert_cmpstr(type_of(&heard, 0), ==, "one");
	g_assert_cmpstr(type_of(&heard, 1), ==, "two");
	g_assert_cmpstr(type_of(&heard, 2), ==, "answer");
	g_ptr_array_unref(heard.messages);
}

/* Nobody hears it after the task is gone, and nothing leaks. */
static void test_freed_unheard(void)
{
	struct heard heard;
	listen_to(&heard);
	heard.task = task_new(report_twice, NULL, NULL, hear, &heard);
	task_free(heard.task);
	while (g_main_context_iteration(NULL, FALSE))
		;
	g_assert_cmpuint(heard.messages->len, ==, 0);
	g_ptr_array_unref(heard.messages);
}

/* ---- measuring ---- */

static char none[] = "no-such-vm";

static bool begin_measuring(struct heard *heard, const char *text)
{
	static struct mover_setup settings = { .vm_name = none,
					       .vm_uuid = none,
					       .memory_limit = 64 << 20 };
	g_autoptr(JsonObject) message = json_parse_object(text, strlen(text), NULL);
	g_autoptr(GError) error = NULL;
	listen_to(heard);
	heard->task = measure_start(&settings, message, hear, heard, &error);
	return heard->task != NULL;
}

/* Without a sample all is said at the end of the first window. */
static void test_host_alone(void)
{
	gint64 begin = g_get_monotonic_time();
	struct heard heard;
	g_assert_true(begin_measuring(&heard, "{\"windows_ms\":[100,30000]}"));
	wait_done(&heard);
	g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
	g_assert_cmpuint(heard.messages->len, ==, 1);
	g_assert_cmpstr(type_of(&heard, 0), ==, "measured");
	JsonObject *host = json_get_object(heard.messages->pdata[0], "host");
	g_assert_cmpfloat(json_get_double(host, "speed", 0), >, 0);
	g_assert_false(json_object_has_member(heard.messages->pdata[0], "memory"));
	g_ptr_array_unref(heard.messages);
}

/* A VM whose QEMU is not found is no reason to wait, either. */
static void test_no_vm(void)
{
	gint64 begin = g_get_monotonic_time();
	struct heard heard;
	g_assert_true(
		begin_measuring(&heard, "{\"windows_ms\":[100,30000],\"memories\":[1048576]}"));
	wait_done(&heard);
	g_assert_cmpint(g_get_monotonic_time() - begin, <, 20 * G_USEC_PER_SEC);
	g_assert_cmpuint(heard.messages->len, ==, 1);
	JsonObject *memory = json_get_object(heard.messages->pdata[0], "memory");
	g_assert_nonnull(json_get_string(memory, "reason", NULL));
	g_assert_false(json_object_has_member(memory, "sample"));
	g_ptr_array_unref(heard.messages);
}

static void test_nonsense(void)
{
	static const char *const texts[] = { "{\"windows_ms\":[100,100]}",
					     "{\"windows_ms\":[60001]}",
					     "{\"windows_ms\":[1],\"memories\":[1]}" };
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		struct heard heard;
		g_assert_false(begin_measuring(&heard, texts[i]));
		g_ptr_array_unref(heard.messages);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/measure/reports-come-first", test_reports_come_first);
	g_test_add_func("/measure/freed-unheard", test_freed_unheard);
	g_test_add_func("/measure/host-alone", test_host_alone);
	g_test_add_func("/measure/no-vm", test_no_vm);
	g_test_add_func("/measure/nonsense", test_nonsense);
	return g_test_run();
}
