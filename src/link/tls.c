/* SPDX-License-Identifier: Apache-2.0 */
/* Channels with OpenSSL; see tls.h. docs/decisions.md says why OpenSSL. */
#include "link/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#define SUITE "TLS_AES_128_GCM_SHA256"
#define GROUP "X25519"
/* Ciphertext goes to and comes from the socket some records at a time: the system call and the
 * wake-up of the other end cost more than the copy inside the cache. (OpenSSL's own read-ahead
 * moves all that is left in its buffer to align each record, so it is not used.) */
#define BUFFER_BYTES (128 * 1024)
#define FLUSH_BYTES (BUFFER_BYTES - 17 * 1024) /* no room for one more record */

struct tls {
	bool client, plain;
	uint8_t key[LINK_KEY_BYTES];
	char id[33];
	SSL_CTX *context; /* NULL: plain */
	BIO_METHOD *method;
};

/* Ciphertext between TLS and the socket. */
struct buffer {
	size_t start, end;
	uint8_t bytes[BUFFER_BYTES];
};

struct channel {
	SSL *ssl; /* NULL: plain */
	int fd;
	short wants;
	uint64_t key_bytes;
	struct channel_count *count;
	struct buffer *out, *in; /* NULL: plain */
	bool drained;            /* the socket, when it was read last */
	char problem[256];
};

/* ---- the socket below TLS: never SIGPIPE, bytes counted ---- */

static ssize_t socket_send(struct channel *channel, const void *at, size_t length)
{
	ssize_t n = send(channel->fd, at, length, MSG_NOSIGNAL);
	if (n > 0 && channel->count)
		atomic_fetch_add_explicit(&channel->count->sent, (uint64_t) n,
					  memory_order_relaxed);
	return n;
}

static ssize_t socket_receive(struct channel *channel, void *at, size_t length)
{
	ssize_t n = recv(channel->fd, at, length, 0);
	if (n > 0 && channel->count)
		atomic_fetch_add_explicit(&channel->count->received, (uint64_t) n,
					  memory_order_relaxed);
	return n;
}

static bool would_block(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* Give the socket what it takes. Returns > 0: all of it went; 0: would block; < 0: errno. */
static int flush_out(struct channel *channel)
{
	struct buffer *out = channel->out;
	while (out->start < out->end) {
		ssize_t n = socket_send(channel, out->bytes + out->start, out->end - out->start);
		if (would_block(n))
			return 0;
		if (n < 0)
			return -1;
		out->start += (size_t) n;
	}
	out->start = out->end = 0;
	return 1;
}

static int bio_write(BIO *bio, const char *at, int length)
{
	struct channel *channel = BIO_get_data(bio);
	struct buffer *out = channel->out;
	BIO_clear_retry_flags(bio);
	if (out->end + (size_t) length > BUFFER_BYTES) {
		int flushed = flush_out(channel);
		if (flushed == 0)
			BIO_set_retry_write(bio);
		if (flushed <= 0)
			return -1;
	}
	size_t n = MIN((size_t) length, BUFFER_BYTES - out->end);
	memcpy(out->bytes + out->end, at, n);
	out->end += n;
	return (int) n;
}

static int bio_read(BIO *bio, char *at, int length)
{
	struct channel *channel = BIO_get_data(bio);
	struct buffer *in = channel->in;
	BIO_clear_retry_flags(bio);
	if (in->start == in->end) {
		/* It gave less than was asked for: it had no more, so do not ask, but wait. */
		if (channel->drained) {
			channel->drained = false;
			BIO_set_retry_read(bio);
			return -1;
		}
		ssize_t n = socket_receive(channel, in->bytes, BUFFER_BYTES);
		channel->drained = n > 0 && n < BUFFER_BYTES;
		if (would_block(n))
			BIO_set_retry_read(bio);
		if (n <= 0)
			return (int) n;
		in->start = 0;
		in->end = (size_t) n;
	}
	size_t n = MIN((size_t) length, in->end - in->start);
	memcpy(at, in->bytes + in->start, n);
	in->start += n;
	return (int) n;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *new_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "link");
	if (method) {
		BIO_meth_set_write(method, bio_write);
		BIO_meth_set_read(method, bio_read);
		BIO_meth_set_ctrl(method, bio_control);
	}
	return method;
}

