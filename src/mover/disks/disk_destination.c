/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out the operations on disks, in order. */
#include "mover/disks/disk_destination_internal.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "control/messages.h"
#include "content/reading.h"
#include "mover/disks/disk_order.h"
#include "mover/core/peer_process.h"

#include <inttypes.h>
#include <string.h>

#define OPS_MAX 32
#define BYTES_MAX (8 << 20) /* under way to one disk */
#define BUSY_MS 5           /* between looks at operations that are under way */
#define IDLE_MS 100

bool disk_destination_refuse(struct disk_destination *destination, const GError *error)
{
	transfer_refuse_error(destination->transfer, "disk", error);
	return false;
}

bool disk_destination_refuse_order(struct disk_destination *destination)
{
	transfer_refuse(destination->transfer, "protocol", "%s",
			_("the source mover asks for something that cannot be done to a disk"));
	return false;
}

/* ---- answers ---- */

/* Begins an answer; NULL: the move is over. */
static struct link_frame *answer_begin(struct disk_destination *destination,
				       const struct disk_order *order)
{
	g_autoptr(GError) error = NULL;
	struct link_frame *frame = link_frame_begin(destination->transfer->link, LINK_DISK, &error);
	if (!frame) {
		transfer_refuse_error(destination->transfer, "link", error);
		return NULL;
	}
	frame->flags = order->op;
	frame->length = DISK_ANSWER_BYTES;
	disk_put_u64(frame->data, order->number);
	return frame;
}

static void answer_commit(struct disk_destination *destination, struct link_frame *frame)
{
	link_frame_commit(destination->transfer->link, LINK_DISK, frame);
}

/* ---- orders; the lock is held ---- */

static bool open_disk(struct disk_destination *destination, unsigned i, struct known_disk *shape,
		      GError **error)
{
	const struct disk_setting *setting = &destination->transfer->disks->disks[i];
	const struct disk_writer_config config = { .socket = destination->transfer->disk_socket,
						   .dial = peer_dial_qemu,
						   .dial_data = destination->transfer->settings,
						   .export = setting->export,
						   .disk = setting->target,
						   .ops_max = OPS_MAX,
						   .bytes_max = BYTES_MAX };
	destination->writers[i] = disk_writer_open(&config, error);
	if (!destination->writers[i])
		return false;
	*shape = (struct known_disk){ .bytes = disk_writer_size(destination->writers[i]),
				      .fresh = setting->fresh };
	if (destination->transfer->disks->verify)
		destination->verify[i] = disk_verify_new(destination->transfer, i, shape->bytes);
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "target", setting->target);
	json_object_set_int_member(extra, "size", (gint64) shape->bytes);
	transfer_post(destination->transfer, EVENT_DISK_OPEN, extra);
	return true;
}

static bool do_open(struct disk_destination *destination, struct resolver *resolver,
		    const struct disk_order *order, const uint8_t *payload, GError **error)
{
	struct transfer *transfer = destination->transfer;
	struct known_disk shapes[KNOWN_DISKS_MAX] = { 0 };
	if (destination->open)
		return false;
	for (unsigned i = 0; i < transfer->disks->count; i++)
		if (!open_disk(destination, i, &shapes[i], error))
			return false;
	resolver_set_disks(resolver, shapes, transfer->disks->count);
	struct link_frame *frame = disk_fetch_open(destination->fetch, error)
					   ? answer_begin(destination, order)
					   : NULL;
	if (!frame)
		return false;
	destination->open = true;
	for (unsigned i = 0; i < transfer->disks->count; i++, frame->length += 8)
		disk_put_u64(frame->data + frame->length, shapes[i].bytes);
	answer_commit(destination, frame);
	return true;
}

static bool do_bytes(struct disk_destination *destination, struct resolver *resolver,
		     const struct disk_order *order, const uint8_t *payload, GError **error)
{
	resolver_clear_disk(resolver, order->disk, order->offset, order->length);
	disk_verify_note(destination->verify[order->disk], order->offset, order->length);
	return disk_writer_write(destination->writers[order->disk], order->offset,
				 g_memdup2(payload, order->length), order->length, error);
}

