/* SPDX-License-Identifier: Apache-2.0 */
/* The mover's parts that need no QEMU: settings, lines, tokens, guest memory. */
#include "base/error.h"
#include "mover/core/guest_memory.h"
#include "mover/pipeline/page_requests.h"
#include "mover/lines.h"
#include "mover/core/setup.h"
#include "mover/chores/directory_proof.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ID "0123456789abcdef0123456789abcdef"
#define KEY ID ID
#define GOOD_SETUP                                                                    \
	"{\"t\":\"setup\",\"role\":\"source\",\"id\":\"" ID "\",\"key\":\"" KEY "\"," \
	"\"vm\":{\"name\":\"db\",\"uuid\":\"11111111-2222-3333-4444-555555555555\"}," \
	"\"socket_dir\":\"/run/libvirt/watari/x\""

static struct mover_setup *parse(const char *tail, GError **error)
{
	g_autofree char *text = g_strconcat(GOOD_SETUP, tail, "}", NULL);
	g_autoptr(JsonObject) setup = json_parse_object(text, strlen(text), NULL);
	g_assert_nonnull(setup);
	return mover_setup_parse(setup, error);
}

static void test_settings_defaults(void)
{
	g_autoptr(GError) error = NULL;
	struct mover_setup *s = parse("", &error);
	g_assert_no_error(error);
	g_assert_cmpint(s->role, ==, MOVER_SOURCE);
	g_assert_cmpuint(s->connections, ==, 2);
	g_assert_cmpint(s->link_timeout_ms, ==, 60000);
	g_assert_cmpint(s->stop_limit_ms, ==, 0);
	g_assert_cmpint(s->verify, ==, MOVER_VERIFY_NONE);
	g_assert_cmpuint(s->memory_limit, ==, 512 << 20);
	g_assert_cmpuint(s->cores, ==, 0);
	g_assert_true(s->encode);
	g_assert_cmpint(s->effort_max, ==, 0);
	g_assert_cmphex(s->key[1], ==, 0x23);
	g_autofree char *path = mover_setup_socket(s, &error);
	g_assert_cmpstr(path, ==, "/run/libvirt/watari/x/m.tunnelmigrate.dest.db");
	mover_setup_free(s);
}

static void test_settings_engine(void)
{
	g_autoptr(GError) error = NULL;
	struct mover_setup *s = parse(",\"memory_limit\":67108864,\"cores\":3", &error);
	g_assert_no_error(error);
	g_assert_cmpuint(s->memory_limit, ==, 64 << 20);
	g_assert_cmpuint(s->cores, ==, 3);
	mover_setup_free(s);
	static const struct {
		const char *tail;
		bool encode;
		int effort_max;
	} cases[] = { { ",\"compress\":\"auto\"", true, 0 },
		      { ",\"compress\":\"off\"", false, 0 },
		      { ",\"compress\":\"1\"", true, 1 },
		      { ",\"compress\":\"9\"", true, 9 } };
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		s = parse(cases[i].tail, &error);
		g_assert_no_error(error);
		g_assert_cmpint(s->encode, ==, cases[i].encode);
		g_assert_cmpint(s->effort_max, ==, cases[i].effort_max);
		mover_setup_free(s);
	}
}

static void test_settings_refused(void)
{
	static const char *const tails[] = {
		",\"connections\":0",
		",\"connections\":17",
		",\"connections\":\"2\"",
		",\"verify\":\"some\"",
		",\"bandwidth\":-1",
		",\"link_timeout_ms\":0",
		",\"role\":\"both\"",
		",\"id\":\"0123\"",
		",\"key\":\"" ID "\"",
		",\"vm\":{\"name\":\"a\"}",
		",\"vm\":{\"name\":\"a/b\"}",
		",\"socket_dir\":\"run\"",
		",\"socket_dir\":\"/run/../etc\"",
		",\"faults\":[\"none-such\"]",
		",\"faults\":[1]",
		",\"memory_limit\":67108863",
		",\"memory_limit\":0",
		",\"memory_limit\":\"64M\"",
		",\"cores\":-1",
		",\"cores\":257",
		",\"compress\":\"0\"",
		",\"compress\":\"10\"",
		",\"compress\":\"max\"",
		",\"compress\":\"\"",
		",\"compress\":3",
		",\"key\":\"" ID "0123456789abcdef0123456789abcdeg\"",
	};
	for (size_t i = 0; i < G_N_ELEMENTS(tails); i++) {
		g_autoptr(GError) error = NULL;
		struct mover_setup *s = parse(tails[i], &error);
		if (s)
			g_error("accepted: %s", tails[i]);
		g_assert_true(g_str_has_prefix(error->message, "setup:"));
	}
}

