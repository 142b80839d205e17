/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of disks against a server that does things late and in any order, against one that
 * fails, and against qemu-nbd. */
#include "nbd/nbd_server.h"
#include "nbd/writer.h"

#include "base/fd.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define SIZE (4 << 20)
#define OPS_MAX 8
#define BYTES_MAX (256 * 1024)

/* A disk whose operations happen when they are answered, some time after they came. */
struct peer {
	struct nbd_export export;
	struct nbd_server server;
	uint8_t bytes[SIZE];
	uint64_t full_at; /* writes at and behind it: no space left */
	char *folder, *path;
	int fd;
	GThread *thread;
	GThreadPool *answers;
	GMutex lock;
	unsigned in_hand, most_in_hand, flushes;
	uint64_t in_hand_bytes, most_in_hand_bytes;
	bool left;
};

static void happen(gpointer data, gpointer user)
{
	struct nbd_request *request = data;
	struct peer *peer = user;
	bool full = request->command == NBD_WRITE && request->offset >= peer->full_at;
	g_usleep((gulong) g_random_int_range(0, 500));
	g_mutex_lock(&peer->lock);
	peer->in_hand--;
	peer->in_hand_bytes -= request->payload ? request->length : 0;
	uint8_t *at = peer->bytes + request->offset;
	if (request->command == NBD_READ)
		memcpy(request->payload, at, request->length);
	else if (request->command == NBD_WRITE && !full)
		memcpy(at, request->payload, request->length);
	else if (request->command == NBD_WRITE_ZEROES)
		memset(at, 0, request->length);
	peer->flushes += request->command == NBD_FLUSH;
	g_mutex_unlock(&peer->lock);
	nbd_done(request, full ? ENOSPC : 0);
}

static void handle(struct nbd_request *request, void *data)
{
	struct peer *peer = data;
	g_mutex_lock(&peer->lock);
	peer->in_hand++;
	peer->in_hand_bytes += request->payload ? request->length : 0;
	peer->most_in_hand = MAX(peer->most_in_hand, peer->in_hand);
	peer->most_in_hand_bytes = MAX(peer->most_in_hand_bytes, peer->in_hand_bytes);
	g_mutex_unlock(&peer->lock);
	g_thread_pool_push(peer->answers, request, NULL);
}

static gpointer serve(gpointer data)
{
	struct peer *peer = data;
	FD_AUTO int fd = accept(peer->fd, NULL, NULL);
	peer->left = fd >= 0 && nbd_serve(fd, &peer->server, NULL);
	return NULL;
}

static struct peer *peer_new(bool read_only)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct peer *peer = g_new0(struct peer, 1);
	peer->server = (struct nbd_server){ .exports = &peer->export,
					    .export_count = 1,
					    .bytes_max = 64 << 20,
					    .requests_max = 1000,
					    .handle = handle,
					    .data = peer };
	peer->export = (struct nbd_export){ "d", SIZE, read_only };
	peer->full_at = UINT64_MAX;
	peer->folder = g_dir_make_tmp("watari-writer-XXXXXX", NULL);
	peer->path = g_build_filename(peer->folder, "s", NULL);
	g_mutex_init(&peer->lock);
	peer->answers = g_thread_pool_new(happen, peer, 16, TRUE, NULL);
	g_strlcpy(name.sun_path, peer->path, sizeof(name.sun_path));
	peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(peer->fd, (struct sockaddr *) &name, sizeof(name)), ==, 0);
	g_assert_cmpint(listen(peer->fd, 1), ==, 0);
	peer->thread = g_thread_new("server", serve, peer);
	return peer;
}

/* Says whether the client took its leave. */
static bool peer_free(struct peer *peer)
{
	shutdown(peer->fd, SHUT_RDWR);
	g_thread_join(peer->thread);
	bool left = peer->left;
	g_thread_pool_free(peer->answers, FALSE, TRUE);
	close(peer->fd);
	g_unlink(peer->path);
	g_rmdir(peer->folder);
	g_free(peer->path);
	g_free(peer->folder);
	g_mutex_clear(&peer->lock);
	g_free(peer);
	return left;
}

static struct disk_writer *open_writer(const char *socket, const char *export, GError **error)
{
	struct disk_writer_config config = { .socket = socket,
					     .export = export,
					     .disk = "vda",
					     .ops_max = OPS_MAX,
					     .bytes_max = BYTES_MAX };
	return disk_writer_open(&config, error);
}

