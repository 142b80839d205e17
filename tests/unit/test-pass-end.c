/* SPDX-License-Identifier: Apache-2.0 */
/* Where the first pass is about to end, by the pages that a batch brings. */
#include "mover/pass_end.h"

#include "stream-kit.h"

enum { PAGE = 4096, MEMORY = 2048, ROM = 64 }; /* pages */

/* Two blocks, as QEMU orders them: the large one first. */
static GByteArray *memory(void)
{
	GByteArray *out = g_byte_array_new();
	put_header(out, "pc-test");
	put_section(out, 1, 2, "ram", 4);
	put_u64(out, (MEMORY + ROM) * PAGE | 4);
	put_name(out, "memory");
	put_u64(out, MEMORY * PAGE);
	put_name(out, "rom");
	put_u64(out, ROM * PAGE);
	put_u64(out, 0x10);
	put_footer(out, 2);
	return out;
}

static struct stream_reader *read_all(GByteArray *stream)
{
	struct stream_reader *reader = stream_reader_new();
	g_array_unref(kit_read(reader, stream->data, stream->len, &kit_whole));
	return reader;
}

static bool is_near(struct pass_end *end, const struct stream_reader *reader, uint32_t block,
		    uint64_t page, uint32_t count)
{
	struct item items[] = {
		{ .kind = ITEM_LITERAL, .block = block, .page = page, .count = count },
		{ .kind = ITEM_BYTES }
	};
	struct batch batch = { .items = items, .count = G_N_ELEMENTS(items) };
	pass_end_note(end, &batch, reader);
	return end->near;
}

static void test_place(void)
{
	g_autoptr(GByteArray) out = memory();
	struct stream_reader *reader = read_all(out);
	struct pass_end end = { 0 };
	g_assert_false(is_near(&end, reader, 0, 0, 1));
	/* the rom is 256 KiB of what is left, and as much of the memory */
	g_assert_false(is_near(&end, reader, 0, MEMORY - ROM - 2, 1));
	g_assert_true(is_near(&end, reader, 0, MEMORY - ROM - 1, 1));
	/* a run of zeros counts by its end */
	end = (struct pass_end){ 0 };
	g_assert_true(is_near(&end, reader, 0, 5, MEMORY - 5));
	end = (struct pass_end){ 0 };
	g_assert_true(is_near(&end, reader, 1, 0, 1));
	/* with post-copy to follow as far before as zero pages may lie in QEMU's socket */
	end = (struct pass_end){ .early = true };
	g_assert_true(is_near(&end, reader, 0, 0, 1));
	stream_reader_free(reader);
}

/* What says nothing of a place, and places that no stream should name. */
static void test_nonsense(void)
{
	g_autoptr(GByteArray) out = memory();
	struct stream_reader *reader = read_all(out);
	struct pass_end end = { 0 };
	struct batch empty = { 0 };
	pass_end_note(&end, &empty, reader);
	g_assert_false(end.near);
	g_assert_true(is_near(&end, reader, 7, 0, 1));
	end = (struct pass_end){ 0 };
	g_assert_true(is_near(&end, reader, 1, G_MAXUINT64 / PAGE, 1));
	stream_reader_free(reader);
}

/* A later pass, and a VM that stands still already, wait for nothing. */
static void test_later(void)
{
	g_autoptr(GByteArray) out = memory();
	struct pass_end end = { 0 };
	put_part(out, 2, 2);
	put_page(out, "memory", 8 * PAGE, 1);
	put_page(out, NULL, 3 * PAGE, 1);
	put_ram_end(out);
	struct stream_reader *reader = read_all(out);
	g_assert_cmpuint(stream_reader_stats(reader)->iterations, ==, 2);
	g_assert_false(is_near(&end, reader, 1, ROM - 1, 1));
	g_assert_true(end.over);
	stream_reader_free(reader);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pass-end/place", test_place);
	g_test_add_func("/pass-end/nonsense", test_nonsense);
	g_test_add_func("/pass-end/later", test_later);
	return g_test_run();
}
