/* SPDX-License-Identifier: Apache-2.0 */
/* Forecasts: the dirty model, pre-copy as modelled, what past moves teach, and how it is scored. */
#include "forecast/history.h"
#include "forecast/learn.h"
#include "forecast/score.h"

#include "base/json.h"

#include <math.h>

static void assert_near(double value, double expected, double part)
{
	if (fabs(value - expected) > part * fabs(expected))
		g_error("%g is not within %g %% of %g", value, part * 100, expected);
}

/* ---- dirty pages ---- */

/* Looks that follow a law are foreseen, beyond the last of them as well. */
static void test_dirty(void)
{
	static const struct dirty_model laws[] = {
		{ 4000, 0.8, 0 },
		{ 0, 1, 500 },
		{ 2000, 0.4, 300 },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(laws); i++) {
		struct dirty_look looks[3] = { { 0.25, 0 }, { 1, 0 }, { 4, 0 } };
		for (int j = 0; j < 3; j++)
			looks[j].pages = dirty_pages(&laws[i], looks[j].seconds);
		struct dirty_model model = dirty_fit(looks, 3);
		assert_near(dirty_pages(&model, 0.5), dirty_pages(&laws[i], 0.5), 0.1);
		assert_near(dirty_pages(&model, 8), dirty_pages(&laws[i], 8), 0.1);
	}
}

/* Looks that are all late explain many taus equally well; none of them is taken by chance. */
static void test_dirty_late_looks(void)
{
	for (int pages = 900; pages < 1000; pages++) {
		const struct dirty_look looks[] = { { 1.1, pages }, { 4.1, pages * 1.3 } };
		struct dirty_model model = dirty_fit(looks, 2);
		assert_near(dirty_pages(&model, 0.05), pages * 0.14, 0.15);
		assert_near(dirty_pages(&model, 4.1), pages * 1.3, 0.05);
	}
	/* an early one decides */
	const struct dirty_look often[] = { { 0.15, 850 }, { 1.1, 900 }, { 4.1, 920 } };
	struct dirty_model model = dirty_fit(often, 3);
	g_assert_cmpfloat(dirty_pages(&model, 0.1), >, 600);
}

static void test_dirty_edges(void)
{
	struct dirty_model none = dirty_fit(NULL, 0);
	g_assert_cmpfloat(dirty_pages(&none, 100), ==, 0);
	const struct dirty_look still[] = { { 1, 0 }, { 4, 0 } };
	none = dirty_fit(still, 2);
	g_assert_cmpfloat(dirty_pages(&none, 100), <, 1);
	/* fewer at the second look: never less than nothing, and finite */
	const struct dirty_look odd[] = { { 1, 500 }, { 4, 300 } };
	struct dirty_model model = dirty_fit(odd, 2);
	g_assert_cmpfloat(dirty_pages(&model, 4), >, 100);
	g_assert_cmpfloat(dirty_pages(&model, 1000), <, 1e6);
}

/* ---- the model ---- */

static struct plan_facts plain_facts(void)
{
	return (struct plan_facts){
		.memory = 1 << 30,
		.vcpus = 2,
		.sample_pages = 16384,
		.whole_pages = 262144,
		.zero = 0.5,
		.data = 0.5,
		.batch = { 0.4, 400e6 },
		.stream = { 0.35, 150e6 },
		.changed_bytes = 200,
		.looks = { { 1, 500 }, { 4, 800 } },
		.look_count = 2,
		.link_rate = 12.5e6,
		.round_trip_ms = 0.2,
		.hosts = { { 8, 1, 0.1, 0, 500e6, 0 }, { 8, 1, 0.1, 0, 500e6, 0 } },
		.max_downtime_ms = 100,
		.workers = 2,
	};
}

#define HEAD_START_S 0.8 /* of who looks through an image, as src/forecast/model.c */

/* What lies on disks that the destination has costs a few bytes a page; where it must first look through them, what
 * went before is sent whole; a rehearsal has seen those on shared disks. */
