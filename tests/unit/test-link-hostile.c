/* SPDX-License-Identifier: Apache-2.0 */
/* The link among strangers, on broken paths, and through pipes that come and go. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "link-pair.h"

static int dial(uint16_t port)
{
	struct sockaddr_in name = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(connect(fd, (struct sockaddr *) &name, sizeof(name)), ==, 0);
	return fd;
}

static uint64_t refused(struct link *link)
{
	struct link_stats stats;
	link_get_stats(link, &stats);
	return stats.refused_peers;
}

static unsigned up(struct link *link)
{
	struct link_stats stats;
	link_get_stats(link, &stats);
	return stats.up;
}

/* ---- keys ---- */

/* A whole mover with the wrong key or identity gets nowhere; the right one then gets in. */
static void test_wrong_key(gconstpointer data)
{
	bool wrong_id = GPOINTER_TO_INT(data) & 1, source_listens = GPOINTER_TO_INT(data) & 2;
	const char *const addresses[] = { "127.0.0.1", NULL };
	struct link_config source = pair_config(true, 2), destination = pair_config(false, 2);
	struct link_config wrong = source_listens ? destination : source;
	struct pair pair;
	GError *error = NULL;
	if (wrong_id)
		wrong.id[3] ^= 1;
	else
		wrong.key[31] ^= 1;
	pair_new(&pair, &source, &destination);
	struct link *listener = source_listens ? pair.source : pair.destination;
	struct link *right = source_listens ? pair.destination : pair.source;
	struct link *stranger = link_new(&wrong, &error);
	link_listen_tcp(listener, "127.0.0.1", 0, 0, &pair.port, &error);
	link_connect_tcp(stranger, addresses, pair.port, &error);
	link_connect_tcp(right, addresses, pair.port, &error);
	g_assert_no_error(error);
	g_assert_true(link_start(listener, &error));
	g_assert_true(link_start(stranger, &error));
	g_assert_false(link_wait_up(stranger, 300, &error));
	g_test_message("%s", error->message);
	g_clear_error(&error);
	g_assert_cmpuint(refused(listener), >=, 2);
	g_assert_cmpuint(up(listener), ==, 0);
	g_assert_true(link_start(right, &error));
	pair_wait(&pair);
	talk_once(&pair, "hello, the two of us");
	g_assert_cmpuint(up(stranger), ==, 0);
	link_free(stranger);
	pair_free(&pair);
}

/* ---- somebody with the right key who wants weaker TLS ---- */

static unsigned int old_psk(SSL *ssl, const char *hint, char *id, unsigned id_max,
			    unsigned char *key, unsigned key_max)
{
	struct link_config config = pair_config(true, 1);
	g_strlcpy(id, config.id, id_max);
	memcpy(key, config.key, sizeof(config.key));
	return sizeof(config.key);
}

static int new_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_length,
		   SSL_SESSION **session)
{
	static struct link_config config;
	const char *suite = SSL_get_app_data(ssl);
	config = pair_config(true, 1);
	*session = SSL_SESSION_new();
	SSL_SESSION_set1_master_key(*session, config.key, sizeof(config.key));
	SSL_SESSION_set_cipher(*session, SSL_CIPHER_find(ssl, (const unsigned char *) suite));
	SSL_SESSION_set_protocol_version(*session, TLS1_3_VERSION);
	*id = (const unsigned char *) config.id;
	*id_length = strlen(config.id);
	return 1;
}

