/* SPDX-License-Identifier: Apache-2.0 */
/* Compares guest memory at both hosts, at the gate. */
#include "mover/core/proof.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "control/messages.h"
#include "mover/core/gate.h"
#include "mover/core/guest_memory.h"
#include "mover/core/peer_messages.h"

#include <inttypes.h>
#include <string.h>

#define PAGE 4096
#define PIECE (256 * 1024)      /* bytes under one tag in a full comparison */
#define TAGS_MAX 4096           /* of one request: 64 KiB of tags */
#define SAMPLE_PAGES 2048       /* of each block in a sample */
#define BLOCK_MIN (1024 * 1024) /* smaller blocks are ROMs and tables; not compared */
#define COMPARE_MS 60000        /* a request covers at most 1 GiB */

/* Which parts of a block: COUNT pieces of PIECE_BYTES, in order from OFFSET, or (seed != 0) at
 * places that both sides compute from SEED. */
struct parts {
	uint64_t block_bytes, offset, seed;
	uint32_t piece_bytes, count;
};

/* splitmix64 (public domain, S. Vigna): both sides must draw the same places. */
static uint64_t draw_pages(uint64_t seed, uint32_t index)
{
	uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15ull;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint64_t part_offset(const struct parts *parts, uint32_t index)
{
	if (parts->seed)
		return draw_pages(parts->seed, index) % (parts->block_bytes / parts->piece_bytes) *
		       parts->piece_bytes;
	return parts->offset + (uint64_t) index * parts->piece_bytes;
}

static size_t part_length(const struct parts *parts, uint64_t offset)
{
	return MIN(parts->piece_bytes, parts->block_bytes - offset);
}

static bool tag_parts(struct transfer *transfer, const struct guest_memory *memory,
		      uint64_t address, const struct parts *parts, uint8_t *tags, GError **error)
{
	struct tag_context *context = tag_context_new(transfer->settings->key, "memory");
	g_autofree uint8_t *data = g_malloc(PIECE);
	bool ok = true;
	for (uint32_t i = 0; ok && i < parts->count; i++) {
		uint64_t offset = part_offset(parts, i);
		size_t length = part_length(parts, offset);
		ok = guest_memory_read(memory, address + offset, data, length, error);
		if (ok)
			tag_compute(context, data, length, tags + i * TAG_BYTES);
	}
	tag_context_free(context);
	return ok;
}

/* ---- destination ---- */

static bool parts_parse(JsonObject *request, struct parts *parts)
{
	int64_t bytes = json_get_int(request, "block_bytes", 0);
	int64_t offset = json_get_int(request, "offset", 0);
	int64_t piece = json_get_int(request, "piece", 0);
	int64_t count = json_get_int(request, "count", 0);
	if (bytes < PAGE || offset < 0 || (piece != PAGE && piece != PIECE) || count < 1 ||
	    count > TAGS_MAX || bytes < piece)
		return false;
	*parts = (struct parts){ .block_bytes = (uint64_t) bytes,
				 .offset = (uint64_t) offset,
				 .seed = (uint64_t) json_get_int(request, "seed", 0),
				 .piece_bytes = (uint32_t) piece,
				 .count = (uint32_t) count };
	/* The last piece must begin inside the block. */
	return parts->seed || part_offset(parts, parts->count - 1) < parts->block_bytes;
}

static bool answer_tags(struct transfer *transfer, const struct parts *parts, uint8_t *tags,
			GError **error)
{
	uint64_t address;
	pthread_mutex_lock(&transfer->lock);
	int pid = transfer->qemu_pid;
	pthread_mutex_unlock(&transfer->lock);
	struct guest_memory *memory = guest_memory_open(pid, error);
	if (!memory)
		return false;
	bool ok = guest_memory_find(memory, parts->block_bytes, &address);
	if (!ok)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "ambiguous");
	ok = ok && tag_parts(transfer, memory, address, parts, tags, error);
	guest_memory_free(memory);
	return ok;
}

