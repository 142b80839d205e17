/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong, for a person: the thing, the reason and the next step.
 *
 * Every fallible function takes a GError ** last and returns false or NULL
 * when it is set. A message made here has two parts: what happened and why,
 * and (optional) what the user can do next. GError carries only one string, so
 * they are kept in it as "what\nnext"; error_what() and error_next() part them.
 * error_prefix() is used on the way up; printing happens once, in src/cli.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* The classes are also the exit codes of the program (see error_exit_code). */
enum watari_error {
	WATARI_ERROR_USAGE,     /* the command line made no sense */
	WATARI_ERROR_REFUSED,   /* refused before anything moved */
	WATARI_ERROR_FAILED,    /* failed; the VM runs at the source */
	WATARI_ERROR_ATTENTION, /* a person must look: state unclear or bad */
	WATARI_ERROR_CANCELLED, /* the user stopped it; the VM runs at the source */
	WATARI_ERROR_INTERNAL,  /* inside one room; a caller classifies it */
	WATARI_ERROR_LAST
};

enum watari_exit {
	WATARI_EXIT_OK = 0,        /* migrated (or: the command did its work) */
	WATARI_EXIT_USAGE = 2,     /* usage */
	WATARI_EXIT_REFUSED = 3,   /* refused before anything moved */
	WATARI_EXIT_FAILED = 4,    /* failed and the VM is at the source */
	WATARI_EXIT_ATTENTION = 5, /* needs attention */
	WATARI_EXIT_CANCELLED = 6, /* cancelled; the VM runs at the source */
};

#define WATARI_ERROR (watari_error_quark())
GQuark watari_error_quark(void);

/* Set *error to the message FORMAT with the next step NEXT (NULL: none).
 * Always returns false, so that `return error_set(...)` reads well. */
bool error_set(GError **error, enum watari_error code, const char *next, const char *format, ...)
	G_GNUC_PRINTF(4, 5);

/* Put "FORMAT: " before the message and keep the next step. */
void error_prefix(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Give an error of any domain a class of ours and, unless it has one, a next
 * step. A WATARI_ERROR_INTERNAL error changes class, the others stay. */
void error_classify(GError **error, enum watari_error code, const char *next);

/* The two parts; error_next returns NULL where no step is known. Caller frees. */
char *error_what(const GError *error);
char *error_next(const GError *error);

enum watari_exit error_exit_code(const GError *error);
/* Stable word for --json: "usage", "refused", "failed", ... */
const char *error_class_name(const GError *error);
