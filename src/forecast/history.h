/* SPDX-License-Identifier: Apache-2.0 */
/* Past moves, as the journal keeps them: a forecast with its facts, and the closing report. */
#pragma once
#include "forecast/outlook.h"

/* What is kept of a forecast: {"facts", "outlook", "elapsed_ms", "planned"}. */
JsonObject *plan_history_describe(const struct plan_facts *facts,
				  const struct plan_outlook *outlook, double elapsed_ms,
				  bool planned);
/* FORECAST is that as text, REPORT the closing report's. False: it did not end well, or they are not
 * what they should be. SAID (may be NULL) is what was predicted then. */
bool plan_history_read(const char *forecast, const char *report, struct plan_past *past,
		       struct plan_outlook *said);
