/* SPDX-License-Identifier: Apache-2.0 */
/* Counts pages that hold something from the memory's end. */
#include "mover/pages_left.h"

#include "base/error.h"
#include "base/i18n.h"
#include "mover/core/guest_memory.h"

#include <string.h>

enum { PAGE = GUEST_PAGE_BYTES };

struct search {
	struct guest_memory *memory;
	enum guest_page pages[GUEST_PAGES_MOST];
	uint8_t page[PAGE];
};

/* One that is swapped out counts as one that holds something. */
static bool holds_something(struct search *search, enum guest_page there, uint64_t address,
			    bool *holds, GError **error)
{
	static const uint8_t zeros[PAGE];
	*holds = there == GUEST_PAGE_SWAPPED;
	if (there != GUEST_PAGE_PRESENT)
		return true;
	if (!guest_memory_read(search->memory, address, search->page, PAGE, error))
		return false;
	*holds = memcmp(search->page, zeros, PAGE) != 0;
	return true;
}

static bool walk_back(struct search *search, uint64_t address, uint64_t length, uint64_t wanted,
		      uint64_t *offset, uint64_t *found, GError **error)
{
	uint64_t at = length / PAGE;
	while (at > 0 && *found < wanted) {
		unsigned count = (unsigned) MIN(at, (uint64_t) GUEST_PAGES_MOST);
		uint64_t first = at - count;
		if (!guest_memory_look(search->memory, address + first * PAGE, count, search->pages,
				       error))
			return false;
		for (; at > first && *found < wanted; at--) {
			bool holds;
			if (!holds_something(search, search->pages[at - 1 - first],
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
	uint64_t address = 0;
	*found = 0;
	search->memory = guest_memory_open(pid, error);
	if (!search->memory)
		return false;
	bool good = length ? guest_memory_find_joined(search->memory, length, &address)
			   : guest_memory_find_largest(search->memory, &address, &length);
	if (good)
		good = walk_back(search, address, length, wanted, offset, found, error);
	else
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("the guest's memory was not found in its QEMU"));
	guest_memory_free(search->memory);
	return good;
}
