/* SPDX-License-Identifier: Apache-2.0 */
/* Finds sampled pages on images. See image_tags.h. */
#include "mover/measure/image_tags.h"

#include "base/clock.h"
#include "base/json.h"
#include "content/batch.h"
#include "mover/measure/image_content.h"
#include "mover/measure/image_scan.h"

enum {
	IMAGES_MAX = 64,
	READERS_MAX = 8, /* of them are read */
	LATE_MS = 2000,  /* so long after its time the thread is waited for at most */
	ENDING_MS = 500, /* and after it was told to end */
};
static const double scan_bytes_s = 1e9;

struct looked_image {
	/* set once */
	char *path, *format;
	bool below; /* the last one before that is not stands on it */
	/* the thread's */
	struct disk_reader *reader; /* NULL: it is not read */
	/* under lock; only the thread changes it */
	struct seed_index *index; /* NULL: nothing is known */
	bool kept, whole;
	uint64_t bytes;      /* of the file; 0: it is not there, or a block device */
	JsonObject *content; /* what the first of these images consists of (image_content.h) */
};

struct image_tags {
	/* set once */
	uint8_t key[SEED_KEY_BYTES];
	int64_t until_ms;
	bool reads; /* contents are wanted */
	unsigned count;
	/* atomic */
	gint references; /* the owner's and the thread's */
	gint over;
	/* under lock */
	GMutex lock;
	GCond wake;
	bool ended;
	struct looked_image images[IMAGES_MAX];
};

static bool is_time_over(void *data)
{
	struct image_tags *tags = data;
	return g_atomic_int_get(&tags->over) || clock_now_ms() >= tags->until_ms;
}

static void image_tags_unref(struct image_tags *tags)
{
	if (!g_atomic_int_dec_and_test(&tags->references))
		return;
	for (unsigned i = 0; i < tags->count; i++) {
		g_free(tags->images[i].path);
		g_free(tags->images[i].format);
		seed_index_free(tags->images[i].index);
		g_clear_pointer(&tags->images[i].content, json_object_unref);
	}
	g_mutex_clear(&tags->lock);
	g_cond_clear(&tags->wake);
	g_free(tags);
}

/* ---- the thread ---- */

/* Programs that read images are started before anything is read: once the move has begun none may be (rights.h). */
static void open_images(struct image_tags *tags)
{
	for (unsigned i = 0; tags->reads && i < MIN(tags->count, READERS_MAX); i++) {
		struct looked_image *image = &tags->images[i];
		const struct disk_reader_config config = { .path = image->path,
							   .format = image->format,
							   .disk = image->path };
		image->reader = disk_reader_open(&config, NULL);
	}
}

/* Takes INDEX; WHOLE: it is of the image as it is. */
static void set_index(struct image_tags *tags, struct looked_image *image, struct seed_index *index,
		      bool whole)
{
	g_mutex_lock(&tags->lock);
	struct seed_index *old = image->index;
	image->index = index;
	image->whole = whole;
	g_mutex_unlock(&tags->lock);
	seed_index_free(old);
}

static void recall_image(struct image_tags *tags, struct looked_image *image)
{
	struct seed_index *kept = seed_index_load(image->path);
	struct seed_index *now = seed_index_new(image->path);
	g_mutex_lock(&tags->lock);
	image->bytes = now->bytes;
	image->kept = kept != NULL;
	g_mutex_unlock(&tags->lock);
	set_index(tags, image, kept, kept && seed_index_is_same(kept, now));
	seed_index_free(now);
}

/* What is kept of a disk in use is nearly always of an older state of it, and nearly all right. */
static void scan_image(struct image_tags *tags, struct looked_image *image)
{
	if (image->whole || !image->reader || is_time_over(tags))
		return;
	struct seed_index *fresh = seed_index_new(image->path);
	struct image_scan scan = { .pages = tag_context_new(tags->key, "page"),
				   .bytes_s = scan_bytes_s,
				   .is_over = is_time_over,
				   .data = tags,
				   .began_ms = clock_now_ms() };
	bool whole = image_scan_run(&scan, image->reader, fresh);
	tag_context_free(scan.pages);
	if (whole)
		seed_index_save(fresh, image->path, NULL);
	if (whole || !image->kept)
		set_index(tags, image, fresh, whole);
	else
		seed_index_free(fresh);
}

