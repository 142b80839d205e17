/* SPDX-License-Identifier: Apache-2.0 */
/* Reads wishes for other limits, and grants them. */
#include "conductor/core/limits.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "control/messages.h"

/* Absent: true, and *has stays false. */
static bool read_limit(JsonObject *message, const char *name, int64_t least, bool *has,
		       int64_t *number, GError **error)
{
	if (!json_object_has_member(message, name))
		return true;
	*has = true;
	*number = json_get_int(message, name, -1);
	if (*number >= least)
		return true;
	return error_set(error, WATARI_ERROR_USAGE, NULL, _("“%s” must be a number from %d on"),
			 name, (int) least);
}

bool limits_parse(JsonObject *message, struct limits_wish *wish, GError **error)
{
	int64_t bandwidth = 0;
	*wish = (struct limits_wish){ 0 };
	if (!read_limit(message, "bandwidth", TUNE_LEAST_BANDWIDTH, &wish->has_bandwidth,
			&bandwidth, error) ||
	    !read_limit(message, "max_downtime_ms", TUNE_LEAST_CEILING_MS, &wish->has_ceiling,
			&wish->ceiling_ms, error) ||
	    !read_limit(message, "link_timeout_ms", TUNE_LEAST_TIMEOUT_MS, &wish->has_link_timeout,
			&wish->link_timeout_ms, error))
		return false;
	wish->bandwidth = (uint64_t) bandwidth;
	wish->no_postcopy = json_get_bool(message, "no_postcopy", false);
	if (wish->has_bandwidth || wish->has_ceiling || wish->has_link_timeout || wish->no_postcopy)
		return true;
	return error_set(error, WATARI_ERROR_USAGE,
			 _("Say what, as in --bandwidth 50M or --max-downtime 200ms."),
			 _("nothing was to be changed"));
}

JsonObject *limits_describe_wish(const struct limits_wish *wish)
{
	JsonObject *message = json_object_new();
	json_object_set_string_member(message, "t", "tune");
	if (wish->has_bandwidth)
		json_object_set_int_member(message, "bandwidth", (gint64) wish->bandwidth);
	if (wish->has_ceiling)
		json_object_set_int_member(message, "max_downtime_ms", wish->ceiling_ms);
	if (wish->has_link_timeout)
		json_object_set_int_member(message, "link_timeout_ms", wish->link_timeout_ms);
	if (wish->no_postcopy)
		json_object_set_boolean_member(message, "no_postcopy", true);
	return message;
}

static const char *only_tighter(void)
{
	return _("What the VM may be put through can only be made less; to allow more, cancel the "
		 "move and start it again.");
}

static bool check_durations(const struct move_limits *limits, const struct limits_wish *wish,
			    GError **error)
{
	if (wish->has_ceiling && wish->ceiling_ms > limits->ceiling_ms) {
		g_autofree char *now = unit_format_duration_ms(limits->ceiling_ms);
		return error_set(error, WATARI_ERROR_REFUSED, only_tighter(),
				 _("the longest stop is %s already"), now);
	}
	if (wish->has_link_timeout && wish->link_timeout_ms > limits->link_timeout_ms) {
		g_autofree char *now = unit_format_duration_ms(limits->link_timeout_ms);
		return error_set(error, WATARI_ERROR_REFUSED, only_tighter(),
				 _("the link may be broken for %s already"), now);
	}
	return true;
}

bool limits_apply(struct move_limits *limits, const struct limits_wish *wish, GError **error)
{
	if (!check_durations(limits, wish, error))
		return false;
	if (wish->has_bandwidth)
		limits->bandwidth = wish->bandwidth;
	if (wish->has_ceiling)
		limits->ceiling_ms = wish->ceiling_ms;
	if (wish->has_link_timeout)
		limits->link_timeout_ms = wish->link_timeout_ms;
	limits->postcopy &= !wish->no_postcopy;
	return true;
}

JsonObject *limits_describe(const struct move_limits *limits)
{
	JsonObject *object = json_object_new();
	json_object_set_int_member(object, "bandwidth", (gint64) limits->bandwidth);
	json_object_set_int_member(object, "max_downtime_ms", limits->ceiling_ms);
	json_object_set_int_member(object, "hand_over_ms", limits->hand_over_ms);
	json_object_set_int_member(object, "link_timeout_ms", limits->link_timeout_ms);
	json_object_set_int_member(object, "max_slowdown", limits->max_slowdown);
	json_object_set_boolean_member(object, "postcopy", limits->postcopy);
	return object;
}
