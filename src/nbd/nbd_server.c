/* SPDX-License-Identifier: Apache-2.0 */
/* Serves NBD requests to one client. */
#include "nbd/nbd_server.h"

#include "base/be.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"
#include "base/wait.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define OPTIONS_MAX 64 /* before the client must know what it wants */

struct session {
	int fd;
	const struct nbd_server *server;
	const struct nbd_export *export; /* the one that was chosen, or was asked for last */
	bool no_zeroes;
	bool left; /* the client took its leave */

	pthread_mutex_t lock;
	pthread_cond_t fewer;
	/* under the lock */
	unsigned requests;
	uint64_t bytes;

	pthread_mutex_t write_lock;
	bool broken; /* under it: nobody hears us any more */
};

/* As the server sees a request. */
struct pending {
	struct nbd_request public; /* first: nbd_done() gets its address */
	struct session *session;
	uint64_t cookie;
};

/* ---- bytes ---- */

static bool fail_read(GError **error)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s",
			 errno ? g_strerror(errno) : _("the NBD client closed the connection"));
}

static bool take_message(struct session *session, void *data, size_t length, GError **error)
{
	return fd_read_all(session->fd, data, length) || fail_read(error);
}

static bool skip(struct session *session, uint64_t length, GError **error)
{
	uint8_t waste[4096];
	while (length > 0) {
		size_t piece = MIN(length, sizeof(waste));
		if (!take_message(session, waste, piece, error))
			return false;
		length -= piece;
	}
	return true;
}

static bool give(struct session *session, const void *data, size_t length, GError **error)
{
	return fd_write_all(session->fd, data, length) || fail_read(error);
}

static bool fail_nbd(GError **error, const char *problem)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the NBD client broke the protocol: %s"), problem);
}

/* ---- handshake ---- */

enum step { STEP_FAILED, STEP_NEXT, STEP_TRANSMISSION, STEP_OVER };

static bool answer_option(struct session *session, const struct nbd_option *option, uint32_t type,
			  const void *data, uint32_t length, GError **error)
{
	uint8_t head[NBD_OPTION_REPLY_BYTES];
	nbd_put_answer(head, option->code, type, length);
	return give(session, head, sizeof(head), error) &&
	       (length == 0 || give(session, data, length, error));
}

static bool choose_export(struct session *session, const char *name, uint32_t length)
{
	const struct nbd_server *server = session->server;
	session->export = NULL;
	for (unsigned i = 0; i < server->export_count && !session->export; i++) {
		const char *own = server->exports[i].name;
		if (strlen(own) == length && memcmp(own, name, length) == 0)
			session->export = &server->exports[i];
	}
	return session->export != NULL;
}

static enum step export_by_name(struct session *session, const uint8_t *data, uint32_t length,
				GError **error)
{
	uint8_t reply[NBD_EXPORT_BYTES];
	if (!choose_export(session, (const char *) data, length)) {
		fail_nbd(error, _("it asked for an export that is not here"));
		return STEP_FAILED; /* there is no other way to say no to this option */
	}
	size_t bytes = nbd_put_export(reply, session->export, session->no_zeroes);
	return give(session, reply, bytes, error) ? STEP_TRANSMISSION : STEP_FAILED;
}

static enum step list(struct session *session, const struct nbd_option *option, GError **error)
{
	for (unsigned i = 0; i < session->server->export_count; i++) {
		const char *name = session->server->exports[i].name;
		uint32_t length = (uint32_t) strlen(name);
		g_autofree uint8_t *data = g_malloc(4 + length);
		be_put32(data, length);
		memcpy(data + 4, name, length);
		if (!answer_option(session, option, NBD_ANSWER_SERVER, data, 4 + length, error))
			return STEP_FAILED;
	}
	return answer_option(session, option, NBD_ANSWER_ACK, NULL, 0, error) ? STEP_NEXT
									      : STEP_FAILED;
}