static void look_into_image(struct image_tags *tags, struct looked_image *image, GArray *own)
{
	JsonObject *content = json_object_new();
	image_content_describe(own, image->index, image->reader, content);
	g_mutex_lock(&tags->lock);
	image->content = content;
	g_mutex_unlock(&tags->lock);
}

/* Of the disk FIRST and the images that it stands on: what each gives to what the guest sees, the lower ones first
 * asked, for they may be at the destination. */
static void look_into_disk(struct image_tags *tags, unsigned first)
{
	struct looked_image *disk = &tags->images[first];
	g_autoptr(GArray) left = image_content_new(disk->index);
	for (unsigned i = first + 1; i < tags->count && tags->images[i].below; i++) {
		g_autoptr(GArray) taken = image_content_take(left, tags->images[i].index);
		look_into_image(tags, &tags->images[i], taken);
	}
	look_into_image(tags, disk, left);
}

static void end_thread(struct image_tags *tags)
{
	for (unsigned i = 0; i < tags->count; i++)
		disk_reader_free(tags->images[i].reader);
	g_mutex_lock(&tags->lock);
	tags->ended = true;
	g_cond_signal(&tags->wake);
	g_mutex_unlock(&tags->lock);
	image_tags_unref(tags);
}

static gpointer look_through_images(gpointer data)
{
	struct image_tags *tags = data;
	for (unsigned i = 0; i < tags->count; i++)
		recall_image(tags, &tags->images[i]);
	open_images(tags);
	/* the lower ones first: they do not change, so that this is kept for good */
	for (unsigned i = tags->count; i > 0; i--)
		scan_image(tags, &tags->images[i - 1]);
	for (unsigned i = 0; tags->reads && i < tags->count; i++)
		if (!tags->images[i].below && !g_atomic_int_get(&tags->over))
			look_into_disk(tags, i);
	end_thread(tags);
	return NULL;
}

/* ---- its owner ---- */

static bool read_tagged_images(struct image_tags *tags, JsonArray *images)
{
	unsigned count = json_array_get_length(images);
	for (unsigned i = 0; i < count && i < IMAGES_MAX; i++) {
		JsonNode *node = json_array_get_element(images, i);
		JsonObject *image =
			JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
		const char *path = image ? json_get_string(image, "path", "") : "";
		const char *format = image ? json_get_string(image, "format", "") : "";
		if (*path != '/' || !disk_reader_is_format(format))
			return false;
		tags->images[tags->count++] =
			(struct looked_image){ .path = g_strdup(path),
					       .format = g_strdup(format),
					       .below = tags->count > 0 &&
							json_get_bool(image, "below", false) };
	}
	return true;
}

struct image_tags *image_tags_begin(JsonArray *images, int64_t scan_ms)
{
	struct image_tags *tags = g_new0(struct image_tags, 1);
	tags->until_ms = clock_now_ms() + scan_ms;
	tags->reads = scan_ms > 0;
	tags->references = 1;
	g_mutex_init(&tags->lock);
	g_cond_init(&tags->wake);
	if (!read_tagged_images(tags, images) || !seed_key_load(tags->key, NULL)) {
		image_tags_unref(tags);
		return NULL;
	}
	tags->references = 2;
	g_thread_unref(g_thread_new("images", look_through_images, tags));
	return tags;
}

static void wait_until_ended(struct image_tags *tags, int64_t until_ms)
{
	gint64 until = g_get_monotonic_time() + MAX(until_ms - clock_now_ms(), 0) * 1000;
	g_mutex_lock(&tags->lock);
	while (!tags->ended && g_cond_wait_until(&tags->wake, &tags->lock, until))
		;
	g_mutex_unlock(&tags->lock);
}

void image_tags_wait(struct image_tags *tags)
{
	wait_until_ended(tags, tags->until_ms + LATE_MS);
}