static bool do_zero(struct disk_destination *destination, struct resolver *resolver,
		    const struct disk_order *order, const uint8_t *payload, GError **error)
{
	resolver_zero_disk(resolver, order->disk, order->offset, order->length);
	disk_verify_note(destination->verify[order->disk], order->offset, order->length);
	return disk_writer_zero(destination->writers[order->disk], order->offset, order->length,
				order->no_hole, error);
}

static bool do_trim(struct disk_destination *destination, struct resolver *resolver,
		    const struct disk_order *order, const uint8_t *payload, GError **error)
{
	resolver_clear_disk(resolver, order->disk, order->offset, order->length);
	disk_verify_note(destination->verify[order->disk], order->offset, order->length);
	return disk_writer_trim(destination->writers[order->disk], order->offset, order->length,
				error);
}

static bool do_flush(struct disk_destination *destination, struct resolver *resolver,
		     const struct disk_order *order, const uint8_t *payload, GError **error)
{
	struct disk_verify *verify = destination->verify[order->disk];
	struct disk_reader *reader = disk_fetch_reader(destination->fetch, order->disk);
	if (!disk_writer_flush(destination->writers[order->disk], error) ||
	    (verify && !disk_verify_run(verify, resolver, reader, error)))
		return false;
	struct link_frame *frame = answer_begin(destination, order);
	if (!frame)
		return false;
	memcpy(frame->data + frame->length, destination->digests[order->disk], TAG_BYTES);
	frame->length += TAG_BYTES;
	answer_commit(destination, frame);
	return true;
}

static bool do_read(struct disk_destination *destination, struct resolver *resolver,
		    const struct disk_order *order, const uint8_t *payload, GError **error)
{
	for (uint64_t done = 0; done < order->length;) {
		uint64_t piece = MIN(order->length - done, DISK_READ_PIECE);
		struct link_frame *frame = answer_begin(destination, order);
		if (!frame)
			return false;
		disk_put_u64(frame->data + frame->length, order->offset + done);
		frame->length += 8;
		if (!disk_writer_read(destination->writers[order->disk], order->offset + done,
				      frame->data + frame->length, piece, error)) {
			link_frame_cancel(destination->transfer->link, LINK_DISK, frame);
			return false;
		}
		frame->length += piece;
		answer_commit(destination, frame);
		done += piece;
	}
	return true;
}

static bool (*const actions[])(struct disk_destination *destination, struct resolver *resolver,
			       const struct disk_order *order, const uint8_t *payload,
			       GError **error) = {
	[DISK_OPEN] = do_open, [DISK_BYTES] = do_bytes, [DISK_ZERO] = do_zero,
	[DISK_TRIM] = do_trim, [DISK_FLUSH] = do_flush, [DISK_READ] = do_read,
};
_Static_assert(G_N_ELEMENTS(actions) == DISK_OP_LAST, "every order can be carried out");

/* Is it for a disk that is there, inside it? */
static bool is_sane(const struct disk_destination *destination, const struct disk_order *order)
{
	if (order->op == DISK_OPEN)
		return order->disk == 0;
	if (order->disk >= destination->transfer->disks->count || !destination->open)
		return false;
	uint64_t size = disk_writer_size(destination->writers[order->disk]);
	return order->offset <= size && order->length <= size - order->offset &&
	       (order->op == DISK_FLUSH || order->length > 0);
}

static bool carry_out_operation(struct disk_destination *destination, struct resolver *resolver,
				const struct batch *batch, unsigned *disk)
{
	g_autoptr(GError) error = NULL;
	struct disk_order order;
	if (!disk_get_order(batch->raw, batch->parsed, &order) || !is_sane(destination, &order))
		return disk_destination_refuse_order(destination);
	*disk = order.disk;
	pthread_mutex_lock(&destination->lock);
	bool good = actions[order.op](destination, resolver, &order, batch->raw + DISK_ORDER_BYTES,
				      &error);
	pthread_cond_signal(&destination->changed);
	pthread_mutex_unlock(&destination->lock);
	if (good)
		return true;
	return error ? disk_destination_refuse(destination, error)
		     : disk_destination_refuse_order(destination);
}

