/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at host, memory and images at the given times. */
#include "mover/measure/measure.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "mover/core/fault.h"
#include "mover/core/guest_memory.h"
#include "mover/measure/image_tags.h"
#include "mover/measure/sample.h"
#include "mover/measure/host_load.h"

enum {
	WINDOWS_MAX = 8,
	WINDOW_MS_MAX = 60000,
	MEMORIES_MAX = 64,
	SCAN_MS_MAX = 20000,
	PAGES_MAX = 16384,
	MEMORY_SHARE = 8, /* of the memory limit, for each of the sample's two copies */
};

struct measure {
	char *vm_name, *vm_uuid;
	int64_t windows_ms[WINDOWS_MAX]; /* since the first look */
	unsigned windows;
	uint64_t lengths[MEMORIES_MAX];
	unsigned memories, pages;
	JsonArray *images; /* that the memory's pages are looked for on; NULL: none */
	int64_t scan_ms;
};

static void measure_clear(void *data)
{
	struct measure *measure = data;
	g_free(measure->vm_name);
	g_free(measure->vm_uuid);
	g_clear_pointer(&measure->images, json_array_unref);
	g_free(measure);
}

/* What there is so far. */
struct looks {
	/* set once */
	struct task *task;
	const struct measure *measure;
	struct image_tags *tags; /* NULL: no images */
	/* the task's */
	struct sample *sample; /* NULL: none, or none any more */
	int64_t windows_ms[WINDOWS_MAX], changed[WINDOWS_MAX];
	unsigned count;
	JsonObject *host;
	GError *error;
};

static void begin_sample(struct looks *looks)
{
	const struct measure *measure = looks->measure;
	if (!measure->memories)
		return;
	int pid = guest_memory_find_qemu(measure->vm_name, measure->vm_uuid, &looks->error);
	if (pid > 0)
		looks->sample = sample_new(pid, measure->lengths, measure->memories, measure->pages,
					   &looks->error);
	if (looks->sample && sample_look(looks->sample, &looks->error) < 0)
		g_clear_pointer(&looks->sample, sample_free);
}

static void look_again(struct looks *looks, int64_t begin_ms)
{
	if (!looks->sample)
		return;
	int64_t changed = sample_look(looks->sample, &looks->error);
	looks->windows_ms[looks->count] = clock_now_ms() - begin_ms;
	looks->changed[looks->count++] = changed;
	if (changed < 0)
		g_clear_pointer(&looks->sample, sample_free);
}

/* ---- the answer ---- */

static JsonObject *describe_memory(struct looks *looks)
{
	JsonObject *memory = json_object_new();
	if (looks->sample) {
		JsonArray *windows = json_array_new(), *changed = json_array_new();
		for (unsigned i = 0; i < looks->count; i++) {
			json_array_add_int_element(windows, looks->windows_ms[i]);
			json_array_add_int_element(changed, looks->changed[i]);
		}
		json_object_set_array_member(memory, "windows_ms", windows);
		json_object_set_array_member(memory, "changed", changed);
		json_object_set_object_member(memory, "sample", sample_describe(looks->sample));
	}
	if (looks->error) {
		g_autofree char *what = error_what(looks->error);
		json_object_set_string_member(memory, "reason", what);
	}
	return memory;
}

static JsonObject *describe_looks(struct looks *looks, const char *type)
{
	JsonObject *answer = json_object_new();
	json_object_set_string_member(answer, "t", type);
	json_object_set_object_member(answer, "host", json_copy_object(looks->host));
	/* first: what lies on them is left out of the trial of the encoders */
	if (looks->tags)
		json_object_set_array_member(answer, "images",
					     image_tags_describe(looks->tags, looks->sample));
	if (looks->measure->memories)
		json_object_set_object_member(answer, "memory", describe_memory(looks));
	return answer;
}

/* ---- the work ---- */

/* The move may begin after the last window but one: what the host does without it, and how fast it is then, is found out
 * at that one's end. Without a sample there is nothing to look at later. */
static void look_on(struct looks *looks)
{
	const struct measure *measure = looks->measure;
	struct host_load before = host_load_read();
	int64_t begin_ms = clock_now_ms();
	for (unsigned i = 0; i < measure->windows && (!looks->host || looks->sample); i++) {
		int64_t left_ms = begin_ms + measure->windows_ms[i] - clock_now_ms();
		if (!task_sleep(looks->task, (int) MAX(left_ms, 0)))
			break;
		look_again(looks, begin_ms);
		if (looks->host || i + 2 < measure->windows)
			continue;
		looks->host = host_load_describe(&before);
		if (looks->sample && measure->windows > 1)
			task_report(looks->task, describe_looks(looks, "measuring"));
	}
	if (!looks->host)
		looks->host = host_load_describe(&before);
}

static JsonObject *measure_in_task(struct task *task, void *data)
{
	const struct measure *measure = data;
	struct looks looks = { .task = task, .measure = measure };
	if (measure->images)
		looks.tags = image_tags_begin(measure->images, measure->scan_ms);
	begin_sample(&looks);
	look_on(&looks);
	if (looks.tags && !task_is_over(task))
		image_tags_wait(looks.tags);
	JsonObject *answer = describe_looks(&looks, "measured");
	image_tags_free(looks.tags);
	sample_free(looks.sample);
	json_object_unref(looks.host);
	g_clear_error(&looks.error);
	return answer;
}

static bool parse_measure(struct measure *measure, JsonObject *message)
{
	JsonArray *windows = json_get_array(message, "windows_ms");
	JsonArray *memories = json_get_array(message, "memories");
	int64_t last = 0;
	measure->windows = windows ? json_array_get_length(windows) : 0;
	measure->memories = memories ? json_array_get_length(memories) : 0;
	if (measure->windows > WINDOWS_MAX || measure->memories > MEMORIES_MAX)
		return false;
	for (unsigned i = 0; i < measure->windows; i++) {
		measure->windows_ms[i] = json_array_get_int_element(windows, i);
		if (measure->windows_ms[i] <= last || measure->windows_ms[i] > WINDOW_MS_MAX)
			return false;
		last = measure->windows_ms[i];
	}
	for (unsigned i = 0; i < measure->memories; i++) {
		int64_t length = json_array_get_int_element(memories, i);
		if (length < SAMPLE_PAGE)
			return false;
		measure->lengths[i] = (uint64_t) length;
	}
	JsonArray *images = json_get_array(message, "images");
	measure->images = images ? json_array_ref(images) : NULL;
	measure->scan_ms = CLAMP(json_get_int(message, "scan_ms", 0), 0, SCAN_MS_MAX);
	return true;
}

struct task *measure_start(const struct mover_setup *settings, JsonObject *message,
			   void (*send)(JsonObject *answer, void *data), void *data, GError **error)
{
	struct measure *measure = g_new0(struct measure, 1);
	uint64_t room = settings->memory_limit / MEMORY_SHARE / SAMPLE_PAGE;
	measure->vm_name = g_strdup(settings->vm_name);
	measure->vm_uuid = g_strdup(settings->vm_uuid);
	measure->pages = (unsigned) MIN(room, PAGES_MAX);
	bool good = parse_measure(measure, message);
	if (good && measure->windows > 0)
		measure->windows_ms[measure->windows - 1] += fault_late_look_ms(settings);
	if (good)
		return task_new(measure_in_task, measure, measure_clear, send, data);
	measure_clear(measure);
	error_set(error, WATARI_ERROR_INTERNAL, NULL, _("measure: bad windows_ms or memories"));
	return NULL;
}
