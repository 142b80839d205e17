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
#include "mover/peer_process.h"
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
	struct run *run;
	struct observer *observer;
	struct resolver *resolver;
	struct tag_context *chain;
	uint8_t *records; /* written anew */
};

/* QEMU is connected to when the first frame is here: not before libvirt started it. */
static bool connect_qemu(struct run *run)
{
	g_autoptr(GError) error = NULL;
	int fd = local_connect(run->socket_path, CONNECT_WAIT_MS, &error);
	if (fd < 0 || !peer_is_qemu(fd, run->settings, &error)) {
		run_refuse_error(run, "local", error);
		if (fd >= 0)
			close(fd);
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

/* Between the resolver and QEMU: where the records of this batch are. */
struct records {
	uint8_t *bytes;
	size_t length;
};

static enum resolver_answer resolve(struct emitter *emitter, const struct decoded *decoded,
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
	fault_decoded(emitter->run, batch);
	return resolver_plain(emitter->resolver, batch, decoded->frame->tag);
}

static bool check(struct emitter *emitter, const struct decoded *decoded,
		  enum resolver_answer answer)
{
	const char *reason[] = {
		[RESOLVER_DAMAGED] = N_("it names what is not there"),
		[RESOLVER_DIFFERENT] = N_("wrong after decoding"),
	};
	if (answer == RESOLVER_GOOD)
		return true;
	run_refuse(emitter->run, "verify",
		   _("frame %" PRIu64 " differs from what the source sent (%s)"),
		   decoded->frame->sequence, _(reason[answer]));
	return false;
}

static bool emit_disk(struct emitter *emitter, const struct decoded *decoded)
{
	struct run *run = emitter->run;
	if (!run->disk_destination)
		run_refuse(run, "protocol", "%s",
			   _("the source mover sends a disk that nobody told of"));
	if (!disk_destination_emit(run->disk_destination, emitter->resolver, decoded))
		return false;
	run_count_frame(run, emitter->chain, decoded->frame->tag, 0);
	return true;
}

static bool emit_memory(struct emitter *emitter, const struct decoded *decoded)
{
	struct run *run = emitter->run;
	struct records records;
	if (run->qemu < 0 && !connect_qemu(run))
		return false;
	if (!disk_destination_settle(run->disk_destination, decoded->batch) ||
	    !check(emitter, decoded, resolve(emitter, decoded, &records)))
		return false;
	if (decoded->batch->kind != BATCH_PLAIN)
		observer_see(emitter->observer, records.bytes, records.length);
	fault_late(run, decoded->batch, records.bytes, records.length);
	if (!fd_write_all(run->qemu, records.bytes, records.length)) {
		run_refuse(run, "local", _("the destination QEMU takes no more: %s"),
			   g_strerror(errno));
		return false;
	}
	run_count_frame(run, emitter->chain, decoded->frame->tag, decoded->batch->original_bytes);
	return true;
}

static bool emit(struct emitter *emitter, const struct decoded *decoded)
{
	bool disk = batch_is_disk(decoded->batch);
	return disk ? emit_disk(emitter, decoded) : emit_memory(emitter, decoded);
}

static void emit_stream(struct emitter *emitter)
{
	struct run *run = emitter->run;
	struct decoded decoded;
	while (decoders_next(run->decoders, &decoded)) {
		bool good = emit(emitter, &decoded);
		decoders_done(run->decoders, &decoded);
		if (!good)
			break;
	}
	if (run_get_phase(run) != RUN_REFUSED && run->qemu >= 0)
		shutdown(run->qemu, SHUT_WR);
	decoders_stop(run->decoders);
}

static void *emitter_thread(void *data)
{
	struct run *run = data;
	struct emitter emitter = { .run = run,
				   .observer = observer_new(run),
				   .resolver = run->resolver,
				   .chain = tag_context_new(run->settings->key, "chain"),
				   .records = g_malloc(BATCH_EMIT_MAX) };
	emit_stream(&emitter);
	seeds_finish(run->seeds);
	disk_destination_finish(run->disk_destination);
	/* No memory came, and so nobody speaks on the return path. Once refused, the reason must reach the
	 * source, not this mere consequence of it. */
	if (run->qemu < 0 && run_get_phase(run) != RUN_REFUSED)
		link_finish(run->link, LINK_RETURN);
	observer_free(emitter.observer);
	tag_context_free(emitter.chain);
	g_free(emitter.records);
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

static bool make_resolver(struct run *run, GError **error)
{
	struct known_sizes sizes = known_sizes_for(run->settings->memory_limit);
	unsigned seeds = run->disks ? run->disks->seed_count : 0;
	if (seeds > 0 && !seeds_start(run, error))
		return false;
	run->resolver = resolver_new(run->settings->key, run->page_key, &sizes);
	for (unsigned i = 0; i < seeds; i++)
		resolver_add_seed(run->resolver, seeds_bytes(run->seeds, i));
	return true;
}

/* Disks before the workers, who look for what they refer to. */
bool destination_start(struct run *run, GError **error)
{
	return make_resolver(run, error) && (!run->disks || disk_destination_start(run, error)) &&
	       decoders_start(run, error) && run_spawn(run, emitter_thread, error) &&
	       run_spawn(run, talker_thread, error);
}
