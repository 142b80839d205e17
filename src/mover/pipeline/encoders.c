/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that pack batches, committed in order. */
#include "mover/pipeline/encoders.h"

#include "base/clock.h"
#include "base/wait.h"
#include "content/body.h"
#include "mover/core/fault.h"
#include "mover/core/frame.h"
#include "mover/pipeline/page_requests.h"
#include "mover/pipeline/effort_control.h"
#include "mover/pipeline/workers.h"

#include <string.h>

/* A frame of a few bytes may stand for a hundred megabytes of zeros, for which the destination's QEMU
 * needs its time. So besides the link's window the pages that it has not digested are bounded, or the
 * last ones would wait behind them when the VM is stopped. */
#define PAGES_AHEAD 65536       /* and what goes through in two round trips */
#define PAGES_PER_SECOND 500000 /* that a QEMU takes, about */
#define FRAMES_AHEAD 8192
#define AHEAD_POLL_US 500

struct encoders {
	struct transfer *transfer;
	unsigned count; /* batches, all told */
	struct tag_context *chain;
	struct effort_control *effort_control;
	uint64_t frames_before; /* that went over the link before these: a probe's */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct batch **empty; /* empty_count of them */
	unsigned empty_count;
	struct batch **submitted;                     /* ring of `count`, by ticket */
	uint64_t submit_next, take_next, commit_next; /* tickets */
	bool finished, failed;
	unsigned workers_begun;
	uint64_t bytes_in_hand; /* of QEMU's stream: submitted and not committed */
	uint64_t pages_committed;
	uint64_t pages_up_to[FRAMES_AHEAD]; /* pages_committed after a frame, by ticket */
	uint64_t seeds_up_to[FRAMES_AHEAD]; /* its batch's seed_pages */
};

struct worker {
	struct encoders *encoders;
	unsigned index;
	struct packer *packer;
	struct body *body;
};

static struct batch *take_submitted(struct encoders *encoders, uint64_t *ticket)
{
	struct batch *batch = NULL;
	int64_t since = clock_now_us();
	pthread_mutex_lock(&encoders->lock);
	while (encoders->take_next == encoders->submit_next && !encoders->finished &&
	       !encoders->failed)
		pthread_cond_wait(&encoders->changed, &encoders->lock);
	if (encoders->take_next < encoders->submit_next && !encoders->failed) {
		*ticket = encoders->take_next++;
		batch = encoders->submitted[*ticket % encoders->count];
	}
	pthread_mutex_unlock(&encoders->lock);
	effort_control_idle(encoders->effort_control, clock_now_us() - since);
	return batch;
}

static void fail_encoders(struct encoders *encoders, const GError *error)
{
	pthread_mutex_lock(&encoders->lock);
	encoders->failed = true;
	pthread_cond_broadcast(&encoders->changed);
	pthread_mutex_unlock(&encoders->lock);
	transfer_refuse_error(encoders->transfer, "link", error);
}

/* Of QEMU's stream. */
static uint64_t bytes_of(const struct batch *batch)
{
	return batch_is_disk(batch) ? 0 : batch->original_bytes;
}

static void count_packed(struct transfer *transfer, const struct batch *batch,
			 const struct effort_control_packed *packed)
{
	pthread_mutex_lock(&transfer->lock);
	*(batch_is_disk(batch) ? &transfer->content.disk_bytes
			       : &transfer->content.encoded_bytes) += packed->packed;
	transfer->content.encode_us += packed->cpu_us;
	pthread_mutex_unlock(&transfer->lock);
}

static bool is_too_far_ahead(struct encoders *encoders)
{
	struct link_stats stats;
	link_get_stats(encoders->transfer->link, &stats);
	uint64_t most = PAGES_AHEAD +
			(uint64_t) stats.round_trip_us * 2 * PAGES_PER_SECOND / G_USEC_PER_SEC;
	pthread_mutex_lock(&encoders->lock);
	uint64_t digested = 0, consumed = stats.consumed_frames - encoders->frames_before;
	if (consumed > 0)
		digested = encoders->pages_up_to[(consumed - 1) % FRAMES_AHEAD];
	bool far = encoders->commit_next - consumed >= FRAMES_AHEAD - TRANSFER_WORKERS_MAX ||
		   encoders->pages_committed - digested > most;
	bool over = encoders->failed;
	pthread_mutex_unlock(&encoders->lock);
	return far && !over && transfer_get_phase(encoders->transfer) != TRANSFER_REFUSED;
}

