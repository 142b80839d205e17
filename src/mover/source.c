/* SPDX-License-Identifier: Apache-2.0 */
/* The source's pipelines: QEMU's stream into frames; the return path back, with the gate at SHUT.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/disks/disk_rehearse_hold.h"
#include "mover/disks/disk_source.h"
#include "mover/rehearse_hold.h"
#include "mover/pipeline/encoders.h"
#include "mover/core/gate.h"
#include "mover/core/qemu_socket.h"
#include "mover/core/guest_memory.h"
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
	struct transfer *transfer;
	struct observer *observer;
	struct rehearse_hold *rehearse_hold; /* NULL: no rehearsal */
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
		most = encoders_portion(reader->transfer->encoders);
	return MIN(batch_room(batch), most);
}

/* Add to BATCH from QEMU's socket until it is full or nothing more comes for a moment. False at the
 * end of the stream or on an error (errno, 0: end); the batch may hold bytes. */
static bool fill_batch(struct reader *reader, struct batch *batch)
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
	struct transfer *transfer = reader->transfer;
	pthread_mutex_lock(&transfer->lock);
	transfer->content.pages = *sorter_counts(transfer->sorter);
	reader->stopped =
		transfer->stream.stopped || transfer->stream.postcopy || transfer->stream.resumed;
	pthread_mutex_unlock(&transfer->lock);
}

/* Decide how each page of it travels, and send it on its way. What is not understood goes as it is,
 * from there on. */
static void sort_and_submit(struct reader *reader, struct batch *batch)
{
	struct transfer *transfer = reader->transfer;
	const struct stream_reader *stream = observer_reader(reader->observer);
	bool plain = encoders_store(transfer->encoders);
	pthread_mutex_lock(&transfer->sorting);
	disk_source_judge(transfer->disk_source);
	sorter_seeds_taken(transfer->sorter, encoders_seeds_taken(transfer->encoders));
	if (stream_reader_opaque_reason(stream) || transfer->settings->recover)
		sorter_forget(transfer->sorter);
	if (batch->has_blocks)
		sorter_set_blocks(transfer->sorter, stream);
	sorter_sort(transfer->sorter, batch, plain);
	page_requests_answer(transfer->requests, batch);
	tell_counts(reader);
	encoders_submit(transfer->encoders, batch);
	pthread_mutex_unlock(&transfer->sorting);
}

/* Before the hand-over the end means cancelled or failed: the destination must not take what it has
 * for a whole VM. After it, and in post-copy once all has come, it is QEMU's farewell. */
