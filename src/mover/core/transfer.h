/* SPDX-License-Identifier: Apache-2.0 */
/* One move as its mover sees it: what the pipelines, the gate and the control channel share.
 *
 * Threads: the main thread (control channel, timers), and per role the pipelines' threads.
 *
 *   source:       reader    QEMU's socket  -> batches, sorted
 *                 encoders  batches        -> frames of LINK_MEMORY (mover/pipeline/encoders.h)
 *                 returner  LINK_RETURN    -> QEMU's socket, and the gate
 *   destination:  decoders  LINK_MEMORY    -> batches (mover/pipeline/decoders.h)
 *                 emitter   batches        -> QEMU's socket
 *                 listener  QEMU's socket  -> LINK_RETURN
 *                 talker    LINK_TALK      -> answers at the gate
 *
 * and those of disk_source.h and disk_destination.h, if disks move along.
 */
#pragma once
#include "content/sorter.h"
#include "control/messages.h"
#include "mover/core/disk_list.h"
#include "mover/core/owners.h"
#include "mover/core/setup.h"
#include "mover/core/watchdog.h"
#include "stream/reader.h"

#include <pthread.h>

#define TRANSFER_WORKERS_MAX 16 /* threads that encode or decode */
#define TRANSFER_THREADS_MAX (6 + TRANSFER_WORKERS_MAX)

/* How far this move is. Only forward; transfer_advance() and transfer_refuse() exclude each other, so that
 * "released" and "refused" cannot both happen. */
enum transfer_phase {
	TRANSFER_SETUP,
	TRANSFER_MOVING,   /* QEMU is at the local socket */
	TRANSFER_STOPPED,  /* the VM is stopped at the source */
	TRANSFER_POSTCOPY, /* ... and may run at the destination, with part of its memory */
	TRANSFER_LOADED,   /* the destination has loaded everything; the gate is closed */
	TRANSFER_RELEASED, /* SHUT went to the source QEMU: the destination may run from here on */
	TRANSFER_REFUSED,  /* broken off: the VM resumes at the source */
	TRANSFER_PHASE_LAST
};

/* What the encoders made of it. */
struct transfer_content {
	struct sorter_counts pages;
	uint64_t encoded_bytes; /* in frames of memory; what they were made of: run->bytes */
	uint64_t disk_bytes;    /* in frames of disks */
	int64_t encode_us;      /* CPU time of the workers */
};

struct transfer;
/* What is different at the source (source.c) and at the destination (destination.c). NULL: nothing is. */
struct transfer_role {
	/* Long before the destination is prepared and QEMU is asked for anything. */
	bool (*look)(struct transfer *transfer, GError **error);
	/* The pipelines; the link is up. */
	bool (*start)(struct transfer *transfer, GError **error);
	/* Whoever waits is to come home. Any thread. */
	void (*break_off)(struct transfer *transfer);
	/* Blocks that BATCH refers to are looked for; a worker's thread. */
	void (*fetch)(struct transfer *transfer, struct batch *batch, struct tag_context *pages);
	/* What was written is with the storage: before it is agreed on. */
	bool (*flush)(struct transfer *transfer, GError **error);
	/* All that it has made; the threads have ended. */
	void (*end)(struct transfer *transfer);
};

struct transfer {
	/* set once, before the threads start */
	const struct transfer_role *role;
	struct mover_setup *settings;
	struct link *link;
	struct watchdog *watchdog; /* the mover's; NULL: the ceiling is not this side's to keep */
	int listener;              /* source: where libvirt will connect */
	char *socket_path;         /* source and destination */
	bool made_directory;
	uint8_t page_key
		[TAG_KEY_BYTES]; /* of the pages' tags: that of the kept indexes if there are
					  * seeds, else the migration's */
	struct disks *disks;     /* NULL: neither disks nor seeds */
	struct owners *owners;   /* source; NULL: no QEMU of libvirt's */
	int disk_listener;       /* source: where QEMU mirrors disks to */
	char *disk_socket;       /* its path; at the destination that of QEMU's server */
	int no_memory;           /* source, atomic: the VM is off, and its disks are done */
	void (*on_event)(JsonObject *event, void *data); /* in the main thread */
	void *on_event_data;

