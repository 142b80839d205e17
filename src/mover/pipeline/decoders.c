/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that unpack frames, given out in order. */
#include "mover/pipeline/decoders.h"

#include "base/i18n.h"
#include "base/wait.h"
#include "content/body.h"
#include "mover/pipeline/encoders.h"
#include "mover/core/fault.h"
#include "mover/core/frame.h"
#include "mover/pipeline/workers.h"

#include <inttypes.h>

struct slot {
	struct decoded decoded;
	bool ready;
};

/* A codec's stream: its batches are unpacked in order, by whichever worker has them. */
struct lineage {
	struct unpacker *unpacker;
	uint64_t given, done; /* batches given to workers; unpacked */
};

struct decoders {
	struct transfer *transfer;
	unsigned count; /* batches and slots */

	pthread_mutex_t receiving; /* frames are taken from the link by one worker at a time */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct batch **empty;
	unsigned empty_count;
	struct slot *slots; /* by index modulo count */
	uint64_t received, emitted;
	bool ended; /* nothing comes any more */
	bool stopped;
	struct lineage streams[FRAME_STREAMS];
};

struct worker {
	struct decoders *decoders;
	struct unpacker *unpacker;
	struct tag_context *pages;
};

/* What a worker has in hand. */
struct task {
	struct batch *batch;
	struct link_frame *frame;
	struct frame_head head;
	uint64_t index;
	uint64_t turn; /* in its stream */
	bool in_stream;
};

static void end_decoders(struct decoders *decoders)
{
	pthread_mutex_lock(&decoders->lock);
	decoders->ended = true;
	pthread_cond_broadcast(&decoders->changed);
	pthread_mutex_unlock(&decoders->lock);
}

static struct batch *take_empty(struct decoders *decoders)
{
	struct batch *batch = NULL;
	pthread_mutex_lock(&decoders->lock);
	while (!decoders->empty_count && !decoders->stopped && !decoders->ended)
		pthread_cond_wait(&decoders->changed, &decoders->lock);
	if (decoders->empty_count && !decoders->stopped && !decoders->ended)
		batch = decoders->empty[--decoders->empty_count];
	pthread_mutex_unlock(&decoders->lock);
	return batch;
}

static void give_back(struct decoders *decoders, struct batch *batch)
{
	pthread_mutex_lock(&decoders->lock);
	decoders->empty[decoders->empty_count++] = batch;
	pthread_cond_broadcast(&decoders->changed);
	pthread_mutex_unlock(&decoders->lock);
}

/* Gives the frame its place, among all and in its stream. */
static void place(struct decoders *decoders, struct task *task)
{
	pthread_mutex_lock(&decoders->lock);
	task->index = decoders->received++;
	task->in_stream =
		task->head.method == CODEC_STREAM || task->head.method == CODEC_STREAM_START;
	if (task->in_stream)
		task->turn = decoders->streams[task->head.stream].given++;
	pthread_mutex_unlock(&decoders->lock);
}

static void refuse_frame(struct decoders *decoders, const struct link_frame *frame)
{
	transfer_refuse(decoders->transfer, "verify",
			_("frame %" PRIu64 " from the source cannot be decoded"), frame->sequence);
}

/* With decoders->receiving. False when there is no more. */
static bool receive(struct decoders *decoders, struct task *task)
{
	g_autoptr(GError) error = NULL;
	struct transfer *transfer = decoders->transfer;
	task->frame = link_receive(transfer->link, LINK_MEMORY, -1, NULL, &error);
	if (!task->frame) {
		if (error)
			transfer_refuse_error(transfer, "link", error);
		return false;
	}
	if (!frame_get_head(task->frame->flags, task->frame->data, task->frame->length,
			    &task->head)) {
		refuse_frame(decoders, task->frame);
		link_frame_done(transfer->link, LINK_MEMORY, task->frame);
		return false;
	}
	place(decoders, task);
	return true;
}

static bool next_task(struct decoders *decoders, struct task *task)
{
	task->batch = take_empty(decoders);
	if (!task->batch)
		return false;
	pthread_mutex_lock(&decoders->receiving);
	pthread_mutex_lock(&decoders->lock);
	bool over = decoders->ended || decoders->stopped;
	pthread_mutex_unlock(&decoders->lock);
	bool good = !over && receive(decoders, task);
	if (!good)
		end_decoders(decoders);
	pthread_mutex_unlock(&decoders->receiving);
	if (!good)
		give_back(decoders, task->batch);
	return good;
}

static bool unpack_in_stream(struct decoders *decoders, const struct task *task)
{
	struct lineage *stream = &decoders->streams[task->head.stream];
	pthread_mutex_lock(&decoders->lock);
	while (stream->done != task->turn && !decoders->stopped)
		pthread_cond_wait(&decoders->changed, &decoders->lock);
	bool good = !decoders->stopped;
	pthread_mutex_unlock(&decoders->lock);
	good = good &&
	       unpacker_unpack(stream->unpacker, task->head.method, task->frame->data + FRAME_HEAD,
			       task->frame->length - FRAME_HEAD, task->batch->raw, task->head.body);
	pthread_mutex_lock(&decoders->lock);
	stream->done++;
	pthread_cond_broadcast(&decoders->changed);
	pthread_mutex_unlock(&decoders->lock);
	return good;
}

