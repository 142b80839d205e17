/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/reader.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <pthread.h>
#include <unistd.h>

struct disk_reader {
	char *disk;
	int fd; /* of a raw image, or -1 */
	pthread_mutex_t lock;
	struct nbd_handle *nbd; /* under the lock */
};

static bool fail(const struct disk_reader *reader, GError **error, const char *told)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the disk %s cannot be read at the destination: %s"), reader->disk,
			 told ? told : "?");
}

static bool open_image(struct disk_reader *reader, const struct disk_reader_config *config,
		       GError **error)
{
	if (config->path) {
		reader->fd = open(config->path, O_RDONLY | O_CLOEXEC);
		return reader->fd >= 0 || fail(reader, error, g_strerror(errno));
	}
	reader->nbd = nbd_create();
	return (reader->nbd && nbd_set_export_name(reader->nbd, config->export) == 0 &&
		nbd_connect_unix(reader->nbd, config->socket) == 0) ||
	       fail(reader, error, nbd_get_error());
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
			return fail(reader, error, n ? g_strerror(errno) : _("it is too short"));
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
		return !reason || fail(reader, error, g_strerror(reason));
	fail(reader, error, reader->nbd ? nbd_get_error() : _("its export is gone"));
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
