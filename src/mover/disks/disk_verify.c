/* SPDX-License-Identifier: Apache-2.0 */
/* Reads written blocks back, and compares their tags. */
#include "mover/disks/disk_verify.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "nbd/reader.h"

#include <inttypes.h>
#include <string.h>

#define CHUNK ((uint64_t) PAGE_TABLE_CHUNK * BATCH_DISK_BLOCK)

struct disk_verify {
	struct transfer *transfer;
	unsigned disk;
	uint64_t blocks;  /* whole ones */
	uint8_t *checked; /* a bit for each CHUNK */
	uint8_t *buffer;  /* CHUNK */
	struct tag_context *pages;
	uint64_t compared, skipped; /* blocks, in this run */
};

struct disk_verify *disk_verify_new(struct transfer *transfer, unsigned disk, uint64_t bytes)
{
	struct disk_verify *verify = g_new0(struct disk_verify, 1);
	verify->transfer = transfer;
	verify->disk = disk;
	verify->blocks = bytes / BATCH_DISK_BLOCK;
	verify->checked = g_malloc0(bytes / CHUNK / 8 + 1);
	verify->buffer = g_malloc(CHUNK);
	verify->pages = tag_context_new(transfer->page_key, "page");
	return verify;
}

void disk_verify_free(struct disk_verify *verify)
{
	if (!verify)
		return;
	tag_context_free(verify->pages);
	g_free(verify->checked);
	g_free(verify->buffer);
	g_free(verify);
}

void disk_verify_note(struct disk_verify *verify, uint64_t offset, uint64_t length)
{
	if (!verify || length == 0)
		return;
	for (uint64_t chunk = offset / CHUNK; chunk <= (offset + length - 1) / CHUNK; chunk++)
		verify->checked[chunk / 8] &= (uint8_t) ~(1u << chunk % 8);
}

static bool is_as_sent(struct disk_verify *verify, const struct page_entry *entry,
		       const uint8_t *block)
{
	uint8_t tag[TAG_BYTES];
	if (entry->kind == PAGE_ZERO)
		return block_is_zero(block);
	tag_compute(verify->pages, block, BATCH_DISK_BLOCK, tag);
	return item_short_tag(tag) == entry->tag;
}

static bool fail_verify(struct disk_verify *verify, uint64_t block, GError **error)
{
	return error_set(
		error, WATARI_ERROR_INTERNAL,
		_("The disk at the destination does not keep what is written to it. Look "
		  "for errors in that host's kernel log."),
		_("the disk %s at the destination reads back differently at byte %" PRIu64),
		verify->transfer->disks->disks[verify->disk].target, block * BATCH_DISK_BLOCK);
}

static bool check_chunk(struct disk_verify *verify, const struct resolver *resolver,
			struct disk_reader *reader, uint64_t first, GError **error)
{
	uint64_t count = MIN(verify->blocks - first, PAGE_TABLE_CHUNK);
	struct disk_piece piece = { first * BATCH_DISK_BLOCK, (uint32_t) (count * BATCH_DISK_BLOCK),
				    verify->buffer };
	if (!disk_reader_read(reader, &piece, 1, error))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		struct page_entry entry;
		resolver_get_block(resolver, verify->disk, first + i, &entry);
		if (entry.kind == PAGE_UNKNOWN)
			verify->skipped++;
		else if (is_as_sent(verify, &entry, verify->buffer + i * BATCH_DISK_BLOCK))
			verify->compared++;
		else
			return fail_verify(verify, first + i, error);
	}
	return true;
}

static void tell_verified(struct disk_verify *verify, int64_t began_ms)
{
	JsonObject *extra = json_object_new();
	json_object_set_string_member(extra, "target",
				      verify->transfer->disks->disks[verify->disk].target);
	json_object_set_int_member(extra, "blocks", (gint64) verify->compared);
	json_object_set_int_member(extra, "skipped", (gint64) verify->skipped);
	json_object_set_int_member(extra, "ms", clock_now_ms() - began_ms);
	transfer_post(verify->transfer, EVENT_DISK_VERIFIED, extra);
}

bool disk_verify_run(struct disk_verify *verify, const struct resolver *resolver,
		     struct disk_reader *reader, GError **error)
{
	int64_t began_ms = clock_now_ms();
	verify->compared = verify->skipped = 0;
	for (uint64_t first = 0; first < verify->blocks; first += PAGE_TABLE_CHUNK) {
		uint64_t chunk = first / PAGE_TABLE_CHUNK;
		if (verify->checked[chunk / 8] >> chunk % 8 & 1 ||
		    !resolver_is_mixed(resolver, verify->disk, first))
			continue;
		if (!check_chunk(verify, resolver, reader, first, error))
			return false;
		verify->checked[chunk / 8] |= (uint8_t) (1u << chunk % 8);
	}
	tell_verified(verify, began_ms);
	return true;
}
