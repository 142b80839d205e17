/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one move, shared by the phases. Only inside src/conductor.
 *
 * Thread rules: everything belongs to the main thread, which runs the loop, except what walk.c's
 * callers hand to move_call() and the two structs that say so themselves.
 */
#pragma once
#include "base/inhibit.h"
#include "host/guard/guard.h"
#include "host/host.h"
#include "conductor/core/dialogue.h"
#include "conductor/convergence/disk_yield.h"
#include "conductor/core/interfaces.h"
#include "conductor/core/end_facts.h"
#include "conductor/core/report.h"
#include "conductor/convergence/throttle.h"
#include "conductor/core/limits.h"
#include "conductor/convergence/job_stats.h"
#include "forecast/forecast.h"
#include "journal/finish_mark.h"
#include "journal/journal.h"

/* The switch to post-copy (postcopy/postcopy.h). */
enum postcopy_state {
	POSTCOPY_NONE,
	POSTCOPY_ASKED,   /* from here on nothing is broken off */
	POSTCOPY_REFUSED, /* libvirt did not do it: the move goes on as one without */
	POSTCOPY_MADE,    /* the source's mover has seen it in the stream */
};

struct move;
struct move_phase {
	const char *name;  /* stable word */
	const char *doing; /* marked with N_(); NULL: it takes no time */
	bool (*run)(struct move *move, GError **error);
	unsigned kinds; /* bits: of which enum move_kind */
};
/* The name of the phase in which libvirt migrates; in the journal, too. */
#define MOVE_PERFORM "perform"
#define MOVE_PARTS_MAX 32

struct move {
	const struct move_request *request;
	const struct move_observer *observer;
	struct move_report *report;

	const struct move_phase *phase;
	int64_t started_us;
	bool cancelled; /* by a signal, or from another terminal */
	bool over;      /* nothing more is done that could be cancelled */
	guint signals[2];
	struct move_limits limits;         /* as they are now */
	void *part_states[MOVE_PARTS_MAX]; /* each part's own (part.h) */

	/* other terminals (answers.h) */
	struct server *server; /* NULL: none */
	int64_t shown_ms;
	const char *shown_doing;

	/* hosts */
	struct remote_shell shell;
	struct host_address *addresses[MOVE_SIDES];
	const char *vm; /* name, UUID or id, without the host */
	struct guard *guard;
	struct host *hosts[MOVE_SIDES];
	char *host_uuids
		[MOVE_SIDES]; /* libvirt's, by which they are known again; NULL: not known */
	virDomainPtr domain;  /* at the source */
	char *live_xml;
	GPtrArray *nics;     /* struct domain_nic */
	char **absent_media; /* images that only the definition has, and the destination has not */
	GPtrArray *paths;    /* struct check_shared_path */
	/* the disks are in the report: struct move_disk */
	bool persistent;      /* at the source, before */
	bool paused_before;   /* by somebody, at the source */
	bool undefine_source; /* once the VM runs at the destination */

	/* the end (settle.c) */
	bool outdated;              /* the VM has been moved again since (which_move.h) */
	bool dry_run;               /* look and say, change nothing */
	enum ending_ran ran;        /* what a person says of it; MAYBE: nothing */
	enum ending_closed closed;  /* of a move that is picked up: how the journal says it ended */
	const char *situation;      /* stable word */
	bool postcopy_failed;       /* both hosts say that the VM's post-copy broke */
	const char *situation_what; /* translated, or NULL */
	bool acted;

	/* quick (quick.h, through.h) */
	bool suspending;         /* the stop was asked for, in the middle of a live migration */
	int64_t stood_ms;        /* through a directory: from the stop to the go; 0: not known */
	struct through *through; /* NULL: over the link */
	struct quick *quick;     /* NULL: the VM runs as it moves, or libvirt is not called */

	struct rehearsal *rehearsal;   /* (rehearsal.h); NULL: it is none */
	struct prediction *prediction; /* what was measured before (prediction.h); NULL: nothing */
	struct forecast *forecast;     /* of this very move; NULL: nothing was measured before */

	/* movers and link */
	char key[65]; /* hex; wiped at the end */
	struct dialogue *movers[MOVE_SIDES];
	JsonObject *hellos[MOVE_SIDES];
	bool linked;     /* they are connected to each other */
	bool mover_lost; /* one ended by itself, as when it was killed: its files may be left */
	char *socket;    /* the same path at both hosts */
	struct ssh_link *ssh_link;

	/* disks */
	char *disks_socket;       /* the same path at both hosts; NULL: nothing is copied */
	bool sync_writes;         /* the guest waits for each write at the destination */
	int64_t disk_rate_us;     /* of the first look at the guest's writes; 0: there was none */
	GPtrArray *files;         /* struct move_file (files.h); NULL: none */
	JsonArray *private_files; /* at the source, that go after a good end; NULL: none */
	JsonArray *images;        /* those made at the destination (images.h); NULL: none */
	bool still;               /* the VM stands still, as libvirt says */
	int64_t still_us;         /* since when */
	struct disk_yield_look disks_before; /* of the guest's own requests */

	/* a VM that is off (offline.h); NULL: it runs */
	struct offline *offline;
	bool defining; /* its definition at the destination was tried at least */

