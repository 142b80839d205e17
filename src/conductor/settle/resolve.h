/* SPDX-License-Identifier: Apache-2.0 */
/* `watari resolve`: a move that broke off is looked up in the journal, both hosts are asked where
 * the VM is, and what is half done is ended by the table of ending.c. Safe to run at any time and
 * any number of times: it acts only where it is certain, and says so otherwise. */
#pragma once
#include "conductor/core/report.h"

struct resolve_request {
	const char *vm;                  /* name or UUID */
	char **hosts;                    /* as the user named them, source first; NULL-terminated */
	const char *rsh, *remote_watari; /* NULL: as the journal has them */
	bool dry_run;
	bool ran, never_ran; /* at the destination, as the user says; not both */
};

struct resolve_result {
	const char *situation; /* stable word of the rule */
	const char *what;      /* for a person, translated; NULL: nothing to say */
	bool acted;
};

/* True when the VM runs at exactly one host and nothing is left to do. REPORT and RESULT are
 * filled as far as it came. */
bool resolve_run(const struct resolve_request *request, const struct move_observer *observer,
		 struct move_report *report, struct resolve_result *result, GError **error);
