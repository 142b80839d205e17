/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling of the standstill, kept by a process that does not hang when the mover does.
 *
 * The source's mover keeps the ceiling by itself (mover_watch_stop) as long as it runs. One that
 * is stopped by a signal, swapped out, held by a debugger or deadlocked keeps nothing, and its
 * QEMU writes into a full socket with the VM stopped. So a child is forked before there are
 * threads. It shares one page with the mover, and holds of it stderr only. When the limit is over
 * by GRACE it kills the mover: QEMU sees its socket closed, libvirt's Perform fails, and the VM
 * goes on at the source. The gate is in the mover, so a dead one releases nothing any more; and
 * one that is killed between the decision and its word has told QEMU nothing. Either way libvirt's
 * Perform has one result, and the two cannot differ.
 *
 * Its last words, on the mover's stderr, say so: that is how the conductor knows.
 *
 * A mover that is silent for the link's time limit (30 s at least) counts as one that hangs,
 * whether the stop was noticed or not: it may be the reason why it was not.
 *
 * All functions may be called from any thread and take no lock. WATCHDOG may be NULL.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct watchdog;

/* Forks; to be called before any thread is made. TITLE is the word "mover" in the process's own
 * argument vector: the child calls itself "guard" there. NULL when it cannot be had. */
struct watchdog *watchdog_new(char *title);
/* The child ends. */
void watchdog_free(struct watchdog *watchdog);

/* From now on a mover that does not call watchdog_beat() for SILENCE_MS is killed. */
void watchdog_begin(struct watchdog *watchdog, int silence_ms);
void watchdog_beat(struct watchdog *watchdog);
/* The VM may be stopped for so long; 0: as long as it takes. */
void watchdog_set_limit(struct watchdog *watchdog, int limit_ms);
/* The VM is stopped since AT_US, of the monotonic clock. The first word counts. */
void watchdog_note_stop(struct watchdog *watchdog, int64_t at_us);
/* Nothing is to be broken off any more, for good: QEMU has its answer or sees its socket closed, or
 * the VM is in post-copy. */
void watchdog_rest(struct watchdog *watchdog);
