/* SPDX-License-Identifier: Apache-2.0 */
/* Sends bytes over the link to see what it carries. */
#include "mover/measure/probe.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "control/messages.h"
#include "mover/pipeline/effort_control.h"

#include <math.h>
#include <string.h>

/* In the place of a batch's kind (mover/core/frame.h): no batch looks like that. */
enum { PROBE_DATA = 15, PROBE_END = 31 };

enum { LOOKS = 64, PATIENCE_MS = 30000 };
/* Connections get up to speed by round trips: a long way is given so many more. */
enum { WARM_TRIPS = 12 };
/* So long must the best stretch be, of the whole; what arrived is told in lumps, so not shorter than that
 * either, unless the whole is hardly longer. */
static const double stretch = 0.3, short_stretch = 0.6, stretch_least_us = 100e3;

struct probe {
	struct transfer *transfer;
	uint64_t bytes;
	int64_t ms;
};

/* How many bytes had arrived when. */
struct look {
	int64_t at_us;
	uint64_t arrived;
};

/* ---- source ---- */

static uint64_t arrived(struct transfer *transfer)
{
	struct link_stats stats;
	link_get_stats(transfer->link, &stats);
	return stats.consumed;
}

/* Like the batches of a move. */
static size_t frame_length(struct transfer *transfer)
{
	struct link_stats stats;
	link_get_stats(transfer->link, &stats);
	return effort_control_moment(stats.drain_rate, LINK_PAYLOAD_MAX);
}

static bool send_frame(struct probe *probe, size_t length, uint32_t flags, GError **error)
{
	struct link *link = probe->transfer->link;
	struct link_frame *frame = link_frame_begin(link, LINK_MEMORY, error);
	if (!frame)
		return false;
	memset(frame->data, 0x5a, length);
	memset(frame->tag, 0, sizeof(frame->tag));
	frame->length = length;
	frame->flags = flags;
	link_frame_commit(link, LINK_MEMORY, frame);
	return true;
}

/* That of the best stretch: before it the connections get up to speed, and a queue that overflows then
 * (over a long way) takes the rest of the time to recover. */
static double rate_of(const struct look *looks, unsigned count)
{
	double whole_us = (double) (looks[count - 1].at_us - looks[0].at_us), best = 0;
	double least_us =
		fmax(stretch * whole_us, fmin(short_stretch * whole_us, stretch_least_us));
	for (unsigned first = 0; first + 1 < count; first++) {
		unsigned last = first + 1;
		while (last + 1 < count &&
		       (double) (looks[last].at_us - looks[first].at_us) < least_us)
			last++;
		double seconds = (double) (looks[last].at_us - looks[first].at_us) / 1e6;
		double bytes = (double) (looks[last].arrived - looks[first].arrived);
		if (seconds * 1e6 >= least_us && seconds > 0)
			best = fmax(best, bytes / seconds);
	}
	return best;
}

static JsonObject *describe_probed(struct probe *probe, const struct look *looks, unsigned count,
				   uint64_t segments, uint64_t segments_again)
{
	struct link_stats now;
	uint64_t sent, again;
	JsonObject *answer = json_object_new();
	link_get_stats(probe->transfer->link, &now);
	link_count_segments(probe->transfer->link, &sent, &again);
	json_object_set_int_member(answer, "bytes",
				   (gint64) (looks[count - 1].arrived - looks[0].arrived));
	json_object_set_int_member(answer, "ms", (looks[count - 1].at_us - looks[0].at_us) / 1000);
	json_object_set_int_member(answer, "rate", (gint64) rate_of(looks, count));
	json_object_set_int_member(answer, "round_trip_us", now.round_trip_us);
	json_object_set_int_member(answer, "connections", now.up);
	json_object_set_int_member(answer, "segments", (gint64) (sent - segments));
	json_object_set_int_member(answer, "segments_again", (gint64) (again - segments_again));
	return answer;
}

static JsonObject *send_all(struct task *task, struct probe *probe, GError **error)
{
	struct transfer *transfer = probe->transfer;
	struct look looks[LOOKS + 1] = { { clock_now_us(), arrived(transfer) } };
	uint64_t segments, again;
	unsigned count = 1;
	struct link_stats stats;
	link_get_stats(transfer->link, &stats);
	int64_t most_us = probe->ms * 1000 + WARM_TRIPS * stats.round_trip_us;
	int64_t until_us = looks[0].at_us + most_us, next_us = 0;
	link_count_segments(transfer->link, &segments, &again);
	for (uint64_t sent = 0;
	     sent < probe->bytes && clock_now_us() < until_us && !task_is_over(task);) {
		size_t length = frame_length(transfer);
		sent += length;
		if (!send_frame(probe, length, PROBE_DATA, error))
			return NULL;
		if (count < LOOKS && clock_now_us() >= next_us) {
			looks[count++] = (struct look){ clock_now_us(), arrived(transfer) };
			next_us = looks[count - 1].at_us + most_us / LOOKS;
		}
	}
	if (!send_frame(probe, 0, PROBE_END, error) ||
	    !link_drain(transfer->link, LINK_MEMORY, PATIENCE_MS, error))
		return NULL;
	looks[count++] = (struct look){ clock_now_us(), arrived(transfer) };
	link_forget_rate(transfer->link);
	return describe_probed(probe, looks, count, segments, again);
}

/* ---- destination ---- */

static JsonObject *receive_all(struct task *task, struct probe *probe, GError **error)
{
	struct link *link = probe->transfer->link;
	uint64_t bytes = 0;
	bool finished = false;
	for (int64_t until_ms = clock_now_ms() + PATIENCE_MS; clock_now_ms() < until_ms;) {
		struct link_frame *frame = link_receive(link, LINK_MEMORY, 100, &finished, error);
		if (!frame && (finished || (error && *error) || task_is_over(task)))
			return NULL;
		if (!frame)
			continue;
		uint32_t kind = frame->flags;
		bytes += frame->length;
		link_frame_done(link, LINK_MEMORY, frame);
		if (kind == PROBE_DATA)
			continue;
		if (kind != PROBE_END)
			break;
		JsonObject *answer = json_object_new();
		json_object_set_int_member(answer, "bytes", (gint64) bytes);
		return answer;
	}
	error_set(error, WATARI_ERROR_INTERNAL, NULL, _("the source mover did not probe the link"));
	return NULL;
}

/* ---- both ---- */

static JsonObject *probe_in_task(struct task *task, void *data)
{
	struct probe *probe = data;
	g_autoptr(GError) error = NULL;
	bool source = probe->transfer->settings->role == MOVER_SOURCE;
	JsonObject *answer =
		source ? send_all(task, probe, &error) : receive_all(task, probe, &error);
	if (!answer) {
		answer = json_object_new();
		g_autofree char *what = error ? error_what(error) : g_strdup(_("broken off"));
		json_object_set_string_member(answer, "reason", what);
	}
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_PROBED);
	return answer;
}

struct task *probe_start(struct transfer *transfer, JsonObject *message,
			 void (*send)(JsonObject *answer, void *data), void *data, GError **error)
{
	int64_t bytes = json_get_int(message, "bytes", 0), ms = json_get_int(message, "ms", 0);
	if (bytes <= 0 || bytes > PROBE_BYTES_MOST || ms <= 0 || ms > PROBE_MS_MOST) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("probe: bad or missing bytes or ms"));
		return NULL;
	}
	struct probe *probe = g_new0(struct probe, 1);
	*probe = (struct probe){ transfer, (uint64_t) bytes, ms };
	return task_new(probe_in_task, probe, g_free, send, data);
}
