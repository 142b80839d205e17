/* SPDX-License-Identifier: Apache-2.0 */
/* Copies sampled pages, and compares them later. */
#include "mover/measure/sample.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"
#include "content/codec.h"
#include "content/delta.h"
#include "mover/core/guest_memory.h"
#include "mover/measure/packing.h"

#include <string.h>

enum {
	MAPPINGS_MAX = 64,
	GROUP = 64,        /* changes that are packed together, as in a batch */
	PACKED_MAX = 4096, /* pages that are packed for a trial */
	ALIKE = 50,        /* where less than that part is new, the last trial holds */
};
enum held { HELD_ABSENT, HELD_SWAPPED, HELD_ZERO, HELD_DATA };

struct sample {
	struct guest_memory *memory;
	unsigned count;      /* clusters */
	uint64_t *addresses; /* of them */
	uint64_t whole;      /* pages of all the memory */
	bool looked;
	uint8_t *first, *last; /* the pages, at the first and the last look */
	uint8_t *states;       /* of the last look */
	uint8_t *changed;      /* since the first */
	uint8_t *elsewhere;    /* of enum sample_elsewhere */
	JsonObject *packed;    /* what the last trial said; NULL: there was none */
	size_t packed_sent;    /* pages that were to be sent then */
};

static const uint8_t zeros[SAMPLE_PAGE];

/* ---- where ---- */

/* A cluster in the middle of each of equal parts, but not at the same place in each: what repeats at equal
 * distances must not be met always, or never. */
static void place_clusters(struct sample *sample, uint64_t address, uint64_t length, unsigned count)
{
	uint64_t part = length / count / SAMPLE_PAGE;
	uint64_t room = part > SAMPLE_CLUSTER ? part - SAMPLE_CLUSTER : 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t shift = room ? (uint64_t) i * 2654435761U % (room + 1) : 0;
		sample->addresses[sample->count++] = address + (part * i + shift) * SAMPLE_PAGE;
	}
}

static bool find_sampled_memory(struct sample *sample, const uint64_t *lengths, unsigned count,
				unsigned pages, GError **error)
{
	uint64_t addresses[MAPPINGS_MAX], all = 0;
	for (unsigned i = 0; i < count; i++) {
		if (!guest_memory_find_joined(sample->memory, lengths[i], &addresses[i]))
			return error_set(error, WATARI_ERROR_INTERNAL, NULL,
					 _("the guest's memory was not found in its QEMU"));
		all += lengths[i];
	}
	unsigned clusters = MAX(pages / SAMPLE_CLUSTER, 1);
	sample->whole = all / SAMPLE_PAGE;
	sample->addresses = g_new0(uint64_t, clusters + count);
	for (unsigned i = 0; i < count; i++) {
		uint64_t most = lengths[i] / (SAMPLE_CLUSTER * SAMPLE_PAGE);
		uint64_t share = (uint64_t) clusters * (lengths[i] >> 12) / (all >> 12);
		if (most > 0)
			place_clusters(sample, addresses[i], lengths[i],
				       (unsigned) CLAMP(share, 1, most));
	}
	return true;
}

struct sample *sample_new(int pid, const uint64_t *lengths, unsigned count, unsigned pages,
			  GError **error)
{
	struct sample *sample = g_new0(struct sample, 1);
	if (count > 0 && count <= MAPPINGS_MAX)
		sample->memory = guest_memory_open(pid, error);
	if (!sample->memory || !find_sampled_memory(sample, lengths, count, pages, error)) {
		sample_free(sample);
		return NULL;
	}
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER;
	sample->first = g_malloc(n * SAMPLE_PAGE);
	sample->last = g_malloc(n * SAMPLE_PAGE);
	sample->states = g_malloc0(n);
	sample->changed = g_malloc0(n);
	sample->elsewhere = g_malloc0(n);
	return sample;
}

