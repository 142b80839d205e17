/* SPDX-License-Identifier: Apache-2.0 */
/* The NBD server with a disk in memory: real clients (qemu-img), and ones that behave badly. */
#include "base/fd.h"
#include "nbd/nbd_server.h"

#include <endian.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NAME "disk0"

struct disk {
	struct nbd_export export;
	struct nbd_server server;
	uint8_t *bytes;
	bool hold;            /* answer nothing yet */
	bool late;            /* answer from another thread, in another order */
	GThreadPool *answers; /* of `late` */
	GMutex lock;
	GPtrArray *held;
	unsigned reads, writes, zeroes, flushes;
	uint64_t written, in_hand, most_in_hand;
};

static void obey(struct disk *disk, struct nbd_request *request)
{
	uint8_t *at = disk->bytes + request->offset;
	if (request->command == NBD_READ)
		memcpy(request->payload, at, request->length);
	else if (request->command == NBD_WRITE)
		memcpy(at, request->payload, request->length);
	else if (request->command == NBD_WRITE_ZEROES)
		memset(at, 0, request->length);
}

static void finish(struct disk *disk, struct nbd_request *request)
{
	g_mutex_lock(&disk->lock);
	disk->in_hand -= request->payload ? request->length : 0;
	g_mutex_unlock(&disk->lock);
	nbd_done(request, 0);
}

static void answer_late(gpointer request, gpointer disk)
{
	g_usleep((gulong) g_random_int_range(0, 3000));
	finish(disk, request);
}

static void handle(struct nbd_request *request, void *data)
{
	struct disk *disk = data;
	g_mutex_lock(&disk->lock);
	disk->reads += request->command == NBD_READ;
	disk->writes += request->command == NBD_WRITE;
	disk->zeroes += request->command == NBD_WRITE_ZEROES;
	disk->flushes += request->command == NBD_FLUSH;
	disk->written += request->command == NBD_WRITE ? request->length : 0;
	disk->in_hand += request->payload ? request->length : 0;
	disk->most_in_hand = MAX(disk->most_in_hand, disk->in_hand);
	bool hold = disk->hold;
	if (hold)
		g_ptr_array_add(disk->held, request);
	g_mutex_unlock(&disk->lock);
	if (hold)
		return;
	obey(disk, request); /* in order: the client waits for what it depends on */
	if (disk->late)
		g_thread_pool_push(disk->answers, request, NULL);
	else
		finish(disk, request);
}

static void release(struct disk *disk)
{
	g_mutex_lock(&disk->lock);
	disk->hold = false;
	g_autoptr(GPtrArray) held = g_steal_pointer(&disk->held);
	disk->held = g_ptr_array_new();
	g_mutex_unlock(&disk->lock);
	for (guint i = held->len; i > 0; i--) {
		obey(disk, held->pdata[i - 1]);
		finish(disk, held->pdata[i - 1]);
	}
}

static void disk_init(struct disk *disk, uint64_t size)
{
	*disk = (struct disk){ .export = { NAME, size, false },
			       .server = { .exports = &disk->export,
					   .export_count = 1,
					   .bytes_max = 4 << 20,
					   .requests_max = 32,
					   .handle = handle,
					   .data = disk },
			       .bytes = g_malloc(size),
			       .held = g_ptr_array_new() };
	memset(disk->bytes, 0xaa, size);
	g_mutex_init(&disk->lock);
	disk->answers = g_thread_pool_new(answer_late, disk, 4, TRUE, NULL);
}

static void disk_clear(struct disk *disk)
{
	g_thread_pool_free(disk->answers, FALSE, TRUE);
	g_ptr_array_unref(disk->held);
	g_mutex_clear(&disk->lock);
	g_free(disk->bytes);
}

/* ---- real clients ---- */

struct listener {
	struct disk *disk;
	char *folder, *path, *uri;
	int fd;
	GThread *thread;
	unsigned orderly, broken;
};

static gpointer serve_clients(gpointer data)
{
	struct listener *listener = data;
	for (int fd; (fd = accept(listener->fd, NULL, NULL)) >= 0; close(fd)) {
		bool good = nbd_serve(fd, &listener->disk->server, NULL);
		listener->orderly += good;
		listener->broken += !good;
	}
	return NULL;
}

