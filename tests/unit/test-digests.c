/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of real files: learnt, continued, believed, and not believed. */
#include "mover/compare/digests.h"

#include "base/fd.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, FAST = 1 << 30, SETTLE_US = 2200000 };

static char *directory;

/* ---- files ---- */

static void write_at(const char *path, uint64_t offset, const void *data, size_t length)
{
	FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	g_assert_cmpint(pwrite(fd, data, length, (off_t) offset), ==, (ssize_t) length);
}

/* 8 MiB and a bit: something at 0, at 5 MiB, and at the end; zeros between, or holes. */
static char *make_file(const char *name, bool holes)
{
	g_autofree uint8_t *data = g_malloc0(MIB);
	char *path = g_build_filename(directory, name, NULL);
	for (unsigned i = 0; !holes && i < 8; i++)
		write_at(path, (uint64_t) i * MIB, data, MIB);
	memset(data, 0x5a, MIB / 2);
	write_at(path, 0, data, MIB);
	write_at(path, 5 * MIB, "five", 4);
	write_at(path, 8 * MIB, "the end", 7);
	return path;
}

/* ---- learning ---- */

static void got(JsonObject *answer, void *data)
{
	JsonObject **place = data;
	*place = answer;
}

/* Of so many files all is known afterwards. */
static int learn(char *path)
{
	g_autoptr(GPtrArray) paths = g_ptr_array_new();
	JsonObject *answer = NULL;
	g_ptr_array_add(paths, path);
	struct task *task = digests_start(paths, FAST, got, &answer);
	while (!answer)
		g_main_context_iteration(NULL, TRUE);
	task_free(task);
	int known = (int) json_object_get_int_member(answer, "known");
	json_object_unref(answer);
	return known;
}

static char *kept(const char *path)
{
	g_autofree char *name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
	return g_build_filename(directory, "digests", name, NULL);
}

static void test_learnt(void)
{
	g_autofree char *one = make_file("one", false), *two = make_file("two", true);
	uint8_t of_one[DIGEST_BYTES], of_two[DIGEST_BYTES];
	g_usleep(SETTLE_US);
	g_assert_false(digests_recall(one, of_one));
	g_assert_cmpint(learn(one), ==, 1);
	g_assert_cmpint(learn(two), ==, 1);
	g_assert_true(digests_recall(one, of_one));
	g_assert_true(digests_recall(two, of_two));
	g_assert_cmpmem(of_one, sizeof of_one, of_two, sizeof of_two);

	/* another content of the same size, with the times that it had */
	struct stat facts;
	g_assert_cmpint(stat(two, &facts), ==, 0);
	write_at(two, 5 * MIB, "FIVE", 4);
	struct timespec times[] = { facts.st_atim, facts.st_mtim };
	g_assert_cmpint(utimensat(AT_FDCWD, two, times, 0), ==, 0);
	g_assert_false(digests_recall(two, of_two));
	g_usleep(SETTLE_US);
	g_assert_cmpint(learn(two), ==, 1);
	g_assert_true(digests_recall(two, of_two));
	g_assert_cmpint(memcmp(of_one, of_two, sizeof of_one), !=, 0);

	/* another file in its place */
	g_assert_cmpint(g_rename(one, two), ==, 0);
	g_assert_false(digests_recall(two, of_two));
	g_assert_false(digests_recall(one, of_one));
}

/* The same content at another offset is another file. */
static void test_places(void)
{
	g_autofree char *one = make_file("one", true), *two = make_file("two", true);
	uint8_t of_one[DIGEST_BYTES], of_two[DIGEST_BYTES];
	write_at(one, 2 * MIB, "here", 4);
	write_at(two, 3 * MIB, "here", 4);
	g_usleep(SETTLE_US);
	learn(one);
	learn(two);
	g_assert_true(digests_recall(one, of_one));
	g_assert_true(digests_recall(two, of_two));
	g_assert_cmpint(memcmp(of_one, of_two, sizeof of_one), !=, 0);
}

