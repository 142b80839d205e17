/* SPDX-License-Identifier: Apache-2.0 */
/* Past moves from what the journal has of them. */
#include "forecast/history.h"

#include "base/json.h"

JsonObject *plan_history_describe(const struct plan_facts *facts,
				  const struct plan_outlook *outlook, double elapsed_ms,
				  bool planned)
{
	JsonObject *object = json_object_new();
	json_object_set_object_member(object, "facts", plan_facts_describe(facts));
	json_object_set_object_member(object, "outlook", plan_outlook_describe(outlook));
	json_object_set_double_member(object, "elapsed_ms", elapsed_ms);
	json_object_set_boolean_member(object, "planned", planned);
	return object;
}

/* Our own file, so without the cap of the control channel. */
static JsonObject *parse_kept(const char *text)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || !json_parser_load_from_data(parser, text, -1, NULL))
		return NULL;
	JsonNode *root = json_parser_get_root(parser);
	return root && JSON_NODE_HOLDS_OBJECT(root) ? json_object_ref(json_node_get_object(root))
						    : NULL;
}

static void read_hosts(struct plan_past *past, JsonObject *report)
{
	static const char *const sides[] = { "source", "destination" };
	for (int i = 0; i < FACTS_HOSTS; i++) {
		JsonObject *side = json_get_object(report, sides[i]);
		g_strlcpy(past->hosts[i], side ? json_get_string(side, "host", "") : "",
			  sizeof(past->hosts[i]));
	}
}

static bool read_outcome(struct plan_past *past, JsonObject *report)
{
	JsonObject *times = json_get_object(report, "times"),
		   *bytes = json_get_object(report, "bytes");
	if (!times || !bytes || !g_str_equal(json_get_string(report, "outcome", ""), "migrated"))
		return false;
	past->total_ms = json_get_double(times, "total_ms", -1);
	past->stop_ms = json_get_double(times, "downtime_ms", -1);
	if (past->stop_ms > past->total_ms)
		past->stop_ms = -1; /* by clocks that were apart */
	past->bytes = json_get_double(bytes, "wire_sent", -1);
	return past->total_ms > past->elapsed_ms && past->bytes > 0;
}

bool plan_history_read(const char *forecast, const char *report, struct plan_past *past,
		       struct plan_outlook *said)
{
	g_autoptr(JsonObject) before = parse_kept(forecast);
	g_autoptr(JsonObject) after = parse_kept(report);
	JsonObject *facts = before ? json_get_object(before, "facts") : NULL;
	JsonObject *outlook = before ? json_get_object(before, "outlook") : NULL;
	struct plan_outlook own;
	*past = (struct plan_past){ .strategy = PLAN_LIVE };
	if (!facts || !outlook || !after || !plan_outlook_read(&own, outlook))
		return false;
	plan_facts_read(&past->facts, facts);
	past->strategy = own.strategy;
	past->elapsed_ms = json_get_double(before, "elapsed_ms", 0);
	past->planned = json_get_bool(before, "planned", false);
	if (said)
		*said = own;
	read_hosts(past, after);
	return read_outcome(past, after);
}