static void listener_start(struct listener *listener, struct disk *disk)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	*listener = (struct listener){ .disk = disk,
				       .folder = g_dir_make_tmp("watari-nbd-XXXXXX", NULL) };
	listener->path = g_build_filename(listener->folder, "s", NULL);
	listener->uri = g_strdup_printf("nbd+unix:///" NAME "?socket=%s", listener->path);
	g_strlcpy(name.sun_path, listener->path, sizeof(name.sun_path));
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(listener->fd, (struct sockaddr *) &name, sizeof(name)), ==, 0);
	g_assert_cmpint(listen(listener->fd, 4), ==, 0);
	listener->thread = g_thread_new("nbd", serve_clients, listener);
}

static void listener_stop(struct listener *listener)
{
	shutdown(listener->fd, SHUT_RDWR);
	g_thread_join(listener->thread);
	close(listener->fd);
	g_unlink(listener->path);
	g_rmdir(listener->folder);
	g_free(listener->folder);
	g_free(listener->path);
	g_free(listener->uri);
}

static int run(const char *const *argv)
{
	int status = -1;
	g_autofree char *error = NULL;
	g_autofree char *output = NULL;
	g_assert_true(g_spawn_sync(NULL, (char **) (uintptr_t) argv, NULL, G_SPAWN_SEARCH_PATH,
				   NULL, NULL, &output, &error, &status, NULL));
	if (status != 0)
		g_test_message("%s %s: %s%s", argv[0], argv[1], output, error);
	return status;
}

/* Data, holes, data that is zero, an odd end. */
static void fill_source(uint8_t *bytes, size_t size)
{
	g_autoptr(GRand) random = g_rand_new_with_seed(1);
	memset(bytes, 0, size);
	for (size_t at = 0; at + 4 <= size; at += 4)
		if (at / (3 << 20) % 2 == 0)
			memcpy(bytes + at, (guint32[]){ g_rand_int(random) }, 4);
}

static void test_qemu_img(gconstpointer late)
{
	g_autofree char *program = g_find_program_in_path("qemu-img");
	if (!program) {
		g_test_skip("no qemu-img here");
		return;
	}
	struct disk disk;
	struct listener listener;
	const size_t size = (20 << 20) + 512;
	g_autofree uint8_t *source = g_malloc(size);
	disk_init(&disk, size);
	disk.late = GPOINTER_TO_INT(late);
	listener_start(&listener, &disk);
	g_autofree char *file = g_build_filename(listener.folder, "source", NULL);
	fill_source(source, size);
	g_assert_true(g_file_set_contents(file, (char *) source, (gssize) size, NULL));
	g_assert_cmpint(run((const char *[]){ "qemu-img", "convert", "-n", "-W", "-m", "16", "-f",
					      "raw", "-O", "raw", file, listener.uri, NULL }),
			==, 0);
	g_assert_cmpint(memcmp(disk.bytes, source, size), ==, 0);
	g_assert_cmpuint(disk.zeroes, >, 0);
	g_assert_cmpuint(disk.flushes, >, 0);
	g_assert_cmpuint(disk.written, <, size * 2 / 3); /* holes stayed holes */
	g_assert_cmpuint(disk.most_in_hand, <=, disk.server.bytes_max);
	g_assert_cmpint(run((const char *[]){ "qemu-img", "compare", "-f", "raw", "-F", "raw", file,
					      listener.uri, NULL }),
			==, 0);
	g_assert_cmpuint(disk.reads, >, 0);
	disk.bytes[size / 2] ^= 1;
	g_assert_cmpint(run((const char *[]){ "qemu-img", "compare", "-f", "raw", "-F", "raw", file,
					      listener.uri, NULL }),
			!=, 0);
	/* It may not write to one that is read-only. */
	disk.export.read_only = true;
	g_assert_cmpint(run((const char *[]){ "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw",
					      file, listener.uri, NULL }),
			!=, 0);
	g_unlink(file);
	listener_stop(&listener);
	g_assert_cmpuint(listener.broken, ==, 0);
	g_assert_cmpuint(listener.orderly, >=, 3);
	disk_clear(&disk);
}