/* ---- the key ---- */

static SSL_SESSION *new_psk_session(const struct tls *tls, SSL *ssl)
{
	static const uint8_t suite_id[] = { 0x13, 0x01 }; /* TLS_AES_128_GCM_SHA256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite_id);
	SSL_SESSION *session = SSL_SESSION_new();
	if (session && cipher && SSL_SESSION_set1_master_key(session, tls->key, sizeof(tls->key)) &&
	    SSL_SESSION_set_cipher(session, cipher) &&
	    SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

static int offer_psk(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_length,
		     SSL_SESSION **session)
{
	const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	*session = new_psk_session(tls, ssl);
	*id = (const unsigned char *) tls->id;
	*id_length = strlen(tls->id);
	return *session != NULL;
}

/* An unknown identity is no error to OpenSSL: it goes on without the key, and then has no
 * certificate. */
static int find_psk(SSL *ssl, const unsigned char *id, size_t id_length, SSL_SESSION **session)
{
	const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	*session = NULL;
	if (id_length == strlen(tls->id) && memcmp(id, tls->id, id_length) == 0)
		*session = new_psk_session(tls, ssl);
	return 1;
}

static bool set_up_context(SSL_CTX *context, bool client)
{
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
					     SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	/* A write may return after one record, so that urgent messages get between. */
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	/* Without the key the client would have to believe a certificate, and there is none that it
	 * believes; the server would have to show one, and it has none. */
	if (client)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) &&
	       SSL_CTX_set_ciphersuites(context, SUITE) &&
	       SSL_CTX_set1_groups_list(context, (char *) (uintptr_t) GROUP) &&
	       SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_max_early_data(context, 0);
}

struct tls *tls_new(const struct link_config *config, GError **error)
{
	struct tls *tls = g_new0(struct tls, 1);
	tls->client = config->source;
	tls->plain = config->plain;
	memcpy(tls->key, config->key, sizeof(tls->key));
	g_strlcpy(tls->id, config->id, sizeof(tls->id));
	if (tls->plain)
		return tls;
	tls->method = new_method();
	tls->context = SSL_CTX_new(tls->client ? TLS_client_method() : TLS_server_method());
	if (!tls->method || !tls->context || !set_up_context(tls->context, tls->client)) {
		error_set(error, WATARI_ERROR_INTERNAL,
			  _("look at the system's OpenSSL configuration (openssl.cnf)"),
			  _("OpenSSL cannot do TLS 1.3 with %s and %s"), SUITE, GROUP);
		tls_free(tls);
		return NULL;
	}
	SSL_CTX_set_app_data(tls->context, tls);
	if (tls->client)
		SSL_CTX_set_psk_use_session_callback(tls->context, offer_psk);
	else
		SSL_CTX_set_psk_find_session_callback(tls->context, find_psk);
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_CTX_free(tls->context);
	BIO_meth_free(tls->method);
	OPENSSL_cleanse(tls->key, sizeof(tls->key));
	g_free(tls);
}

/* ---- one connection ---- */

struct channel *channel_new(struct tls *tls, int fd)
{
	struct channel *channel = g_new0(struct channel, 1);
	channel->fd = fd;
	channel->wants = POLLIN;
	if (tls->plain)
		return channel;
	channel->out = g_new0(struct buffer, 1);
	channel->in = g_new0(struct buffer, 1);
	channel->ssl = SSL_new(tls->context);
	BIO *bio = BIO_new(tls->method);
	if (!channel->ssl || !bio)
		g_error("out of memory: a TLS connection");
	BIO_set_data(bio, channel);
	BIO_set_init(bio, 1);
	SSL_set_bio(channel->ssl, bio, bio);
	if (tls->client)
		SSL_set_connect_state(channel->ssl);
	else
		SSL_set_accept_state(channel->ssl);
	return channel;
}

void channel_free(struct channel *channel)
{
	if (!channel)
		return;
	SSL_free(channel->ssl);
	fd_clear(&channel->fd);
	g_free(channel->out);
	g_free(channel->in);
	g_free(channel);
}