	/* under `lock` */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* phase, frames, awake */
	enum transfer_phase phase;
	int qemu; /* connection to the local QEMU, -1: none; its threads use it, transfer_refuse shuts it
		   */
	int qemu_pid; /* destination: who listens on the socket; 0: unknown */
	char *refuse_code, *refuse_reason;
	struct stream_stats stream; /* copy of the reader's counters */
	char *opaque_reason;
	struct stream_block *blocks; /* block_count of them, once the list was seen */
	uint32_t block_count;
	uint64_t frames, bytes; /* read at the source, emitted at the destination; bytes of the
				   * source's QEMU at both */
	struct transfer_content content; /* source */
	uint8_t chain[TAG_BYTES];        /* of those */
	GQueue events;                   /* JsonObject *, on their way to the main thread */
	int64_t stopped_us, loaded_us, released_us; /* 0: not yet; monotonic clock */
	struct {                                    /* source: the conductor (conductor_check.h) */
		int64_t asked, answered;            /* numbers of questions; 0: none */
		int64_t answered_us;
	} awake;

	/* Source. What is sorted is submitted before the lock is given back: so the order in which the
	 * sorter sees things is that in which they travel. */
	pthread_mutex_t sorting;
	struct sorter *sorter; /* under it */

	/* of the pipelines, freed when their threads have ended; those of the other role are NULL */
	struct encoders *encoders;
	struct decoders *decoders;
	struct resolver *resolver; /* the emitter's, but for what does not change any more */
	struct disk_source *disk_source;
	struct disk_destination *disk_destination;
	struct seeds *seeds;
	struct page_requests *requests; /* source */

	/* that of the thread that reads the stream (postcopy_run.h) */
	bool switch_noted, hurried;
	gint switch_asked; /* atomic: of QEMU, whatever it answered */

	/* main thread */
	unsigned timer;
	pthread_t threads[TRANSFER_THREADS_MAX];
	unsigned thread_count;
	int running; /* atomic: threads that have not ended */
};

const char *transfer_phase_name(enum transfer_phase phase);

/* Make the socket's directory and (source) the listening socket. */
struct transfer *transfer_new(struct mover_setup *settings, const struct transfer_role *role,
			      GError **error);
/* Ends the threads, removes socket and directory. */
void transfer_free(struct transfer *transfer);
/* Start the pipelines of the role; the link must be up. */
bool transfer_start(struct transfer *transfer, GError **error);

/* True if the phase is now PHASE (a no-op if it is further already, false once refused). */
bool transfer_advance(struct transfer *transfer, enum transfer_phase phase);
enum transfer_phase transfer_get_phase(struct transfer *transfer);
/* Until all that was sent is consumed at the destination, or nothing more will be; UNTIL_US at the latest. */
void transfer_wait_arrived(struct transfer *transfer, int64_t until_us);
/* Break the move off: closes QEMU's socket and the link, which makes libvirt resume the source.
 * Has no effect once released; the first reason is kept. CODE is a word of docs/control.md. */
void transfer_refuse(struct transfer *transfer, const char *code, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
void transfer_refuse_error(struct transfer *transfer, const char *code, const GError *error);

/* No QEMU will come with memory: the source's reader agrees with the destination on what was sent, and
 * the move ends. */
void transfer_finish_without_memory(struct transfer *transfer);
/* The local QEMU's connection belongs to RUN from here on (false: refused meanwhile). */
bool transfer_adopt_qemu(struct transfer *transfer, int fd);
/* Post {"t":"event","what":WHAT,...} to the main thread; takes EXTRA (may be NULL). Any thread. */
void transfer_post(struct transfer *transfer, const char *what, JsonObject *extra);
/* Count one frame that passed, with BYTES of QEMU's stream in it (0: it is for a disk), and fold its
 * tag into the chain. */
void transfer_count_frame(struct transfer *transfer, struct tag_context *context,
			  const uint8_t tag[TAG_BYTES], uint64_t bytes);

/* The roles (source.c, destination.c): start their threads with transfer_spawn. */
extern const struct transfer_role source_role, destination_role;
bool transfer_spawn(struct transfer *transfer, void *(*body)(void *transfer), GError **error);
/* Each thread's last call. */
void *transfer_thread_ends(struct transfer *transfer);
