/* SPDX-License-Identifier: Apache-2.0 */
/* Memory sampled from outside: this very process plays the QEMU. */
#include "mover/measure/image_tags.h"
#include "mover/pages_left.h"
#include "mover/measure/sample.h"
#include "mover/measure/host_load.h"

#include "base/json.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1 << 20, BYTES = 64 * MIB + 12 * SAMPLE_PAGE, PAGES = BYTES / SAMPLE_PAGE };

/* Between guard pages, as QEMU maps memory: the last quarter is never touched. */
static uint8_t *map_memory(void)
{
	size_t room = BYTES + 4 * MIB;
	uint8_t *all =
		mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	g_assert_true(all != MAP_FAILED);
	uint8_t *memory = (uint8_t *) (((uintptr_t) all + 2 * MIB) & ~(uintptr_t) (2 * MIB - 1));
	g_assert_cmpint(mprotect(memory, BYTES, PROT_READ | PROT_WRITE), ==, 0);
	madvise(memory, BYTES, MADV_NOHUGEPAGE);
	return memory;
}

/* In turns a page of text, a page of zeros that was touched. */
static void fill(uint8_t *memory, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++)
		for (unsigned j = 0; j < SAMPLE_PAGE; j += 8)
			memcpy(memory + (size_t) i * SAMPLE_PAGE + j,
			       i % 2 ? "\0\0\0\0\0\0\0\0" : "pagetext", 8);
	for (unsigned i = 0; i < pages; i += 2)
		memory[(size_t) i * SAMPLE_PAGE] = (uint8_t) i;
}

static void test_sample(void)
{
	uint8_t *memory = map_memory();
	const uint64_t length = BYTES;
	g_autoptr(GError) error = NULL;
	fill(memory, PAGES * 3 / 4);
	struct sample *sample = sample_new(getpid(), &length, 1, 4096, &error);
	g_assert_no_error(error);
	g_assert_cmpint(sample_look(sample, &error), ==, 0);
	g_assert_cmpint(sample_look(sample, &error), ==, 0);
	/* every other page with content changes a little */
	for (unsigned i = 0; i < PAGES * 3 / 4; i += 4)
		memory[(size_t) i * SAMPLE_PAGE + 100] ^= 1;
	int64_t changed = sample_look(sample, &error);
	g_assert_no_error(error);
	g_autoptr(JsonObject) numbers = sample_describe(sample);
	double pages = json_get_double(numbers, "pages", 0);
	double data = json_get_double(numbers, "data", 0) / pages;
	double absent = json_get_double(numbers, "absent", 0) / pages;
	g_assert_cmpfloat(pages, >=, 4000);
	g_assert_cmpfloat(data, >, 0.36);
	g_assert_cmpfloat(data, <, 0.39);
	g_assert_cmpfloat(absent, >, 0.23);
	g_assert_cmpfloat(absent, <, 0.27);
	g_assert_cmpfloat((double) changed / pages, >, 0.17);
	g_assert_cmpfloat((double) changed / pages, <, 0.2);
	g_assert_cmpfloat(json_get_double(numbers, "changed_bytes", 1e9), <, 100);
	JsonObject *batch = json_get_object(numbers, "batch");
	g_assert_nonnull(batch);
	g_assert_cmpfloat(json_get_double(batch, "share", 1), <, 0.1);
	/* what was never touched is not there now either */
	unsigned char there[PAGES];
	g_assert_cmpint(mincore(memory, BYTES, there), ==, 0);
	for (unsigned i = PAGES * 3 / 4 + 1; i < PAGES; i++)
		g_assert_cmpint(there[i] & 1, ==, 0);
	sample_free(sample);
	munmap(memory, BYTES);
}

/* ---- pages that lie on images as well ---- */

static char *write_image(const char *folder, const uint8_t *bytes, size_t length)
{
	char *path = g_build_filename(folder, "disk.raw", NULL);
	g_assert_true(g_file_set_contents(path, (const char *) bytes, (gssize) length, NULL));
	return path;
}

static JsonArray *look_through(JsonArray *images, int64_t scan_ms, struct sample *sample)
{
	struct image_tags *tags = image_tags_begin(images, scan_ms);
	g_assert_nonnull(tags);
	image_tags_wait(tags);
	JsonArray *found = image_tags_describe(tags, sample);
	image_tags_free(tags);
	return found;
}

