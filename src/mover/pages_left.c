/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/pages_left.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "mover/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096, STEP = 256 }; /* pages in one go */
/* Documentation/admin-guide/mm/pagemap.rst; a page that is swapped out counts as one that holds something. */
static const uint64_t is_present = 1ULL << 63, is_swapped = 1ULL << 62;

struct search {
	struct guest_memory *memory;
	int pagemap;
	uint64_t entries[STEP];
	uint8_t page[PAGE];
};

static bool holds_something(struct search *search, uint64_t entry, uint64_t address, bool *holds,
			    GError **error)
{
	static const uint8_t zeros[PAGE];
	*holds = entry & is_swapped;
	if (!(entry & is_present))
		return true;
	if (!guest_memory_read(search->memory, address, search->page, PAGE, error))
		return false;
	*holds = memcmp(search->page, zeros, PAGE) != 0;
	return true;
}

static bool read_entries(struct search *search, uint64_t address, uint64_t count, GError **error)
{
	size_t bytes = count * sizeof(search->entries[0]);
	off_t at = (off_t) (address / PAGE * sizeof(search->entries[0]));
	return pread(search->pagemap, search->entries, bytes, at) == (ssize_t) bytes ||
	       error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("cannot read the memory of QEMU: %s"), g_strerror(errno));
}

static bool walk_back(struct search *search, uint64_t address, uint64_t length, uint64_t wanted,
		      uint64_t *offset, uint64_t *found, GError **error)
{
	uint64_t at = length / PAGE;
	while (at > 0 && *found < wanted) {
		uint64_t count = MIN(at, (uint64_t) STEP);
		uint64_t first = at - count;
		if (!read_entries(search, address + first * PAGE, count, error))
			return false;
		for (; at > first && *found < wanted; at--) {
			bool holds;
			if (!holds_something(search, search->entries[at - 1 - first],
					     address + (at - 1) * PAGE, &holds, error))
				return false;
			*found += holds;
		}
	}
	*offset = at * PAGE;
	return true;
}

bool pages_left_find(int pid, uint64_t length, uint64_t wanted, uint64_t *offset, uint64_t *found,
		     GError **error)
{
	g_autofree struct search *search = g_new0(struct search, 1);
	g_autofree char *path = g_strdup_printf("/proc/%d/pagemap", pid);
	uint64_t address = 0;
	*found = 0;
	search->memory = guest_memory_open(pid, error);
	if (!search->memory)
		return false;
	search->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	bool good =
		search->pagemap >= 0 && guest_memory_find_joined(search->memory, length, &address);
	if (good)
		good = walk_back(search, address, length, wanted, offset, found, error);
	else
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("the guest's memory was not found in its QEMU"));
	fd_clear(&search->pagemap);
	guest_memory_free(search->memory);
	return good;
}
