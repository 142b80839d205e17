/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of both hosts before anything moves. Each check is one row of a table: a name, a
 * question, an answer (pass, warning, refusal) with the thing, the reason and the next step. */
#pragma once
#include "host/host.h"

enum check_result { CHECK_PASS, CHECK_WARN, CHECK_REFUSE };

struct check_finding {
	const char *check; /* stable word: "cpu", "memory", "disk:vda", ... */
	enum check_result result;
	char *what; /* for a person; NULL for a plain pass */
	char *next; /* next step or NULL */
};

struct check_options {
	const char *destination_name; /* the VM's name there, NULL: same */
};

/* Run all checks. Returns a GPtrArray of struct check_finding. Does not stop at the first refusal.
 */
GPtrArray *check_run(struct host *source, virDomainPtr domain, struct host *destination,
		     const struct check_options *options, GError **error);
