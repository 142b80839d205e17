/* SPDX-License-Identifier: Apache-2.0 */
/* What QEMU asks of its disks, as blocks and orders for the destination. */
#include "mover/disks/disk_source_internal.h"

#include "base/clock.h"
#include "base/wait.h"
#include "mover/pipeline/encoders.h"

#include <errno.h>
#include <string.h>

#define BURST_US 20000
#define OFFERS_US 5000000 /* at most so long */

/* ---- to the destination ---- */

/* With run->sorting, after its tag was made. */
static void submit_request(struct disk_source *source, unsigned disk, struct batch *batch)
{
	tag_fold(source->fold, source->digests[disk], batch->tag);
	encoders_submit(source->transfer->encoders, batch);
}

static struct batch *take_request(struct disk_source *source)
{
	return encoders_take(source->transfer->encoders);
}

/* With run->sorting. DATA: of DISK_BYTES. */
static void fill_order(struct batch *batch, const struct disk_order *order, const uint8_t *data)
{
	disk_put_order(batch->raw, order);
	batch->parsed = batch->filled = DISK_ORDER_BYTES;
	if (order->op == DISK_BYTES) {
		memcpy(batch->raw + DISK_ORDER_BYTES, data, order->length);
		batch->parsed = batch->filled += order->length;
	}
	batch->original_bytes = batch->parsed;
}

bool disk_requests_send(struct disk_source *source, const struct disk_order *order,
			const uint8_t *data)
{
	struct transfer *transfer = source->transfer;
	struct batch *batch = take_request(source);
	if (!batch)
		return false;
	fill_order(batch, order, data);
	pthread_mutex_lock(&transfer->sorting);
	if (order->op == DISK_BYTES || order->op == DISK_TRIM)
		sorter_clear_disk(transfer->sorter, order->disk, order->offset, order->length);
	sorter_seal_order(transfer->sorter, batch);
	submit_request(source, order->disk, batch);
	pthread_mutex_unlock(&transfer->sorting);
	return true;
}

static bool send_blocks(struct disk_source *source, unsigned disk, uint64_t offset,
			const uint8_t *data, uint64_t length)
{
	struct transfer *transfer = source->transfer;
	struct batch *batch = take_request(source);
	if (!batch)
		return false;
	memcpy(batch->raw, data, length);
	batch_set_blocks(batch, disk, offset / BATCH_DISK_BLOCK,
			 (uint32_t) (length / BATCH_DISK_BLOCK));
	pthread_mutex_lock(&transfer->sorting);
	disk_source_judge(source);
	sorter_seeds_taken(transfer->sorter, encoders_seeds_taken(transfer->encoders));
	sorter_sort_disk(transfer->sorter, batch);
	source->written[disk] += length;
	submit_request(source, disk, batch);
	pthread_mutex_unlock(&transfer->sorting);
	return true;
}

/* ---- requests ---- */

static struct disk_order order_of(const struct nbd_request *request, enum disk_op op)
{
	return (struct disk_order){ .op = op,
				    .disk = request->export,
				    .no_hole = request->no_hole,
				    .offset = request->offset,
				    .length = request->length };
}

/* Sends ORDER; its answer is REQUEST's. */
static void send_and_wait(struct disk_source *source, struct nbd_request *request,
			  struct disk_order *order)
{
	struct waiting *waiting = g_new0(struct waiting, 1);
	struct transfer *transfer = source->transfer;
	struct batch *batch = take_request(source);
	waiting->request = request;
	waiting->left = order->length;
	pthread_mutex_lock(&transfer->sorting);
	pthread_mutex_lock(&source->lock);
	bool good = batch && !source->broken;
	if (good) {
		order->number = waiting->number = source->next_number++;
		memcpy(waiting->digest, source->digests[order->disk], TAG_BYTES);
		g_ptr_array_add(source->waiting, waiting);
	}
	pthread_mutex_unlock(&source->lock);
	if (good) {
		fill_order(batch, order, NULL);
		sorter_seal_order(transfer->sorter, batch);
		submit_request(source, order->disk, batch);
	}
	pthread_mutex_unlock(&transfer->sorting);
	if (good)
		return;
	if (batch)
		encoders_give_back(transfer->encoders, batch);
	g_free(waiting);
	nbd_done(request, EIO);
}