static void test_model_references(void)
{
	struct plan_facts facts = plain_facts();
	double whole = plan_model(&facts, PLAN_LIVE).bytes;
	double whole_ms = plan_model(&facts, PLAN_LIVE).copy_ms;
	facts.on_indexed = 0.5;
	assert_near(plan_model(&facts, PLAN_LIVE).bytes, whole * 0.5, 0.03);
	assert_near(plan_model(&facts, PLAN_LIVE).copy_ms, whole_ms * 0.55, 0.1);
	facts.on_copied = 0.3;
	assert_near(plan_model(&facts, PLAN_LIVE).bytes, whole * 0.2, 0.06);
	facts.on_copied = facts.on_indexed = 0;
	facts.on_new = 0.5;
	facts.look_through_s = whole_ms / 1e3 + HEAD_START_S;
	assert_near(plan_model(&facts, PLAN_LIVE).bytes, whole * 0.75, 0.03);
	facts.look_through_s = whole_ms / 1e3 * 3; /* longer than all of it */
	assert_near(plan_model(&facts, PLAN_LIVE).bytes, whole, 0.03);
	facts.on_new = 0;
	facts.twice = 0.3; /* what was sent once is named */
	assert_near(plan_model(&facts, PLAN_LIVE).bytes, whole * 0.7, 0.05);
	facts.twice = 0;
	facts.on_new = 9; /* nonsense stays finite */
	facts.look_through_s = 0;
	g_assert_cmpfloat(plan_model(&facts, PLAN_LIVE).bytes, >, 0);
}

/* A copied disk is what was found in it: it packs in its own way, and what the destination has is named. */
static void test_model_content(void)
{
	struct plan_facts facts = plain_facts();
	double bytes, ms, mib = 1 << 20;
	facts.disk_bytes = 400 * mib;
	plan_disks_ms(&facts, &bytes);
	assert_near(bytes, 400 * mib * 0.35 * 1.05,
		    0.01); /* as the memory: nothing better is known */
	facts.disk_own = 200 * mib;
	facts.disk_batch = (struct facts_packing){ 0.6, 400e6 };
	facts.disk_stream = (struct facts_packing){ 0.5, 150e6 };
	ms = plan_disks_ms(&facts, &bytes);
	assert_near(bytes, 200 * mib * 0.5 * 1.05, 0.02);
	assert_near(ms, bytes / 12.5e6 * 1e3, 0.02);
	facts.disk_named = 200 * mib;
	plan_disks_ms(&facts, &bytes);
	assert_near(bytes, 200 * mib * 0.5 * 1.05, 0.03);
	/* and what is written meanwhile follows */
	g_assert_cmpfloat(plan_written_bytes(&facts, 10), ==, 0);
	facts.disk_write_rate = mib;
	assert_near(plan_written_bytes(&facts, 10), 10 * mib * 0.5 * 1.05, 0.03);
	facts.disk_write_rate = 0;
	/* an image that is looked through first is known for its later half, if that takes as long as the copy */
	facts.disk_own = facts.disk_named = 0;
	facts.disk_found = 200 * mib;
	facts.disk_look_s = 200 * mib * 0.5 / 12.5e6 + HEAD_START_S;
	plan_disks_ms(&facts, &bytes);
	assert_near(bytes, 100 * mib * 0.5 * 1.05, 0.03);
}

