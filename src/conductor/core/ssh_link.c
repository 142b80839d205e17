/* SPDX-License-Identifier: Apache-2.0 */
/* Carries bytes between pairs of children, in a thread of its own. */
#include "conductor/core/ssh_link.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

enum { BUFFER_BYTES = 256 * 1024, BACK_OFF_MIN_MS = 200, BACK_OFF_MAX_MS = 5000, GRACE_MS = 500 };

/* Bytes on their way from one child to the other: data[start..end) are still to be written. */
struct flow {
	uint8_t *data;
	size_t start, end;
};

struct pair {
	struct remote_child children[2];
	struct flow flows[2]; /* flows[i]: from child i to child 1 - i */
	bool up;
	int64_t next_try_ms;
	int back_off_ms;
};

struct ssh_link {
	struct remote_shell shell;
	struct ssh_link_end ends[2];
	unsigned connections;
	struct pair *pairs;
	GThread *thread;
	int stop; /* eventfd */
};

static void take_down(struct pair *pair, int grace_ms)
{
	for (int i = 0; i < 2; i++)
		remote_end(&pair->children[i], grace_ms);
	pair->up = false;
	pair->back_off_ms = CLAMP(pair->back_off_ms * 2, BACK_OFF_MIN_MS, BACK_OFF_MAX_MS);
	pair->next_try_ms = clock_now_ms() + pair->back_off_ms;
}

static void bring_up(struct ssh_link *ssh_link, struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		if (!remote_spawn(&ssh_link->shell, ssh_link->ends[i].host, REMOTE_ALONE,
				  (const char *const *) ssh_link->ends[i].command,
				  &pair->children[i], NULL)) {
			if (i == 1)
				remote_end(&pair->children[0], GRACE_MS);
			pair->next_try_ms = clock_now_ms() + BACK_OFF_MAX_MS;
			return;
		}
		fd_set_nonblocking(pair->children[i].to, true);
		pair->flows[i].start = pair->flows[i].end = 0;
	}
	pair->up = true;
}

static bool transient(ssize_t count)
{
	return count < 0 && (errno == EAGAIN || errno == EINTR);
}

/* True while the flow may go on. */
static bool fill_pipe(struct flow *flow, struct remote_child *child)
{
	enum begin_state state = begin_read(&child->begin, child->from);
	if (state != BEGIN_DONE)
		return state == BEGIN_WAITS;
	ssize_t got = read(child->from, flow->data, BUFFER_BYTES);
	if (transient(got))
		return true;
	if (got <= 0)
		return false;
	flow->start = 0;
	flow->end = (size_t) got;
	return true;
}

static bool drain(struct flow *flow, int fd)
{
	ssize_t put = write(fd, flow->data + flow->start, flow->end - flow->start);
	if (transient(put))
		return true;
	if (put < 0)
		return false;
	flow->start += (size_t) put;
	return true;
}

static bool carry(struct pair *pair, int from)
{
	struct flow *flow = &pair->flows[from];
	if (flow->start == flow->end && !fill_pipe(flow, &pair->children[from]))
		return false;
	return flow->start == flow->end || drain(flow, pair->children[1 - from].to);
}

/* Two entries a pair, in the order of the flows: each waits for one thing only. */
static void prepare_pair(const struct pair *pair, struct pollfd *polls)
{
	for (int i = 0; i < 2; i++) {
		bool full = pair->flows[i].start < pair->flows[i].end;
		polls[i].fd = !pair->up ? -1
			      : full    ? pair->children[1 - i].to
					: pair->children[i].from;
		polls[i].events = full ? POLLOUT : POLLIN;
		polls[i].revents = 0;
	}
}

static void serve_pair(struct pair *pair, const struct pollfd *polls)
{
	for (int i = 0; i < 2 && pair->up; i++) {
		if (!polls[i].revents)
			continue;
		if (carry(pair, i))
			pair->back_off_ms = 0;
		else
			take_down(pair, GRACE_MS);
	}
}

static int start_what_is_due(struct ssh_link *ssh_link)
{
	int64_t now = clock_now_ms();
	int timeout_ms = -1;
	for (unsigned i = 0; i < ssh_link->connections; i++) {
		struct pair *pair = &ssh_link->pairs[i];
		if (!pair->up && pair->next_try_ms <= now)
			bring_up(ssh_link, pair);
		if (!pair->up) {
			int left = (int) MAX(pair->next_try_ms - now, 1);
			timeout_ms = timeout_ms < 0 ? left : MIN(timeout_ms, left);
		}
	}
	return timeout_ms;
}

static gpointer ssh_link_thread(gpointer data)
{
	struct ssh_link *ssh_link = data;
	g_autofree struct pollfd *polls = g_new0(struct pollfd, 2 * ssh_link->connections + 1);
	for (;;) {
		int timeout_ms = start_what_is_due(ssh_link);
		polls[0] = (struct pollfd){ .fd = ssh_link->stop, .events = POLLIN };
		for (unsigned i = 0; i < ssh_link->connections; i++)
			prepare_pair(&ssh_link->pairs[i], polls + 1 + 2 * i);
		if (poll(polls, 2 * ssh_link->connections + 1, timeout_ms) < 0 && errno != EINTR)
			break;
		if (polls[0].revents)
			break;
		for (unsigned i = 0; i < ssh_link->connections; i++)
			serve_pair(&ssh_link->pairs[i], polls + 1 + 2 * i);
	}
	return NULL;
}

struct ssh_link *ssh_link_new(const struct remote_shell *shell, const struct ssh_link_end ends[2],
			      unsigned connections)
{
	struct ssh_link *ssh_link = g_new0(struct ssh_link, 1);
	ssh_link->shell = *shell;
	memcpy(ssh_link->ends, ends, sizeof ssh_link->ends);
	ssh_link->connections = connections;
	ssh_link->pairs = g_new0(struct pair, connections);
	ssh_link->stop = eventfd(0, EFD_CLOEXEC);
	for (unsigned i = 0; i < connections; i++)
		for (int j = 0; j < 2; j++)
			ssh_link->pairs[i].flows[j].data = g_malloc(BUFFER_BYTES);
	ssh_link->thread = g_thread_new("ssh-link", ssh_link_thread, ssh_link);
	return ssh_link;
}

void ssh_link_free(struct ssh_link *ssh_link)
{
	uint64_t one = 1;
	if (!ssh_link)
		return;
	fd_write_all(ssh_link->stop, &one, sizeof one);
	g_thread_join(ssh_link->thread);
	for (unsigned i = 0; i < ssh_link->connections; i++) {
		if (ssh_link->pairs[i].up)
			take_down(&ssh_link->pairs[i], GRACE_MS);
		for (int j = 0; j < 2; j++)
			g_free(ssh_link->pairs[i].flows[j].data);
	}
	close(ssh_link->stop);
	g_free(ssh_link->pairs);
	for (int i = 0; i < 2; i++)
		g_strfreev(ssh_link->ends[i].command);
	g_free(ssh_link);
}
