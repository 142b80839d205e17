/* SPDX-License-Identifier: Apache-2.0 */
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

struct tempo {
	struct run *run;
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
static enum effort_level highest(const struct mover_settings *settings)
{
	enum effort_level best = EFFORT_LEVELS - 1;
	if (!settings->encode)
		return EFFORT_STORE;
	while (settings->effort_max && effort_rung(best)->zstd_level > settings->effort_max)
		best--;
	return best;
}

struct tempo *tempo_new(struct run *run, unsigned workers)
{
	struct tempo *tempo = g_new0(struct tempo, 1);
	struct effort_config config = { .workers = workers,
					.max = highest(run->settings),
					.link_bytes_s = LINK_GUESS };
	if (run->settings->bandwidth)
		config.link_bytes_s = (double) run->settings->bandwidth;
	tempo->run = run;
	tempo->window_log = frame_window_log(run->settings->memory_limit);
	tempo->effort = effort_new(&config);
	/* what a probe sent before is none of ours */
	struct link_stats link;
	link_get_stats(run->link, &link);
	tempo->consumed = link.consumed;
	tempo->judged_us = clock_now_us();
	pthread_mutex_init(&tempo->lock, NULL);
	return tempo;
}

void tempo_free(struct tempo *tempo)
{
	if (!tempo)
		return;
	effort_free(tempo->effort);
	pthread_mutex_destroy(&tempo->lock);
	g_free(tempo);
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

static struct codec_effort codec_for(const struct tempo *tempo, enum effort_level level,
				     bool in_stream)
{
	const struct effort_rung *rung = effort_rung(level);
	struct codec_effort effort = { CODEC_ZSTD, rung->zstd_level, tempo->window_log };
	if (level == EFFORT_STORE)
		effort.method = CODEC_STORE;
	else if (level == EFFORT_LZ4)
		effort.method = CODEC_LZ4;
	else if (rung->continuing && in_stream)
		effort.method = CODEC_STREAM;
	return effort;
}

/* With the lock held. */
static void look_for_stop(struct tempo *tempo)
{
	if (tempo->tail)
		return;
	pthread_mutex_lock(&tempo->run->lock);
	tempo->tail = tempo->run->stream.stopped;
	pthread_mutex_unlock(&tempo->run->lock);
	if (tempo->tail)
		effort_set_tail(tempo->effort, TAIL_BYTES);
}

enum effort_level tempo_choose(struct tempo *tempo, const struct batch *batch, bool in_stream,
			       struct codec_effort *effort)
{
	pthread_mutex_lock(&tempo->lock);
	look_for_stop(tempo);
	bool items = batch->kind == BATCH_ITEMS || batch->kind == BATCH_DISK;
	enum effort_level level = items ? effort_choose(tempo->effort, region_of(batch))
					: effort_level_now(tempo->effort);
	*effort = codec_for(tempo, level, in_stream);
	tempo->batches[level]++;
	pthread_mutex_unlock(&tempo->lock);
	return level;
}

/* With the lock held. The link is the limit where it had more to carry than it takes nearly all the
 * time; what it took away then is what it can. */
static void judge_link(struct tempo *tempo)
{
	int64_t now = clock_now_us(), interval = now - tempo->judged_us;
	if (interval < INTERVAL_US || tempo->looks < LOOKS_MIN)
		return;
	struct link_stats stats;
	link_get_stats(tempo->run->link, &stats);
	bool limited = tempo->busy * 5 >= tempo->looks * 4;
	/* If it is not, the waiting was for the destination. */
	int64_t idle_us = tempo->idle_us + (limited ? 0 : tempo->waited_us);
	struct effort_link link = { .interval_ns = (uint64_t) interval * 1000,
				    .wire_bytes = stats.consumed - tempo->consumed,
				    .blocked_ns = limited ? (uint64_t) interval * 1000 : 0,
				    .idle_ns = (uint64_t) idle_us * 1000 };
	effort_note_link(tempo->effort, &link);
	tempo->judged_us = now;
	tempo->consumed = stats.consumed;
	tempo->idle_us = tempo->waited_us = 0;
	tempo->looks = tempo->busy = 0;
}

/* With the lock held. */
static void note_share(struct tempo *tempo, const struct batch *batch, size_t packed)
{
	if (batch_is_disk(batch))
		return;
	tempo->lately += (double) batch->original_bytes;
	tempo->lately_packed += (double) packed;
	if (tempo->lately < LATELY)
		return;
	tempo->lately /= 2;
	tempo->lately_packed /= 2;
}

/* With the lock held. */
static double share_lately(const struct tempo *tempo)
{
	return tempo->lately > 0 ? MIN(tempo->lately_packed / tempo->lately, 1) : 1;
}

void tempo_note(struct tempo *tempo, const struct batch *batch, const struct tempo_packed *packed)
{
	struct effort_batch note = { .region = region_of(batch),
				     .level = packed->level,
				     .original_bytes = packed->body,
				     .packed_bytes = packed->packed,
				     .cpu_ns = (uint64_t) packed->cpu_us * 1000,
				     .wall_ns = (uint64_t) packed->wall_us * 1000 };
	pthread_mutex_lock(&tempo->lock);
	effort_note_batch(tempo->effort, &note);
	note_share(tempo, batch, packed->packed);
	judge_link(tempo);
	pthread_mutex_unlock(&tempo->lock);
}

void tempo_look(struct tempo *tempo)
{
	bool limit = link_is_limit(tempo->run->link);
	pthread_mutex_lock(&tempo->lock);
	tempo->looks++;
	tempo->busy += limit;
	pthread_mutex_unlock(&tempo->lock);
}

void tempo_idle(struct tempo *tempo, int64_t us)
{
	pthread_mutex_lock(&tempo->lock);
	tempo->idle_us += us;
	pthread_mutex_unlock(&tempo->lock);
}

void tempo_wait(struct tempo *tempo, int64_t us)
{
	pthread_mutex_lock(&tempo->lock);
	tempo->waited_us += us;
	pthread_mutex_unlock(&tempo->lock);
}

bool tempo_stores(struct tempo *tempo)
{
	pthread_mutex_lock(&tempo->lock);
	bool stores = effort_level_now(tempo->effort) == EFFORT_STORE;
	pthread_mutex_unlock(&tempo->lock);
	return stores;
}

double tempo_link_bytes_s(struct tempo *tempo)
{
	pthread_mutex_lock(&tempo->lock);
	double link = effort_belief(tempo->effort).link_bytes_s;
	pthread_mutex_unlock(&tempo->lock);
	return isfinite(link) ? link : 0;
}

size_t tempo_moment(double bytes_s, size_t most)
{
	return (size_t) CLAMP(bytes_s * MOMENT_US / G_USEC_PER_SEC, MOMENT_LEAST, (double) most);
}

size_t tempo_portion(struct tempo *tempo)
{
	pthread_mutex_lock(&tempo->lock);
	double link = effort_belief(tempo->effort).link_bytes_s, share = share_lately(tempo);
	pthread_mutex_unlock(&tempo->lock);
	return tempo_moment(link / share, BATCH_RAW_MAX); /* infinite: no limit seen */
}

double tempo_share(struct tempo *tempo)
{
	pthread_mutex_lock(&tempo->lock);
	double share = share_lately(tempo);
	pthread_mutex_unlock(&tempo->lock);
	return share;
}

void tempo_describe(struct tempo *tempo, JsonObject *stats)
{
	JsonObject *batches = json_object_new();
	pthread_mutex_lock(&tempo->lock);
	struct effort_belief belief = effort_belief(tempo->effort);
	enum effort_level now = effort_level_now(tempo->effort);
	for (unsigned i = 0; i < EFFORT_LEVELS; i++)
		if (tempo->batches[i])
			json_object_set_int_member(batches, effort_rung(i)->name,
						   (gint64) tempo->batches[i]);
	pthread_mutex_unlock(&tempo->lock);
	json_object_set_string_member(stats, "effort", effort_rung(now)->name);
	json_object_set_int_member(stats, "link_bytes_s",
				   isfinite(belief.link_bytes_s) ? (gint64) belief.link_bytes_s
								 : -1);
	json_object_set_object_member(stats, "batches", batches);
}
