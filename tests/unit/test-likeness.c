/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of real files, and what is made of two of them. */
#include "mover/compare/fingerprint.h"

#include "base/fd.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MIB = 1 << 20, SMALL = 3 * MIB + 1000, LARGE = 300 * MIB };

static char *directory;

/* ---- files ---- */

static void write_at(const char *path, uint64_t offset, const void *data, size_t length)
{
	FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	g_assert_cmpint(pwrite(fd, data, length, (off_t) offset), ==, (ssize_t) length);
}

static char *make_file(const char *name, uint64_t size)
{
	char *path = g_build_filename(directory, name, NULL);
	write_at(path, size - 1, "", 1);
	return path;
}

/* SEED makes it another one. */
static void fill_mib(const char *path, unsigned at, uint32_t seed)
{
	g_autofree uint32_t *data = g_new(uint32_t, MIB / sizeof(uint32_t));
	GRand *random = g_rand_new_with_seed(seed + at);
	for (size_t i = 0; i < MIB / sizeof(*data); i++)
		data[i] = g_rand_int(random);
	g_rand_free(random);
	write_at(path, (uint64_t) at * MIB, data, MIB);
}

/* ---- asking ---- */

static const char key[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char other_key[] = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

static JsonObject *ask(const char *path, const char *with, const char *what, JsonObject *as)
{
	g_autoptr(JsonObject) message = json_object_new();
	g_autoptr(GError) error = NULL;
	json_object_set_string_member(message, "path", path);
	json_object_set_string_member(message, "key", with);
	json_object_set_string_member(message, "what", what);
	if (as)
		json_object_set_string_member(message, "blocks",
					      json_get_string(as, "blocks", NULL));
	struct fingerprint_request *request = fingerprint_request_parse(message, &error);
	g_assert_no_error(error);
	JsonObject *answer = fingerprint_take(request);
	fingerprint_request_free(request);
	g_autofree char *line = json_print_object(answer);
	g_assert_cmpuint(strlen(line), <, JSON_LINE_MAX);
	return answer;
}

static struct fingerprint *parse(JsonObject *answer)
{
	g_autoptr(GError) error = NULL;
	struct fingerprint *print = g_new0(struct fingerprint, 1);
	g_assert_null(json_get_string(answer, "reason", NULL));
	g_assert_true(fingerprint_parse(print, answer, &error));
	g_assert_no_error(error);
	return print;
}

/* ---- small ones: every byte counts ---- */

static void test_whole(void)
{
	g_autofree char *one = make_file("one", SMALL), *two = make_file("two", SMALL);
	fill_mib(one, 1, 1);
	fill_mib(two, 1, 1);
	g_autoptr(JsonObject) first = ask(one, key, "whole", NULL);
	g_autoptr(JsonObject) second = ask(two, key, "whole", NULL);
	g_autoptr(JsonObject) keyed = ask(one, other_key, "whole", NULL);
	g_assert_cmpint(json_get_int(first, "size", 0), ==, SMALL);
	g_assert_cmpstr(json_get_string(first, "digest", ""), ==,
			json_get_string(second, "digest", NULL));
	g_assert_cmpstr(json_get_string(first, "digest", ""), !=,
			json_get_string(keyed, "digest", NULL));
	write_at(two, SMALL - 1, "x", 1);
	g_autoptr(JsonObject) changed = ask(two, key, "whole", NULL);
	g_assert_cmpstr(json_get_string(first, "digest", ""), !=,
			json_get_string(changed, "digest", NULL));
	g_unlink(one);
	g_unlink(two);
}

/* A sparse one is read where it holds something, and zeros are as good as holes. */
static void test_holes(void)
{
	g_autofree uint8_t *zeros = g_malloc0(MIB);
	g_autofree char *one = make_file("one", LARGE), *two = make_file("two", LARGE);
	fill_mib(one, 100, 1);
	fill_mib(two, 100, 1);
	write_at(two, 50 * MIB, zeros, MIB);
	g_autoptr(JsonObject) first = ask(one, key, "whole", NULL);
	g_autoptr(JsonObject) second = ask(two, key, "whole", NULL);
	g_assert_cmpstr(json_get_string(first, "digest", ""), ==,
			json_get_string(second, "digest", NULL));
	/* the same content elsewhere is another file */
	g_autofree char *moved = make_file("moved", LARGE);
	g_autofree char *content = NULL;
	g_assert_true(g_file_get_contents(two, &content, NULL, NULL));
	write_at(moved, 101 * MIB, content + (size_t) 100 * MIB, MIB);
	g_autoptr(JsonObject) third = ask(moved, key, "whole", NULL);
	g_assert_cmpstr(json_get_string(first, "digest", ""), !=,
			json_get_string(third, "digest", NULL));
	g_unlink(one);
	g_unlink(two);
	g_unlink(moved);
}

/* ---- large ones: blocks where there is data ---- */

/* Differing blocks of two files, of so many that were compared. */
static struct fingerprint_likeness compare_files(const char *one, const char *two)
{
	g_autoptr(JsonObject) here = ask(one, key, "pick", NULL);
	g_autoptr(JsonObject) there = ask(two, key, "read", here);
	g_autofree struct fingerprint *before = parse(here), *after = parse(there);
	g_assert_cmpuint(before->filled, >, 256);
	return fingerprint_compare(before, after, NULL);
}

/* Of 300 MiB 8 hold something: a sample of all of it would mostly find holes. */
static void test_sample(void)
{
	g_autofree char *one = make_file("one", LARGE), *two = make_file("two", LARGE);
	for (unsigned i = 100; i < 108; i++) {
		fill_mib(one, i, 1);
		fill_mib(two, i, 1);
	}
	struct fingerprint_likeness likeness = compare_files(one, two);
	g_assert_cmpuint(likeness.compared, >=, 512);
	g_assert_cmpuint(likeness.differing, ==, 0);
	fill_mib(two, 103, 2);
	likeness = compare_files(one, two);
	g_assert_cmpuint(likeness.differing, >, 10);
	g_assert_cmpuint(likeness.where / MIB, ==, 103);
	/* and what only the other one has, at the ends at least */
	fill_mib(two, 103, 1);
	write_at(two, LARGE - 5000, "x", 1);
	likeness = compare_files(one, two);
	g_assert_cmpuint(likeness.differing, ==, 1);
	g_unlink(one);
	g_unlink(two);
}

/* The other one is shorter: what it lacks does not count, and what it has does. */
static void test_shorter(void)
{
	g_autofree char *one = make_file("one", 4 * MIB), *two = make_file("two", 2 * MIB + 100);
	fill_mib(one, 0, 1);
	fill_mib(two, 0, 1);
	fill_mib(one, 3, 1);
	struct fingerprint_likeness likeness = compare_files(one, two);
	g_assert_cmpuint(likeness.compared, >=, 256);
	g_assert_cmpuint(likeness.differing, ==, 0);
	g_unlink(one);
	g_unlink(two);
}

/* ---- what is no content ---- */

static void test_no_content(void)
{
	g_autofree char *pipe = g_build_filename(directory, "pipe", NULL);
	const char *const paths[] = { pipe, directory, "/dev/zero" };
	g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
		g_autoptr(JsonObject) answer = ask(paths[i], key, "pick", NULL);
		g_assert_nonnull(json_get_string(answer, "reason", NULL));
		g_assert_false(json_get_bool(answer, "missing", true));
	}
	g_unlink(pipe);
	g_autoptr(JsonObject) answer = ask(pipe, key, "whole", NULL);
	g_assert_true(json_get_bool(answer, "missing", false));
}