/* Half a GiB at 12.5 MB/s, packed to 0.35: 16 s and something. */
static void test_model_link(void)
{
	struct plan_facts facts = plain_facts();
	struct model_result live = plan_model(&facts, PLAN_LIVE);
	double bytes = 512.0 * 1024 * 1024 * 0.35 * 1.05;
	assert_near(live.bytes, bytes, 0.05);
	assert_near(live.copy_ms, bytes / 12.5e6 * 1e3, 0.1);
	g_assert_true(live.link_bound);
	g_assert_true(live.converges);
	g_assert_cmpfloat(live.stop_ms, <, 60);
	/* four times the link: a quarter of the time, and packed with less effort */
	facts.link_rate *= 4;
	struct model_result faster = plan_model(&facts, PLAN_LIVE);
	assert_near(faster.copy_ms, live.copy_ms / 4, 0.25);
	/* a cap is a slower link */
	facts.bandwidth = 12.5e6;
	assert_near(plan_model(&facts, PLAN_LIVE).copy_ms, live.copy_ms, 0.06);
	/* two processors that others use are too few for all that works at a time */
	facts.hosts[0] = (struct facts_host){ .cpus = 2, .busy = 0.5, .speed = 700e6 };
	g_assert_cmpfloat(plan_model(&facts, PLAN_LIVE).copy_ms, >, live.copy_ms * 1.05);
	facts.hosts[0].cpus = 32;
	assert_near(plan_model(&facts, PLAN_LIVE).copy_ms, live.copy_ms, 0.06);
	/* over a long way it takes longer, and so does the stop */
	facts.round_trip_ms += 100;
	struct model_result far = plan_model(&facts, PLAN_LIVE);
	g_assert_cmpfloat(far.copy_ms, >, live.copy_ms + 1000);
	g_assert_cmpfloat(far.stop_ms, >, live.stop_ms + 100);
}

static void test_model_strategies(void)
{
	struct plan_facts facts = plain_facts();
	struct model_result live = plan_model(&facts, PLAN_LIVE);
	struct model_result quick = plan_model(&facts, PLAN_QUICK);
	g_assert_cmpfloat(quick.copy_ms, <=, live.copy_ms);
	g_assert_cmpfloat(quick.stop_ms, <, quick.copy_ms);
	assert_near(quick.stop_ms, quick.copy_ms, 0.01);
	g_assert_cmpfloat(plan_model(&facts, PLAN_POSTCOPY).stop_ms, <, live.stop_ms + 10);
	/* with a first pass before, it stands still for what was dirtied in it */
	facts.prewarm = 1;
	g_assert_cmpfloat(plan_model(&facts, PLAN_QUICK).stop_ms, <, quick.stop_ms / 10);
}

/* What a rehearsal saw of the disks is believed before the link's rate, and a cap on them counts without one. */
static void test_model_disks(void)
{
	struct plan_facts facts = plain_facts();
	double bytes;
	g_assert_cmpfloat(plan_disks_ms(&facts, &bytes), ==, 0);
	facts.disk_bytes = 1e9;
	double ms = plan_disks_ms(&facts, &bytes);
	assert_near(ms, bytes / 12.5e6 * 1e3, 0.01);
	facts.disk_bandwidth = 10e6;
	assert_near(plan_disks_ms(&facts, &bytes), 100e3, 0.01);
	facts.disk_rate = 20e6;
	facts.disk_share = 0.5;
	assert_near(plan_disks_ms(&facts, &bytes), 50e3, 0.01);
	assert_near(bytes, 0.5e9, 0.01);
	/* it saw only what the destination had, and more is to come */
	struct plan_facts looked = facts;
	looked.disk_share = 0.01;
	looked.disk_own = looked.disk_named = 0.5e9;
	looked.disk_stream = looked.disk_batch = (struct facts_packing){ 0.4, 400e6 };
	plan_disks_ms(&looked, &bytes);
	assert_near(bytes, 0.5e9 * 0.4 * 1.05, 0.02);
	/* and so of the pages: half of those on the disk were references then */
	looked.page_s = 1e-4;
	looked.page_bytes = 1000;
	looked.data_pages = 100000;
	looked.looks[0].pages = looked.looks[1].pages = 0;
	looked.on_copied = 0.8;
	assert_near(plan_model(&looked, PLAN_LIVE).bytes, 1e8 * 0.2 / 0.6, 0.06);
	/* half as much is written anew */
	facts.disk_write_rate = 10e6;
	assert_near(plan_disks_ms(&facts, &bytes), 100e3, 0.01);
}

