/* SPDX-License-Identifier: Apache-2.0 */
/* A plan on one page, for a person. */
#pragma once
#include "conductor/core/report.h"

#include <stdio.h>

/* Of a report with a forecast. Numbers, what they come from, checks, and the way back. */
void page_print(const struct move_report *report, const struct move_request *request, FILE *out);