void image_tags_free(struct image_tags *tags)
{
	if (!tags)
		return;
	g_atomic_int_set(&tags->over, 1);
	wait_until_ended(tags, clock_now_ms() + ENDING_MS);
	image_tags_unref(tags);
}

/* ---- what is on them ---- */

/* A page of the sample, by its number there. */
struct sampled {
	uint64_t tag;
	size_t page;
	bool older; /* as it was at the first look */
};

static GArray *tag_sample(const struct image_tags *tags, const struct sample *sample)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct sampled));
	struct tag_context *pages = sample ? tag_context_new(tags->key, "page") : NULL;
	for (int older = 0; pages && older < 2; older++) {
		const uint8_t *page;
		size_t at = 0;
		while ((page = older ? sample_next_older(sample, &at)
				     : sample_next_page(sample, &at))) {
			uint8_t tag[TAG_BYTES];
			tag_compute(pages, page, SAMPLE_PAGE, tag);
			struct sampled one = { item_short_tag(tag), at - 1, older };
			g_array_append_val(list, one);
		}
	}
	tag_context_free(pages);
	return list;
}

/* How often each tag is in the sample's last look; those of older pages are there, and count for nothing. */
static GHashTable *count_sampled(const GArray *list)
{
	GHashTable *counts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	for (guint i = 0; i < list->len; i++) {
		const struct sampled *one = &g_array_index(list, struct sampled, i);
		guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, &one->tag));
		g_hash_table_insert(counts, g_memdup2(&one->tag, sizeof one->tag),
				    GUINT_TO_POINTER(count + !one->older));
	}
	return counts;
}

/* Those that were taken out of COUNTS lie on images, and of the others each is sent once. */
static void note_elsewhere(struct sample *sample, const GArray *list, GHashTable *counts)
{
	g_autoptr(GHashTable) met = g_hash_table_new(g_int64_hash, g_int64_equal);
	for (guint i = 0; i < list->len; i++) {
		struct sampled *one = &g_array_index(list, struct sampled, i);
		if (!g_hash_table_contains(counts, &one->tag))
			sample_note_elsewhere(sample, one->page,
					      one->older ? SAMPLE_OLDER_ON_IMAGE : SAMPLE_ON_IMAGE);
		else if (!one->older && !g_hash_table_add(met, &one->tag))
			sample_note_elsewhere(sample, one->page, SAMPLE_TWICE);
	}
}

static guint take_known(const struct seed_index *index, GHashTable *counts)
{
	guint known = 0;
	for (guint i = 0; index && i < index->entries->len; i++) {
		uint64_t key = g_array_index(index->entries, struct seed_entry, i).tag;
		known += GPOINTER_TO_UINT(g_hash_table_lookup(counts, &key));
		g_hash_table_remove(counts, &key);
	}
	return known;
}

static JsonObject *describe_image(const struct looked_image *image, GHashTable *counts)
{
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "path", image->path);
	json_object_set_int_member(object, "known", take_known(image->index, counts));
	json_object_set_int_member(object, "bytes",
				   image->index ? (gint64) image->index->entries->len * SAMPLE_PAGE
						: 0);
	json_object_set_int_member(object, "size", (gint64) image->bytes);
	if (image->content)
		json_object_set_object_member(object, "content", json_copy_object(image->content));
	json_object_set_boolean_member(object, "kept", image->kept);
	json_object_set_boolean_member(object, "whole", image->whole);
	return object;
}

JsonArray *image_tags_describe(struct image_tags *tags, struct sample *sample)
{
	JsonArray *list = json_array_new();
	g_autoptr(GArray) sampled = tag_sample(tags, sample);
	g_autoptr(GHashTable) counts = count_sampled(sampled);
	g_mutex_lock(&tags->lock);
	for (unsigned i = 0; i < tags->count; i++)
		json_array_add_object_element(list, describe_image(&tags->images[i], counts));
	g_mutex_unlock(&tags->lock);
	note_elsewhere(sample, sampled, counts);
	return list;
}