static void test_nonsense(void)
{
	static const char *const requests[] = {
		"{}",
		"{\"path\": \"x\", \"what\": \"whole\"}",
		"{\"path\": \"/x\", \"what\": \"whole\", \"key\": \"00\"}",
		"{\"path\": \"/x\", \"what\": \"all\", \"key\": \"%s\"}",
		"{\"path\": \"/x\", \"what\": \"read\", \"key\": \"%s\"}",
		"{\"path\": \"/x\", \"what\": \"read\", \"key\": \"%s\", \"blocks\": \"AAAA\"}",
		"{\"path\":\"/x\",\"what\":\"read\",\"key\":\"%s\",\"blocks\":\"//////////8=\"}",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
		g_autoptr(GError) error = NULL;
		g_auto(GStrv) parts = g_strsplit(requests[i], "%s", 2);
		g_autofree char *text = g_strjoinv(key, parts);
		g_autoptr(JsonObject) object = json_parse_object(text, strlen(text), NULL);
		g_assert_null(fingerprint_request_parse(object, &error));
		g_assert_nonnull(error);
	}
	g_autofree struct fingerprint *print = g_new0(struct fingerprint, 1);
	static const char *const answers[] = {
		"{}",
		"{\"size\": -1, \"blocks\": \"\", \"tags\": \"\"}",
		"{\"size\": 1, \"blocks\": \"\", \"tags\": \"AAAAAAAAAAA=\"}",
		"{\"size\": 1, \"blocks\": \"\", \"tags\": \"\", \"digest\": \"00\"}",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
		g_autoptr(JsonObject) object =
			json_parse_object(answers[i], strlen(answers[i]), NULL);
		g_assert_false(fingerprint_parse(print, object, NULL));
	}
}

