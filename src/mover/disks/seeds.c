/* SPDX-License-Identifier: Apache-2.0 */
/* Looks through seeds, and offers what is in them. */
#include "mover/disks/seeds.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "nbd/reader.h"
#include "mover/disks/disk_order.h"
#include "mover/measure/image_scan.h"

#include <string.h>

#define HELLO_MS 10000
#define SCAN_MS 60000    /* for all seeds together */
#define SCAN_BYTES_S 1e9 /* at most so fast */
#define OFFER_MAX 8192   /* tags in a frame */
#define GAP_MAX 16       /* blocks without content that are not worth another frame */

_Static_assert(SEED_KEY_BYTES == TAG_KEY_BYTES, "a kept key is a tag's key");

struct seeds {
	struct transfer *transfer;
	struct disk_reader *readers[KNOWN_SEEDS_MAX];
	uint32_t places[KNOWN_SEEDS_MAX]; /* of the first block; 0: it cannot be referred to */
	gint finished;                    /* atomic */
	/* the thread's: an offer that is being written */
	struct link_frame *frame;
	uint64_t next_place;
	struct image_scan scan;
};

/* ---- offers ---- */

static void send_offer(struct seeds *seeds)
{
	if (seeds->frame)
		link_frame_commit(seeds->transfer->link, LINK_DISK, seeds->frame);
	seeds->frame = NULL;
}

static bool begin_offer(struct seeds *seeds, uint64_t place)
{
	seeds->frame = link_frame_begin(seeds->transfer->link, LINK_DISK, NULL);
	if (!seeds->frame)
		return false;
	seeds->frame->flags = DISK_OFFER;
	disk_put_u64(seeds->frame->data, 0);
	disk_put_u64(seeds->frame->data + 8, place);
	seeds->frame->length = 16;
	seeds->next_place = place;
	return true;
}

static void add_tag(struct seeds *seeds, uint64_t tag)
{
	disk_put_u64(seeds->frame->data + seeds->frame->length, tag);
	seeds->frame->length += 8;
	seeds->next_place++;
}

/* Places come in order. False: the link takes no more. */
static bool offer(struct seeds *seeds, uint64_t place, uint64_t tag)
{
	bool fits = seeds->frame && place - seeds->next_place <= GAP_MAX &&
		    seeds->frame->length < (size_t) (OFFER_MAX - GAP_MAX) * 8;
	if (!fits) {
		send_offer(seeds);
		if (!begin_offer(seeds, place))
			return false;
	}
	while (seeds->next_place < place)
		add_tag(seeds, 0);
	add_tag(seeds, tag);
	return true;
}

static bool offer_index(struct seeds *seeds, unsigned seed, const struct seed_index *index)
{
	uint64_t blocks = disk_reader_size(seeds->readers[seed]) / BATCH_DISK_BLOCK;
	for (guint i = 0; i < index->entries->len; i++) {
		const struct seed_entry *entry =
			&g_array_index(index->entries, struct seed_entry, i);
		if (entry->block < blocks &&
		    !offer(seeds, (uint64_t) seeds->places[seed] + entry->block, entry->tag))
			return false;
	}
	send_offer(seeds);
	return true;
}

/* ---- looking through an image ---- */

/* What image_scan gives back: of which seed its blocks are. */
struct scanned {
	struct seeds *seeds;
	unsigned seed;
};

static bool is_seed_scan_over(struct seeds *seeds)
{
	return g_atomic_int_get(&seeds->finished) ||
	       clock_now_ms() - seeds->scan.began_ms > SCAN_MS ||
	       transfer_get_phase(seeds->transfer) >= TRANSFER_STOPPED;
}

static bool is_scan_over(void *data)
{
	return is_seed_scan_over(((const struct scanned *) data)->seeds);
}

static bool offer_found(uint64_t block, uint64_t tag, void *data)
{
	const struct scanned *scanned = data;
	return offer(scanned->seeds, scanned->seeds->places[scanned->seed] + block, tag);
}

/* False: it was not looked through to its end. */
static bool scan_seed(struct seeds *seeds, unsigned seed, struct seed_index *index)
{
	struct scanned scanned = { seeds, seed };
	seeds->scan.data = &scanned;
	bool whole = image_scan_run(&seeds->scan, seeds->readers[seed], index);
	send_offer(seeds);
	return whole;
}

/* What is kept, then what is there; an old index is better than a half one. */
static void look_through(struct seeds *seeds, unsigned seed)
{
	const char *path = seeds->transfer->disks->seeds[seed].path;
	struct seed_index *kept = seed_index_load(path), *fresh = seed_index_new(path);
	g_autoptr(GError) error = NULL;
	bool good = !kept || offer_index(seeds, seed, kept);
	if (good && !(kept && seed_index_is_same(kept, fresh))) {
		bool whole = scan_seed(seeds, seed, fresh);
		if ((whole || !kept) && !seed_index_save(fresh, path, &error))
			g_debug("the index is not kept: %s", error->message);
	}
	seed_index_free(kept);
	seed_index_free(fresh);
}

