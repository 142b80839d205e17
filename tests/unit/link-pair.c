/* SPDX-License-Identifier: Apache-2.0 */
#include "link-pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- two ends ---- */

struct link_config pair_config(bool source, unsigned connections)
{
	struct link_config config = {
		.source = source,
		.connections = connections,
		.id = "0123456789abcdef0123456789abcdef",
		.timeout_ms = 10000,
	};
	memset(config.key, 0x5a, sizeof(config.key));
	return config;
}

void pair_new(struct pair *pair, const struct link_config *source,
	      const struct link_config *destination)
{
	GError *error = NULL;
	*pair = (struct pair){ 0 };
	pair->source = link_new(source, &error);
	g_assert_no_error(error);
	pair->destination = link_new(destination, &error);
	g_assert_no_error(error);
}

void pair_connect(struct pair *pair, bool source_listens)
{
	GError *error = NULL;
	const char *const addresses[] = { "127.0.0.1", NULL };
	struct link *listener = source_listens ? pair->source : pair->destination;
	struct link *dialler = source_listens ? pair->destination : pair->source;
	link_listen_tcp(listener, "127.0.0.1", 0, 0, &pair->port, &error);
	g_assert_no_error(error);
	link_connect_tcp(dialler, addresses, pair->port, &error);
	g_assert_no_error(error);
	g_assert_true(link_start(listener, &error));
	g_assert_true(link_start(dialler, &error));
}

void pair_wait(struct pair *pair)
{
	GError *error = NULL;
	link_wait_up(pair->source, 5000, &error);
	g_assert_no_error(error);
	link_wait_up(pair->destination, 5000, &error);
	g_assert_no_error(error);
}

void pair_make(struct pair *pair, unsigned connections)
{
	struct link_config source = pair_config(true, connections);
	struct link_config destination = pair_config(false, connections);
	pair_new(pair, &source, &destination);
	pair_connect(pair, false);
	pair_wait(pair);
}

void pair_free(struct pair *pair)
{
	g_clear_pointer(&pair->source, link_free);
	g_clear_pointer(&pair->destination, link_free);
}

/* ---- a stream that knows itself ---- */

static void fill(uint8_t *at, size_t length, uint64_t offset)
{
	for (size_t i = 0; i < length; i += 8) {
		uint64_t word = (offset + i) * 0x9e3779b97f4a7c15ull;
		memcpy(at + i, &word, MIN(8, length - i));
	}
}

static bool check(const uint8_t *at, size_t length, uint64_t offset)
{
	uint8_t wanted[4096];
	for (size_t i = 0; i < length; i += sizeof(wanted)) {
		size_t n = MIN(sizeof(wanted), length - i);
		fill(wanted, n, offset + i);
		if (memcmp(at + i, wanted, n) != 0)
			return false;
	}
	return true;
}

static size_t random_length(GRand *random)
{
	switch (g_rand_int_range(random, 0, 4)) {
	case 0:
		return (size_t) g_rand_int_range(random, 0, 100);
	case 1:
		return (size_t) g_rand_int_range(random, 0, 20000);
	default:
		return (size_t) g_rand_int_range(random, 1, LINK_PAYLOAD_MAX + 1);
	}
}

static gpointer run_sender(gpointer argument)
{
	struct sender *sender = argument;
	GRand *random = g_rand_new_with_seed(sender->seed);
	uint64_t offset = 0;
	GError *error = NULL;
	for (uint32_t i = 0; offset < sender->bytes; i++) {
		struct link_frame *frame = link_frame_begin(sender->link, sender->stream, &error);
		g_assert_no_error(error);
		frame->length = random_length(random);
		frame->flags = i;
		memset(frame->tag, (int) i, sizeof(frame->tag));
		fill(frame->data, frame->length, offset);
		offset += frame->length;
		link_frame_commit(sender->link, sender->stream, frame);
	}
	g_rand_free(random);
	link_finish(sender->link, sender->stream);
	link_drain(sender->link, sender->stream, sender->drain_ms ? sender->drain_ms : 20000,
		   &error);
	g_assert_no_error(error);
	return NULL;
}

void sender_start(struct sender *sender)
{
	sender->thread = g_thread_new("sender", run_sender, sender);
}

void sender_join(struct sender *sender)
{
	g_thread_join(sender->thread);
}

