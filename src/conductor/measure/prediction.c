/* SPDX-License-Identifier: Apache-2.0 */
#include "conductor/measure/prediction.h"

#include "host/xml.h"
#include "conductor/disks/disk_rate.h"
#include "conductor/files/files.h"
#include "conductor/core/move.h"
#include "forecast/history.h"

#include "base/clock.h"
#include "base/json.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { PAST_MOST = 200, KIB = 1024, REHEARSED_S = 86400 };

/* ---- the VM ---- */

static double sum_of(struct xml *xml, const char *path)
{
	double sum = 0;
	g_autoptr(GPtrArray) nodes = xml_find(xml, NULL, path);
	for (guint i = 0; i < nodes->len; i++)
		sum += (double) xml_number(xml, nodes->pdata[i], ".", 0);
	return sum * KIB;
}

static double copied_bytes(struct journey *journey)
{
	double sum = 0;
	for (guint i = 0; journey->report->disks && i < journey->report->disks->len; i++) {
		const struct journey_disk *disk = journey->report->disks->pdata[i];
		if (disk->kind == JOURNEY_DISK_COPIED)
			sum += (double) disk->allocated;
	}
	return sum;
}

void ahead_read_vm(struct journey *journey)
{
	struct plan_facts *facts = &journey->ahead->facts;
	const struct journey_request *request = journey->request;
	struct xml *xml = xml_read(journey->live_xml, NULL);
	facts->memory = xml ? sum_of(xml, "/domain/memory") : 0;
	facts->vcpus = xml ? (double) xml_number(xml, NULL, "vcpu/@current",
						 xml_number(xml, NULL, "vcpu", 1))
			   : 1;
	facts->easy_ms = (double) journey_easy_ms(journey);
	facts->paused = journey->paused_before;
	facts->bandwidth = (double) request->bandwidth;
	facts->max_downtime_ms = (double) request->max_downtime_ms;
	facts->disk_bytes = copied_bytes(journey);
	facts->disk_write_rate = disk_rate_until_now(journey);
	facts->disk_bandwidth = (double) request->disk_bandwidth;
	facts->prewarm = request->kind == JOURNEY_QUICK && request->prewarm;
	xml_free(xml);
}

/* Memory nodes have a mapping each, and so do memory modules; the rest is in one. */
JsonArray *ahead_list_memories(struct journey *journey)
{
	JsonArray *sizes = json_array_new();
	struct xml *xml = xml_read(journey->live_xml, NULL);
	if (!xml)
		return sizes;
	g_autoptr(GPtrArray) modules = xml_find(xml, NULL, "devices/memory/target/size");
	g_autoptr(GPtrArray) cells = xml_find(xml, NULL, "cpu/numa/cell/@memory");
	for (guint i = 0; i < cells->len; i++)
		json_array_add_int_element(sizes,
					   (gint64) xml_number(xml, cells->pdata[i], ".", 0) * KIB);
	for (guint i = 0; i < modules->len; i++)
		json_array_add_int_element(
			sizes, (gint64) xml_number(xml, modules->pdata[i], ".", 0) * KIB);
	double rest =
		sum_of(xml, "/domain/memory") - sum_of(xml, "/domain/devices/memory/target/size");
	if (cells->len == 0)
		json_array_add_int_element(sizes, (gint64) rest);
	xml_free(xml);
	return sizes;
}

/* ---- from the movers ---- */

static void take_packing(struct facts_packing *packing, JsonObject *sample, const char *name)
{
	JsonObject *numbers = json_get_object(sample, name);
	packing->share = numbers ? json_get_double(numbers, "share", 0) : 0;
	packing->speed = numbers ? json_get_double(numbers, "speed", 0) : 0;
}

/* Counts of the sample become parts, and looks are spread over the whole memory. */
static void take_memory(struct plan_facts *facts, JsonObject *memory)
{
	JsonObject *sample = json_get_object(memory, "sample");
	JsonArray *windows = json_get_array(memory, "windows_ms");
	JsonArray *changed = json_get_array(memory, "changed");
	double pages = sample ? json_get_double(sample, "pages", 0) : 0;
	if (pages <= 0)
		return;
	facts->sample_pages = pages;
	facts->whole_pages = json_get_double(sample, "whole_pages", pages);
	facts->data = json_get_double(sample, "data", 0) / pages;
	facts->unknown = json_get_double(sample, "swapped", 0) / pages;
	facts->zero = 1 - facts->data - facts->unknown;
	facts->twice =
		facts->data > 0 ? json_get_double(sample, "twice", 0) / pages / facts->data : 0;
	facts->changed_bytes = json_get_double(sample, "changed_bytes", 0);
	take_packing(&facts->batch, sample, "batch");
	take_packing(&facts->stream, sample, "stream");
	facts->look_count = 0;
	for (guint i = 0; windows && i < json_array_get_length(windows) && i < FACTS_LOOKS; i++)
		facts->looks[facts->look_count++] = (struct dirty_look){
			json_element_double(windows, i, 0) / 1e3,
			json_element_double(changed, i, 0) / pages * facts->whole_pages,
		};
}

