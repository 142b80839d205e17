/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/fault.h"

#ifdef WATARI_FAULTS
/* Every frame that holds such bytes is struck: a single page might be healed by a later pass. */
static void strike(struct run *run, unsigned fault, struct observer *observer,
		   enum stream_kind kind, struct link_frame *frame, size_t skip)
{
	ssize_t at = observer_find(observer, kind);
	if (!(run->settings->faults & fault) || at < 0 || (size_t) at + skip >= frame->length)
		return;
	frame->data[(size_t) at + skip] ^= 0x10;
}

void fault_decoded(struct run *run, struct observer *observer, struct link_frame *frame)
{
	strike(run, MOVER_FAULT_PAGE, observer, STREAM_PAGE, frame, 100);
	strike(run, MOVER_FAULT_DEVICE, observer, STREAM_DEVICE_STATE, frame, 40);
}

void fault_late(struct run *run, struct observer *observer, struct link_frame *frame)
{
	strike(run, MOVER_FAULT_LATE_PAGE, observer, STREAM_PAGE, frame, 100);
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
void fault_decoded(struct run *run, struct observer *observer, struct link_frame *frame)
{
}

void fault_late(struct run *run, struct observer *observer, struct link_frame *frame)
{
}

void fault_gate(struct run *run)
{
}

void fault_release(struct run *run)
{
}
#endif
