/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/disk_source.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "disk/nbd_server.h"
#include "mover/disk_order.h"
#include "mover/encoders.h"
#include "mover/local.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define SESSIONS_MAX (2 * KNOWN_DISKS_MAX) /* QEMU opens one for each disk */
#define REQUESTS_MAX 64
#define BYTES_MAX (4 << 20) /* payloads of one connection's requests */

/* A request that waits for an answer of the destination. */
struct waiting {
	uint64_t number;
	struct nbd_request *request;
	uint64_t left;             /* READ: bytes to come */
	uint8_t digest[TAG_BYTES]; /* FLUSH: of all that was before it */
};

struct session {
	struct disk_source *source;
	pthread_t thread;
	int fd;
};

struct disk_source {
	struct run *run;
	struct tag_context *fold;
	struct nbd_export exports[KNOWN_DISKS_MAX]; /* once it is open */

	/* under run->sorting */
	uint8_t digests[KNOWN_DISKS_MAX][TAG_BYTES];
	uint64_t written[KNOWN_DISKS_MAX], zeroed[KNOWN_DISKS_MAX]; /* bytes that QEMU wrote */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	bool opening, open, broken;
	uint64_t next_number;
	GPtrArray *waiting; /* struct waiting */
	unsigned session_count;
	struct session sessions[SESSIONS_MAX];
	uint64_t flushes[KNOWN_DISKS_MAX];
};

/* ---- to the destination ---- */

/* With run->sorting, after its tag was made. */
static void submit(struct disk_source *source, unsigned disk, struct batch *batch)
{
	tag_fold(source->fold, source->digests[disk], batch->tag);
	encoders_submit(source->run->encoders, batch);
}

static struct batch *take(struct disk_source *source)
{
	return encoders_take(source->run->encoders);
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

static bool send_order(struct disk_source *source, const struct disk_order *order,
		       const uint8_t *data)
{
	struct run *run = source->run;
	struct batch *batch = take(source);
	if (!batch)
		return false;
	fill_order(batch, order, data);
	pthread_mutex_lock(&run->sorting);
	if (order->op == DISK_BYTES || order->op == DISK_TRIM)
		sorter_clear_disk(run->sorter, order->disk, order->offset, order->length);
	sorter_seal_order(run->sorter, batch);
	submit(source, order->disk, batch);
	pthread_mutex_unlock(&run->sorting);
	return true;
}

static bool send_blocks(struct disk_source *source, unsigned disk, uint64_t offset,
			const uint8_t *data, uint64_t length)
{
	struct run *run = source->run;
	struct batch *batch = take(source);
	if (!batch)
		return false;
	memcpy(batch->raw, data, length);
	batch_set_blocks(batch, disk, offset / BATCH_DISK_BLOCK,
			 (uint32_t) (length / BATCH_DISK_BLOCK));
	pthread_mutex_lock(&run->sorting);
	sorter_sort_disk(run->sorter, batch);
	source->written[disk] += length;
	submit(source, disk, batch);
	pthread_mutex_unlock(&run->sorting);
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
	struct run *run = source->run;
	struct batch *batch = take(source);
	waiting->request = request;
	waiting->left = order->length;
	pthread_mutex_lock(&run->sorting);
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
		sorter_seal_order(run->sorter, batch);
		submit(source, order->disk, batch);
	}
	pthread_mutex_unlock(&run->sorting);
	if (good)
		return;
	if (batch)
		encoders_give_back(run->encoders, batch);
	g_free(waiting);
	nbd_done(request, EIO);
}

static void flush(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = { .op = DISK_FLUSH, .disk = request->export };
	send_and_wait(source, request, &order);
}

