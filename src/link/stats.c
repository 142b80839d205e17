/* SPDX-License-Identifier: Apache-2.0 */
/* What a link tells of itself. */
#include "base/clock.h"
#include "link/internal.h"

#define UNSENT_MUCH (32 * 1024) /* by the kernel: the network is what limits */

static void get_lane_stats(struct link *link, struct link_stats *stats)
{
	for (unsigned i = 0; i < link->config.connections; i++) {
		struct channel_count *count = &link->lanes[i].count;
		stats->lane_sent[i] = atomic_load_explicit(&count->sent, memory_order_relaxed);
		stats->lane_received[i] =
			atomic_load_explicit(&count->received, memory_order_relaxed);
		stats->wire_sent += stats->lane_sent[i];
		stats->wire_received += stats->lane_received[i];
	}
}

void link_get_stats(struct link *link, struct link_stats *stats)
{
	*stats = (struct link_stats){ 0 };
	get_lane_stats(link, stats);
	pthread_mutex_lock(&link->lock);
	const struct queue *queue = &link->queues[link->config.source ? LINK_MEMORY : LINK_RETURN];
	stats->up = link->up;
	stats->reconnects = link->reconnects;
	stats->in_flight = queue->bytes;
	stats->consumed = queue->consumed_bytes;
	stats->consumed_frames = queue->consumed;
	stats->window = queue->window.size;
	stats->drain_rate = queue->window.rate;
	stats->round_trip_us = link_round_trip_us(link);
	if (link->dark_since_us)
		stats->dark_ms = (clock_now_us() - link->dark_since_us) / 1000;
	for (unsigned i = 0; i < LINK_STREAM_LAST; i++)
		stats->resent_frames += link->queues[i].resent;
	stats->refused_peers = link->refused_peers;
	pthread_mutex_unlock(&link->lock);
}

void link_count_segments(struct link *link, uint64_t *sent, uint64_t *again)
{
	*sent = *again = 0;
	pthread_mutex_lock(&link->lock);
	/* Under the lock, for a lane closes its socket under it. */
	for (unsigned i = 0; i < link->config.connections; i++)
		if (link->lanes[i].fd >= 0)
			socket_count_segments(link->lanes[i].fd, sent, again);
	pthread_mutex_unlock(&link->lock);
}

bool link_is_limit(struct link *link)
{
	uint64_t unsent = 0;
	pthread_mutex_lock(&link->lock);
	bool dark = link->up == 0;
	bool capped = atomic_load_explicit(&link->bandwidth, memory_order_relaxed) &&
		      bucket_wait_us(&link->bucket, clock_now_us()) > 0;
	/* Under the lock, for a lane closes its socket under it. */
	for (unsigned i = 0; i < link->config.connections; i++)
		if (link->lanes[i].fd >= 0)
			unsent += socket_unsent_bytes(link->lanes[i].fd);
	pthread_mutex_unlock(&link->lock);
	return dark || capped || unsent >= UNSENT_MUCH;
}
