/* SPDX-License-Identifier: Apache-2.0 */
/* Facts as JSON, by one table of their names. */
#include "forecast/facts.h"

#include "base/json.h"

#include <stddef.h>
#include <string.h>

struct field {
	const char *name;
	size_t offset;
};
#define FACT(member) offsetof(struct plan_facts, member)
#define HOST(member) offsetof(struct facts_host, member)

static const struct field fields[] = {
	{ "memory", FACT(memory) },
	{ "vcpus", FACT(vcpus) },
	{ "paused", FACT(paused) },
	{ "easy_ms", FACT(easy_ms) },
	{ "sample_pages", FACT(sample_pages) },
	{ "whole_pages", FACT(whole_pages) },
	{ "zero", FACT(zero) },
	{ "data", FACT(data) },
	{ "unknown", FACT(unknown) },
	{ "on_copied", FACT(on_copied) },
	{ "on_indexed", FACT(on_indexed) },
	{ "on_new", FACT(on_new) },
	{ "look_through_s", FACT(look_through_s) },
	{ "twice", FACT(twice) },
	{ "batch_share", FACT(batch.share) },
	{ "batch_speed", FACT(batch.speed) },
	{ "stream_share", FACT(stream.share) },
	{ "stream_speed", FACT(stream.speed) },
	{ "changed_bytes", FACT(changed_bytes) },
	{ "dirtied_rate", FACT(dirtied_rate) },
	{ "setup_ms", FACT(setup_ms) },
	{ "page_s", FACT(page_s) },
	{ "page_bytes", FACT(page_bytes) },
	{ "data_pages", FACT(data_pages) },
	{ "link_rate", FACT(link_rate) },
	{ "round_trip_ms", FACT(round_trip_ms) },
	{ "loss", FACT(loss) },
	{ "connections", FACT(connections) },
	{ "disk_bytes", FACT(disk_bytes) },
	{ "disk_write_rate", FACT(disk_write_rate) },
	{ "disk_own", FACT(disk_own) },
	{ "disk_named", FACT(disk_named) },
	{ "disk_found", FACT(disk_found) },
	{ "disk_look_s", FACT(disk_look_s) },
	{ "disk_batch_share", FACT(disk_batch.share) },
	{ "disk_batch_speed", FACT(disk_batch.speed) },
	{ "disk_stream_share", FACT(disk_stream.share) },
	{ "disk_stream_speed", FACT(disk_stream.speed) },
	{ "disk_bandwidth", FACT(disk_bandwidth) },
	{ "disk_rate", FACT(disk_rate) },
	{ "disk_share", FACT(disk_share) },
	{ "bandwidth", FACT(bandwidth) },
	{ "max_downtime_ms", FACT(max_downtime_ms) },
	{ "workers", FACT(workers) },
	{ "prewarm", FACT(prewarm) },
};

static const struct field host_fields[] = {
	{ "cpus", HOST(cpus) },     { "load", HOST(load) },   { "busy", HOST(busy) },
	{ "stolen", HOST(stolen) }, { "speed", HOST(speed) }, { "clock_ms", HOST(clock_ms) },
};

static double *fact_at(void *base, const struct field *field)
{
	return (double *) (void *) ((char *) base + field->offset);
}

static JsonObject *describe_fact_looks(const void *base, const struct field *table, size_t count)
{
	JsonObject *object = json_object_new();
	for (size_t i = 0; i < count; i++) {
		double value;
		memcpy(&value, (const char *) base + table[i].offset, sizeof(value));
		json_object_set_double_member(object, table[i].name, value);
	}
	return object;
}

static void read_fields(void *base, const struct field *table, size_t count, JsonObject *object)
{
	for (size_t i = 0; i < count; i++)
		*fact_at(base, &table[i]) = json_get_double(object, table[i].name, 0);
}

JsonObject *plan_facts_describe(const struct plan_facts *facts)
{
	JsonObject *object = describe_fact_looks(facts, fields, G_N_ELEMENTS(fields));
	JsonArray *looks = json_array_new(), *hosts = json_array_new();
	for (unsigned i = 0; i < facts->look_count; i++) {
		json_array_add_double_element(looks, facts->looks[i].seconds);
		json_array_add_double_element(looks, facts->looks[i].pages);
	}
	for (int i = 0; i < FACTS_HOSTS; i++)
		json_array_add_object_element(hosts,
					      describe_fact_looks(&facts->hosts[i], host_fields,
								  G_N_ELEMENTS(host_fields)));
	json_object_set_array_member(object, "looks", looks);
	json_object_set_array_member(object, "hosts", hosts);
	return object;
}

void plan_facts_read(struct plan_facts *facts, JsonObject *object)
{
	JsonArray *looks = json_get_array(object, "looks"),
		  *hosts = json_get_array(object, "hosts");
	*facts = (struct plan_facts){ 0 };
	read_fields(facts, fields, G_N_ELEMENTS(fields), object);
	for (guint i = 0; looks && 2 * i + 1 < json_array_get_length(looks) && i < FACTS_LOOKS; i++)
		facts->looks[facts->look_count++] =
			(struct dirty_look){ json_element_double(looks, 2 * i, 0),
					     json_element_double(looks, 2 * i + 1, 0) };
	for (guint i = 0; hosts && i < json_array_get_length(hosts) && i < FACTS_HOSTS; i++) {
		JsonNode *node = json_array_get_element(hosts, i);
		if (JSON_NODE_HOLDS_OBJECT(node))
			read_fields(&facts->hosts[i], host_fields, G_N_ELEMENTS(host_fields),
				    json_node_get_object(node));
	}
}
