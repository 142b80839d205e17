/* SPDX-License-Identifier: Apache-2.0 */
/* Works a move's time, bytes and stop out from the facts. */
#include "forecast/model.h"

#include "forecast/rules.h"

#include <glib.h>
#include <math.h>

static const char *const strategy_names[] = {
	[PLAN_LIVE] = "live",
	[PLAN_POSTCOPY] = "postcopy",
	[PLAN_QUICK] = "quick",
};
_Static_assert(G_N_ELEMENTS(strategy_names) == PLAN_STRATEGY_LAST, "every strategy has a name");

const char *plan_strategy_name(enum plan_strategy strategy)
{
	return strategy_names[strategy];
}

enum { ROUNDS_MOST = 30 };

/* Where nothing was measured. */
static const double default_pipe = 1e9, default_link = 1e9 / 8, default_share = 0.35,
		    default_speed = 330e6;
static const double zero_rate = 4e9; /* QEMU's look for zeros, bytes a second */
static const double page = 4096,
		    page_head = 12; /* bytes on the wire for a page that is only named */
/* So often is a page read on its way: QEMU, sorting, packing, tags; at the rate of facts_host.speed. Fitted to
 * moves of the lab. */
static const double passes = 4;
/* A block that the destination reads, most of them from its page cache and several at once. */
static const double read_block_s = 15e-6;
static const double head_start_s = 0.8;
static const double wire_overhead = 1.05; /* Ethernet, IP, TCP, TLS */
/* QEMU's rounds follow what was written; a sample sees what is different. Where QEMU has not counted: */
static const double usual_dirtied = 1.2;
/* It counts whole MiB, so little says nothing; and what is written only as it was may be any number of
 * times what is changed, most of it by chance of what a second holds. */
static const double dirtied_least = 1000, dirtied_most = 20;
/* Background of any kernel: timers, statistics; pages a second until they are all met. */
static const struct dirty_model kernel_pages = { 150, 0.5, 0 };
static const double round_s = 0.012; /* of each round, to look for dirty pages */
/* Round trips of a move: control, connections that open their windows; and of the stop: what is on its way
 * (src/link/window.h), the proof at the gate and its answer. */
static const double move_trips = 35, stop_trips = 2.1;
static const double rehearsed_trips = 10; /* the others are in what the rehearsal took */
/* More of them where disks are copied: libvirt ends the mirrors in the stop, and each end of one is what was on its
 * way, a flush, and the answer to both. Fitted to moves of the lab. */
static const double mirror_trips = 4;
/* Of each stop, on the wire: the state of devices, what is in the movers' hands. Fitted to moves of the lab. */
static const double last_bytes = 120e3;

/* ---- rates ---- */

struct rates {
	double link;
	double first_s, first_bytes; /* of a page that holds something, in the first pass */
	double later_s, later_bytes; /* of a changed page */
	double named_s;              /* of one that is as it was */
	double read_s;               /* of one that the destination reads from a disk */
	double dirtied;              /* pages that were written, for each that was changed */
	bool link_bound;
};

static double link_rate(const struct plan_facts *facts)
{
	/* the probe counts what arrives, a cap what the wire carries */
	double rate = facts->link_rate > 0 ? facts->link_rate : default_link;
	return facts->bandwidth > 0 ? fmin(rate, facts->bandwidth / wire_overhead) : rate;
}

/* The encoders take the rung that gives the most; where the link is slow that is the hard one. */
static double pack_bytes(const struct plan_facts *facts, const struct facts_packing *packing,
			 double link, double *bytes)
{
	double workers = facts->workers > 0 ? facts->workers : 1;
	double share = packing->share > 0 ? packing->share : default_share;
	double speed = packing->speed > 0 ? packing->speed : default_speed;
	*bytes = page * share + page_head;
	return fmax(*bytes / link, page / (speed * workers));
}

/* Both over the same second. */
static double dirtied_for_changed(const struct plan_facts *facts)
{
	if (facts->look_count == 0 || facts->dirtied_rate < dirtied_least)
		return usual_dirtied;
	struct dirty_model model = dirty_fit(facts->looks, facts->look_count);
	double changed = dirty_pages(&model, 1) + dirty_pages(&kernel_pages, 1);
	return fmin(fmax(facts->dirtied_rate / changed, 1), dirtied_most);
}