/* Random pages, all of 64 MiB anew each second, over a link that takes 5: never. */
static void test_model_hopeless(void)
{
	struct plan_facts facts = plain_facts();
	facts.looks[0] = (struct dirty_look){ 1, 16384 };
	facts.looks[1] = (struct dirty_look){ 4, 16384 };
	facts.changed_bytes = 4000;
	struct model_result live = plan_model(&facts, PLAN_LIVE);
	g_assert_false(live.converges);
	g_assert_cmpfloat(live.stop_ms, >, 1000);
	g_assert_cmpfloat(live.needed_ms, >, live.stop_ms);
	/* with that ceiling it would */
	facts.max_downtime_ms = live.needed_ms * 1.01;
	g_assert_true(plan_model(&facts, PLAN_LIVE).converges);
}

/* What is written costs as much as it was counted, and what was counted is believed within bounds. */
static void test_model_dirtied(void)
{
	struct plan_facts facts = plain_facts();
	facts.looks[0] = (struct dirty_look){ 1, 4000 };
	facts.looks[1] = (struct dirty_look){ 4, 4000 };
	facts.changed_bytes = 4000;
	facts.prewarm = 1;
	double usual = plan_model(&facts, PLAN_QUICK).stop_ms;
	facts.dirtied_rate = 200; /* less than is counted well */
	g_assert_cmpfloat(plan_model(&facts, PLAN_QUICK).stop_ms, ==, usual);
	facts.dirtied_rate = 3000; /* fewer than were seen to change: as many */
	double least = plan_model(&facts, PLAN_QUICK).stop_ms;
	g_assert_cmpfloat(least, <, usual);
	facts.dirtied_rate = 12000;
	double some = plan_model(&facts, PLAN_QUICK).stop_ms;
	g_assert_cmpfloat(some, >, usual);
	facts.dirtied_rate = 2 * 12000;
	double more = plan_model(&facts, PLAN_QUICK).stop_ms;
	g_assert_cmpfloat(more, >, some);
	facts.dirtied_rate = 1e6;
	double most = plan_model(&facts, PLAN_QUICK).stop_ms;
	facts.dirtied_rate = 1e9;
	g_assert_cmpfloat(plan_model(&facts, PLAN_QUICK).stop_ms, ==, most);
	facts.look_count = 0; /* nothing to compare it with */
	g_assert_cmpfloat(plan_model(&facts, PLAN_QUICK).stop_ms, <, usual);
}

/* A disk that is written to at a third of the link's rate takes half as long again. */
static void test_model_disk_writes(void)
{
	struct plan_facts facts = plain_facts();
	double bytes;
	g_assert_cmpfloat(plan_disks_ms(&facts, &bytes), ==, 0);
	facts.disk_bytes = 100e6;
	double idle = plan_disks_ms(&facts, &bytes);
	assert_near(idle, 100e6 * 0.35 * 1.05 / 12.5e6 * 1e3, 0.01);
	facts.disk_write_rate = 12.5e6 / 3 / 0.35;
	assert_near(plan_disks_ms(&facts, &bytes), idle * 1.5, 0.01);
	facts.disk_write_rate = 1e12;
	g_assert_true(isfinite(plan_disks_ms(&facts, &bytes)));
}

/* ---- learning ---- */

static const struct learn_prior prior = { { 2000, 1, 1, 1 }, 0.25, 1.5, { 0.03, 1, 1, 1 } };

static struct learn_case learnt(double model, double outcome, double weight)
{
	return (struct learn_case){ { 1, model }, outcome, weight };
}

static struct forecast_range ask(const struct learn_case *cases, unsigned count, double model)
{
	return learn_forecast(cases, count, &prior, (double[LEARN_PARTS]){ 1, model });
}

