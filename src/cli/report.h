/* SPDX-License-Identifier: Apache-2.0 */
/* The closing report of a migration for people. */
#pragma once
#include "conductor/core/report.h"

#include <stdio.h>

/* What host_vm_state_name() says, for people: "runs", "is off". */
const char *report_state_words(const char *state);
void report_print(const struct move_report *report, FILE *out);
