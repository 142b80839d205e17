/* SPDX-License-Identifier: Apache-2.0 */
/* The guard's rules, with a small libvirtd of our own making at either end: whole conversations in
 * any chunking, and each way a destination can be lost. */
#include "base/error.h"
#include "base/fd.h"
#include "host/guard/flow.h"
#include "host/guard/guard.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- packets ---- */

static void put_u32(GByteArray *bytes, uint32_t value)
{
	guint8 raw[4] = { value >> 24, value >> 16, value >> 8, value };
	g_byte_array_append(bytes, raw, 4);
}

static void put_packet(GByteArray *bytes, uint32_t procedure, uint32_t type, uint32_t serial,
		       uint32_t status, uint32_t payload, uint32_t last)
{
	put_u32(bytes, RPC_HEADER_BYTES + payload);
	put_u32(bytes, RPC_PROGRAM_REMOTE);
	put_u32(bytes, 1);
	put_u32(bytes, procedure);
	put_u32(bytes, type);
	put_u32(bytes, serial);
	put_u32(bytes, status);
	for (uint32_t i = 0; i + 4 < payload; i++)
		g_byte_array_append(bytes, (const guint8 *) "x", 1);
	if (payload >= 4)
		put_u32(bytes, last);
}

/* ---- a flow alone: any chunking gives the same bytes and sees the same packets ---- */

struct seen {
	GArray *procedures;
	unsigned ends;
};

static enum flow_verdict note(void *data, const struct rpc_header *header, const uint8_t *packet,
			      size_t available)
{
	struct seen *seen = data;
	if (!header) {
		seen->ends++;
		return FLOW_PASS;
	}
	if (rpc_is_finish_call(header) && flow_should_wait(header, available))
		return FLOW_KEEP;
	g_array_append_val(seen->procedures, header->procedure);
	return FLOW_PASS;
}

static void chop(const GByteArray *stream, struct seen *seen, GByteArray *out, bool *plain)
{
	struct flow flow;
	int in[2], onward[2];
	flow_init(&flow, note, seen);
	g_assert_cmpint(pipe(in), ==, 0);
	g_assert_cmpint(pipe(onward), ==, 0);
	fd_set_nonblocking(in[0], true);
	fd_set_nonblocking(onward[0], true);
	fd_set_nonblocking(onward[1], true);
	for (size_t at = 0; at < stream->len;) {
		size_t most = g_test_rand_bit() ? 9 : 20000;
		size_t size = (size_t) g_test_rand_int_range(1, (gint32) most);
		size = MIN(size, stream->len - at);
		g_assert_cmpint(write(in[1], stream->data + at, size), ==, (ssize_t) size);
		at += size;
		for (size_t left = size; left > 0;) {
			ssize_t got = flow_read(&flow, in[0]);
			if (got > 0)
				left -= (size_t) got;
			else
				g_assert_cmpint(errno, ==, ENOBUFS);
			g_assert_true(flow_write(&flow, onward[1]));
			guint8 data[4096];
			while ((got = read(onward[0], data, sizeof(data))) > 0) {
				g_byte_array_append(out, data, (guint) got);
				g_assert_true(flow_write(&flow, onward[1]));
			}
		}
	}
	*plain = flow.plain;
	flow_clear(&flow);
	for (unsigned i = 0; i < 2; i++) {
		close(in[i]);
		close(onward[i]);
	}
}

static void test_chunks(void)
{
	static const uint32_t procedures[] = { 1, RPC_MIGRATE_FINISH3, 318,
					       RPC_MIGRATE_FINISH3_PARAMS, 2 };
	for (unsigned round = 0; round < 60; round++) {
		bool garbage = round % 3 == 2, plain = false;
		g_autoptr(GByteArray) stream = g_byte_array_new();
		g_autoptr(GByteArray) out = g_byte_array_new();
		struct seen seen = { g_array_new(FALSE, FALSE, sizeof(uint32_t)), 0 };
		for (unsigned i = 0; i < G_N_ELEMENTS(procedures); i++)
			put_packet(stream, procedures[i], RPC_CALL, i, 0,
				   (uint32_t) g_test_rand_int_range(0, 80000), 0);
		/* larger than any buffer of ours */
		put_packet(stream, RPC_MIGRATE_FINISH3, RPC_CALL, 9, 0, FLOW_BYTES + 1000, 0);
		put_packet(stream, 3, RPC_CALL, 9, 0, 0, 0);
		if (garbage)
			for (unsigned i = 0; i < 5000; i++)
				put_u32(stream, 0xff000000u | g_test_rand_int());
		chop(stream, &seen, out, &plain);
		g_assert_cmpmem(stream->data, stream->len, out->data, out->len);
		g_assert_cmpuint(seen.procedures->len, ==, G_N_ELEMENTS(procedures) + 2);
		g_assert_cmpuint(seen.ends, ==, G_N_ELEMENTS(procedures) + 2);
		g_assert_true(plain == garbage);
		g_array_unref(seen.procedures);
	}
}