static bool unpack(struct worker *worker, const struct task *task)
{
	const struct link_frame *frame = task->frame;
	batch_clear(task->batch);
	task->batch->kind = task->head.kind;
	bool good = task->in_stream
			    ? unpack_in_stream(worker->decoders, task)
			    : unpacker_unpack(worker->unpacker, task->head.method,
					      frame->data + FRAME_HEAD, frame->length - FRAME_HEAD,
					      task->batch->raw, task->head.body);
	bool items = task->head.kind == BATCH_ITEMS || task->head.kind == BATCH_DISK;
	if (!good || !items)
		return good && task->head.body <= BATCH_RAW_MAX;
	if (!body_read(task->batch, task->batch->raw, task->head.body))
		return false;
	task->batch->kind = task->head.kind;
	fault_decoded(worker->decoders->transfer, task->batch);
	batch_tag_literals(task->batch, worker->pages);
	struct transfer *transfer = worker->decoders->transfer;
	transfer->role->fetch(transfer, task->batch, worker->pages);
	return true;
}

static void hand_over_batch(struct decoders *decoders, const struct task *task)
{
	pthread_mutex_lock(&decoders->lock);
	struct slot *slot = &decoders->slots[task->index % decoders->count];
	slot->decoded = (struct decoded){ task->batch, task->head.body, task->frame };
	slot->ready = true;
	pthread_cond_broadcast(&decoders->changed);
	pthread_mutex_unlock(&decoders->lock);
}

static void *decoder_thread(void *data)
{
	struct transfer *transfer = data;
	struct decoders *decoders = transfer->decoders;
	struct worker worker = { .decoders = decoders,
				 .unpacker = unpacker_new(CODEC_WINDOW_LOG_MIN),
				 .pages = tag_context_new(transfer->page_key, "page") };
	struct task task = { 0 };
	while (next_task(decoders, &task)) {
		if (unpack(&worker, &task)) {
			hand_over_batch(decoders, &task);
			continue;
		}
		refuse_frame(decoders, task.frame);
		link_frame_done(transfer->link, LINK_MEMORY, task.frame);
		give_back(decoders, task.batch);
		decoders_stop(decoders);
	}
	unpacker_free(worker.unpacker);
	tag_context_free(worker.pages);
	return transfer_thread_ends(transfer);
}

struct decoders *decoders_start(struct transfer *transfer, GError **error)
{
	struct decoders *decoders = transfer->decoders = g_new0(struct decoders, 1);
	unsigned workers = workers_count(transfer);
	decoders->transfer = transfer;
	decoders->count = ENCODERS_BATCHES(workers);
	decoders->empty = g_new(struct batch *, decoders->count);
	decoders->slots = g_new0(struct slot, decoders->count);
	pthread_mutex_init(&decoders->receiving, NULL);
	pthread_mutex_init(&decoders->lock, NULL);
	wait_cond_init(&decoders->changed);
	while (decoders->empty_count < decoders->count)
		decoders->empty[decoders->empty_count++] = batch_new();
	for (unsigned i = 0; i < FRAME_STREAMS; i++)
		decoders->streams[i].unpacker =
			unpacker_new(frame_window_log(transfer->settings->memory_limit));
	for (unsigned i = 0; i < workers; i++)
		if (!transfer_spawn(transfer, decoder_thread, error))
			return NULL;
	return decoders;
}

/* Frames that were decoded and never emitted go back to the link. */
static void drop_slots(struct decoders *decoders)
{
	for (unsigned i = 0; i < decoders->count; i++) {
		struct slot *slot = &decoders->slots[i];
		if (!slot->ready)
			continue;
		link_frame_done(decoders->transfer->link, LINK_MEMORY, slot->decoded.frame);
		batch_free(slot->decoded.batch);
	}
}

void decoders_free(struct decoders *decoders)
{
	if (!decoders)
		return;
	drop_slots(decoders);
	for (unsigned i = 0; i < decoders->empty_count; i++)
		batch_free(decoders->empty[i]);
	for (unsigned i = 0; i < FRAME_STREAMS; i++)
		unpacker_free(decoders->streams[i].unpacker);
	g_free(decoders->empty);
	g_free(decoders->slots);
	pthread_cond_destroy(&decoders->changed);
	pthread_mutex_destroy(&decoders->lock);
	pthread_mutex_destroy(&decoders->receiving);
	g_free(decoders);
}

bool decoders_next(struct decoders *decoders, struct decoded *decoded)
{
	pthread_mutex_lock(&decoders->lock);
	struct slot *slot = &decoders->slots[decoders->emitted % decoders->count];
	while (!slot->ready && !decoders->stopped &&
	       !(decoders->ended && decoders->emitted == decoders->received))
		pthread_cond_wait(&decoders->changed, &decoders->lock);
	bool good = slot->ready && !decoders->stopped;
	if (good) {
		*decoded = slot->decoded;
		slot->ready = false;
		decoders->emitted++;
	}
	pthread_mutex_unlock(&decoders->lock);
	return good;
}

void decoders_done(struct decoders *decoders, const struct decoded *decoded)
{
	link_frame_done(decoders->transfer->link, LINK_MEMORY, decoded->frame);
	give_back(decoders, decoded->batch);
}

void decoders_stop(struct decoders *decoders)
{
	pthread_mutex_lock(&decoders->lock);
	decoders->stopped = true;
	pthread_cond_broadcast(&decoders->changed);
	pthread_mutex_unlock(&decoders->lock);
}