void sample_free(struct sample *sample)
{
	if (!sample)
		return;
	guest_memory_free(sample->memory);
	g_free(sample->addresses);
	g_free(sample->first);
	g_free(sample->last);
	g_free(sample->states);
	g_free(sample->changed);
	g_free(sample->elsewhere);
	g_clear_pointer(&sample->packed, json_object_unref);
	g_free(sample);
}

/* ---- a look ---- */

static bool look_at_cluster(struct sample *sample, unsigned cluster, uint8_t *pages, GError **error)
{
	uint64_t address = sample->addresses[cluster];
	enum guest_page there[SAMPLE_CLUSTER];
	if (!guest_memory_look(sample->memory, address, SAMPLE_CLUSTER, there, error))
		return false;
	for (unsigned i = 0; i < SAMPLE_CLUSTER; i++) {
		uint8_t *page = pages + (size_t) i * SAMPLE_PAGE;
		uint8_t *state = &sample->states[cluster * SAMPLE_CLUSTER + i];
		*state = there[i] == GUEST_PAGE_PRESENT   ? HELD_DATA
			 : there[i] == GUEST_PAGE_SWAPPED ? HELD_SWAPPED
							  : HELD_ABSENT;
		memset(page, 0, SAMPLE_PAGE);
		if (*state != HELD_DATA)
			continue;
		if (!guest_memory_read(sample->memory, address + (uint64_t) i * SAMPLE_PAGE, page,
				       SAMPLE_PAGE, error))
			return false;
		if (memcmp(page, zeros, SAMPLE_PAGE) == 0)
			*state = HELD_ZERO;
	}
	return true;
}

static int64_t count_changed(struct sample *sample)
{
	int64_t changed = 0;
	for (size_t i = 0; i < (size_t) sample->count * SAMPLE_CLUSTER; i++) {
		sample->changed[i] = memcmp(sample->first + i * SAMPLE_PAGE,
					    sample->last + i * SAMPLE_PAGE, SAMPLE_PAGE) != 0;
		changed += sample->changed[i];
	}
	return changed;
}

int64_t sample_look(struct sample *sample, GError **error)
{
	size_t stride = (size_t) SAMPLE_CLUSTER * SAMPLE_PAGE;
	memset(sample->elsewhere, 0, (size_t) sample->count * SAMPLE_CLUSTER);
	for (unsigned i = 0; i < sample->count; i++)
		if (!look_at_cluster(sample, i, sample->last + i * stride, error))
			return -1;
	if (sample->looked)
		return count_changed(sample);
	memcpy(sample->first, sample->last, sample->count * stride);
	sample->looked = true;
	return 0;
}

const uint8_t *sample_next_page(const struct sample *sample, size_t *at)
{
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER;
	while (*at < n && sample->states[*at] != HELD_DATA)
		(*at)++;
	return *at < n ? sample->last + (*at)++ * SAMPLE_PAGE : NULL;
}

const uint8_t *sample_next_older(const struct sample *sample, size_t *at)
{
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER;
	while (*at < n && !sample->changed[*at])
		(*at)++;
	return *at < n ? sample->first + (*at)++ * SAMPLE_PAGE : NULL;
}

void sample_note_elsewhere(struct sample *sample, size_t page, enum sample_elsewhere where)
{
	sample->elsewhere[page] |= where;
}

/* ---- how it packs ---- */

static bool is_sent(const struct sample *sample, size_t page)
{
	return sample->states[page] == HELD_DATA &&
	       !(sample->elsewhere[page] & (SAMPLE_ON_IMAGE | SAMPLE_TWICE));
}

static size_t count_sent(const struct sample *sample)
{
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER, sent = 0;
	for (size_t i = 0; i < n; i++)
		sent += is_sent(sample, i);
	return sent;
}