/* Where fewer processors are idle than threads want one (QEMU's, the mover's, its encoders), they do not work
 * side by side but in turn. */
static double in_turn_s(const struct plan_facts *facts)
{
	const struct facts_host *host = &facts->hosts[0];
	double idle = host->cpus * (1 - host->busy), wanted = 2 + facts->workers;
	if (host->speed <= 0 || idle >= wanted)
		return 0;
	return passes * page / host->speed * (1 - idle / wanted);
}

/* The better of both, at what QEMU gives. */
static double pack_best(const struct plan_facts *facts, const struct facts_packing *batch,
			const struct facts_packing *stream, double link, double *bytes)
{
	double hard_bytes, least = page / default_pipe;
	double easy = fmax(pack_bytes(facts, batch, link, bytes), least);
	double hard = fmax(pack_bytes(facts, stream, link, &hard_bytes), least);
	if (hard >= easy * 0.97)
		return easy;
	*bytes = hard_bytes;
	return hard;
}

static struct rates find_rates(const struct plan_facts *facts)
{
	struct rates rates = { .link = link_rate(facts) };
	double bytes, least = page / default_pipe;
	double first_s = pack_best(facts, &facts->batch, &facts->stream, rates.link, &bytes);
	rates.first_bytes = bytes;
	rates.first_s = first_s + in_turn_s(facts);
	rates.link_bound = bytes / rates.link > least;
	if (facts->page_s > 0) {
		/* seen: with the overhead of the wire, and with the zeros between */
		rates.first_s = facts->page_s;
		rates.first_bytes = facts->page_bytes / wire_overhead;
	}
	rates.later_bytes =
		(facts->changed_bytes > 0 ? fmin(facts->changed_bytes, bytes) : bytes) + page_head;
	rates.named_s = fmax(page_head / rates.link, least / 4);
	rates.read_s = fmax(rates.named_s, read_block_s);
	rates.later_s = fmax(rates.later_bytes / rates.link, least);
	rates.dirtied = dirtied_for_changed(facts);
	return rates;
}

/* ---- the memory ---- */

static struct dirty_model changes(const struct plan_facts *facts)
{
	return dirty_fit(facts->looks, facts->look_count);
}

static double pages_of(const struct plan_facts *facts)
{
	return facts->memory / page;
}

static double data_share(const struct plan_facts *facts)
{
	return facts->sample_pages > 0 ? facts->data + facts->unknown : 0.5;
}

/* Of an image that must first be looked through more and more is known while it is needed; and that is begun before
 * libvirt has the destination's QEMU started. */
static double known_part(double look_s, double seconds)
{
	double late_s = fmax(look_s - head_start_s, 0);
	return seconds > 0 ? fmax(1 - late_s / 2 / seconds, 0) : 0;
}

/* A rehearsal of the memory has no copied disks to refer to, but what they have in common with images at the
 * destination was there: of the rest of the pages, the part that will be on copied disks. */
static double part_unseen(const struct plan_facts *facts)
{
	double all = facts->disk_own + facts->disk_named + facts->disk_found;
	double part = fmin(facts->on_copied, 1);
	double seen = all > 0 ? part * (1 - facts->disk_own / all) : 0;
	return seen < 1 ? (part - seen) / (1 - seen) : 0;
}

/* The part of the pages that travel as references to disks. A rehearsal has seen those on shared ones. */
static double part_on_disks(const struct plan_facts *facts, double pass_s)
{
	double part = facts->on_copied;
	if (facts->page_s > 0)
		return part_unseen(facts);
	double known = known_part(facts->look_through_s, pass_s);
	return fmin(part + facts->on_indexed + facts->on_new * known, 1);
}

