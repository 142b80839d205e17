/* SPDX-License-Identifier: Apache-2.0 */
/* The UDP echo probe: one thread sends on the beat, one takes the answers and measures the gaps
 * between them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "prober.h"

#define MAGIC 0x576174617269ull
#define SEEN_WINDOW (1u << 20) /* sequence numbers for which an answer is remembered */
#define SLICE_MS 100

struct probe {
	uint64_t magic;
	uint64_t number;
	uint64_t sent_ns;
	uint64_t rest[5];
};

static int udp_fd = -1;
static uint8_t udp_seen[SEEN_WINDOW / 8]; /* under the prober's lock */

bool udp_open(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = prober.address,
				  .sin_port = htons((uint16_t) prober.echo_port) };
	int one = 1, room = 1 << 20;

	udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (udp_fd < 0 || setsockopt(udp_fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) ||
	    connect(udp_fd, (struct sockaddr *) &to, sizeof(to))) {
		fprintf(stderr, "prober: no UDP socket: %s\n", strerror(errno));
		return false;
	}
	setsockopt(udp_fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	return true;
}

/* Called with the lock held. */
static bool seen_test_and_set(uint64_t number, bool value)
{
	uint8_t bit = (uint8_t) (1u << (number % 8));
	uint8_t *byte = &udp_seen[number % SEEN_WINDOW / 8];
	bool was = *byte & bit;

	*byte = (uint8_t) (value ? *byte | bit : *byte & ~bit);
	return was;
}

static void udp_send_one(uint64_t number, uint64_t *last_ns)
{
	struct probe probe = { .magic = MAGIC, .number = number, .sent_ns = now_ns() };
	bool ok = send(udp_fd, &probe, sizeof(probe), 0) == sizeof(probe);
	uint64_t now = now_ns();
	uint64_t own = *last_ns ? now - *last_ns : 0;

	*last_ns = now;
	if (own > atomic_load(&prober.own_since_answer_ns))
		atomic_store(&prober.own_since_answer_ns, own);
	pthread_mutex_lock(&prober.lock);
	if (probe.sent_ns >= prober.results.begun_ns) { /* else a reset came between, and its answer
							   will not count either */
		prober.results.sent++;
		prober.results.send_failed += !ok;
	}
	if (own > prober.results.own_send_ns)
		prober.results.own_send_ns = own;
	pthread_mutex_unlock(&prober.lock);
}

void *udp_send_main(void *arg)
{
	uint64_t period = 1000000000u / prober.udp_rate;
	uint64_t next = now_ns(), last = 0, number = 0;

	while (!atomic_load(&prober.stop_sending)) {
		pthread_mutex_lock(&prober.lock);
		seen_test_and_set(number, false);
		pthread_mutex_unlock(&prober.lock);
		udp_send_one(number++, &last);
		next += period;
		if (next < now_ns()) /* late: beats that were missed stay missed, and show in the
					own gap */
			next = now_ns();
		sleep_until_ns(next);
	}
	return NULL;
}

/* When the kernel took the datagram in, on the monotonic clock. */
static uint64_t received_at(struct msghdr *message, uint64_t now)
{
	struct timespec stamp, wall;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			int64_t ago;

			memcpy(&stamp, CMSG_DATA(c), sizeof(stamp));
			clock_gettime(CLOCK_REALTIME, &wall);
			ago = (wall.tv_sec - stamp.tv_sec) * 1000000000 +
			      (wall.tv_nsec - stamp.tv_nsec);
			return ago > 0 && (uint64_t) ago < now ? now - (uint64_t) ago : now;
		}
	return now;
}

/* Called with the lock held. */
static void gap_end(struct results *results, uint64_t at)
{
	struct gap gap = {
		.begun_ns = results->last_answer_ns,
		.length_ns = at - results->last_answer_ns,
		.own_ns = atomic_exchange(&prober.own_since_answer_ns, 0),
	};

	if (gap.length_ns > results->longest.length_ns)
		results->longest = gap;
	if (gap.length_ns < prober.threshold_ms * 1000000ull)
		return;
	if (results->gap_count < GAPS_KEPT)
		results->gaps[results->gap_count] = gap;
	results->gap_count++;
}

static void round_note(struct results *results, uint64_t round)
{
	uint64_t bucket = round / 100000;

	results->round[bucket < ROUND_BUCKETS ? bucket : ROUND_BUCKETS - 1]++;
	results->round_sum_ns += round;
	if (round < results->round_min_ns || !results->round_min_ns)
		results->round_min_ns = round;
	if (round > results->round_max_ns)
		results->round_max_ns = round;
}

static void answer_note(const struct probe *probe, uint64_t at, uint64_t now)
{
	static uint64_t newest;
	struct results *results = &prober.results;

	pthread_mutex_lock(&prober.lock);
	if (probe->sent_ns < results->begun_ns) { /* of the time before a reset: closes no gap of
						     the time after it */
		seen_test_and_set(probe->number, true);
	} else if (seen_test_and_set(probe->number, true)) {
		results->duplicate++;
	} else {
		results->received++;
		results->reordered += probe->number < newest;
		round_note(results, at - probe->sent_ns);
	}
	if (probe->number > newest)
		newest = probe->number;
	if (results->last_answer_ns && at > results->last_answer_ns)
		gap_end(results, at);
	if (at > results->last_answer_ns)
		results->last_answer_ns = at;
	if (now - at > results->own_receive_ns)
		results->own_receive_ns = now - at;
	pthread_mutex_unlock(&prober.lock);
}

void *udp_receive_main(void *arg)
{
	while (!atomic_load(&prober.stop)) {
		struct pollfd poll_fd = { .fd = udp_fd, .events = POLLIN };
		struct probe probe;
		char control[256];
		struct iovec iov = { &probe, sizeof(probe) };
		struct msghdr message = { .msg_iov = &iov,
					  .msg_iovlen = 1,
					  .msg_control = control,
					  .msg_controllen = sizeof(control) };
		uint64_t now;

		if (poll(&poll_fd, 1, SLICE_MS) <= 0)
			continue;
		if (recvmsg(udp_fd, &message, MSG_DONTWAIT) != sizeof(probe) ||
		    probe.magic != MAGIC)
			continue; /* also the errors of sends into nothing: those are losses,
				     counted by their absence */
		now = now_ns();
		answer_note(&probe, received_at(&message, now), now);
	}
	return NULL;
}
