/* SPDX-License-Identifier: Apache-2.0 */
/* How much does the link carry between two processes that do nothing else?
 *
 * The ends are null: one commits frames whose bytes were written once, the other gives back what it
 * receives. Loopback TCP. Processor time is that of both processes, so GB/s and GB/CPU-s say what
 * the link itself costs; the mover's work comes on top.
 *
 * usage: bench-link [--json] [--mib N] [--runs N] [--frame BYTES] [--connections K] [--window MIB]
 *                   [--tls|--plain]
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"

static gboolean as_json;
static int mib = 4096, runs = 1, frame_bytes = LINK_PAYLOAD_MAX, only_connections, window_mib;
static gboolean only_tls, only_plain;

static const GOptionEntry options[] = {
	{ "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "one JSON document", NULL },
	{ "mib", 0, 0, G_OPTION_ARG_INT, &mib, "MiB a run (4096)", "N" },
	{ "runs", 0, 0, G_OPTION_ARG_INT, &runs, "runs of each kind, the best counts (1)", "N" },
	{ "frame", 0, 0, G_OPTION_ARG_INT, &frame_bytes, "bytes a frame (262144)", "N" },
	{ "connections", 0, 0, G_OPTION_ARG_INT, &only_connections, "only this many", "K" },
	{ "window", 0, 0, G_OPTION_ARG_INT, &window_mib, "largest window (64)", "MiB" },
	{ "tls", 0, 0, G_OPTION_ARG_NONE, &only_tls, "only with TLS", NULL },
	{ "plain", 0, 0, G_OPTION_ARG_NONE, &only_plain, "only without TLS", NULL },
	{ NULL }
};

struct result {
	double seconds;
	double cpu_s[2]; /* source, destination */
	long peak_kib[2];
	uint64_t bytes, window;
	uint64_t lane_sent[LINK_CONNECTIONS_MAX];
};

static void must(GError *error)
{
	if (!error)
		return;
	fprintf(stderr, "bench-link: %s\n", error->message);
	exit(1);
}

static struct link *make_link(bool source, unsigned connections, bool plain)
{
	struct link_config config = {
		.source = source, .connections = connections, .plain = plain, .id = "bench"
	};
	GError *error = NULL;
	config.window_max = (uint64_t) window_mib << 20;
	memset(config.key, 7, sizeof(config.key));
	struct link *link = link_new(&config, &error);
	must(error);
	return link;
}

/* The other process: takes everything, ends. */
static void run_destination(struct link *link)
{
	GError *error = NULL;
	bool finished = false;
	link_start(link, &error);
	must(error);
	while (!finished) {
		struct link_frame *frame = link_receive(link, LINK_MEMORY, -1, &finished, &error);
		must(error);
		if (frame)
			link_frame_done(link, LINK_MEMORY, frame);
	}
	/* The source closes first, when it knows that all is taken. */
	while (link_receive(link, LINK_TALK, 10000, &finished, NULL))
		;
	link_free(link);
}

static void run_source(struct link *link, struct result *result)
{
	GError *error = NULL;
	struct link_stats stats;
	uint64_t left = (uint64_t) mib << 20;
	link_wait_up(link, 10000, &error);
	must(error);
	int64_t before_us = clock_now_us();
	while (left > 0) {
		struct link_frame *frame = link_frame_begin(link, LINK_MEMORY, &error);
		must(error);
		frame->length = MIN(left, (uint64_t) frame_bytes);
		left -= frame->length;
		link_frame_commit(link, LINK_MEMORY, frame);
	}
	link_get_stats(link, &stats);
	link_finish(link, LINK_MEMORY);
	link_drain(link, LINK_MEMORY, 60000, &error);
	must(error);
	result->seconds = (double) (clock_now_us() - before_us) / 1e6;
	result->window = stats.window;
	link_get_stats(link, &stats);
	memcpy(result->lane_sent, stats.lane_sent, sizeof(stats.lane_sent));
	result->bytes = (uint64_t) mib << 20;
}

