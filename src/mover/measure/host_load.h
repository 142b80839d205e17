/* SPDX-License-Identifier: Apache-2.0 */
/* How much of this host is left, and how fast it is. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdint.h>

/* Processor time since the boot, in ticks, all processors together (/proc/stat). */
struct host_load {
	uint64_t all, idle, stolen;
};

/* Parse the first line of /proc/stat; zeros where it is none. */
struct host_load host_load_parse(const char *line);
struct host_load host_load_read(void);
/* "cpus", "load" (of one minute), and between BEFORE and now "busy" and "stolen" as parts of all
 * processors' time; "speed": bytes a second that one thread compresses of a made-up buffer (takes about
 * 30 ms). Unref the result. */
JsonObject *host_load_describe(const struct host_load *before);
