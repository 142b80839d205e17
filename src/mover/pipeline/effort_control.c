/* SPDX-License-Identifier: Apache-2.0 */
/* Measures workers and link, and sets the codec's effort. */
#include "mover/pipeline/effort_control.h"

#include "base/clock.h"
#include "mover/core/frame.h"

#include <math.h>

#define INTERVAL_US 40000       /* between judgements of the link */
#define TAIL_BYTES (512 * 1024) /* after the stop: what is on its way in one piece */
#define LOOKS_MIN 4
#define LINK_GUESS 125e6    /* bytes a second, until it shows */
#define REGION_PAGES_LOG 14 /* 64 MiB */
#define MOMENT_US 5000
#define MOMENT_LEAST (32 * 1024)
#define LATELY (2 * 1024 * 1024) /* bytes of QEMU's stream, over which the share is taken */

struct effort_control {
	struct transfer *transfer;
	int window_log;
	pthread_mutex_t lock;
	/* under the lock */
	struct effort *effort;
	int64_t judged_us;
	uint64_t consumed;          /* by the link's peer, at that time */
	unsigned looks, busy;       /* at the link since then; it had more than it takes */
	int64_t idle_us, waited_us; /* for a batch; for room to send it */
	uint64_t batches[EFFORT_LEVELS];
	double lately, lately_packed; /* bytes of QEMU's stream, and what they came to */
	bool tail;
};

/* The highest rung within the user's limit, which is a level of zstd. */
static enum effort_level highest(const struct mover_setup *settings)
{
	enum effort_level best = EFFORT_LEVELS - 1;
	if (!settings->encode)
		return EFFORT_STORE;
	while (settings->effort_max && effort_rung(best)->zstd_level > settings->effort_max)
		best--;
	return best;
}

struct effort_control *effort_control_new(struct transfer *transfer, unsigned workers)
{
	struct effort_control *effort_control = g_new0(struct effort_control, 1);
	struct effort_config config = { .workers = workers,
					.max = highest(transfer->settings),
					.link_bytes_s = LINK_GUESS };
	if (transfer->settings->bandwidth)
		config.link_bytes_s = (double) transfer->settings->bandwidth;
	effort_control->transfer = transfer;
	effort_control->window_log = frame_window_log(transfer->settings->memory_limit);
	effort_control->effort = effort_new(&config);
	/* what a probe sent before is none of ours */
	struct link_stats link;
	link_get_stats(transfer->link, &link);
	effort_control->consumed = link.consumed;
	effort_control->judged_us = clock_now_us();
	pthread_mutex_init(&effort_control->lock, NULL);
	return effort_control;
}

void effort_control_free(struct effort_control *effort_control)
{
	if (!effort_control)
		return;
	effort_free(effort_control->effort);
	pthread_mutex_destroy(&effort_control->lock);
	g_free(effort_control);
}

/* That of its first page. */
static uint64_t region_of(const struct batch *batch)
{
	for (uint32_t i = 0; i < batch->count; i++)
		if (batch->items[i].kind == ITEM_LITERAL)
			return (uint64_t) (batch->kind == BATCH_DISK) << 63 |
			       (uint64_t) batch->items[i].block << 40 |
			       batch->items[i].page >> REGION_PAGES_LOG;
	return UINT64_MAX;
}

static struct codec_effort codec_for(const struct effort_control *effort_control,
				     enum effort_level level, bool in_stream)
{
	const struct effort_rung *rung = effort_rung(level);
	struct codec_effort effort = { CODEC_ZSTD, rung->zstd_level, effort_control->window_log };
	if (level == EFFORT_STORE)
		effort.method = CODEC_STORE;
	else if (level == EFFORT_LZ4)
		effort.method = CODEC_LZ4;
	else if (rung->continuing && in_stream)
		effort.method = CODEC_STREAM;
	return effort;
}

/* With the lock held. */
static void look_for_stop(struct effort_control *effort_control)
{
	if (effort_control->tail)
		return;
	pthread_mutex_lock(&effort_control->transfer->lock);
	effort_control->tail = effort_control->transfer->stream.stopped;
	pthread_mutex_unlock(&effort_control->transfer->lock);
	if (effort_control->tail)
		effort_set_tail(effort_control->effort, TAIL_BYTES);
}

enum effort_level effort_control_choose(struct effort_control *effort_control,
					const struct batch *batch, bool in_stream,
					struct codec_effort *effort)
{
	pthread_mutex_lock(&effort_control->lock);
	look_for_stop(effort_control);
	bool items = batch->kind == BATCH_ITEMS || batch->kind == BATCH_DISK;
	enum effort_level level = items ? effort_choose(effort_control->effort, region_of(batch))
					: effort_level_now(effort_control->effort);
	*effort = codec_for(effort_control, level, in_stream);
	effort_control->batches[level]++;
	pthread_mutex_unlock(&effort_control->lock);
	return level;
}

/* With the lock held. The link is the limit where it had more to carry than it takes nearly all the
 * time; what it took away then is what it can. */