/* ---- a client of our own ---- */

struct client {
	struct disk disk;
	int fd, server_fd;
	GThread *thread;
	bool left;
	GError *error;
};

static gpointer serve(gpointer data)
{
	struct client *client = data;
	client->left = nbd_serve(client->server_fd, &client->disk.server, &client->error);
	shutdown(client->server_fd, SHUT_RDWR);
	return NULL;
}

static void client_start(struct client *client)
{
	int pair[2];
	uint8_t hello[NBD_HELLO_BYTES];
	disk_init(&client->disk, 8 << 20);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	client->fd = pair[0];
	client->server_fd = pair[1];
	client->error = NULL;
	client->thread = g_thread_new("nbd", serve, client);
	g_assert_true(fd_read_all(client->fd, hello, sizeof(hello)));
	g_assert_cmpint(memcmp(hello, "NBDMAGICIHAVEOPT\0\3", sizeof(hello)), ==, 0);
}

/* Ends it and says whether the server thinks that all was well. */
static bool client_end(struct client *client)
{
	close(client->fd);
	g_thread_join(client->thread);
	close(client->server_fd);
	g_assert_true(client->left == !client->error);
	if (client->error)
		g_test_message("%s", client->error->message);
	g_clear_error(&client->error);
	disk_clear(&client->disk);
	return client->left;
}

static void send_bytes(struct client *client, const void *data, size_t length)
{
	g_assert_true(fd_write_all(client->fd, data, length));
}

static void send_flags(struct client *client, uint32_t flags)
{
	flags = htobe32(flags);
	send_bytes(client, &flags, 4);
}

static void send_option(struct client *client, uint32_t code, const void *data, uint32_t length)
{
	uint32_t numbers[] = { htobe32(code), htobe32(length) };
	send_bytes(client, "IHAVEOPT", 8);
	send_bytes(client, numbers, sizeof(numbers));
	if (data)
		send_bytes(client, data, length);
}

/* The next answer's type; its data is thrown away. */
static uint32_t read_answer(struct client *client)
{
	uint32_t head[5];
	uint8_t data[4096];
	g_assert_true(fd_read_all(client->fd, head, sizeof(head)));
	g_assert_cmpuint(be32toh(head[4]), <=, sizeof(data));
	g_assert_true(fd_read_all(client->fd, data, be32toh(head[4])));
	return be32toh(head[3]);
}

static void send_go(struct client *client, const char *name)
{
	uint8_t data[64] = { 0 };
	uint32_t length = (uint32_t) strlen(name);
	data[3] = (uint8_t) length;
	memcpy(data + 4, name, length);
	send_option(client, NBD_OPTION_GO, data, 6 + length);
}

static void go(struct client *client)
{
	send_flags(client, 3);
	send_go(client, NAME);
	g_assert_cmpuint(read_answer(client), ==, NBD_ANSWER_INFO);
	g_assert_cmpuint(read_answer(client), ==, NBD_ANSWER_INFO);
	g_assert_cmpuint(read_answer(client), ==, NBD_ANSWER_ACK);
}

static void send_request(struct client *client, uint16_t command, uint16_t flags, uint64_t offset,
			 uint32_t length)
{
	static const uint8_t payload[4 << 20];
	uint8_t head[NBD_REQUEST_BYTES] = {
		0x25, 0x60, 0x95, 0x13, 0, (uint8_t) flags, 0, (uint8_t) command
	};
	memcpy(head + 8, "a cookie", 8);
	memcpy(head + 16, (uint64_t[]){ htobe64(offset) }, 8);
	memcpy(head + 24, (uint32_t[]){ htobe32(length) }, 4);
	send_bytes(client, head, sizeof(head));
	if (command == NBD_WRITE && length <= sizeof(payload))
		send_bytes(client, payload, length);
}

