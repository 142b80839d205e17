/* SPDX-License-Identifier: Apache-2.0 */
/* Processor time from /proc/stat, and a trial of speed. */
#include "mover/measure/host_load.h"

#include "content/batch.h"
#include "content/codec.h"
#include "mover/pipeline/workers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TRIAL_BYTES = 256 * 1024, TRIAL_US = 30000, FIELDS = 8 };

struct host_load host_load_parse(const char *line)
{
	/* user nice system idle iowait irq softirq steal */
	uint64_t fields[FIELDS] = { 0 };
	struct host_load host_load = { 0 };
	if (sscanf(line,
		   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64 " %" SCNu64,
		   &fields[0], &fields[1], &fields[2], &fields[3], &fields[4], &fields[5],
		   &fields[6], &fields[7]) < 4)
		return host_load;
	for (int i = 0; i < FIELDS; i++)
		host_load.all += fields[i];
	host_load.idle = fields[3] + fields[4];
	host_load.stolen = fields[7];
	return host_load;
}

struct host_load host_load_read(void)
{
	char line[256] = "";
	FILE *stat = fopen("/proc/stat", "re");
	if (stat && !fgets(line, sizeof(line), stat))
		*line = '\0';
	if (stat)
		fclose(stat);
	return host_load_parse(line);
}

/* Something between text and noise, the same at every host. */
static void make_up(uint8_t *bytes, size_t length)
{
	uint32_t state = 12345;
	for (size_t i = 0; i < length; i++) {
		state = state * 1103515245 + 12345;
		bytes[i] = (uint8_t) (i % 64 < 24 ? state >> 24 : 'a' + (state >> 16) % 16);
	}
}

static double measure_speed(void)
{
	size_t out_max = packer_bound(TRIAL_BYTES);
	g_autofree uint8_t *in = g_malloc(TRIAL_BYTES), *out = g_malloc(out_max);
	const struct codec_effort effort = { CODEC_ZSTD, 1, 0 };
	const struct codec_part part = { in, TRIAL_BYTES };
	struct packer *packer = packer_new();
	enum codec_method method;
	make_up(in, TRIAL_BYTES);
	packer_pack(packer, &effort, &part, 1, out, out_max, &method); /* warm */
	int64_t begin_us = workers_cpu_us(), used_us = 0;
	uint64_t bytes = 0;
	for (; used_us < TRIAL_US; used_us = workers_cpu_us() - begin_us) {
		packer_pack(packer, &effort, &part, 1, out, out_max, &method);
		bytes += TRIAL_BYTES;
	}
	packer_free(packer);
	return (double) bytes / (double) used_us * 1e6;
}

JsonObject *host_load_describe(const struct host_load *before)
{
	JsonObject *object = json_object_new();
	struct host_load now = host_load_read();
	double load = 0, all = (double) (now.all - before->all);
	if (getloadavg(&load, 1) != 1)
		load = 0;
	json_object_set_int_member(object, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
	json_object_set_double_member(object, "load", load);
	if (all > 0) {
		json_object_set_double_member(object, "busy",
					      1 - (double) (now.idle - before->idle) / all);
		json_object_set_double_member(object, "stolen",
					      (double) (now.stolen - before->stolen) / all);
	}
	json_object_set_double_member(object, "speed", measure_speed());
	return object;
}
