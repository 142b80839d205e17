/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose, in test builds. */
#include "mover/core/fault.h"

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

static const struct {
	enum mover_fault fault;
	enum item_kind kind;
} liars[] = {
	{ MOVER_FAULT_LIE_BYTES, ITEM_BYTES },         { MOVER_FAULT_LIE_ZERO, ITEM_ZERO },
	{ MOVER_FAULT_LIE_LITERAL, ITEM_LITERAL },     { MOVER_FAULT_LIE_SAME, ITEM_SAME },
	{ MOVER_FAULT_LIE_REFERENCE, ITEM_REFERENCE }, { MOVER_FAULT_LIE_DELTA, ITEM_DELTA },
};

static void lie(struct item *item)
{
	if (item->kind == ITEM_ZERO)
		item->count++;
	else if (item->kind == ITEM_SAME)
		item->page ^= 1;
	else if (item->kind == ITEM_REFERENCE)
		item->place += item->place > 1 ? -1u : 1u;
	else if (item->length > 0)
		flip(item->data + item->length - 1);
}

static void lie_once(struct batch *batch, enum item_kind kind)
{
	for (uint32_t i = 0; i < batch->count; i++) {
		if (batch->items[i].kind != kind)
			continue;
		lie(&batch->items[i]);
		return;
	}
}

void fault_encoded(struct transfer *transfer, struct batch *batch)
{
	for (size_t i = 0; batch->kind == BATCH_ITEMS && i < G_N_ELEMENTS(liars); i++)
		if (transfer->settings->faults & liars[i].fault)
			lie_once(batch, liars[i].kind);
}

void fault_packed(struct transfer *transfer, uint8_t *packed, size_t length)
{
	if (transfer->settings->faults & MOVER_FAULT_LIE_PACKED && length > 0)
		flip(packed + length / 2);
}

void fault_decoded(struct transfer *transfer, const struct batch *batch)
{
	unsigned faults = transfer->settings->faults;
	if (faults & MOVER_FAULT_PAGE)
		strike(batch, ITEM_LITERAL, 1024);
	/* The device state is the only long run of bytes that are no pages. (Whether the VM is stopped
	 * is known only when the batch that says so, and may hold all of it, has been written.) */
	if (faults & MOVER_FAULT_DEVICE)
		strike(batch, ITEM_BYTES, DEVICE_LEAST);
}

/* Only a page can be struck here and be overlooked by QEMU. */
void fault_late(struct transfer *transfer, const struct batch *batch, uint8_t *records,
		size_t length)
{
	if (!(transfer->settings->faults & MOVER_FAULT_LATE_PAGE))
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

int64_t fault_late_look_ms(const struct mover_setup *settings)
{
	return settings->faults & MOVER_FAULT_SLOW_LOOK ? 6000 : 0;
}

bool fault_slow_read(const struct mover_setup *settings)
{
	return settings && settings->faults & MOVER_FAULT_SLOW_READ;
}

void fault_gate(struct transfer *transfer)
{
	if (transfer->settings->faults & MOVER_FAULT_GATE)
		g_usleep(3 * G_USEC_PER_SEC);
}

void fault_release(struct transfer *transfer)
{
	if (transfer->settings->faults & MOVER_FAULT_RELEASE)
		g_usleep(3 * G_USEC_PER_SEC);
}
#else
void fault_encoded(struct transfer *transfer, struct batch *batch)
{
}

void fault_packed(struct transfer *transfer, uint8_t *packed, size_t length)
{
}

void fault_decoded(struct transfer *transfer, const struct batch *batch)
{
}

void fault_late(struct transfer *transfer, const struct batch *batch, uint8_t *records,
		size_t length)
{
}

int64_t fault_late_look_ms(const struct mover_setup *settings)
{
	return 0;
}

bool fault_slow_read(const struct mover_setup *settings)
{
	return false;
}

void fault_gate(struct transfer *transfer)
{
}

void fault_release(struct transfer *transfer)
{
}
#endif