uint64_t receive_all(struct link *link, enum link_stream stream, unsigned pause_us)
{
	uint64_t offset = 0;
	bool finished = false;
	GError *error = NULL;
	for (uint32_t i = 0;; i++) {
		struct link_frame *frame = link_receive(link, stream, 20000, &finished, &error);
		g_assert_no_error(error);
		if (!frame)
			break;
		uint8_t tag[LINK_TAG_BYTES];
		memset(tag, (int) i, sizeof(tag));
		g_assert_cmpuint(frame->sequence, ==, i);
		g_assert_cmpuint(frame->flags, ==, i);
		g_assert_cmpmem(frame->tag, sizeof(tag), tag, sizeof(tag));
		g_assert_true(check(frame->data, frame->length, offset));
		offset += frame->length;
		if (pause_us)
			g_usleep(pause_us);
		link_frame_done(link, stream, frame);
	}
	g_assert_true(finished);
	return offset;
}

static void talk_one_way(struct link *from, struct link *to, const char *text)
{
	GError *error = NULL;
	struct link_frame *frame = link_frame_begin(from, LINK_TALK, &error);
	g_assert_no_error(error);
	frame->length = strlen(text);
	memcpy(frame->data, text, frame->length);
	link_frame_commit(from, LINK_TALK, frame);
	frame = link_receive(to, LINK_TALK, 5000, NULL, &error);
	g_assert_no_error(error);
	g_assert_nonnull(frame);
	g_assert_cmpmem(frame->data, frame->length, text, strlen(text));
	link_frame_done(to, LINK_TALK, frame);
}

void talk_once(struct pair *pair, const char *text)
{
	talk_one_way(pair->source, pair->destination, text);
	talk_one_way(pair->destination, pair->source, text);
}

/* ---- the man in the middle: one thread, one poll ---- */

#define JOINTS_MAX 16

/* Two sockets joined; what came from one and the other has not taken yet. */
struct joint {
	int fds[2];
	uint8_t held[2][65536]; /* [i]: to be written to fds[i] */
	size_t start[2], end[2];
	int64_t passed[2];
};

struct relay {
	int listen_fd;
	uint16_t port, target_port;
	char *paths[2];
	unsigned count;
	struct joint *joints[JOINTS_MAX];
	GThread *thread;
	_Atomic bool quit, cut, stopped;
	_Atomic int64_t flip_after; /* < 0: never */
	_Atomic unsigned flips;
	_Atomic int64_t narrow[2]; /* bytes towards that side; < 0: any number */
	_Atomic bool narrow_breaks;
};

static int connect_unix(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *) &name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -1;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connect_tcp(uint16_t port)
{
	struct sockaddr_in name = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *) &name, sizeof(name)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void add_joint(struct relay *relay, int one, int other)
{
	for (unsigned i = 0; i < JOINTS_MAX; i++) {
		if (relay->joints[i])
			continue;
		relay->joints[i] = g_new0(struct joint, 1);
		relay->joints[i]->fds[0] = one;
		relay->joints[i]->fds[1] = other;
		return;
	}
	close(one);
	close(other);
}

static void drop_joint(struct relay *relay, unsigned i)
{
	close(relay->joints[i]->fds[0]);
	close(relay->joints[i]->fds[1]);
	g_clear_pointer(&relay->joints[i], g_free);
}

