/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prober's start, its end and its control. What it measures and what the words mean: prober.h.
 *
 *   prober ADDRESS [options]
 *     --seconds N       end by itself (default: at SIGINT or SIGTERM)
 *     --live            one line a second on stderr
 *     --control         commands on stdin, one a line: "snapshot" prints a report so far, "reset"
 * does and starts anew, end of input ends. Prints {"event":"started"} when all three probes were
 * answered once.
 *     --udp-rate N      datagrams a second (1000)       --http-rate N     requests a second (4)
 *     --session-rate N  lines a second (20)             --path PATH       of the requests (/)
 *     --echo-port N     (7)                             --http-port N     (80)
 *     --gaps-over MS    list gaps longer than this (20) --wait N          seconds for the first
 * answers (30)
 *
 * The report is one JSON document on stdout. Exit: 0 reported, 1 the guest never answered, 2 usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "prober.h"

#define LAST_ANSWERS_NS 300000000u
#define LAST_SECONDS 2

struct prober prober = {
	.path = "/",
	.udp_rate = 1000,
	.http_rate = 4,
	.session_rate = 20,
	.echo_port = 7,
	.http_port = 80,
	.threshold_ms = 20,
};

static struct {
	double seconds;
	double wait;
	bool live;
	bool control;
} options = { .wait = 30 };

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

void sleep_until_ns(uint64_t monotonic_ns)
{
	struct timespec t = { .tv_sec = (time_t) (monotonic_ns / 1000000000u),
			      .tv_nsec = (long) (monotonic_ns % 1000000000u) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Takes one option's argument; false when it makes no sense. */
static bool take_flag(const char *text, void *value)
{
	*(bool *) value = true;
	return true;
}

static bool take_text(const char *text, void *value)
{
	*(const char **) value = text;
	return text[0] == '/';
}

static bool take_seconds(const char *text, void *value)
{
	return (*(double *) value = strtod(text, NULL)) > 0;
}

static bool take_number(const char *text, void *value)
{
	unsigned long number = strtoul(text, NULL, 10);

	*(uint32_t *) value = (uint32_t) number;
	return number > 0 && number <= 1000000;
}

static const struct {
	const char *name;
	bool (*take)(const char *text, void *value);
	void *value;
} option_table[] = {
	{ "seconds", take_seconds, &options.seconds },
	{ "live", take_flag, &options.live },
	{ "control", take_flag, &options.control },
	{ "udp-rate", take_number, &prober.udp_rate },
	{ "http-rate", take_number, &prober.http_rate },
	{ "session-rate", take_number, &prober.session_rate },
	{ "path", take_text, &prober.path },
	{ "echo-port", take_number, &prober.echo_port },
	{ "http-port", take_number, &prober.http_port },
	{ "gaps-over", take_number, &prober.threshold_ms },
	{ "wait", take_seconds, &options.wait },
};

#define TAKEN 1 /* what getopt_long returns for every option of the table */
#define OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

static void options_parse(int argc, char **argv)
{
	struct option known[OPTIONS + 1] = { 0 };
	int index = 0, key;

	for (size_t i = 0; i < OPTIONS; i++)
		known[i] = (struct option){ option_table[i].name,
					    option_table[i].take == take_flag ? no_argument
									      : required_argument,
					    NULL, TAKEN };
	while ((key = getopt_long(argc, argv, "", known, &index)) != -1) {
		if (key != TAKEN)
			exit(2);
		if (option_table[index].take(optarg, option_table[index].value))
			continue;
		fprintf(stderr, "prober: --%s: \"%s\" makes no sense\n", option_table[index].name,
			optarg);
		exit(2);
	}
	if (optind + 1 != argc || !inet_aton(argv[optind], &prober.address)) {
		fprintf(stderr, "usage: prober ADDRESS [--seconds N] [--live] [--control] (see the "
				"head of main.c)\n");
		exit(2);
	}
}

/* Real time when we may, an ordinary thread otherwise; the report says which. */
static pthread_t thread_begin(void *(*run)(void *), int priority)
{
	struct sched_param param = { .sched_priority = priority };
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * 1024);
	if (priority && prober.realtime) {
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &param);
	}
	if (pthread_create(&thread, &attr, run, NULL)) {
		fprintf(stderr, "prober: a thread did not start: %s\n", strerror(errno));
		exit(1);
	}
	pthread_attr_destroy(&attr);
	return thread;
}

