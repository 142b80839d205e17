/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps and loads the index of an image. */
#include "nbd/seed_index.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "WATARI-S"
#define VERSION 1
#define HEAD_BYTES 56
#define ENTRY_BYTES 12

static void put_index_number(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at[i] = (uint8_t) (value >> (8 * i));
}

static uint64_t get_number(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t) at[i] << (8 * i);
	return value;
}

static bool fail_index(GError **error, const char *path)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", path, g_strerror(errno));
}

/* The directory, made if need be. Caller frees. */
static char *folder(void)
{
	const char *set = g_getenv("WATARI_STATE_DIR");
	char *path = g_build_filename(set ? set : "/var/lib/watari", "seeds", NULL);
	g_mkdir_with_parents(path, 0700);
	return path;
}

/* ---- the key ---- */

/* Two that make it at the same time must end up with the same one: who links first wins. */
static bool make_key(const char *path, GError **error)
{
	uint8_t key[SEED_KEY_BYTES];
	g_autofree char *fresh = g_strdup_printf("%s.%d", path, getpid());
	FD_AUTO int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool good = fd >= 0 && getrandom(key, sizeof(key), 0) == sizeof(key) &&
		    fd_write_all(fd, key, sizeof(key)) && fsync(fd) == 0 &&
		    (link(fresh, path) == 0 || errno == EEXIST);
	if (!good)
		fail_index(error, path);
	g_unlink(fresh);
	return good;
}

bool seed_key_load(uint8_t key[SEED_KEY_BYTES], GError **error)
{
	g_autofree char *directory = folder();
	g_autofree char *path = g_build_filename(directory, "key", NULL);
	FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT) {
		if (!make_key(path, error))
			return false;
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	return (fd >= 0 && fd_read_all(fd, key, SEED_KEY_BYTES)) || fail_index(error, path);
}

/* ---- an index ---- */

struct seed_index *seed_index_new(const char *path)
{
	struct stat status;
	struct seed_index *index = g_new0(struct seed_index, 1);
	index->entries = g_array_new(FALSE, FALSE, sizeof(struct seed_entry));
	if (stat(path, &status) != 0)
		return index;
	index->bytes = (uint64_t) status.st_size;
	index->device = status.st_dev;
	index->inode = status.st_ino;
	index->mtime_ns =
		(uint64_t) status.st_mtim.tv_sec * 1000000000 + (uint64_t) status.st_mtim.tv_nsec;
	return index;
}

void seed_index_free(struct seed_index *index)
{
	if (!index)
		return;
	g_array_unref(index->entries);
	g_free(index);
}

bool seed_index_is_same(const struct seed_index *a, const struct seed_index *b)
{
	return a->bytes == b->bytes && a->device == b->device && a->inode == b->inode &&
	       a->mtime_ns == b->mtime_ns;
}

/* Caller frees. */
static char *index_path(const char *path)
{
	g_autofree char *directory = folder();
	g_autofree char *name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
	g_autofree char *file = g_strconcat(name, ".index", NULL);
	return g_build_filename(directory, file, NULL);
}

static bool read_head(int fd, struct seed_index *index, uint64_t *count)
{
	uint8_t head[HEAD_BYTES];
	if (!fd_read_all(fd, head, sizeof(head)) || memcmp(head, MAGIC, 8) != 0 ||
	    get_number(head + 8, 8) != VERSION)
		return false;
	index->bytes = get_number(head + 16, 8);
	index->device = get_number(head + 24, 8);
	index->inode = get_number(head + 32, 8);
	index->mtime_ns = get_number(head + 40, 8);
	*count = get_number(head + 48, 8);
	return *count <= SEED_INDEX_MAX;
}

static bool read_entries(int fd, struct seed_index *index, uint64_t count)
{
	g_autofree uint8_t *bytes = g_malloc(count * ENTRY_BYTES + 1);
	int64_t last = -1;
	if (!fd_read_all(fd, bytes, count * ENTRY_BYTES))
		return false;
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *at = bytes + i * ENTRY_BYTES;
		struct seed_entry entry = { .block = (uint32_t) get_number(at, 4),
					    .tag = get_number(at + 4, 8) };
		if (entry.block <= last)
			return false;
		last = entry.block;
		g_array_append_val(index->entries, entry);
	}
	return true;
}

struct seed_index *seed_index_load(const char *path)
{
	g_autofree char *file = index_path(path);
	FD_AUTO int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct seed_index *index = g_new0(struct seed_index, 1);
	uint64_t count = 0;
	index->entries = g_array_new(FALSE, FALSE, sizeof(struct seed_entry));
	if (fd >= 0 && read_head(fd, index, &count) && read_entries(fd, index, count))
		return index;
	seed_index_free(index);
	return NULL;
}

static bool write_index(int fd, const struct seed_index *index)
{
	guint count = index->entries->len;
	g_autofree uint8_t *bytes = g_malloc0(HEAD_BYTES + (size_t) count * ENTRY_BYTES);
	memcpy(bytes, MAGIC, 8);
	put_index_number(bytes + 8, VERSION, 8);
	put_index_number(bytes + 16, index->bytes, 8);
	put_index_number(bytes + 24, index->device, 8);
	put_index_number(bytes + 32, index->inode, 8);
	put_index_number(bytes + 40, index->mtime_ns, 8);
	put_index_number(bytes + 48, count, 8);
	for (guint i = 0; i < count; i++) {
		const struct seed_entry *entry =
			&g_array_index(index->entries, struct seed_entry, i);
		uint8_t *at = bytes + HEAD_BYTES + (size_t) i * ENTRY_BYTES;
		put_index_number(at, entry->block, 4);
		put_index_number(at + 4, entry->tag, 8);
	}
	return fd_write_all(fd, bytes, HEAD_BYTES + (size_t) count * ENTRY_BYTES);
}

bool seed_index_save(const struct seed_index *index, const char *path, GError **error)
{
	g_autofree char *file = index_path(path);
	g_autofree char *fresh = g_strdup_printf("%s.%d", file, getpid());
	FD_AUTO int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && write_index(fd, index) && rename(fresh, file) == 0)
		return true;
	fail_index(error, file);
	g_unlink(fresh);
	return false;
}