static void tell_offered(struct seeds *seeds)
{
	struct link_frame *frame = link_frame_begin(seeds->transfer->link, LINK_DISK, NULL);
	if (!frame)
		return;
	frame->flags = DISK_OFFERED;
	disk_put_u64(frame->data, 0);
	frame->length = 8;
	link_frame_commit(seeds->transfer->link, LINK_DISK, frame);
}

static void *seeds_thread(void *data)
{
	struct transfer *transfer = data;
	struct seeds *seeds = transfer->seeds;
	seeds->scan.began_ms = clock_now_ms();
	for (unsigned i = 0; i < transfer->disks->seed_count && !is_seed_scan_over(seeds); i++)
		if (seeds->places[i] && seeds->readers[i])
			look_through(seeds, i);
	send_offer(seeds);
	tell_offered(seeds);
	return transfer_thread_ends(transfer);
}

/* ---- life ---- */

static void tell_unusable(struct transfer *transfer, const char *path, const GError *error)
{
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "path", path);
	json_object_set_string_member(extra, "reason", error->message);
	transfer_post(transfer, EVENT_SEED_UNUSABLE, extra);
}

static bool tell_source(struct seeds *seeds, GError **error)
{
	struct transfer *transfer = seeds->transfer;
	struct link_frame *frame = link_frame_begin(transfer->link, LINK_DISK, error);
	if (!frame)
		return false;
	frame->flags = DISK_SEEDS;
	disk_put_u64(frame->data, 0);
	memcpy(frame->data + 8, transfer->page_key, TAG_KEY_BYTES);
	frame->length = 8 + TAG_KEY_BYTES;
	for (unsigned i = 0; i < transfer->disks->seed_count; i++, frame->length += 8)
		disk_put_u64(frame->data + frame->length, seeds_bytes(seeds, i));
	link_frame_commit(transfer->link, LINK_DISK, frame);
	return true;
}

struct seeds *seeds_start(struct transfer *transfer, GError **error)
{
	struct seeds *seeds = transfer->seeds = g_new0(struct seeds, 1);
	struct known known = { 0 }; /* numbers the places as the resolver will */
	seeds->transfer = transfer;
	if (!seed_key_load(transfer->page_key, error))
		return NULL;
	seeds->scan = (struct image_scan){ .pages = tag_context_new(transfer->page_key, "page"),
					   .bytes_s = SCAN_BYTES_S,
					   .is_over = is_scan_over,
					   .found = offer_found };
	for (unsigned i = 0; i < transfer->disks->seed_count; i++) {
		const struct seed_setting *seed = &transfer->disks->seeds[i];
		g_autoptr(GError) unusable = NULL;
		const struct disk_reader_config config = { .path = seed->path,
							   .format = seed->format,
							   .disk = seed->path };
		seeds->readers[i] = disk_reader_open(&config, &unusable);
		if (unusable)
			tell_unusable(transfer, seed->path, unusable);
		seeds->places[i] = known_add_seed(&known, seeds_bytes(seeds, i));
	}
	return tell_source(seeds, error) && transfer_spawn(transfer, seeds_thread, error) ? seeds
											  : NULL;
}

void seeds_finish(struct seeds *seeds)
{
	if (seeds)
		g_atomic_int_set(&seeds->finished, 1);
}

void seeds_free(struct seeds *seeds)
{
	if (!seeds)
		return;
	for (unsigned i = 0; i < KNOWN_SEEDS_MAX; i++)
		disk_reader_free(seeds->readers[i]);
	tag_context_free(seeds->scan.pages);
	g_free(seeds);
}

uint64_t seeds_bytes(const struct seeds *seeds, unsigned seed)
{
	return seeds->readers[seed] ? disk_reader_size(seeds->readers[seed]) : 0;
}

struct disk_reader *seeds_reader(const struct seeds *seeds, unsigned seed)
{
	return seeds->readers[seed];
}

bool seeds_receive(struct transfer *transfer, uint64_t bytes[KNOWN_SEEDS_MAX], GError **error)
{
	bool finished;
	struct link_frame *frame =
		link_receive(transfer->link, LINK_DISK, HELLO_MS, &finished, error);
	size_t count = transfer->disks->seed_count;
	bool good = frame && frame->flags == DISK_SEEDS &&
		    frame->length == 8 + TAG_KEY_BYTES + 8 * count;
	if (good) {
		memcpy(transfer->page_key, frame->data + 8, TAG_KEY_BYTES);
		for (size_t i = 0; i < count; i++)
			bytes[i] = disk_get_u64(frame->data + 8 + TAG_KEY_BYTES + 8 * i);
	}
	if (frame)
		link_frame_done(transfer->link, LINK_DISK, frame);
	if (!good && error && !*error)
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("the destination mover does not say what it has"));
	return good;
}
