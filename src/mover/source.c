/* SPDX-License-Identifier: Apache-2.0 */
/* The source's pipelines: QEMU's stream into frames; the return path back, with the gate at SHUT.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/disks/disk_rehearse_hold.h"
#include "mover/disks/disk_source.h"
#include "mover/core/rehearse_hold.h"
#include "mover/pipeline/encoders.h"
#include "mover/core/gate.h"
#include "mover/core/qemu_socket.h"
#include "mover/core/observe.h"
#include "mover/pass_end.h"
#include "mover/core/postcopy_run.h"
#include "mover/pipeline/page_requests.h"
#include "mover/core/transfer.h"
#include "mover/disks/seeds.h"
#include "stream/return_path.h"

#include <errno.h>
#include <poll.h>

#define LINGER_MS 1 /* a batch that is not full goes out after that much silence */
/* In post-copy little goes into one: the guest may wait for the last page in it. */
#define POSTCOPY_BATCH (32 * 1024)

struct reader {
	struct run *run;
	struct observer *observer;
	struct dwell *dwell; /* NULL: no rehearsal */
	struct pass_end pass_end;
	int qemu;
	bool stopped;  /* the VM is: nothing lingers any more */
	uint8_t *tail; /* of a batch: a record that is not complete */
	/* The end of the package of post-copy, which leaves only with what QEMU writes behind it
	 * (postcopy_run.h); or NULL. */
	struct batch *held;
};

/* So much may be added to BATCH now. */
static size_t portion(const struct reader *reader, const struct batch *batch)
{
	const struct stream_stats *stats = stream_reader_stats(observer_reader(reader->observer));
	size_t most = POSTCOPY_BATCH;
	if (!stats->postcopy && !stats->resumed)
		most = encoders_portion(reader->run->encoders);
	return MIN(batch_room(batch), most);
}

/* Add to BATCH from QEMU's socket until it is full or nothing more comes for a moment. False at the
 * end of the stream or on an error (errno, 0: end); the batch may hold bytes. */
static bool fill(struct reader *reader, struct batch *batch)
{
	size_t before = batch->filled; /* an unfinished record alone is not worth sending */
	size_t full = before + portion(reader, batch);
	while (batch->filled < full) {
		struct pollfd ready = { .fd = reader->qemu, .events = POLLIN };
		int patience = batch->filled == before ? -1 : reader->stopped ? 0 : LINGER_MS;
		int n = poll(&ready, 1, patience);
		if (n == 0)
			return true;
		if (n < 0 && errno == EINTR)
			continue;
		ssize_t got = read(reader->qemu, batch->raw + batch->filled, full - batch->filled);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			if (got == 0)
				errno = 0;
			return false;
		}
		batch->filled += (size_t) got;
	}
	return true;
}

static void tell_counts(struct reader *reader)
{
	struct run *run = reader->run;
	pthread_mutex_lock(&run->lock);
	run->content.pages = *sorter_counts(run->sorter);
	reader->stopped = run->stream.stopped || run->stream.postcopy || run->stream.resumed;
	pthread_mutex_unlock(&run->lock);
}

/* Decide how each page of it travels, and send it on its way. What is not understood goes as it is,
 * from there on. */
static void sort_and_submit(struct reader *reader, struct batch *batch)
{
	struct run *run = reader->run;
	const struct stream_reader *stream = observer_reader(reader->observer);
	bool plain = encoders_store(run->encoders);
	pthread_mutex_lock(&run->sorting);
	disk_source_judge(run->disk_source);
	sorter_seeds_taken(run->sorter, encoders_seeds_taken(run->encoders));
	if (stream_reader_opaque_reason(stream) || run->settings->recover)
		sorter_forget(run->sorter);
	if (batch->has_blocks)
		sorter_set_blocks(run->sorter, stream);
	sorter_sort(run->sorter, batch, plain);
	requests_answer(run->requests, batch);
	tell_counts(reader);
	encoders_submit(run->encoders, batch);
	pthread_mutex_unlock(&run->sorting);
}

/* Before the hand-over the end means cancelled or failed: the destination must not take what it has
 * for a whole VM. After it, and in post-copy once all has come, it is QEMU's farewell. */
static void end_stream(struct reader *reader, int reason)
{
	struct run *run = reader->run;
	bool good = encoders_finish(run->encoders);
	if (!run_is_farewell(run))
		run_refuse(run, "local", _("the source QEMU closed its migration stream (%s)"),
			   reason ? g_strerror(reason) : _("cancelled or failed there"));
	if (good)
		link_finish(run->link, LINK_MEMORY);
}

/* The package ends with this batch, and nothing has come behind it yet. */
static bool is_uncommitted(const struct reader *reader)
{
	const struct stream_stats *stats = stream_reader_stats(observer_reader(reader->observer));
	return stats->postcopy && !stats->committed;
}

