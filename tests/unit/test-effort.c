/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of effort in a simulated mover: workers that encode, a link with a window that drains,
 * memory of several kinds, and a machine that is not the one that the first guesses come from. */
#include "content/effort.h"
#include "content/effort_regions.h"

#include <glib.h>
#include <math.h>

#define BATCH (256 * 1024)
#define MBIT 125e3 /* bytes a second */
#define WORKERS_MAX 8
#define NEVER 1e9

/* A kind of memory: its ratio with each rung is the table's to this power. */
struct kind {
	double power;
	double slowness; /* of packing, against the table */
};

static const struct kind text = { 1.3, 0.8 }, plain = { 1, 1 }, dense = { 0.5, 1.4 },
			 random_bytes = { 0.01, 0.5 };

struct sim {
	struct effort *effort;
	unsigned workers;
	double machine; /* slowness of all processors, against the table */
	double share;   /* of a processor that each worker gets */
	double link;    /* bytes/s */
	double supply;  /* bytes/s that QEMU brings; NEVER: more than anybody takes */
	double window;  /* bytes */
	double interval_s;
	const struct kind *(*kind_of)(uint64_t region);

	double now, free_at[WORKERS_MAX], queue, queue_at, link_note_at, supplied_at;
	double wire, original, blocked, idle; /* since the last note of the link */
	double total_original, total_wire;
	uint64_t batches, used[EFFORT_LEVELS];
};

static const struct kind *everywhere = &plain; /* the kind of all memory, by default */

static const struct kind *same_everywhere(uint64_t region)
{
	return everywhere;
}

static void sim_start(struct sim *sim, unsigned workers, double link, enum effort_level max)
{
	struct effort_config config = { .workers = workers, .max = max };
	*sim = (struct sim){ .workers = workers,
			     .machine = 1,
			     .share = 1,
			     .link = link,
			     .supply = NEVER * 1e3,
			     .window = 4e6,
			     .interval_s = 0.01,
			     .kind_of = same_everywhere };
	sim->effort = effort_new(&config);
	sim->link_note_at = sim->interval_s;
}

static double true_ns_per_byte(const struct sim *sim, const struct kind *kind,
			       enum effort_level level)
{
	double slowness = level == EFFORT_STORE ? 1 : kind->slowness;
	return 1e9 / effort_rung(level)->speed * slowness * sim->machine;
}

static double true_ratio(const struct kind *kind, enum effort_level level)
{
	return pow(effort_rung(level)->ratio, kind->power);
}

static void sim_drain(struct sim *sim, double until)
{
	double drained = MIN(sim->queue, (until - sim->queue_at) * sim->link);
	if (until <= sim->queue_at)
		return;
	sim->queue -= drained;
	sim->queue_at = until;
	sim->wire += drained;
	sim->total_wire += drained;
}

static void sim_note_link(struct sim *sim)
{
	struct effort_link link = { .interval_ns = (uint64_t) (sim->interval_s * 1e9),
				    .wire_bytes = (uint64_t) sim->wire,
				    .blocked_ns = (uint64_t) (sim->blocked * 1e9),
				    .idle_ns = (uint64_t) (sim->idle * 1e9) };
	effort_note_link(sim->effort, &link);
	sim->wire = sim->blocked = sim->idle = 0;
	sim->link_note_at += sim->interval_s;
}