/* ---- the comparison ---- */

static struct fingerprint *make_print(unsigned count)
{
	struct fingerprint *print = g_new0(struct fingerprint, 1);
	print->count = count;
	for (unsigned i = 0; i < count; i++) {
		print->blocks[i] = 10 + i;
		print->tags[i] = 100 + i;
	}
	return print;
}

/* A block that the VM wrote between the two looks at the source may be anything at the other host; one
 * that it did not write may not. */
static void test_stable(void)
{
	g_autofree struct fingerprint *before = make_print(8), *there = make_print(8);
	g_autofree struct fingerprint *after = make_print(8);
	after->tags[2] = 1; /* written meanwhile */
	there->tags[2] = 2;
	there->tags[3] = 0; /* not read */
	struct fingerprint_likeness likeness = fingerprint_compare(before, there, after);
	g_assert_cmpuint(likeness.compared, ==, 6);
	g_assert_cmpuint(likeness.differing, ==, 0);
	there->tags[5] = 1;
	likeness = fingerprint_compare(before, there, after);
	g_assert_cmpuint(likeness.differing, ==, 1);
	g_assert_cmpuint(likeness.where, ==, 15 * FINGERPRINT_BLOCK);
	/* what was not written is not explained by it, and what was is without the second look */
	likeness = fingerprint_compare(before, there, NULL);
	g_assert_cmpuint(likeness.differing, ==, 2);
	/* a list of other blocks proves nothing */
	for (unsigned i = 0; i < 8; i++)
		there->blocks[i]++;
	likeness = fingerprint_compare(before, there, after);
	g_assert_cmpuint(likeness.compared, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	/* on a disk: a tmpfs has no O_DIRECT on older kernels */
	directory = g_strdup("/var/tmp/watari-likeness-XXXXXX");
	if (!g_mkdtemp(directory))
		return 77;
	g_test_add_func("/likeness/whole", test_whole);
	g_test_add_func("/likeness/holes", test_holes);
	g_test_add_func("/likeness/sample", test_sample);
	g_test_add_func("/likeness/shorter", test_shorter);
	g_test_add_func("/likeness/no-content", test_no_content);
	g_test_add_func("/likeness/nonsense", test_nonsense);
	g_test_add_func("/likeness/stable", test_stable);
	int status = g_test_run();
	g_rmdir(directory);
	g_free(directory);
	return status;
}
