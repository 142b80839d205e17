/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/measure.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "mover/guest_memory.h"
#include "mover/image_tags.h"
#include "mover/sample.h"
#include "mover/vitals.h"

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

/* False when the errand is over. */
static bool sleep_until(struct errand *errand, int64_t until_ms)
{
	int64_t left = until_ms - clock_now_ms();
	return errand_sleep(errand, (int) MAX(left, 0));
}

static struct sample *begin_sample(const struct measure *measure, GError **error)
{
	int pid = guest_memory_find_qemu(measure->vm_name, measure->vm_uuid, error);
	struct sample *sample = pid > 0 ? sample_new(pid, measure->lengths, measure->memories,
						     measure->pages, error)
					: NULL;
	if (sample && sample_look(sample, error) < 0)
		g_clear_pointer(&sample, sample_free);
	return sample;
}

static bool look_on(struct errand *errand, const struct measure *measure, struct sample *sample,
		    JsonObject *memory, GError **error)
{
	JsonArray *windows = json_array_new(), *changed = json_array_new();
	int64_t begin_ms = clock_now_ms();
	bool good = true;
	for (unsigned i = 0; i < measure->windows && good; i++) {
		int64_t count = -1;
		good = sleep_until(errand, begin_ms + measure->windows_ms[i]) &&
		       (count = sample_look(sample, error)) >= 0;
		if (!good)
			break;
		json_array_add_int_element(windows, clock_now_ms() - begin_ms);
		json_array_add_int_element(changed, count);
	}
	json_object_set_array_member(memory, "windows_ms", windows);
	json_object_set_array_member(memory, "changed", changed);
	return good;
}

/* TAGS and SAMPLE may be NULL. */
static void end_images(struct image_tags *tags, struct sample *sample, JsonObject *answer)
{
	if (tags)
		json_object_set_array_member(answer, "images", image_tags_end(tags, sample));
}

static JsonObject *measure_memory(struct errand *errand, const struct measure *measure,
				  struct image_tags *tags, JsonObject *answer)
{
	g_autoptr(GError) error = NULL;
	JsonObject *memory = json_object_new();
	struct sample *sample = begin_sample(measure, &error);
	bool looked = sample && look_on(errand, measure, sample, memory, &error);
	end_images(tags, looked ? sample : NULL, answer);
	if (looked)
		json_object_set_object_member(memory, "sample", sample_describe(sample));
	sample_free(sample);
	if (error) {
		g_autofree char *what = error_what(error);
		json_object_set_string_member(memory, "reason", what);
	}
	return memory;
}

static JsonObject *work(struct errand *errand, void *data)
{
	const struct measure *measure = data;
	JsonObject *answer = json_object_new();
	struct vitals before = vitals_read();
	struct image_tags *tags =
		measure->images ? image_tags_begin(measure->images, measure->scan_ms) : NULL;
	json_object_set_string_member(answer, "t", "measured");
	if (measure->memories) {
		JsonObject *memory = measure_memory(errand, measure, tags, answer);
		json_object_set_object_member(answer, "memory", memory);
	} else {
		if (measure->windows)
			errand_sleep(errand, (int) measure->windows_ms[measure->windows - 1]);
		end_images(tags, NULL, answer);
	}
	json_object_set_object_member(answer, "host", vitals_describe(&before));
	return answer;
}

static bool parse(struct measure *measure, JsonObject *message)
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

struct errand *measure_start(const struct mover_settings *settings, JsonObject *message,
			     void (*send)(JsonObject *answer, void *data), void *data,
			     GError **error)
{
	struct measure *measure = g_new0(struct measure, 1);
	uint64_t room = settings->memory_limit / MEMORY_SHARE / SAMPLE_PAGE;
	measure->vm_name = g_strdup(settings->vm_name);
	measure->vm_uuid = g_strdup(settings->vm_uuid);
	measure->pages = (unsigned) MIN(room, PAGES_MAX);
	if (parse(measure, message))
		return errand_new(work, measure, measure_clear, send, data);
	measure_clear(measure);
	error_set(error, WATARI_ERROR_INTERNAL, NULL, _("measure: bad windows_ms or memories"));
	return NULL;
}