/* Read what goes to side TO. Returns false at the end. */
static bool pull(struct relay *relay, struct joint *joint, int to)
{
	ssize_t n = recv(joint->fds[!to], joint->held[to], sizeof(joint->held[to]), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN;
	joint->start[to] = 0;
	joint->end[to] = (size_t) n;
	joint->passed[to] += n;
	if (relay->narrow[to] >= 0 && joint->passed[to] > relay->narrow[to]) {
		joint->end[to] = 0;
		return n > 0 && !relay->narrow_breaks;
	}
	if (to == 1 && relay->flip_after >= 0) {
		if (relay->flip_after < n) {
			joint->held[to][relay->flip_after] ^= 0x10;
			relay->flips++;
			relay->flip_after = -1;
		} else {
			relay->flip_after -= n;
		}
	}
	return n > 0;
}

static bool push(struct joint *joint, int to)
{
	ssize_t n = send(joint->fds[to], joint->held[to] + joint->start[to],
			 joint->end[to] - joint->start[to], MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN;
	joint->start[to] += (size_t) n;
	return true;
}

static bool serve_joint(struct relay *relay, struct joint *joint)
{
	for (int to = 0; to < 2; to++) {
		bool held = joint->start[to] < joint->end[to];
		if (held ? !push(joint, to) : !pull(relay, joint, to))
			return false;
	}
	return true;
}

static void add_newcomers(struct relay *relay)
{
	if (relay->listen_fd >= 0) {
		int one = accept(relay->listen_fd, NULL, NULL);
		int other = one >= 0 ? connect_tcp(relay->target_port) : -1;
		if (other >= 0)
			add_joint(relay, one, other);
		else if (one >= 0)
			close(one);
		return;
	}
	unsigned open = 0;
	for (unsigned i = 0; i < JOINTS_MAX; i++)
		open += relay->joints[i] != NULL;
	for (; open < relay->count; open++) {
		int one = connect_unix(relay->paths[0]), other = connect_unix(relay->paths[1]);
		if (one >= 0 && other >= 0) {
			add_joint(relay, one, other);
		} else {
			close(one);
			close(other);
		}
	}
}

static gpointer run_relay(gpointer argument)
{
	struct relay *relay = argument;
	while (!relay->quit) {
		bool cut = atomic_exchange(&relay->cut, false);
		struct pollfd fds[2 * JOINTS_MAX + 1];
		nfds_t count = 0;
		if (!relay->stopped)
			add_newcomers(relay);
		for (unsigned i = 0; i < JOINTS_MAX; i++) {
			struct joint *joint = relay->joints[i];
			if (joint && (cut || (!relay->stopped && !serve_joint(relay, joint))))
				drop_joint(relay, i);
			joint = relay->joints[i];
			for (int to = 0; joint && !relay->stopped && to < 2; to++) {
				bool held = joint->start[to] < joint->end[to];
				fds[count++] = (struct pollfd){ .fd = joint->fds[held ? to : !to],
								.events = held ? POLLOUT : POLLIN };
			}
		}
		if (relay->listen_fd >= 0)
			fds[count++] = (struct pollfd){ .fd = relay->listen_fd, .events = POLLIN };
		poll(fds, count, 5);
	}
	for (unsigned i = 0; i < JOINTS_MAX; i++) {
		if (relay->joints[i])
			drop_joint(relay, i);
	}
	return NULL;
}

struct relay *relay_new_tcp(uint16_t target_port)
{
	struct relay *relay = g_new0(struct relay, 1);
	struct sockaddr_in name = loopback(0);
	socklen_t length = sizeof(name);
	relay->flip_after = relay->narrow[0] = relay->narrow[1] = -1;
	relay->target_port = target_port;
	relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	g_assert_cmpint(bind(relay->listen_fd, (struct sockaddr *) &name, length), ==, 0);
	g_assert_cmpint(listen(relay->listen_fd, 16), ==, 0);
	getsockname(relay->listen_fd, (struct sockaddr *) &name, &length);
	relay->port = ntohs(name.sin_port);
	relay->thread = g_thread_new("relay", run_relay, relay);
	return relay;
}

struct relay *relay_new_unix(const char *one, const char *other, unsigned count)
{
	struct relay *relay = g_new0(struct relay, 1);
	relay->flip_after = relay->narrow[0] = relay->narrow[1] = -1;
	relay->listen_fd = -1;
	relay->paths[0] = g_strdup(one);
	relay->paths[1] = g_strdup(other);
	relay->count = count;
	relay->thread = g_thread_new("relay", run_relay, relay);
	return relay;
}

uint16_t relay_port(const struct relay *relay)
{
	return relay->port;
}

void relay_flip_after(struct relay *relay, uint64_t bytes)
{
	relay->flip_after = (int64_t) bytes;
}

void relay_narrow(struct relay *relay, int to, int64_t bytes, bool breaks)
{
	relay->narrow_breaks = breaks;
	relay->narrow[to] = bytes;
}

void relay_cut(struct relay *relay)
{
	relay->cut = true;
}

void relay_stop(struct relay *relay, bool stopped)
{
	relay->stopped = stopped;
}

unsigned relay_flips(struct relay *relay)
{
	return relay->flips;
}

void relay_free(struct relay *relay)
{
	relay->quit = true;
	g_thread_join(relay->thread);
	if (relay->listen_fd >= 0)
		close(relay->listen_fd);
	g_free(relay->paths[0]);
	g_free(relay->paths[1]);
	g_free(relay);
}