/* One operation at random, on the disk and on MODEL. */
static void do_something(struct disk_writer *writer, uint8_t *model, uint64_t size, GRand *random)
{
	uint64_t length = (uint64_t) g_rand_int_range(random, 1, 40000);
	uint64_t offset = (uint64_t) g_rand_int_range(random, 0, (gint32) (size - length));
	/* Mostly in a small part of the disk, so that operations meet. */
	if (g_rand_int_range(random, 0, 4))
		offset %= 100000;
	int what = g_rand_int_range(random, 0, 20);
	if (what < 14) {
		uint8_t *data = g_malloc(length);
		memset(data, g_rand_int_range(random, 1, 256), length);
		memcpy(model + offset, data, length);
		g_assert_true(disk_writer_write(writer, offset, data, length, NULL));
	} else if (what < 18) {
		memset(model + offset, 0, length);
		g_assert_true(disk_writer_zero(writer, offset, length, what == 15, NULL));
	} else if (what == 18) {
		g_autofree uint8_t *data = g_malloc(length);
		g_assert_true(disk_writer_read(writer, offset, data, length, NULL));
		g_assert_cmpint(memcmp(data, model + offset, length), ==, 0);
	} else {
		g_assert_true(disk_writer_tick(writer, NULL));
	}
}

static void test_order(void)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(3);
	g_autofree uint8_t *model = g_malloc0(SIZE);
	struct peer *peer = peer_new(false);
	struct disk_writer *writer = open_writer(peer->path, "d", NULL);
	g_assert_cmpuint(disk_writer_size(writer), ==, SIZE);
	for (unsigned i = 0; i < 4000; i++)
		do_something(writer, model, SIZE, random);
	g_assert_true(disk_writer_close(writer, NULL));
	g_assert_cmpint(memcmp(peer->bytes, model, SIZE), ==, 0);
	g_assert_cmpuint(peer->most_in_hand, >, 2); /* it was not one after the other */
	g_assert_cmpuint(peer->most_in_hand, <=, OPS_MAX);
	g_assert_cmpuint(peer->most_in_hand_bytes, <=, BYTES_MAX);
	disk_writer_free(writer);
	g_assert_true(peer_free(peer));
}

/* A failure that comes late fails what follows, the flush above all, and says which disk. */
static void test_late_failure(void)
{
	for (unsigned with_tick = 0; with_tick < 2; with_tick++) {
		g_autoptr(GError) error = NULL;
		struct peer *peer = peer_new(false);
		peer->full_at = 1 << 20;
		struct disk_writer *writer = open_writer(peer->path, "d", NULL);
		g_assert_true(disk_writer_write(writer, 0, g_malloc0(4096), 4096, NULL));
		g_assert_true(disk_writer_flush(writer, NULL));
		g_assert_true(disk_writer_write(writer, 1 << 20, g_malloc0(4096), 4096, NULL));
		for (unsigned i = 0; with_tick && i < 1000 && !error; i++, g_usleep(2000))
			disk_writer_tick(writer, &error);
		if (!with_tick)
			g_assert_false(disk_writer_flush(writer, &error));
		g_assert_nonnull(strstr(error->message, "disk vda at the destination"));
		g_assert_nonnull(strstr(error->message, g_strerror(ENOSPC)));
		g_assert_false(disk_writer_write(writer, 0, g_malloc0(4096), 4096, NULL));
		g_assert_false(disk_writer_zero(writer, 0, 4096, false, NULL));
		g_assert_false(disk_writer_flush(writer, NULL));
		g_assert_false(disk_writer_close(writer, NULL));
		disk_writer_free(writer);
		g_assert_false(peer_free(peer));
	}
}

static void test_refusals(void)
{
	g_autoptr(GError) error = NULL;
	struct peer *peer = peer_new(true);
	g_assert_null(open_writer(peer->path, "d", &error));
	g_assert_nonnull(strstr(error->message, "cannot be written"));
	g_clear_error(&error);
	g_assert_null(open_writer("/nowhere/at/all", "d", &error));
	g_assert_nonnull(strstr(error->message, "vda"));
	g_clear_error(&error);
	peer_free(peer);

	peer = peer_new(false);
	struct disk_writer *writer = open_writer(peer->path, "d", NULL);
	g_assert_false(disk_writer_write(writer, SIZE - 1, g_malloc0(2), 2, &error));
	g_assert_nonnull(strstr(error->message, "beyond its end"));
	g_assert_false(disk_writer_zero(writer, UINT64_MAX, 2, false, NULL));
	g_assert_true(disk_writer_close(writer, NULL)); /* no harm was done by it */
	disk_writer_free(writer);
	g_assert_true(peer_free(peer));
}

