/* SPDX-License-Identifier: Apache-2.0 */
/* Reads large files at leisure, and keeps their digests. See digests.h. */
#include "mover/compare/digests.h"

#include "base/clock.h"
#include "base/fd.h"
#include "control/messages.h"
#include "mover/compare/piece.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "WATARI-D"
#define ZFS_MAGIC 0x2fc12fc1

enum {
	VERSION = 1,
	FILE_BYTES = 72 + DIGEST_BYTES,
	PIECE = PIECE_BYTES, /* read at once */
	ALIGNMENT = 4096,
	KEPT_EACH = 256 << 20, /* bytes that are read twice at the most, after a crash */
	CHANGED_LATELY_S = 2,
};

/* What is known of a file. */
struct known {
	uint64_t bytes, device, system, inode, mtime_ns, ctime_ns; /* its identity */
	uint64_t done;
	uint8_t digest[DIGEST_BYTES];
};

/* ---- the identity ---- */

static uint64_t nanoseconds(struct timespec time)
{
	return (uint64_t) time.tv_sec * 1000000000 + (uint64_t) time.tv_nsec;
}

/* File systems that only this kernel writes to, and that note each write. */
static bool is_local(const struct statfs *system)
{
	static const uint32_t kinds[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					  F2FS_SUPER_MAGIC, TMPFS_MAGIC,     ZFS_MAGIC };
	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		if ((uint32_t) system->f_type == kinds[i])
			return true;
	return false;
}

static bool identify_file(int fd, struct known *known)
{
	struct stat facts;
	struct statfs system;
	if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode) || fstatfs(fd, &system) != 0 ||
	    !is_local(&system))
		return false;
	*known = (struct known){ .bytes = (uint64_t) facts.st_size,
				 .device = facts.st_dev,
				 .inode = facts.st_ino,
				 .mtime_ns = nanoseconds(facts.st_mtim),
				 .ctime_ns = nanoseconds(facts.st_ctim) };
	_Static_assert(sizeof(system.f_fsid) == sizeof(known->system), "one number");
	memcpy(&known->system, &system.f_fsid, sizeof(known->system));
	return true;
}

static bool is_same_file(const struct known *a, const struct known *b)
{
	return memcmp(a, b, offsetof(struct known, done)) == 0;
}

/* Later the clock's steps are fine enough that another write would show. */
static bool is_settled(const struct known *known)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return known->ctime_ns + CHANGED_LATELY_S * G_GUINT64_CONSTANT(1000000000) <
	       nanoseconds(now);
}

/* Nothing else is opened: a pipe would wait, and a tape would wind. *known: as the file is now. */
static int open_file(const char *path, struct known *known)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct stat facts;
	if (stat(path, &facts) != 0 || !S_ISREG(facts.st_mode))
		return -1;
	FD_AUTO int fd = open(path, flags | O_DIRECT);
	if (fd < 0)
		fd = open(path, flags);
	return fd >= 0 && identify_file(fd, known) ? fd_steal(&fd) : -1;
}

/* ---- what is kept ---- */

/* Caller frees. */
static char *kept_path(const char *path, bool make)
{
	const char *set = g_getenv("WATARI_STATE_DIR");
	g_autofree char *folder = g_build_filename(set ? set : "/var/lib/watari", "digests", NULL);
	g_autofree char *name = g_compute_checksum_for_string(G_CHECKSUM_SHA256, path, -1);
	if (make)
		g_mkdir_with_parents(folder, 0700);
	return g_build_filename(folder, name, NULL);
}

static const size_t numbers[] = {
	offsetof(struct known, bytes),    offsetof(struct known, device),
	offsetof(struct known, system),   offsetof(struct known, inode),
	offsetof(struct known, mtime_ns), offsetof(struct known, ctime_ns),
	offsetof(struct known, done),
};

static bool load(const char *path, struct known *known)
{
	g_autofree char *kept = kept_path(path, false);
	uint8_t bytes[FILE_BYTES + 1];
	uint32_t version, zero;
	FD_AUTO int fd = open(kept, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || read(fd, bytes, sizeof(bytes)) != FILE_BYTES || memcmp(bytes, MAGIC, 8) != 0)
		return false;
	memcpy(&version, bytes + 8, 4);
	memcpy(&zero, bytes + 12, 4);
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		uint64_t number;
		memcpy(&number, bytes + 16 + 8 * i, 8);
		number = GUINT64_FROM_LE(number);
		memcpy((uint8_t *) known + numbers[i], &number, 8);
	}
	memcpy(known->digest, bytes + 72, DIGEST_BYTES);
	return GUINT32_FROM_LE(version) == VERSION && !zero && known->done <= known->bytes &&
	       (known->done % PIECE == 0 || known->done == known->bytes);
}

