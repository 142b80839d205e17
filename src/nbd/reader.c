/* SPDX-License-Identifier: Apache-2.0 */
/* Reads images: raw files, or through an NBD export. */
#include "nbd/reader.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define STATUS_MAX (1ull << 30) /* bytes asked for at once */

struct disk_reader {
	char *disk;
	uint64_t size;
	int fd; /* of a raw image, or -1 */
	pthread_mutex_t lock;
	struct nbd_handle *nbd; /* under the lock */
};

static bool fail_reading(const struct disk_reader *reader, GError **error, const char *told)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the disk %s cannot be read at the destination: %s"), reader->disk,
			 told ? told : "?");
}

static bool open_raw(struct disk_reader *reader, const char *path, GError **error)
{
	reader->fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = reader->fd >= 0 ? lseek(reader->fd, 0, SEEK_END) : -1;
	reader->size = size < 0 ? 0 : (uint64_t) size;
	return size >= 0 || fail_reading(reader, error, g_strerror(errno));
}

bool disk_reader_is_format(const char *word)
{
	enum { FORMAT_MOST = 31 };
	size_t length = word ? strlen(word) : 0;
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(word[i]) && word[i] != '-' && word[i] != '_')
			return false;
	return length > 0 && length <= FORMAT_MOST;
}

static char **const *starters; /* set once */

void disk_reader_start_by(char **const *words)
{
	starters = words;
}

/* libnbd starts it, and it ends with its only connection. It must not mind that the image is in use. */
static int start_server(struct nbd_handle *nbd, const struct disk_reader_config *config,
			char **starter)
{
	g_auto(GStrv) parts = g_strsplit(config->path, ",", -1);
	g_autofree char *path = g_strjoinv(",,", parts);
	g_autofree char *image = g_strdup_printf(
		"driver=%s,force-share=on,file.driver=file,file.filename=%s", config->format, path);
	const char *const own[] = { "qemu-nbd", "--read-only", "--image-opts", image, NULL };
	g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
	if (starter)
		g_strv_builder_addv(builder, (const char **) (uintptr_t) starter);
	g_strv_builder_addv(builder, (const char **) (uintptr_t) own);
	g_auto(GStrv) words = g_strv_builder_end(builder);
	return nbd_connect_systemd_socket_activation(nbd, words);
}

static int connect_server(struct nbd_handle *nbd, const struct disk_reader_config *config,
			  char **starter, GError **error)
{
	if (!config->socket)
		return start_server(nbd, config, starter);
	if (!config->dial)
		return nbd_connect_unix(nbd, config->socket);
	int fd = config->dial(config->socket, config->dial_data, error);
	return fd < 0 ? -1 : nbd_connect_socket(nbd, fd);
}