static void judge_link(struct effort_control *effort_control)
{
	int64_t now = clock_now_us(), interval = now - effort_control->judged_us;
	if (interval < INTERVAL_US || effort_control->looks < LOOKS_MIN)
		return;
	struct link_stats stats;
	link_get_stats(effort_control->transfer->link, &stats);
	bool limited = effort_control->busy * 5 >= effort_control->looks * 4;
	/* If it is not, the waiting was for the destination. */
	int64_t idle_us = effort_control->idle_us + (limited ? 0 : effort_control->waited_us);
	struct effort_link link = { .interval_ns = (uint64_t) interval * 1000,
				    .wire_bytes = stats.consumed - effort_control->consumed,
				    .blocked_ns = limited ? (uint64_t) interval * 1000 : 0,
				    .idle_ns = (uint64_t) idle_us * 1000 };
	effort_note_link(effort_control->effort, &link);
	effort_control->judged_us = now;
	effort_control->consumed = stats.consumed;
	effort_control->idle_us = effort_control->waited_us = 0;
	effort_control->looks = effort_control->busy = 0;
}

/* With the lock held. */
static void note_share(struct effort_control *effort_control, const struct batch *batch,
		       size_t packed)
{
	if (batch_is_disk(batch))
		return;
	effort_control->lately += (double) batch->original_bytes;
	effort_control->lately_packed += (double) packed;
	if (effort_control->lately < LATELY)
		return;
	effort_control->lately /= 2;
	effort_control->lately_packed /= 2;
}

/* With the lock held. */
static double share_lately(const struct effort_control *effort_control)
{
	return effort_control->lately > 0
		       ? MIN(effort_control->lately_packed / effort_control->lately, 1)
		       : 1;
}

void effort_control_note(struct effort_control *effort_control, const struct batch *batch,
			 const struct effort_control_packed *packed)
{
	struct effort_batch note = { .region = region_of(batch),
				     .level = packed->level,
				     .original_bytes = packed->body,
				     .packed_bytes = packed->packed,
				     .cpu_ns = (uint64_t) packed->cpu_us * 1000,
				     .wall_ns = (uint64_t) packed->wall_us * 1000 };
	pthread_mutex_lock(&effort_control->lock);
	effort_note_batch(effort_control->effort, &note);
	note_share(effort_control, batch, packed->packed);
	judge_link(effort_control);
	pthread_mutex_unlock(&effort_control->lock);
}

void effort_control_look(struct effort_control *effort_control)
{
	bool limit = link_is_limit(effort_control->transfer->link);
	pthread_mutex_lock(&effort_control->lock);
	effort_control->looks++;
	effort_control->busy += limit;
	pthread_mutex_unlock(&effort_control->lock);
}

void effort_control_idle(struct effort_control *effort_control, int64_t us)
{
	pthread_mutex_lock(&effort_control->lock);
	effort_control->idle_us += us;
	pthread_mutex_unlock(&effort_control->lock);
}

void effort_control_wait(struct effort_control *effort_control, int64_t us)
{
	pthread_mutex_lock(&effort_control->lock);
	effort_control->waited_us += us;
	pthread_mutex_unlock(&effort_control->lock);
}

bool effort_control_stores(struct effort_control *effort_control)
{
	pthread_mutex_lock(&effort_control->lock);
	bool stores = effort_level_now(effort_control->effort) == EFFORT_STORE;
	pthread_mutex_unlock(&effort_control->lock);
	return stores;
}

double effort_control_link_bytes_s(struct effort_control *effort_control)
{
	pthread_mutex_lock(&effort_control->lock);
	double link = effort_belief(effort_control->effort).link_bytes_s;
	pthread_mutex_unlock(&effort_control->lock);
	return isfinite(link) ? link : 0;
}

size_t effort_control_moment(double bytes_s, size_t most)
{
	return (size_t) CLAMP(bytes_s * MOMENT_US / G_USEC_PER_SEC, MOMENT_LEAST, (double) most);
}

size_t effort_control_portion(struct effort_control *effort_control)
{
	pthread_mutex_lock(&effort_control->lock);
	double link = effort_belief(effort_control->effort).link_bytes_s,
	       share = share_lately(effort_control);
	pthread_mutex_unlock(&effort_control->lock);
	return effort_control_moment(link / share, BATCH_RAW_MAX); /* infinite: no limit seen */
}

double effort_control_share(struct effort_control *effort_control)
{
	pthread_mutex_lock(&effort_control->lock);
	double share = share_lately(effort_control);
	pthread_mutex_unlock(&effort_control->lock);
	return share;
}

void effort_control_describe(struct effort_control *effort_control, JsonObject *stats)
{
	JsonObject *batches = json_object_new();
	pthread_mutex_lock(&effort_control->lock);
	struct effort_belief belief = effort_belief(effort_control->effort);
	enum effort_level now = effort_level_now(effort_control->effort);
	for (unsigned i = 0; i < EFFORT_LEVELS; i++)
		if (effort_control->batches[i])
			json_object_set_int_member(batches, effort_rung(i)->name,
						   (gint64) effort_control->batches[i]);
	pthread_mutex_unlock(&effort_control->lock);
	json_object_set_string_member(stats, "effort", effort_rung(now)->name);
	json_object_set_int_member(stats, "link_bytes_s",
				   isfinite(belief.link_bytes_s) ? (gint64) belief.link_bytes_s
								 : -1);
	json_object_set_object_member(stats, "batches", batches);
}