static void test_learn(void)
{
	struct learn_case cases[20];
	struct forecast_range first = ask(NULL, 0, 1000);
	assert_near(first.p50, 3000, 0.001);
	g_assert_cmpfloat(first.p90, >, first.p50 * 1.2);
	/* this site: 800 ms fixed, and the model is a third too low */
	for (int i = 0; i < 20; i++)
		cases[i] = learnt(500 + 300 * i, 800 + 1.5 * (500 + 300 * i), 1);
	struct forecast_range taught = ask(cases, 20, 3000);
	assert_near(taught.p50, 5300, 0.03);
	g_assert_cmpfloat(taught.p90 / taught.p50, <, first.p90 / first.p50);
	/* hosts that need eight times as long for any move are known after three of them */
	for (int i = 0; i < 3; i++)
		cases[i] = learnt(2000 + 2000 * i, 8000 + (2000 + 2000 * i), 0.8);
	assert_near(ask(cases, 3, 3000).p50, 11000, 0.08);
	/* what is like nothing seen has no weight */
	for (int i = 0; i < 20; i++)
		cases[i].weight = 0;
	assert_near(ask(cases, 20, 1000).p50, 3000, 0.001);
}

/* What one part explains is not said of a move without it. */
static void test_learn_parts(void)
{
	static const struct learn_prior stops = { { 20, 1, 1, 1 }, 0.35, 1, { 0.03, 0.3, 0.3, 1 } };
	struct learn_case cases[12];
	for (int i = 0; i < 12; i++) {
		double trips = 84 * (i % 3) / 2, mirrors = i % 2 ? trips * 2 : 0;
		cases[i] = (struct learn_case){ { 1, trips, mirrors, 2 },
						25 + trips + 1.6 * mirrors,
						1 };
	}
	double near[LEARN_PARTS] = { 1, 0, 0, 2 }, far[LEARN_PARTS] = { 1, 84, 0, 2 },
	       copied[LEARN_PARTS] = { 1, 84, 168, 2 };
	assert_near(learn_forecast(cases, 12, &stops, near).p50, 25, 0.08);
	assert_near(learn_forecast(cases, 12, &stops, far).p50, 109, 0.08);
	assert_near(learn_forecast(cases, 12, &stops, copied).p50, 25 + 84 + 269, 0.08);
}

static void test_learn_edges(void)
{
	/* a single absurd case must not make a forecast of less than nothing */
	const struct learn_case odd = learnt(100000, 10, 1);
	struct forecast_range range = ask(&odd, 1, 10);
	g_assert_cmpfloat(range.p50, >, 0);
	g_assert_true(isfinite(range.p90) && range.p90 >= range.p50);
	g_assert_cmpfloat(learn_weight(1, 1, 0), ==, 1);
	g_assert_cmpfloat(learn_weight(false, 1, 0), <, 1);
	g_assert_cmpfloat(learn_weight(true, 0, 0), <, learn_weight(true, 0.8, 0));
	g_assert_cmpfloat(learn_weight(1, 1, 30), ==, 0.5);
}

/* How long it takes until the facts are known is uncertain, too, and the bound says so. */
static void test_elapsed(void)
{
	struct plan_facts facts = plain_facts();
	struct plan_past past[8];
	for (int i = 0; i < 8; i++)
		past[i] = (struct plan_past){ .facts = facts,
					      .same_vm = true,
					      .nearness = 1,
					      .elapsed_ms = 1000,
					      .total_ms = 21000,
					      .stop_ms = 80,
					      .bytes = 190e6 };
	struct forecast steady =
		plan_look_ahead(&facts, PLAN_LIVE, past, 8, PLAN_BY_ITSELF).forecast;
	for (int i = 0; i < 8; i++) {
		past[i].elapsed_ms += i % 2 ? 900 : -900;
		past[i].total_ms += i % 2 ? 900 : -900;
	}
	struct forecast varied =
		plan_look_ahead(&facts, PLAN_LIVE, past, 8, PLAN_BY_ITSELF).forecast;
	struct forecast known = plan_look_ahead(&facts, PLAN_LIVE, past, 8, 1000).forecast;
	assert_near(varied.total_ms.p50, steady.total_ms.p50, 0.01);
	g_assert_cmpfloat(varied.total_ms.p90, >, steady.total_ms.p90 + 50);
	g_assert_cmpfloat(known.total_ms.p90, <, varied.total_ms.p90);
}