static void end_stream(struct reader *reader, int reason)
{
	struct transfer *transfer = reader->transfer;
	bool good = encoders_finish(transfer->encoders);
	if (!transfer_is_farewell(transfer))
		transfer_refuse(transfer, "local",
				_("the source QEMU closed its migration stream (%s)"),
				reason ? g_strerror(reason) : _("cancelled or failed there"));
	if (good)
		link_finish(transfer->link, LINK_MEMORY);
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
	struct encoders *encoders = reader->transfer->encoders;
	struct batch *batch = encoders_take(encoders);
	bool more = true;
	while (batch && more) {
		more = fill_batch(reader, batch);
		int reason = errno;
		observer_read(reader->observer, batch);
		if (!more)
			batch_flush(batch, observer_reader(reader->observer));
		if (batch->count) {
			size_t left = batch_take_tail(batch, reader->tail);
			rehearse_hold_note(reader->rehearse_hold, batch,
					   observer_reader(reader->observer));
			pass_end_note(&reader->pass_end, batch, observer_reader(reader->observer));
			submit(reader, batch);
			rehearse_hold_here(reader->rehearse_hold);
			pass_end_here(&reader->pass_end, reader->transfer);
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
static void end_without_memory(struct transfer *transfer)
{
	if (encoders_finish(transfer->encoders) && gate_pass(transfer))
		link_finish(transfer->link, LINK_MEMORY);
}

static void *reader_thread(void *data)
{
	struct transfer *transfer = data;
	g_autoptr(GError) error = NULL;
	struct reader reader = { .transfer = transfer,
				 .qemu = qemu_socket_accept(transfer->listener,
							    qemu_socket_may_libvirt,
							    transfer->settings, &error) };
	if (reader.qemu < 0 && g_atomic_int_get(&transfer->no_memory)) {
		end_without_memory(transfer);
		goto out;
	}
	if (reader.qemu < 0) {
		transfer_refuse_error(transfer, "local", error);
		goto out;
	}
	if (!owners_share(transfer->owners, &error)) {
		fd_clear(&reader.qemu);
		transfer_refuse_error(transfer, "local", error);
		goto out;
	}
	if (!transfer_adopt_qemu(transfer, reader.qemu))
		goto out;
	disk_rehearse_hold_whole(transfer->disk_source);
	reader.observer = observer_new(transfer);
	reader.tail = g_malloc(STREAM_CARRY_MAX);
	reader.rehearse_hold = rehearse_hold_new(transfer);
	reader.pass_end.early = transfer->settings->postcopy_first;
	read_stream(&reader);
	rehearse_hold_free(reader.rehearse_hold);
	g_free(reader.tail);
	observer_free(reader.observer);
out:
	disk_source_break(transfer->disk_source);
	encoders_finish(transfer->encoders); /* ends the workers */
	return transfer_thread_ends(transfer);
}

static void note_request(struct transfer *transfer, const struct return_message *message)
{
	page_requests_arrived(transfer->requests, encoders_frames_arrived(transfer->encoders));
	pthread_mutex_lock(&transfer->lock);
	page_requests_ask(transfer->requests, message, transfer->blocks, transfer->block_count);
	pthread_mutex_unlock(&transfer->lock);
}

/* Hand one message of the return path to QEMU. SHUT 0 stays here until the gate opens; a SHUT that
 * says "failed" goes on at once, so that QEMU knows. */
static bool pass_message(struct transfer *transfer, const struct return_message *message)
{
	if (message->type == RETURN_SHUT && message->value == 0 && !gate_pass(transfer))
		return false;
	if (message->type == RETURN_REQUEST_PAGES || message->type == RETURN_REQUEST_PAGES_ID)
		note_request(transfer, message);
	if (fd_write_all(transfer->qemu, message->bytes, message->length)) {
		if (message->type == RETURN_SHUT)
			watchdog_rest(transfer->watchdog); /* QEMU has its answer */
		return true;
	}
	transfer_refuse(transfer, "local", _("the source QEMU takes no return path: %s"),
			g_strerror(errno));
	return false;
}

static bool pass_frame(struct transfer *transfer, struct return_reader *messages,
		       struct link_frame *frame)
{
	struct return_message message;
	return_reader_feed(messages, frame->data, frame->length);
	while (return_reader_next(messages, &message))
		if (!pass_message(transfer, &message))
			return false;
	return true;
}

static void *returner_thread(void *data)
{
	struct transfer *transfer = data;
	struct return_reader *messages = return_reader_new();
	for (bool open = true; open;) {
		g_autoptr(GError) error = NULL;
		bool finished = false;
		struct link_frame *frame =
			link_receive(transfer->link, LINK_RETURN, -1, &finished, &error);
		if (!frame) {
			if (error)
				transfer_refuse_error(transfer, "link", error);
			else
				transfer_refuse(transfer, "peer", "%s",
						_("the destination QEMU closed its return path"));
			break;
		}
		open = pass_frame(transfer, messages, frame);
		link_frame_done(transfer->link, LINK_RETURN, frame);
	}
	return_reader_free(messages);
	return transfer_thread_ends(transfer);
}

static bool make_sorter(struct transfer *transfer, GError **error)
{
	struct known_sizes sizes = known_sizes_for(transfer->settings->memory_limit);
	unsigned seeds = transfer->disks ? transfer->disks->seed_count : 0;
	uint64_t bytes[KNOWN_SEEDS_MAX] = { 0 };
	if (seeds > 0 && !seeds_receive(transfer, bytes, error))
		return false;
	transfer->requests = page_requests_new();
	transfer->sorter = sorter_new(transfer->settings->key, transfer->page_key, &sizes);
	for (unsigned i = 0; i < seeds; i++)
		sorter_add_seed(transfer->sorter, bytes[i]);
	if (!transfer->settings->encode)
		sorter_forget(transfer->sorter);
	return true;
}

/* Disks before the reader, who asks what they say. */
static bool start(struct transfer *transfer, GError **error)
{
	return owners_begin(transfer->owners, error) && make_sorter(transfer, error) &&
	       encoders_start(transfer, error) &&
	       (!transfer->disks || disk_source_start(transfer, error)) &&
	       transfer_spawn(transfer, reader_thread, error) &&
	       transfer_spawn(transfer, returner_thread, error);
}

/* Long before the destination is prepared and QEMU is asked for anything. */
static bool look_at_qemu(struct transfer *transfer, GError **error)
{
	const struct mover_setup *settings = transfer->settings;
	if (settings->recover)
		return true;
	int pid = guest_memory_find_qemu(settings->vm_name, settings->vm_uuid, NULL);
	transfer->owners = pid > 0 ? owners_new(pid, error) : NULL;
	return (transfer->owners || pid <= 0) && rehearse_hold_may_begin(settings, pid, error);
}

static void break_off(struct transfer *transfer)
{
	disk_source_break(transfer->disk_source);
}

static void end(struct transfer *transfer)
{
	encoders_free(transfer->encoders);
	disk_source_free(transfer->disk_source);
	sorter_free(transfer->sorter);
	page_requests_free(transfer->requests);
}

const struct transfer_role source_role = {
	.look = look_at_qemu,
	.start = start,
	.break_off = break_off,
	.end = end,
};