static void flush_disk(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = { .op = DISK_FLUSH, .disk = request->export };
	send_and_wait(source, request, &order);
}

static void answer_request(struct disk_source *source, struct nbd_request *request, bool good)
{
	if (good && request->fua)
		flush_disk(source, request);
	else
		nbd_done(request, good ? 0 : EIO);
}

/* The longest piece from OFFSET on that can travel as one: whole blocks, or a part of one. */
static uint64_t piece_length(uint64_t offset, uint64_t left)
{
	uint64_t into = offset % BATCH_DISK_BLOCK;
	if (into || left < BATCH_DISK_BLOCK)
		return MIN(left, BATCH_DISK_BLOCK - into);
	return MIN(left / BATCH_DISK_BLOCK, BATCH_DISK_BLOCKS) * BATCH_DISK_BLOCK;
}

void disk_source_wait(struct disk_source *source, int64_t due_us)
{
	wait_cond_until(&source->changed, &source->lock, due_us);
}

/* Holds the request back while the rate does not allow LENGTH more bytes. */
static void keep_to_rate(struct disk_source *source, uint64_t length)
{
	pthread_mutex_lock(&source->lock);
	while (source->rate && !source->broken && source->due_us > clock_now_us())
		disk_source_wait(source, source->due_us);
	if (source->rate)
		source->due_us = MAX(source->due_us, clock_now_us() - BURST_US) +
				 (int64_t) ((double) length * 1e6 / (double) source->rate);
	pthread_mutex_unlock(&source->lock);
}

/* The first time the destination has to read its seeds, which takes less than to be sent what is in them, and
 * QEMU's mirror would be there first. Only writes wait: while QEMU opens the export its guest stands
 * still. */
static void wait_for_offers(struct disk_source *source)
{
	if (source->transfer->disks->seed_count == 0)
		return;
	pthread_mutex_lock(&source->lock);
	if (!source->offers_due_us)
		source->offers_due_us = clock_now_us() + OFFERS_US;
	while (!source->offered && !source->broken && clock_now_us() < source->offers_due_us)
		disk_source_wait(source, source->offers_due_us);
	pthread_mutex_unlock(&source->lock);
}

static void do_write(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order bytes = order_of(request, DISK_BYTES);
	wait_for_offers(source);
	keep_to_rate(source, request->length);
	bool good = disk_rehearse_hold_take(source, request->length);
	for (uint64_t done = 0; good && done < request->length; done += bytes.length) {
		const uint8_t *data = request->payload + done;
		bytes.offset = request->offset + done;
		bytes.length = piece_length(bytes.offset, request->length - done);
		good = bytes.length < BATCH_DISK_BLOCK
			       ? disk_requests_send(source, &bytes, data)
			       : send_blocks(source, request->export, bytes.offset, data,
					     bytes.length);
	}
	answer_request(source, request, good);
}

static void request_zero(struct disk_source *source, struct nbd_request *request)
{
	struct transfer *transfer = source->transfer;
	struct disk_order order = order_of(request, DISK_ZERO);
	struct batch *batch = take_request(source);
	if (batch) {
		fill_order(batch, &order, NULL);
		pthread_mutex_lock(&transfer->sorting);
		source->zeroed[order.disk] += order.length;
		bool news =
			sorter_zero_disk(transfer->sorter, order.disk, order.offset, order.length);
		if (news) {
			sorter_seal_order(transfer->sorter, batch);
			submit_request(source, order.disk, batch);
		}
		pthread_mutex_unlock(&transfer->sorting);
		if (!news)
			encoders_give_back(transfer->encoders, batch);
	}
	answer_request(source, request, batch != NULL);
}

static void request_trim(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = order_of(request, DISK_TRIM);
	answer_request(source, request, disk_requests_send(source, &order, NULL));
}

static void request_read(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = order_of(request, DISK_READ);
	send_and_wait(source, request, &order);
}

void disk_requests_handle(struct nbd_request *request, void *data)
{
	static void (*const actions[])(struct disk_source *, struct nbd_request *) = {
		[NBD_READ] = request_read,         [NBD_WRITE] = do_write,
		[NBD_FLUSH] = flush_disk,          [NBD_TRIM] = request_trim,
		[NBD_WRITE_ZEROES] = request_zero,
	};
	actions[request->command](data, request);
}
