/* SPDX-License-Identifier: Apache-2.0 */
/* The link from inside: what its threads share and who may touch what.
 *
 * Threads: the keeper (keeper.c) makes connections: it listens or dials, does the handshakes and
 * hands each finished connection to the thread of its lane (lane.c), which owns it until it breaks.
 * The application's threads work on the queues and reorder buffers (link.c). One lock guards all
 * that they share; it is held for bookkeeping only, never over a system call that may block or over
 * bytes.
 */
#pragma once
#include <pthread.h>

#include "link/bucket.h"
#include "link/pool.h"
#include "link/queue.h"
#include "link/reorder.h"
#include "link/socket.h"
#include "link/tls.h"
#include "link/wire.h"

#define CONTROL_BYTES 1024 /* all small messages of one moment */

enum lane_state {
	LANE_DOWN,
	LANE_DIALLING, /* the keeper works on it */
	LANE_UP        /* given to the lane's thread */
};

/* What a lane is sending: one message, or several small ones. */
struct lane_out {
	const uint8_t *at;
	size_t left;
	struct frame *frame; /* NULL: the small ones below */
	uint8_t control[CONTROL_BYTES];
};

struct lane {
	/* Set once. */
	struct link *link;
	unsigned index;
	int wake_fd;
	pthread_t thread;

	/* Atomic. */
	struct channel_count count;

	/* Under the link's lock. */
	enum lane_state state;
	struct channel *next; /* from the keeper, not yet taken */
	pthread_cond_t given;
	int fd;             /* of the connection in use, or -1 */
	int64_t dial_at_us; /* not before */
	int backoff_ms;
	int64_t round_trip_us; /* 0: unknown */
	bool idle;             /* in poll, could send: wake it if there is work */
	bool tell_close, update_keys;

	/* The lane's thread only. */
	struct channel *channel;
	struct wire_decoder decoder;
	struct frame *incoming; /* its payload is being received */
	int low_water;          /* SO_RCVLOWAT of the connection */
	struct lane_out out;
	bool blocked; /* the socket takes no more now */
	bool broken;  /* end of this connection */
	bool said_close;
	int64_t tokens_at_us; /* the cap forbids data until then */
	bool ended;           /* our direction is at its end */
	int64_t up_us, heard_us;
	int64_t ping_due_us, ping_wanted_us; /* wanted: asked, no answer yet; 0: none */
	bool ping_now, pong_now;
	uint64_t pong_time;
};

enum link_phase {
	LINK_NEW,
	LINK_RUNNING,
	LINK_CLOSED, /* link_close() here */
	LINK_FAILED, /* broken for good, or ended by the peer */
};

struct link {
	/* Set once, before the threads start. */
	struct link_config config;
	struct tls *tls;
	struct socket_source source;
	int keeper_fd; /* eventfd: wakes the keeper */
	pthread_t keeper;
	bool keeper_started;
	unsigned lanes_started;
	struct lane lanes[LINK_CONNECTIONS_MAX];

	/* A lock of its own. */
	struct pool pool;

	/* Atomic. */
	_Atomic uint64_t bandwidth;

	pthread_mutex_t lock;
	/* Under the lock. */
	pthread_cond_t changed; /* phase, lanes up, acknowledgements */
	enum link_phase phase;
	GError *failure;  /* why not RUNNING any more */
	int64_t ended_us; /* since when */
	char *tell;       /* the reason for the peer */
	struct queue queues[LINK_STREAM_LAST];
	struct reorder reorders[LINK_STREAM_LAST];
	struct bucket bucket;
	unsigned up;            /* lanes that are up */
	uint32_t ever_up;       /* bit a lane */
	bool reached;           /* somebody with our key was there */
	unsigned trials_failed; /* of connections to him, over which only little came */
	/* When something last arrived at the peer that had not before, or began to wait for that; and
	 * whether a lane broke since. */
	int64_t progress_us;
	uint64_t progress_reconnects; /* those before */
	bool broke_since;
	unsigned last_woken;
	int64_t dark_since_us, dark_base_us; /* 0: not dark; base: what the limit counts from */
	int timeout_ms;
	uint64_t reconnects, refused_peers;
	char last_problem[320];
};

/* ---- link.c: with the lock held ---- */

/* End it for good; takes FAILURE. TELL (may be NULL: say nothing) goes to the peer. */
void link_end(struct link *link, enum link_phase phase, GError *failure, const char *tell);
/* The peer broke the protocol. */
void link_fail_protocol(struct link *link, const char *problem);
/* There is something to send: wake a lane that is idle. */
void link_wake_lane(struct link *link);
void link_note_problem(struct link *link, const char *what, const char *problem);
/* Something new has arrived at the peer, or nothing is on its way to it. */
void link_note_progress(struct link *link, int64_t now_us);
/* Is something on its way that is not known to have arrived? */
bool link_waits_for_arrival(const struct link *link);
/* The round trip of the empty path, 0: unknown. */
int64_t link_round_trip_us(const struct link *link);

/* When LANE may be dialled again: now, then 100 ms later, then twice that ... */
void link_back_off(struct lane *lane, int64_t now_us);

void wake_fd_set(int fd);
void wake_fd_clear(int fd);

/* ---- lane.c ---- */
void *lane_main(void *lane);

/* ---- keeper.c ---- */
void *keeper_main(void *link);