static const struct tls_client {
	const char *what;
	int max_version;
	const char *suites, *psk_suite, *groups;
	bool good;
} tls_clients[] = {
	{ "as it should be", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "\x13\x01", "X25519", true },
	{ "TLS 1.2", TLS1_2_VERSION, "TLS_AES_128_GCM_SHA256", "\x13\x01", "X25519", false },
	{ "ChaCha20", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", "\x13\x03", "X25519", false },
	{ "AES-256", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", "\x13\x02", "X25519", false },
	{ "another group", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", "\x13\x01", "P-384", false },
};

/* Returns whether the handshake came to its end, and by the key. */
static bool try_tls(uint16_t port, const struct tls_client *client)
{
	char byte;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(context, client->max_version);
	SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
	g_assert_true(SSL_CTX_set_ciphersuites(context, client->suites));
	g_assert_true(SSL_CTX_set1_groups_list(context, (char *) (uintptr_t) client->groups));
	SSL_CTX_set_psk_client_callback(context, old_psk);
	SSL_CTX_set_psk_use_session_callback(context, new_psk);
	SSL *ssl = SSL_new(context);
	SSL_set_app_data(ssl, (void *) (uintptr_t) client->psk_suite);
	int fd = dial(port);
	SSL_set_fd(ssl, fd);
	/* The server's word comes with its hello. */
	bool good = SSL_connect(ssl) > 0 && SSL_session_reused(ssl) && SSL_read(ssl, &byte, 1) == 1;
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
	return good;
}

static void test_weak_tls(void)
{
	struct pair pair;
	pair_make(&pair, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(tls_clients); i++) {
		g_test_message("%s", tls_clients[i].what);
		g_assert_cmpint(try_tls(pair.port, &tls_clients[i]), ==, tls_clients[i].good);
	}
	WAIT_UNTIL(refused(pair.destination) >= G_N_ELEMENTS(tls_clients) - 1);
	talk_once(&pair, "undisturbed");
	pair_free(&pair);
}

/* ---- strangers at the door ---- */

static void try_garbage(uint16_t port)
{
	char answer[64];
	int fd = dial(port);
	const char *text = "GET / HTTP/1.0\r\n\r\n";
	g_assert_cmpint(send(fd, text, strlen(text), MSG_NOSIGNAL), >, 0);
	while (recv(fd, answer, sizeof(answer), 0) > 0)
		;
	close(fd);
}

static void test_strangers(void)
{
	struct pair pair;
	struct link_stats stats;
	int silent[40];
	pair_make(&pair, 2);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 100000000 };
	link_set_bandwidth(pair.source, 200000000);
	sender_start(&there);
	/* More of them than there are places, none says a word. */
	for (size_t i = 0; i < G_N_ELEMENTS(silent); i++)
		silent[i] = dial(pair.port);
	try_garbage(pair.port);
	close(dial(pair.port)); /* a port scanner */
	g_assert_cmpuint(receive_all(pair.destination, LINK_MEMORY, 0), >=, there.bytes);
	sender_join(&there);
	WAIT_UNTIL(refused(pair.destination) >= 40 - 32 + 2);
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, ==, 0);
	/* The right one gets past the silent crowd. */
	link_test_cut(pair.source, 0);
	WAIT_UNTIL((link_get_stats(pair.source, &stats), stats.reconnects == 1));
	talk_once(&pair, "still here");
	for (size_t i = 0; i < G_N_ELEMENTS(silent); i++)
		close(silent[i]);
	pair_free(&pair);
}

/* ---- a path that breaks ---- */

static gpointer receive_memory(gpointer pair)
{
	receive_all(((struct pair *) pair)->destination, LINK_MEMORY, 0);
	return NULL;
}

static void make_relayed(struct pair *pair, struct relay **relay, unsigned connections,
			 int timeout_ms)
{
	struct link_config source = pair_config(true, connections);
	struct link_config destination = pair_config(false, connections);
	GError *error = NULL;
	const char *const addresses[] = { "127.0.0.1", NULL };
	source.timeout_ms = destination.timeout_ms = timeout_ms;
	pair_new(pair, &source, &destination);
	link_listen_tcp(pair->destination, "127.0.0.1", 0, 0, &pair->port, &error);
	*relay = relay_new_tcp(pair->port);
	link_connect_tcp(pair->source, addresses, relay_port(*relay), &error);
	g_assert_true(link_start(pair->source, &error));
	g_assert_true(link_start(pair->destination, &error));
	pair_wait(pair);
}

/* A bit turned over on the way breaks a connection, never the stream. */
static void test_flipped_bits(void)
{
	struct pair pair;
	struct relay *relay;
	struct link_stats stats;
	make_relayed(&pair, &relay, 2, 10000);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 100000000 };
	link_set_bandwidth(pair.source, 100000000);
	relay_flip_after(relay, 3000000);
	sender_start(&there);
	GThread *taker = g_thread_new("taker", receive_memory, &pair);
	for (unsigned i = 1; i <= 3; i++) {
		WAIT_UNTIL(relay_flips(relay) == i);
		if (i < 3)
			relay_flip_after(relay, 5000000 + i);
	}
	g_thread_join(taker);
	sender_join(&there);
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, >=, 3);
	g_assert_cmpuint(stats.resent_frames, >, 0);
	pair_free(&pair);
	relay_free(relay);
}

