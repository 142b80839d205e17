/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of both hosts before anything moves. Each check is one row of a table: a name, a
 * question, an answer (pass, warning, refusal) with the thing, the reason and the next step.
 */
#pragma once
#include "base/json.h"
#include "host/mapping.h"
#include "host/host.h"
#include "host/image.h"
#include "host/remote/remote.h"

enum check_result { CHECK_PASS, CHECK_WARN, CHECK_REFUSE };

struct check_finding {
	const char *check; /* stable word: "cpu", "memory", "disk:vda", ... (interned) */
	enum check_result result;
	char *what;    /* for a person; NULL for a plain pass, a remark otherwise */
	char *next;    /* next step or NULL */
	bool accepted; /* it refused, and the user has overruled that: a warning now */
};

struct check_options {
	const char *destination_name;     /* the VM's name there, NULL: same */
	const struct remote_shell *shell; /* how to look at files and interfaces there; NULL: ssh */
	unsigned long flags; /* the flags of the migration to come, for the dry run; 0: live */
	bool offline;        /* the VM is off, and only its disks and definition move */
	const char *const *disk_places; /* --disk: "vda=PATH", NULL-terminated; NULL: none */
	const struct mapping *mapping;  /* names at the destination; NULL: the same */
	bool disks_stay;                /* nothing may be copied: every disk must be seen there */
	bool files_stay;                /* nor any other file */
	bool secrets_stay;              /* nor any secret */
};

/* Run all checks. Returns a GPtrArray of struct check_finding (it frees them). Does not stop at the
 * first refusal. NULL with *error only when a host does not answer any more. */
GPtrArray *check_run(struct host *source, virDomainPtr domain, struct host *destination,
		     const struct check_options *options, GError **error);
/* The findings that refuse, as one error of the class WATARI_ERROR_REFUSED; true when there is
 * none. */
bool check_verdict(const GPtrArray *findings, GError **error);

/* ---- what the user may overrule (--accept NAME) ---- */

/* May a refusal by the check NAME ("memory", "network:br0") be overruled? */
bool check_can_accept(const char *name);
/* The names of all that may be, without what stands behind the colon. Free with g_strfreev. */
char **check_list_acceptable(void);
/* NAMES (NULL-terminated) are checks that can be overruled. WATARI_ERROR_USAGE with the reason. */
bool check_accept_names(const char *const *names, GError **error);
/* Make warnings of the refusals by NAMES. Returns the names that had refused nothing. Free with
 * g_strfreev. */
char **check_accept(const GPtrArray *findings, const char *const *names);
/* The options that would overrule all refusals of FINDINGS; NULL: there is none, or one of them
 * cannot be overruled. Caller frees. */
char *check_suggest_accept(const GPtrArray *findings);

/* Find the VM by name, UUID or id. WATARI_ERROR_REFUSED with what to do when there is none. */
virDomainPtr check_find_domain(struct host *host, const char *name, GError **error);

/* The host files that the running VM has open or would need: disks (WRITABLE), and what is only read
 * (CD images, kernels, backing files). Which of them are shared, and which disks must be copied, the
 * movers find out. */
enum check_path_kind { CHECK_PATH_FILE, CHECK_PATH_BLOCK };
struct check_shared_path {
	char *target; /* "vda", "kernel", ... */
	char *path;
	enum check_path_kind kind;
	bool writable;
};
GPtrArray *check_list_shared_paths(virDomainPtr domain, GError **error);

/* One finding of any origin, for doctor and the move. NEXT and FORMAT (both may be NULL) as
 * in error_set. Appends to FINDINGS. */
GPtrArray *check_new_findings(void);
void check_add(GPtrArray *findings, const char *check, enum check_result result, const char *next,
	       const char *format, ...) G_GNUC_PRINTF(5, 6);
/* What a copy of IMAGE, the disk TARGET's, will not have; OFF: the VM is. */
void check_image_losses(GPtrArray *findings, const char *target, const struct image *image,
			bool off);
/* [{"check", "result", "what", "next"}], of a MOVE's with "can_accept" and "accepted"; FINDINGS may be
 * NULL. */
JsonArray *check_describe(const GPtrArray *findings, bool move);
const char *check_result_name(enum check_result result); /* "pass", "warn", "refuse" */
