/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the link: two ends in one process, a stream that knows itself, and a man in the
 * middle who forwards, cuts and spoils. */
#pragma once
#include <glib.h>

#include "base/clock.h"
#include "base/error.h"
#include "link/link.h"

struct pair {
	struct link *source, *destination;
	uint16_t port;
};

struct link_config pair_config(bool source, unsigned connections);
void pair_new(struct pair *pair, const struct link_config *source,
	      const struct link_config *destination);
/* Listen and dial over loopback, start both. */
void pair_connect(struct pair *pair, bool source_listens);
void pair_wait(struct pair *pair);
/* All of that. */
void pair_make(struct pair *pair, unsigned connections);
void pair_free(struct pair *pair);

/* Frames of random sizes whose words name their place in the stream; ends with finish and drain. */
struct sender {
	struct link *link;
	enum link_stream stream;
	uint64_t bytes;
	uint32_t seed;
	int drain_ms; /* 0: 20 s */
	GThread *thread;
};
void sender_start(struct sender *sender);
void sender_join(struct sender *sender);
/* Take all of the stream and check every byte, flag and tag; PAUSE_US after each frame. Returns the
 * bytes. */
uint64_t receive_all(struct link *link, enum link_stream stream, unsigned pause_us);
/* One short message over LINK_TALK, there and back. */
void talk_once(struct pair *pair, const char *text);

/* Wait up to 5 s until CONDITION holds. */
#define WAIT_UNTIL(condition)                                     \
	do {                                                      \
		int64_t until_ms = clock_now_ms() + 5000;         \
		while (!(condition) && clock_now_ms() < until_ms) \
			g_usleep(2000);                           \
		g_assert_true(condition);                         \
	} while (0)

/* The man in the middle: accepts on its port and forwards to another one, or joins two unix
 * sockets. */
struct relay;
struct relay *relay_new_tcp(uint16_t target_port);
/* Connects to both sockets by itself, COUNT times; again when a joint broke. */
struct relay *relay_new_unix(const char *one, const char *other, unsigned count);
uint16_t relay_port(const struct relay *relay);
/* Turn one bit over after BYTES more bytes towards the target. */
void relay_flip_after(struct relay *relay, uint64_t bytes);
/* Of each connection only the first BYTES towards side TO (1: the target) pass, the others vanish,
 * or (BREAKS) end it. */
void relay_narrow(struct relay *relay, int to, int64_t bytes, bool breaks);
/* Break all that is open. */
void relay_cut(struct relay *relay);
/* While stopped: nobody gets through, open ones stay open and silent. */
void relay_stop(struct relay *relay, bool stopped);
unsigned relay_flips(struct relay *relay);
void relay_free(struct relay *relay);