/* All dark for a while: the link waits and goes on. */
static void test_pause(void)
{
	struct pair pair;
	struct relay *relay;
	struct link_stats stats;
	make_relayed(&pair, &relay, 2, 10000);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 30000000 };
	link_set_bandwidth(pair.source, 60000000);
	sender_start(&there);
	GThread *taker = g_thread_new("taker", receive_memory, &pair);
	g_usleep(100000);
	relay_stop(relay, true);
	relay_cut(relay);
	WAIT_UNTIL((link_get_stats(pair.source, &stats), stats.up == 0));
	g_usleep(300000);
	link_get_stats(pair.source, &stats);
	g_assert_cmpint(stats.dark_ms, >=, 250);
	relay_stop(relay, false);
	g_thread_join(taker);
	sender_join(&there);
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, >=, 1);
	g_assert_cmpint(stats.dark_ms, ==, 0);
	pair_free(&pair);
	relay_free(relay);
}

static void expect_dark(struct link *link)
{
	GError *error = NULL;
	g_assert_null(link_receive(link, LINK_TALK, 8000, NULL, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_test_message("%s", error->message);
	g_assert_nonnull(strstr(error->message, "no connection to the other mover"));
	g_autofree char *next = error_next(error);
	g_assert_nonnull(next);
	g_clear_error(&error);
}

/* Silent from one moment on, no break to be seen: both ends find out, and end in time. */
/* What a wrong MTU does: the handshake passes and nothing longer, in one direction. It is no link,
 * and what is said names the reason. */
static void test_narrow(gconstpointer data)
{
	int to = GPOINTER_TO_INT(data);
	struct link_config source = pair_config(true, 2), destination = pair_config(false, 2);
	const char *const addresses[] = { "127.0.0.1", NULL };
	g_autoptr(GError) error = NULL;
	struct pair pair;
	pair_new(&pair, &source, &destination);
	link_listen_tcp(pair.destination, "127.0.0.1", 0, 0, &pair.port, &error);
	struct relay *relay = relay_new_tcp(pair.port);
	relay_narrow(relay, to, 8192, false);
	link_connect_tcp(pair.source, addresses, relay_port(relay), &error);
	g_assert_true(link_start(pair.source, &error));
	g_assert_true(link_start(pair.destination, &error));
	g_assert_true(link_wait_reached(pair.source, 5000));
	g_assert_true(link_wait_reached(pair.destination, 5000));
	/* the one that waits for what does not come */
	struct link *waits = to == 1 ? pair.destination : pair.source;
	int64_t before_ms = clock_now_ms();
	g_assert_false(link_wait_up(waits, 20000, &error));
	g_assert_cmpint(clock_now_ms() - before_ms, <, 12000);
	g_assert_nonnull(strstr(error->message, "large packets do not pass"));
	g_assert_nonnull(strstr(error->message, "MTU"));
	pair_free(&pair);
	relay_free(relay);
}

/* One that becomes like that in the middle: connections come up again and again, and each of them
 * is as empty as the last. The time runs from when something last arrived. */
static void test_black_hole(void)
{
	struct pair pair;
	struct relay *relay;
	struct link_stats stats;
	make_relayed(&pair, &relay, 2, 3000);
	talk_once(&pair, "before");
	relay_narrow(relay, 1, 8192, true);
	relay_cut(relay);
	g_autoptr(GError) error = NULL;
	int64_t before_ms = clock_now_ms();
	struct link_frame *frame = NULL;
	while ((frame = link_frame_begin(pair.source, LINK_MEMORY, &error))) {
		frame->length = LINK_PAYLOAD_MAX;
		memset(frame->data, 1, frame->length);
		link_frame_commit(pair.source, LINK_MEMORY, frame);
		g_assert_cmpint(clock_now_ms() - before_ms, <, 15000);
	}
	int64_t took_ms = clock_now_ms() - before_ms;
	link_get_stats(pair.source, &stats);
	g_test_message("%s (after %d ms, %d reconnections)", error->message, (int) took_ms,
		       (int) stats.reconnects);
	g_assert_nonnull(strstr(error->message, "nothing arrives"));
	g_assert_nonnull(strstr(error->message, "MTU"));
	g_assert_cmpuint(stats.reconnects, >, 2);
	g_assert_cmpint(took_ms, >=, 2900);
	g_assert_cmpint(took_ms, <, 8000);
	pair_free(&pair);
	relay_free(relay);
}

static void test_dark(void)
{
	struct pair pair;
	struct relay *relay;
	make_relayed(&pair, &relay, 2, 60000);
	relay_stop(relay, true);
	relay_cut(relay);
	WAIT_UNTIL(up(pair.source) == 0 && up(pair.destination) == 0);
	link_set_timeout(pair.source, 300);
	link_set_timeout(pair.destination, 500);
	int64_t before_ms = clock_now_ms();
	expect_dark(pair.source);
	g_assert_cmpint(clock_now_ms() - before_ms, >=, 290);
	expect_dark(pair.destination);
	g_assert_cmpint(clock_now_ms() - before_ms, <, 2000);
	pair_free(&pair);
	relay_free(relay);
}

/* A path that swallows everything without a break. The kernels on both sides still acknowledge to
 * the relay, so this is the slowest case: a mover that does not answer. Only with -m slow. */
static void test_silence(void)
{
	struct pair pair;
	struct relay *relay;
	if (!g_test_slow()) {
		g_test_skip("takes 20 s; -m slow");
		return;
	}
	make_relayed(&pair, &relay, 2, 60000);
	relay_stop(relay, true);
	int64_t before_ms = clock_now_ms();
	while (up(pair.source) > 0 && clock_now_ms() - before_ms < 30000)
		g_usleep(10000);
	g_assert_cmpuint(up(pair.source), ==, 0);
	g_test_message("found after %.1f s", (double) (clock_now_ms() - before_ms) / 1e3);
	relay_stop(relay, false);
	WAIT_UNTIL(up(pair.source) == 2);
	talk_once(&pair, "back again");
	pair_free(&pair);
	relay_free(relay);
}

/* ---- through pipes ---- */

/* Both movers listen on unix sockets; somebody else joins them, and joins them again. */
static void test_unix(void)
{
	g_autofree char *dir = g_dir_make_tmp("link-XXXXXX", NULL);
	g_autofree char *one = g_build_filename(dir, "source", NULL);
	g_autofree char *other = g_build_filename(dir, "destination", NULL);
	struct link_config source = pair_config(true, 2), destination = pair_config(false, 2);
	struct pair pair;
	struct link_stats stats;
	GError *error = NULL;
	pair_new(&pair, &source, &destination);
	link_listen_unix(pair.source, one, &error);
	link_listen_unix(pair.destination, other, &error);
	g_assert_no_error(error);
	g_assert_true(link_start(pair.source, &error));
	g_assert_true(link_start(pair.destination, &error));
	struct relay *relay = relay_new_unix(one, other, 2);
	pair_wait(&pair);
	struct sender there = { .link = pair.source, .stream = LINK_MEMORY, .bytes = 100000000 };
	link_set_bandwidth(pair.source, 100000000);
	sender_start(&there);
	GThread *taker = g_thread_new("taker", receive_memory, &pair);
	for (int i = 0; i < 3; i++) {
		g_usleep(150000);
		relay_cut(relay);
	}
	g_thread_join(taker);
	sender_join(&there);
	link_get_stats(pair.source, &stats);
	g_assert_cmpuint(stats.reconnects, >=, 3);
	talk_once(&pair, "through the pipe");
	pair_free(&pair);
	relay_free(relay);
	g_assert_false(g_file_test(one, G_FILE_TEST_EXISTS)); /* nothing left behind */
	g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void test_listen_errors(void)
{
	struct pair pair;
	GError *error = NULL;
	uint16_t port;
	struct link_config config = pair_config(true, 1);
	pair_make(&pair, 1);
	struct link *link = link_new(&config, &error);
	/* A port that is taken, then a range with a free one in it. */
	g_assert_false(link_listen_tcp(link, "127.0.0.1", pair.port, pair.port, &port, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_INTERNAL);
	g_clear_error(&error);
	if (pair.port < 65000) {
		uint16_t last = (uint16_t) (pair.port + 200);
		g_assert_true(link_listen_tcp(link, "127.0.0.1", pair.port, last, &port, &error));
		g_assert_cmpuint(port, >, pair.port);
		g_assert_cmpuint(port, <=, last);
	}
	link_free(link);
	link = link_new(&config, &error);
	g_assert_false(link_listen_tcp(link, "192.0.2.1", 0, 0, &port, &error));
	g_clear_error(&error);
	g_assert_false(link_listen_unix(link, "/nonexistent/socket", &error));
	g_clear_error(&error);
	link_free(link);
	pair_free(&pair);
}

/* The two were started with different numbers of connections: said, not guessed. */
static void test_mismatch(void)
{
	struct link_config source = pair_config(true, 2), destination = pair_config(false, 3);
	struct pair pair;
	GError *error = NULL;
	pair_new(&pair, &source, &destination);
	pair_connect(&pair, false);
	g_assert_false(link_wait_up(pair.source, 3000, &error));
	g_assert_nonnull(strstr(error->message, "protocol"));
	g_clear_error(&error);
	pair_free(&pair);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/link/wrong-key", GINT_TO_POINTER(0), test_wrong_key);
	g_test_add_data_func("/link/wrong-id", GINT_TO_POINTER(1), test_wrong_key);
	g_test_add_data_func("/link/wrong-key-source-listens", GINT_TO_POINTER(2), test_wrong_key);
	g_test_add_data_func("/link/wrong-id-source-listens", GINT_TO_POINTER(3), test_wrong_key);
	g_test_add_func("/link/weak-tls", test_weak_tls);
	g_test_add_func("/link/strangers", test_strangers);
	g_test_add_func("/link/flipped-bits", test_flipped_bits);
	g_test_add_func("/link/pause", test_pause);
	g_test_add_data_func("/link/narrow/there", GINT_TO_POINTER(1), test_narrow);
	g_test_add_data_func("/link/narrow/back", GINT_TO_POINTER(0), test_narrow);
	g_test_add_func("/link/black-hole", test_black_hole);
	g_test_add_func("/link/dark", test_dark);
	g_test_add_func("/link/silence", test_silence);
	g_test_add_func("/link/unix", test_unix);
	g_test_add_func("/link/listen-errors", test_listen_errors);
	g_test_add_func("/link/mismatch", test_mismatch);
	return g_test_run();
}