bool proof_answer(struct transfer *transfer, JsonObject *request, GError **error)
{
	struct parts parts;
	g_autoptr(GError) reason = NULL;
	g_autofree uint8_t *tags = g_malloc(TAGS_MAX * TAG_BYTES);
	if (!parts_parse(request, &parts))
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("the source mover asked to compare something impossible"));
	if (answer_tags(transfer, &parts, tags, &reason))
		return talk_send_bytes(transfer->link, TALK_TAGS, tags, parts.count * TAG_BYTES,
				       error);
	JsonObject *no = json_object_new();
	json_object_set_string_member(no, "reason", reason->message);
	return talk_send_json(transfer->link, TALK_NO, no, error);
}

/* ---- source ---- */

struct proof {
	struct transfer *transfer;
	struct guest_memory *memory;
	uint64_t pages, bytes;
	JsonArray *skipped;
};

static bool ask_for_tags(struct transfer *transfer, const struct parts *parts, GError **error)
{
	JsonObject *request = json_object_new();
	json_object_set_int_member(request, "block_bytes", (gint64) parts->block_bytes);
	json_object_set_int_member(request, "offset", (gint64) parts->offset);
	json_object_set_int_member(request, "seed", (gint64) parts->seed);
	json_object_set_int_member(request, "piece", parts->piece_bytes);
	json_object_set_int_member(request, "count", parts->count);
	return talk_send_json(transfer->link, TALK_COMPARE, request, error);
}

/* The destination's tags; *ambiguous where it cannot tell the block from another. */
static bool receive_tags(struct transfer *transfer, uint8_t *tags, uint32_t count, bool *ambiguous,
			 GError **error)
{
	struct link_frame *frame = talk_receive(transfer->link, COMPARE_MS, error);
	if (!frame)
		return error && *error ? false
				       : error_set(error, WATARI_ERROR_INTERNAL, NULL,
						   _("the destination mover ended at the gate"));
	bool ok = frame->flags == TALK_TAGS && frame->length == (size_t) count * TAG_BYTES;
	if (ok)
		memcpy(tags, frame->data, frame->length);
	g_autoptr(JsonObject) no = frame->flags == TALK_NO ? talk_parse(frame, NULL) : NULL;
	link_frame_done(transfer->link, LINK_TALK, frame);
	const char *reason = no ? json_get_string(no, "reason", "?") : "?";
	*ambiguous = !ok && g_str_equal(reason, "ambiguous");
	if (ok || *ambiguous)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the destination mover could not read the memory there: %s"), reason);
}

/* Both sides compute at the same time. *differs is the first piece that does, or -1. */
static bool compare_parts(struct proof *proof, uint64_t address, const struct parts *parts,
			  int64_t *differs, bool *ambiguous, GError **error)
{
	struct transfer *transfer = proof->transfer;
	g_autofree uint8_t *mine = g_malloc(TAGS_MAX * TAG_BYTES);
	g_autofree uint8_t *theirs = g_malloc(TAGS_MAX * TAG_BYTES);
	*differs = -1;
	if (!ask_for_tags(transfer, parts, error) ||
	    !tag_parts(transfer, proof->memory, address, parts, mine, error) ||
	    !receive_tags(transfer, theirs, parts->count, ambiguous, error))
		return false;
	for (uint32_t i = 0; !*ambiguous && i < parts->count; i++)
		if (!tag_equal(mine + i * TAG_BYTES, theirs + i * TAG_BYTES)) {
			*differs = i;
			break;
		}
	return true;
}

/* Name the page: ask again for the pages of the piece that differs. */
static bool name_difference(struct proof *proof, const struct stream_block *block, uint64_t address,
			    uint64_t offset, uint32_t piece_bytes, GError **error)
{
	struct parts pages = { .block_bytes = block->used_bytes,
			       .offset = offset,
			       .piece_bytes = PAGE };
	pages.count = (uint32_t) (MIN(piece_bytes, block->used_bytes - offset) / PAGE);
	int64_t differs = -1;
	bool ambiguous = false;
	if (piece_bytes > PAGE &&
	    !compare_parts(proof, address, &pages, &differs, &ambiguous, error))
		return false;
	uint64_t page = offset + (uint64_t) MAX(differs, 0) * PAGE;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the memory differs: block “%s”, page at 0x%" PRIx64), block->name,
			 page);
}