void ahead_take_measured(struct ahead *ahead, int side, JsonObject *message)
{
	JsonObject *host = json_get_object(message, "host");
	JsonObject *memory = json_get_object(message, "memory");
	struct facts_host *facts = &ahead->facts.hosts[side];
	if (host) {
		facts->cpus = json_get_double(host, "cpus", 0);
		facts->load = json_get_double(host, "load", 0);
		facts->busy = json_get_double(host, "busy", 0);
		facts->stolen = json_get_double(host, "stolen", 0);
		facts->speed = json_get_double(host, "speed", 0);
	}
	if (memory)
		take_memory(&ahead->facts, memory);
	JsonArray *images = json_get_array(message, "images");
	g_clear_pointer(&ahead->images[side], json_array_unref);
	ahead->images[side] = images ? json_array_ref(images) : NULL;
}

void ahead_take_probed(struct ahead *ahead, JsonObject *message)
{
	double segments = json_get_double(message, "segments", 0);
	ahead->facts.link_rate = json_get_double(message, "rate", 0);
	ahead->facts.round_trip_ms = json_get_double(message, "round_trip_us", 0) / 1e3;
	ahead->facts.connections = json_get_double(message, "connections", 0);
	ahead->facts.loss =
		segments > 0 ? json_get_double(message, "segments_again", 0) / segments : 0;
}

void ahead_take_clock(struct ahead *ahead, int side, JsonObject *message, int64_t asked_us,
		      int64_t wait_us)
{
	double there_us = json_get_double(message, "us", 0);
	ahead->facts.hosts[side].clock_ms =
		(there_us - (double) asked_us - (double) wait_us / 2) / 1e3;
	ahead->asked_ms[side] = fmax((double) wait_us / 1e3, 1);
}

bool ahead_clocks_apart_ms(const struct ahead *ahead, double *apart_ms, int64_t *round_trip_ms)
{
	if (!ahead || ahead->asked_ms[0] <= 0 || ahead->asked_ms[1] <= 0)
		return false;
	*apart_ms = ahead->facts.hosts[1].clock_ms - ahead->facts.hosts[0].clock_ms;
	*round_trip_ms = (int64_t) ceil(ahead->asked_ms[0] + ahead->asked_ms[1]);
	return true;
}

/* ---- the past ---- */

static bool is_same_pair(const struct journal_move *move, const struct journey_report *report)
{
	return g_strcmp0(move->source, report->sides[JOURNEY_SOURCE].address) == 0 &&
	       g_strcmp0(move->destination, report->sides[JOURNEY_DESTINATION].address) == 0;
}

/* The way back is like the way there, but the other host does the sending. */
static double nearness(const struct plan_past *past, const struct journey_report *report)
{
	const char *source = report->sides[JOURNEY_SOURCE].host;
	const char *destination = report->sides[JOURNEY_DESTINATION].host;
	bool same[2] = { g_str_equal(past->hosts[0], source),
			 g_str_equal(past->hosts[1], destination) };
	if (same[0] && same[1])
		return 1;
	if (g_str_equal(past->hosts[0], destination) && g_str_equal(past->hosts[1], source))
		return 0.8;
	return same[0] || same[1] ? 0.4 : 0;
}

static void read_past(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	g_autoptr(GPtrArray) events =
		journal_list_events(journey->journal, "forecast", PAST_MOST, NULL);
	g_free(ahead->past);
	ahead->past = g_new0(struct plan_past, PAST_MOST);
	ahead->past_count = 0;
	for (guint i = 0; events && i < events->len; i++) {
		const struct journal_event *event = events->pdata[i];
		struct plan_past *past = &ahead->past[ahead->past_count];
		if (!plan_history_read(event->text, event->move->numbers, past, NULL))
			continue;
		past->same_vm = g_strcmp0(event->move->vm_uuid, journey->report->vm_uuid) == 0;
		past->nearness = nearness(past, journey->report);
		past->age_days = (double) (time(NULL) - event->move->started_s) / 86400;
		ahead->past_count++;
	}
}

static bool is_rehearsed(const struct journey *journey, const struct journal_event *event,
			 struct plan_facts *seen)
{
	if (g_strcmp0(event->move->vm_uuid, journey->report->vm_uuid) != 0 ||
	    !is_same_pair(event->move, journey->report) ||
	    time(NULL) - event->move->started_s > REHEARSED_S)
		return false;
	g_autoptr(JsonObject) object =
		event->text ? json_parse_object(event->text, strlen(event->text), NULL) : NULL;
	if (object)
		plan_facts_read(seen, object);
	return object && seen->bandwidth == journey->ahead->facts.bandwidth;
}