/* ---- a guard with two hosts of ours ---- */

struct end {
	int listener, host; /* what libvirtd would hold */
	int library;        /* what the client library would hold */
	struct host_address *address;
	char *path;
};

struct scene {
	struct guard *guard;
	struct end end[2];
	char *folder;
};

static int open_unix(const char *path, bool listening)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	g_strlcpy(name.sun_path, path, sizeof(name.sun_path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listening) {
		g_assert_cmpint(bind(fd, (struct sockaddr *) &name, sizeof(name)), ==, 0);
		g_assert_cmpint(listen(fd, 1), ==, 0);
	} else {
		g_assert_cmpint(connect(fd, (struct sockaddr *) &name, sizeof(name)), ==, 0);
	}
	return fd;
}

static void raise_end(struct scene *scene, enum guard_side side)
{
	struct end *end = &scene->end[side];
	end->path = g_strdup_printf("%s/%d", scene->folder, side);
	end->listener = open_unix(end->path, true);
	g_autofree char *text = g_strdup_printf("qemu+unix:///system?socket=%s", end->path);
	g_autoptr(GError) error = NULL;
	end->address = host_address_parse(text, &error);
	g_assert_no_error(error);
	g_autofree char *uri = guard_attach(scene->guard, side, NULL, end->address, &error);
	g_assert_no_error(error);
	end->host = accept(end->listener, NULL, NULL);
	end->library = open_unix(strchr(uri, '=') + 1, false);
	/* the first exchange shows that the way is open both ways */
	g_assert_true(fd_write_all(end->library, "", 0));
}

static struct scene *scene_new(void)
{
	struct scene *scene = g_new0(struct scene, 1);
	scene->folder = g_dir_make_tmp("watari-test-XXXXXX", NULL);
	scene->guard = guard_new(NULL);
	raise_end(scene, GUARD_SOURCE);
	raise_end(scene, GUARD_DESTINATION);
	guard_arm(scene->guard);
	return scene;
}

static void scene_free(struct scene *scene)
{
	guard_free(scene->guard);
	for (unsigned i = 0; i < 2; i++) {
		struct end *end = &scene->end[i];
		fd_clear(&end->listener);
		fd_clear(&end->host);
		fd_clear(&end->library);
		g_unlink(end->path);
		g_free(end->path);
		host_address_free(end->address);
	}
	g_assert_cmpint(g_rmdir(scene->folder), ==, 0);
	g_free(scene->folder);
	g_free(scene);
}

static void say(int fd, uint32_t procedure, uint32_t type, uint32_t serial, uint32_t status,
		uint32_t last)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	put_packet(bytes, procedure, type, serial, status, 64, last);
	g_assert_true(fd_write_all(fd, bytes->data, bytes->len));
}

/* The procedure of the next packet at FD; 0 when the end comes. */
static uint32_t hear(int fd)
{
	uint8_t packet[RPC_HEADER_BYTES + 64];
	struct rpc_header header;
	struct pollfd ready = { fd, POLLIN, 0 };
	g_assert_cmpint(poll(&ready, 1, 5000), ==, 1);
	if (!fd_read_all(fd, packet, sizeof(packet)))
		return 0;
	g_assert_true(rpc_read_header(packet, &header));
	return header.procedure;
}

static bool is_quiet(int fd)
{
	struct pollfd ready = { fd, POLLIN, 0 };
	return poll(&ready, 1, 200) == 0;
}

#define FINISH RPC_MIGRATE_FINISH3_PARAMS
#define CONFIRM RPC_MIGRATE_CONFIRM3_PARAMS

static void ask_finish(struct scene *scene, bool cancelled)
{
	say(scene->end[GUARD_DESTINATION].library, FINISH, RPC_CALL, 77, 0, cancelled);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].host), ==, FINISH);
	g_assert_true(guard_finish_sent(scene->guard) == !cancelled);
}

/* What the library does when it learns that the destination is lost: resume the source. True when
 * the source heard it. */