static uint32_t read_reply(struct client *client, uint32_t length)
{
	uint8_t head[NBD_REPLY_BYTES];
	g_autofree uint8_t *data = g_malloc(length + 1);
	uint32_t reason;
	g_assert_true(fd_read_all(client->fd, head, sizeof(head)));
	g_assert_cmpint(memcmp(head, "\x67\x44\x66\x98", 4), ==, 0);
	g_assert_cmpint(memcmp(head + 8, "a cookie", 8), ==, 0);
	memcpy(&reason, head + 4, 4);
	if (!reason)
		g_assert_true(fd_read_all(client->fd, data, length));
	return be32toh(reason);
}

static void test_handshake(void)
{
	struct client client;
	client_start(&client);
	send_flags(&client, 3);
	send_option(&client, 8, NULL, 0); /* structured replies */
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_UNSUPPORTED);
	send_option(&client, 4711, "odd", 3);
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_UNSUPPORTED);
	send_go(&client, "disk1");
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_UNKNOWN);
	send_option(&client, NBD_OPTION_GO, "\0\0\0\5disk0\0\1", 11); /* the wish is missing */
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_INVALID);
	send_option(&client, NBD_OPTION_INFO, "\377\377\377\377xx", 6);
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_INVALID);
	send_option(&client, NBD_OPTION_LIST, NULL, 0);
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_SERVER);
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_ACK);
	send_option(&client, NBD_OPTION_ABORT, NULL, 0);
	g_assert_cmpuint(read_answer(&client), ==, NBD_ANSWER_ACK);
	g_assert_true(client_end(&client));
}

/* The old way, with and without its zeroes. */
static void test_export_name(void)
{
	for (uint32_t flags = 1; flags <= 3; flags += 2) {
		struct client client;
		uint8_t reply[NBD_EXPORT_BYTES];
		client_start(&client);
		send_flags(&client, flags);
		send_option(&client, NBD_OPTION_EXPORT_NAME, NAME, strlen(NAME));
		g_assert_true(fd_read_all(client.fd, reply, flags == 3 ? 10 : sizeof(reply)));
		g_assert_cmpint(memcmp(reply, "\0\0\0\0\0\x80\0\0", 8), ==, 0);
		send_request(&client, NBD_READ, 0, 0, 512);
		g_assert_cmpuint(read_reply(&client, 512), ==, 0);
		send_request(&client, NBD_DISCONNECT, 0, 0, 0);
		g_assert_true(client_end(&client));
	}
}

static void test_requests(void)
{
	const uint64_t size = 8 << 20;
	const struct {
		uint16_t command, flags;
		uint64_t offset;
		uint32_t length, reason;
	} rows[] = {
		{ NBD_WRITE, 1, size - 512, 512, 0 },
		{ NBD_WRITE, 0, size - 511, 512, ENOSPC },
		{ NBD_WRITE, 0, UINT64_MAX, 512, ENOSPC },
		{ NBD_WRITE, 0, 0, 0, EINVAL },
		{ NBD_WRITE, 4, 0, 512, EINVAL },
		{ NBD_READ, 0, size, 1, EINVAL },
		{ NBD_READ, 0, 1, 4095, 0 },
		{ NBD_READ, 0, 0, UINT32_MAX, EINVAL },
		{ NBD_WRITE_ZEROES, 3, 0, 8 << 20, 0 },
		{ NBD_WRITE_ZEROES, 0, 1, 8 << 20, ENOSPC },
		{ NBD_TRIM, 0, 0, 8 << 20, 0 },
		{ NBD_FLUSH, 0, 77, 99, 0 },
		{ 5, 0, 0, 512, EINVAL },
		{ 7, 0, 0, 512, EINVAL },
		{ 60000, 0, 0, 0, EINVAL },
	};
	struct client client;
	client_start(&client);
	go(&client);
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		send_request(&client, rows[i].command, rows[i].flags, rows[i].offset,
			     rows[i].length);
		uint32_t data = rows[i].command == NBD_READ ? rows[i].length : 0;
		g_assert_cmpuint(read_reply(&client, rows[i].reason ? 0 : data), ==,
				 rows[i].reason);
	}
	send_request(&client, NBD_DISCONNECT, 0, 0, 0);
	g_assert_true(client_end(&client));
}

