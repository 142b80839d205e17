/* SPDX-License-Identifier: Apache-2.0 */
/* The destination's pipelines: frames into QEMU's socket, each checked right before it is written;
 * the return path back; answers at the gate. */
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "content/resolver.h"
#include "mover/pipeline/decoders.h"
#include "mover/disks/disk_destination.h"
#include "mover/core/fault.h"
#include "mover/core/gate.h"
#include "mover/core/qemu_socket.h"
#include "mover/core/observe.h"
#include "mover/core/peer_process.h"
#include "mover/core/transfer.h"
#include "mover/disks/seeds.h"
#include "stream/return_path.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT_WAIT_MS \
	10000 /* the first bytes come after libvirt has prepared the incoming QEMU */

static void *listener_thread(void *data);

struct emitter {
	struct transfer *transfer;
	struct observer *observer;
	struct resolver *resolver;
	struct tag_context *chain;
	uint8_t *records; /* written anew */
};

/* QEMU is connected to when the first frame is here: not before libvirt started it. */
static bool connect_qemu(struct transfer *transfer)
{
	g_autoptr(GError) error = NULL;
	int fd = qemu_socket_connect(transfer->socket_path, CONNECT_WAIT_MS, &error);
	if (fd < 0 || !peer_is_qemu(fd, transfer->settings, &error)) {
		transfer_refuse_error(transfer, "local", error);
		if (fd >= 0)
			close(fd);
		return false;
	}
	pthread_mutex_lock(&transfer->lock);
	transfer->qemu_pid = qemu_socket_peer_pid(fd);
	pthread_mutex_unlock(&transfer->lock);
	if (!transfer_adopt_qemu(transfer, fd))
		return false;
	if (!transfer_spawn(transfer, listener_thread, &error)) {
		transfer_refuse_error(transfer, "internal", error);
		return false;
	}
	return true;
}

/* Between the resolver and QEMU: where the records of this batch are. */
struct records {
	uint8_t *bytes;
	size_t length;
};

static enum resolver_answer resolve_batch(struct emitter *emitter, const struct decoded *decoded,
					  struct records *records)
{
	struct batch *batch = decoded->batch;
	const struct stream_reader *reader = observer_reader(emitter->observer);
	*records = (struct records){ batch->raw, decoded->body };
	if (batch->kind == BATCH_ITEMS) {
		records->bytes = emitter->records;
		return resolver_items(emitter->resolver, batch, reader, decoded->frame->tag,
				      records->bytes, &records->length);
	}
	batch->filled = decoded->body;
	batch->original_bytes = batch->parsed = decoded->body;
	if (batch->kind == BATCH_RAW)
		return resolver_pass(emitter->resolver, batch, decoded->frame->tag);
	batch->parsed = 0;
	observer_read(emitter->observer, batch);
	if (batch->has_blocks)
		resolver_set_blocks(emitter->resolver, reader);
	fault_decoded(emitter->transfer, batch);
	return resolver_plain(emitter->resolver, batch, decoded->frame->tag);
}

static bool check_batch(struct emitter *emitter, const struct decoded *decoded,
			enum resolver_answer answer)
{
	const char *reason[] = {
		[RESOLVER_DAMAGED] = N_("it names what is not there"),
		[RESOLVER_DIFFERENT] = N_("wrong after decoding"),
	};
	if (answer == RESOLVER_GOOD)
		return true;
	transfer_refuse(emitter->transfer, "verify",
			_("frame %" PRIu64 " differs from what the source sent (%s)"),
			decoded->frame->sequence, _(reason[answer]));
	return false;
}

static bool emit_disk(struct emitter *emitter, const struct decoded *decoded)
{
	struct transfer *transfer = emitter->transfer;
	if (!transfer->disk_destination)
		transfer_refuse(transfer, "protocol", "%s",
				_("the source mover sends a disk that nobody told of"));
	if (!disk_destination_emit(transfer->disk_destination, emitter->resolver, decoded))
		return false;
	transfer_count_frame(transfer, emitter->chain, decoded->frame->tag, 0);
	return true;
}

static bool emit_memory(struct emitter *emitter, const struct decoded *decoded)
{
	struct transfer *transfer = emitter->transfer;
	struct records records;
	if (transfer->qemu < 0 && !connect_qemu(transfer))
		return false;
	if (!disk_destination_settle(transfer->disk_destination, decoded->batch) ||
	    !check_batch(emitter, decoded, resolve_batch(emitter, decoded, &records)))
		return false;
	if (decoded->batch->kind != BATCH_PLAIN)
		observer_see(emitter->observer, records.bytes, records.length);
	fault_late(transfer, decoded->batch, records.bytes, records.length);
	if (!fd_write_all(transfer->qemu, records.bytes, records.length)) {
		transfer_refuse(transfer, "local", _("the destination QEMU takes no more: %s"),
				g_strerror(errno));
		return false;
	}
	transfer_count_frame(transfer, emitter->chain, decoded->frame->tag,
			     decoded->batch->original_bytes);
	return true;
}

static bool emit(struct emitter *emitter, const struct decoded *decoded)
{
	bool disk = batch_is_disk(decoded->batch);
	return disk ? emit_disk(emitter, decoded) : emit_memory(emitter, decoded);
}

