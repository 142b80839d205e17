/* SPDX-License-Identifier: Apache-2.0 */
/* The guard of both libvirt connections. See guard.h and docs/guard.md. */
#include "host/guard/guard.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "host/guard/relay.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#define SIDES 2
#define POLL_MAX (1 + SIDES * 5)

struct guard {
	/* set once */
	GThread *thread;
	int wake; /* eventfd: the thread should look again */

	/* under the lock */
	pthread_mutex_t lock; /* not a GMutex: ThreadSanitizer cannot see into those */
	struct relay relay[SIDES];
	bool attached[SIDES];
	bool stop, armed;
	enum guard_answer answer; /* never GUARD_UNKNOWN here */
	enum guard_answer at_end; /* what it becomes when the reply's last byte is there */
	uint32_t finish_serial;
	bool confirm_refused;
	void (*hook)(void *data);
	void *hook_data;
	bool hook_due, holding;
	bool (*tell)(enum guard_answer answer, void *data);
	void *tell_data;
	enum guard_answer told;
};

static bool is_understood(const struct guard *guard)
{
	const struct relay *destination = &guard->relay[GUARD_DESTINATION];
	return !destination->calls.plain && !destination->answers.plain;
}

/* ---- what passes: called by the flows, in the guard's thread, under the lock ---- */

static enum flow_verdict look_at_destination_call(void *data, const struct rpc_header *header,
						  const uint8_t *packet, size_t available)
{
	struct guard *guard = data;
	if (!header || !rpc_is_finish_call(header))
		return FLOW_PASS;
	if (flow_should_wait(header, available))
		return FLOW_KEEP;
	/* With "cancelled" the destination only kills its paused copy. A call too large to be seen
	 * whole counts as one that starts the VM. */
	if (available == header->length && rpc_is_cancelled(packet, header))
		return FLOW_PASS;
	if (guard->relay[GUARD_DESTINATION].host_gone)
		return FLOW_KEEP; /* came too late: nobody is there who could act on it */
	guard->answer = GUARD_UNANSWERED;
	guard->finish_serial = header->serial;
	return FLOW_PASS;
}

static enum flow_verdict look_at_destination_answer(void *data, const struct rpc_header *header,
						    const uint8_t *packet, size_t available)
{
	struct guard *guard = data;
	if (!header) { /* a packet has come whole */
		if (guard->at_end != GUARD_NOT_ASKED)
			guard->answer = guard->at_end;
		guard->at_end = GUARD_NOT_ASKED;
		return FLOW_PASS;
	}
	if (guard->answer != GUARD_UNANSWERED || !rpc_is_finish_reply(header, guard->finish_serial))
		return FLOW_PASS;
	if (flow_should_wait(header, available))
		return FLOW_KEEP;
	if (guard->hook)
		guard->hook_due = guard->holding = true;
	if (guard->holding)
		return FLOW_KEEP;
	guard->at_end = header->status == 0 ? GUARD_RUNS : GUARD_FAILED;
	return FLOW_PASS;
}

/* May the source be told this? CANCELLED: to resume; otherwise: to end. */
static bool may_confirm(const struct guard *guard, bool cancelled)
{
	switch (guard->answer) {
	case GUARD_NOT_ASKED:
		return cancelled;
	case GUARD_RUNS:
		return !cancelled;
	case GUARD_FAILED:
		return cancelled;
	default:
		return false;
	}
}

static enum flow_verdict look_at_source_call(void *data, const struct rpc_header *header,
					     const uint8_t *packet, size_t available)
{
	struct guard *guard = data;
	if (!header || !guard->armed || !rpc_is_confirm_call(header) || !is_understood(guard))
		return FLOW_PASS;
	if (flow_should_wait(header, available))
		return FLOW_KEEP;
	if (available == header->length && may_confirm(guard, rpc_is_cancelled(packet, header)))
		return FLOW_PASS;
	guard->confirm_refused = true;
	return FLOW_KEEP;
}

