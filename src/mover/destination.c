/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's pipelines: frames into QEMU's socket, each checked right before it is written;
 * the return path back; answers at the gate. */
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/fault.h"
#include "mover/gate.h"
#include "mover/local.h"
#include "mover/observe.h"
#include "mover/run.h"
#include "stream/return_path.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#define CONNECT_WAIT_MS \
	10000 /* the first bytes come after libvirt has prepared the incoming QEMU */

static void *listener_thread(void *data);

struct emitter {
	struct run *run;
	struct observer *observer;
	struct tag_context *tags;
};

/* QEMU is connected to when the first frame is here: not before libvirt started it. */
static bool connect_qemu(struct run *run)
{
	g_autoptr(GError) error = NULL;
	int fd = local_connect(run->socket_path, CONNECT_WAIT_MS, &error);
	if (fd < 0) {
		run_refuse_error(run, "local", error);
		return false;
	}
	pthread_mutex_lock(&run->lock);
	run->qemu_pid = local_peer_pid(fd);
	pthread_mutex_unlock(&run->lock);
	if (!run_adopt_qemu(run, fd))
		return false;
	if (!run_spawn(run, listener_thread, &error)) {
		run_refuse_error(run, "internal", error);
		return false;
	}
	return true;
}

static bool emit_frame(struct emitter *emitter, struct link_frame *frame)
{
	struct run *run = emitter->run;
	uint8_t tag[TAG_BYTES];
	if (run->qemu < 0 && !connect_qemu(run))
		return false;
	observer_see(emitter->observer, frame->data, frame->length);
	fault_decoded(run, emitter->observer, frame);
	tag_compute(emitter->tags, frame->data, frame->length, tag);
	if (!tag_equal(tag, frame->tag)) {
		run_refuse(run, "verify",
			   _("frame %" PRIu64
			     " differs from what the source sent (wrong after decoding)"),
			   frame->sequence);
		return false;
	}
	fault_late(run, emitter->observer, frame);
	if (!fd_write_all(run->qemu, frame->data, frame->length)) {
		run_refuse(run, "local", _("the destination QEMU takes no more: %s"),
			   g_strerror(errno));
		return false;
	}
	run_count_frame(run, emitter->tags, frame);
	return true;
}

static void emit_stream(struct emitter *emitter)
{
	struct run *run = emitter->run;
	for (bool open = true; open;) {
		g_autoptr(GError) error = NULL;
		bool finished = false;
		struct link_frame *frame =
			link_receive(run->link, LINK_MEMORY, -1, &finished, &error);
		if (!frame) {
			if (error)
				run_refuse_error(run, "link", error);
			else if (run->qemu >= 0)
				shutdown(run->qemu, SHUT_WR);
			return;
		}
		open = emit_frame(emitter, frame);
		link_frame_done(run->link, LINK_MEMORY, frame);
	}
}

static void *emitter_thread(void *data)
{
	struct run *run = data;
	struct emitter emitter = { .run = run,
				   .observer = observer_new(run),
				   .tags = tag_context_new(run->settings->key, "frame") };
	emit_stream(&emitter);
	observer_free(emitter.observer);
	tag_context_free(emitter.tags);
	return run_thread_ends(run);
}

/* The destination too must know when it has loaded: from there on a broken link changes nothing. */
static void watch_messages(struct run *run, struct return_reader *messages,
			   const struct link_frame *frame)
{
	struct return_message message;
	return_reader_feed(messages, frame->data, frame->length);
	while (return_reader_next(messages, &message))
		if (message.type == RETURN_SHUT && message.value == 0)
			run_advance(run, RUN_LOADED);
}

static bool listen_once(struct run *run, struct return_reader *messages)
{
	g_autoptr(GError) error = NULL;
	struct link_frame *frame = link_frame_begin(run->link, LINK_RETURN, &error);
	if (!frame) {
		run_refuse_error(run, "link", error);
		return false;
	}
	ssize_t n;
	do
		n = read(run->qemu, frame->data, LINK_PAYLOAD_MAX);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		link_frame_cancel(run->link, LINK_RETURN, frame);
		/* Once refused, the reason must reach the source, not this mere consequence of it. */
		enum run_phase phase = run_get_phase(run);
		if (phase != RUN_REFUSED)
			link_finish(run->link, LINK_RETURN);
		if (phase < RUN_LOADED)
			run_refuse(run, "local", "%s",
				   _("the destination QEMU closed its socket before it had loaded "
				     "the VM; its log says why"));
		return false;
	}
	frame->length = (size_t) n;
	watch_messages(run, messages, frame);
	link_frame_commit(run->link, LINK_RETURN, frame);
	return true;
}

static void *listener_thread(void *data)
{
	struct run *run = data;
	struct return_reader *messages = return_reader_new();
	while (listen_once(run, messages))
		continue;
	return_reader_free(messages);
	return run_thread_ends(run);
}

static void *talker_thread(void *data)
{
	struct run *run = data;
	gate_answer(run);
	return run_thread_ends(run);
}

bool destination_start(struct run *run, GError **error)
{
	return run_spawn(run, emitter_thread, error) && run_spawn(run, talker_thread, error);
}
