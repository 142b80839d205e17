/* SPDX-License-Identifier: Apache-2.0 */
/* What another terminal says to a running move: lines, JSON, the request "tune". Whatever it says,
 * the VM is put through no more than before. */
#include "base/json.h"
#include "conductor/core/limits.h"
#include "mover/lines.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool got(const char *line, size_t length, void *data)
{
	struct move_limits *limits = data;
	const struct move_limits before = *limits;
	struct limits_wish wish;
	g_autoptr(JsonObject) message = json_parse_object(line, length, NULL);
	if (!message || !limits_parse(message, &wish, NULL) || !limits_apply(limits, &wish, NULL))
		return true;
	if (limits->bandwidth < TUNE_LEAST_BANDWIDTH || limits->ceiling_ms > before.ceiling_ms ||
	    limits->ceiling_ms < TUNE_LEAST_CEILING_MS ||
	    limits->link_timeout_ms > before.link_timeout_ms ||
	    limits->postcopy > before.postcopy || limits->max_slowdown != before.max_slowdown)
		abort();
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line_reader *reader = line_reader_new();
	struct move_limits limits = { .bandwidth = 1 << 20,
				      .ceiling_ms = 300,
				      .link_timeout_ms = 60000,
				      .postcopy = true,
				      .max_slowdown = 40 };
	/* The first byte says how the rest is cut into reads. */
	size_t step = size > 0 ? data[0] + 1u : 1;
	for (size_t at = 1; at < size; at += step)
		if (!line_reader_feed(reader, (const char *) data + at, MIN(step, size - at), got,
				      &limits, NULL))
			break;
	line_reader_free(reader);
	return 0;
}
