/* SPDX-License-Identifier: Apache-2.0 */
/* The report: one JSON document on one line; and the live line for people. */
#include <stdio.h>
#include <time.h>

#include "prober.h"

void results_begin(struct results *results, uint64_t at_ns)
{
	struct results fresh = {
		.begun_ns = at_ns,
		.last_answer_ns =
			results->last_answer_ns ? at_ns : 0, /* a reset cuts a running gap in two */
		.session_up = results->session_up,
		.session_waiting_since_ns = results->session_waiting_since_ns,
	};

	for (size_t i = 0; i < sizeof(fresh.session_error); i++)
		fresh.session_error[i] = results->session_error[i];
	*results = fresh;
}

static double ms(uint64_t ns)
{
	return (double) ns / 1e6;
}

/* Milliseconds since the beginning; what began earlier says 0. */
static double since(const struct results *results, uint64_t at)
{
	return at > results->begun_ns ? ms(at - results->begun_ns) : 0;
}

/* The round trip below which this share of the answers lies; good to 0.1 ms. */
static double round_quantile(const struct results *results, double share)
{
	uint64_t want = (uint64_t) ((double) results->received * share), seen = 0;

	for (size_t i = 0; i < ROUND_BUCKETS; i++) {
		seen += results->round[i];
		if (seen > want)
			return (double) (i + 1) / 10;
	}
	return 0;
}

static void print_gap(const struct results *results, const struct gap *gap, bool open)
{
	printf("{\"ms\":%.3f,\"at_ms\":%.3f,\"own_ms\":%.3f%s}", ms(gap->length_ns),
	       since(results, gap->begun_ns), ms(gap->own_ns), open ? ",\"open\":true" : "");
}

static void print_udp(const struct results *results, uint64_t end_ns)
{
	struct gap open = {
		.begun_ns = results->last_answer_ns,
		.length_ns = results->last_answer_ns ? end_ns - results->last_answer_ns : 0,
		.own_ns = atomic_load(&prober.own_since_answer_ns),
	};
	bool open_longest = open.length_ns > results->longest.length_ns;
	uint64_t kept = results->gap_count < GAPS_KEPT ? results->gap_count : GAPS_KEPT;

	printf("\"longest_gap\":");
	print_gap(results, open_longest ? &open : &results->longest, open_longest);
	printf(",\"gaps_over_ms\":%.0f,\"gaps\":[", (double) prober.threshold_ms);
	for (uint64_t i = 0; i < kept; i++) {
		printf(i ? "," : "");
		print_gap(results, &results->gaps[i], false);
	}
	if (open.length_ns >= prober.threshold_ms * 1000000ull) {
		printf(kept ? "," : "");
		print_gap(results, &open, true);
	}
	printf("],\"gap_count\":%llu,",
	       (unsigned long long) results->gap_count +
		       (open.length_ns >= prober.threshold_ms * 1000000ull));
	printf("\"udp\":{\"rate\":%u,\"sent\":%llu,\"received\":%llu,\"lost\":%lld,\"duplicate\":%"
	       "llu,\"reordered\":%llu,"
	       "\"send_failed\":%llu,\"round_trip_ms\":{\"least\":%.3f,\"mean\":%.3f,\"median\":%."
	       "1f,\"p99\":%.1f,\"most\":%.3f}},",
	       prober.udp_rate, (unsigned long long) results->sent,
	       (unsigned long long) results->received,
	       (long long) (results->sent - results->received),
	       (unsigned long long) results->duplicate, (unsigned long long) results->reordered,
	       (unsigned long long) results->send_failed, ms(results->round_min_ns),
	       results->received ? ms(results->round_sum_ns) / (double) results->received : 0,
	       round_quantile(results, 0.5), round_quantile(results, 0.99),
	       ms(results->round_max_ns));
}

static void print_tcp(const struct results *results, uint64_t end_ns)
{
	uint64_t waiting =
		results->session_waiting_since_ns ? end_ns - results->session_waiting_since_ns : 0;
	bool waits_longest = waiting > results->session_stall_ns;

	printf("\"http\":{\"ok\":%llu,\"failed\":%llu,\"slowest_ms\":%.3f,\"slowest_at_ms\":%.3f,"
	       "\"first_error\":\"%s\"},",
	       (unsigned long long) results->http_ok, (unsigned long long) results->http_failed,
	       ms(results->http_slowest_ns), since(results, results->http_slowest_at_ns),
	       results->http_error);
	printf("\"session\":{\"survived\":%s,\"lines\":%llu,\"longest_stall_ms\":%.3f,\"longest_"
	       "stall_at_ms\":%.3f,\"error\":\"%s\"},",
	       results->session_up && !results->session_error[0] ? "true" : "false",
	       (unsigned long long) results->session_lines,
	       ms(waits_longest ? waiting : results->session_stall_ns),
	       since(results, waits_longest ? results->session_waiting_since_ns
					    : results->session_stall_at_ns),
	       results->session_error);
}

void report_print(const struct results *results, uint64_t end_ns, bool final)
{
	struct timespec wall;
	double begun;

	clock_gettime(CLOCK_REALTIME, &wall);
	begun = (double) wall.tv_sec + (double) wall.tv_nsec / 1e9 -
		ms(now_ns() - results->begun_ns) / 1e3;
	printf("{\"event\":\"%s\",\"began_at\":%.6f,\"seconds\":%.3f,",
	       final ? "report" : "snapshot", begun, ms(end_ns - results->begun_ns) / 1e3);
	print_udp(results, end_ns);
	print_tcp(results, end_ns);
	printf("\"own\":{\"realtime\":%s,\"worst_gap_ms\":%.3f,\"worst_send_gap_ms\":%.3f,\"worst_"
	       "receive_delay_ms\":%.3f}}\n",
	       prober.realtime ? "true" : "false",
	       ms(results->own_send_ns > results->own_receive_ns ? results->own_send_ns
								 : results->own_receive_ns),
	       ms(results->own_send_ns), ms(results->own_receive_ns));
	fflush(stdout);
}

void report_live(const struct results *now, const struct results *before)
{
	fprintf(stderr,
		"%6.0f s  %4llu/%4llu answered  longest gap %8.1f ms  own %5.1f ms  http %llu ok "
		"%llu failed  session %s, "
		"stall %.1f ms\n",
		ms(now_ns() - now->begun_ns) / 1e3,
		(unsigned long long) (now->received - before->received),
		(unsigned long long) (now->sent - before->sent), ms(now->longest.length_ns),
		ms(now->own_send_ns), (unsigned long long) now->http_ok,
		(unsigned long long) now->http_failed,
		now->session_error[0] ? now->session_error : "holds", ms(now->session_stall_ns));
}
