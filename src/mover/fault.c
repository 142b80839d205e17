/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/fault.h"

#include <string.h>

#ifdef WATARI_FAULTS
#define DEVICE_LEAST 4096
#define RECORD_HEAD 8 /* at least, before a page's content */

static void flip(const uint8_t *byte)
{
	*(uint8_t *) (uintptr_t) byte ^= 0x10;
}

/* Every batch that holds such bytes is struck: a single page might be healed by a later pass. */
static void strike(const struct batch *batch, enum item_kind kind, uint32_t least)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		if (item->kind != kind || item->length < least || !item->data)
			continue;
		flip(item->data + least - 1);
		return;
	}
}

void fault_decoded(struct run *run, const struct batch *batch)
{
	unsigned faults = run->settings->faults;
	if (faults & MOVER_FAULT_PAGE)
		strike(batch, ITEM_LITERAL, 1024);
	/* The device state is the only long run of bytes that are no pages. (Whether the VM is stopped
	 * is known only when the batch that says so, and may hold all of it, has been written.) */
	if (faults & MOVER_FAULT_DEVICE)
		strike(batch, ITEM_BYTES, DEVICE_LEAST);
}

/* Only a page can be struck here and be overlooked by QEMU. */
void fault_late(struct run *run, const struct batch *batch, uint8_t *records, size_t length)
{
	if (!(run->settings->faults & MOVER_FAULT_LATE_PAGE))
		return;
	for (uint32_t i = 0; i < batch->count; i++) {
		const struct item *item = &batch->items[i];
		if (item->kind != ITEM_LITERAL)
			continue;
		uint8_t *at = memmem(records, length, item->data, item->length);
		if (at && at >= records + RECORD_HEAD)
			at[100] ^= 0x10;
		return;
	}
}

void fault_gate(struct run *run)
{
	if (run->settings->faults & MOVER_FAULT_GATE)
		g_usleep(3 * G_USEC_PER_SEC);
}

void fault_release(struct run *run)
{
	if (run->settings->faults & MOVER_FAULT_RELEASE)
		g_usleep(3 * G_USEC_PER_SEC);
}
#else
void fault_decoded(struct run *run, const struct batch *batch)
{
}

void fault_late(struct run *run, const struct batch *batch, uint8_t *records, size_t length)
{
}

void fault_gate(struct run *run)
{
}

void fault_release(struct run *run)
{
}
#endif
