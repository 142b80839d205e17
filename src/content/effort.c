/* SPDX-License-Identifier: Apache-2.0 */
/* How hard to compress: a model of all rungs, kept up by what is reported, and the best of them. */
#include "content/effort.h"

#include "content/effort_regions.h"

#include <glib.h>
#include <math.h>

static const struct effort_rung ladder_decisions[] = {
	[EFFORT_STORE] = { "store", 0, false, 4000e6, 1.00 },
	[EFFORT_LZ4] = { "lz4", 0, false, 650e6, 2.25 },
	[EFFORT_FAST] = { "zstd -1", -1, false, 380e6, 2.80 },
	[EFFORT_BATCH] = { "zstd 1", 1, false, 330e6, 3.02 },
	[EFFORT_STREAM_1] = { "zstd 1, stream", 1, true, 250e6, 3.25 },
	[EFFORT_STREAM_2] = { "zstd 2, stream", 2, true, 200e6, 3.37 },
	[EFFORT_STREAM_3] = { "zstd 3, stream", 3, true, 130e6, 3.47 },
	[EFFORT_STREAM_5] = { "zstd 5, stream", 5, true, 70e6, 3.56 },
	[EFFORT_STREAM_7] = { "zstd 7, stream", 7, true, 40e6, 3.64 },
	[EFFORT_STREAM_9] = { "zstd 9, stream", 9, true, 31e6, 3.70 },
};
_Static_assert(G_N_ELEMENTS(ladder_decisions) == EFFORT_LEVELS, "a rung for each level");

#define BATCH_BYTES (256 * 1024.0)
#define LEARN 0.1          /* weight of a full batch */
#define LEARN_OWN 0.01     /* ... for what a rung alone costs more or less than the table says */
#define GAINS_NOTHING 0.95 /* packed / original: says nothing about other memory */
#define SHARE_FORGET 0.95  /* a batch */
/* A worker that gets less of a processor shares it with the rest of the path: reading, encryption,
 * both QEMUs. They would hardly get faster by a lower effort, so less is not believed. */
#define SHARE_LEAST 0.75
#define BLOCKED_LIMITED 0.05 /* of the workers' time: the link is what limits */
#define BLOCKED_FREE 0.02    /* ... it is not */
#define IDLE_MUCH 0.5        /* of the workers' time: the rest of the path is what limits */
#define IDLE_SOME 0.1        /* ... the workers are not */
/* So much more than a slow link carries must workers manage with a dear rung: no batch is like the
 * other, and a link that runs dry for a moment does not catch up. */
#define DEAR_SPARE 1.25
#define REST_SPARE 2      /* so much more than the rest must encoders manage to cost no time */
#define REST_GROWTH 1.1   /* an interval in which the workers are what limits */
#define GROWTH_FIRST 1.05 /* of a link that does not make anybody wait, an interval */
#define GROWTH_MOST 2.0
#define PATIENCE_MOST 64
#define STARVED_PATIENCE 8 /* times as slowly, while workers get too little of a processor */
#define ABOUT_AS_FAST 0.85
#define ENDLESS 1e12 /* bytes a second: no limit */

struct effort {
	struct effort_config config;
	struct regions *regions;
	double packed_share;       /* packed / original, of EFFORT_BATCH */
	double slowness;           /* of compressors, against the table */
	double own[EFFORT_LEVELS]; /* of one rung, against that */
	double store_ns;           /* for a byte */
	uint64_t learnt;           /* batches */
	enum effort_level level, tail_level;
	double tail_bytes;
	double link_bytes_s; /* 0: unknown, INFINITY: never a limit */
	double link_limit;   /* when it made workers wait last */
	double rest_bytes_s; /* original ones, that QEMUs and movers manage; 0: not known */
	double growth;
	unsigned free_notes, patience; /* notes of a free link: since then; before it grows */
	double cpu_ns, wall_ns;        /* lately */
	double stored_share; /* of the original bytes: in regions where nothing is gained */
	uint64_t batches, switched_at;
	struct effort_link link; /* intervals that are not judged yet, summed */
	uint64_t link_batches;   /* `batches` when they began */
	double link_original;    /* bytes handed to compressors since then */
};

const struct effort_rung *effort_rung(enum effort_level level)
{
	return &ladder_decisions[level];
}