static bool source_hears_resume(struct scene *scene)
{
	struct end *source = &scene->end[GUARD_SOURCE];
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	put_packet(bytes, CONFIRM, RPC_CALL, 78, 0, 64, 1);
	send(source->library, bytes->data, bytes->len, MSG_NOSIGNAL);
	uint32_t heard = hear(source->host);
	g_assert_true(heard == 0 || heard == CONFIRM);
	return heard == CONFIRM;
}

/* Once the library sees the destination's end, the source must be cut already. */
static void expect_cut(struct scene *scene)
{
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, 0);
	g_assert_cmpint(send(scene->end[GUARD_SOURCE].library, "x", 1, MSG_NOSIGNAL), ==, -1);
	g_assert_false(source_hears_resume(scene));
	g_autofree char *reason = NULL;
	g_assert_true(guard_is_broken(scene->guard, GUARD_SOURCE, &reason));
	g_assert_cmpstr(reason, !=, "");
}

static void test_good(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	say(scene->end[GUARD_DESTINATION].host, FINISH, RPC_REPLY, 77, 0, 0);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, FINISH);
	g_assert_cmpint(guard_answer(scene->guard), ==, GUARD_RUNS);
	say(scene->end[GUARD_SOURCE].library, CONFIRM, RPC_CALL, 5, 0, 0);
	g_assert_cmpuint(hear(scene->end[GUARD_SOURCE].host), ==, CONFIRM);
	scene_free(scene);
}

static void test_destination_refuses(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	say(scene->end[GUARD_DESTINATION].host, FINISH, RPC_REPLY, 77, 1, 0);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, FINISH);
	g_assert_cmpint(guard_answer(scene->guard), ==, GUARD_FAILED);
	g_assert_true(source_hears_resume(scene));
	scene_free(scene);
}

/* ---- who hears of it ---- */

struct hearing {
	int host;  /* of the destination */
	int count; /* atomic */
	enum guard_answer answers[4];
	bool early;   /* it had nothing to read when we heard */
	bool refuses; /* it could not be written down */
};

static bool on_answer(enum guard_answer answer, void *data)
{
	struct hearing *hearing = data;
	struct pollfd ready = { hearing->host, POLLIN, 0 };
	int count = g_atomic_int_get(&hearing->count);
	if (count == 0)
		hearing->early = poll(&ready, 1, 0) == 0;
	if (count < (int) G_N_ELEMENTS(hearing->answers))
		hearing->answers[count] = answer;
	g_atomic_int_set(&hearing->count, count + 1);
	return !hearing->refuses;
}

static void listen_to(struct scene *scene, struct hearing *hearing)
{
	*hearing = (struct hearing){ .host = scene->end[GUARD_DESTINATION].host };
	guard_on_answer(scene->guard, on_answer, hearing);
}

/* Nobody reads at the destination meanwhile, so what comes there stays to be seen. */
static void expect_early(struct hearing *hearing)
{
	for (int i = 0; i < 5000 && g_atomic_int_get(&hearing->count) == 0; i++)
		g_usleep(1000);
	g_assert_cmpint(g_atomic_int_get(&hearing->count), ==, 1);
	g_assert_true(hearing->early);
}

/* Of Finish before the destination has a byte of it; of nothing else; and of its answer. */
static void test_told(void)
{
	struct scene *scene = scene_new();
	struct hearing hearing;
	listen_to(scene, &hearing);
	ask_finish(scene, true);
	g_assert_cmpint(g_atomic_int_get(&hearing.count), ==, 0);
	say(scene->end[GUARD_DESTINATION].library, FINISH, RPC_CALL, 77, 0, 0);
	expect_early(&hearing);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].host), ==, FINISH);
	say(scene->end[GUARD_DESTINATION].host, FINISH, RPC_REPLY, 77, 1, 0);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, FINISH);
	g_assert_cmpint(g_atomic_int_get(&hearing.count), ==, 2);
	g_assert_cmpint(hearing.answers[0], ==, GUARD_UNANSWERED);
	g_assert_cmpint(hearing.answers[1], ==, GUARD_FAILED);
	scene_free(scene);
}

/* What cannot be read may hold a Finish. */
static void test_told_unread(void)
{
	static const char garbage[RPC_HEADER_BYTES] = "garbage that is no packet";
	struct scene *scene = scene_new();
	struct hearing hearing;
	listen_to(scene, &hearing);
	char heard[sizeof garbage];
	g_assert_true(fd_write_all(scene->end[GUARD_DESTINATION].library, garbage, sizeof garbage));
	expect_early(&hearing);
	g_assert_true(fd_read_all(scene->end[GUARD_DESTINATION].host, heard, sizeof heard));
	g_assert_cmpint(hearing.answers[0], ==, GUARD_UNKNOWN);
	scene_free(scene);
}