/* What ends the connection, with a reason. */
static void test_broken_protocol(void)
{
	for (unsigned i = 0; i < 6; i++) {
		struct client client;
		client_start(&client);
		if (i >= 3)
			go(&client);
		switch (i) {
		case 0:
			send_flags(&client, 2); /* not fixed newstyle */
			break;
		case 1:
			send_flags(&client, 1);
			send_option(&client, 42, NULL, NBD_OPTION_DATA_MAX + 1);
			break;
		case 2:
			send_flags(&client, 1);
			send_option(&client, NBD_OPTION_EXPORT_NAME, "other", 5);
			break;
		case 3:
			send_request(&client, NBD_WRITE, 0, 0, NBD_BLOCK_MAX + 1);
			break;
		case 4:
			send_bytes(&client, "twenty-eight bytes of poetry", 28);
			break;
		default:
			send_bytes(&client, "\x25\x60\x95\x13", 4); /* and vanishes */
		}
		g_assert_false(client_end(&client));
	}
}

static uint64_t in_hand(struct disk *disk, unsigned *requests)
{
	g_mutex_lock(&disk->lock);
	uint64_t bytes = disk->in_hand;
	*requests = disk->held->len;
	g_mutex_unlock(&disk->lock);
	return bytes;
}

struct flood {
	struct client *client;
	uint32_t length;
	unsigned count;
};

static gpointer send_flood(gpointer data)
{
	struct flood *flood = data;
	for (unsigned i = 0; i < flood->count; i++)
		send_request(flood->client, NBD_WRITE, 0, 0, flood->length);
	return NULL;
}

/* Nothing is answered: no more is read than is allowed, and the rest follows when it is. */
static void test_bounds(void)
{
	const struct {
		uint32_t length;
		unsigned requests;
	} rows[] = { { 1 << 20, 4 }, { 4096, 32 }, { 3 << 19, 2 } };
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct client client;
		unsigned requests = 0;
		client_start(&client);
		client.disk.hold = true;
		go(&client);
		struct flood flood = { &client, rows[i].length, 40 };
		GThread *sender = g_thread_new("flood", send_flood, &flood);
		for (unsigned t = 0; t < 500 && requests < rows[i].requests; t++, g_usleep(2000))
			in_hand(&client.disk, &requests);
		g_usleep(50000);
		g_assert_cmpuint(in_hand(&client.disk, &requests), ==,
				 (uint64_t) rows[i].requests * rows[i].length);
		g_assert_cmpuint(requests, ==, rows[i].requests);
		release(&client.disk);
		for (unsigned n = 0; n < flood.count; n++)
			g_assert_cmpuint(read_reply(&client, 0), ==, 0);
		g_thread_join(sender);
		send_request(&client, NBD_DISCONNECT, 0, 0, 0);
		g_assert_true(client_end(&client));
	}
}

/* A client that is gone before it is answered: nothing is written to nobody, nothing leaks. */
static void test_vanish(void)
{
	struct client client;
	unsigned requests = 0;
	client_start(&client);
	client.disk.hold = true;
	go(&client);
	for (unsigned i = 0; i < 3; i++)
		send_request(&client, NBD_READ, 0, 4096 * i, 1 << 20);
	while (requests < 3)
		in_hand(&client.disk, &requests);
	shutdown(client.fd, SHUT_RDWR);
	release(&client.disk);
	g_assert_false(client_end(&client));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/nbd/qemu-img/at-once", GINT_TO_POINTER(false), test_qemu_img);
	g_test_add_data_func("/nbd/qemu-img/late", GINT_TO_POINTER(true), test_qemu_img);
	g_test_add_func("/nbd/handshake", test_handshake);
	g_test_add_func("/nbd/export-name", test_export_name);
	g_test_add_func("/nbd/requests", test_requests);
	g_test_add_func("/nbd/broken-protocol", test_broken_protocol);
	g_test_add_func("/nbd/bounds", test_bounds);
	g_test_add_func("/nbd/vanish", test_vanish);
	return g_test_run();
}