static enum flow_verdict look_at_nothing(void *data, const struct rpc_header *header,
					 const uint8_t *packet, size_t available)
{
	return FLOW_PASS;
}

/* ---- the cuts ---- */

static void close_relay(struct relay *relay, bool now)
{
	relay_close_host(relay, now);
	relay_close_client(relay);
	relay->closed = true;
}

/* Nothing reaches the source after this, and the library can tell it nothing. The order:
 *  1. The library's end is shut and closed. From this system call on each of its writes fails, and
 *     what it wrote before lies in the socket that is gone, or in our buffer, which nobody writes
 * out any more (`closed`).
 *  2. The host's end is closed. libvirt there sees its client go in the phase "perform done", ends
 *     the job and leaves the VM paused.
 * The caller shows the destination's end afterwards, never before. */
static void cut_source(struct guard *guard, const char *why)
{
	struct relay *source = &guard->relay[GUARD_SOURCE];
	if (!guard->attached[GUARD_SOURCE] || source->closed)
		return;
	relay_close_client(source);
	relay_close_host(source, true);
	source->closed = true;
	if (!source->reason)
		source->reason = g_strdup(why);
}

static bool must_cut_first(const struct guard *guard)
{
	return guard->armed && (guard->answer == GUARD_UNANSWERED || !is_understood(guard));
}

static void note_reason(struct relay *relay)
{
	if (relay->reason)
		return;
	relay->reason = remote_complaint(&relay->child);
}

/* Show the library what happened to this relay's host, or the host that the library went. What was
 * said before the end still arrives. */
static void end_relay(struct relay *relay)
{
	if (relay->host_gone)
		note_reason(relay);
	if (relay->client_gone) {
		relay_write(relay);
		close_relay(relay, false);
		return;
	}
	relay_close_host(relay, false);
	if (!flow_has_output(&relay->answers) || relay->client < 0)
		close_relay(relay, false);
}

static void check_destination(struct guard *guard)
{
	struct relay *destination = &guard->relay[GUARD_DESTINATION];
	if (!guard->attached[GUARD_DESTINATION] || destination->closed)
		return;
	if (!destination->host_gone && !destination->client_gone)
		return;
	if (must_cut_first(guard))
		cut_source(guard, _("cut by watari: the destination was lost before it answered"));
	end_relay(destination);
}

static void check_source(struct guard *guard)
{
	struct relay *source = &guard->relay[GUARD_SOURCE];
	if (!guard->attached[GUARD_SOURCE] || source->closed)
		return;
	if (guard->confirm_refused)
		cut_source(guard,
			   _("cut by watari: it was to be told what the destination never said"));
	else if (source->host_gone || source->client_gone)
		end_relay(source);
}

/* Nothing of what was just read has left, so this is a loss before Finish: the source may go on. */
static void refuse_to_pass(struct guard *guard)
{
	struct relay *destination = &guard->relay[GUARD_DESTINATION];
	relay_close_host(destination, true);
	destination->host_gone = true;
	guard->answer = guard->told = GUARD_NOT_ASKED;
	if (!destination->reason)
		destination->reason = g_strdup(
			_("cut by watari: that the VM is started there could not be written down"));
}

/* Called before what was read leaves: whoever must know of Finish knows before the destination does. */
static void tell_answer(struct guard *guard)
{
	enum guard_answer answer = is_understood(guard) ? guard->answer : GUARD_UNKNOWN;
	if (!guard->armed || !guard->tell || answer == guard->told)
		return;
	guard->told = answer;
	bool good = guard->tell(answer, guard->tell_data);
	if (!good && (answer == GUARD_UNANSWERED || answer == GUARD_UNKNOWN))
		refuse_to_pass(guard);
}

/* ---- the thread ---- */

/* The destination is looked at before anything of the library's reaches the source: when the
 * library closed its end there, that is seen before the Confirm it wrote afterwards. */
