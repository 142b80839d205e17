/* SPDX-License-Identifier: Apache-2.0 */
/* The source's pipelines: QEMU's stream into frames; the return path back, with the gate at SHUT.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/gate.h"
#include "mover/local.h"
#include "mover/observe.h"
#include "mover/run.h"
#include "stream/return_path.h"

#include <errno.h>
#include <poll.h>

#define BATCH_MIN (32 * 1024) /* smaller frames cost more than they save */
#define LINGER_MS 1           /* a partial batch goes out after that much silence */

struct reader {
	struct run *run;
	struct observer *observer;
	struct tag_context *tags;
	int qemu;
};

/* A frame is a small part of the window, so that a slow link gets small steps. */
static size_t batch_bytes(struct run *run)
{
	struct link_stats stats;
	link_get_stats(run->link, &stats);
	return CLAMP(stats.window / 8, BATCH_MIN, LINK_PAYLOAD_MAX);
}

/* Fill FRAME from QEMU's socket until BATCH bytes are there or nothing more comes for a moment.
 * False at the end of the stream or on an error (errno, 0: end); the frame may hold bytes. */
static bool fill_frame(int qemu, struct link_frame *frame, size_t batch)
{
	while (frame->length < batch) {
		struct pollfd ready = { .fd = qemu, .events = POLLIN };
		int n = poll(&ready, 1, frame->length ? LINGER_MS : -1);
		if (n == 0)
			return true;
		if (n < 0 && errno == EINTR)
			continue;
		ssize_t got = read(qemu, frame->data + frame->length, batch - frame->length);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			if (got == 0)
				errno = 0;
			return false;
		}
		frame->length += (size_t) got;
	}
	return true;
}

static void send_frame(struct reader *reader, struct link_frame *frame)
{
	struct run *run = reader->run;
	if (frame->length == 0) {
		link_frame_cancel(run->link, LINK_MEMORY, frame);
		return;
	}
	observer_see(reader->observer, frame->data, frame->length);
	tag_compute(reader->tags, frame->data, frame->length, frame->tag);
	run_count_frame(run, reader->tags, frame);
	link_frame_commit(run->link, LINK_MEMORY, frame);
}

static void read_stream(struct reader *reader)
{
	struct run *run = reader->run;
	for (;;) {
		g_autoptr(GError) error = NULL;
		struct link_frame *frame = link_frame_begin(run->link, LINK_MEMORY, &error);
		if (!frame) {
			run_refuse_error(run, "link", error);
			return;
		}
		frame->length = 0;
		bool more = fill_frame(reader->qemu, frame, batch_bytes(run));
		int reason = errno;
		send_frame(reader, frame);
		if (!more) {
			/* Before the hand-over the end means cancelled or failed: the destination
			 * must not take what it has for a whole VM. After it, it is QEMU's
			 * farewell. */
			run_refuse(run, "local",
				   _("the source QEMU closed its migration stream (%s)"),
				   reason ? g_strerror(reason) : _("cancelled or failed there"));
			link_finish(run->link, LINK_MEMORY);
			return;
		}
	}
}

static void *reader_thread(void *data)
{
	struct run *run = data;
	g_autoptr(GError) error = NULL;
	struct reader reader = { .run = run, .qemu = local_accept(run->listener, &error) };
	if (reader.qemu < 0) {
		run_refuse_error(run, "local", error);
		return run_thread_ends(run);
	}
	if (!run_adopt_qemu(run, reader.qemu))
		return run_thread_ends(run);
	reader.tags = tag_context_new(run->settings->key, "frame");
	reader.observer = observer_new(run);
	read_stream(&reader);
	observer_free(reader.observer);
	tag_context_free(reader.tags);
	return run_thread_ends(run);
}

/* Hand one message of the return path to QEMU. SHUT 0 stays here until the gate opens; a SHUT that
 * says "failed" goes on at once, so that QEMU knows. */
static bool pass_message(struct run *run, const struct return_message *message)
{
	if (message->type == RETURN_SHUT && message->value == 0 && !gate_pass(run))
		return false;
	if (fd_write_all(run->qemu, message->bytes, message->length))
		return true;
	run_refuse(run, "local", _("the source QEMU takes no return path: %s"), g_strerror(errno));
	return false;
}

static bool pass_frame(struct run *run, struct return_reader *messages, struct link_frame *frame)
{
	struct return_message message;
	return_reader_feed(messages, frame->data, frame->length);
	while (return_reader_next(messages, &message))
		if (!pass_message(run, &message))
			return false;
	return true;
}

static void *returner_thread(void *data)
{
	struct run *run = data;
	struct return_reader *messages = return_reader_new();
	for (bool open = true; open;) {
		g_autoptr(GError) error = NULL;
		bool finished = false;
		struct link_frame *frame =
			link_receive(run->link, LINK_RETURN, -1, &finished, &error);
		if (!frame) {
			if (error)
				run_refuse_error(run, "link", error);
			else
				run_refuse(run, "peer", "%s",
					   _("the destination QEMU closed its return path"));
			break;
		}
		open = pass_frame(run, messages, frame);
		link_frame_done(run->link, LINK_RETURN, frame);
	}
	return_reader_free(messages);
	return run_thread_ends(run);
}

bool source_start(struct run *run, GError **error)
{
	return run_spawn(run, reader_thread, error) && run_spawn(run, returner_thread, error);
}
