/* SPDX-License-Identifier: Apache-2.0 */
/* Puts facts and past moves together for the forecast. */
#include "conductor/measure/prediction.h"

#include "host/xml.h"
#include "conductor/disks/disk_rate.h"
#include "conductor/disks/files.h"
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

static double copied_bytes(struct move *move)
{
	double sum = 0;
	for (guint i = 0; move->report->disks && i < move->report->disks->len; i++) {
		const struct move_disk *disk = move->report->disks->pdata[i];
		if (disk->kind == MOVE_DISK_COPIED)
			sum += (double) disk->allocated;
	}
	return sum;
}

void prediction_read_vm(struct move *move)
{
	struct plan_facts *facts = &move->prediction->facts;
	const struct move_request *request = move->request;
	struct xml *xml = xml_read(move->live_xml, NULL);
	facts->memory = xml ? sum_of(xml, "/domain/memory") : 0;
	facts->vcpus = xml ? (double) xml_number(xml, NULL, "vcpu/@current",
						 xml_number(xml, NULL, "vcpu", 1))
			   : 1;
	facts->easy_ms = (double) move_easy_ms(move);
	facts->paused = move->paused_before;
	facts->bandwidth = (double) request->bandwidth;
	facts->max_downtime_ms = (double) request->max_downtime_ms;
	facts->disk_bytes = copied_bytes(move);
	facts->disk_write_rate = disk_rate_until_now(move);
	facts->disk_bandwidth = (double) request->disk_bandwidth;
	facts->prewarm = request->kind == MOVE_QUICK && request->prewarm;
	xml_free(xml);
}

