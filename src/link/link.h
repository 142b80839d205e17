/* SPDX-License-Identifier: Apache-2.0 */
/* The link between two movers: K TCP connections that behave as one ordered, encrypted, patient
 * pipe in each direction.
 *
 * Knows frames, keys and sockets; knows no QEMU. Both ends run this same code.
 *
 *  - Each connection ("lane") is TLS 1.3 with an external pre-shared key; the source mover is the
 *    TLS client, whichever side opened the socket. One thread owns both directions of a lane.
 *  - A frame belongs to a stream, has a sequence number in it, and is delivered in order within
 *    the stream. Lanes take the next frame whenever they are free, so frames arrive out of order
 *    and are put right by the receiver.
 *  - A frame is kept until the receiving mover says it has *consumed* it (link_frame_done there).
 *    Unconsumed bytes of a direction are bounded by the window, so memory and bytes in flight are.
 *    window = max(2 x rate x round trip, 30 ms of drain), measured, inside [window_min,
 * window_max].
 *  - A broken lane reconnects with back-off; its unacknowledged frames go out again on any lane;
 *    the receiver drops what it has already. While no lane is up the link is "dark": after
 *    timeout_ms of that it fails for good. So it does when lanes come up and break again and for
 *    timeout_ms nothing arrives over them.
 *
 * Memory of one link: the payload of the frames it holds is at most window_max for LINK_MEMORY and
 * 1 MiB for each other stream, per direction. They lie in blocks of powers of two (small frames that
 * were begun in a full-size block are moved when they are committed), so at most twice that; frames of
 * LINK_PAYLOAD_MAX waste nothing. Besides: min(window_max / 4, 16 MiB) of free blocks kept for the next
 * frames, 4 MiB of blocks not yet moved, 0.3 MiB a lane, 1 MiB of tables. In practice the window is
 * what counts, and that is 30 ms of what the peer takes. The peer is held to the same bounds: one that
 * sends more than it was allowed ends the link.
 *
 * Wire format: link/wire.h. Errors: WATARI_ERROR_INTERNAL with a message for a person.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_PAYLOAD_MAX (256 * 1024)
#define LINK_TAG_BYTES 16
#define LINK_CONNECTIONS_MAX 16
#define LINK_KEY_BYTES 32

enum link_stream {
	LINK_MEMORY, /* source to destination: the migration stream, and disks in between */
	LINK_DISK,   /* both ways: answers about disks, pages that were asked for */
	LINK_RETURN, /* destination to source: the return path */
	LINK_TALK,   /* both ways: what the two movers agree on (JSON objects); never waits behind
			data */
	LINK_STREAM_LAST
};

struct link_config {
	bool source;                 /* role: TLS client; otherwise TLS server */
	unsigned connections;        /* K, 1..LINK_CONNECTIONS_MAX */
	uint8_t key[LINK_KEY_BYTES]; /* pre-shared, fresh for each migration */
	char id[33];                 /* names the migration; the PSK identity */
	/* Bytes; 0: 64 MiB; at least 1 MiB. The smaller of both ends' counts. */
	uint64_t window_max;
	/* Bytes a second on the wire in this direction, all lanes together; 0: no cap. Counted: what
	 * the sockets are given, and 66 bytes of Ethernet, IP and TCP headers for each 1448 of it. */
	uint64_t bandwidth;
	int timeout_ms; /* how long the link may be dark; 60000 */
	bool plain;     /* no TLS: bench only, refused by the mover */
};

/* One frame. Written by its owner between begin and commit, read between receive and done. */
struct link_frame {
	uint8_t *data; /* capacity LINK_PAYLOAD_MAX */
	size_t length;
	uint8_t tag[LINK_TAG_BYTES]; /* of the decoded bytes; set and checked by the mover */
	uint32_t flags;              /* carried as they are; the mover's */
	uint64_t sequence;           /* set by the link */
};

struct link;

struct link *link_new(const struct link_config *config, GError **error);

/* Where the sockets come from: exactly one of these before link_start, on either side. */
bool link_listen_tcp(struct link *link, const char *address, uint16_t first_port,
		     uint16_t last_port, uint16_t *port, GError **error); /* 0,0: any port */
bool link_listen_unix(struct link *link, const char *path, GError **error);
bool link_connect_tcp(struct link *link, const char *const *addresses, uint16_t port,
		      GError **error);