/* The batch into FRAME. */
static void pack_batch(struct worker *worker, const struct batch *batch, struct link_frame *frame)
{
	struct effort_control *effort_control = worker->encoders->effort_control;
	struct codec_effort effort;
	struct frame_head head = { .kind = batch->kind, .stream = worker->index };
	int64_t cpu_us = workers_cpu_us(), wall_us = clock_now_us();
	struct effort_control_packed packed = { .level = effort_control_choose(
							effort_control, batch,
							worker->index < FRAME_STREAMS, &effort) };
	body_write(worker->body, batch);
	head.body = (uint32_t) worker->body->length;
	frame->length = FRAME_HEAD + packer_pack(worker->packer, &effort, worker->body->parts,
						 worker->body->part_count, frame->data + FRAME_HEAD,
						 LINK_PAYLOAD_MAX - FRAME_HEAD, &head.method);
	if (head.stream >= FRAME_STREAMS)
		head.stream = 0; /* it does not use one */
	frame_put_head(frame->data, &head);
	frame->flags = frame_flags(&head);
	memcpy(frame->tag, batch->tag, TAG_BYTES);
	packed.body = head.body;
	packed.packed = frame->length;
	packed.cpu_us = workers_cpu_us() - cpu_us;
	packed.wall_us = clock_now_us() - wall_us;
	effort_control_note(effort_control, batch, &packed);
	count_packed(worker->encoders->transfer, batch, &packed);
}

static bool wait_turn(struct encoders *encoders, uint64_t ticket)
{
	pthread_mutex_lock(&encoders->lock);
	while (encoders->commit_next != ticket && !encoders->failed)
		pthread_cond_wait(&encoders->changed, &encoders->lock);
	bool good = !encoders->failed;
	pthread_mutex_unlock(&encoders->lock);
	return good;
}

/* With the turn: nobody else commits. */
static void watch_request(struct encoders *encoders, const struct batch *batch)
{
	if (!batch->asked_us && !page_requests_are_under_way(encoders->transfer->requests))
		return;
	page_requests_sent(encoders->transfer->requests, batch, encoders->commit_next + 1);
	page_requests_arrived(encoders->transfer->requests, encoders_frames_arrived(encoders));
}

static void commit(struct encoders *encoders, struct batch *batch, struct link_frame *frame)
{
	struct transfer *transfer = encoders->transfer;
	transfer_count_frame(transfer, encoders->chain, frame->tag, bytes_of(batch));
	pthread_mutex_lock(&encoders->lock);
	encoders->pages_committed += batch->pages;
	encoders->pages_up_to[encoders->commit_next % FRAMES_AHEAD] = encoders->pages_committed;
	encoders->seeds_up_to[encoders->commit_next % FRAMES_AHEAD] = batch->seed_pages;
	pthread_mutex_unlock(&encoders->lock);
	link_frame_commit(transfer->link, LINK_MEMORY, frame);
	watch_request(encoders, batch);
	pthread_mutex_lock(&encoders->lock);
	encoders->bytes_in_hand -= bytes_of(batch);
	batch_clear(batch);
	encoders->commit_next++;
	encoders->empty[encoders->empty_count++] = batch;
	pthread_cond_broadcast(&encoders->changed);
	pthread_mutex_unlock(&encoders->lock);
}

static void encode_batches(struct worker *worker)
{
	struct encoders *encoders = worker->encoders;
	struct transfer *transfer = encoders->transfer;
	struct batch *batch;
	uint64_t ticket;
	while ((batch = take_submitted(encoders, &ticket))) {
		g_autoptr(GError) error = NULL;
		effort_control_look(encoders->effort_control);
		int64_t since = clock_now_us();
		while (is_too_far_ahead(encoders))
			g_usleep(AHEAD_POLL_US);
		struct link_frame *frame = link_frame_begin(transfer->link, LINK_MEMORY, &error);
		effort_control_wait(encoders->effort_control, clock_now_us() - since);
		if (!frame) {
			fail_encoders(encoders, error);
			return;
		}
		fault_encoded(transfer, batch);
		pack_batch(worker, batch, frame);
		fault_packed(transfer, frame->data + FRAME_HEAD, frame->length - FRAME_HEAD);
		if (!wait_turn(encoders, ticket)) {
			link_frame_cancel(transfer->link, LINK_MEMORY, frame);
			return;
		}
		commit(encoders, batch, frame);
	}
}

static void *encoder_thread(void *data)
{
	struct transfer *transfer = data;
	struct encoders *encoders = transfer->encoders;
	struct worker worker = { .encoders = encoders, .packer = packer_new(), .body = body_new() };
	pthread_mutex_lock(&encoders->lock);
	worker.index = encoders->workers_begun++;
	pthread_mutex_unlock(&encoders->lock);
	encode_batches(&worker);
	packer_free(worker.packer);
	body_free(worker.body);
	return transfer_thread_ends(transfer);
}