/* Memory nodes have a mapping each, and so do memory modules; the rest is in one. */
JsonArray *prediction_list_memories(struct move *move)
{
	JsonArray *sizes = json_array_new();
	struct xml *xml = xml_read(move->live_xml, NULL);
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

void prediction_take_measured(struct prediction *prediction, int side, JsonObject *message)
{
	JsonObject *host = json_get_object(message, "host");
	JsonObject *memory = json_get_object(message, "memory");
	struct facts_host *facts = &prediction->facts.hosts[side];
	if (host) {
		facts->cpus = json_get_double(host, "cpus", 0);
		facts->load = json_get_double(host, "load", 0);
		facts->busy = json_get_double(host, "busy", 0);
		facts->stolen = json_get_double(host, "stolen", 0);
		facts->speed = json_get_double(host, "speed", 0);
	}
	if (memory)
		take_memory(&prediction->facts, memory);
	JsonArray *images = json_get_array(message, "images");
	g_clear_pointer(&prediction->images[side], json_array_unref);
	prediction->images[side] = images ? json_array_ref(images) : NULL;
}

void prediction_take_probed(struct prediction *prediction, JsonObject *message)
{
	double segments = json_get_double(message, "segments", 0);
	prediction->facts.link_rate = json_get_double(message, "rate", 0);
	prediction->facts.round_trip_ms = json_get_double(message, "round_trip_us", 0) / 1e3;
	prediction->facts.connections = json_get_double(message, "connections", 0);
	prediction->facts.loss =
		segments > 0 ? json_get_double(message, "segments_again", 0) / segments : 0;
}

void prediction_take_clock(struct prediction *prediction, int side, JsonObject *message,
			   int64_t asked_us, int64_t wait_us)
{
	double there_us = json_get_double(message, "us", 0);
	prediction->facts.hosts[side].clock_ms =
		(there_us - (double) asked_us - (double) wait_us / 2) / 1e3;
	prediction->asked_ms[side] = fmax((double) wait_us / 1e3, 1);
}

bool prediction_clocks_apart_ms(const struct prediction *prediction, double *apart_ms,
				int64_t *round_trip_ms)
{
	if (!prediction || prediction->asked_ms[0] <= 0 || prediction->asked_ms[1] <= 0)
		return false;
	*apart_ms = prediction->facts.hosts[1].clock_ms - prediction->facts.hosts[0].clock_ms;
	*round_trip_ms = (int64_t) ceil(prediction->asked_ms[0] + prediction->asked_ms[1]);
	return true;
}

/* ---- the past ---- */

static bool is_same_pair(const struct journal_move *row, const struct move_report *report)
{
	return g_strcmp0(row->source, report->sides[MOVE_SOURCE].address) == 0 &&
	       g_strcmp0(row->destination, report->sides[MOVE_DESTINATION].address) == 0;
}

/* The way back is like the way there, but the other host does the sending. */
static double nearness(const struct plan_past *past, const struct move_report *report)
{
	const char *source = report->sides[MOVE_SOURCE].host;
	const char *destination = report->sides[MOVE_DESTINATION].host;
	bool same[2] = { g_str_equal(past->hosts[0], source),
			 g_str_equal(past->hosts[1], destination) };
	if (same[0] && same[1])
		return 1;
	if (g_str_equal(past->hosts[0], destination) && g_str_equal(past->hosts[1], source))
		return 0.8;
	return same[0] || same[1] ? 0.4 : 0;
}

static void read_past(struct move *move)
{
	struct prediction *prediction = move->prediction;
	g_autoptr(GPtrArray) events =
		journal_list_events(move->journal, "forecast", PAST_MOST, NULL);
	g_free(prediction->past);
	prediction->past = g_new0(struct plan_past, PAST_MOST);
	prediction->past_count = 0;
	for (guint i = 0; events && i < events->len; i++) {
		const struct journal_event *event = events->pdata[i];
		struct plan_past *past = &prediction->past[prediction->past_count];
		if (!plan_history_read(event->text, event->move->numbers, past, NULL))
			continue;
		past->same_vm = g_strcmp0(event->move->vm_uuid, move->report->vm_uuid) == 0;
		past->nearness = nearness(past, move->report);
		past->age_days = (double) (time(NULL) - event->move->started_s) / 86400;
		prediction->past_count++;
	}
}

static bool is_rehearsed(const struct move *move, const struct journal_event *event,
			 struct plan_facts *seen)
{
	if (g_strcmp0(event->move->vm_uuid, move->report->vm_uuid) != 0 ||
	    !is_same_pair(event->move, move->report) ||
	    time(NULL) - event->move->started_s > REHEARSED_S)
		return false;
	g_autoptr(JsonObject) object =
		event->text ? json_parse_object(event->text, strlen(event->text), NULL) : NULL;
	if (object)
		plan_facts_read(seen, object);
	return object && seen->bandwidth == move->prediction->facts.bandwidth;
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
static void take_rehearsals(struct move *move)
{
	struct plan_facts *facts = &move->prediction->facts, seen;
	bool memory = false, disks = false;
	g_autoptr(GPtrArray) events =
		journal_list_events(move->journal, "rehearsal", PAST_MOST, NULL);
	for (guint i = 0; events && i < events->len && !(memory && disks); i++) {
		if (!is_rehearsed(move, events->pdata[i], &seen))
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

enum plan_strategy prediction_choose(const struct move_request *request)
{
	if (request->kind == MOVE_QUICK || request->strategy == MOVE_STRATEGY_QUICK)
		return PLAN_QUICK;
	return request->strategy == MOVE_STRATEGY_POSTCOPY ? PLAN_POSTCOPY : PLAN_LIVE;
}

/* Of files that are copied before a move begins, one after the other; a move itself has seen it. */
static double files_ms(const struct move *move)
{
	const struct plan_facts *facts = &move->prediction->facts;
	double rate = facts->link_rate;
	if (facts->bandwidth > 0 && (rate <= 0 || facts->bandwidth < rate))
		rate = facts->bandwidth;
	return rate > 0 ? (double) files_size(move) / rate * 1e3 : 0;
}

void prediction_recall(struct move *move)
{
	read_past(move);
	if (!move->rehearsal)
		take_rehearsals(move);
}

void prediction_predict(struct move *move)
{
	struct prediction *prediction = move->prediction;
	int kind = move->request->kind;
	bool moves = kind != MOVE_PLAN && kind != MOVE_REHEARSAL;
	double to_come = kind == MOVE_PLAN ? PLAN_BY_PLAN : PLAN_BY_ITSELF;
	const struct facts_host *source = &prediction->facts.hosts[MOVE_SOURCE];
	int cores = move->request->cores;
	/* as src/mover/pipeline/workers.c */
	prediction->facts.workers = cores > 0 ? cores : CLAMP(source->cpus / 4, 1, 4);
	for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
		prediction->outlooks[i] = plan_look_ahead(
			&prediction->facts, i, prediction->past, prediction->past_count,
			moves ? prediction->elapsed_ms : to_come + files_ms(move));
}

void prediction_look(struct move *move)
{
	prediction_recall(move);
	prediction_predict(move);
}

bool prediction_take_plan(struct prediction *prediction, JsonObject *forecast)
{
	JsonObject *facts = json_get_object(forecast, "facts");
	JsonArray *strategies = json_get_array(forecast, "strategies");
	unsigned known = 0;
	if (!facts || !strategies)
		return false;
	plan_facts_read(&prediction->facts, facts);
	for (guint i = 0; i < json_array_get_length(strategies); i++) {
		JsonNode *node = json_array_get_element(strategies, i);
		struct plan_outlook outlook;
		if (!JSON_NODE_HOLDS_OBJECT(node) ||
		    !plan_outlook_read(&outlook, json_node_get_object(node)))
			return false;
		prediction->outlooks[outlook.strategy] = outlook;
		known |= 1U << outlook.strategy;
	}
	return known == (1U << PLAN_STRATEGY_LAST) - 1;
}

JsonObject *prediction_describe(const struct prediction *prediction)
{
	JsonObject *object = json_object_new();
	JsonArray *strategies = json_array_new();
	for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
		json_array_add_object_element(strategies,
					      plan_outlook_describe(&prediction->outlooks[i]));
	json_object_set_object_member(object, "facts", plan_facts_describe(&prediction->facts));
	json_object_set_array_member(object, "strategies", strategies);
	json_object_set_string_member(object, "chosen", plan_strategy_name(prediction->chosen));
	json_object_set_int_member(object, "learnt_from", prediction->past_count);
	json_object_set_double_member(object, "known_ms", round(prediction->known_ms));
	return object;
}

void prediction_free(struct prediction *prediction)
{
	if (!prediction)
		return;
	for (int side = 0; side < FACTS_HOSTS; side++)
		g_clear_pointer(&prediction->images[side], json_array_unref);
	g_free(prediction->past);
	g_free(prediction);
}
