/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what was referred to until the destination has it. */
#include "content/seed_pages.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>

#define BYTES ((size_t) SEED_PAGES_MAX * SEED_PAGE_BYTES)

struct seed_pages {
	uint8_t *bytes;
	uint64_t added, released;
};

struct seed_pages *seed_pages_new(void)
{
	struct seed_pages *pages = g_new0(struct seed_pages, 1);
	pages->bytes =
		mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages->bytes == MAP_FAILED)
		g_error("no memory for %d pages: %s", SEED_PAGES_MAX, g_strerror(errno));
	return pages;
}

void seed_pages_free(struct seed_pages *pages)
{
	if (!pages)
		return;
	munmap(pages->bytes, BYTES);
	g_free(pages);
}

static uint8_t *page_at(const struct seed_pages *pages, uint64_t number)
{
	return pages->bytes + (size_t) (number % SEED_PAGES_MAX) * SEED_PAGE_BYTES;
}

bool seed_pages_add(struct seed_pages *pages, const uint8_t *page)
{
	if (pages->added - pages->released == SEED_PAGES_MAX)
		return false;
	memcpy(page_at(pages, pages->added++), page, SEED_PAGE_BYTES);
	return true;
}

uint64_t seed_pages_count(const struct seed_pages *pages)
{
	return pages->added;
}

void seed_pages_release(struct seed_pages *pages, uint64_t count)
{
	pages->released = CLAMP(count, pages->released, pages->added);
}

const uint8_t *seed_pages_get(const struct seed_pages *pages, uint64_t number)
{
	bool here = number >= pages->released && number < pages->added;
	return here ? page_at(pages, number) : NULL;
}
