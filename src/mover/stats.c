/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the stats message. */
#include "mover/stats.h"

#include "base/clock.h"
#include "base/fd.h"
#include "control/messages.h"
#include "mover/disks/disk_source.h"
#include "mover/pipeline/encoders.h"
#include "mover/pipeline/page_requests.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

static int64_t peak_rss_kib(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static int64_t cpu_ms(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static JsonObject *describe_pages(const struct stream_stats *stream)
{
	JsonObject *pages = json_object_new();
	json_object_set_int_member(pages, "normal", (gint64) stream->records[STREAM_PAGE]);
	json_object_set_int_member(pages, "zero", (gint64) stream->records[STREAM_ZERO_PAGE]);
	json_object_set_int_member(pages, "xbzrle", (gint64) stream->records[STREAM_XBZRLE_PAGE]);
	json_object_set_int_member(pages, "compressed",
				   (gint64) stream->records[STREAM_COMPRESSED_PAGE]);
	return pages;
}

static void describe_link_stats(JsonObject *stats, const struct link_stats *link,
				unsigned connections)
{
	JsonArray *lanes = json_array_new();
	for (unsigned i = 0; i < connections; i++)
		json_array_add_int_element(lanes,
					   (gint64) (link->lane_sent[i] + link->lane_received[i]));
	json_object_set_int_member(stats, "wire_sent", (gint64) link->wire_sent);
	json_object_set_int_member(stats, "wire_received", (gint64) link->wire_received);
	json_object_set_array_member(stats, "lanes", lanes);
	json_object_set_int_member(stats, "lanes_up", link->up);
	json_object_set_int_member(stats, "in_flight", (gint64) link->in_flight);
	json_object_set_int_member(stats, "window", (gint64) link->window);
	json_object_set_int_member(stats, "rate", (gint64) link->drain_rate);
	json_object_set_int_member(stats, "round_trip_us", link->round_trip_us);
	json_object_set_int_member(stats, "reconnects", (gint64) link->reconnects);
	json_object_set_int_member(stats, "dark_ms", link->dark_ms);
}

/* What the engine made of the stream; at the source only. Under the lock. */
static JsonObject *describe_content(const struct transfer *transfer)
{
	const struct transfer_content *content = &transfer->content;
	JsonObject *object = json_object_new();
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "zero_pages", content->pages.zero_pages },
		{ "same_pages", content->pages.same_pages },
		{ "reference_pages", content->pages.reference_pages },
		{ "disk_pages", content->pages.disk_pages },
		{ "delta_pages", content->pages.delta_pages },
		{ "literal_pages", content->pages.literal_pages },
		{ "plain_pages", content->pages.plain_pages },
		{ "delta_bytes", content->pages.delta_bytes },
		{ "refused_deltas", content->pages.refused_deltas },
		{ "original_bytes", transfer->bytes },
		{ "encoded_bytes", content->encoded_bytes },
		{ "disk_bytes", content->disk_bytes },
		{ "encode_ms", (uint64_t) content->encode_us / 1000 },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
		json_object_set_int_member(object, numbers[i].name, (gint64) numbers[i].value);
	return object;
}

/* What QEMU has written and the link has not got. */
static void describe_backlog(JsonObject *stats, struct encoders *encoders, uint64_t unread)
{
	double share = encoders_share(encoders);
	double bytes = (double) (unread + encoders_in_hand(encoders)) * share;
	json_object_set_int_member(stats, "in_hand", (gint64) bytes);
	json_object_set_double_member(stats, "share", share);
}

/* Under the lock. */
static void describe_run(JsonObject *stats, struct transfer *transfer)
{
	int64_t end = transfer->released_us ? transfer->released_us : clock_now_us();
	json_object_set_string_member(stats, "phase", transfer_phase_name(transfer->phase));
	json_object_set_int_member(stats, "bytes", (gint64) transfer->bytes);
	json_object_set_int_member(stats, "frames", (gint64) transfer->frames);
	json_object_set_object_member(stats, "pages", describe_pages(&transfer->stream));
	json_object_set_int_member(stats, "iterations", (gint64) transfer->stream.iterations);
	json_object_set_int_member(stats, "device_bytes",
				   (gint64) transfer->stream.kind_bytes[STREAM_DEVICE_STATE]);
	json_object_set_boolean_member(stats, "stopped", transfer->stream.stopped);
	if (transfer->stopped_us)
		json_object_set_int_member(stats, "stopped_ms",
					   (end - transfer->stopped_us) / 1000);
	if (transfer->opaque_reason)
		json_object_set_string_member(stats, "opaque", transfer->opaque_reason);
}

JsonObject *stats_describe(struct transfer *transfer)
{
	JsonObject *stats = json_object_new(), *content = NULL;
	struct link_stats link = { 0 };
	uint64_t unread = 0;
	json_object_set_string_member(stats, MESSAGE_TYPE, MESSAGE_STATS);
	json_object_set_int_member(stats, "clock_us", clock_now_us());
	if (transfer->link)
		link_get_stats(transfer->link, &link);
	pthread_mutex_lock(&transfer->lock);
	describe_run(stats, transfer);
	if (transfer->encoders) {
		content = describe_content(transfer);
		unread = fd_unread(transfer->qemu);
	}
	pthread_mutex_unlock(&transfer->lock);
	if (content) {
		describe_backlog(stats, transfer->encoders, unread);
		encoders_describe(transfer->encoders, content);
		json_object_set_object_member(stats, "content", content);
	}
	JsonObject *requests =
		transfer->requests ? page_requests_describe(transfer->requests) : NULL;
	if (requests)
		json_object_set_object_member(stats, "postcopy", requests);
	if (transfer->disk_source)
		json_object_set_array_member(stats, "disks",
					     disk_source_describe(transfer->disk_source));
	describe_link_stats(stats, &link, transfer->settings->connections);
	json_object_set_int_member(stats, "rss_kib", peak_rss_kib());
	json_object_set_int_member(stats, "cpu_ms", cpu_ms());
	return stats;
}
