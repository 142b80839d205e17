/* SPDX-License-Identifier: Apache-2.0 */
/* Finds and reads the memory of a QEMU process. */
#include "mover/core/guest_memory.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAPPINGS_MAX 65536
#define ALIGNED ((uint64_t) 2 * 1024 * 1024) /* how QEMU aligns memory for huge pages */
#define JOINED_MOST ((uint64_t) 1024 * 1024)

struct mapping {
	uint64_t first, last;
	bool guarded; /* a page that nobody may touch lies behind it */
};

struct guest_memory {
	int pid;
	int fd;
	int pagemap;      /* -1: not opened yet */
	GArray *mappings; /* of struct mapping: readable, writable, private or shared */
};

static bool read_mappings(struct guest_memory *memory, int pid, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
	FILE *maps = fopen(path, "re");
	char line[4096], rights[8];
	unsigned long long first, last;
	struct mapping *before = NULL; /* the line before was this one */
	if (!maps)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("cannot read %s: %s"), path,
				 g_strerror(errno));
	while (fgets(line, sizeof(line), maps) && memory->mappings->len < MAPPINGS_MAX) {
		if (sscanf(line, "%llx-%llx %7s", &first, &last, rights) != 3)
			continue;
		if (before)
			before->guarded = first == before->last && strncmp(rights, "---", 3) == 0;
		before = NULL;
		if (strncmp(rights, "rw-", 3) != 0)
			continue; /* what can be executed is code that QEMU makes of the guest's */
		struct mapping mapping = { .first = first, .last = last };
		g_array_append_val(memory->mappings, mapping);
		before =
			&g_array_index(memory->mappings, struct mapping, memory->mappings->len - 1);
	}
	fclose(maps);
	return true;
}

struct guest_memory *guest_memory_open(int pid, GError **error)
{
	struct guest_memory *memory = g_new0(struct guest_memory, 1);
	g_autofree char *path = g_strdup_printf("/proc/%d/mem", pid);
	memory->pid = pid;
	memory->pagemap = -1;
	memory->mappings = g_array_new(FALSE, FALSE, sizeof(struct mapping));
	memory->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (memory->fd < 0)
		error_set(error, WATARI_ERROR_INTERNAL,
			  _("The memory proof needs root; leave it out with --verify-memory none."),
			  _("cannot read the memory of QEMU (%s): %s"), path, g_strerror(errno));
	if (memory->fd < 0 || !read_mappings(memory, pid, error)) {
		guest_memory_free(memory);
		return NULL;
	}
	return memory;
}

void guest_memory_free(struct guest_memory *memory)
{
	if (!memory)
		return;
	fd_clear(&memory->fd);
	fd_clear(&memory->pagemap);
	g_array_unref(memory->mappings);
	g_free(memory);
}

/* As QEMU makes memory of a guest, and hardly anything else (util/mmap-alloc.c there). */
static bool looks_like_memory(const struct mapping *mapping)
{
	return mapping->guarded &&
	       (mapping->last - mapping->first < ALIGNED || mapping->first % ALIGNED == 0);
}

bool guest_memory_find(const struct guest_memory *memory, uint64_t length, uint64_t *address)
{
	unsigned found = 0, likely = 0;
	uint64_t any = 0;
	for (guint i = 0; i < memory->mappings->len; i++) {
		struct mapping *mapping = &g_array_index(memory->mappings, struct mapping, i);
		if (mapping->last - mapping->first != length)
			continue;
		any = mapping->first;
		found++;
		if (looks_like_memory(mapping)) {
			*address = mapping->first;
			likely++;
		}
	}
	if (likely == 0 && found == 1)
		*address = any;
	return likely == 1 || (likely == 0 && found == 1);
}