struct effort *effort_new(const struct effort_config *config)
{
	struct effort *effort = g_new0(struct effort, 1);
	effort->config = *config;
	effort->config.workers = MAX(config->workers, 1);
	effort->config.max = MIN(config->max, EFFORT_LEVELS - 1);
	effort->regions = regions_new();
	for (unsigned i = 0; i < EFFORT_LEVELS; i++)
		effort->own[i] = 1;
	effort->packed_share = 1 / ladder_decisions[EFFORT_BATCH].ratio;
	effort->slowness = 1;
	effort->store_ns = 1e9 / ladder_decisions[EFFORT_STORE].speed;
	effort->link_bytes_s = config->link_bytes_s;
	effort->growth = GROWTH_FIRST;
	effort->patience = 1;
	effort->level = MIN(EFFORT_BATCH, effort->config.max);
	return effort;
}

void effort_free(struct effort *effort)
{
	if (!effort)
		return;
	regions_free(effort->regions);
	g_free(effort);
}

/* ---- what is to be expected ---- */

static double true_share(const struct effort *effort)
{
	return effort->wall_ns > 0 ? effort->cpu_ns / effort->wall_ns : 1;
}

static double cpu_share(const struct effort *effort)
{
	return CLAMP(true_share(effort), SHARE_LEAST, 1);
}

static double link_ns_per_byte(const struct effort *effort)
{
	return effort->link_bytes_s > 0 ? 1e9 / effort->link_bytes_s : 0;
}

static double ns_per_byte(const struct effort *effort, enum effort_level level)
{
	if (level == EFFORT_STORE)
		return effort->store_ns;
	return 1e9 / ladder_decisions[level].speed * effort->slowness * effort->own[level];
}

/* What EFFORT_BATCH halves, a rung with the table's ratio of its square quarters: so the order of
 * the rungs stays, whatever memory they were tried on. */
static double share_power(enum effort_level level)
{
	return log(ladder_decisions[level].ratio) / log(ladder_decisions[EFFORT_BATCH].ratio);
}

static double packed_share(const struct effort *effort, enum effort_level level)
{
	return level == EFFORT_STORE ? 1 : pow(effort->packed_share, share_power(level));
}

/* Original bytes a nanosecond through encoders and link, if memory as a whole were encoded so. */
static double throughput(const struct effort *effort, enum effort_level level)
{
	double stored = effort->stored_share, rest = 1 - stored;
	double wire = stored + rest * packed_share(effort, level);
	double cpu = stored * effort->store_ns + rest * ns_per_byte(effort, level);
	double link_ns = wire * link_ns_per_byte(effort);
	double cpu_ns = cpu / (effort->config.workers * cpu_share(effort));
	if (ladder_decisions[level].continuing)
		cpu_ns *= DEAR_SPARE;
	double rest_ns = effort->rest_bytes_s > 0 ? 1e9 / effort->rest_bytes_s / REST_SPARE : 0;
	return 1 / MAX(MAX(link_ns, cpu_ns), rest_ns);
}

/* Nanoseconds until the tail is across. */
static double tail_ns(const struct effort *effort, enum effort_level level)
{
	double bytes = effort->tail_bytes, first = MIN(bytes, BATCH_BYTES);
	double at_once = CLAMP(bytes / BATCH_BYTES, 1, effort->config.workers);
	double one_ns = ns_per_byte(effort, level) / cpu_share(effort);
	double link_ns = packed_share(effort, level) * link_ns_per_byte(effort);
	/* The first batch is encoded while the link has nothing to do. */
	return MAX(bytes * one_ns / at_once, first * one_ns + bytes * link_ns);
}

/* ---- which one ---- */

/* The fastest. Of the cheap rungs that are about as fast, or cost no time at all because the rest of
 * the path is what limits, the best: its smaller bytes are certain, a worker's speed is a guess. */
static enum effort_level best_level(const struct effort *effort)
{
	enum effort_level best = EFFORT_STORE;
	for (enum effort_level i = EFFORT_LZ4; i <= effort->config.max; i++)
		if (throughput(effort, i) > throughput(effort, best) * 1.001)
			best = i;
	double fast = throughput(effort, best);
	double enough = best == EFFORT_STORE ? 0.999 : ABOUT_AS_FAST;
	for (enum effort_level i = best + 1; i <= MIN(EFFORT_BATCH, effort->config.max); i++)
		if (throughput(effort, i) > fast * enough)
			best = i;
	return best;
}

/* Is a gain of this part (0.02: two percent) worth a switch now? The window of a stream is lost
 * with it, so the smaller the gain the longer a stream goes on first. */
