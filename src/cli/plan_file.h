/* SPDX-License-Identifier: Apache-2.0 */
/* A plan in a file: what was asked for, what was foreseen, and the world that it was made in.
 *
 *   {"format": 1, "watari": version, "created": seconds since the epoch,
 *    "vm", "destination": as given, "words": [options],
 *    "world": {what a move must find unchanged}, "forecast": {...}}
 */
#pragma once
#include "conductor/core/report.h"

/* WORDS: the options. Replaces PATH; 0600, for it names hosts and disks. */
bool plan_file_write(const char *path, const struct move_request *request, char **words,
		     const struct move_report *report, GError **error);
/* The document, checked for what it must have. Unref it. WATARI_ERROR_USAGE. */
JsonObject *plan_file_read(const char *path, GError **error);
/* The same of what such a file holds. */
JsonObject *plan_file_parse(const char *text, size_t length, GError **error);
/* The command line of it: NULL, options, VM, destination. Free with g_strfreev. */
char **plan_file_words(JsonObject *plan, const char *command);
