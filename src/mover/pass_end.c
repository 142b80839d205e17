/* SPDX-License-Identifier: Apache-2.0 */
/* Holds QEMU near the end of the first pass until all has arrived. */
#include "mover/pass_end.h"

#include "base/clock.h"
#include "control/messages.h"
#include "mover/pipeline/encoders.h"

/* Of all blocks; the last ones are small, and hold programs of the board. */
static const uint64_t near_bytes = 512 * 1024;
/* A zero page is 9 bytes of the stream, and a batch and QEMU's socket hold 460 KiB of that. */
static const uint64_t early_bytes = UINT64_C(256) << 20;

enum { LOOK_US = 1000, MOST_US = 300000, SWITCH_US = 5000000 };

/* How much of all blocks lies behind a page. */
static uint64_t bytes_behind(const struct item *item, const struct stream_reader *stream)
{
	const struct stream_block *block = stream_reader_block(stream, item->block);
	uint64_t page_bytes = stream_reader_page_size(stream);
	uint64_t here = block ? (item->page + item->count) * page_bytes : 0;
	uint64_t behind = block && here < block->used_bytes ? block->used_bytes - here : 0;
	for (uint32_t i = item->block + 1; (block = stream_reader_block(stream, i)); i++)
		behind += block->used_bytes;
	return behind;
}

void pass_end_note(struct pass_end *end, const struct batch *batch,
		   const struct stream_reader *stream)
{
	const struct stream_stats *stats = stream_reader_stats(stream);
	if (end->over)
		return;
	if (stats->iterations > 1 || stats->stopped || stats->postcopy || stats->resumed ||
	    stream_reader_opaque_reason(stream)) {
		end->over = true;
		return;
	}
	for (uint32_t i = batch->count; i-- > 0;) {
		if (batch->items[i].kind == ITEM_BYTES)
			continue;
		end->near = bytes_behind(&batch->items[i], stream) <=
			    (end->early ? early_bytes : near_bytes);
		return;
	}
}

/* Is nothing on its way? In that order: what leaves the hands is in flight from then on. What has arrived is known half a round trip later: that is less than it would cost
 * in the stop. */
static bool is_empty(struct transfer *transfer)
{
	struct link_stats link;
	if (encoders_in_hand(transfer->encoders) > 0)
		return false;
	link_get_stats(transfer->link, &link);
	return link.in_flight == 0;
}

static bool waits(struct transfer *transfer, int64_t waited_us)
{
	if (transfer_get_phase(transfer) == TRANSFER_REFUSED)
		return false;
	if (transfer->settings->postcopy_first && !g_atomic_int_get(&transfer->switch_asked) &&
	    waited_us < SWITCH_US)
		return true;
	return waited_us < MOST_US && !is_empty(transfer);
}

void pass_end_here(struct pass_end *end, struct transfer *transfer)
{
	int64_t begin_us = clock_now_us();
	if (end->over || !end->near)
		return;
	end->over = true;
	if (transfer->settings->postcopy_first)
		transfer_post(transfer, EVENT_PASS_ENDING, NULL);
	while (waits(transfer, clock_now_us() - begin_us))
		g_usleep(LOOK_US);
	JsonObject *extra = json_object_new();
	json_object_set_int_member(extra, "ms", (clock_now_us() - begin_us) / 1000);
	transfer_post(transfer, EVENT_PASS_END, extra);
}
