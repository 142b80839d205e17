/* SPDX-License-Identifier: Apache-2.0 */
/* The conductor: drives one migration from the first connection to the closing report.
 *
 * move_run() walks the table of phases in walk.c. It runs the default GLib main context of
 * the calling thread; libvirt's blocking calls happen in threads of their own, so that progress,
 * signals and the movers' words are handled at any time.
 *
 * Signals: the first SIGINT or SIGTERM cancels, in every phase up to libvirt's Finish; later ones
 * change nothing. SIGHUP is ignored.
 */
#pragma once
#include "conductor/core/report.h"

/* Returns true when the VM is migrated and all is right. The report is filled in any case. */
bool move_run(const struct move_request *request, const struct move_observer *observer,
	      struct move_report *report, GError **error);