static JsonObject *look_for_pages(struct sample *sample, const char *path, int64_t scan_ms)
{
	g_autoptr(JsonArray) images = json_array_new();
	JsonObject *image = json_object_new();
	json_object_set_string_member(image, "path", path);
	json_object_set_string_member(image, "format", "raw");
	json_array_add_object_element(images, image);
	g_autoptr(JsonArray) found = look_through(images, scan_ms, sample);
	g_assert_cmpuint(json_array_get_length(found), ==, 1);
	return json_object_ref(json_array_get_object_element(found, 0));
}

static void assert_share(JsonObject *numbers, double least, double most)
{
	JsonObject *batch = json_get_object(numbers, "batch");
	g_assert_nonnull(batch);
	g_assert_cmpfloat(json_get_double(batch, "share", -1), >=, least);
	g_assert_cmpfloat(json_get_double(batch, "share", -1), <=, most);
}

/* The first half of what the guest holds is on its disk. It is found, remembered, and found again without
 * reading; without the time to look through it nothing is known. */
static void test_on_images(void)
{
	uint8_t *memory = map_memory();
	const uint64_t length = BYTES;
	g_autoptr(GError) error = NULL;
	g_autofree char *folder = g_dir_make_tmp("watari-images-XXXXXX", &error);
	g_assert_no_error(error);
	g_setenv("WATARI_STATE_DIR", folder, TRUE);
	for (unsigned i = 0; i < PAGES / 2; i++)
		memset(memory + (size_t) i * SAMPLE_PAGE, 1 + i % 251, SAMPLE_PAGE);
	for (unsigned i = 0; i < BYTES / 4; i += 4) { /* what the disk has does not pack */
		guint32 word = g_random_int();
		memcpy(memory + i, &word, sizeof word);
	}
	for (unsigned i = 0; i < PAGES / 2; i++) /* each is one of its kind */
		memcpy(memory + (size_t) i * SAMPLE_PAGE, &i, sizeof i);
	g_autofree char *path = write_image(folder, memory, BYTES / 4);
	struct sample *sample = sample_new(getpid(), &length, 1, 4096, &error);
	g_assert_cmpint(sample_look(sample, &error), ==, 0);
	g_autoptr(JsonObject) numbers = sample_describe(sample);
	double data = json_get_double(numbers, "data", 0);
	assert_share(numbers, 0.4, 0.6);
	g_autoptr(JsonObject) blind = look_for_pages(sample, path, 0);
	g_assert_cmpint(json_get_int(blind, "known", -1), ==, 0);
	g_assert_false(json_get_bool(blind, "whole", true));
	g_autoptr(JsonObject) first = look_for_pages(sample, path, 20000);
	g_assert_false(json_get_bool(first, "kept", true));
	g_assert_true(json_get_bool(first, "whole", false));
	g_assert_cmpfloat(json_get_double(first, "known", 0), >, 0.45 * data);
	g_assert_cmpfloat(json_get_double(first, "known", 0), <, 0.55 * data);
	g_autoptr(JsonObject) sent = sample_describe(sample); /* without those */
	assert_share(sent, 0, 0.05);
	g_assert_cmpint(json_get_int(sent, "twice", -1), ==, 0);
	/* a change is small where the page itself has travelled, and whole where it came from the disk */
	for (unsigned i = PAGES / 4; i < PAGES / 2; i++)
		memory[(size_t) i * SAMPLE_PAGE + 100] ^= 1;
	g_assert_cmpint(sample_look(sample, &error), >, 0);
	g_autoptr(JsonObject) no_older = look_for_pages(sample, path, 0);
	g_assert_cmpint(json_get_int(no_older, "known", -1), ==, json_get_int(first, "known", -2));
	g_autoptr(JsonObject) small = sample_describe(sample);
	g_assert_cmpfloat(json_get_double(small, "changed_bytes", 1e9), <, 200);
	for (unsigned i = 0; i < PAGES / 4; i++)
		memory[(size_t) i * SAMPLE_PAGE + 100] ^= 1;
	g_assert_cmpint(sample_look(sample, &error), >, 0);
	g_autoptr(JsonObject) from_disk = look_for_pages(sample, path, 0);
	g_autoptr(JsonObject) whole = sample_describe(sample);
	g_assert_cmpfloat(json_get_double(whole, "changed_bytes", 0), >, 800);
	g_assert_cmpint(json_get_int(from_disk, "known", -1), ==, 0);
	for (unsigned i = 0; i < PAGES / 4; i++)
		memory[(size_t) i * SAMPLE_PAGE + 100] ^= 1;
	/* a page of the second half is as many others are */
	for (unsigned i = PAGES / 2; i < PAGES * 5 / 8; i++)
		memset(memory + (size_t) i * SAMPLE_PAGE, 99, SAMPLE_PAGE);
	g_assert_cmpint(sample_look(sample, &error), >, 0);
	g_autoptr(JsonObject) once_more = look_for_pages(sample, path, 0);
	g_autoptr(JsonObject) alike = sample_describe(sample);
	g_assert_cmpfloat(json_get_double(alike, "twice", 0), >, 0.2 * data);
	g_assert_cmpfloat(json_get_double(alike, "twice", 0), <, 0.3 * data);
	g_assert_cmpint(json_get_int(once_more, "known", -1), ==, json_get_int(first, "known", -2));
	g_autoptr(JsonObject) again = look_for_pages(sample, path, 0);
	g_assert_true(json_get_bool(again, "kept", false));
	g_assert_cmpint(json_get_int(again, "known", -1), ==, json_get_int(first, "known", -2));
	sample_free(sample);
	munmap(memory, BYTES);
	g_unsetenv("WATARI_STATE_DIR");
	g_autofree char *command = g_strdup_printf("rm -r '%s'", folder);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
}

