/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and tags blocks of a file or block device. See fingerprint.h. */
#include "mover/compare/fingerprint.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/hex.h"
#include "base/i18n.h"
#include "mover/compare/piece.h"
#include "control/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PIECE = PIECE_BYTES, /* read at once */
	PIECE_BLOCKS = PIECE / FINGERPRINT_BLOCK,
	WHOLE_MS = 2000,
	WHOLE_TRIAL = 64 << 20, /* bytes after which it is known how long all of it takes */
	SAMPLE_MS = 1000,
	PLACES = 1024,  /* between the first and the last MiB */
	EXTENTS = 4096, /* of data that are told apart */
};
_Static_assert(2 * PIECE_BLOCKS + PLACES <= FINGERPRINT_MOST, "a sample fits into a fingerprint");

enum what { WHOLE, PICK, READ };
static const char *const what_names[] = { "whole", "pick", "read" };

/* ---- the request ---- */

static bool is_bad(GError **error, const char *field)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("fingerprint: bad or missing “%s”"),
			 field);
}

static bool parse_request(struct fingerprint_request *request, JsonObject *message, GError **error)
{
	const char *path = json_get_string(message, "path", "");
	const char *what = json_get_string(message, "what", "");
	if (*path != '/' || strlen(path) >= PATH_MAX)
		return is_bad(error, "path");
	request->path = g_strdup(path);
	if (!hex_parse(json_get_string(message, "key", NULL), request->key, TAG_KEY_BYTES))
		return is_bad(error, "key");
	while (request->what < (int) G_N_ELEMENTS(what_names) &&
	       !g_str_equal(what_names[request->what], what))
		request->what++;
	if (request->what == (int) G_N_ELEMENTS(what_names))
		return is_bad(error, "what");
	return request->what != READ || fingerprint_parse_blocks(&request->asked, message, error);
}

struct fingerprint_request *fingerprint_request_parse(JsonObject *message, GError **error)
{
	struct fingerprint_request *request = g_new0(struct fingerprint_request, 1);
	if (parse_request(request, message, error))
		return request;
	fingerprint_request_free(request);
	return NULL;
}

void fingerprint_request_free(void *data)
{
	struct fingerprint_request *request = data;
	if (!request)
		return;
	explicit_bzero(request->key, sizeof(request->key));
	g_free(request->path);
	g_free(request);
}

/* ---- reading ---- */

struct content {
	int fd;
	bool direct;         /* past the page cache */
	uint64_t size, held; /* bytes; and of them those that take room */
	uint8_t *buffer;     /* PIECE bytes, aligned */
	struct tag_context *tags;
	struct fingerprint *print;
};

/* Nothing else is opened: a pipe would wait, and a tape would wind. */
static bool open_content(struct content *content, const char *path)
{
	struct stat facts;
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	if (stat(path, &facts) != 0)
		return false;
	errno = EINVAL;
	if (!S_ISREG(facts.st_mode) && !S_ISBLK(facts.st_mode))
		return false;
	content->fd = open(path, flags | O_DIRECT);
	content->direct = content->fd >= 0;
	if (!content->direct)
		content->fd = open(path, flags);
	if (content->fd < 0)
		return false;
	if (!S_ISBLK(facts.st_mode)) {
		content->size = (uint64_t) facts.st_size;
		content->held = (uint64_t) facts.st_blocks * 512;
		return true;
	}
	bool good = ioctl(content->fd, BLKGETSIZE64, &content->size) == 0;
	content->held = content->size;
	return good;
}