/* One batch, on the worker that is free first. */
static void sim_batch(struct sim *sim)
{
	unsigned worker = 0;
	for (unsigned i = 1; i < sim->workers; i++)
		if (sim->free_at[i] < sim->free_at[worker])
			worker = i;
	double start = MAX(sim->free_at[worker], sim->supplied_at);
	sim->idle += start - sim->free_at[worker];
	sim->supplied_at = MAX(sim->supplied_at, sim->now - 0.01) + BATCH / sim->supply;
	while (sim->link_note_at <= start) {
		sim_drain(sim, sim->link_note_at);
		sim_note_link(sim);
	}
	sim->now = start;

	uint64_t region = sim->batches++ / 16 % 100;
	const struct kind *kind = sim->kind_of(region);
	enum effort_level level = effort_choose(sim->effort, region);
	double cpu_s = BATCH * true_ns_per_byte(sim, kind, level) / 1e9;
	double packed = BATCH / true_ratio(kind, level);
	struct effort_batch batch = { .region = region,
				      .level = level,
				      .original_bytes = BATCH,
				      .packed_bytes = (uint64_t) packed,
				      .cpu_ns = (uint64_t) (cpu_s * 1e9),
				      .wall_ns = (uint64_t) (cpu_s / sim->share * 1e9) };
	double done = start + cpu_s / sim->share;
	sim_drain(sim, done);
	double over = sim->queue + packed - sim->window;
	double room_at = over > 0 ? MAX(done, sim->queue_at) + over / sim->link : done;
	sim_drain(sim, room_at);
	sim->blocked += room_at - done;
	sim->queue += packed;
	sim->total_original += BATCH;
	sim->free_at[worker] = room_at;
	sim->used[level]++;
	effort_note_batch(sim->effort, &batch);
}

static void sim_run(struct sim *sim, double seconds)
{
	double until = sim->now + seconds;
	while (sim->now < until)
		sim_batch(sim);
}

/* Original bytes a second from here on. */
static double sim_measure(struct sim *sim, double seconds)
{
	double before = sim->total_original, since = sim->now;
	for (unsigned i = 0; i < EFFORT_LEVELS; i++)
		sim->used[i] = 0;
	sim_run(sim, seconds);
	return (sim->total_original - before) / (sim->now - since);
}

/* What the best single level could do. */
static double best_possible(const struct sim *sim, const struct kind *kind, enum effort_level max,
			    enum effort_level *best)
{
	double most = 0;
	for (enum effort_level i = 0; i <= max; i++) {
		double cpu = 1e9 / true_ns_per_byte(sim, kind, i) * sim->workers * sim->share;
		double rate = MIN(cpu, sim->link * true_ratio(kind, i));
		if (rate > most * 1.001) {
			most = rate;
			*best = i;
		}
	}
	return most;
}

static double used_share(const struct sim *sim, enum effort_level level)
{
	uint64_t all = 0;
	for (unsigned i = 0; i < EFFORT_LEVELS; i++)
		all += sim->used[i];
	return (double) sim->used[level] / (double) all;
}

static void test_fast_link_stores(void)
{
	for (unsigned workers = 1; workers <= WORKERS_MAX; workers *= 2) {
		struct sim sim;
		sim_start(&sim, workers, 100e9, EFFORT_STREAM_9);
		sim.interval_s = sim.link_note_at = 0.002;
		for (unsigned i = 0; i < 10 * workers; i++)
			sim_batch(&sim);
		g_assert_cmpint(effort_level_now(sim.effort), ==, EFFORT_STORE);
		sim_measure(&sim, 0.3);
		g_assert_cmpfloat(used_share(&sim, EFFORT_STORE), ==, 1);
		effort_free(sim.effort);
	}
}

/* A link that is faster than the encoders, but not than storing: a local link of 1.5 GB/s. */
static void test_local_link(void)
{
	struct sim sim;
	sim_start(&sim, 2, 1.5e9, EFFORT_STREAM_9);
	sim_run(&sim, 0.1);
	double rate = sim_measure(&sim, 1);
	g_assert_cmpfloat(rate, >, 1.48e9);
	g_assert_cmpfloat(used_share(&sim, EFFORT_STORE), >, 0.98);
	effort_free(sim.effort);
}

