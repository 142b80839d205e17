/* SPDX-License-Identifier: Apache-2.0 */
/* What the conductor may ask a mover to do: one function a message (docs/control.md). */
#pragma once
#include "base/inhibit.h"
#include "mover/control.h"
#include "base/task.h"
#include "mover/core/transfer.h"

/* Main thread only. */
struct mover {
	GMainLoop *loop;
	struct control *control;
	struct mover_setup *settings;
	struct transfer *transfer; /* from setup on */
	unsigned link_attempt;     /* number of the link set-up; an older one's answer is dropped */
	GThread *waiter;           /* waits for the lanes of the current attempt */
	unsigned limit_timer;
	struct watchdog *watchdog; /* NULL: there is none, or none is needed */
	struct image_lock *hold;   /* images that nobody may write to meanwhile; NULL: none */
	struct task *probe, *measure, *fingerprint; /* NULL: none was asked for */
	char *print_path;                           /* of the last fingerprint */
	GPtrArray *unread;       /* paths that were too large to be read whole; NULL: none */
	struct task *digests;    /* reads them; NULL: not yet */
	struct inhibit *inhibit; /* this host is not to be shut down meanwhile; NULL: not started */
	bool linked, started, ended, orphan;
	bool dismissed; /* “bye” was said: the end of the control channel is no loss */
	bool heard;     /* the conductor, of late */
};

void commands_got(JsonObject *message, void *mover);
/* Close the link and wait for whoever still waits for its lanes. */
void commands_drop_link(struct mover *mover, const char *reason);

/* mover.c */
void mover_got_event(JsonObject *event, void *mover);
void mover_watch_stop(struct mover *mover);