static enum step inform(struct session *session, const struct nbd_option *option,
			const uint8_t *data, GError **error)
{
	uint8_t export[NBD_INFO_EXPORT_BYTES], block[NBD_INFO_BLOCK_BYTES];
	const char *name;
	uint32_t length;
	uint32_t no = NBD_ANSWER_ACK;
	if (!nbd_get_go(data, option->length, &name, &length))
		no = NBD_ANSWER_INVALID;
	else if (!choose_export(session, name, length))
		no = NBD_ANSWER_UNKNOWN;
	if (no != NBD_ANSWER_ACK)
		return answer_option(session, option, no, NULL, 0, error) ? STEP_NEXT : STEP_FAILED;
	nbd_put_info_export(export, session->export);
	nbd_put_info_block(block);
	if (!answer_option(session, option, NBD_ANSWER_INFO, export, sizeof(export), error) ||
	    !answer_option(session, option, NBD_ANSWER_INFO, block, sizeof(block), error) ||
	    !answer_option(session, option, NBD_ANSWER_ACK, NULL, 0, error))
		return STEP_FAILED;
	return option->code == NBD_OPTION_GO ? STEP_TRANSMISSION : STEP_NEXT;
}

static enum step obey_option(struct session *session, const struct nbd_option *option,
			     const uint8_t *data, GError **error)
{
	switch (option->code) {
	case NBD_OPTION_EXPORT_NAME:
		return export_by_name(session, data, option->length, error);
	case NBD_OPTION_ABORT:
		session->left = true;
		answer_option(session, option, NBD_ANSWER_ACK, NULL, 0,
			      NULL); /* it may be gone already */
		return STEP_OVER;
	case NBD_OPTION_LIST:
		return list(session, option, error);
	case NBD_OPTION_INFO:
	case NBD_OPTION_GO:
		return inform(session, option, data, error);
	default:
		return answer_option(session, option, NBD_ANSWER_UNSUPPORTED, NULL, 0, error)
			       ? STEP_NEXT
			       : STEP_FAILED;
	}
}

static enum step next_option(struct session *session, GError **error)
{
	uint8_t head[NBD_OPTION_BYTES], data[NBD_OPTION_DATA_MAX];
	struct nbd_option option;
	if (!take_message(session, head, sizeof(head), error))
		return STEP_FAILED;
	if (!nbd_get_option(head, &option) || option.length > sizeof(data)) {
		fail_nbd(error, _("an option that cannot be one"));
		return STEP_FAILED;
	}
	if (!take_message(session, data, option.length, error))
		return STEP_FAILED;
	return obey_option(session, &option, data, error);
}

static enum step shake_hands(struct session *session, GError **error)
{
	uint8_t hello[NBD_HELLO_BYTES], flags[NBD_CLIENT_FLAGS_BYTES];
	nbd_put_hello(hello);
	if (!give(session, hello, sizeof(hello), error) ||
	    !take_message(session, flags, sizeof(flags), error))
		return STEP_FAILED;
	if (!nbd_get_client_flags(flags, &session->no_zeroes)) {
		fail_nbd(error, _("it cannot speak fixed newstyle NBD"));
		return STEP_FAILED;
	}
	for (unsigned i = 0; i < OPTIONS_MAX; i++) {
		enum step step = next_option(session, error);
		if (step != STEP_NEXT)
			return step;
	}
	fail_nbd(error, _("it went on asking for options"));
	return STEP_FAILED;
}

/* ---- transmission ---- */

static void send_reply(struct session *session, uint64_t cookie, int reason, const void *data,
		       size_t length)
{
	uint8_t head[NBD_REPLY_BYTES];
	nbd_put_reply(head, cookie, reason);
	pthread_mutex_lock(&session->write_lock);
	if (!session->broken && (!fd_write_all(session->fd, head, sizeof(head)) ||
				 (length > 0 && !fd_write_all(session->fd, data, length))))
		session->broken = true; /* nbd_serve() sees it when it reads */
	pthread_mutex_unlock(&session->write_lock);
}

static bool carries(const struct nbd_request *request)
{
	return request->command == NBD_READ || request->command == NBD_WRITE;
}

