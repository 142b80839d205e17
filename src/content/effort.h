/* SPDX-License-Identifier: Apache-2.0 */
/* How hard to compress, decided by measurement, continuously.
 *
 * The aim is original bytes a second: min(link x ratio, workers x speed), and below the crossing of
 * the two, where the link is the limit, the best ratio that the workers can keep up with. Where the
 * rest of the path is the limit (QEMU at both ends, reading, emitting), a rung that costs no time is
 * taken for its smaller bytes, but none of the dear ones. How well memory packs and how fast this
 * machine is, is learnt from the batches, for all rungs at once: what one of them tells goes to the
 * others by the table. What the link carries is known only while the encoders wait for it; while
 * they do not, it is believed to carry more and more until it makes them wait; where that was wrong,
 * longer is waited before the next attempt. A region of memory where packing gains nothing twice is
 * stored from then on, but for every 16th batch.
 *
 * Pure logic: no clock, no thread, no compressor. Times and bytes are handed in.
 *
 * Rungs, and what they start from (a warm Debian guest's pages, one core, batches of 64 pages;
 * docs/benchmarks.md). The continuing ones are zstd streams over batches with a window and
 * long-distance matching; a change of level begins the stream anew and loses its window, so they
 * are left only for a gain that is worth it.
 *
 * Memory: 100 KiB. Thread rules: one thread at a time (the caller's lock).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum effort_level {
	EFFORT_STORE,
	EFFORT_LZ4,
	EFFORT_FAST,     /* zstd -1 */
	EFFORT_BATCH,    /* zstd 1 */
	EFFORT_STREAM_1, /* from here on continuing */
	EFFORT_STREAM_2,
	EFFORT_STREAM_3,
	EFFORT_STREAM_5,
	EFFORT_STREAM_7,
	EFFORT_STREAM_9,
	EFFORT_LEVELS
};

struct effort_rung {
	const char *name;
	int zstd_level;  /* 0: not zstd */
	bool continuing; /* a stream over batches */
	double speed;    /* first guess: original bytes a second of one worker */
	double ratio;    /* first guess: original / packed */
};

/* A constant table, by level. */
const struct effort_rung *effort_rung(enum effort_level level);

struct effort_config {
	unsigned workers;      /* threads that encode */
	enum effort_level max; /* never above */
	double link_bytes_s;   /* a first guess, 0 when nothing is known */
};

/* A batch that was encoded. */
struct effort_batch {
	uint64_t region; /* of which most of it is; the caller's numbering */
	enum effort_level level;
	uint64_t original_bytes; /* handed to the compressor: no zeros, no references */
	uint64_t packed_bytes;
	uint64_t cpu_ns;  /* processor time of the worker's thread for all of its work on it */
	uint64_t wall_ns; /* the same by the clock; 0 when not known */
};

/* What the link did in an interval: some tens of milliseconds, the first one shorter, since until
 * then nothing is known and EFFORT_BATCH is used. Intervals in which hardly anything was encoded are
 * added to the next. */
struct effort_link {
	uint64_t interval_ns;
	uint64_t wire_bytes; /* that it took away */
	uint64_t blocked_ns; /* that workers waited for room in the window, summed over workers */
	uint64_t idle_ns; /* that they waited for the rest of the path: for something to encode, or
			      * for the destination to digest what has arrived; summed over workers */
};

struct effort;
struct effort *effort_new(const struct effort_config *config);
void effort_free(struct effort *effort);

/* For the next batch of this region. */
enum effort_level effort_choose(struct effort *effort, uint64_t region);
/* The level for memory as a whole at present, without the regions: nothing is counted. */
enum effort_level effort_level_now(const struct effort *effort);
void effort_note_batch(struct effort *effort, const struct effort_batch *batch);
void effort_note_link(struct effort *effort, const struct effort_link *link);

/* The switchover: TAIL_BYTES of original bytes are left, and what counts is when the last of them is
 * across. 0 ends it. */
void effort_set_tail(struct effort *effort, uint64_t tail_bytes);

/* For the journal and for tests: what is believed. */
struct effort_belief {
	double link_bytes_s; /* INFINITY: it has never made anybody wait */
	double rest_bytes_s; /* original ones, by the rest of the path; 0: not known */
	double share;        /* of a processor that a worker gets while it works */
	double speed, ratio; /* of the level now in use */
};
struct effort_belief effort_belief(const struct effort *effort);
