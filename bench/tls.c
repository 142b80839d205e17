/* SPDX-License-Identifier: Apache-2.0 */
/* Which TLS library carries more bytes for a second of processor time?
 *
 * TLS 1.3, external pre-shared key, X25519, TLS_AES_128_GCM_SHA256, one connection over loopback
 * TCP; one thread writes in pieces of 256 KiB, one reads; each one's processor time is taken. The
 * result and the choice are in docs/decisions.md.
 *
 * usage: bench-tls [MiB a run, default 2048] [runs, default 5]
 */
#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 * 1024)
#define BUFFER (128 * 1024)

static const uint8_t key[32] = { 1, 2, 3, 4, 5 };
static const char identity[] = "bench";

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "bench-tls: %s failed\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* ---- the buffers between a library and the socket ---- */

struct transport {
	int fd;
	size_t out_end, in_start, in_end;
	uint8_t out[BUFFER], in[BUFFER];
};

static void transport_flush(struct transport *transport)
{
	size_t done = 0;
	while (done < transport->out_end) {
		ssize_t n =
			send(transport->fd, transport->out + done, transport->out_end - done, 0);
		check(n > 0, "send");
		done += (size_t) n;
	}
	transport->out_end = 0;
}

static ssize_t transport_write(void *argument, const void *at, size_t length)
{
	struct transport *transport = argument;
	if (transport->out_end + length > BUFFER)
		transport_flush(transport);
	memcpy(transport->out + transport->out_end, at, length);
	transport->out_end += length;
	return (ssize_t) length;
}

static ssize_t transport_read(void *argument, void *at, size_t length)
{
	struct transport *transport = argument;
	if (transport->in_start == transport->in_end) {
		transport_flush(transport);
		ssize_t n = recv(transport->fd, transport->in, BUFFER, 0);
		check(n > 0, "recv");
		transport->in_start = 0;
		transport->in_end = (size_t) n;
	}
	if (length > transport->in_end - transport->in_start)
		length = transport->in_end - transport->in_start;
	memcpy(at, transport->in + transport->in_start, length);
	transport->in_start += length;
	return (ssize_t) length;
}

static int bio_write(BIO *bio, const char *at, int length)
{
	return (int) transport_write(BIO_get_data(bio), at, (size_t) length);
}

static int bio_read(BIO *bio, char *at, int length)
{
	return (int) transport_read(BIO_get_data(bio), at, (size_t) length);
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH;
}

static BIO *transport_bio(struct transport *transport)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "transport");
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_ctrl(method, bio_control);
	BIO *bio = BIO_new(method);
	BIO_set_data(bio, transport);
	BIO_set_init(bio, 1);
	return bio;
}

/* ---- the contenders: open a session on a socket, write all, read some, close ---- */

struct library {
	const char *name;
	void *(*open)(struct transport *transport, bool client);
	void (*write)(void *session, const void *at, size_t length);
	size_t (*read)(void *session, void *at, size_t length);
	const char *(*suite)(void *session);
	void (*close)(void *session);
};

static SSL_SESSION *psk_session(SSL *ssl)
{
	SSL_SESSION *session = SSL_SESSION_new();
	SSL_SESSION_set1_master_key(session, key, sizeof(key));
	SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, (const uint8_t *) "\x13\x01"));
	SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
	return session;
}

static int openssl_offer(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *length,
			 SSL_SESSION **session)
{
	*id = (const unsigned char *) identity;
	*length = strlen(identity);
	*session = psk_session(ssl);
	return 1;
}

static int openssl_find(SSL *ssl, const unsigned char *id, size_t length, SSL_SESSION **session)
{
	*session = psk_session(ssl);
	return 1;
}

static void *openssl_open_on(struct transport *transport, bool client, bool buffered)
{
	SSL_CTX *context = SSL_CTX_new(client ? TLS_client_method() : TLS_server_method());
	SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set1_groups_list(context, (char *) (uintptr_t) "X25519");
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_psk_use_session_callback(context, openssl_offer);
	SSL_CTX_set_psk_find_session_callback(context, openssl_find);
	SSL *ssl = SSL_new(context);
	SSL_CTX_free(context);
	if (buffered) {
		BIO *bio = transport_bio(transport);
		SSL_set_bio(ssl, bio, bio);
	} else {
		SSL_set_fd(ssl, transport->fd);
	}
	check((client ? SSL_connect(ssl) : SSL_accept(ssl)) == 1, "OpenSSL handshake");
	transport_flush(transport);
	check(SSL_session_reused(ssl), "OpenSSL pre-shared key");
	return ssl;
}