/* ---- what images are made of ---- */

enum { BLOCK = 4096, BASE_BLOCKS = 512, OWN_BLOCKS = 256 };

/* COUNT blocks from FIRST on, each one of its kind, that pack to about half. */
static void fill_blocks(uint8_t *bytes, unsigned count, uint32_t first)
{
	for (unsigned i = 0; i < count; i++) {
		GRand *rand = g_rand_new_with_seed(first + i);
		uint8_t *block = bytes + (size_t) i * BLOCK;
		for (unsigned at = 0; at < BLOCK / 2; at += 4) {
			guint32 word = g_rand_int(rand);
			memcpy(block + at, &word, sizeof word);
		}
		memset(block + BLOCK / 2, 7, BLOCK / 2);
		g_rand_free(rand);
	}
}

static void add_image(JsonArray *images, const char *path, bool below)
{
	JsonObject *image = json_object_new();
	json_object_set_string_member(image, "path", path);
	json_object_set_string_member(image, "format", "raw");
	json_object_set_boolean_member(image, "below", below);
	json_array_add_object_element(images, image);
}

static JsonObject *content_of(JsonArray *found, guint i)
{
	JsonObject *content = json_get_object(json_array_get_object_element(found, i), "content");
	g_assert_nonnull(content);
	return content;
}

/* A disk shows half of its base, blocks of its own, some of these twice, and zeros. */
static void test_content(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *folder = g_dir_make_tmp("watari-content-XXXXXX", &error);
	g_autofree char *base = g_build_filename(folder, "base.raw", NULL);
	g_autofree char *disk = g_build_filename(folder, "disk.raw", NULL);
	g_autofree uint8_t *bytes = g_malloc0((BASE_BLOCKS + 2 * OWN_BLOCKS) * BLOCK);
	g_setenv("WATARI_STATE_DIR", folder, TRUE);
	fill_blocks(bytes, BASE_BLOCKS, 1000);
	g_file_set_contents(base, (char *) bytes, BASE_BLOCKS * BLOCK, &error);
	fill_blocks(bytes + BASE_BLOCKS / 2 * BLOCK, OWN_BLOCKS, 5000);
	memcpy(bytes + (BASE_BLOCKS / 2 + OWN_BLOCKS) * BLOCK, bytes + BASE_BLOCKS / 2 * BLOCK,
	       10 * BLOCK);
	memset(bytes + (BASE_BLOCKS / 2 + OWN_BLOCKS + 10) * BLOCK, 0,
	       (BASE_BLOCKS / 2 + OWN_BLOCKS - 10) * BLOCK);
	g_file_set_contents(disk, (char *) bytes, (BASE_BLOCKS + OWN_BLOCKS) * BLOCK, &error);
	g_assert_no_error(error);
	g_autoptr(JsonArray) images = json_array_new();
	add_image(images, disk, false);
	add_image(images, base, true);
	g_autoptr(JsonArray) found = look_through(images, 20000, NULL);
	JsonObject *own = content_of(found, 0), *below = content_of(found, 1);
	g_assert_cmpint(json_get_int(own, "blocks", -1), ==, OWN_BLOCKS);
	g_assert_cmpint(json_get_int(below, "blocks", -1), ==, BASE_BLOCKS / 2);
	JsonObject *first = json_array_get_object_element(found, 0);
	g_assert_cmpint(json_get_int(first, "bytes", -1), ==,
			(BASE_BLOCKS / 2 + OWN_BLOCKS + 10) * BLOCK);
	g_assert_cmpint(json_get_int(json_array_get_object_element(found, 1), "size", -1), ==,
			BASE_BLOCKS * BLOCK);
	JsonObject *batch = json_get_object(own, "batch");
	g_assert_nonnull(batch);
	g_assert_cmpfloat(json_get_double(batch, "share", 0), >, 0.45);
	g_assert_cmpfloat(json_get_double(batch, "share", 0), <, 0.55);
	g_assert_nonnull(json_get_object(below, "stream"));
	/* where nothing may be read, nothing is tried */
	g_autoptr(JsonArray) blind = look_through(images, 0, NULL);
	g_assert_null(json_get_object(json_array_get_object_element(blind, 0), "content"));
	g_unsetenv("WATARI_STATE_DIR");
	g_autofree char *command = g_strdup_printf("rm -r '%s'", folder);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
}

