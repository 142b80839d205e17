/* SPDX-License-Identifier: Apache-2.0 */
/* Finds sampled pages on images. See image_tags.h. */
#include "mover/image_tags.h"

#include "base/clock.h"
#include "base/json.h"
#include "content/batch.h"
#include "mover/image_content.h"
#include "mover/image_scan.h"

enum { IMAGES_MAX = 64 };
static const double scan_bytes_s = 1e9;

struct looked_image {
	char *path, *format;
	bool below;               /* the last one before that is not stands on it */
	struct seed_index *index; /* NULL: nothing is known */
	bool kept, whole;
	uint64_t bytes;      /* of the file; 0: it is not there, or a block device */
	JsonObject *content; /* what the first of these images consists of (image_content.h) */
};

struct image_tags {
	/* set once */
	uint8_t key[SEED_KEY_BYTES];
	int64_t until_ms;
	bool contents; /* are wanted */
	/* the thread's until it has ended */
	struct looked_image images[IMAGES_MAX];
	unsigned count;
	GThread *thread;
};

static bool is_time_over(void *data)
{
	return clock_now_ms() >= ((const struct image_tags *) data)->until_ms;
}

static bool scan_image(struct image_tags *tags, const struct looked_image *image,
		       struct seed_index *index)
{
	const struct disk_reader_config config = { .path = image->path,
						   .format = image->format,
						   .disk = image->path };
	struct disk_reader *reader = disk_reader_open(&config, NULL);
	if (!reader)
		return false;
	struct image_scan scan = { .pages = tag_context_new(tags->key, "page"),
				   .bytes_s = scan_bytes_s,
				   .is_over = is_time_over,
				   .data = tags,
				   .began_ms = clock_now_ms() };
	bool whole = image_scan_run(&scan, reader, index);
	tag_context_free(scan.pages);
	disk_reader_free(reader);
	return whole;
}

/* What is kept of a disk in use is nearly always of an older state of it, and nearly all right. */
static void look_through_image(struct image_tags *tags, struct looked_image *image)
{
	struct seed_index *kept = seed_index_load(image->path);
	struct seed_index *fresh = seed_index_new(image->path);
	bool same = kept && seed_index_is_same(kept, fresh);
	image->kept = kept != NULL;
	image->bytes = fresh->bytes;
	image->whole = same || (!is_time_over(tags) && scan_image(tags, image, fresh));
	if (image->whole && !same)
		seed_index_save(fresh, image->path, NULL);
	bool newer = image->whole ? !same : !kept;
	image->index = newer ? fresh : kept;
	seed_index_free(newer ? kept : fresh);
}

static void describe_content(struct looked_image *image, GArray *own)
{
	image->content = json_object_new();
	image_content_describe(own, image->index, image->path, image->format, image->content);
}

/* Of the disk FIRST and the images that it stands on: what each gives to what the guest sees, the lower ones first
 * asked, for they may be at the destination. */
static void look_into_disk(struct image_tags *tags, unsigned first)
{
	struct looked_image *disk = &tags->images[first];
	g_autoptr(GArray) left = image_content_new(disk->index);
	for (unsigned i = first + 1; i < tags->count && tags->images[i].below; i++) {
		g_autoptr(GArray) taken = image_content_take(left, tags->images[i].index);
		describe_content(&tags->images[i], taken);
	}
	describe_content(disk, left);
}

static gpointer look_through_images(gpointer data)
{
	struct image_tags *tags = data;
	for (unsigned i = 0; i < tags->count; i++)
		look_through_image(tags, &tags->images[i]);
	for (unsigned i = 0; tags->contents && i < tags->count; i++)
		if (!tags->images[i].below)
			look_into_disk(tags, i);
	return NULL;
}

static void image_tags_free(struct image_tags *tags)
{
	for (unsigned i = 0; i < tags->count; i++) {
		g_free(tags->images[i].path);
		g_free(tags->images[i].format);
		seed_index_free(tags->images[i].index);
		g_clear_pointer(&tags->images[i].content, json_object_unref);
	}
	g_free(tags);
}

static bool read_images(struct image_tags *tags, JsonArray *images)
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
	tags->contents = scan_ms > 0;
	if (!read_images(tags, images) || !seed_key_load(tags->key, NULL)) {
		image_tags_free(tags);
		return NULL;
	}
	tags->thread = g_thread_new("images", look_through_images, tags);
	return tags;
}

/* A page of the sample, by its number there. */
struct sampled {
	uint64_t tag;
	size_t page;
};

static GArray *tag_sample(const struct image_tags *tags, const struct sample *sample)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct sampled));
	struct tag_context *pages = sample ? tag_context_new(tags->key, "page") : NULL;
	const uint8_t *page;
	for (size_t at = 0; pages && (page = sample_next_page(sample, &at));) {
		uint8_t tag[TAG_BYTES];
		tag_compute(pages, page, SAMPLE_PAGE, tag);
		struct sampled one = { item_short_tag(tag), at - 1 };
		g_array_append_val(list, one);
	}
	tag_context_free(pages);
	return list;
}

/* How often each tag is in the sample. */
static GHashTable *count_sampled(const GArray *list)
{
	GHashTable *counts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	for (guint i = 0; i < list->len; i++) {
		uint64_t key = g_array_index(list, struct sampled, i).tag;
		guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, &key));
		g_hash_table_insert(counts, g_memdup2(&key, sizeof key),
				    GUINT_TO_POINTER(count + 1));
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
			sample_note_elsewhere(sample, one->page, SAMPLE_ON_IMAGE);
		else if (!g_hash_table_add(met, &one->tag))
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

JsonArray *image_tags_end(struct image_tags *tags, struct sample *sample)
{
	JsonArray *list = json_array_new();
	g_thread_join(tags->thread);
	g_autoptr(GArray) sampled = tag_sample(tags, sample);
	g_autoptr(GHashTable) counts = count_sampled(sampled);
	for (unsigned i = 0; i < tags->count; i++) {
		const struct looked_image *image = &tags->images[i];
		JsonObject *object = json_object_new();
		json_object_set_string_member(object, "path", image->path);
		json_object_set_int_member(object, "known", take_known(image->index, counts));
		json_object_set_int_member(
			object, "bytes",
			image->index ? (gint64) image->index->entries->len * SAMPLE_PAGE : 0);
		json_object_set_int_member(object, "size", (gint64) image->bytes);
		if (image->content)
			json_object_set_object_member(object, "content",
						      json_object_ref(image->content));
		json_object_set_boolean_member(object, "kept", image->kept);
		json_object_set_boolean_member(object, "whole", image->whole);
		json_array_add_object_element(list, object);
	}
	note_elsewhere(sample, sampled, counts);
	image_tags_free(tags);
	return list;
}