static void answer(struct disk_source *source, struct nbd_request *request, bool good)
{
	if (good && request->fua)
		flush(source, request);
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

static void do_write(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order bytes = order_of(request, DISK_BYTES);
	bool good = true;
	for (uint64_t done = 0; good && done < request->length; done += bytes.length) {
		const uint8_t *data = request->payload + done;
		bytes.offset = request->offset + done;
		bytes.length = piece_length(bytes.offset, request->length - done);
		good = bytes.length < BATCH_DISK_BLOCK
			       ? send_order(source, &bytes, data)
			       : send_blocks(source, request->export, bytes.offset, data,
					     bytes.length);
	}
	answer(source, request, good);
}

static void do_zero(struct disk_source *source, struct nbd_request *request)
{
	struct run *run = source->run;
	struct disk_order order = order_of(request, DISK_ZERO);
	struct batch *batch = take(source);
	if (batch) {
		fill_order(batch, &order, NULL);
		pthread_mutex_lock(&run->sorting);
		source->zeroed[order.disk] += order.length;
		bool news = sorter_zero_disk(run->sorter, order.disk, order.offset, order.length);
		if (news) {
			sorter_seal_order(run->sorter, batch);
			submit(source, order.disk, batch);
		}
		pthread_mutex_unlock(&run->sorting);
		if (!news)
			encoders_give_back(run->encoders, batch);
	}
	answer(source, request, batch != NULL);
}

static void do_trim(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = order_of(request, DISK_TRIM);
	answer(source, request, send_order(source, &order, NULL));
}

static void do_read(struct disk_source *source, struct nbd_request *request)
{
	struct disk_order order = order_of(request, DISK_READ);
	send_and_wait(source, request, &order);
}

static void handle(struct nbd_request *request, void *data)
{
	static void (*const actions[])(struct disk_source *, struct nbd_request *) = {
		[NBD_READ] = do_read, [NBD_WRITE] = do_write,       [NBD_FLUSH] = flush,
		[NBD_TRIM] = do_trim, [NBD_WRITE_ZEROES] = do_zero,
	};
	actions[request->command](data, request);
}

/* ---- the destination's answers ---- */

static struct waiting *find_waiting(struct disk_source *source, uint64_t number)
{
	for (guint i = 0; i < source->waiting->len; i++) {
		struct waiting *waiting = source->waiting->pdata[i];
		if (waiting->number == number)
			return waiting;
	}
	return NULL;
}

static bool take_open(struct disk_source *source, const uint8_t *data, size_t length)
{
	const struct disks *disks = source->run->disks;
	struct known_disk shapes[KNOWN_DISKS_MAX] = { 0 };
	if (length != (size_t) disks->count * 8)
		return false;
	for (unsigned i = 0; i < disks->count; i++) {
		shapes[i].bytes = disk_get_u64(data + 8 * (size_t) i);
		shapes[i].fresh = disks->disks[i].fresh;
		source->exports[i] =
			(struct nbd_export){ disks->disks[i].export, shapes[i].bytes, false };
	}
	pthread_mutex_lock(&source->run->sorting);
	sorter_set_disks(source->run->sorter, shapes, disks->count);
	pthread_mutex_unlock(&source->run->sorting);
	pthread_mutex_lock(&source->lock);
	source->open = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	return true;
}

static void finish(struct disk_source *source, struct waiting *waiting)
{
	pthread_mutex_lock(&source->lock);
	g_ptr_array_remove_fast(source->waiting, waiting);
	pthread_mutex_unlock(&source->lock);
	nbd_done(waiting->request, 0);
	g_free(waiting);
}

static void tell_agreed(struct disk_source *source, unsigned disk, const uint8_t *digest)
{
	char text[2 * TAG_BYTES + 1];
	for (int i = 0; i < TAG_BYTES; i++)
		g_snprintf(text + 2 * i, 3, "%02x", digest[i]);
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "target", source->run->disks->disks[disk].target);
	json_object_set_string_member(extra, "digest", text);
	run_post(source->run, "disk-agreed", extra);
}

