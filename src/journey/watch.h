/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at libvirt's job statistics of the running migration, in a thread of its own (the answer
 * may be long in coming: while the VM is stopped QEMU does not answer), and raises QEMU's own limit
 * of the downtime when that is what it takes to converge.
 *
 * QEMU's limit decides when it stops the VM: it starts small and is raised only when the rounds no
 * longer get smaller, never beyond what the user's ceiling leaves. */
#pragma once
#include <libvirt/libvirt.h>
#include <stdbool.h>
#include <stdint.h>

/* A copy of the newest numbers; 0 where unknown. */
struct watch_numbers {
	uint64_t remaining, total; /* bytes of guest memory */
	double dirty_rate;         /* bytes a second */
	int iteration;
	int64_t limit_ms; /* QEMU's limit of the downtime now */
	bool hopeless; /* the limit is at its most and the rounds have not got smaller for long */
};

struct watch;
/* Keeps a reference to DOMAIN. CEILING_MS is the user's. Sets the first limit at once. */
struct watch *watch_new(virDomainPtr domain, int64_t ceiling_ms);
void watch_get(struct watch *watch, struct watch_numbers *numbers);
/* Ends the thread; waits for libvirt's last answer. */
void watch_free(struct watch *watch);