static void first_pass(const struct plan_facts *facts, const struct rates *rates,
		       struct model_result *result)
{
	double data =
		facts->data_pages > 0 ? facts->data_pages : pages_of(facts) * data_share(facts);
	double zeros = facts->page_s > 0 ? 0 : pages_of(facts) - data;
	double head = 9; /* QEMU's record of a zero page; runs of them are named once */
	double on_disks = data * part_on_disks(facts, data * rates->first_s);
	double twice = facts->page_s > 0 ? 0 : fmin(data * facts->twice, data - on_disks);
	double sent = data - on_disks - twice;
	result->copy_ms += (sent * rates->first_s + on_disks * rates->read_s +
			    twice * rates->named_s + zeros * page / zero_rate) *
			   1e3;
	result->bytes +=
		(sent * rates->first_bytes + (on_disks + twice) * page_head) * wire_overhead +
		zeros * head / 64;
	result->link_bound = rates->link_bound;
}

/* Of pages that were CHANGED, some more were only written. */
static double later_s(const struct rates *rates, double changed)
{
	return changed * rates->later_s + changed * (rates->dirtied - 1) * rates->named_s;
}

static double changed_in(const struct dirty_model *model, double seconds)
{
	return dirty_pages(model, seconds) + dirty_pages(&kernel_pages, seconds);
}

/* What QEMU leaves to the stop, where little enough remains: its limit is known only once a round has begun, and what
 * remained is gone by then, so it is what was dirtied meanwhile; half of it, on the average. */
static double left_s(const struct rates *rates, const struct dirty_model *model, double seconds)
{
	for (int i = 0; i < 2; i++)
		seconds = fmin(later_s(rates, changed_in(model, seconds + round_s)), seconds);
	return seconds / 2;
}

static void run_rounds(const struct plan_facts *facts, const struct rates *rates,
		       struct model_result *result)
{
	struct dirty_model model = changes(facts);
	result->stop_mirrors_ms = facts->disk_bytes > 0 ? mirror_trips * facts->round_trip_ms : 0;
	result->stop_trips_ms = stop_trips * facts->round_trip_ms + result->stop_mirrors_ms;
	double latency_s = result->stop_trips_ms / 1e3 + last_bytes / rates->link;
	double top_s = facts->max_downtime_ms / 1e3 * rule_top_share;
	double easy_s = (facts->easy_ms > 0 ? facts->easy_ms : RULE_EASY_MS) / 1e3;
	double last = INFINITY, changed = changed_in(&model, result->copy_ms / 1e3);
	for (int flat = 0; result->rounds < ROUNDS_MOST; result->rounds++) {
		double seconds = later_s(rates, changed);
		bool easy = seconds <= easy_s;
		flat = changed > last * rule_smaller ? flat + 1 : 0;
		if (easy)
			seconds = left_s(rates, &model, seconds);
		if (easy || flat >= RULE_FLAT_ROUNDS) {
			result->stop_ms = (seconds + latency_s) * 1e3;
			result->converges = easy || seconds + latency_s <= top_s;
			result->needed_ms = (seconds + latency_s) / rule_top_share * 1e3;
			result->copy_ms += result->stop_ms;
			result->bytes += changed * rates->later_bytes * wire_overhead;
			return;
		}
		last = changed;
		result->copy_ms += (seconds + round_s) * 1e3;
		result->bytes += changed * rates->later_bytes * wire_overhead;
		changed = changed_in(&model, seconds + round_s);
	}
}

/* ---- the VM meanwhile ---- */

/* QEMU's thread and the mover's want processors, and take them from the guest when none is idle. */
static double slowdown(const struct plan_facts *facts)
{
	const struct facts_host *host = &facts->hosts[0];
	double idle = host->cpus * (1 - host->busy), wanted = 1 + facts->workers;
	double vcpus = facts->vcpus > 0 ? facts->vcpus : 1;
	double base = 0.02; /* dirty tracking */
	if (host->cpus <= 0)
		return 0.1;
	return fmin(base + fmax(wanted - idle, 0) / (wanted + vcpus), 0.9);
}

/* All of it at once, or, with a first pass before, what was dirtied in that. */
static void stand_still(const struct plan_facts *facts, const struct rates *rates,
			struct model_result *result)
{
	struct dirty_model model = changes(facts);
	double changed = changed_in(&model, result->copy_ms / 1e3);
	if (facts->prewarm <= 0 || facts->paused > 0) {
		result->stop_ms = result->copy_ms;
		return;
	}
	result->stop_ms = later_s(rates, changed) * 1e3;
	result->copy_ms += result->stop_ms;
	result->bytes += changed * rates->later_bytes * wire_overhead;
}