/* Links, workers, memory and machines: always near the best single level. */
static void test_near_the_best(void)
{
	const double links[] = { 10 * MBIT,   100 * MBIT,  200 * MBIT,
				 1000 * MBIT, 2500 * MBIT, 10000 * MBIT };
	const struct kind *kinds[] = { &plain, &text, &dense };
	const double machines[] = { 0.5, 1, 2 };
	for (unsigned i = 0; i < G_N_ELEMENTS(links) * 3 * 3 * 4; i++) {
		unsigned workers = 1u << i % 4, at = i / 4;
		struct sim sim;
		enum effort_level best = EFFORT_STORE;
		everywhere = kinds[at % 3];
		sim_start(&sim, workers, links[at / 9], EFFORT_STREAM_9);
		sim.machine = machines[at / 3 % 3];
		while (sim.now < 2 || sim.batches < 3000)
			sim_batch(&sim);
		double rate = sim_measure(&sim, 3);
		double most = best_possible(&sim, everywhere, EFFORT_STREAM_9, &best);
		struct effort_belief belief = effort_belief(sim.effort);
		if (rate < 0.98 * most)
			g_test_message(
				"link %.0f MB/s, %u workers, machine %.2f: %s, best %s, %.3f of it "
				"(link believed %.1f MB/s)",
				sim.link / 1e6, workers, sim.machine,
				effort_rung(effort_level_now(sim.effort))->name,
				effort_rung(best)->name, rate / most, belief.link_bytes_s / 1e6);
		/* Where a cheap rung is about as fast, its smaller bytes count for more; and a
		 * dear one is taken only by workers that have time to spare. */
		enum effort_level now = effort_level_now(sim.effort);
		bool saves = now <= EFFORT_BATCH && now > best;
		g_assert_cmpfloat(rate, >, most * (saves ? 0.83 : 0.9));
		effort_free(sim.effort);
	}
	everywhere = &plain;
}

/* Random pages beside text: the random ones are stored, nearly always, and the text is packed. */
static const struct kind *mixed(uint64_t region)
{
	return region % 2 ? &random_bytes : &text;
}

static void test_mixed_regions(void)
{
	struct sim sim;
	sim_start(&sim, 2, 1000 * MBIT, EFFORT_STREAM_9);
	sim.kind_of = mixed;
	sim_run(&sim, 10);
	double before = sim.total_original, before_wire = sim.total_wire;
	sim_measure(&sim, 10);
	double ratio = (sim.total_original - before) / (sim.total_wire - before_wire);
	g_test_message("mixed: ratio %.3f, stored %.3f, %s", ratio, used_share(&sim, EFFORT_STORE),
		       effort_rung(effort_level_now(sim.effort))->name);
	g_assert_cmpfloat(used_share(&sim, EFFORT_STORE), >, 0.45);
	g_assert_cmpfloat(used_share(&sim, EFFORT_STORE), <, 0.5);
	/* The workers have time for the text: the other half costs them nothing. */
	g_assert_cmpint(effort_level_now(sim.effort), >=, EFFORT_STREAM_2);
	/* Half at 1, half at the ratio of text. */
	g_assert_cmpfloat(ratio, >, 2 / (1 + 1 / true_ratio(&text, EFFORT_FAST)));
	effort_free(sim.effort);
}

/* Memory that changes while it is sent, a part at a time: what one rung made of one part does not
 * make it look better than the others. */
static double part_power = 1;

static const struct kind *by_part(uint64_t region)
{
	static struct kind kind;
	kind = (struct kind){ part_power, 1 };
	return &kind;
}

static void test_parts(void)
{
	struct sim sim;
	sim_start(&sim, 1, 100 * MBIT, EFFORT_STREAM_9);
	sim.kind_of = by_part;
	for (unsigned i = 0; i < 12; i++) {
		part_power = (const double[]){ 1.6, 0.7, 1.3, 0.5 }[i % 4];
		sim_measure(&sim, 0.5);
		g_assert_cmpint(effort_level_now(sim.effort), >=, EFFORT_STREAM_2);
	}
	effort_free(sim.effort);
}

/* A link that changes, a processor that is taken away: right again within two seconds. */
static void test_changes(void)
{
	const double links[] = { 1000 * MBIT, 100 * MBIT, 100e9, 200 * MBIT, 1000 * MBIT };
	const double shares[] = { 1, 1, 0.5, 0.25, 1 };
	struct sim sim;
	sim_start(&sim, 2, links[0], EFFORT_STREAM_9);
	for (unsigned i = 0; i < G_N_ELEMENTS(links); i++) {
		enum effort_level best = EFFORT_STORE;
		sim.link = links[i];
		sim.share = shares[i];
		sim_run(&sim, 2);
		double rate = sim_measure(&sim, 4), most = best_possible(&sim, &plain, 9, &best);
		g_test_message("link %.0f MB/s, share %.2f: %s, best %s, %.3f of it",
			       links[i] / 1e6, shares[i],
			       effort_rung(effort_level_now(sim.effort))->name,
			       effort_rung(best)->name, rate / most);
		/* A share below 0.75 is not believed, on purpose: see SHARE_LEAST. */
		g_assert_cmpfloat(rate, >, (shares[i] < 0.75 ? 0.85 : 0.95) * most);
	}
	effort_free(sim.effort);
}