static void describe_tls_error(struct channel *channel, int saved_errno)
{
	unsigned long code = ERR_peek_last_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;
	if (reason)
		g_snprintf(channel->problem, sizeof(channel->problem), _("TLS: %s"), reason);
	else if (saved_errno)
		g_strlcpy(channel->problem, g_strerror(saved_errno), sizeof(channel->problem));
	else
		g_strlcpy(channel->problem, _("closed by the other side"),
			  sizeof(channel->problem));
	/* The next SSL_get_error() must not see it again. */
	ERR_clear_error();
}

/* What an SSL_ function's RESULT means for the caller. */
static int judge_peer(struct channel *channel, int result)
{
	int saved_errno = errno;
	switch (SSL_get_error(channel->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		channel->wants = POLLIN;
		return 0;
	case SSL_ERROR_WANT_WRITE:
		channel->wants = POLLOUT;
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		saved_errno = 0;
		break;
	case SSL_ERROR_SYSCALL:
		/* Only a failed call leaves errno behind, an end of file does not. */
		if (result == 0)
			saved_errno = 0;
		break;
	default:
		break;
	}
	describe_tls_error(channel, saved_errno);
	return -1;
}

static int judge_plain(struct channel *channel, ssize_t n, short wants)
{
	if (n > 0)
		return (int) n;
	if (would_block(n)) {
		channel->wants = wants;
		return 0;
	}
	describe_tls_error(channel, n < 0 ? errno : 0);
	return -1;
}

int channel_flush(struct channel *channel)
{
	if (!channel->ssl)
		return 1;
	int flushed = flush_out(channel);
	if (flushed == 0)
		channel->wants = POLLOUT;
	if (flushed < 0)
		describe_tls_error(channel, errno);
	return flushed;
}

int channel_handshake(struct channel *channel)
{
	if (!channel->ssl)
		return 1;
	errno = 0;
	int result = SSL_do_handshake(channel->ssl);
	if (result <= 0)
		result = judge_peer(channel, result);
	/* Also when it failed: the other side may be told why. */
	int flushed = channel->out->end ? channel_flush(channel) : 1;
	return result < 0 ? result : MIN(result, flushed);
}

int channel_read(struct channel *channel, void *at, size_t length)
{
	errno = 0;
	length = MIN(length, INT32_MAX);
	if (!channel->ssl)
		return judge_plain(channel, socket_receive(channel, at, length), POLLIN);
	int result = SSL_read(channel->ssl, at, (int) length);
	return result > 0 ? result : judge_peer(channel, result);
}

int channel_write(struct channel *channel, const void *at, size_t length)
{
	errno = 0;
	length = MIN(length, INT32_MAX);
	if (!channel->ssl)
		return judge_plain(channel, socket_send(channel, at, length), POLLOUT);
	int result = SSL_write(channel->ssl, at, (int) length);
	if (result <= 0)
		return judge_peer(channel, result);
	channel->key_bytes += (uint64_t) result;
	return result;
}

void channel_end(struct channel *channel)
{
	if (channel->ssl && SSL_is_init_finished(channel->ssl)) {
		SSL_shutdown(channel->ssl);
		flush_out(channel);
	}
	shutdown(channel->fd, SHUT_WR);
}

bool channel_update_keys(struct channel *channel)
{
	channel->key_bytes = 0;
	return !channel->ssl || SSL_key_update(channel->ssl, SSL_KEY_UPDATE_REQUESTED);
}

bool channel_is_full(const struct channel *channel)
{
	return channel->out && channel->out->end > FLUSH_BYTES;
}

uint64_t channel_key_bytes(const struct channel *channel)
{
	return channel->key_bytes;
}

short channel_wants(const struct channel *channel)
{
	return channel->wants;
}

bool channel_is_secret(const struct channel *channel)
{
	/* In TLS 1.3 "session reused" is how OpenSSL says that the key was used. */
	return !channel->ssl ||
	       (SSL_is_init_finished(channel->ssl) && SSL_version(channel->ssl) == TLS1_3_VERSION &&
		SSL_session_reused(channel->ssl));
}

int channel_fd(const struct channel *channel)
{
	return channel->fd;
}

const char *channel_problem(const struct channel *channel)
{
	return channel->problem;
}

void channel_count_into(struct channel *channel, struct channel_count *count)
{
	channel->count = count;
}