static void *openssl_open(struct transport *transport, bool client)
{
	return openssl_open_on(transport, client, false);
}

static void *openssl_open_buffered(struct transport *transport, bool client)
{
	return openssl_open_on(transport, client, true);
}

static void openssl_write(void *session, const void *at, size_t length)
{
	check(SSL_write(session, at, (int) length) == (int) length, "SSL_write");
}

static size_t openssl_read(void *session, void *at, size_t length)
{
	int n = SSL_read(session, at, (int) length);
	check(n > 0, "SSL_read");
	return (size_t) n;
}

static const char *openssl_suite(void *session)
{
	return SSL_get_cipher_name(session);
}

static void openssl_close(void *session)
{
	SSL_free(session);
}

static int gnu_find(gnutls_session_t session, const char *name, gnutls_datum_t *found)
{
	found->data = gnutls_malloc(sizeof(key));
	found->size = sizeof(key);
	memcpy(found->data, key, sizeof(key));
	return 0;
}

static void *gnu_open_on(struct transport *transport, bool client, bool buffered)
{
	gnutls_session_t session;
	gnutls_datum_t datum = { (void *) (uintptr_t) key, sizeof(key) };
	check(gnutls_init(&session, client ? GNUTLS_CLIENT : GNUTLS_SERVER) == 0, "gnutls_init");
	check(gnutls_priority_set_direct(
		      session,
		      "NORMAL:-KX-ALL:+DHE-PSK:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:"
		      "+AES-128-GCM:-GROUP-ALL:+GROUP-X25519",
		      NULL) == 0,
	      "GnuTLS priority");
	if (client) {
		gnutls_psk_client_credentials_t credentials;
		gnutls_psk_allocate_client_credentials(&credentials);
		gnutls_psk_set_client_credentials(credentials, identity, &datum,
						  GNUTLS_PSK_KEY_RAW);
		gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials);
	} else {
		gnutls_psk_server_credentials_t credentials;
		gnutls_psk_allocate_server_credentials(&credentials);
		gnutls_psk_set_server_credentials_function(credentials, gnu_find);
		gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials);
	}
	if (buffered) {
		gnutls_transport_set_ptr(session, transport);
		gnutls_transport_set_push_function(session, transport_write);
		gnutls_transport_set_pull_function(session, transport_read);
	} else {
		gnutls_transport_set_int(session, transport->fd);
	}
	check(gnutls_handshake(session) == 0, "GnuTLS handshake");
	transport_flush(transport);
	return session;
}

static void *gnu_open(struct transport *transport, bool client)
{
	return gnu_open_on(transport, client, false);
}

static void *gnu_open_buffered(struct transport *transport, bool client)
{
	return gnu_open_on(transport, client, true);
}

static void gnu_write(void *session, const void *at, size_t length)
{
	while (length > 0) {
		ssize_t n = gnutls_record_send(session, at, length);
		check(n > 0, "gnutls_record_send");
		at = (const char *) at + n;
		length -= (size_t) n;
	}
}

static size_t gnu_read(void *session, void *at, size_t length)
{
	ssize_t n = gnutls_record_recv(session, at, length);
	check(n > 0, "gnutls_record_recv");
	return (size_t) n;
}

static const char *gnu_suite(void *session)
{
	return gnutls_cipher_get_name(gnutls_cipher_get(session));
}

static void gnu_close(void *session)
{
	gnutls_deinit(session);
}

static void *plain_open(struct transport *transport, bool client)
{
	int *session = malloc(sizeof(*session));
	*session = transport->fd;
	return session;
}

static void plain_write(void *session, const void *at, size_t length)
{
	check(send(*(int *) session, at, length, 0) == (ssize_t) length, "send");
}

static size_t plain_read(void *session, void *at, size_t length)
{
	ssize_t n = recv(*(int *) session, at, length, 0);
	check(n > 0, "recv");
	return (size_t) n;
}

static const char *plain_suite(void *session)
{
	return "-";
}

static const struct library libraries[] = {
	{ "OpenSSL", openssl_open, openssl_write, openssl_read, openssl_suite, openssl_close },
	{ "OpenSSL, buffered", openssl_open_buffered, openssl_write, openssl_read, openssl_suite,
	  openssl_close },
	{ "GnuTLS", gnu_open, gnu_write, gnu_read, gnu_suite, gnu_close },
	{ "GnuTLS, buffered", gnu_open_buffered, gnu_write, gnu_read, gnu_suite, gnu_close },
	{ "no TLS", plain_open, plain_write, plain_read, plain_suite, free },
};
#define LIBRARIES (sizeof(libraries) / sizeof(libraries[0]))

