/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/core/rehearse_hold.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/disks/disk_rehearse_hold.h"
#include "mover/core/guest_memory.h"
#include "mover/core/pages_left.h"

#include <string.h>

enum {
	PAGE = 4096,
	LEFT_SHARE = 16, /* of the memory */
	LEFT_LEAST = 2048,
	LEFT_MOST = 16384,
	TOO_FEW = 512, /* pages that hold something: no place is safe */
};

struct dwell {
	struct run *run;
	bool known;           /* the place */
	uint64_t block_bytes; /* the largest block, */
	uint64_t offset;      /* and where in it */
	uint64_t left;        /* pages behind it that hold something */
	bool reached;
	int64_t begin_us;     /* of the first batch of pages */
	uint64_t wire_before; /* a probe's, and the disks' */
	uint64_t wire_disks;
};

struct dwell *dwell_new(struct run *run)
{
	if (!run->settings->rehearse)
		return NULL;
	struct dwell *dwell = g_new0(struct dwell, 1);
	dwell->run = run;
	return dwell;
}

void dwell_free(struct dwell *dwell)
{
	g_free(dwell);
}

/* ---- the place ---- */

static bool is_enough(uint64_t pages, GError **error)
{
	return pages >= TOO_FEW ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the VM has too little in its memory for a rehearsal: the copy would be "
			   "at its end before it could be held"));
}

static bool find_place(struct dwell *dwell, GError **error)
{
	const struct mover_settings *settings = dwell->run->settings;
	uint64_t wanted = CLAMP(dwell->block_bytes / PAGE / LEFT_SHARE, LEFT_LEAST, LEFT_MOST);
	int pid = guest_memory_find_qemu(settings->vm_name, settings->vm_uuid, error);
	return pid > 0 &&
	       pages_left_find(pid, dwell->block_bytes, wanted, &dwell->offset, &dwell->left,
			       error) &&
	       is_enough(dwell->left, error);
}

bool dwell_may_begin(const struct mover_settings *settings, int pid, GError **error)
{
	uint64_t offset, found;
	return !settings->rehearse || pid <= 0 ||
	       (pages_left_find(pid, 0, TOO_FEW, &offset, &found, error) &&
		is_enough(found, error));
}

static void learn_place(struct dwell *dwell, const struct stream_reader *stream)
{
	g_autoptr(GError) error = NULL;
	const struct stream_block *block;
	for (uint32_t i = 0; (block = stream_reader_block(stream, i)); i++)
		dwell->block_bytes = MAX(dwell->block_bytes, block->used_bytes);
	dwell->known = true;
	if (!find_place(dwell, &error))
		run_refuse_error(dwell->run, "rehearsal", error);
}

/* ---- on the way ---- */

static bool is_behind(const struct dwell *dwell, const struct item *item,
		      const struct stream_reader *stream)
{
	const struct stream_block *block = stream_reader_block(stream, item->block);
	return block && block->used_bytes == dwell->block_bytes &&
	       (item->page + item->count) * PAGE >= dwell->offset;
}

static bool has_sent_enough(const struct dwell *dwell)
{
	struct link_stats stats;
	uint64_t most = dwell->run->settings->rehearse_bytes;
	if (g_atomic_int_get(&dwell->run->settings->rehearse_now))
		return true;
	if (!most)
		return false;
	link_get_stats(dwell->run->link, &stats);
	return stats.wire_sent - dwell->wire_before + dwell->wire_disks >= most;
}

static void begin(struct dwell *dwell)
{
	struct link_stats stats;
	link_get_stats(dwell->run->link, &stats);
	dwell->wire_before = stats.wire_sent;
	dwell->wire_disks = disk_dwell_wire(dwell->run->disk_source);
	dwell->begin_us = clock_now_us();
}

void dwell_note(struct dwell *dwell, const struct batch *batch, const struct stream_reader *stream)
{
	if (!dwell)
		return;
	if (!dwell->begin_us)
		begin(dwell);
	if (batch->has_blocks) {
		learn_place(dwell, stream);
		dwell->begin_us = clock_now_us(); /* a move looks for no place */
	}
	/* Neither a stream that is not understood nor a second pass may go on. */
	dwell->reached |= stream_reader_opaque_reason(stream) ||
			  stream_reader_stats(stream)->iterations > 1 || has_sent_enough(dwell);
	for (uint32_t i = 0; dwell->known && i < batch->count && !dwell->reached; i++)
		if (batch->items[i].kind != ITEM_BYTES)
			dwell->reached = is_behind(dwell, &batch->items[i], stream);
}

static JsonObject *describe(struct dwell *dwell)
{
	struct run *run = dwell->run;
	struct link_stats link;
	JsonObject *extra = json_object_new();
	link_get_stats(run->link, &link);
	pthread_mutex_lock(&run->lock);
	json_object_set_int_member(extra, "normal", (gint64) run->stream.records[STREAM_PAGE]);
	json_object_set_int_member(extra, "zero", (gint64) run->stream.records[STREAM_ZERO_PAGE]);
	json_object_set_int_member(extra, "encoded", (gint64) run->content.encoded_bytes);
	pthread_mutex_unlock(&run->lock);
	json_object_set_int_member(extra, "left", (gint64) dwell->left);
	json_object_set_int_member(extra, "ms", (clock_now_us() - dwell->begin_us) / 1000);
	json_object_set_int_member(extra, "wire", (gint64) (link.wire_sent - dwell->wire_before));
	return extra;
}

void dwell_here(struct dwell *dwell)
{
	if (!dwell || !dwell->reached)
		return;
	struct run *run = dwell->run;
	run_wait_arrived(run, INT64_MAX);
	run_post(run, "dwelling", describe(dwell));
	pthread_mutex_lock(&run->lock);
	while (run->phase != RUN_REFUSED)
		pthread_cond_wait(&run->changed, &run->lock);
	pthread_mutex_unlock(&run->lock);
}