static bool open_by(struct disk_reader *reader, const struct disk_reader_config *config,
		    char **starter, GError **error)
{
	nbd_close(reader->nbd);
	struct nbd_handle *nbd = reader->nbd = nbd_create();
	if (!nbd || nbd_add_meta_context(nbd, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd_set_export_name(nbd, config->socket ? config->export : "") < 0)
		return fail_reading(reader, error, nbd_get_error());
	GError *refused = NULL;
	if (connect_server(nbd, config, starter, &refused) < 0) {
		if (!refused)
			return fail_reading(reader, error, nbd_get_error());
		g_propagate_error(error, refused);
		return false;
	}
	int64_t size = nbd_get_size(nbd);
	reader->size = size < 0 ? 0 : (uint64_t) size;
	return size >= 0 || fail_reading(reader, error, nbd_get_error());
}

static bool open_export(struct disk_reader *reader, const struct disk_reader_config *config,
			GError **error)
{
	if (config->socket || !starters || !*starters)
		return open_by(reader, config, NULL, error);
	for (char **const *starter = starters; *starter; starter++) {
		g_clear_error(error);
		if (open_by(reader, config, *starter, error))
			return true;
	}
	return false;
}

static bool open_image(struct disk_reader *reader, const struct disk_reader_config *config,
		       GError **error)
{
	bool raw = !config->socket && g_strcmp0(config->format, "raw") == 0;
	if (!config->socket && !disk_reader_is_format(config->format))
		return fail_reading(reader, error, _("its format is not named"));
	return raw ? open_raw(reader, config->path, error) : open_export(reader, config, error);
}

struct disk_reader *disk_reader_open(const struct disk_reader_config *config, GError **error)
{
	struct disk_reader *reader = g_new0(struct disk_reader, 1);
	reader->disk = g_strdup(config->disk);
	reader->fd = -1;
	pthread_mutex_init(&reader->lock, NULL);
	if (open_image(reader, config, error))
		return reader;
	disk_reader_free(reader);
	return NULL;
}

void disk_reader_free(struct disk_reader *reader)
{
	if (!reader)
		return;
	fd_clear(&reader->fd);
	nbd_close(reader->nbd);
	pthread_mutex_destroy(&reader->lock);
	g_free(reader->disk);
	g_free(reader);
}

static bool read_raw(struct disk_reader *reader, const struct disk_piece *piece, GError **error)
{
	uint32_t done = 0;
	while (done < piece->length) {
		ssize_t n = pread(reader->fd, piece->data + done, piece->length - done,
				  (off_t) (piece->offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_reading(reader, error,
					    n ? g_strerror(errno) : _("it is too short"));
		done += (uint32_t) n;
	}
	return true;
}

struct answer {
	unsigned *left;
	int *reason;
};

static int piece_done(void *data, int *reason)
{
	struct answer *answer = data;
	--*answer->left;
	if (*reason)
		*answer->reason = *reason;
	return 1;
}

/* The answers lie on this stack frame: it is not left before all of them are here, or the handle
 * that would give them is closed. */
static bool read_export(struct disk_reader *reader, const struct disk_piece *pieces, unsigned count,
			GError **error)
{
	unsigned left = 0;
	int reason = 0;
	struct answer answer = { &left, &reason };
	bool good = reader->nbd != NULL;
	for (unsigned i = 0; good && i < count; i++) {
		nbd_completion_callback when = { .callback = piece_done, .user_data = &answer };
		left++;
		if (nbd_aio_pread(reader->nbd, pieces[i].data, pieces[i].length, pieces[i].offset,
				  when, 0) < 0) {
			left--;
			good = false;
		}
	}
	while (good && left > 0)
		good = nbd_poll(reader->nbd, -1) >= 0;
	if (good)
		return !reason || fail_reading(reader, error, g_strerror(reason));
	fail_reading(reader, error, reader->nbd ? nbd_get_error() : _("its export is gone"));
	nbd_close(reader->nbd);
	reader->nbd = NULL;
	return false;
}

bool disk_reader_read(struct disk_reader *reader, const struct disk_piece *pieces, unsigned count,
		      GError **error)
{
	bool good = true;
	if (reader->fd >= 0) {
		for (unsigned i = 0; good && i < count; i++)
			good = read_raw(reader, &pieces[i], error);
		return good;
	}
	pthread_mutex_lock(&reader->lock);
	good = read_export(reader, pieces, count, error);
	pthread_mutex_unlock(&reader->lock);
	return good;
}

uint64_t disk_reader_size(const struct disk_reader *reader)
{
	return reader->size;
}

/* ---- holes ---- */

static bool find_raw(struct disk_reader *reader, uint64_t offset, uint64_t *start, uint64_t *end,
		     GError **error)
{
	off_t data = lseek(reader->fd, (off_t) offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		return true; /* holes to the end */
	/* A block device, or a file system that does not know. */
	off_t hole = data < 0 ? -1 : lseek(reader->fd, data, SEEK_HOLE);
	*start = hole < 0 ? offset : (uint64_t) data;
	*end = hole < 0 ? reader->size : (uint64_t) hole;
	return true;
}

struct extents {
	uint64_t at, *start, *end;
	bool found;
};

static int take_extents(void *data, const char *context, uint64_t offset, uint32_t *entries,
			size_t count, int *reason)
{
	struct extents *extents = data;
	if (!g_str_equal(context, LIBNBD_CONTEXT_BASE_ALLOCATION))
		return 0;
	for (size_t i = 0; i + 1 < count; i += 2) {
		bool hole = entries[i + 1] & LIBNBD_STATE_ZERO;
		if (!hole && !extents->found)
			*extents->start = extents->at;
		if (hole && extents->found)
			return 0;
		extents->found |= !hole;
		extents->at += entries[i];
		*extents->end = extents->at;
	}
	return 0;
}

static bool find_export(struct disk_reader *reader, uint64_t offset, uint64_t *start, uint64_t *end,
			GError **error)
{
	struct extents extents = { .at = offset, .start = start, .end = end };
	while (reader->nbd && !extents.found && extents.at < reader->size) {
		nbd_extent_callback take = { .callback = take_extents, .user_data = &extents };
		uint64_t before = extents.at, length = MIN(reader->size - before, STATUS_MAX);
		if (!nbd_can_meta_context(reader->nbd, LIBNBD_CONTEXT_BASE_ALLOCATION)) {
			*start = offset;
			*end = reader->size;
			return true;
		}
		if (nbd_block_status(reader->nbd, length, before, take, 0) < 0)
			return fail_reading(reader, error, nbd_get_error());
		if (extents.at == before)
			break;
	}
	if (!extents.found)
		*start = *end = reader->size;
	*end = MIN(*end, reader->size);
	return true;
}

bool disk_reader_find_data(struct disk_reader *reader, uint64_t offset, uint64_t *start,
			   uint64_t *end, GError **error)
{
	*start = *end = reader->size;
	if (offset >= reader->size)
		return true;
	if (reader->fd >= 0)
		return find_raw(reader, offset, start, end, error);
	pthread_mutex_lock(&reader->lock);
	bool good = find_export(reader, offset, start, end, error);
	pthread_mutex_unlock(&reader->lock);
	return good;
}