/* ---- blocks; the lock is held ---- */

/* How many items from FIRST on are one piece of the disk with contents. */
static uint32_t run_length(const struct batch *batch, uint32_t first)
{
	const struct item *items = batch->items;
	uint32_t n = 1;
	while (first + n < batch->count && items[first + n].data &&
	       items[first + n].block == items[first].block &&
	       items[first + n].page == items[first].page + n)
		n++;
	return n;
}

static bool write_run(struct disk_writer *writer, const struct item *items, uint32_t n,
		      GError **error)
{
	uint64_t length = (uint64_t) n * BATCH_DISK_BLOCK;
	uint8_t *data = g_malloc(length);
	for (uint32_t i = 0; i < n; i++)
		memcpy(data + (size_t) i * BATCH_DISK_BLOCK, items[i].data, BATCH_DISK_BLOCK);
	return disk_writer_write(writer, items->page * BATCH_DISK_BLOCK, data, length, error);
}

static bool write_zeros(struct disk_writer *writer, const struct item *item, GError **error)
{
	if (item->place)
		return true; /* it reads as zeros anyway: sparse stays sparse */
	return disk_writer_zero(writer, item->page * BATCH_DISK_BLOCK,
				(uint64_t) item->count * BATCH_DISK_BLOCK, false, error);
}

static bool write_blocks(struct disk_destination *destination, const struct batch *batch,
			 GError **error)
{
	for (uint32_t i = 0; i < batch->count;) {
		const struct item *item = &batch->items[i];
		struct disk_writer *writer = destination->writers[item->block];
		uint32_t n = item->data ? run_length(batch, i) : 1;
		disk_verify_note(destination->verify[item->block], item->page * BATCH_DISK_BLOCK,
				 (uint64_t) (item->kind == ITEM_ZERO ? item->count : n) *
					 BATCH_DISK_BLOCK);
		if (item->data && !write_run(writer, item, n, error))
			return false;
		if (item->kind == ITEM_ZERO && !write_zeros(writer, item, error))
			return false;
		i += n;
	}
	return true;
}

/* ---- the emitter ---- */

static bool check_operation(struct disk_destination *destination, const struct decoded *decoded,
			    enum resolver_answer answer)
{
	if (answer == RESOLVER_GOOD)
		return true;
	transfer_refuse(destination->transfer, "verify",
			_("frame %" PRIu64 " for a disk differs from what the source sent"),
			decoded->frame->sequence);
	return false;
}

static bool emit_blocks(struct disk_destination *destination, struct resolver *resolver,
			const struct decoded *decoded, unsigned *disk)
{
	g_autoptr(GError) error = NULL;
	struct batch *batch = decoded->batch;
	if (!destination->open || batch->count == 0)
		return disk_destination_refuse_order(destination);
	if (!disk_destination_settle(destination, batch) ||
	    !check_operation(destination, decoded,
			     resolver_disk(resolver, batch, decoded->frame->tag)))
		return false;
	*disk = batch->items[0].block;
	pthread_mutex_lock(&destination->lock);
	bool good = write_blocks(destination, batch, &error);
	pthread_cond_signal(&destination->changed);
	pthread_mutex_unlock(&destination->lock);
	return good || disk_destination_refuse(destination, error);
}

static bool emit_order(struct disk_destination *destination, struct resolver *resolver,
		       const struct decoded *decoded, unsigned *disk)
{
	decoded->batch->parsed = decoded->body;
	return check_operation(destination, decoded,
			       resolver_order(resolver, decoded->batch, decoded->frame->tag)) &&
	       carry_out_operation(destination, resolver, decoded->batch, disk);
}

bool disk_destination_emit(struct disk_destination *destination, struct resolver *resolver,
			   const struct decoded *decoded)
{
	unsigned disk = 0;
	if (!destination)
		return false;
	bool good = decoded->batch->kind == BATCH_DISK
			    ? emit_blocks(destination, resolver, decoded, &disk)
			    : emit_order(destination, resolver, decoded, &disk);
	/* An order's answer tells of what was before it. */
	if (good)
		tag_fold(destination->fold, destination->digests[disk], decoded->frame->tag);
	return good;
}