/* QEMU brings less than anybody could take: nothing is learnt about the link that is not so, and the
 * time that is there is used for a moderate effort. */
static void test_idle_source(void)
{
	struct sim sim;
	sim_start(&sim, 2, 100e9, EFFORT_STREAM_9);
	sim_run(&sim, 0.2);
	sim.supply = 20e6;
	sim_run(&sim, 5);
	g_assert_cmpint(effort_level_now(sim.effort), ==, EFFORT_BATCH);
	g_assert_true(isinf(effort_belief(sim.effort).link_bytes_s));
	/* It brings more than BATCH can do without becoming the limit, and at last what only storing can. */
	sim.supply = 400e6;
	sim_run(&sim, 5);
	g_assert_cmpint(effort_level_now(sim.effort), ==, EFFORT_LZ4);
	sim.supply = NEVER * 1e3;
	sim_run(&sim, 5);
	g_assert_cmpint(effort_level_now(sim.effort), ==, EFFORT_STORE);
	effort_free(sim.effort);

	sim_start(&sim, 2, 100 * MBIT, EFFORT_STREAM_9);
	sim_run(&sim, 3);
	sim.supply = 1e6;
	sim_run(&sim, 5);
	double believed = effort_belief(sim.effort).link_bytes_s;
	g_assert_cmpfloat(believed, >, 95 * MBIT);
	g_assert_cmpfloat(believed, <, 110 * MBIT);
	effort_free(sim.effort);
}

/* The option holds, whatever would pay. */
static void test_max(void)
{
	const enum effort_level levels[] = { EFFORT_STORE, EFFORT_LZ4, EFFORT_STREAM_3 };
	for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
		struct sim sim;
		sim_start(&sim, 8, 10 * MBIT, levels[i]);
		while (sim.batches < 3000)
			sim_batch(&sim);
		g_assert_cmpint(effort_level_now(sim.effort), ==, levels[i]);
		for (enum effort_level above = levels[i] + 1; above < EFFORT_LEVELS; above++)
			g_assert_cmpuint(sim.used[above], ==, 0);
		effort_free(sim.effort);
	}
}

/* The time until a tail is across: on a slow link close to that of the best level, on a fast link
 * one that does not wait for encoders. */
static double tail_s(const struct sim *sim, enum effort_level level, double bytes)
{
	double one_s = true_ns_per_byte(sim, &plain, level) / 1e9;
	double at_once = CLAMP(bytes / BATCH, 1, sim->workers);
	double wire_s = 1 / true_ratio(&plain, level) / sim->link;
	return MAX(bytes * one_s / at_once, MIN(bytes, BATCH) * one_s + bytes * wire_s);
}

static void test_tail(void)
{
	const double links[] = { 10 * MBIT, 100 * MBIT, 1000 * MBIT, 10000 * MBIT };
	const double tails[] = { 4096, BATCH, 8 * BATCH, 100 * BATCH };
	for (unsigned i = 0; i < G_N_ELEMENTS(links) * G_N_ELEMENTS(tails); i++) {
		struct sim sim;
		double least = INFINITY;
		sim_start(&sim, 4, links[i % 4], EFFORT_STREAM_9);
		while (sim.now < 2 || sim.batches < 3000)
			sim_batch(&sim);
		enum effort_level before = effort_level_now(sim.effort);
		effort_set_tail(sim.effort, (uint64_t) tails[i / 4]);
		enum effort_level now = effort_choose(sim.effort, 1);
		for (enum effort_level level = 0; level < EFFORT_LEVELS; level++)
			if (level == before || !effort_rung(level)->continuing)
				least = MIN(least, tail_s(&sim, level, tails[i / 4]));
		g_assert_cmpfloat(tail_s(&sim, now, tails[i / 4]), <, least * 1.1);
		g_assert_true(now == before || !effort_rung(now)->continuing);
		/* It goes back where it was. */
		effort_set_tail(sim.effort, 0);
		g_assert_cmpint(effort_level_now(sim.effort), ==, before);
		effort_free(sim.effort);
	}
}