static void test_settings_long_name(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *name = g_strnfill(90, 'n');
	g_autofree char *tail = g_strdup_printf(
		",\"vm\":{\"name\":\"%s\",\"uuid\":\"11111111-2222-3333-4444-555555555555\"}",
		name);
	struct mover_setup *s = parse(tail, &error);
	g_assert_no_error(error);
	g_autofree char *path = mover_setup_socket(s, &error);
	g_assert_cmpstr(path, ==, "/run/libvirt/watari/x/m");
	mover_setup_free(s);
}

static bool got(const char *line, size_t length, void *data)
{
	g_string_append_len(data, line, (gssize) length);
	g_string_append_c(data, '|');
	return true;
}

static void test_lines_any_chunking(void)
{
	static const char text[] = "one\n\ntwo\nthree three\nfour";
	for (size_t step = 1; step < sizeof(text); step++) {
		g_autoptr(GString) lines = g_string_new("");
		struct line_reader *reader = line_reader_new();
		for (size_t at = 0; at < sizeof(text) - 1; at += step)
			g_assert_true(line_reader_feed(reader, text + at,
						       MIN(step, sizeof(text) - 1 - at), got, lines,
						       NULL));
		g_assert_cmpstr(lines->str, ==, "one||two|three three|");
		line_reader_free(reader);
	}
}

static void test_lines_bounded(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GString) lines = g_string_new("");
	g_autofree char *much = g_strnfill(JSON_LINE_MAX, 'x');
	struct line_reader *reader = line_reader_new();
	g_assert_true(line_reader_feed(reader, much, JSON_LINE_MAX, got, lines, &error));
	g_assert_false(line_reader_feed(reader, much, 1, got, lines, &error));
	g_assert_nonnull(error);
	line_reader_free(reader);
}

static bool ask_token(const char *action, const char *image, const char *token, bool *same)
{
	g_autoptr(JsonObject) request = json_object_new();
	json_object_set_string_member(request, "action", action);
	json_object_set_string_member(request, "path", image);
	json_object_set_string_member(request, "token", token);
	g_autoptr(JsonObject) answer = directory_proof_do(request);
	*same = json_get_bool(answer, "same", false);
	return json_get_bool(answer, "found", false);
}

