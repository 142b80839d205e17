/* SPDX-License-Identifier: Apache-2.0 */
/* The desk of a running move: who asks is answered, who writes nonsense is dropped, and what a killed
 * conductor left is removed. */
#include "conductor/server/server.h"

#include "base/json.h"
#include "conductor/server/socket_place.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char id[] = "00112233445566778899aabbccddeeff";
static const char other_id[] = "ffeeddccbbaa99887766554433221100";

struct scene {
	char *top, *state, *directory;
	struct server *server;
	int asked;
};

static void on_asked(struct server_client *client, const char *type, JsonObject *request,
		     void *data)
{
	struct scene *scene = data;
	JsonObject *answer = json_object_new();
	scene->asked++;
	json_object_set_string_member(answer, "t", "answer");
	json_object_set_string_member(answer, "to", type);
	if (g_str_equal(type, "watch"))
		server_follow(client);
	server_answer(client, answer);
}

/* The state directory's path is longer than a socket's name may be. */
static void set_up(struct scene *scene)
{
	GError *error = NULL;
	*scene = (struct scene){ .top = g_dir_make_tmp("watari-desk-XXXXXX", NULL) };
	g_autofree char *name = g_strnfill(120, 'x');
	scene->state = g_build_filename(scene->top, name, NULL);
	scene->directory = server_directory(scene->state);
	g_assert_nonnull(scene->directory);
	scene->server = server_open(scene->directory, id, on_asked, scene, &error);
	g_assert_no_error(error);
}

static void tear_down(struct scene *scene)
{
	server_close(scene->server);
	g_assert_cmpint(g_rmdir(scene->directory), ==, 0); /* nothing is left in it */
	g_assert_cmpint(g_rmdir(scene->state), ==, 0);
	g_assert_cmpint(g_rmdir(scene->top), ==, 0);
	g_free(scene->top);
	g_free(scene->state);
	g_free(scene->directory);
}

static void turn(void)
{
	for (int i = 0; i < 50; i++)
		g_main_context_iteration(NULL, FALSE);
}

static int dial(struct scene *scene)
{
	int fd = server_dial(scene->directory, id);
	g_assert_cmpint(fd, >=, 0);
	turn();
	return fd;
}

static void say(int fd, const char *text)
{
	send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	turn();
}

/* What has come, as text; "" at the end or when nothing has. */
static const char *hear(int fd)
{
	static char bytes[65536];
	ssize_t length = recv(fd, bytes, sizeof bytes - 1, MSG_DONTWAIT);
	bytes[MAX(length, 0)] = 0;
	return bytes;
}

static bool is_dropped(int fd)
{
	char byte;
	while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
		;
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static void test_asked(void)
{
	struct scene scene;
	set_up(&scene);
	int first = dial(&scene), second = dial(&scene);
	say(first, "{\"t\":\"status\"}\n{\"t\":");
	say(second, "{\"t\":\"watch\"}\n");
	g_assert_nonnull(strstr(hear(first), "\"status\""));
	g_assert_nonnull(strstr(hear(second), "\"watch\""));
	say(first, "\"more\"}\n");
	g_assert_nonnull(strstr(hear(first), "\"more\""));
	g_assert_cmpint(scene.asked, ==, 3);
	/* only who follows hears what is told */
	g_assert_true(server_is_followed(scene.server));
	JsonObject *news = json_object_new();
	json_object_set_string_member(news, "t", "news");
	server_tell(scene.server, news, true);
	turn();
	g_assert_cmpstr(hear(first), ==, "");
	g_assert_nonnull(strstr(hear(second), "\"news\""));
	close(second);
	turn();
	g_assert_false(server_is_followed(scene.server));
	close(first);
	tear_down(&scene);
}

static void test_nonsense(void)
{
	static const char *const lines[] = { "nonsense\n", "[]\n", "{\"t\":\n", "\xff\xfe\n" };
	struct scene scene;
	set_up(&scene);
	int good = dial(&scene);
	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		int bad = dial(&scene);
		say(bad, lines[i]);
		g_assert_true(is_dropped(bad));
		close(bad);
	}
	int endless = dial(&scene);
	g_autofree char *text = g_strnfill(60000, 'x');
	say(endless, text);
	say(endless, text);
	g_assert_true(is_dropped(endless));
	close(endless);
	g_assert_cmpint(scene.asked, ==, 0);
	say(good, "{\"t\":\"status\"}\n");
	g_assert_nonnull(strstr(hear(good), "\"status\""));
	close(good);
	tear_down(&scene);
}

/* Who asks and never reads is dropped; so is who comes when the house is full. */
static void test_deaf_and_many(void)
{
	struct scene scene;
	set_up(&scene);
	int deaf = dial(&scene);
	g_autoptr(GString) text = g_string_new(NULL);
	for (int i = 0; i < 2000; i++)
		g_string_append(text, "{\"t\":\"status\"}\n");
	for (int i = 0; i < 60; i++)
		say(deaf, text->str);
	int asked = scene.asked;
	g_assert_cmpint(asked, >, 1000);
	say(deaf, "{\"t\":\"status\"}\n");
	g_assert_cmpint(scene.asked, ==, asked); /* nobody listens to it any more */
	close(deaf);
	turn();
	int clients[SERVER_CLIENTS_MAX + 1];
	for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
		clients[i] = dial(&scene);
	g_assert_true(is_dropped(clients[SERVER_CLIENTS_MAX]));
	say(clients[SERVER_CLIENTS_MAX - 1], "{\"t\":\"status\"}\n");
	g_assert_nonnull(strstr(hear(clients[SERVER_CLIENTS_MAX - 1]), "\"status\""));
	for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
		close(clients[i]);
	turn();
	int after = dial(&scene);
	say(after, "{\"t\":\"status\"}\n");
	g_assert_nonnull(strstr(hear(after), "\"status\""));
	close(after);
	tear_down(&scene);
}

/* A socket without a listener is what a killed conductor leaves. */
static void test_stale(void)
{
	struct scene scene;
	set_up(&scene);
	g_autofree char *path = g_strdup_printf("%s/%s.sock", scene.directory, other_id);
	close(server_listen(scene.directory, other_id));
	g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_cmpint(server_dial(scene.directory, other_id), <, 0);
	g_assert_cmpint(errno, ==, ECONNREFUSED);
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_cmpint(server_dial(scene.directory, other_id), <, 0);
	g_assert_cmpint(errno, ==, ENOENT);
	close(server_listen(scene.directory, other_id));
	server_sweep(scene.directory);
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	int alive = dial(&scene); /* the one with a listener stays */
	close(alive);
	turn();
	tear_down(&scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	signal(SIGPIPE, SIG_IGN); /* as in the conductor */
	g_test_add_func("/desk/asked", test_asked);
	g_test_add_func("/desk/nonsense", test_nonsense);
	g_test_add_func("/desk/deaf-and-many", test_deaf_and_many);
	g_test_add_func("/desk/stale", test_stale);
	return g_test_run();
}