static void take_memory_seen(struct plan_facts *facts, const struct plan_facts *seen)
{
	facts->setup_ms = seen->setup_ms;
	facts->page_s = seen->page_s;
	facts->page_bytes = seen->page_bytes;
	facts->data_pages = seen->data_pages;
}

/* What rehearsals of this VM between these hosts have seen of late, under the same caps: of memory the newest
 * one, of disks the newest that copied enough of them to know. */
static void take_rehearsals(struct journey *journey)
{
	struct plan_facts *facts = &journey->ahead->facts, seen;
	bool memory = false, disks = false;
	g_autoptr(GPtrArray) events =
		journal_list_events(journey->journal, "rehearsal", PAST_MOST, NULL);
	for (guint i = 0; events && i < events->len && !(memory && disks); i++) {
		if (!is_rehearsed(journey, events->pdata[i], &seen))
			continue;
		if (!memory)
			take_memory_seen(facts, &seen);
		memory = true;
		if (disks || seen.disk_rate <= 0 || seen.disk_bandwidth != facts->disk_bandwidth)
			continue;
		facts->disk_rate = seen.disk_rate;
		facts->disk_share = seen.disk_share;
		disks = true;
	}
}

/* ---- the forecast ---- */

enum plan_strategy ahead_choose(const struct journey_request *request)
{
	if (request->kind == JOURNEY_QUICK || request->strategy == JOURNEY_STRATEGY_QUICK)
		return PLAN_QUICK;
	return request->strategy == JOURNEY_STRATEGY_POSTCOPY ? PLAN_POSTCOPY : PLAN_LIVE;
}

/* Of files that are copied before a move begins, one after the other; a move itself has seen it. */
static double files_ms(const struct journey *journey)
{
	const struct plan_facts *facts = &journey->ahead->facts;
	double rate = facts->link_rate;
	if (facts->bandwidth > 0 && (rate <= 0 || facts->bandwidth < rate))
		rate = facts->bandwidth;
	return rate > 0 ? (double) files_size(journey) / rate * 1e3 : 0;
}

void ahead_recall(struct journey *journey)
{
	read_past(journey);
	if (!journey->rehearsal)
		take_rehearsals(journey);
}

void ahead_predict(struct journey *journey)
{
	struct ahead *ahead = journey->ahead;
	int kind = journey->request->kind;
	bool moves = kind != JOURNEY_PLAN && kind != JOURNEY_REHEARSAL;
	double to_come = kind == JOURNEY_PLAN ? PLAN_BY_PLAN : PLAN_BY_ITSELF;
	const struct facts_host *source = &ahead->facts.hosts[JOURNEY_SOURCE];
	int cores = journey->request->cores;
	/* as src/mover/pipeline/workers.c */
	ahead->facts.workers = cores > 0 ? cores : CLAMP(source->cpus / 4, 1, 4);
	for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
		ahead->outlooks[i] =
			plan_look_ahead(&ahead->facts, i, ahead->past, ahead->past_count,
					moves ? ahead->elapsed_ms : to_come + files_ms(journey));
}

void ahead_look(struct journey *journey)
{
	ahead_recall(journey);
	ahead_predict(journey);
}

bool ahead_take_plan(struct ahead *ahead, JsonObject *forecast)
{
	JsonObject *facts = json_get_object(forecast, "facts");
	JsonArray *strategies = json_get_array(forecast, "strategies");
	unsigned known = 0;
	if (!facts || !strategies)
		return false;
	plan_facts_read(&ahead->facts, facts);
	for (guint i = 0; i < json_array_get_length(strategies); i++) {
		JsonNode *node = json_array_get_element(strategies, i);
		struct plan_outlook outlook;
		if (!JSON_NODE_HOLDS_OBJECT(node) ||
		    !plan_outlook_read(&outlook, json_node_get_object(node)))
			return false;
		ahead->outlooks[outlook.strategy] = outlook;
		known |= 1U << outlook.strategy;
	}
	return known == (1U << PLAN_STRATEGY_LAST) - 1;
}

JsonObject *ahead_describe(const struct ahead *ahead)
{
	JsonObject *object = json_object_new();
	JsonArray *strategies = json_array_new();
	for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
		json_array_add_object_element(strategies,
					      plan_outlook_describe(&ahead->outlooks[i]));
	json_object_set_object_member(object, "facts", plan_facts_describe(&ahead->facts));
	json_object_set_array_member(object, "strategies", strategies);
	json_object_set_string_member(object, "chosen", plan_strategy_name(ahead->chosen));
	json_object_set_int_member(object, "learnt_from", ahead->past_count);
	json_object_set_double_member(object, "known_ms", round(ahead->known_ms));
	return object;
}

void ahead_free(struct ahead *ahead)
{
	if (!ahead)
		return;
	for (int side = 0; side < FACTS_HOSTS; side++)
		g_clear_pointer(&ahead->images[side], json_array_unref);
	g_free(ahead->past);
	g_free(ahead);
}