static void save(const char *path, const struct known *known)
{
	g_autofree char *kept = kept_path(path, true);
	g_autofree char *fresh = g_strdup_printf("%s.%d", kept, getpid());
	uint8_t bytes[FILE_BYTES] = MAGIC;
	uint32_t version = GUINT32_TO_LE(VERSION);
	memcpy(bytes + 8, &version, 4);
	for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
		uint64_t number;
		memcpy(&number, (const uint8_t *) known + numbers[i], 8);
		number = GUINT64_TO_LE(number);
		memcpy(bytes + 16 + 8 * i, &number, 8);
	}
	memcpy(bytes + 72, known->digest, DIGEST_BYTES);
	FD_AUTO int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool good = fd >= 0 && fd_write_all(fd, bytes, sizeof(bytes)) && fsync(fd) == 0 &&
		    g_rename(fresh, kept) == 0;
	if (!good)
		g_unlink(fresh);
}

bool digests_recall(const char *path, uint8_t digest[DIGEST_BYTES])
{
	struct known now, kept;
	FD_AUTO int fd = open_file(path, &now);
	if (fd < 0 || !load(path, &kept) || !is_same_file(&now, &kept) || kept.done < kept.bytes)
		return false;
	memcpy(digest, kept.digest, DIGEST_BYTES);
	return true;
}

/* ---- reading ---- */

struct reading {
	/* set once */
	GPtrArray *paths;
	int64_t bytes_s;
	/* the task's */
	struct task *task;
	uint8_t *buffer;
	EVP_MD_CTX *context;
	int64_t began_ms, bytes;
	unsigned known;
};

/* False: it is over. Not before what was read is due. */
static bool keep_rate(struct reading *reading)
{
	int64_t due_ms = reading->began_ms + reading->bytes * 1000 / reading->bytes_s;
	return task_sleep(reading->task, (int) MAX(due_ms - clock_now_ms(), 0));
}

static bool read_digested_piece(struct reading *reading, int fd, uint64_t at, size_t length)
{
	size_t done = 0;
	while (done < length) {
		/* what is read past the page cache is asked for in whole blocks, also at the file's end */
		ssize_t n = pread(fd, reading->buffer + done, PIECE - done, (off_t) (at + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || (done + (size_t) n < length && (size_t) n % ALIGNMENT))
			return false;
		done += (size_t) n;
	}
	reading->bytes += (int64_t) length;
	return true;
}

static bool add_digested_piece(struct reading *reading, struct known *known, size_t length)
{
	uint64_t at = GUINT64_TO_LE(known->done);
	EVP_MD_CTX *context = reading->context;
	return !piece_is_filled(reading->buffer, length) ||
	       (EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
		EVP_DigestUpdate(context, known->digest, DIGEST_BYTES) == 1 &&
		EVP_DigestUpdate(context, &at, sizeof(at)) == 1 &&
		EVP_DigestUpdate(context, reading->buffer, length) == 1 &&
		EVP_DigestFinal_ex(context, known->digest, NULL) == 1);
}

/* False: it cannot be read. *going false: it is over. */
static bool read_on(struct reading *reading, int fd, const char *path, struct known *known,
		    bool *going)
{
	uint64_t kept = known->done;
	while (known->done < known->bytes) {
		known->done = piece_find(fd, known->done, known->bytes);
		if (known->done == known->bytes)
			break;
		size_t length = (size_t) MIN(known->bytes - known->done, PIECE);
		if (!read_digested_piece(reading, fd, known->done, length) ||
		    !add_digested_piece(reading, known, length))
			return false;
		known->done += length;
		*going = keep_rate(reading);
		if (!*going)
			break;
		if (known->done - kept < KEPT_EACH)
			continue;
		save(path, known);
		kept = known->done;
	}
	return true;
}

/* False: it is over. */
static bool learn_file(struct reading *reading, const char *path)
{
	struct known known, before, after;
	bool going = true;
	FD_AUTO int fd = open_file(path, &known);
	if (fd < 0 || !is_settled(&known))
		return true;
	if (load(path, &before) && is_same_file(&known, &before))
		known = before;
	/* what was saved on the way counts no more once the file's numbers are others */
	if (read_on(reading, fd, path, &known, &going) && identify_file(fd, &after) &&
	    is_same_file(&known, &after)) {
		save(path, &known);
		reading->known += known.done == known.bytes;
	}
	return going;
}

static JsonObject *learn_digests(struct task *task, void *data)
{
	struct reading *reading = data;
	JsonObject *answer = json_object_new();
	reading->task = task;
	reading->buffer = aligned_alloc(ALIGNMENT, PIECE);
	reading->context = EVP_MD_CTX_new();
	reading->began_ms = clock_now_ms();
	bool going = reading->buffer && reading->context;
	for (guint i = 0; going && i < reading->paths->len; i++)
		going = learn_file(reading, reading->paths->pdata[i]);
	EVP_MD_CTX_free(reading->context);
	free(reading->buffer);
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_EVENT);
	json_object_set_string_member(answer, EVENT_WHAT, EVENT_DIGESTS);
	json_object_set_int_member(answer, "known", reading->known);
	return answer;
}

static void reading_free(void *data)
{
	struct reading *reading = data;
	g_ptr_array_unref(reading->paths);
	g_free(reading);
}

struct task *digests_start(GPtrArray *paths, int64_t bytes_s,
			   void (*send)(JsonObject *answer, void *data), void *data)
{
	struct reading *reading = g_new0(struct reading, 1);
	reading->paths = g_ptr_array_ref(paths);
	reading->bytes_s = bytes_s;
	return task_new(learn_digests, reading, reading_free, send, data);
}