static bool worth_switching(const struct effort *effort, enum effort_level best, double gain)
{
	uint64_t since = effort->batches - effort->switched_at;
	if (!ladder_decisions[effort->level].continuing && best <= EFFORT_BATCH &&
	    best > effort->level)
		return since > 16; /* no time to be gained, but bytes */
	if (!ladder_decisions[effort->level].continuing)
		return gain > 0.02 || (gain > 0.005 && since > 64);
	return gain > 0.01 && (double) since > 3 * effort->config.workers / gain;
}

static void decide_effort(struct effort *effort)
{
	if (effort->link_bytes_s == 0)
		return; /* the first notes will tell */
	enum effort_level best = best_level(effort);
	if (best == effort->level)
		return;
	double gain = throughput(effort, best) / throughput(effort, effort->level) - 1;
	/* What the processors cannot keep up with, or does far too little, is left at once. */
	if (gain < 0.5 && !worth_switching(effort, best, gain))
		return;
	effort->level = best;
	effort->switched_at = effort->batches;
}

static void decide_tail(struct effort *effort)
{
	enum effort_level best = EFFORT_STORE;
	for (enum effort_level i = EFFORT_LZ4; i <= effort->config.max; i++) {
		if (ladder_decisions[i].continuing && i != effort->level)
			continue; /* a new stream's window is empty */
		if (tail_ns(effort, i) < tail_ns(effort, best) * 0.999)
			best = i;
	}
	effort->tail_level = best;
}

enum effort_level effort_choose(struct effort *effort, uint64_t number)
{
	bool tail = effort->tail_bytes > 0;
	enum effort_level level = tail ? effort->tail_level : effort->level;
	if (level == EFFORT_STORE)
		return level;
	struct region *region = regions_find(effort->regions, number);
	return region_wants_pack(region, level) ? level : EFFORT_STORE;
}

enum effort_level effort_level_now(const struct effort *effort)
{
	return effort->tail_bytes > 0 ? effort->tail_level : effort->level;
}

void effort_set_tail(struct effort *effort, uint64_t tail_bytes)
{
	effort->tail_bytes = (double) tail_bytes;
	if (tail_bytes > 0)
		decide_tail(effort);
}

/* ---- what happened ---- */

static void learn_speed(struct effort *effort, enum effort_level level, double found, double weight)
{
	if (level == EFFORT_STORE) {
		effort->store_ns += weight * (found - effort->store_ns);
		return; /* says nothing about compressors */
	}
	double off = found / ns_per_byte(effort, level); /* 1: as expected */
	effort->slowness *= 1 + weight * (off - 1);
	effort->slowness = CLAMP(effort->slowness, 0.01, 1000);
	effort->own[level] *= 1 + LEARN_OWN * (CLAMP(off, 0, 10) - 1);
	effort->own[level] = CLAMP(effort->own[level], 0.3, 3);
}

static void learn_effort_speed(struct effort *effort, const struct effort_batch *batch)
{
	double original = (double) batch->original_bytes;
	double full = MIN(1, original / BATCH_BYTES), weight = LEARN * full;
	double share = (double) batch->packed_bytes / original;
	bool gains = batch->level != EFFORT_STORE && share <= GAINS_NOTHING;
	if (effort->level != EFFORT_STORE)
		effort->stored_share += weight * ((gains ? 0 : 1) - effort->stored_share);
	else
		effort->stored_share *= 1 - weight;
	if (batch->level != EFFORT_STORE && !gains)
		return;
	/* The first batches count for more: until then all is a guess. */
	weight = MAX(weight, full / (2 + (double) effort->learnt++));
	learn_speed(effort, batch->level, (double) batch->cpu_ns / original, weight);
	if (!gains)
		return;
	share = pow(CLAMP(share, 0.0005, GAINS_NOTHING), 1 / share_power(batch->level));
	effort->packed_share += weight * (share - effort->packed_share);
}

void effort_note_batch(struct effort *effort, const struct effort_batch *batch)
{
	if (batch->original_bytes == 0 || batch->level >= EFFORT_LEVELS)
		return;
	effort->batches++;
	uint64_t wall_ns = MAX(batch->wall_ns, batch->cpu_ns);
	effort->cpu_ns = effort->cpu_ns * SHARE_FORGET + (double) batch->cpu_ns;
	effort->wall_ns = effort->wall_ns * SHARE_FORGET + (double) wall_ns;
	effort->link_original += (double) batch->original_bytes;
	if (batch->level != EFFORT_STORE)
		region_note_pack(regions_find(effort->regions, batch->region), batch->level,
				 batch->original_bytes, batch->packed_bytes);
	learn_effort_speed(effort, batch);
	decide_effort(effort);
}

