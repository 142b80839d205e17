/* SPDX-License-Identifier: Apache-2.0 */
/* The closing report of a migration for people. */
#pragma once
#include "journey/journey.h"

#include <stdio.h>

void report_print(const struct journey_report *report, FILE *out);
