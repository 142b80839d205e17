/* SPDX-License-Identifier: Apache-2.0 */
/* An NBD client that sends anything: the server ends with an answer, whatever it is. */
#include "base/fd.h"
#include "nbd/nbd_server.h"

#include <sys/socket.h>

#define INPUT_MAX (64 * 1024) /* fits the socket's buffer */
#define DISK_BYTES (64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static gpointer drain(gpointer fd)
{
	uint8_t waste[65536];
	while (read(GPOINTER_TO_INT(fd), waste, sizeof(waste)) > 0)
		continue;
	return NULL;
}

static void handle(struct nbd_request *request, void *data)
{
	const struct nbd_server *server = data;
	if (request->command != NBD_FLUSH)
		g_assert_cmpuint(request->offset + request->length, <=,
				 server->exports[request->export].size);
	if (request->payload)
		g_assert_cmpuint(request->length, <=, NBD_BLOCK_MAX);
	if (request->command == NBD_READ)
		memset(request->payload, 1, request->length);
	nbd_done(request, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int pair[2];
	const struct nbd_export exports[] = { { "disk0", DISK_BYTES, false },
					      { "disk1", DISK_BYTES / 2, true } };
	struct nbd_server server = { .exports = exports,
				     .export_count = G_N_ELEMENTS(exports),
				     .bytes_max = DISK_BYTES,
				     .requests_max = 4,
				     .handle = handle };
	server.data = &server;
	if (size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		return 0;
	GThread *drainer = g_thread_new("drain", drain, GINT_TO_POINTER(pair[0]));
	fd_write_all(pair[0], data, size);
	shutdown(pair[0], SHUT_WR);
	GError *error = NULL;
	g_assert_true(nbd_serve(pair[1], &server, &error) == !error);
	g_clear_error(&error);
	shutdown(pair[1], SHUT_RDWR);
	g_thread_join(drainer);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
