/* SPDX-License-Identifier: Apache-2.0 */
/* Whether somebody else moves the VM just now. See foreign_jobs.h. */
#include "conductor/settle/foreign_jobs.h"

#include "conductor/core/movers.h"

#include "base/json.h"

#include <string.h>

enum {
	IDLE_MS = 45000, /* a job that stands still for so long is nobody's any more */
	OWN_IDLE_MS = 15000,
	LIVING_MS = 20000,
};

bool foreign_jobs_look(struct foreign_job *job, const struct host_vm *source, bool own,
		       int64_t now_ms)
{
	if (!source->busy)
		return false;
	if (!job->seen || source->job_bytes != job->bytes) {
		job->moved |= job->seen;
		job->seen = true;
		job->bytes = source->job_bytes;
		job->since_ms = now_ms;
	}
	return now_ms - job->since_ms < (own ? OWN_IDLE_MS : IDLE_MS);
}

struct asking {
	struct move *move;
	bool found;
};

/* One JSON document a line; what an older watari answers is none. */
static bool has_other_id(const char *output, const char *id)
{
	g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
	for (char **line = lines; *line; line++) {
		g_autoptr(JsonObject) state = json_parse_object(*line, strlen(*line), NULL);
		const char *other = state ? json_get_string(state, "id", NULL) : NULL;
		if (other && !g_str_equal(other, id))
			return true;
	}
	return false;
}

static void call_ask_job(void *data)
{
	struct asking *asking = data;
	struct move *move = asking->move;
	const char *const words[] = { "mover", "--living", move->report->vm_uuid, NULL };
	for (int side = 0; side < MOVE_SIDES && !asking->found; side++) {
		g_auto(GStrv) command = movers_command(move, side, words);
		g_autofree char *output = NULL;
		int status = 0;
		if (remote_run(&move->shell, move->addresses[side], (const char *const *) command,
			       LIVING_MS, &output, &status, NULL) &&
		    status == 0)
			asking->found = has_other_id(output, move->report->id);
	}
}

bool foreign_jobs_have_movers(struct move *move)
{
	struct asking asking = { move, false };
	move_call(move, call_ask_job, &asking);
	return asking.found;
}
