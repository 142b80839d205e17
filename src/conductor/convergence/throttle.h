/* SPDX-License-Identifier: Apache-2.0 */
/* Slowing the VM down while it moves, and never more than the user permits.
 *
 * libvirt's auto-converge lets QEMU throttle the VM's processors by itself, in steps, up to 99 %, and has
 * no word for where it must end. QEMU has one, max-cpu-throttle, which is reached through libvirt's
 * passage to QEMU's monitor (libvirt marks the VM as "tainted" by that, in its log). It is set before
 * the migration begins, to the least QEMU takes, so that nothing is throttled before the ladder
 * (ladder.h) says so; each step of the ladder raises it. Whether and when QEMU throttles up to it
 * stays QEMU's decision: at the end of a round, in every second one that was dirtied more than half
 * as fast as it was sent.
 *
 * A conductor that is killed leaves QEMU's numbers as it set them last, at a source that goes on. What they
 * were is in the journal (qemu_settings.h), and `watari resolve` sets them back.
 *
 * Calls block.
 */
#pragma once
#include <glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>

enum { THROTTLE_LEAST = 1, THROTTLE_MOST = 99 };

/* QEMU's own numbers before. */
struct throttle {
	bool changed;
	int initial, most;
};

/* *throttle gets what QEMU has now. */
bool throttle_read(virDomainPtr domain, struct throttle *throttle, GError **error);
/* No more than THROTTLE_LEAST from here on. */
bool throttle_hold(virDomainPtr domain, struct throttle *throttle, GError **error);
/* PERCENT at most from here on. */
bool throttle_set(virDomainPtr domain, int percent, GError **error);
/* What one of these could not do means for the move. Returns false. */
bool throttle_refuse(GError **error);
/* After a migration that failed: as it was before. */
void throttle_restore(virDomainPtr domain, const struct throttle *throttle);