bool guest_memory_find_joined(const struct guest_memory *memory, uint64_t length, uint64_t *address)
{
	unsigned found = 0;
	if (guest_memory_find(memory, length, address))
		return true;
	for (guint i = 0; i < memory->mappings->len; i++) {
		struct mapping *mapping = &g_array_index(memory->mappings, struct mapping, i);
		uint64_t first = (mapping->first + ALIGNED - 1) / ALIGNED * ALIGNED;
		if (mapping->last - mapping->first > length + JOINED_MOST ||
		    first + length > mapping->last)
			continue;
		*address = first;
		found++;
	}
	return found == 1;
}

bool guest_memory_find_largest(const struct guest_memory *memory, uint64_t *address,
			       uint64_t *length)
{
	*length = 0;
	for (guint i = 0; i < memory->mappings->len; i++) {
		struct mapping *mapping = &g_array_index(memory->mappings, struct mapping, i);
		if (mapping->first % ALIGNED != 0 || mapping->last - mapping->first <= *length)
			continue;
		*address = mapping->first;
		*length = mapping->last - mapping->first;
	}
	return *length > 0;
}

static bool open_pagemap(struct guest_memory *memory, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/pagemap", memory->pid);
	if (memory->pagemap < 0)
		memory->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	return memory->pagemap >= 0 || error_set(error, WATARI_ERROR_INTERNAL, NULL,
						 _("cannot read %s: %s"), path, g_strerror(errno));
}

bool guest_memory_look(struct guest_memory *memory, uint64_t address, unsigned count,
		       enum guest_page *pages, GError **error)
{
	static const uint64_t is_present = 1ULL << 63, is_swapped = 1ULL << 62;
	uint64_t entries[GUEST_PAGES_MOST];
	ssize_t bytes = (ssize_t) (count * sizeof(entries[0]));
	off_t at = (off_t) (address / GUEST_PAGE_BYTES * sizeof(entries[0]));
	if (!open_pagemap(memory, error))
		return false;
	ssize_t got = pread(memory->pagemap, entries, (size_t) bytes, at);
	if (got != bytes)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("cannot read the memory of QEMU: %s"),
				 got < 0 ? g_strerror(errno) : _("it has gone"));
	for (unsigned i = 0; i < count; i++)
		pages[i] = entries[i] & is_present   ? GUEST_PAGE_PRESENT
			   : entries[i] & is_swapped ? GUEST_PAGE_SWAPPED
						     : GUEST_PAGE_ABSENT;
	return true;
}

bool guest_memory_read(const struct guest_memory *memory, uint64_t address, void *data,
		       size_t length, GError **error)
{
	char *at = data;
	while (length > 0) {
		ssize_t n = pread(memory->fd, at, length, (off_t) address);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_set(error, WATARI_ERROR_INTERNAL, NULL,
					 _("cannot read the memory of QEMU: %s"),
					 n < 0 ? g_strerror(errno) : _("it has gone"));
		at += n;
		address += (uint64_t) n;
		length -= (size_t) n;
	}
	return true;
}

/* Arguments of a process, NUL-separated; NULL if it is gone. */
static char *read_arguments(int pid, size_t *length)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", pid);
	char *text = NULL;
	return g_file_get_contents(path, &text, length, NULL) ? text : NULL;
}

/* "-uuid" UUID among the arguments: a pid file alone may be stale. */
static bool is_qemu_of(int pid, const char *uuid)
{
	size_t length = 0;
	g_autofree char *text = read_arguments(pid, &length);
	bool flag = false;
	for (size_t at = 0; text && at < length; at += strlen(text + at) + 1) {
		if (flag && g_ascii_strcasecmp(text + at, uuid) == 0)
			return true;
		flag = g_str_equal(text + at, "-uuid");
	}
	return false;
}

int guest_memory_find_qemu(const char *name, const char *uuid, GError **error)
{
	g_autofree char *path = g_strdup_printf("/run/libvirt/qemu/%s.pid", name);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, error))
		return 0;
	int pid = atoi(text);
	if (pid > 0 && is_qemu_of(pid, uuid))
		return pid;
	error_set(error, WATARI_ERROR_INTERNAL, NULL, _("process %d of %s is not the QEMU of %s"),
		  pid, path, name);
	return 0;
}