static void step(struct guard *guard)
{
	static const enum guard_side order[] = { GUARD_DESTINATION, GUARD_SOURCE };
	for (unsigned i = 0; i < SIDES; i++) {
		struct relay *relay = &guard->relay[order[i]];
		if (!guard->attached[order[i]] || relay->closed)
			continue;
		relay_accept(relay);
		relay_read(relay);
		tell_answer(guard);
		check_destination(guard);
		check_source(guard);
		if (relay->closed)
			continue;
		relay_write(relay);
		check_destination(guard);
		check_source(guard);
	}
}

static void want(struct pollfd *set, unsigned *count, int fd, bool in, bool out)
{
	short events = (short) ((in ? POLLIN : 0) | (out ? POLLOUT : 0));
	if (fd >= 0 && events)
		set[(*count)++] = (struct pollfd){ .fd = fd, .events = events };
}

/* Asking for nothing means not being in the set at all: a hang-up is reported regardless of what
 * was asked, and would keep the thread spinning while a full buffer drains. */
static unsigned fill_poll(struct guard *guard, struct pollfd *set)
{
	unsigned count = 0;
	want(set, &count, guard->wake, true, false);
	for (unsigned i = 0; i < SIDES; i++) {
		struct relay *relay = &guard->relay[i];
		if (!guard->attached[i] || relay->closed)
			continue;
		want(set, &count, relay->listener, true, false);
		want(set, &count, relay->client,
		     !relay->client_gone && flow_has_room(&relay->calls),
		     flow_has_output(&relay->answers));
		want(set, &count, relay->from, !relay->host_gone && flow_has_room(&relay->answers),
		     false);
		want(set, &count, relay->to, false, flow_has_output(&relay->calls));
		want(set, &count, relay->child.errors, true, false);
	}
	return count;
}

static void run_hook(struct guard *guard)
{
	void (*hook)(void *) = guard->hook;
	guard->hook = NULL;
	guard->hook_due = false;
	pthread_mutex_unlock(&guard->lock);
	hook(guard->hook_data);
	pthread_mutex_lock(&guard->lock);
}

static gpointer guard_thread(gpointer data)
{
	struct guard *guard = data;
	struct pollfd set[POLL_MAX];
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL); /* SIGPIPE too: writes fail instead */
	pthread_mutex_lock(&guard->lock);
	while (!guard->stop) {
		unsigned count = fill_poll(guard, set);
		pthread_mutex_unlock(&guard->lock);
		poll(set, count, -1);
		uint64_t woken;
		if (read(guard->wake, &woken, sizeof(woken)) < 0 && errno != EAGAIN)
			g_warning("guard: %s", g_strerror(errno));
		pthread_mutex_lock(&guard->lock);
		step(guard);
		if (guard->hook_due)
			run_hook(guard);
	}
	pthread_mutex_unlock(&guard->lock);
	return NULL;
}