static void take_usage(const struct rusage *usage, double *cpu_s, long *peak_kib)
{
	*cpu_s = (double) (usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
		 (double) (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
	*peak_kib = usage->ru_maxrss;
}

/* Both ends are children, so that each one's usage is its own. */
static struct result run(unsigned connections, bool plain)
{
	GError *error = NULL;
	uint16_t port = 0;
	int pipe_fds[2];
	struct result result = { 0 };
	if (pipe(pipe_fds) < 0)
		exit(1);
	struct link *listener = make_link(false, connections, plain);
	link_listen_tcp(listener, "127.0.0.1", 0, 0, &port, &error);
	must(error);
	pid_t children[2];
	children[1] = fork();
	if (children[1] == 0) {
		run_destination(listener);
		_exit(0);
	}
	children[0] = fork();
	if (children[0] == 0) {
		const char *const addresses[] = { "127.0.0.1", NULL };
		struct link *link = make_link(true, connections, plain);
		link_connect_tcp(link, addresses, port, &error);
		must(error);
		link_start(link, &error);
		must(error);
		run_source(link, &result);
		link_free(link);
		if (write(pipe_fds[1], &result, sizeof(result)) != sizeof(result))
			_exit(1);
		_exit(0);
	}
	link_free(listener);
	close(pipe_fds[1]);
	if (read(pipe_fds[0], &result, sizeof(result)) != sizeof(result))
		exit(1);
	close(pipe_fds[0]);
	for (int i = 0; i < 2; i++) {
		struct rusage usage;
		wait4(children[i], NULL, 0, &usage);
		take_usage(&usage, &result.cpu_s[i], &result.peak_kib[i]);
	}
	return result;
}

static struct result best_of_runs(unsigned connections, bool plain)
{
	struct result best = { 0 };
	for (int i = 0; i < runs; i++) {
		struct result result = run(connections, plain);
		if (i == 0 || result.seconds < best.seconds)
			best = result;
	}
	return best;
}

static void print_result(const struct result *result, unsigned connections, bool plain, bool first)
{
	double gb = (double) result->bytes / 1e9;
	if (!as_json) {
		if (first)
			printf("%4s  %-5s  %6s  %10s  %10s  %9s  %9s  %10s\n", "conn", "crypt",
			       "GB/s", "CPU-s src", "CPU-s dst", "RSS src", "RSS dst", "window");
		printf("%4u  %-5s  %6.2f  %10.2f  %10.2f  %5.1f MiB  %5.1f MiB  %6.1f MiB\n",
		       connections, plain ? "plain" : "tls", gb / result->seconds, result->cpu_s[0],
		       result->cpu_s[1], (double) result->peak_kib[0] / 1024,
		       (double) result->peak_kib[1] / 1024, (double) result->window / 1048576);
		return;
	}
	printf("%s{\"connections\":%u,\"tls\":%s,\"bytes\":%" G_GUINT64_FORMAT
	       ",\"seconds\":%.3f,\"gb_per_s\":%.3f,\"cpu_s_source\":%.2f,"
	       "\"cpu_s_destination\":%.2f,\"peak_kib_source\":%ld,\"peak_kib_destination\":%ld,"
	       "\"lane_bytes\":[",
	       first ? "" : ",\n", connections, plain ? "false" : "true", result->bytes,
	       result->seconds, gb / result->seconds, result->cpu_s[0], result->cpu_s[1],
	       result->peak_kib[0], result->peak_kib[1]);
	for (unsigned i = 0; i < connections; i++)
		printf("%s%" G_GUINT64_FORMAT, i ? "," : "", result->lane_sent[i]);
	printf("]}");
}

int main(int argc, char **argv)
{
	static const unsigned counts[] = { 1, 2, 4 };
	GError *error = NULL;
	g_autoptr(GOptionContext) context = g_option_context_new("- the link between null ends");
	g_option_context_add_main_entries(context, options, NULL);
	g_option_context_parse(context, &argc, &argv, &error);
	must(error);
	if (mib < 1 || frame_bytes < 1 || frame_bytes > LINK_PAYLOAD_MAX || runs < 1 ||
	    window_mib < 0 || only_connections < 0 || only_connections > LINK_CONNECTIONS_MAX) {
		fprintf(stderr, "bench-link: nonsense option value\n");
		return 2;
	}
	bool first = true;
	if (as_json)
		printf("[");
	for (int plain = 0; plain < 2; plain++) {
		if (plain ? only_tls : only_plain)
			continue;
		for (size_t i = 0; i < (only_connections ? 1 : G_N_ELEMENTS(counts)); i++) {
			unsigned connections =
				only_connections ? (unsigned) only_connections : counts[i];
			struct result result = best_of_runs(connections, plain);
			print_result(&result, connections, plain, first);
			fflush(stdout);
			first = false;
		}
	}
	if (as_json)
		printf("]\n");
	return 0;
}