/* Room for a request, when enough others are answered. */
static void enter(struct session *session, uint64_t bytes)
{
	const struct nbd_server *server = session->server;
	pthread_mutex_lock(&session->lock);
	while (session->requests > 0 && (session->requests >= server->requests_max ||
					 session->bytes + bytes > server->bytes_max))
		pthread_cond_wait(&session->fewer, &session->lock);
	session->requests++;
	session->bytes += bytes;
	pthread_mutex_unlock(&session->lock);
}

static void leave(struct session *session, uint64_t bytes)
{
	pthread_mutex_lock(&session->lock);
	session->requests--;
	session->bytes -= bytes;
	pthread_cond_signal(&session->fewer);
	pthread_mutex_unlock(&session->lock);
}

static void wait_for_all(struct session *session)
{
	pthread_mutex_lock(&session->lock);
	while (session->requests > 0)
		pthread_cond_wait(&session->fewer, &session->lock);
	pthread_mutex_unlock(&session->lock);
}

void nbd_done(struct nbd_request *request, int reason)
{
	struct pending *pending = (struct pending *) request;
	struct session *session = pending->session;
	uint64_t bytes = carries(request) ? request->length : 0;
	bool told = request->command == NBD_READ && reason == 0;
	send_reply(session, pending->cookie, reason, request->payload, told ? bytes : 0);
	g_free(request->payload);
	g_free(pending);
	leave(session, bytes); /* the last: the session may be gone after it */
}

static bool handle_request(struct session *session, const struct nbd_head *head, GError **error)
{
	bool moves = head->command == NBD_READ || head->command == NBD_WRITE;
	enter(session, moves ? head->length : 0);
	struct pending *pending = g_new0(struct pending, 1);
	pending->session = session;
	pending->cookie = head->cookie;
	pending->public = (struct nbd_request){
		.export = (unsigned) (session->export - session->server->exports),
		.command = (enum nbd_command) head->command,
		.offset = head->command == NBD_FLUSH ? 0 : head->offset,
		.length = head->command == NBD_FLUSH ? 0 : head->length,
		.fua = head->flags & NBD_FLAG_FUA,
		.no_hole = head->flags & NBD_FLAG_NO_HOLE,
		.payload = moves ? g_malloc(head->length) : NULL,
	};
	if (head->command == NBD_WRITE &&
	    !take_message(session, pending->public.payload, head->length, error)) {
		g_free(pending->public.payload);
		g_free(pending);
		leave(session, head->length);
		return false;
	}
	session->server->handle(&pending->public, session->server->data);
	return true;
}

/* Without a request that its user would have to look at. */
static bool refuse_request(struct session *session, const struct nbd_head *head, int reason,
			   GError **error)
{
	if (head->command == NBD_WRITE && head->length > NBD_BLOCK_MAX)
		return fail_nbd(error, _("a write of more than 32 MiB"));
	if (head->command == NBD_WRITE && !skip(session, head->length, error))
		return false;
	send_reply(session, head->cookie, reason, NULL, 0);
	return true;
}

static bool next_request(struct session *session, GError **error)
{
	uint8_t bytes[NBD_REQUEST_BYTES];
	struct nbd_head head;
	if (!take_message(session, bytes, sizeof(bytes), error))
		return false;
	if (!nbd_get_request(bytes, &head))
		return fail_nbd(error, _("a request that cannot be one"));
	if (head.command == NBD_DISCONNECT) {
		session->left = true;
		return true;
	}
	int reason = nbd_check_request(&head, session->export);
	return reason ? refuse_request(session, &head, reason, error)
		      : handle_request(session, &head, error);
}

bool nbd_serve(int fd, const struct nbd_server *server, GError **error)
{
	struct session session = { .fd = fd, .server = server };
	pthread_mutex_init(&session.lock, NULL);
	pthread_mutex_init(&session.write_lock, NULL);
	wait_cond_init(&session.fewer);
	if (shake_hands(&session, error) == STEP_TRANSMISSION) {
		while (!session.left && next_request(&session, error))
			continue;
		wait_for_all(&session);
	}
	pthread_cond_destroy(&session.fewer);
	pthread_mutex_destroy(&session.write_lock);
	pthread_mutex_destroy(&session.lock);
	return session.left;
}