/* The guest may stand still and wait for this: nothing is answered that is not proven. */
static bool take_flush(struct disk_source *source, struct waiting *waiting, const uint8_t *digest,
		       size_t length)
{
	unsigned disk = waiting->request->export;
	if (length != TAG_BYTES)
		return false;
	if (!tag_equal(digest, waiting->digest)) {
		run_refuse(source->run, "verify",
			   _("the disk %s at the destination is not what the source wrote"),
			   source->run->disks->disks[disk].target);
		return true;
	}
	pthread_mutex_lock(&source->lock);
	source->flushes[disk]++;
	pthread_mutex_unlock(&source->lock);
	tell_agreed(source, disk, digest);
	finish(source, waiting);
	return true;
}

static bool take_read(struct disk_source *source, struct waiting *waiting, const uint8_t *data,
		      size_t length)
{
	struct nbd_request *request = waiting->request;
	if (length <= 8 || request->command != NBD_READ)
		return false;
	uint64_t at = disk_get_u64(data);
	length -= 8;
	if (at < request->offset || at - request->offset > request->length ||
	    length > request->length - (at - request->offset) || length > waiting->left)
		return false;
	memcpy(request->payload + (at - request->offset), data + 8, length);
	waiting->left -= length;
	if (!waiting->left)
		finish(source, waiting);
	return true;
}

static bool take_answer(struct disk_source *source, const struct link_frame *frame)
{
	if (frame->length < DISK_ANSWER_BYTES)
		return false;
	const uint8_t *data = frame->data + DISK_ANSWER_BYTES;
	size_t length = frame->length - DISK_ANSWER_BYTES;
	pthread_mutex_lock(&source->lock);
	bool opening = source->opening && !source->open;
	struct waiting *waiting = find_waiting(source, disk_get_u64(frame->data));
	pthread_mutex_unlock(&source->lock);
	if (frame->flags == DISK_OPEN)
		return opening && take_open(source, data, length);
	if (!waiting)
		return false;
	return frame->flags == DISK_FLUSH  ? take_flush(source, waiting, data, length)
	       : frame->flags == DISK_READ ? take_read(source, waiting, data, length)
					   : false;
}

/* Who still waits gets an error: QEMU's mirror fails, the VM goes on at the source. */
static void fail_waiting(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	GPtrArray *all = source->waiting;
	source->waiting = g_ptr_array_new();
	source->broken = true;
	pthread_cond_broadcast(&source->changed);
	pthread_mutex_unlock(&source->lock);
	for (guint i = 0; i < all->len; i++) {
		struct waiting *waiting = all->pdata[i];
		nbd_done(waiting->request, EIO);
		g_free(waiting);
	}
	g_ptr_array_unref(all);
}

static void *answers_thread(void *data)
{
	struct run *run = data;
	struct disk_source *source = run->disk_source;
	g_autoptr(GError) error = NULL;
	struct link_frame *frame;
	while ((frame = link_receive(run->link, LINK_DISK, -1, NULL, &error))) {
		bool good = take_answer(source, frame);
		link_frame_done(run->link, LINK_DISK, frame);
		if (!good)
			run_refuse(run, "protocol", "%s",
				   _("the destination mover gave an answer about disks that cannot "
				     "be one"));
	}
	if (error)
		run_refuse_error(run, "link", error);
	fail_waiting(source);
	return run_thread_ends(run);
}

/* ---- connections ---- */

/* The first connection opens all disks: from there on the destination's QEMU is known to be there. */
static bool open_disks(struct disk_source *source)
{
	pthread_mutex_lock(&source->lock);
	bool first = !source->opening;
	source->opening = true;
	pthread_mutex_unlock(&source->lock);
	const struct disk_order order = { .op = DISK_OPEN };
	if (first && !send_order(source, &order, NULL))
		return false;
	pthread_mutex_lock(&source->lock);
	while (!source->open && !source->broken)
		pthread_cond_wait(&source->changed, &source->lock);
	bool open = source->open && !source->broken;
	pthread_mutex_unlock(&source->lock);
	return open;
}

