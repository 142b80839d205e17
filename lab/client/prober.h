/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prober: what somebody outside notices of a guest, measured.
 *
 * Three things run side by side against one guest:
 *   - UDP echo, 1000 datagrams a second from a real-time thread, answers taken by another;
 *   - HTTP requests, a few a second, each on a connection of its own;
 *   - one TCP session held open throughout, on which a counted line is answered with a counter.
 *
 * What the words in the report mean:
 *   gap       time between two consecutive UDP answers, by the kernel's receive timestamps, nothing
 * subtracted. At 1 kHz an undisturbed gap is about 1 ms. A gap that is still open at the end
 * counts, up to the end. own gap   the prober's own part: the longest time between two of its
 * sends, and the longest time an answer lay in the kernel before the prober was run. A gap is only
 * as believable as the own gap beside it is small; each gap in the list carries the own gap that
 * fell into it. lost      sent, and not answered by the end (0.3 s are waited for the last ones).
 *   stall     time from sending a line on the session to its answer. The session has survived when
 * every line was answered once, in order, with the right count, and the connection was never reset
 * or closed.
 *
 * Threads: udp sender, udp receiver (both SCHED_FIFO), http, session, main (control). All numbers
 * lie in one struct results under one lock with priority inheritance, copied out before anything is
 * printed.
 */
#ifndef WATARI_PROBER_H
#define WATARI_PROBER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GAPS_KEPT 200
#define ROUND_BUCKETS 4000 /* of 0.1 ms; the last one holds everything above */

struct gap {
	uint64_t begun_ns; /* monotonic: the answer before it */
	uint64_t length_ns;
	uint64_t own_ns; /* the prober's own longest gap inside it */
};

struct results {
	uint64_t begun_ns; /* monotonic */
	/* udp */
	uint64_t sent, received, duplicate, reordered, send_failed;
	uint64_t last_answer_ns; /* 0: none yet */
	struct gap longest;
	struct gap gaps[GAPS_KEPT]; /* over the threshold, in order of time */
	uint64_t gap_count;         /* all of them, also those not kept */
	uint64_t own_send_ns, own_receive_ns;
	uint64_t round_min_ns, round_max_ns, round_sum_ns;
	uint32_t round[ROUND_BUCKETS];
	/* http */
	uint64_t http_ok, http_failed, http_slowest_ns, http_slowest_at_ns;
	char http_error[96]; /* the first */
	/* session */
	bool session_up;
	uint64_t session_lines, session_stall_ns, session_stall_at_ns;
	uint64_t session_waiting_since_ns; /* 0: no line is out */
	char session_error[96];            /* empty: survived so far */
};

struct prober {
	/* set once */
	struct in_addr address;
	const char *path;
	uint32_t udp_rate, http_rate, session_rate;
	uint32_t echo_port, http_port;
	uint32_t threshold_ms; /* gaps above it are listed */
	bool realtime;
	/* atomics */
	_Atomic bool stop_sending;
	_Atomic bool stop;
	_Atomic uint64_t own_since_answer_ns;
	/* under lock */
	pthread_mutex_t lock;
	struct results results;
};

extern struct prober prober;

uint64_t now_ns(void);
void sleep_until_ns(uint64_t monotonic_ns);
/* udp.c, http.c, session.c: threads; they end when prober.stop is set. */
void *udp_send_main(void *arg);
void *udp_receive_main(void *arg);
/* Makes the socket both UDP threads share; false (with a message) when it cannot. */
bool udp_open(void);
void *http_main(void *arg);
void *session_main(void *arg);
/* A connected TCP socket, or -1 with errno; used by http and session. */
int tcp_connect(uint32_t port, uint64_t timeout_ns);

/* report.c */
void results_begin(struct results *results, uint64_t at_ns);
void report_print(const struct results *results, uint64_t end_ns, bool final);
void report_live(const struct results *now, const struct results *before);

#endif