/* ---- kept and read again ---- */

static void test_kept(void)
{
	struct plan_facts facts = plain_facts(), read;
	g_autoptr(JsonObject) object = plan_facts_describe(&facts);
	plan_facts_read(&read, object);
	g_assert_cmpmem(&facts, sizeof(facts), &read, sizeof(read));
	struct plan_outlook outlook = plan_look_ahead(&facts, PLAN_LIVE, NULL, 0, 1500);
	g_autoptr(JsonObject) kept = plan_history_describe(&facts, &outlook, 1500, true);
	g_autofree char *forecast = json_print_object(kept);
	struct plan_past past;
	struct plan_outlook said;
	g_assert_true(plan_history_read(
		forecast,
		"{\"outcome\": \"migrated\", \"times\": {\"total_ms\": 20000, \"downtime_ms\": 80},"
		" \"bytes\": {\"wire_sent\": 190000000}}",
		&past, &said));
	g_assert_true(past.planned);
	g_assert_cmpfloat(past.total_ms, ==, 20000);
	assert_near(said.forecast.total_ms.p50, outlook.forecast.total_ms.p50, 0.01);
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"outcome\": \"failed\"}",
		"{\"outcome\": \"migrated\"}",
		"{\"outcome\": \"migrated\", \"times\": [], \"bytes\": 3}",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_false(plan_history_read(forecast, bad[i], &past, NULL));
		g_assert_false(plan_history_read(bad[i], "{}", &past, NULL));
	}
	g_assert_false(plan_history_read(NULL, NULL, &past, NULL));
}

/* ---- the score ---- */

static void test_score(void)
{
	struct score_case cases[4] = { 0 };
	static const double outcomes[] = { 100, 110, 80, 170 };
	for (int i = 0; i < 4; i++) {
		cases[i].said.forecast.total_ms = (struct forecast_range){ 100, 120 };
		cases[i].outcome.total_ms = outcomes[i];
		cases[i].outcome.stop_ms = -1;
	}
	struct score score = score_all(cases, 4, SCORE_TOTAL);
	g_assert_cmpuint(score.count, ==, 4);
	assert_near(score.median_error, 0.15, 0.01);
	g_assert_cmpfloat(score.within_p90, ==, 0.75);
	g_assert_cmpfloat(score.within_half, ==, 0.75);
	g_assert_cmpuint(score_all(cases, 4, SCORE_STOP).count, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/plan/dirty", test_dirty);
	g_test_add_func("/plan/dirty-edges", test_dirty_edges);
	g_test_add_func("/plan/dirty-late-looks", test_dirty_late_looks);
	g_test_add_func("/plan/model-link", test_model_link);
	g_test_add_func("/plan/model-references", test_model_references);
	g_test_add_func("/plan/model-content", test_model_content);
	g_test_add_func("/plan/model-strategies", test_model_strategies);
	g_test_add_func("/plan/model-disks", test_model_disks);
	g_test_add_func("/plan/model-hopeless", test_model_hopeless);
	g_test_add_func("/plan/model-dirtied", test_model_dirtied);
	g_test_add_func("/plan/model-disk-writes", test_model_disk_writes);
	g_test_add_func("/plan/learn", test_learn);
	g_test_add_func("/plan/learn-parts", test_learn_parts);
	g_test_add_func("/plan/learn-edges", test_learn_edges);
	g_test_add_func("/plan/elapsed", test_elapsed);
	g_test_add_func("/plan/kept", test_kept);
	g_test_add_func("/plan/score", test_score);
	return g_test_run();
}