static bool compare_block(struct proof *proof, const struct stream_block *block, uint64_t address,
			  bool *ambiguous, GError **error)
{
	bool full = proof->transfer->settings->verify == MOVER_VERIFY_FULL;
	uint64_t step = full ? (uint64_t) PIECE * TAGS_MAX : block->used_bytes;
	for (uint64_t offset = 0; offset < block->used_bytes && !*ambiguous; offset += step) {
		struct parts parts = { .block_bytes = block->used_bytes,
				       .offset = full ? offset : 0,
				       .piece_bytes = full ? PIECE : PAGE };
		uint64_t rest = block->used_bytes - offset;
		parts.count = full ? (uint32_t) MIN((rest + PIECE - 1) / PIECE, TAGS_MAX)
				   : (uint32_t) MIN(rest / PAGE, SAMPLE_PAGES);
		if (!full)
			parts.seed = (uint64_t) g_random_int() << 16 | 1;
		int64_t differs;
		if (!compare_parts(proof, address, &parts, &differs, ambiguous, error))
			return false;
		if (differs >= 0)
			return name_difference(proof, block, address,
					       part_offset(&parts, (uint32_t) differs),
					       parts.piece_bytes, error);
		if (!*ambiguous) {
			uint64_t bytes = full ? MIN(rest, step) : (uint64_t) parts.count * PAGE;
			proof->bytes += bytes;
			proof->pages += bytes / PAGE;
		}
	}
	return true;
}

static bool compare_ram_blocks(struct proof *proof, GError **error)
{
	struct transfer *transfer = proof->transfer;
	for (uint32_t i = 0; i < transfer->block_count; i++) {
		const struct stream_block *block = &transfer->blocks[i];
		uint64_t address;
		bool ambiguous = false;
		if (block->used_bytes < BLOCK_MIN)
			continue;
		if (!guest_memory_find(proof->memory, block->used_bytes, &address))
			ambiguous = true;
		else if (!compare_block(proof, block, address, &ambiguous, error))
			return false;
		if (ambiguous)
			json_array_add_string_element(proof->skipped, block->name);
	}
	if (proof->pages > 0)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL,
			 _("Use --verify-memory none to move without this proof."),
			 _("no memory block of the VM could be found to compare"));
}

static void post_verified(struct proof *proof, int64_t started_us)
{
	JsonObject *extra = json_object_new();
	bool full = proof->transfer->settings->verify == MOVER_VERIFY_FULL;
	json_object_set_string_member(extra, "mode", full ? "full" : "sample");
	json_object_set_int_member(extra, "pages", (gint64) proof->pages);
	json_object_set_int_member(extra, "bytes", (gint64) proof->bytes);
	json_object_set_array_member(extra, "skipped", json_array_ref(proof->skipped));
	json_object_set_int_member(extra, "ms", (clock_now_us() - started_us) / 1000);
	transfer_post(proof->transfer, EVENT_VERIFIED, extra);
}

bool proof_compare(struct transfer *transfer, GError **error)
{
	if (transfer->settings->verify == MOVER_VERIFY_NONE)
		return true;
	int64_t started_us = clock_now_us();
	int pid = guest_memory_find_qemu(transfer->settings->vm_name, transfer->settings->vm_uuid,
					 error);
	struct proof proof = { .transfer = transfer, .skipped = json_array_new() };
	proof.memory = pid > 0 ? guest_memory_open(pid, error) : NULL;
	bool ok = proof.memory && compare_ram_blocks(&proof, error);
	if (ok)
		post_verified(&proof, started_us);
	guest_memory_free(proof.memory);
	json_array_unref(proof.skipped);
	return ok;
}
