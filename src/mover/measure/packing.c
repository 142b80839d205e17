/* SPDX-License-Identifier: Apache-2.0 */
/* Packs sampled pages to see how small they get. */
#include "mover/measure/packing.h"

#include "content/codec.h"
#include "mover/pipeline/workers.h"

#include <string.h>

enum { GROUP = 64 /* pages that are packed together, as in a batch */ };

struct trial {
	const char *name;
	struct codec_effort effort;
	struct packer *packer;
	uint64_t original, packed;
	int64_t cpu_us;
};

struct packing {
	uint8_t *pages, *out;
	size_t out_max;
	unsigned most, filled, taken;
	struct trial trials[2];
};

struct packing *packing_new(unsigned most)
{
	struct packing *packing = g_new0(struct packing, 1);
	packing->most = most;
	packing->pages = g_malloc(GROUP * PACKING_PAGE);
	packing->out_max = packer_bound(GROUP * PACKING_PAGE);
	packing->out = g_malloc(packing->out_max);
	packing->trials[0] = (struct trial){ .name = "batch", .effort = { CODEC_ZSTD, 1, 0 } };
	packing->trials[1] = (struct trial){ .name = "stream", .effort = { CODEC_STREAM, 3, 22 } };
	for (size_t i = 0; i < G_N_ELEMENTS(packing->trials); i++)
		packing->trials[i].packer = packer_new();
	return packing;
}

static void pack_group(struct packing *packing, struct trial *trial)
{
	const struct codec_part part = { packing->pages, packing->filled * PACKING_PAGE };
	enum codec_method method;
	int64_t begin_us = workers_cpu_us();
	trial->packed += packer_pack(trial->packer, &trial->effort, &part, 1, packing->out,
				     packing->out_max, &method);
	trial->original += part.length;
	trial->cpu_us += workers_cpu_us() - begin_us;
}

static void try_group(struct packing *packing)
{
	for (size_t i = 0; i < G_N_ELEMENTS(packing->trials); i++)
		pack_group(packing, &packing->trials[i]);
	packing->filled = 0;
}

bool packing_add(struct packing *packing, const uint8_t *page)
{
	if (packing->taken == packing->most)
		return false;
	memcpy(packing->pages + (size_t) packing->filled++ * PACKING_PAGE, page, PACKING_PAGE);
	packing->taken++;
	if (packing->filled == GROUP)
		try_group(packing);
	return true;
}

static void describe_trial(JsonObject *object, const struct trial *trial)
{
	if (trial->original == 0 || trial->cpu_us <= 0)
		return;
	JsonObject *numbers = json_object_new();
	json_object_set_double_member(numbers, "share",
				      (double) trial->packed / (double) trial->original);
	json_object_set_double_member(numbers, "speed",
				      (double) trial->original / (double) trial->cpu_us * 1e6);
	json_object_set_object_member(object, trial->name, numbers);
}

void packing_end(struct packing *packing, JsonObject *object)
{
	if (packing->filled && packing->taken < GROUP)
		try_group(packing); /* less than a group is all there is */
	for (size_t i = 0; i < G_N_ELEMENTS(packing->trials); i++) {
		describe_trial(object, &packing->trials[i]);
		packer_free(packing->trials[i].packer);
	}
	g_free(packing->pages);
	g_free(packing->out);
	g_free(packing);
}