static void *session_thread(void *data)
{
	struct session *session = data;
	struct disk_source *source = session->source;
	g_autoptr(GError) error = NULL;
	const struct nbd_server server = { .exports = source->exports,
					   .export_count = source->run->disks->count,
					   .bytes_max = BYTES_MAX,
					   .requests_max = REQUESTS_MAX,
					   .handle = handle,
					   .data = source };
	if (open_disks(source) && !nbd_serve(session->fd, &server, &error))
		g_debug("QEMU's connection for a disk ended: %s", error ? error->message : "?");
	shutdown(session->fd, SHUT_RDWR);
	return NULL;
}

static bool begin_session(struct disk_source *source, int fd)
{
	pthread_mutex_lock(&source->lock);
	bool good = !source->broken && source->session_count < SESSIONS_MAX;
	struct session *session = &source->sessions[source->session_count];
	if (good) {
		*session = (struct session){ .source = source, .fd = fd };
		good = pthread_create(&session->thread, NULL, session_thread, session) == 0;
		source->session_count += good;
	}
	pthread_mutex_unlock(&source->lock);
	return good;
}

static void *accept_thread(void *data)
{
	struct run *run = data;
	struct disk_source *source = run->disk_source;
	int fd;
	while ((fd = local_accept(run->disk_listener, NULL)) >= 0)
		if (!begin_session(source, fd))
			close(fd);
	disk_source_break(source);
	for (unsigned i = 0; i < source->session_count; i++)
		pthread_join(source->sessions[i].thread, NULL);
	pthread_mutex_lock(&source->lock);
	while (source->session_count > 0)
		close(source->sessions[--source->session_count].fd);
	pthread_mutex_unlock(&source->lock);
	return run_thread_ends(run);
}

/* ---- life ---- */

struct disk_source *disk_source_start(struct run *run, GError **error)
{
	struct disk_source *source = run->disk_source = g_new0(struct disk_source, 1);
	source->run = run;
	source->fold = tag_context_new(run->settings->key, "digest");
	source->waiting = g_ptr_array_new();
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->changed, NULL);
	return run_spawn(run, accept_thread, error) && run_spawn(run, answers_thread, error)
		       ? source
		       : NULL;
}

void disk_source_break(struct disk_source *source)
{
	if (!source)
		return;
	shutdown(source->run->disk_listener, SHUT_RDWR);
	pthread_mutex_lock(&source->lock);
	source->broken = true;
	pthread_cond_broadcast(&source->changed);
	for (unsigned i = 0; i < source->session_count; i++)
		shutdown(source->sessions[i].fd, SHUT_RDWR);
	pthread_mutex_unlock(&source->lock);
}

void disk_source_free(struct disk_source *source)
{
	if (!source)
		return;
	fail_waiting(source);
	g_ptr_array_unref(source->waiting);
	tag_context_free(source->fold);
	pthread_cond_destroy(&source->changed);
	pthread_mutex_destroy(&source->lock);
	g_free(source);
}

JsonArray *disk_source_describe(struct disk_source *source)
{
	struct run *run = source->run;
	JsonArray *list = json_array_new();
	pthread_mutex_lock(&run->sorting);
	for (unsigned i = 0; i < run->disks->count; i++) {
		const struct sorter_disk_counts *counts = sorter_disk_counts(run->sorter, i);
		JsonObject *disk = json_object_new();
		json_object_set_string_member(disk, "target", run->disks->disks[i].target);
		const struct {
			const char *name;
			uint64_t value;
		} numbers[] = {
			{ "size", source->exports[i].size },
			{ "written", source->written[i] },
			{ "zeroed", source->zeroed[i] },
			{ "zero", counts->zero * BATCH_DISK_BLOCK },
			{ "same", counts->same * BATCH_DISK_BLOCK },
			{ "reference", counts->reference * BATCH_DISK_BLOCK },
			{ "literal", counts->literal * BATCH_DISK_BLOCK },
			{ "flushes", source->flushes[i] },
		};
		for (size_t n = 0; n < G_N_ELEMENTS(numbers); n++)
			json_object_set_int_member(disk, numbers[n].name,
						   (gint64) numbers[n].value);
		json_array_add_object_element(list, disk);
	}
	pthread_mutex_unlock(&run->sorting);
	return list;
}
