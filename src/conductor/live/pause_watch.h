/* SPDX-License-Identifier: Apache-2.0 */
/* When does the VM stop? With copied disks libvirt stops it before the last of the disks is written,
 * so earlier than the movers see it in QEMU's stream. A thread asks libvirt for the state (which
 * costs QEMU nothing) and tells the main context once. */
#pragma once
#include <glib.h>
#include <libvirt/libvirt.h>

struct pause_watch;
/* Keeps a reference to DOMAIN and looks every LOOK_MS. STOPPED is called at most once, in the default main context. */
struct pause_watch *pause_watch_new(virDomainPtr domain, int look_ms, void (*stopped)(void *data),
				    void *data);
/* Ends the thread; STOPPED is not called any more. */
void pause_watch_free(struct pause_watch *pause_watch);