static struct model_result move_memory(const struct plan_facts *facts, enum plan_strategy strategy)
{
	struct rates rates = find_rates(facts);
	struct model_result result = { .rounds = 1, .converges = true };
	first_pass(facts, &rates, &result);
	if (strategy == PLAN_QUICK || facts->paused > 0) {
		stand_still(facts, &rates, &result);
		return result;
	}
	result.slowdown = slowdown(facts);
	if (strategy == PLAN_LIVE) {
		run_rounds(facts, &rates, &result);
		return result;
	}
	/* What was dirtied in the pass is fetched while the VM runs there already. */
	struct dirty_model model = changes(facts);
	double left = changed_in(&model, result.copy_ms / 1e3);
	result.copy_ms += left * rates.first_s * 1e3;
	result.bytes += left * rates.first_bytes * wire_overhead;
	result.stop_ms = facts->round_trip_ms;
	result.slowdown = fmin(result.slowdown + 0.2, 0.9);
	return result;
}

struct model_result plan_model(const struct plan_facts *facts, enum plan_strategy strategy)
{
	struct model_result result = move_memory(facts, strategy);
	double trips = facts->page_s > 0 ? rehearsed_trips : move_trips;
	result.trips_ms = trips * facts->round_trip_ms;
	result.copy_ms += result.trips_ms;
	return result;
}

/* Content that was looked through; before that, as the memory. */
static double content_s(const struct plan_facts *facts, double *bytes)
{
	double link = link_rate(facts), page_bytes;
	double sent = facts->disk_own, named = facts->disk_named;
	if (sent + named + facts->disk_found <= 0) {
		double share = facts->stream.share > 0 ? facts->stream.share : default_share;
		*bytes = facts->disk_bytes * share;
		return *bytes / link;
	}
	double page_s =
		pack_best(facts, &facts->disk_batch, &facts->disk_stream, link, &page_bytes);
	double known = known_part(facts->disk_look_s, (sent + facts->disk_found) / page * page_s);
	sent += facts->disk_found * (1 - known);
	named += facts->disk_found * known;
	*bytes = sent / page * page_bytes + named / page * page_head;
	return sent / page * page_s + named / page * fmax(page_head / link, read_block_s);
}

/* As a rehearsal saw it. That was the disks' beginning: where their content was looked through, it says more of what
 * has to travel. */
static double rehearsed_disks_ms(const struct plan_facts *facts, double *bytes)
{
	double again = fmin(facts->disk_write_rate / facts->disk_rate, 0.9);
	double seconds = facts->disk_bytes / facts->disk_rate;
	if (facts->disk_own + facts->disk_named + facts->disk_found > 0) {
		seconds = fmax(seconds, content_s(facts, bytes) * wire_overhead);
		*bytes *= wire_overhead;
	} else {
		*bytes = facts->disk_bytes * facts->disk_share;
	}
	return seconds / (1 - again) * 1e3;
}

double plan_written_bytes(const struct plan_facts *facts, double seconds)
{
	double bytes, content = facts->disk_own + facts->disk_found;
	if (facts->disk_bytes <= 0)
		return 0;
	pack_best(facts, content > 0 ? &facts->disk_batch : &facts->batch,
		  content > 0 ? &facts->disk_stream : &facts->stream, link_rate(facts), &bytes);
	return facts->disk_write_rate * seconds * bytes / page * wire_overhead;
}

double plan_disks_ms(const struct plan_facts *facts, double *bytes)
{
	if (facts->disk_rate > 0)
		return rehearsed_disks_ms(facts, bytes);
	*bytes = 0;
	if (facts->disk_bytes <= 0)
		return 0;
	double sent_s = content_s(facts, bytes) * wire_overhead;
	double share = *bytes / facts->disk_bytes;
	double most = facts->disk_bandwidth > 0 ? facts->disk_bandwidth : default_pipe;
	double seconds = fmax(sent_s, facts->disk_bytes / fmin(most, default_pipe));
	double again = fmin(facts->disk_write_rate * share / link_rate(facts), 0.9);
	*bytes *= wire_overhead;
	return seconds / (1 - again) * 1e3;
}
