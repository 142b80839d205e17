/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the guest memory of a QEMU process from outside, through /proc/PID/mem (needs root).
 *
 * QEMU maps each RAM block alone, between guard pages, so a block is the writable mapping that has
 * exactly its length. Another mapping may have that length by chance (a stack, an arena of malloc); the block begins at
 * a multiple of 2 MiB if it is as large, and a page that nobody may touch is behind it. Two blocks of one length
 * cannot be told apart: not found then.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct guest_memory;
struct guest_memory *guest_memory_open(int pid, GError **error);
void guest_memory_free(struct guest_memory *memory);
/* Address of the one mapping of LENGTH bytes; false: none, or more than one. */
bool guest_memory_find(const struct guest_memory *memory, uint64_t length, uint64_t *address);
/* The same where the kernel may have joined a small neighbour to it: the one mapping that begins where QEMU
 * lets memory begin and is a little longer at most. Good for looking, not for a proof. */
bool guest_memory_find_joined(const struct guest_memory *memory, uint64_t length,
			      uint64_t *address);
/* The largest mapping that begins where QEMU lets memory begin: before a stream has said how long the blocks are.
 * Good for looking. */
bool guest_memory_find_largest(const struct guest_memory *memory, uint64_t *address,
			       uint64_t *length);
/* What the kernel says of COUNT pages of 4 KiB from ADDRESS on, without touching them (pagemap; see
 * Documentation/admin-guide/mm/pagemap.rst). Reading one that is not there would make the kernel give the
 * guest memory (shared kinds), or fetch it from swap. */
enum guest_page { GUEST_PAGE_ABSENT, GUEST_PAGE_SWAPPED, GUEST_PAGE_PRESENT };
enum { GUEST_PAGE_BYTES = 4096, GUEST_PAGES_MOST = 256 }; /* in one call */
bool guest_memory_look(struct guest_memory *memory, uint64_t address, unsigned count,
		       enum guest_page *pages, GError **error);
bool guest_memory_read(const struct guest_memory *memory, uint64_t address, void *data,
		       size_t length, GError **error);
/* The QEMU of a libvirt VM on this host; 0 and *error if it cannot be told. */
int guest_memory_find_qemu(const char *name, const char *uuid, GError **error);