/* ---- one run ---- */

struct end {
	const struct library *library;
	int fd;
	bool client;
	uint64_t bytes;
	double cpu_s;
	char suite[64];
	pthread_barrier_t *start;
};

static double seconds(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static void *run_end(void *argument)
{
	struct end *end = argument;
	const struct library *library = end->library;
	uint8_t *buffer = malloc(PIECE);
	memset(buffer, 0x33, PIECE);
	struct transport *transport = calloc(1, sizeof(*transport));
	transport->fd = end->fd;
	void *session = library->open(transport, end->client);
	snprintf(end->suite, sizeof(end->suite), "%s", library->suite(session));
	pthread_barrier_wait(end->start);
	double before = seconds(CLOCK_THREAD_CPUTIME_ID);
	for (uint64_t done = 0; done < end->bytes;) {
		if (end->client) {
			library->write(session, buffer, PIECE);
			done += PIECE;
		} else {
			done += library->read(session, buffer, PIECE);
		}
	}
	transport_flush(transport);
	end->cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID) - before;
	pthread_barrier_wait(end->start);
	library->close(session);
	free(transport);
	free(buffer);
	return NULL;
}

static void make_connection(int fds[2])
{
	struct sockaddr_in name = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(name);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
	check(bind(listener, (struct sockaddr *) &name, length) == 0 && listen(listener, 1) == 0 &&
		      getsockname(listener, (struct sockaddr *) &name, &length) == 0,
	      "listen");
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	check(connect(fds[0], (struct sockaddr *) &name, length) == 0, "connect");
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
	for (int i = 0; i < 2; i++)
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

struct rates {
	double wall, sending, receiving; /* GB a second: by the clock, of processor time */
	char suite[64];
};

static struct rates run(const struct library *library, uint64_t bytes)
{
	int fds[2];
	pthread_barrier_t start;
	pthread_t threads[2];
	struct end ends[2];
	make_connection(fds);
	pthread_barrier_init(&start, NULL, 3);
	for (int i = 0; i < 2; i++) {
		ends[i] = (struct end){ .library = library,
					.fd = fds[i],
					.client = i == 0,
					.bytes = bytes,
					.start = &start };
		pthread_create(&threads[i], NULL, run_end, &ends[i]);
	}
	pthread_barrier_wait(&start);
	double before = seconds(CLOCK_MONOTONIC);
	pthread_barrier_wait(&start);
	double wall = seconds(CLOCK_MONOTONIC) - before;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		close(fds[i]);
	}
	pthread_barrier_destroy(&start);
	double gb = (double) bytes / 1e9;
	struct rates rates = { gb / wall, gb / ends[0].cpu_s, gb / ends[1].cpu_s, "" };
	memcpy(rates.suite, ends[0].suite, sizeof(rates.suite));
	return rates;
}

/* The best of each column: what the others on the machine leave. */
static void keep_best(struct rates *best, const struct rates *rates)
{
	best->wall = rates->wall > best->wall ? rates->wall : best->wall;
	best->sending = rates->sending > best->sending ? rates->sending : best->sending;
	best->receiving = rates->receiving > best->receiving ? rates->receiving : best->receiving;
	memcpy(best->suite, rates->suite, sizeof(best->suite));
}

int main(int argc, char **argv)
{
	uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 2048) << 20;
	int runs = argc > 2 ? atoi(argv[2]) : 5;
	struct rates best[LIBRARIES] = { 0 };
	for (int i = 0; i < runs; i++) {
		for (size_t j = 0; j < LIBRARIES; j++) {
			struct rates rates = run(&libraries[j], bytes);
			keep_best(&best[j], &rates);
		}
	}
	printf("%s; GnuTLS %s; best of %d runs of %llu MiB\n", OpenSSL_version(OPENSSL_VERSION),
	       gnutls_check_version(NULL), runs, (unsigned long long) bytes >> 20);
	printf("%-18s  %-22s  %6s  %18s  %20s\n", "library", "cipher", "GB/s", "GB/CPU-s, sending",
	       "GB/CPU-s, receiving");
	for (size_t j = 0; j < LIBRARIES; j++)
		printf("%-18s  %-22s  %6.2f  %18.2f  %20.2f\n", libraries[j].name, best[j].suite,
		       best[j].wall, best[j].sending, best[j].receiving);
	return 0;
}