static void submit(struct reader *reader, struct batch *batch)
{
	if (reader->held)
		sort_and_submit(reader, g_steal_pointer(&reader->held));
	if (is_uncommitted(reader))
		reader->held = batch;
	else
		sort_and_submit(reader, batch);
}

static void read_stream(struct reader *reader)
{
	struct encoders *encoders = reader->run->encoders;
	struct batch *batch = encoders_take(encoders);
	bool more = true;
	while (batch && more) {
		more = fill(reader, batch);
		int reason = errno;
		observer_read(reader->observer, batch);
		if (!more)
			batch_flush(batch, observer_reader(reader->observer));
		if (batch->count) {
			size_t left = batch_take_tail(batch, reader->tail);
			dwell_note(reader->dwell, batch, observer_reader(reader->observer));
			pass_end_note(&reader->pass_end, batch, observer_reader(reader->observer));
			submit(reader, batch);
			dwell_here(reader->dwell);
			pass_end_here(&reader->pass_end, reader->run);
			batch = encoders_take(encoders);
			if (batch)
				batch_begin(batch, reader->tail, left);
		}
		if (!more)
			end_stream(reader, reason);
	}
	if (batch)
		encoders_give_back(encoders, batch);
	if (reader->held)
		encoders_give_back(encoders, g_steal_pointer(&reader->held));
}

/* The VM is off, and its disks were all: the gate is passed without a SHUT. */
static void end_without_memory(struct run *run)
{
	if (encoders_finish(run->encoders) && gate_pass(run))
		link_finish(run->link, LINK_MEMORY);
}

static void *reader_thread(void *data)
{
	struct run *run = data;
	g_autoptr(GError) error = NULL;
	struct reader reader = { .run = run,
				 .qemu = local_accept(run->listener, local_may_libvirt,
						      run->settings, &error) };
	if (reader.qemu < 0 && g_atomic_int_get(&run->no_memory)) {
		end_without_memory(run);
		goto out;
	}
	if (reader.qemu < 0) {
		run_refuse_error(run, "local", error);
		goto out;
	}
	if (!owners_share(run->owners, &error)) {
		fd_clear(&reader.qemu);
		run_refuse_error(run, "local", error);
		goto out;
	}
	if (!run_adopt_qemu(run, reader.qemu))
		goto out;
	disk_dwell_whole(run->disk_source);
	reader.observer = observer_new(run);
	reader.tail = g_malloc(STREAM_CARRY_MAX);
	reader.dwell = dwell_new(run);
	reader.pass_end.early = run->settings->postcopy_first;
	read_stream(&reader);
	dwell_free(reader.dwell);
	g_free(reader.tail);
	observer_free(reader.observer);
out:
	disk_source_break(run->disk_source);
	encoders_finish(run->encoders); /* ends the workers */
	return run_thread_ends(run);
}

static void note_request(struct run *run, const struct return_message *message)
{
	requests_arrived(run->requests, encoders_frames_arrived(run->encoders));
	pthread_mutex_lock(&run->lock);
	requests_ask(run->requests, message, run->blocks, run->block_count);
	pthread_mutex_unlock(&run->lock);
}

/* Hand one message of the return path to QEMU. SHUT 0 stays here until the gate opens; a SHUT that
 * says "failed" goes on at once, so that QEMU knows. */
static bool pass_message(struct run *run, const struct return_message *message)
{
	if (message->type == RETURN_SHUT && message->value == 0 && !gate_pass(run))
		return false;
	if (message->type == RETURN_REQUEST_PAGES || message->type == RETURN_REQUEST_PAGES_ID)
		note_request(run, message);
	if (fd_write_all(run->qemu, message->bytes, message->length)) {
		if (message->type == RETURN_SHUT)
			watchdog_rest(run->watchdog); /* QEMU has its answer */
		return true;
	}
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

static bool make_sorter(struct run *run, GError **error)
{
	struct known_sizes sizes = known_sizes_for(run->settings->memory_limit);
	unsigned seeds = run->disks ? run->disks->seed_count : 0;
	uint64_t bytes[KNOWN_SEEDS_MAX] = { 0 };
	if (seeds > 0 && !seeds_receive(run, bytes, error))
		return false;
	run->requests = requests_new();
	run->sorter = sorter_new(run->settings->key, run->page_key, &sizes);
	for (unsigned i = 0; i < seeds; i++)
		sorter_add_seed(run->sorter, bytes[i]);
	if (!run->settings->encode)
		sorter_forget(run->sorter);
	return true;
}

/* Disks before the reader, who asks what they say. */
bool source_start(struct run *run, GError **error)
{
	return owners_begin(run->owners, error) && make_sorter(run, error) &&
	       encoders_start(run, error) && (!run->disks || disk_source_start(run, error)) &&
	       run_spawn(run, reader_thread, error) && run_spawn(run, returner_thread, error);
}