static void wake(struct guard *guard)
{
	uint64_t one = 1;
	if (write(guard->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
		g_warning("guard: %s", g_strerror(errno));
}

/* ---- the outside ---- */

/* libvirt's library writes to its socket without care for SIGPIPE, and the cut closes that socket
 * under it: the process would die in the very moment the guard is there for. */
static void ignore_sigpipe(void)
{
	struct sigaction action;
	if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

struct guard *guard_new(GError **error)
{
	ignore_sigpipe();
	struct guard *guard = g_new0(struct guard, 1);
	pthread_mutex_init(&guard->lock, NULL);
	guard->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (guard->wake < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "eventfd: %s", g_strerror(errno));
		pthread_mutex_destroy(&guard->lock);
		g_free(guard);
		return NULL;
	}
	guard->thread = g_thread_new("guard", guard_thread, guard);
	return guard;
}

char *guard_attach(struct guard *guard, enum guard_side side, const struct remote_shell *shell,
		   const struct host_address *host, GError **error)
{
	struct relay relay = { 0 };
	if (!relay_open(&relay, shell, host, error)) {
		relay_free(&relay);
		return NULL;
	}
	char *uri = relay_uri(&relay);
	pthread_mutex_lock(&guard->lock);
	g_assert(!guard->attached[side]);
	flow_init(&relay.calls,
		  side == GUARD_DESTINATION ? look_at_destination_call : look_at_source_call,
		  guard);
	flow_init(&relay.answers,
		  side == GUARD_DESTINATION ? look_at_destination_answer : look_at_nothing, guard);
	guard->relay[side] = relay;
	guard->attached[side] = true;
	pthread_mutex_unlock(&guard->lock);
	wake(guard);
	return uri;
}

static void set_armed(struct guard *guard, bool armed)
{
	pthread_mutex_lock(&guard->lock);
	guard->armed = armed;
	if (armed) {
		guard->answer = guard->at_end = guard->told = GUARD_NOT_ASKED;
		guard->confirm_refused = false;
	}
	pthread_mutex_unlock(&guard->lock);
}

void guard_arm(struct guard *guard)
{
	set_armed(guard, true);
}

void guard_disarm(struct guard *guard)
{
	set_armed(guard, false);
}

void guard_on_answer(struct guard *guard, bool (*tell)(enum guard_answer answer, void *data),
		     void *data)
{
	pthread_mutex_lock(&guard->lock);
	guard->tell = tell;
	guard->tell_data = data;
	pthread_mutex_unlock(&guard->lock);
}

void guard_cut(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	cut_source(guard, _("cut by watari"));
	if (guard->attached[GUARD_DESTINATION] && !guard->relay[GUARD_DESTINATION].closed)
		close_relay(&guard->relay[GUARD_DESTINATION], true);
	pthread_mutex_unlock(&guard->lock);
	wake(guard);
}

bool guard_is_broken(struct guard *guard, enum guard_side side, char **reason)
{
	pthread_mutex_lock(&guard->lock);
	struct relay *relay = &guard->relay[side];
	bool broken = guard->attached[side] && (relay->closed || relay->host_gone);
	if (reason)
		*reason = broken ? g_strdup(relay->reason ? relay->reason : "") : NULL;
	pthread_mutex_unlock(&guard->lock);
	return broken;
}

bool guard_finish_sent(struct guard *guard)
{
	return guard_answer(guard) >= GUARD_UNANSWERED;
}

enum guard_answer guard_answer(struct guard *guard)
{
	pthread_mutex_lock(&guard->lock);
	enum guard_answer answer = guard->answer;
	if (guard->armed && !is_understood(guard))
		answer = GUARD_UNKNOWN;
	pthread_mutex_unlock(&guard->lock);
	return answer;
}

void guard_free(struct guard *guard)
{
	if (!guard)
		return;
	pthread_mutex_lock(&guard->lock);
	guard->stop = true;
	pthread_mutex_unlock(&guard->lock);
	wake(guard);
	g_thread_join(guard->thread);
	for (unsigned i = 0; i < SIDES; i++)
		if (guard->attached[i])
			relay_free(&guard->relay[i]);
	fd_clear(&guard->wake);
	pthread_mutex_destroy(&guard->lock);
	g_free(guard);
}

void guard_test_hold_finish(struct guard *guard, void (*hook)(void *data), void *data)
{
	pthread_mutex_lock(&guard->lock);
	guard->hook = hook;
	guard->hook_data = data;
	guard->holding = false;
	pthread_mutex_unlock(&guard->lock);
}

pid_t guard_test_child(struct guard *guard, enum guard_side side)
{
	pthread_mutex_lock(&guard->lock);
	pid_t pid = guard->attached[side] ? guard->relay[side].child.pid : -1;
	pthread_mutex_unlock(&guard->lock);
	return pid;
}