static void test_token(void)
{
	g_autofree char *dir = g_dir_make_tmp("watari-token-XXXXXX", NULL);
	g_autofree char *image = g_build_filename(dir, "disk.raw", NULL);
	bool same;
	g_assert_false(ask_token("read", image, "abcdefgh12", &same));
	g_assert_true(ask_token("create", image, "abcdefgh12", &same));
	g_assert_false(ask_token("create", image, "abcdefgh12", &same));
	g_assert_true(ask_token("read", image, "abcdefgh12", &same) && same);
	g_assert_true(ask_token("remove", image, "abcdefgh12", &same));
	g_assert_false(ask_token("create", image, "../../etc/x", &same));
	g_assert_false(ask_token("create", "relative", "abcdefgh12", &same));
	/* what a conductor that died could not take away again */
	g_assert_true(ask_token("create", image, "abcdefgh34", &same));
	directory_proof_clear();
	g_assert_false(ask_token("read", image, "abcdefgh34", &same));
	directory_proof_clear();
	g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* Questions of the return path, and the pages that answer them. */
static void put_question(GByteArray *out, const char *block, uint8_t page, uint8_t pages)
{
	uint8_t length = block ? (uint8_t) strlen(block) : 0;
	const uint8_t head[] = { 0,
				 block ? 3 : 4,
				 0,
				 block ? (uint8_t) (13 + length) : 12,
				 0,
				 0,
				 0,
				 0,
				 0,
				 0,
				 (uint8_t) (page << 4),
				 0, /* start */
				 0,
				 0,
				 (uint8_t) (pages << 4),
				 0 };
	g_byte_array_append(out, head, sizeof(head));
	if (block) {
		g_byte_array_append(out, &length, 1);
		g_byte_array_append(out, (const uint8_t *) block, length);
	}
}

static void ask_all(struct page_requests *requests, const GByteArray *questions)
{
	static const struct stream_block blocks[] = { { .name = "vga" }, { .name = "pc.ram" } };
	struct return_reader *reader = return_reader_new();
	struct return_message message;
	return_reader_feed(reader, questions->data, questions->len);
	while (return_reader_next(reader, &message))
		page_requests_ask(requests, &message, blocks, G_N_ELEMENTS(blocks));
	return_reader_free(reader);
}

static int64_t times_of(struct page_requests *requests, const char *stage)
{
	g_autoptr(JsonObject) object = page_requests_describe(requests);
	return json_get_int(json_get_object(object, stage), "count", -1);
}

static void test_requests(void)
{
	struct page_requests *requests = page_requests_new();
	g_autoptr(GByteArray) questions = g_byte_array_new();
	struct item items[] = { { .kind = ITEM_LITERAL, .block = 1, .page = 3, .count = 1 },
				{ .kind = ITEM_ZERO, .block = 1, .page = 7, .count = 4 } };
	struct batch batch = { .items = items, .count = 2, .page_bytes = 4096 };
	g_assert_null(page_requests_describe(requests));
	put_question(questions, "pc.ram", 3, 1);
	put_question(questions, NULL, 9, 1); /* in the middle of the run of zeros */
	put_question(questions, "vga", 3, 1);
	put_question(questions, "pc.rom", 3, 1); /* there is no such block */
	ask_all(requests, questions);
	page_requests_answer(requests, &batch);
	g_assert_cmpint(times_of(requests, "answered"), ==, 2);
	g_assert_cmpint(batch.asked_us, >, 0);
	batch.asked_us = 0;
	page_requests_answer(requests, &batch); /* each once */
	g_assert_cmpint(batch.asked_us, ==, 0);
	items[0].block = 0;
	page_requests_answer(requests, &batch);
	g_assert_cmpint(times_of(requests, "answered"), ==, 3);
	page_requests_sent(requests, &batch, 5);
	g_assert_true(page_requests_are_under_way(requests));
	page_requests_arrived(requests, 4);
	g_assert_cmpint(times_of(requests, "arrived"), ==, 0);
	page_requests_arrived(requests, 5);
	g_assert_cmpint(times_of(requests, "arrived"), ==, 1);
	for (int i = 0; i < 2 * REQUESTS_MAX; i++)
		ask_all(requests, questions);
	page_requests_free(requests);
}

static void test_guest_memory(void)
{
	size_t length = 5 * 1024 * 1024 + 4096;
	g_autoptr(GError) error = NULL;
	uint64_t address;
	char *map = mmap(NULL, length + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *block = map + 4096; /* between guard pages, as QEMU does it */
	g_assert_cmpint(mprotect(block, length, PROT_READ | PROT_WRITE), ==, 0);
	strcpy(block + length - 100, "the last page");
	struct guest_memory *memory = guest_memory_open(getpid(), &error);
	g_assert_no_error(error);
	g_assert_true(guest_memory_find(memory, length, &address));
	g_assert_cmphex(address, ==, (uintptr_t) block);
	g_assert_false(guest_memory_find(memory, length - 4096, &address));
	char text[14];
	g_assert_true(
		guest_memory_read(memory, (uintptr_t) block + length - 100, text, 14, &error));
	g_assert_cmpstr(text, ==, "the last page");
	munmap(map, length + 8192);
	g_assert_false(guest_memory_read(memory, (uintptr_t) block, text, 14, &error));
	guest_memory_free(memory);
}

/* As QEMU makes it: at a multiple of 2 MiB, with a guard page behind. */
static char *map_like_qemu(char **map, size_t length)
{
	const size_t aligned = 2 * 1024 * 1024;
	*map = mmap(NULL, length + 2 * aligned, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *block = (char *) (((uintptr_t) *map + aligned) / aligned * aligned);
	g_assert_cmpint(mprotect(block, length, PROT_READ | PROT_WRITE), ==, 0);
	return block;
}

static bool find_now(size_t length, uint64_t *address)
{
	struct guest_memory *memory = guest_memory_open(getpid(), NULL);
	bool found = guest_memory_find(memory, length, address);
	guest_memory_free(memory);
	return found;
}

/* Something else of the same length by chance is not taken for it; another block of that length is one too many. */
static void test_guest_memory_twins(void)
{
	const size_t length = 7 * 1024 * 1024 + 4096;
	uint64_t address;
	char *map, *other;
	char *chance = mmap(NULL, length + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	g_assert_cmpint(mprotect(chance + 4096, length, PROT_READ | PROT_WRITE), ==, 0);
	g_assert_true(find_now(length, &address));
	char *block = map_like_qemu(&map, length);
	g_assert_true(find_now(length, &address));
	g_assert_cmphex(address, ==, (uintptr_t) block);
	map_like_qemu(&other, length);
	g_assert_false(find_now(length, &address));
	munmap(map, length + 4 * 1024 * 1024);
	munmap(other, length + 4 * 1024 * 1024);
	munmap(chance, length + 8192);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mover/settings/defaults", test_settings_defaults);
	g_test_add_func("/mover/settings/engine", test_settings_engine);
	g_test_add_func("/mover/settings/refused", test_settings_refused);
	g_test_add_func("/mover/settings/long-name", test_settings_long_name);
	g_test_add_func("/mover/lines/any-chunking", test_lines_any_chunking);
	g_test_add_func("/mover/lines/bounded", test_lines_bounded);
	g_test_add_func("/mover/token", test_token);
	g_test_add_func("/mover/guest-memory", test_guest_memory);
	g_test_add_func("/mover/guest-memory-twins", test_guest_memory_twins);
	g_test_add_func("/mover/requests", test_requests);
	return g_test_run();
}
