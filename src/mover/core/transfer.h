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
#include "mover/disks/disks.h"
#include "mover/core/owners.h"
#include "mover/setup.h"
#include "mover/watchdog.h"
#include "stream/reader.h"

#include <pthread.h>

#define RUN_WORKERS_MAX 16 /* threads that encode or decode */
#define RUN_THREADS_MAX (6 + RUN_WORKERS_MAX)

/* How far this move is. Only forward; run_advance() and run_refuse() exclude each other, so that
 * "released" and "refused" cannot both happen. */
enum run_phase {
	RUN_SETUP,
	RUN_MOVING,   /* QEMU is at the local socket */
	RUN_STOPPED,  /* the VM is stopped at the source */
	RUN_POSTCOPY, /* ... and may run at the destination, with part of its memory */
	RUN_LOADED,   /* the destination has loaded everything; the gate is closed */
	RUN_RELEASED, /* SHUT went to the source QEMU: the destination may run from here on */
	RUN_REFUSED,  /* broken off: the VM resumes at the source */
	RUN_PHASE_LAST
};

/* What the encoders made of it. */
struct run_content {
	struct sorter_counts pages;
	uint64_t encoded_bytes; /* in frames of memory; what they were made of: run->bytes */
	uint64_t disk_bytes;    /* in frames of disks */
	int64_t encode_us;      /* CPU time of the workers */
};

struct run {
	/* set once, before the threads start */
	struct mover_settings *settings;
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
	enum run_phase phase;
	int qemu; /* connection to the local QEMU, -1: none; its threads use it, run_refuse shuts it
		   */
	int qemu_pid; /* destination: who listens on the socket; 0: unknown */
	char *refuse_code, *refuse_reason;
	struct stream_stats stream; /* copy of the reader's counters */
	char *opaque_reason;
	struct stream_block *blocks; /* block_count of them, once the list was seen */
	uint32_t block_count;
	uint64_t frames, bytes;     /* read at the source, emitted at the destination; bytes of the
				   * source's QEMU at both */
	struct run_content content; /* source */
	uint8_t chain[TAG_BYTES];   /* of those */
	GQueue events;              /* JsonObject *, on their way to the main thread */
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
	struct requests *requests; /* source */

	/* that of the thread that reads the stream (postcopy_run.h) */
	bool switch_noted, hurried;
	gint switch_asked; /* atomic: of QEMU, whatever it answered */

	/* main thread */
	unsigned timer;
	pthread_t threads[RUN_THREADS_MAX];
	unsigned thread_count;
	int running; /* atomic: threads that have not ended */
};

const char *run_phase_name(enum run_phase phase);

/* Make the socket's directory and (source) the listening socket. */
struct run *run_new(struct mover_settings *settings, GError **error);
/* Ends the threads, removes socket and directory. */
void run_free(struct run *run);
/* Start the pipelines of the role; the link must be up. */
bool run_start(struct run *run, GError **error);

/* True if the phase is now PHASE (a no-op if it is further already, false once refused). */
bool run_advance(struct run *run, enum run_phase phase);
enum run_phase run_get_phase(struct run *run);
/* Until all that was sent is consumed at the destination, or nothing more will be; UNTIL_US at the latest. */
void run_wait_arrived(struct run *run, int64_t until_us);
/* Break the move off: closes QEMU's socket and the link, which makes libvirt resume the source.
 * Has no effect once released; the first reason is kept. CODE is a word of docs/control.md. */
void run_refuse(struct run *run, const char *code, const char *format, ...) G_GNUC_PRINTF(3, 4);
void run_refuse_error(struct run *run, const char *code, const GError *error);

/* No QEMU will come with memory: the source's reader agrees with the destination on what was sent, and
 * the move ends. */
void run_finish_without_memory(struct run *run);
/* The local QEMU's connection belongs to RUN from here on (false: refused meanwhile). */
bool run_adopt_qemu(struct run *run, int fd);
/* Post {"t":"event","what":WHAT,...} to the main thread; takes EXTRA (may be NULL). Any thread. */
void run_post(struct run *run, const char *what, JsonObject *extra);
/* Count one frame that passed, with BYTES of QEMU's stream in it (0: it is for a disk), and fold its
 * tag into the chain. */
void run_count_frame(struct run *run, struct tag_context *context, const uint8_t tag[TAG_BYTES],
		     uint64_t bytes);

/* The roles (source.c, destination.c): start their threads with run_spawn. */
bool source_start(struct run *run, GError **error);
bool destination_start(struct run *run, GError **error);
bool run_spawn(struct run *run, void *(*body)(void *run), GError **error);
/* Each thread's last call. */
void *run_thread_ends(struct run *run);
