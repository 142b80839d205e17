/* SPDX-License-Identifier: Apache-2.0 */
/* A plan from a file: whatever it holds, it is one VM, one destination and options, or it is refused; and
 * its forecast can be read. */
#include "base/json.h"
#include "cli/move.h"
#include "cli/plan_file.h"
#include "conductor/measure/prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_line(JsonObject *plan)
{
	struct move_command_values values = { 0 };
	char **arguments = NULL;
	bool help = false;
	g_auto(GStrv) line = plan_file_words(plan, "migrate");
	move_defaults(&values);
	if (!options_parse(&migrate_command, (int) g_strv_length(line), line, &values, &arguments,
			   &help, NULL) ||
	    help)
		return;
	if (g_strcmp0(arguments[0], json_get_string(plan, "vm", NULL)) != 0 ||
	    g_strcmp0(arguments[1], json_get_string(plan, "destination", NULL)) != 0 ||
	    arguments[2])
		abort();
}

static void assert_finite(const struct forecast *forecast)
{
	const struct forecast_range *const ranges[] = { &forecast->total_ms, &forecast->stop_ms,
							&forecast->bytes, &forecast->slowdown };
	for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++)
		if (!isfinite(ranges[i]->p50) || !isfinite(ranges[i]->p90))
			abort();
}

static void take_forecast(JsonObject *plan)
{
	struct prediction *prediction = g_new0(struct prediction, 1);
	if (prediction_take_plan(prediction, json_get_object(plan, "forecast"))) {
		for (int i = 0; i < PLAN_STRATEGY_LAST; i++)
			assert_finite(&prediction->outlooks[i].forecast);
		json_object_unref(prediction_describe(prediction));
	}
	prediction_free(prediction);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autoptr(JsonObject) plan = plan_file_parse((const char *) data, size, NULL);
	if (!plan)
		return 0;
	take_line(plan);
	take_forecast(plan);
	return 0;
}