/* Nobody waited for it: it may carry more than was thought. Slowly at first, and later after each
 * time that this turned out to be wrong: to try it costs an effort that is too low. */
static void link_is_free(struct effort *effort, double rate)
{
	if (effort->link_bytes_s == 0) {
		effort->link_bytes_s = INFINITY;
		return;
	}
	effort->link_bytes_s = MAX(effort->link_bytes_s, rate);
	/* Workers that are starved would not make it a limit, whatever it carries. */
	bool starved = true_share(effort) < SHARE_LEAST;
	effort->free_notes++;
	if (effort->free_notes < effort->patience ||
	    (starved && effort->free_notes % STARVED_PATIENCE))
		return;
	effort->link_bytes_s *= effort->growth;
	effort->growth = MIN(effort->growth * effort->growth, GROWTH_MOST);
	if (effort->link_bytes_s > ENDLESS)
		effort->link_bytes_s = INFINITY;
}

/* It made the workers wait: it carries what it carried. */
static void link_is_limit(struct effort *effort, double rate)
{
	bool tried_more =
		effort->link_bytes_s > 1.04 * effort->link_limit && effort->link_limit > 0;
	rate = MAX(rate, 1000);
	if (tried_more)
		effort->patience = rate > 1.2 * effort->link_limit
					   ? 1
					   : MIN(2 * effort->patience, PATIENCE_MOST);
	if (tried_more || effort->link_bytes_s == 0 || !isfinite(effort->link_bytes_s))
		effort->link_bytes_s = rate;
	else
		effort->link_bytes_s += 0.5 * (rate - effort->link_bytes_s);
	effort->link_limit = effort->link_bytes_s;
	effort->growth = GROWTH_FIRST;
	effort->free_notes = 0;
}

/* QEMUs, and the movers' other threads: what they manage shows while workers wait for them. */
static void judge_rest(struct effort *effort, double idle, double blocked, double rate)
{
	if (idle >= IDLE_SOME && blocked < BLOCKED_LIMITED)
		effort->rest_bytes_s = MAX(rate, 1000);
	else if (idle < IDLE_SOME && effort->rest_bytes_s > 0)
		effort->rest_bytes_s = MIN(effort->rest_bytes_s * REST_GROWTH, ENDLESS);
}

static void judge_link_effort(struct effort *effort, const struct effort_link *link)
{
	double interval = (double) link->interval_ns;
	double workers_ns = interval * effort->config.workers;
	double blocked = (double) link->blocked_ns / workers_ns;
	double idle = (double) link->idle_ns / workers_ns;
	double rate = (double) link->wire_bytes * 1e9 / interval;
	judge_rest(effort, idle, blocked, effort->link_original * 1e9 / interval);
	if (blocked < BLOCKED_FREE && idle < IDLE_SOME)
		link_is_free(effort, rate);
	else if (blocked >= BLOCKED_LIMITED && idle < IDLE_MUCH)
		link_is_limit(effort, rate);
	else if (effort->link_bytes_s > 0)
		effort->link_bytes_s = MAX(effort->link_bytes_s, rate);
}

void effort_note_link(struct effort *effort, const struct effort_link *link)
{
	struct effort_link *sum = &effort->link;
	sum->interval_ns += link->interval_ns;
	sum->wire_bytes += link->wire_bytes;
	sum->blocked_ns += link->blocked_ns;
	sum->idle_ns += link->idle_ns;
	/* A wait is told of when it is over: an interval in which nobody finished says nothing. */
	if (sum->interval_ns == 0 ||
	    effort->batches - effort->link_batches < 2 * effort->config.workers)
		return;
	judge_link_effort(effort, sum);
	*sum = (struct effort_link){ 0 };
	effort->link_batches = effort->batches;
	effort->link_original = 0;
	decide_effort(effort);
	if (effort->tail_bytes > 0)
		decide_tail(effort);
}

struct effort_belief effort_belief(const struct effort *effort)
{
	return (struct effort_belief){
		.link_bytes_s = effort->link_bytes_s,
		.rest_bytes_s = effort->rest_bytes_s,
		.share = cpu_share(effort),
		.speed = 1e9 / ns_per_byte(effort, effort->level),
		.ratio = 1 / packed_share(effort, effort->level),
	};
}