struct encoders *encoders_start(struct transfer *transfer, GError **error)
{
	struct encoders *encoders = transfer->encoders = g_new0(struct encoders, 1);
	unsigned workers = workers_count(transfer);
	struct link_stats link;
	link_get_stats(transfer->link, &link);
	encoders->transfer = transfer;
	encoders->frames_before = link.consumed_frames;
	encoders->count = ENCODERS_BATCHES(workers);
	encoders->effort_control = effort_control_new(transfer, workers);
	encoders->chain = tag_context_new(transfer->settings->key, "chain");
	encoders->empty = g_new(struct batch *, encoders->count);
	encoders->submitted = g_new(struct batch *, encoders->count);
	pthread_mutex_init(&encoders->lock, NULL);
	wait_cond_init(&encoders->changed);
	while (encoders->empty_count < encoders->count)
		encoders->empty[encoders->empty_count++] = batch_new();
	for (unsigned i = 0; i < workers; i++)
		if (!transfer_spawn(transfer, encoder_thread, error))
			return NULL; /* transfer_free() ends those that run */
	return encoders;
}

void encoders_free(struct encoders *encoders)
{
	if (!encoders)
		return;
	for (unsigned i = 0; i < encoders->empty_count; i++)
		batch_free(encoders->empty[i]);
	for (uint64_t i = encoders->commit_next; i < encoders->submit_next; i++)
		batch_free(encoders->submitted[i % encoders->count]);
	g_free(encoders->empty);
	g_free(encoders->submitted);
	tag_context_free(encoders->chain);
	effort_control_free(encoders->effort_control);
	pthread_cond_destroy(&encoders->changed);
	pthread_mutex_destroy(&encoders->lock);
	g_free(encoders);
}

struct batch *encoders_take(struct encoders *encoders)
{
	struct batch *batch = NULL;
	pthread_mutex_lock(&encoders->lock);
	while (!encoders->empty_count && !encoders->failed && !encoders->finished)
		pthread_cond_wait(&encoders->changed, &encoders->lock);
	if (!encoders->failed && !encoders->finished)
		batch = encoders->empty[--encoders->empty_count];
	pthread_mutex_unlock(&encoders->lock);
	return batch;
}

void encoders_submit(struct encoders *encoders, struct batch *batch)
{
	pthread_mutex_lock(&encoders->lock);
	encoders->submitted[encoders->submit_next++ % encoders->count] = batch;
	encoders->bytes_in_hand += bytes_of(batch);
	pthread_cond_broadcast(&encoders->changed);
	pthread_mutex_unlock(&encoders->lock);
}

void encoders_give_back(struct encoders *encoders, struct batch *batch)
{
	batch_clear(batch);
	pthread_mutex_lock(&encoders->lock);
	encoders->empty[encoders->empty_count++] = batch;
	pthread_mutex_unlock(&encoders->lock);
}

bool encoders_finish(struct encoders *encoders)
{
	pthread_mutex_lock(&encoders->lock);
	while (encoders->commit_next < encoders->submit_next && !encoders->failed)
		pthread_cond_wait(&encoders->changed, &encoders->lock);
	encoders->finished = true;
	bool good = !encoders->failed;
	pthread_cond_broadcast(&encoders->changed);
	pthread_mutex_unlock(&encoders->lock);
	return good;
}

uint64_t encoders_frames_arrived(struct encoders *encoders)
{
	struct link_stats stats;
	link_get_stats(encoders->transfer->link, &stats);
	return stats.consumed_frames - encoders->frames_before;
}

uint64_t encoders_seeds_taken(struct encoders *encoders)
{
	uint64_t consumed = encoders_frames_arrived(encoders);
	pthread_mutex_lock(&encoders->lock);
	uint64_t taken = consumed ? encoders->seeds_up_to[(consumed - 1) % FRAMES_AHEAD] : 0;
	pthread_mutex_unlock(&encoders->lock);
	return taken;
}

bool encoders_store(struct encoders *encoders)
{
	return effort_control_stores(encoders->effort_control);
}

size_t encoders_portion(struct encoders *encoders)
{
	return effort_control_portion(encoders->effort_control);
}

uint64_t encoders_in_hand(struct encoders *encoders)
{
	pthread_mutex_lock(&encoders->lock);
	uint64_t bytes = encoders->bytes_in_hand;
	pthread_mutex_unlock(&encoders->lock);
	return bytes;
}

double encoders_share(struct encoders *encoders)
{
	return effort_control_share(encoders->effort_control);
}

void encoders_describe(struct encoders *encoders, JsonObject *stats)
{
	effort_control_describe(encoders->effort_control, stats);
}

double encoders_link_bytes_s(struct encoders *encoders)
{
	return effort_control_link_bytes_s(encoders->effort_control);
}