/* What could not be written down is not passed on, and the VM goes on at the source. */
static void test_refused(void)
{
	struct scene *scene = scene_new();
	struct hearing hearing;
	struct end *destination = &scene->end[GUARD_DESTINATION];
	g_autofree char *reason = NULL;
	listen_to(scene, &hearing);
	hearing.refuses = true;
	say(destination->library, FINISH, RPC_CALL, 77, 0, 0);
	g_assert_cmpuint(hear(destination->library), ==, 0);
	g_assert_cmpuint(hear(destination->host), ==, 0);
	g_assert_cmpint(g_atomic_int_get(&hearing.count), ==, 1);
	g_assert_cmpint(guard_answer(scene->guard), ==, GUARD_NOT_ASKED);
	g_assert_true(guard_is_broken(scene->guard, GUARD_DESTINATION, &reason));
	g_assert_cmpstr(reason, !=, "");
	g_assert_true(source_hears_resume(scene));
	scene_free(scene);
}

/* Whoever cannot read what passes cannot tell that nothing of it was a Finish: the source is cut. */
static void test_refused_unread(void)
{
	static const char garbage[RPC_HEADER_BYTES] = "garbage that is no packet";
	struct scene *scene = scene_new();
	struct hearing hearing;
	char heard;
	listen_to(scene, &hearing);
	hearing.refuses = true;
	g_assert_true(fd_write_all(scene->end[GUARD_DESTINATION].library, garbage, sizeof garbage));
	expect_cut(scene);
	g_assert_false(fd_read_all(scene->end[GUARD_DESTINATION].host, &heard, 1));
	scene_free(scene);
}

static void test_lost_end(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	expect_cut(scene);
	scene_free(scene);
}

static void test_lost_in_reply(void)
{
	struct scene *scene = scene_new();
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	ask_finish(scene, false);
	put_packet(bytes, FINISH, RPC_REPLY, 77, 0, 64, 0);
	g_assert_true(
		fd_write_all(scene->end[GUARD_DESTINATION].host, bytes->data, bytes->len - 1));
	g_assert_true(is_quiet(scene->end[GUARD_DESTINATION].library));
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	expect_cut(scene);
	scene_free(scene);
}

/* The whole reply came and then the end: the reply counts. */
static void test_lost_after_reply(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	say(scene->end[GUARD_DESTINATION].host, FINISH, RPC_REPLY, 77, 0, 0);
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, FINISH);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, 0);
	say(scene->end[GUARD_SOURCE].library, CONFIRM, RPC_CALL, 5, 0, 0);
	g_assert_cmpuint(hear(scene->end[GUARD_SOURCE].host), ==, CONFIRM);
	scene_free(scene);
}

/* Before Finish a lost destination cannot run anything: the source may go on. */
static void test_lost_before(void)
{
	struct scene *scene = scene_new();
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, 0);
	g_assert_true(guard_is_broken(scene->guard, GUARD_DESTINATION, NULL));
	g_assert_true(source_hears_resume(scene));
	scene_free(scene);
}

static void test_lost_cancelled(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, true);
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, 0);
	g_assert_true(source_hears_resume(scene));
	scene_free(scene);
}

/* The library itself gives the destination up (its keepalive) and resumes the source at once. */
static void test_library_leaves(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	fd_clear(&scene->end[GUARD_DESTINATION].library);
	g_assert_false(source_hears_resume(scene));
	scene_free(scene);
}

/* A Confirm that does not agree with the destination's answer, or comes without one. */
static void test_gate(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct scene *scene = scene_new();
		struct end *destination = &scene->end[GUARD_DESTINATION];
		ask_finish(scene, false);
		if (i > 0) {
			say(destination->host, FINISH, RPC_REPLY, 77, i == 2, 0);
			g_assert_cmpuint(hear(destination->library), ==, FINISH);
		}
		say(scene->end[GUARD_SOURCE].library, CONFIRM, RPC_CALL, 5, 0, i < 2);
		g_assert_cmpuint(hear(scene->end[GUARD_SOURCE].host), ==, 0);
		scene_free(scene);
	}
}

static void test_not_rpc(void)
{
	struct scene *scene = scene_new();
	struct end *destination = &scene->end[GUARD_DESTINATION];
	char heard[32];
	g_assert_true(
		fd_write_all(destination->library, "\377\377this is something else at all...", 32));
	g_assert_true(fd_read_all(destination->host, heard, 32));
	g_assert_cmpint(guard_answer(scene->guard), ==, GUARD_UNKNOWN);
	fd_clear(&destination->host);
	expect_cut(scene);
	scene_free(scene);
}