	/* the migration itself */
	struct inhibit
		*inhibit; /* this machine is not to sleep meanwhile; NULL: nothing is moved */
	struct journal *journal;
	bool unrecorded;        /* this move has no row in it */
	JsonObject *belongings; /* what is carried beside the VM (belongings.h); NULL: not read */
	unsigned long long old_downtime_ms; /* QEMU's limit before; 0: not read */
	unsigned resume_flags;              /* of virDomainMigrate3, when resolve recovers; or 0 */
	bool performing;                    /* virDomainMigrate3 is running */
	bool performed;                     /* it was called at all */
	bool broken_off;                    /* resolve: its conductor had got that far */
	unsigned events_noted;              /* of what movers said (mover_events.c) */
	int finish_said;                    /* enum finish_said, atomic (finish.h) */
	struct finish_mark *finish_mark;    /* NULL: none could be made */
	bool stopped, loaded, released;     /* what the source mover saw */
	int64_t stopped_us, released_us;
	char *mover_reason; /* why a mover gave up, in its own words */
	char *mover_next;   /* what would do; NULL: nothing is known */
	char *refuse_code;  /* of what kind its reason was, as movers name them; or NULL */
	struct throttle throttle;
	struct move_progress progress;
	uint64_t wire_before; /* of earlier movers of this very move */
	uint64_t wire_seen;   /* in the last stats, at that time */
	int64_t wire_seen_us;
	uint64_t stream_seen; /* likewise */
	int64_t stream_seen_us;
	int lanes_up;               /* of the link, as a mover said last */
	struct job_stats_link link; /* as the source's mover said last */
	enum postcopy_state postcopy_state;
	struct postcopy *postcopy; /* postcopy.h; NULL: nobody asked for it */
};

/* Post-copy, as all parts need to know it. It was asked for and not refused: nothing is broken off any more. */
static inline bool postcopy_asked(const struct move *move)
{
	return move->postcopy_state == POSTCOPY_ASKED || move->postcopy_state == POSTCOPY_MADE;
}
/* libvirt did not do it, or it could not be written down. */
static inline bool postcopy_refused(const struct move *move)
{
	return move->postcopy_state == POSTCOPY_REFUSED;
}
static inline bool postcopy_switched(const struct move *move)
{
	return move->postcopy_state == POSTCOPY_MADE;
}
/* No host alone has the whole VM, until the last page has come. */
static inline bool postcopy_holds(const struct move *move)
{
	return postcopy_switched(move) && !move->released;
}

/* Loop and threads (loop.c). */
/* Turn the loop until DONE(data), for at most TIMEOUT_MS (-1: for ever). False: cancelled (unless
 * UNCANCELLABLE), or the time is over, with *error. */
bool move_wait(struct move *move, bool (*done)(void *data), void *data, int timeout_ms,
	       GError **error);
/* Turn the loop for so long, or until cancelled. */
void move_pause(struct move *move, int ms);
/* Run CALL in a thread and turn the loop until it returns. The thread is never left behind. When
 * it takes long that is said; and once cancelled, before the migration, its libvirt connections
 * are cut. */
void move_call(struct move *move, void (*call)(void *data), void *data);
/* Say what is being done now. */
void move_say(struct move *move, const char *doing);
void move_note(struct move *move, bool important, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* A finding of a later phase than "check"; takes it. A warning is noted, too. */
void move_add_finding(struct move *move, struct check_finding *finding);
/* A warning, or what was accepted: told. */
void move_note_finding(struct move *move, const struct check_finding *finding);
void move_show_progress(struct move *move);
/* The progress as people and other terminals may see it: once the VM stands still, without the
 * numbers that were read before. */
struct move_progress move_shown_progress(const struct move *move);
void move_catch_signals(struct move *move);
void move_release_signals(struct move *move);
/* The user wants it to end. False when it is too late, or asked for already; *what says it. */
bool move_cancel(struct move *move, const char **what);
/* False with WATARI_ERROR_CANCELLED once the user cancelled. */
bool move_check_cancel(struct move *move, GError **error);

/* The frame around a move: report, clock, signals; and everything given back. */
void move_prepare(struct move *move);
void move_clear(struct move *move);

/* How long the VM may stand still; 0: as long as it takes. */
int64_t move_stop_ceiling_ms(const struct move *move);
/* What QEMU may leave to the stop at any time, see limit_init(). Known after the checks. */
int64_t move_easy_ms(const struct move *move);
/* As the request has them. */
void move_set_limits(struct move *move);
/* Both hosts and the VM at the source anew, after a connection broke. */
bool move_reconnect(struct move *move, GError **error);

/* The phases, one file each. */
bool phase_request(struct move *move, GError **error);
bool phase_connect(struct move *move, GError **error);
bool phase_check(struct move *move, GError **error);
bool phase_link(struct move *move, GError **error);
bool phase_measure(struct move *move, GError **error);
bool phase_forecast(struct move *move, GError **error);
bool phase_rehearsed(struct move *move, GError **error);
bool phase_share(struct move *move, GError **error);
bool phase_secrets(struct move *move, GError **error);
bool phase_disks(struct move *move, GError **error);
bool phase_belongings(struct move *move, GError **error);
bool phase_movers(struct move *move, GError **error);
bool phase_directory(struct move *move, GError **error);
bool phase_stay(struct move *move, GError **error);
bool phase_save(struct move *move, GError **error);
bool phase_restore(struct move *move, GError **error);
bool phase_ask(struct move *move, GError **error);
bool phase_perform(struct move *move, GError **error);
/* Only its end: a post-copy that broke is recovered. */
bool phase_perform_resume(struct move *move, GError **error);
bool phase_copy(struct move *move, GError **error);
bool phase_define(struct move *move, GError **error);