static void test_region_packing(void)
{
	struct regions *regions = regions_new();
	struct region *region = regions_find(regions, 7);
	unsigned tried = 0;
	g_assert_true(region_wants_pack(region, EFFORT_LZ4));
	region_note_pack(region, EFFORT_LZ4, 1000, 951);
	region_note_pack(region, EFFORT_LZ4, 1000, 950); /* it gains: the strike is forgotten */
	region_note_pack(region, EFFORT_LZ4, 1000, 951);
	g_assert_true(region_wants_pack(region, EFFORT_LZ4));
	region_note_pack(region, EFFORT_LZ4, 1000, 1010);
	for (unsigned i = 0; i < 160; i++)
		tried += region_wants_pack(region, EFFORT_LZ4);
	g_assert_cmpuint(tried, ==, 10);
	/* A higher effort has not failed yet. */
	g_assert_true(region_wants_pack(region, EFFORT_BATCH));
	region_note_pack(region, EFFORT_BATCH, 1000, 990);
	g_assert_false(region_wants_pack(region, EFFORT_BATCH));
	g_assert_true(region_wants_pack(regions_find(regions, 8), EFFORT_LZ4));
	/* The memory is used for something else. */
	region = regions_find(regions, 7);
	region_note_pack(region, EFFORT_BATCH, 1000, 400);
	g_assert_true(region_wants_pack(region, EFFORT_LZ4));
	regions_free(regions);
}

/* Numbers that a caller may come up with: nothing divides by zero, nothing is out of range. */
static void test_any_numbers(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(1);
	const uint64_t numbers[] = { 0, 1, 4096, BATCH, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX };
	for (unsigned round = 0; round < 200; round++) {
		struct effort_config config = {
			.workers = (unsigned) g_rand_int_range(rand, 0, 5),
			.max = (enum effort_level) g_rand_int_range(rand, 0, 20),
			.link_bytes_s = g_rand_int_range(rand, 0, 2) * 1e6
		};
		struct effort *effort = effort_new(&config);
#define ANY numbers[g_rand_int_range(rand, 0, G_N_ELEMENTS(numbers))]
		for (unsigned i = 0; i < 300; i++) {
			struct effort_batch batch = {
				ANY, (enum effort_level) g_rand_int_range(rand, 0, 12),
				ANY, ANY,
				ANY, ANY
			};
			struct effort_link link = { ANY, ANY, ANY, ANY };
			effort_note_batch(effort, &batch);
			effort_note_link(effort, &link);
			if (i % 10 == 0)
				effort_set_tail(effort, ANY);
			enum effort_level level = effort_choose(effort, ANY);
			g_assert_cmpint(level, <=, config.max);
			g_assert_cmpint(level, <, EFFORT_LEVELS);
			struct effort_belief belief = effort_belief(effort);
			g_assert_false(isnan(belief.link_bytes_s) || isnan(belief.speed) ||
				       isnan(belief.ratio) || isnan(belief.share));
		}
#undef ANY
		effort_free(effort);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/effort/fast-link-stores", test_fast_link_stores);
	g_test_add_func("/effort/local-link", test_local_link);
	g_test_add_func("/effort/near-the-best", test_near_the_best);
	g_test_add_func("/effort/mixed-regions", test_mixed_regions);
	g_test_add_func("/effort/parts", test_parts);
	g_test_add_func("/effort/changes", test_changes);
	g_test_add_func("/effort/idle-source", test_idle_source);
	g_test_add_func("/effort/max", test_max);
	g_test_add_func("/effort/tail", test_tail);
	g_test_add_func("/effort/region-packing", test_region_packing);
	g_test_add_func("/effort/any-numbers", test_any_numbers);
	return g_test_run();
}