/* What is in the page cache may be older than the disk; dropping it is asked for, not promised. */
static void read_through_cache(struct content *content)
{
	int flags = fcntl(content->fd, F_GETFL);
	content->direct = false;
	if (flags >= 0)
		fcntl(content->fd, F_SETFL, flags & ~O_DIRECT);
	posix_fadvise(content->fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* The bytes that are there of the LENGTH ones from OFFSET on, or -1. */
static ssize_t read_piece(struct content *content, uint64_t offset, size_t length)
{
	size_t done = 0;
	while (done < length) {
		ssize_t n = pread(content->fd, content->buffer + done, length - done,
				  (off_t) (offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && content->direct) {
			read_through_cache(content);
			continue;
		}
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t) n;
		/* the end of a file; reading on from there would not be aligned */
		if (content->direct && done % FINGERPRINT_BLOCK)
			break;
	}
	return (ssize_t) done;
}

static void tag_block(struct content *content, unsigned index, const uint8_t *data, size_t length)
{
	uint8_t tag[TAG_BYTES];
	uint64_t number;
	if (!length)
		return;
	tag_compute(content->tags, data, length, tag);
	memcpy(&number, tag, sizeof(number));
	content->print->tags[index] = MAX(GUINT64_FROM_LE(number), 1);
	content->print->filled += piece_is_filled(data, length);
}

/* ---- all of it ---- */

static void add_piece(struct content *content, uint64_t at, size_t length)
{
	struct {
		uint64_t at;
		uint8_t tag[TAG_BYTES];
	} piece = { .at = GUINT64_TO_LE(at) };
	uint8_t tag[TAG_BYTES];
	if (!piece_is_filled(content->buffer, length))
		return;
	tag_compute(content->tags, content->buffer, length, piece.tag);
	tag_compute(content->tags, &piece, sizeof(piece), tag);
	tag_fold(content->tags, content->print->digest, tag);
}

/* Is there no hope to read all HELD bytes in time? */
static bool is_too_slow(uint64_t done, uint64_t held, int64_t elapsed_ms)
{
	double share = (double) done / (double) MAX(held, 1);
	return elapsed_ms > 2 * WHOLE_MS ||
	       (done >= WHOLE_TRIAL && (double) elapsed_ms > WHOLE_MS * share);
}

static bool digest_whole(struct content *content)
{
	int64_t began_ms = clock_now_ms();
	uint64_t done = 0, at = piece_find(content->fd, 0, content->size);
	while (at < content->size) {
		ssize_t n = read_piece(content, at, PIECE);
		if (n < 0)
			return false;
		add_piece(content, at, (size_t) n);
		done += (uint64_t) n;
		if (is_too_slow(done, content->held, clock_now_ms() - began_ms))
			return true;
		at = piece_find(content->fd, at + PIECE, content->size);
	}
	content->print->whole = true;
	return true;
}

/* ---- some blocks ---- */

/* How many of the blocks from INDEX on lie one behind the other. */
static unsigned count_run(const struct fingerprint *print, unsigned index)
{
	unsigned count = 1;
	while (count < PIECE_BLOCKS && index + count < print->count &&
	       print->blocks[index + count] == print->blocks[index] + count)
		count++;
	return count;
}

/* *done: so many were read. */
static bool read_blocks(struct content *content, unsigned *done)
{
	struct fingerprint *print = content->print;
	int64_t until_ms = clock_now_ms() + SAMPLE_MS;
	while (*done < print->count && (*done == 0 || clock_now_ms() < until_ms)) {
		unsigned run = count_run(print, *done);
		uint64_t offset = print->blocks[*done] * FINGERPRINT_BLOCK;
		ssize_t n = offset < content->size
				    ? read_piece(content, offset, (size_t) run * FINGERPRINT_BLOCK)
				    : 0;
		if (n < 0)
			return false;
		for (unsigned i = 0; i < run; i++) {
			size_t from = MIN((size_t) i * FINGERPRINT_BLOCK, (size_t) n);
			tag_block(content, *done + i, content->buffer + from,
				  MIN((size_t) n - from, FINGERPRINT_BLOCK));
		}
		*done += run;
	}
	return true;
}

struct extent {
	uint64_t start, length;
};

/* Where the file holds something; what is behind EXTENTS of them counts as one. */
static unsigned find_extents(const struct content *content, struct extent *extents)
{
	unsigned count = 0;
	uint64_t at = 0;
	while (at < content->size && count < EXTENTS) {
		off_t data = lseek(content->fd, (off_t) at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		off_t hole = data < 0 ? -1 : lseek(content->fd, data, SEEK_HOLE);
		if (data < 0 || hole <= data || count == EXTENTS - 1) {
			data = MAX(data, (off_t) at);
			hole = (off_t) content->size;
		}
		extents[count++] = (struct extent){ (uint64_t) data, (uint64_t) (hole - data) };
		at = (uint64_t) hole;
	}
	return count;
}

/* A number that the key decides, below MOST. */
static uint64_t choose_place(struct tag_context *places, uint64_t index, uint64_t most)
{
	uint8_t tag[TAG_BYTES];
	uint64_t number;
	tag_compute(places, &index, sizeof(index), tag);
	memcpy(&number, tag, sizeof(number));
	return number % most;
}

static uint64_t find_place_in_data(const struct extent *extents, unsigned count, uint64_t at)
{
	unsigned i = 0;
	while (i + 1 < count && at >= extents[i].length)
		at -= extents[i++].length;
	return extents[i].start + at;
}

static void add_range(struct fingerprint *print, uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		print->blocks[print->count++] = from;
}

/* Three of four lie where there is data: the holes of a sparse image look alike everywhere. */
static void pick_between(struct content *content, struct tag_context *places)
{
	struct fingerprint *print = content->print;
	g_autofree struct extent *extents = g_new(struct extent, EXTENTS);
	unsigned count = find_extents(content, extents);
	uint64_t held = 0;
	for (unsigned i = 0; i < count; i++)
		held += extents[i].length;
	for (unsigned i = 0; i < PLACES; i++) {
		bool anywhere = i % 4 == 0 || !held;
		uint64_t at = anywhere ? choose_place(places, i, content->size)
				       : find_place_in_data(extents, count,
							    choose_place(places, i, held));
		print->blocks[print->count++] = at / FINGERPRINT_BLOCK;
	}
}

static bool pick_blocks(struct content *content, const uint8_t *key)
{
	struct fingerprint *print = content->print;
	uint64_t all = (content->size + FINGERPRINT_BLOCK - 1) / FINGERPRINT_BLOCK;
	struct tag_context *places = tag_context_new(key, "fingerprint places");
	bool few = all <= 2 * PIECE_BLOCKS;
	if (!places)
		return false;
	add_range(print, 0, few ? all : PIECE_BLOCKS);
	if (!few) {
		add_range(print, all - PIECE_BLOCKS, all);
		pick_between(content, places);
	}
	tag_context_free(places);
	return true;
}

static bool sample_blocks(struct content *content, const struct fingerprint_request *request)
{
	struct fingerprint *print = content->print;
	unsigned done = 0;
	bool picks = request->what == PICK;
	if (picks && !pick_blocks(content, request->key))
		return false;
	if (!picks) {
		print->count = request->asked.count;
		memcpy(print->blocks, request->asked.blocks, print->count * sizeof(uint64_t));
	}
	if (!read_blocks(content, &done))
		return false;
	if (picks) /* the other host need not read what this one could not in time */
		print->count = done;
	return true;
}

/* ---- the task ---- */

static bool take_content(struct content *content, const struct fingerprint_request *request)
{
	if (!open_content(content, request->path))
		return false;
	if (!content->direct)
		read_through_cache(content);
	content->print->size = content->size;
	content->tags = tag_context_new(request->key, "fingerprint");
	content->buffer = aligned_alloc(FINGERPRINT_BLOCK, PIECE);
	errno = ENOMEM;
	if (!content->tags || !content->buffer)
		return false;
	if (request->what != WHOLE)
		return sample_blocks(content, request);
	struct fingerprint *print = content->print;
	if (!request->slow && !digest_whole(content))
		return false;
	print->kept = !print->whole && digests_recall(request->path, print->kept_digest);
	return true;
}

JsonObject *fingerprint_take(const struct fingerprint_request *request)
{
	JsonObject *answer = json_object_new();
	g_autofree struct fingerprint *print = g_new0(struct fingerprint, 1);
	struct content content = { .fd = -1, .print = print };
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_FINGERPRINT);
	if (take_content(&content, request)) {
		fingerprint_describe(print, answer);
	} else {
		json_object_set_boolean_member(answer, "missing", errno == ENOENT);
		json_object_set_string_member(answer, "reason",
					      errno == EINVAL ? _("it is no file or block device")
							      : g_strerror(errno));
	}
	fd_clear(&content.fd);
	free(content.buffer);
	tag_context_free(content.tags);
	return answer;
}

static JsonObject *do_take(struct task *task, void *data)
{
	return fingerprint_take(data);
}

struct task *fingerprint_start(JsonObject *message, bool slow,
			       void (*send)(JsonObject *answer, void *data), void *data,
			       GError **error)
{
	struct fingerprint_request *request = fingerprint_request_parse(message, error);
	if (request)
		request->slow = slow;
	return request ? task_new(do_take, request, fingerprint_request_free, send, data) : NULL;
}
