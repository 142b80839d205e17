/* SPDX-License-Identifier: Apache-2.0 */
/* Non-blocking, encrypted byte channels over sockets: TLS 1.3 with an external pre-shared key.
 *
 * Fixed by both sides, nothing is negotiated: TLS 1.3, TLS_AES_128_GCM_SHA256, the key exchange
 * X25519 on top of the key (forward secrecy), the migration's id as identity. No certificates, no
 * tickets, no early data. A peer that does not prove the key in the handshake gets nothing.
 *
 * AES-GCM must not seal more than about 2^24.5 full records with one key (RFC 8446, 5.5) and the
 * library does not count: after CHANNEL_REKEY_BYTES, 2^22 records, we ask for new keys both ways.
 *
 * Thread rule: a channel belongs to one thread at a time, for both directions.
 */
#pragma once
#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link/link.h"

#define CHANNEL_REKEY_BYTES (64ull << 30)

struct tls;     /* what all channels share; immutable, for any thread */
struct channel; /* one connection */

struct tls *tls_new(const struct link_config *config, GError **error);
void tls_free(struct tls *tls);

/* Bytes given to and taken from sockets, counted where they pass. */
struct channel_count {
	_Atomic uint64_t sent, received;
};

/* Take over the connected non-blocking FD. */
struct channel *channel_new(struct tls *tls, int fd);
/* Close it. Without channel_end() before, the peer sees a break. */
void channel_free(struct channel *channel);

/* Each returns > 0: done, bytes moved; 0: would block, wait for channel_wants(); < 0: the channel
 * is broken or at its end, channel_problem() says why. A write that returned 0 must be repeated
 * with the same bytes (there may be more of them). Written bytes gather in a buffer until it is
 * full or flushed; handshake flushes by itself. */
int channel_handshake(struct channel *channel);
int channel_read(struct channel *channel, void *at, size_t length);
int channel_write(struct channel *channel, const void *at, size_t length);
int channel_flush(struct channel *channel);
/* The buffer takes no further record: flush. */
bool channel_is_full(const struct channel *channel);
/* Say good-bye in TLS and end our direction of the socket. Best effort. */
void channel_end(struct channel *channel);
/* Ask for new keys in both directions with the next write; between messages only. */
bool channel_update_keys(struct channel *channel);
/* Bytes written since the last change of our key. */
uint64_t channel_key_bytes(const struct channel *channel);

short channel_wants(const struct channel *channel);    /* POLLIN or POLLOUT */
bool channel_is_secret(const struct channel *channel); /* proved the key; true if plain */
int channel_fd(const struct channel *channel);
const char *channel_problem(const struct channel *channel);
/* Count into COUNT from now on too (NULL: not). */
void channel_count_into(struct channel *channel, struct channel_count *count);