/* Start the threads; link_wait_up() returns when all K lanes are up once, which takes more than a few
 * packets each way over each of them (wire.h, "The trial"). */
bool link_start(struct link *link, GError **error);
bool link_wait_up(struct link *link, int timeout_ms, GError **error);
/* Has somebody who knows the key been reached? Then the rest is only a matter of time, or fails with the
 * reason. */
bool link_wait_reached(struct link *link, int timeout_ms);

/* Sending, from any number of threads: begin blocks while the window is full; NULL when the link
 * failed or was closed. commit hands the frame over and gives it its place in the stream: frames arrive
 * in the order of commit; the link frees it when it is acknowledged. cancel gives it back.
 * LINK_TALK goes first, then LINK_RETURN, LINK_DISK, LINK_MEMORY. */
struct link_frame *link_frame_begin(struct link *link, enum link_stream stream, GError **error);
void link_frame_commit(struct link *link, enum link_stream stream, struct link_frame *frame);
void link_frame_cancel(struct link *link, enum link_stream stream, struct link_frame *frame);
/* No more frames will be committed on STREAM; the peer's receive returns NULL without error after
 * the last one. */
void link_finish(struct link *link, enum link_stream stream);
/* Wait until everything committed on STREAM is consumed at the other end. */
bool link_drain(struct link *link, enum link_stream stream, int timeout_ms, GError **error);

/* False, with the reason, once the link has failed or was closed by either side. */
bool link_check(struct link *link, GError **error);

/* Receiving: the next frame in order. NULL with *error: failed. NULL without: the peer finished,
 * or TIMEOUT_MS passed (-1: wait for ever, 0: do not wait); *finished tells which. done acknowledges
 * and frees; in any order, from any thread. What has arrived in order is delivered even after the
 * link failed; nothing is after link_close() here. */
struct link_frame *link_receive(struct link *link, enum link_stream stream, int timeout_ms,
				bool *finished, GError **error);
void link_frame_done(struct link *link, enum link_stream stream, struct link_frame *frame);

/* From any thread. */
void link_set_bandwidth(struct link *link, uint64_t bytes_per_s);
void link_set_timeout(struct link *link, int timeout_ms); /* counts from now if dark already */
/* From now on a short wait counts for more than throughput: little may be in flight. For good. */
void link_hurry(struct link *link);
/* End it: all blocked calls return, the peer is told REASON (NULL: an orderly end). What is still on
 * its way is lost: link_drain() what must arrive. */
void link_close(struct link *link, const char *reason);
/* Closes too, and waits for the last words, at most about a second. All frames must be given back. */
void link_free(struct link *link);

struct link_stats {
	unsigned up; /* lanes that are up now */
	uint64_t reconnects;
	uint64_t wire_sent, wire_received;        /* bytes given to and taken from the sockets */
	uint64_t lane_sent[LINK_CONNECTIONS_MAX]; /* each lane's share of wire_sent */
	uint64_t lane_received[LINK_CONNECTIONS_MAX];
	uint64_t in_flight; /* bytes sent, not yet consumed at the peer */
	uint64_t consumed;  /* bytes consumed at the peer, since the start */
	uint64_t consumed_frames;
	uint64_t window;
	double drain_rate;     /* bytes a second consumed by the peer, smoothed */
	int64_t round_trip_us; /* between the movers, smallest seen; 0: unknown */
	int64_t dark_ms;       /* since when no lane is up; 0: not dark */
	uint64_t resent_frames;
	uint64_t refused_peers; /* connections that failed the handshake */
};
void link_get_stats(struct link *link, struct link_stats *stats);
/* The window of LINK_MEMORY begins anew, as if nothing had been sent: what bytes that mean nothing have taught
 * says too much of those that have to be packed and unpacked. While nothing is in flight. */
void link_forget_rate(struct link *link);
/* TCP segments that the kernels of the connections that are up now have sent, and of those again. */
void link_count_segments(struct link *link, uint64_t *sent, uint64_t *again);
/* Is the network what limits right now: the lanes' kernels have bytes that they may not send yet, or
 * the cap forbids more, or no lane is up? A receiver that is slow to digest does not make it so. */
bool link_is_limit(struct link *link);

/* Tests: cut one lane's socket; force a TLS key update on every lane; sends on. */
void link_test_cut(struct link *link, unsigned lane);
void link_test_update_keys(struct link *link);