static void test_source_first(void)
{
	struct scene *scene = scene_new();
	struct end *destination = &scene->end[GUARD_DESTINATION];
	fd_clear(&scene->end[GUARD_SOURCE].host);
	g_assert_cmpuint(hear(scene->end[GUARD_SOURCE].library), ==, 0);
	ask_finish(scene, true);
	say(destination->host, FINISH, RPC_REPLY, 77, 1, 0);
	g_assert_cmpuint(hear(destination->library), ==, FINISH);
	scene_free(scene);
}

static void test_unarmed(void)
{
	struct scene *scene = scene_new();
	guard_disarm(scene->guard);
	ask_finish(scene, false);
	fd_clear(&scene->end[GUARD_DESTINATION].host);
	g_assert_cmpuint(hear(scene->end[GUARD_DESTINATION].library), ==, 0);
	g_assert_true(source_hears_resume(scene)); /* what the guard is there to prevent */
	scene_free(scene);
}

static void test_cut(void)
{
	struct scene *scene = scene_new();
	ask_finish(scene, false);
	guard_cut(scene->guard);
	expect_cut(scene);
	scene_free(scene);
}

static void kill_destination(void *data)
{
	struct scene *scene = data;
	fd_clear(&scene->end[GUARD_DESTINATION].host);
}

static void test_hold(void)
{
	struct scene *scene = scene_new();
	guard_test_hold_finish(scene->guard, kill_destination, scene);
	ask_finish(scene, false);
	say(scene->end[GUARD_DESTINATION].host, FINISH, RPC_REPLY, 77, 0, 0);
	expect_cut(scene);
	scene_free(scene);
}

/* The library does not read: the host is made to wait, and everything arrives in the end. */
static void test_back_pressure(void)
{
	struct scene *scene = scene_new();
	struct end *destination = &scene->end[GUARD_DESTINATION];
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	for (unsigned i = 0; i < 200; i++)
		put_packet(bytes, 500 + i, RPC_MESSAGE, 0, 0, 60000, 0);
	size_t sent = 0, got = 0;
	fd_set_nonblocking(destination->host, true);
	for (unsigned idle = 0; idle < 50;) {
		ssize_t n = send(destination->host, bytes->data + sent, bytes->len - sent,
				 MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t) n;
		else
			g_usleep(1000);
		idle = n > 0 ? 0 : idle + 1;
	}
	g_assert_cmpuint(sent, <, 2 * 1024 * 1024);
	g_autofree guint8 *heard = g_malloc(bytes->len);
	while (got < bytes->len) {
		ssize_t n = send(destination->host, bytes->data + sent, bytes->len - sent,
				 MSG_NOSIGNAL);
		sent += n > 0 ? (size_t) n : 0;
		n = recv(destination->library, heard + got, bytes->len - got, MSG_DONTWAIT);
		got += n > 0 ? (size_t) n : 0;
	}
	g_assert_cmpmem(heard, got, bytes->data, bytes->len);
	scene_free(scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/guard/chunks", test_chunks);
	g_test_add_func("/guard/good", test_good);
	g_test_add_func("/guard/told", test_told);
	g_test_add_func("/guard/told-unread", test_told_unread);
	g_test_add_func("/guard/refused", test_refused);
	g_test_add_func("/guard/refused-unread", test_refused_unread);
	g_test_add_func("/guard/destination-refuses", test_destination_refuses);
	g_test_add_func("/guard/lost-end", test_lost_end);
	g_test_add_func("/guard/lost-in-reply", test_lost_in_reply);
	g_test_add_func("/guard/lost-after-reply", test_lost_after_reply);
	g_test_add_func("/guard/lost-before-finish", test_lost_before);
	g_test_add_func("/guard/lost-cancelled", test_lost_cancelled);
	g_test_add_func("/guard/library-leaves", test_library_leaves);
	g_test_add_func("/guard/gate", test_gate);
	g_test_add_func("/guard/not-rpc", test_not_rpc);
	g_test_add_func("/guard/source-first", test_source_first);
	g_test_add_func("/guard/unarmed", test_unarmed);
	g_test_add_func("/guard/cut", test_cut);
	g_test_add_func("/guard/hold", test_hold);
	g_test_add_func("/guard/back-pressure", test_back_pressure);
	return g_test_run();
}
