/* SPDX-License-Identifier: Apache-2.0 */
/* The control channel as a hostile conductor would use it: lines, JSON, the messages setup, disks,
 * seeds and fingerprint; and that one's answer, as a hostile mover would give it. */
#include "mover/core/disk_list.h"
#include "mover/compare/fingerprint.h"
#include "mover/lines.h"
#include "mover/core/setup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_disks(JsonObject *message)
{
	struct disks *disks = g_new0(struct disks, 1);
	if (disks_parse(disks, message, NULL) &&
	    (disks->count > KNOWN_DISKS_MAX || (disks->count && !*disks->disks[0].export)))
		abort();
	if (disks_parse_seeds(disks, message, NULL) &&
	    (disks->seed_count > KNOWN_SEEDS_MAX ||
	     (disks->seed_count &&
	      (*disks->seeds[0].path != '/' || strchr(disks->seeds[0].format, ',')))))
		abort();
	disks_free(disks);
}

static void read_fingerprint(JsonObject *message)
{
	struct fingerprint_request *request = fingerprint_request_parse(message, NULL);
	g_autofree struct fingerprint *print = g_new0(struct fingerprint, 1);
	if (request && (*request->path != '/' || request->asked.count > FINGERPRINT_MOST))
		abort();
	if (fingerprint_parse(print, message, NULL))
		fingerprint_compare(print, print, print);
	fingerprint_request_free(request);
}

static bool got(const char *line, size_t length, void *data)
{
	g_autoptr(JsonObject) message = json_parse_object(line, length, NULL);
	if (length > JSON_LINE_MAX)
		abort();
	if (!message)
		return true;
	read_disks(message);
	read_fingerprint(message);
	struct mover_setup *settings = mover_setup_parse(message, NULL);
	if (settings &&
	    (settings->connections < 1 || settings->connections > LINK_CONNECTIONS_MAX ||
	     strlen(settings->id) != 32))
		abort();
	mover_setup_free(settings);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line_reader *reader = line_reader_new();
	/* The first byte says how the rest is cut into reads. */
	size_t step = size > 0 ? data[0] + 1u : 1;
	for (size_t at = 1; at < size; at += step)
		if (!line_reader_feed(reader, (const char *) data + at, MIN(step, size - at), got,
				      NULL, NULL))
			break;
	line_reader_free(reader);
	return 0;
}