static void lock_init(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&prober.lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

/* Too large for a stack and only ever used by the main thread. */
static struct results shown, shown_before;

static void results_copy(bool reset)
{
	pthread_mutex_lock(&prober.lock);
	shown = prober.results;
	if (reset)
		results_begin(&prober.results, now_ns());
	pthread_mutex_unlock(&prober.lock);
}

/* Waits until UDP, HTTP and the session were answered once, then lets the measurement begin. */
static bool first_answers(int signals)
{
	uint64_t until = now_ns() + (uint64_t) (options.wait * 1e9);
	struct pollfd poll_fd = { .fd = signals, .events = POLLIN };

	while (now_ns() < until && poll(&poll_fd, 1, 20) == 0) {
		results_copy(false);
		if (!shown.received || !shown.http_ok || !shown.session_up)
			continue;
		results_copy(true);
		return true;
	}
	fprintf(stderr, "prober: %s: no answer to %s%s%s; is the guest up?\n",
		inet_ntoa(prober.address), shown.received ? "" : "UDP ",
		shown.http_ok ? "" : "HTTP ", shown.session_up ? "" : "the TCP session");
	return false;
}

/* One batch of commands from stdin; false at its end. */
static bool control_take(void)
{
	char line[256];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (n <= 0)
		return false;
	line[n] = '\0';
	for (char *save = NULL, *word = strtok_r(line, "\n", &save); word;
	     word = strtok_r(NULL, "\n", &save)) {
		bool reset = !strcmp(word, "reset");

		if (!reset && strcmp(word, "snapshot")) {
			printf("{\"event\":\"error\",\"error\":\"commands are snapshot and "
			       "reset\"}\n");
			fflush(stdout);
			continue;
		}
		results_copy(reset);
		report_print(&shown, now_ns(), false);
	}
	return true;
}

/* Until a signal, the end of time or the end of input. */
static void serve(int signals)
{
	struct pollfd fds[2] = { { .fd = signals, .events = POLLIN },
				 { .fd = options.control ? STDIN_FILENO : -1, .events = POLLIN } };
	uint64_t end =
		options.seconds > 0 ? now_ns() + (uint64_t) (options.seconds * 1e9) : UINT64_MAX;
	uint64_t live = now_ns() + 1000000000u;

	for (;;) {
		uint64_t now = now_ns();
		uint64_t next = options.live && live < end ? live : end;
		uint64_t wait = next == UINT64_MAX ? 1000
				: next > now       ? (next - now) / 1000000 + 1
						   : 0;

		if (now >= end ||
		    (poll(fds, 2, (int) (wait < 1000 ? wait : 1000)) < 0 && errno != EINTR))
			return;
		if (fds[0].revents || (fds[1].revents && !control_take()))
			return;
		if (!options.live || now_ns() < live)
			continue;
		live += 1000000000u;
		results_copy(false);
		report_live(&shown, &shown_before);
		shown_before = shown;
	}
}

static void finish(pthread_t *threads, size_t n, uint64_t *end)
{
	*end = now_ns();
	atomic_store(&prober.stop_sending, true);
	sleep_until_ns(*end + LAST_ANSWERS_NS);
	results_copy(false);
	for (int i = 0;
	     i < LAST_SECONDS * 10 && shown.session_waiting_since_ns && !shown.session_error[0];
	     i++) {
		sleep_until_ns(now_ns() + 100000000u);
		results_copy(false);
	}
	atomic_store(&prober.stop, true);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	results_copy(false);
}

int main(int argc, char **argv)
{
	pthread_t threads[4];
	sigset_t set;
	uint64_t end;
	int signals;

	options_parse(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	prober.realtime =
		!mlockall(MCL_CURRENT | MCL_FUTURE) &&
		!sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 }) &&
		!sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
	lock_init();
	if (!udp_open())
		return 1;
	results_begin(&prober.results, now_ns());
	threads[0] = thread_begin(udp_receive_main, 60);
	threads[1] = thread_begin(udp_send_main, 50);
	threads[2] = thread_begin(http_main, 0);
	threads[3] = thread_begin(session_main, 0);
	if (!first_answers(signals))
		return 1;
	if (options.control) {
		puts("{\"event\":\"started\"}");
		fflush(stdout);
	}
	serve(signals);
	finish(threads, 4, &end);
	report_print(&shown, end > shown.last_answer_ns ? end : shown.last_answer_ns, true);
	return 0;
}