bool disk_destination_flush(struct disk_destination *destination, GError **error)
{
	bool good = true;
	if (!destination)
		return true;
	pthread_mutex_lock(&destination->lock);
	for (unsigned i = 0; good && i < destination->transfer->disks->count; i++) {
		struct disk_writer *writer = destination->writers[i];
		good = !writer || disk_writer_is_idle(writer) || disk_writer_flush(writer, error);
	}
	pthread_mutex_unlock(&destination->lock);
	return good;
}

/* ---- the keeper ---- */

/* With the lock held. Returns whether anything is under way. */
static bool tick_writer(struct disk_destination *destination, GError **error)
{
	bool busy = false;
	for (unsigned i = 0; i < destination->transfer->disks->count; i++) {
		struct disk_writer *writer = destination->writers[i];
		/* One that has nothing to do may lose its connection: QEMU closes it at the end. */
		if (!writer || disk_writer_is_idle(writer))
			continue;
		if (!disk_writer_tick(writer, error))
			return false;
		busy |= disk_writer_under_way(writer) > 0;
	}
	return busy;
}

/* Tells the source now and then how fast references can be read. */
static void tell_pace(struct disk_destination *destination, uint64_t *told)
{
	uint64_t pages, us;
	disk_fetch_pace(destination->fetch, &pages, &us);
	if (pages == *told)
		return;
	struct link_frame *frame = link_frame_begin(destination->transfer->link, LINK_DISK, NULL);
	if (!frame)
		return;
	*told = pages;
	frame->flags = DISK_PACE;
	frame->length = DISK_ANSWER_BYTES + 16;
	disk_put_u64(frame->data, 0);
	disk_put_u64(frame->data + 8, pages);
	disk_put_u64(frame->data + 16, us);
	answer_commit(destination, frame);
}

static void wait_ms(struct disk_destination *destination, int ms)
{
	wait_cond_until(&destination->changed, &destination->lock,
			clock_now_us() + ms * INT64_C(1000));
}

static void *keeper_thread(void *data)
{
	struct transfer *transfer = data;
	struct disk_destination *destination = transfer->disk_destination;
	g_autoptr(GError) error = NULL;
	uint64_t told = 0;
	pthread_mutex_lock(&destination->lock);
	while (!destination->finished && !error) {
		bool busy = tick_writer(destination, &error);
		tell_pace(destination, &told);
		if (!error)
			wait_ms(destination, busy ? BUSY_MS : IDLE_MS);
	}
	pthread_mutex_unlock(&destination->lock);
	if (error)
		disk_destination_refuse(destination, error);
	return transfer_thread_ends(transfer);
}

/* ---- life ---- */

struct disk_destination *disk_destination_start(struct transfer *transfer, GError **error)
{
	struct disk_destination *destination = transfer->disk_destination =
		g_new0(struct disk_destination, 1);
	destination->transfer = transfer;
	destination->fetch = disk_fetch_new(transfer, transfer->resolver);
	destination->fold = tag_context_new(transfer->settings->key, "digest");
	pthread_mutex_init(&destination->lock, NULL);
	wait_cond_init(&destination->changed);
	return transfer_spawn(transfer, keeper_thread, error) ? destination : NULL;
}

void disk_destination_finish(struct disk_destination *destination)
{
	if (!destination)
		return;
	pthread_mutex_lock(&destination->lock);
	destination->finished = true;
	pthread_cond_broadcast(&destination->changed);
	pthread_mutex_unlock(&destination->lock);
	link_finish(destination->transfer->link, LINK_DISK);
}

void disk_destination_free(struct disk_destination *destination)
{
	if (!destination)
		return;
	for (unsigned i = 0; i < KNOWN_DISKS_MAX; i++) {
		disk_writer_free(destination->writers[i]);
		disk_verify_free(destination->verify[i]);
	}
	disk_fetch_free(destination->fetch);
	tag_context_free(destination->fold);
	pthread_cond_destroy(&destination->changed);
	pthread_mutex_destroy(&destination->lock);
	g_free(destination);
}