/* What was begun goes on, and comes to the same. */
static void test_continued(void)
{
	g_autofree char *path = make_file("long", false), *file = kept(path);
	uint8_t whole[DIGEST_BYTES], again[DIGEST_BYTES], done = 0;
	g_autoptr(GPtrArray) paths = g_ptr_array_new();
	JsonObject *answer = NULL;
	g_usleep(SETTLE_US);
	g_assert_cmpint(learn(path), ==, 1);
	g_assert_true(digests_recall(path, whole));
	g_assert_cmpint(g_unlink(file), ==, 0);

	g_ptr_array_add(paths, path);
	struct task *task = digests_start(paths, 4 * MIB, got, &answer);
	g_usleep(700000);
	task_free(task);
	g_assert_null(answer);
	g_assert_false(digests_recall(path, again));
	/* docs: bytes that were read so far, in MiB here */
	FD_AUTO int fd = open(file, O_RDONLY | O_CLOEXEC);
	g_assert_cmpint(pread(fd, &done, 1, 64 + 2), ==, 1);
	g_assert_cmpuint(done, >, 0x10 - 1);
	g_assert_cmpuint(done, <, 0x80);

	g_assert_cmpint(learn(path), ==, 1);
	g_assert_true(digests_recall(path, again));
	g_assert_cmpmem(whole, sizeof whole, again, sizeof again);
}

/* Its ctime is too fresh to show another write. */
static void test_just_changed(void)
{
	g_autofree char *path = make_file("fresh", true);
	uint8_t digest[DIGEST_BYTES];
	g_assert_cmpint(learn(path), ==, 0);
	g_assert_false(digests_recall(path, digest));
}

static void test_nothing_to_read(void)
{
	g_autofree char *none = g_build_filename(directory, "none", NULL);
	uint8_t digest[DIGEST_BYTES];
	g_assert_cmpint(learn(none), ==, 0);
	g_assert_cmpint(learn(directory), ==, 0);
	char device[] = "/dev/null", made_up[] = "/proc/self/maps";
	g_assert_cmpint(learn(device), ==, 0);
	g_assert_cmpint(learn(made_up), ==, 0);
	g_assert_false(digests_recall("/dev/null", digest));
}

/* A file that cannot be one is as good as none. */
static void test_nonsense(void)
{
	g_autofree char *path = make_file("known", true), *file = kept(path);
	g_autofree char *good = NULL;
	uint8_t digest[DIGEST_BYTES];
	gsize length;
	g_usleep(SETTLE_US);
	g_assert_cmpint(learn(path), ==, 1);
	g_assert_true(digests_recall(path, digest));
	g_assert_true(g_file_get_contents(file, &good, &length, NULL));
	static const unsigned places[] = { 0, 8, 12, 16, 24, 40, 48, 56, 64, 71 };
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *bad = g_memdup2(good, length);
		bad[places[i]] ^= 0x7f;
		g_assert_true(g_file_set_contents(file, bad, (gssize) length, NULL));
		g_assert_false(digests_recall(path, digest));
	}
	for (gsize i = 0; i < length; i++) {
		g_assert_true(g_file_set_contents(file, good, (gssize) i, NULL));
		g_assert_false(digests_recall(path, digest));
	}
	g_autofree char *more = g_malloc0(length + 1);
	memcpy(more, good, length);
	g_assert_true(g_file_set_contents(file, more, (gssize) length + 1, NULL));
	g_assert_false(digests_recall(path, digest));
	g_assert_true(g_file_set_contents(file, good, (gssize) length, NULL));
	g_assert_true(digests_recall(path, digest));
}

static void remove_all(const char *path)
{
	GDir *folder = g_dir_open(path, 0, NULL);
	const char *name;
	while (folder && (name = g_dir_read_name(folder))) {
		g_autofree char *child = g_build_filename(path, name, NULL);
		if (g_file_test(child, G_FILE_TEST_IS_DIR))
			remove_all(child);
		else
			g_unlink(child);
	}
	g_clear_pointer(&folder, g_dir_close);
	g_rmdir(path);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	directory = g_strdup("/var/tmp/watari-digests-XXXXXX");
	if (!g_mkdtemp(directory))
		return 77;
	g_setenv("WATARI_STATE_DIR", directory, TRUE);
	g_test_add_func("/digests/learnt", test_learnt);
	g_test_add_func("/digests/places", test_places);
	g_test_add_func("/digests/continued", test_continued);
	g_test_add_func("/digests/just-changed", test_just_changed);
	g_test_add_func("/digests/nothing-to-read", test_nothing_to_read);
	g_test_add_func("/digests/nonsense", test_nonsense);
	int status = g_test_run();
	remove_all(directory);
	g_free(directory);
	return status;
}