/* Pages of the last look that hold something and travel, clusters of them from everywhere. */
static JsonObject *try_pages(struct sample *sample, size_t sent)
{
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER, met = 0;
	struct packing *packing = packing_new(PACKED_MAX);
	JsonObject *object = json_object_new();
	size_t stride =
		(sent / PACKED_MAX + 1) * SAMPLE_CLUSTER; /* or the last ones are left out */
	for (size_t i = 0; i < n; i++) {
		if (!is_sent(sample, i) || met++ % stride >= SAMPLE_CLUSTER)
			continue;
		if (!packing_add(packing, sample->last + i * SAMPLE_PAGE))
			break;
	}
	packing_end(packing, object);
	return object;
}

/* A trial takes a tenth of a second of a processor, so it is made again only if others are to be sent: by then the move
 * may be under way. */
static void pack_pages(struct sample *sample, JsonObject *object)
{
	static const char *const names[] = { "batch", "stream" };
	size_t sent = count_sent(sample), before = sample->packed_sent;
	size_t apart = sent > before ? sent - before : before - sent;
	if (!sample->packed || apart > before / ALIKE) {
		g_clear_pointer(&sample->packed, json_object_unref);
		sample->packed = try_pages(sample, sent);
		sample->packed_sent = sent;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		JsonObject *numbers = json_get_object(sample->packed, names[i]);
		if (numbers)
			json_object_set_object_member(object, names[i], json_copy_object(numbers));
	}
}

/* A change, or all of the page: at most a page. */
static size_t encode_change(const struct sample *sample, size_t page, uint8_t *out)
{
	const uint8_t *new = sample->last + page *SAMPLE_PAGE;
	size_t length = 0;
	if (!(sample->elsewhere[page] & SAMPLE_OLDER_ON_IMAGE))
		length = delta_encode(sample->first + page * SAMPLE_PAGE, new, SAMPLE_PAGE, out,
				      SAMPLE_PAGE - 1);
	if (length == 0)
		memcpy(out, new, length = SAMPLE_PAGE);
	return length;
}

/* Bytes for a changed page: as a change where that is shorter, packed in groups. */
static double pack_changes(struct sample *sample)
{
	size_t out_max = packer_bound(GROUP * SAMPLE_PAGE);
	g_autofree uint8_t *out = g_malloc(out_max), *deltas = g_malloc(GROUP * SAMPLE_PAGE);
	const struct codec_effort effort = { CODEC_ZSTD, 1, 0 };
	struct packer *packer = packer_new();
	uint64_t bytes = 0, pages = 0;
	size_t filled = 0;
	unsigned in_group = 0;
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER;
	for (size_t i = 0; i <= n && pages < PACKED_MAX; i++) {
		bool last = i == n || pages + 1 == PACKED_MAX;
		if (i < n && sample->changed[i]) {
			filled += encode_change(sample, i, deltas + filled);
			in_group++;
			pages++;
		}
		if (in_group == 0 || (in_group < GROUP && !last))
			continue;
		enum codec_method method;
		const struct codec_part part = { deltas, filled };
		bytes += packer_pack(packer, &effort, &part, 1, out, out_max, &method);
		filled = in_group = 0;
	}
	packer_free(packer);
	return pages ? (double) bytes / (double) pages : 0;
}

JsonObject *sample_describe(struct sample *sample)
{
	static const char *const names[] = { "absent", "swapped", "zero", "data" };
	JsonObject *object = json_object_new();
	int64_t counts[G_N_ELEMENTS(names)] = { 0 }, twice = 0;
	size_t n = (size_t) sample->count * SAMPLE_CLUSTER;
	for (size_t i = 0; i < n; i++) {
		counts[sample->states[i]]++;
		twice += (sample->elsewhere[i] & SAMPLE_TWICE) != 0;
	}
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		json_object_set_int_member(object, names[i], counts[i]);
	json_object_set_int_member(object, "twice", twice);
	json_object_set_int_member(object, "pages", (gint64) n);
	json_object_set_int_member(object, "whole_pages", (gint64) sample->whole);
	pack_pages(sample, object);
	json_object_set_double_member(object, "changed_bytes", pack_changes(sample));
	return object;
}