/* The server goes away with operations under way. */
static void test_server_gone(void)
{
	g_autoptr(GError) error = NULL;
	struct peer *peer = peer_new(false);
	struct disk_writer *writer = open_writer(peer->path, "d", NULL);
	for (unsigned i = 0; i < OPS_MAX / 2; i++)
		g_assert_true(disk_writer_write(writer, i * 4096, g_malloc0(4096), 4096, NULL));
	peer->full_at = 0; /* what the server refuses from now on ... */
	for (unsigned i = 0; i < 100 && !error; i++)
		disk_writer_write(writer, i * 4096, g_malloc0(4096), 4096, &error);
	g_assert_nonnull(error); /* ... ends in an error, not in waiting */
	disk_writer_free(writer);
	peer_free(peer);
}

/* The background flush comes by itself, and not more than once a second. */
static void test_background_flush(void)
{
	struct peer *peer = peer_new(false);
	struct disk_writer *writer = open_writer(peer->path, "d", NULL);
	gint64 until = g_get_monotonic_time() + DISK_WRITER_FLUSH_US * 5 / 2;
	while (g_get_monotonic_time() < until) {
		g_assert_true(disk_writer_write(writer, 0, g_malloc0(512), 512, NULL));
		g_assert_true(disk_writer_tick(writer, NULL));
		g_usleep(5000);
	}
	g_mutex_lock(&peer->lock);
	unsigned flushes = peer->flushes;
	g_mutex_unlock(&peer->lock);
	g_assert_cmpuint(flushes, >=, 1);
	g_assert_cmpuint(flushes, <=, 2);
	g_assert_true(disk_writer_close(writer, NULL));
	disk_writer_free(writer);
	g_assert_true(peer_free(peer));
}

static bool run(const char *const *argv)
{
	int status = -1;
	g_assert_true(g_spawn_sync(NULL, (char **) (uintptr_t) argv, NULL,
				   G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL,
				   NULL, NULL, &status, NULL));
	return status == 0;
}

/* A real image format behind a real server. */
static void test_qemu_nbd(void)
{
	g_autofree char *program = g_find_program_in_path("qemu-nbd");
	g_autofree char *folder = g_dir_make_tmp("watari-writer-XXXXXX", NULL);
	g_autofree char *image = g_build_filename(folder, "image", NULL);
	g_autofree char *plain = g_build_filename(folder, "plain", NULL);
	g_autofree char *socket = g_build_filename(folder, "s", NULL);
	g_autofree uint8_t *model = g_malloc0(SIZE);
	g_autoptr(GRand) random = g_rand_new_with_seed(4);
	GPid server;
	if (!program) {
		g_test_skip("no qemu-nbd here");
		return;
	}
	g_assert_true(run(
		(const char *[]){ "qemu-img", "create", "-q", "-f", "qcow2", image, "4M", NULL }));
	const char *argv[] = { "qemu-nbd", "-f", "qcow2", "-x", "d", "-k", socket, image, NULL };
	g_assert_true(g_spawn_async(NULL, (char **) (uintptr_t) argv, NULL,
				    G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
					    G_SPAWN_STDOUT_TO_DEV_NULL,
				    NULL, NULL, &server, NULL));
	/* Its socket is there a moment before it listens. */
	struct disk_writer *writer = NULL;
	for (unsigned i = 0; i < 5000 && !writer; i++, g_usleep(2000))
		writer = open_writer(socket, "d", NULL);
	if (!writer)
		kill(server, SIGKILL);
	g_assert_nonnull(writer);
	for (unsigned i = 0; i < 500; i++)
		do_something(writer, model, SIZE, random);
	g_assert_true(disk_writer_close(writer, NULL));
	disk_writer_free(writer);
	kill(server, SIGTERM); /* it may have ended by itself, with its only client */
	int status;
	while (waitpid(server, &status, 0) < 0 && errno == EINTR)
		continue;
	g_assert_true(g_file_set_contents(plain, (char *) model, SIZE, NULL));
	g_assert_true(run((const char *[]){ "qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2",
					    plain, image, NULL }));
	g_unlink(plain);
	g_unlink(image);
	g_unlink(socket);
	g_rmdir(folder);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/disk-writer/order", test_order);
	g_test_add_func("/disk-writer/late-failure", test_late_failure);
	g_test_add_func("/disk-writer/refusals", test_refusals);
	g_test_add_func("/disk-writer/server-gone", test_server_gone);
	g_test_add_func("/disk-writer/background-flush", test_background_flush);
	g_test_add_func("/disk-writer/qemu-nbd", test_qemu_nbd);
	return g_test_run();
}