/* Storage that does not answer: whoever opens a pipe that nobody writes to waits for ever. */
static void test_silent_image(void)
{
	g_autofree char *folder = g_dir_make_tmp("watari-images-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(folder, "disk.raw", NULL);
	g_setenv("WATARI_STATE_DIR", folder, TRUE);
	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	gint64 begin = g_get_monotonic_time();
	g_autoptr(JsonObject) found = look_for_pages(NULL, path, 100);
	g_assert_cmpint(g_get_monotonic_time() - begin, <, 10 * G_USEC_PER_SEC);
	g_assert_cmpint(json_get_int(found, "known", -1), ==, 0);
	g_assert_false(json_get_bool(found, "whole", true));
	/* its thread goes home */
	int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	close(fd);
	g_unsetenv("WATARI_STATE_DIR");
	g_autofree char *command = g_strdup_printf("rm -r '%s'", folder);
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
}

static void test_bad_images(void)
{
	static const char *const texts[] = {
		"[{\"path\":\"relative\",\"format\":\"raw\"}]",
		"[{\"path\":\"/x\",\"format\":\"raw,file.driver=nbd\"}]", "[{\"path\":\"/x\"}]",
		"[7]"
	};
	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		g_autoptr(JsonParser) parser = json_parser_new();
		g_assert_true(json_parser_load_from_data(parser, texts[i], -1, NULL));
		g_assert_null(
			image_tags_begin(json_node_get_array(json_parser_get_root(parser)), 0));
	}
}

static void test_not_found(void)
{
	const uint64_t length = 77 * SAMPLE_PAGE * 1024ULL;
	g_autoptr(GError) error = NULL;
	g_assert_null(sample_new(getpid(), &length, 1, 4096, &error));
	g_assert_nonnull(error);
}

static void test_pages_left(void)
{
	uint8_t *memory = map_memory();
	uint64_t offset = 0, found = 0;
	g_autoptr(GError) error = NULL;
	fill(memory, PAGES * 3 / 4);
	g_assert_true(pages_left_find(getpid(), BYTES, 1000, &offset, &found, &error));
	g_assert_cmpuint(found, ==, 1000);
	uint64_t with_content = 0;
	for (uint64_t at = offset / SAMPLE_PAGE; at < PAGES; at++)
		with_content += at < PAGES * 3 / 4 && at % 2 == 0;
	g_assert_cmpuint(with_content, ==, 1000);
	/* more than there is: from the very beginning */
	g_assert_true(pages_left_find(getpid(), BYTES, 1 << 20, &offset, &found, &error));
	g_assert_cmpuint(offset, ==, 0);
	g_assert_cmpuint(found, ==, (PAGES * 3 / 4 + 1) / 2);
	munmap(memory, BYTES);
}

static void test_vitals(void)
{
	struct host_load host_load = host_load_parse("cpu  100 0 50 800 20 1 2 27 0 0\n");
	g_assert_cmpuint(host_load.all, ==, 1000);
	g_assert_cmpuint(host_load.idle, ==, 820);
	g_assert_cmpuint(host_load.stolen, ==, 27);
	host_load = host_load_parse("nonsense");
	g_assert_cmpuint(host_load.all, ==, 0);
	struct host_load before = host_load_read();
	g_assert_cmpuint(before.all, >, 0);
	g_autoptr(JsonObject) object = host_load_describe(&before);
	g_assert_cmpfloat(json_get_double(object, "speed", 0), >, 1e6);
	g_assert_cmpfloat(json_get_double(object, "cpus", 0), >=, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/sample/sample", test_sample);
	g_test_add_func("/sample/on-images", test_on_images);
	g_test_add_func("/sample/content", test_content);
	g_test_add_func("/sample/silent-image", test_silent_image);
	g_test_add_func("/sample/bad-images", test_bad_images);
	g_test_add_func("/sample/not-found", test_not_found);
	g_test_add_func("/sample/pages-left", test_pages_left);
	g_test_add_func("/sample/vitals", test_vitals);
	return g_test_run();
}