static void emit_stream(struct emitter *emitter)
{
	struct transfer *transfer = emitter->transfer;
	struct decoded decoded;
	while (decoders_next(transfer->decoders, &decoded)) {
		bool good = emit(emitter, &decoded);
		decoders_done(transfer->decoders, &decoded);
		if (!good)
			break;
	}
	if (transfer_get_phase(transfer) != TRANSFER_REFUSED && transfer->qemu >= 0)
		shutdown(transfer->qemu, SHUT_WR);
	decoders_stop(transfer->decoders);
}

static void *emitter_thread(void *data)
{
	struct transfer *transfer = data;
	struct emitter emitter = { .transfer = transfer,
				   .observer = observer_new(transfer),
				   .resolver = transfer->resolver,
				   .chain = tag_context_new(transfer->settings->key, "chain"),
				   .records = g_malloc(BATCH_EMIT_MAX) };
	emit_stream(&emitter);
	seeds_finish(transfer->seeds);
	disk_destination_finish(transfer->disk_destination);
	/* No memory came, and so nobody speaks on the return path. Once refused, the reason must reach the
	 * source, not this mere consequence of it. */
	if (transfer->qemu < 0 && transfer_get_phase(transfer) != TRANSFER_REFUSED)
		link_finish(transfer->link, LINK_RETURN);
	observer_free(emitter.observer);
	tag_context_free(emitter.chain);
	g_free(emitter.records);
	return transfer_thread_ends(transfer);
}

/* The destination too must know when it has loaded: from there on a broken link changes nothing. */
static void watch_messages(struct transfer *transfer, struct return_reader *messages,
			   const struct link_frame *frame)
{
	struct return_message message;
	return_reader_feed(messages, frame->data, frame->length);
	while (return_reader_next(messages, &message))
		if (message.type == RETURN_SHUT && message.value == 0)
			transfer_advance(transfer, TRANSFER_LOADED);
}

static bool listen_once(struct transfer *transfer, struct return_reader *messages)
{
	g_autoptr(GError) error = NULL;
	struct link_frame *frame = link_frame_begin(transfer->link, LINK_RETURN, &error);
	if (!frame) {
		transfer_refuse_error(transfer, "link", error);
		return false;
	}
	ssize_t n;
	do
		n = read(transfer->qemu, frame->data, LINK_PAYLOAD_MAX);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		link_frame_cancel(transfer->link, LINK_RETURN, frame);
		/* Once refused, the reason must reach the source, not this mere consequence of it. */
		enum transfer_phase phase = transfer_get_phase(transfer);
		if (phase != TRANSFER_REFUSED)
			link_finish(transfer->link, LINK_RETURN);
		if (phase < TRANSFER_LOADED)
			transfer_refuse(
				transfer, "local", "%s",
				_("the destination QEMU closed its socket before it had loaded "
				  "the VM; its log says why"));
		return false;
	}
	frame->length = (size_t) n;
	watch_messages(transfer, messages, frame);
	link_frame_commit(transfer->link, LINK_RETURN, frame);
	return true;
}

static void *listener_thread(void *data)
{
	struct transfer *transfer = data;
	struct return_reader *messages = return_reader_new();
	while (listen_once(transfer, messages))
		continue;
	return_reader_free(messages);
	return transfer_thread_ends(transfer);
}

static void *talker_thread(void *data)
{
	struct transfer *transfer = data;
	gate_answer(transfer);
	return transfer_thread_ends(transfer);
}

static bool make_resolver(struct transfer *transfer, GError **error)
{
	struct known_sizes sizes = known_sizes_for(transfer->settings->memory_limit);
	unsigned seeds = transfer->disks ? transfer->disks->seed_count : 0;
	if (seeds > 0 && !seeds_start(transfer, error))
		return false;
	transfer->resolver = resolver_new(transfer->settings->key, transfer->page_key, &sizes);
	for (unsigned i = 0; i < seeds; i++)
		resolver_add_seed(transfer->resolver, seeds_bytes(transfer->seeds, i));
	return true;
}

/* Disks before the workers, who look for what they refer to. */
static bool start(struct transfer *transfer, GError **error)
{
	return make_resolver(transfer, error) &&
	       (!transfer->disks || disk_destination_start(transfer, error)) &&
	       decoders_start(transfer, error) && transfer_spawn(transfer, emitter_thread, error) &&
	       transfer_spawn(transfer, talker_thread, error);
}

static void fetch(struct transfer *transfer, struct batch *batch, struct tag_context *pages)
{
	disk_destination_fetch(transfer->disk_destination, batch, pages);
}

static bool flush(struct transfer *transfer, GError **error)
{
	return disk_destination_flush(transfer->disk_destination, error);
}

static void end(struct transfer *transfer)
{
	decoders_free(transfer->decoders);
	disk_destination_free(transfer->disk_destination);
	seeds_free(transfer->seeds);
	resolver_free(transfer->resolver);
}

const struct transfer_role destination_role = {
	.start = start,
	.fetch = fetch,
	.flush = flush,
	.end = end,
};
