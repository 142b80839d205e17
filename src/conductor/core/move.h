/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one journey, shared by the phases. Only inside src/conductor.
 *
 * Thread rules: everything belongs to the main thread, which runs the loop, except what walk.c's
 * callers hand to journey_call() and the two structs that say so themselves.
 */
#pragma once
#include "base/inhibit.h"
#include "host/guard/guard.h"
#include "host/host.h"
#include "conductor/core/dialogue.h"
#include "conductor/disks/disk_yield.h"
#include "conductor/core/interfaces.h"
#include "conductor/endings/ending.h"
#include "conductor/conductor.h"
#include "conductor/convergence/throttle.h"
#include "conductor/core/limits.h"
#include "conductor/convergence/job_stats.h"
#include "forecast/forecast.h"
#include "journal/finish_mark.h"
#include "journal/journal.h"

struct journey;
struct journey_phase {
	const char *name;  /* stable word */
	const char *doing; /* marked with N_(); NULL: it takes no time */
	bool (*run)(struct journey *journey, GError **error);
	unsigned kinds; /* bits: of which enum journey_kind */
};
/* The name of the phase in which libvirt migrates; in the journal, too. */
#define JOURNEY_PERFORM "perform"

struct journey {
	const struct journey_request *request;
	const struct journey_observer *observer;
	struct journey_report *report;

	const struct journey_phase *phase;
	int64_t started_us;
	bool cancelled; /* by a signal, or from another terminal */
	bool over;      /* nothing more is done that could be cancelled */
	guint signals[2];
	struct journey_limits limits; /* as they are now */

	/* other terminals (answers.h) */
	struct desk *desk; /* NULL: none */
	int64_t shown_ms;
	const char *shown_doing;

	/* hosts */
	struct remote_shell shell;
	struct host_address *addresses[JOURNEY_SIDES];
	const char *vm; /* name, UUID or id, without the host */
	struct guard *guard;
	struct host *hosts[JOURNEY_SIDES];
	char *host_uuids
		[JOURNEY_SIDES]; /* libvirt's, by which they are known again; NULL: not known */
	virDomainPtr domain;     /* at the source */
	char *live_xml;
	GPtrArray *nics;     /* struct domain_nic */
	char **absent_media; /* images that only the definition has, and the destination has not */
	GPtrArray *paths;    /* struct check_shared_path */
	/* the disks are in the report: struct journey_disk */
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

	struct rehearsal *rehearsal; /* (rehearsal.h); NULL: it is none */
	struct ahead *ahead;         /* what was measured before (prediction.h); NULL: nothing */
	struct forecast *forecast;   /* of this very journey; NULL: nothing was measured before */

	/* movers and link */
	char key[65]; /* hex; wiped at the end */
	struct dialogue *movers[JOURNEY_SIDES];
	JsonObject *hellos[JOURNEY_SIDES];
	bool linked;     /* they are connected to each other */
	bool mover_lost; /* one ended by itself, as when it was killed: its files may be left */
	char *socket;    /* the same path at both hosts */
	struct splice *splice;

	/* disks */
	char *disks_socket;       /* the same path at both hosts; NULL: nothing is copied */
	bool sync_writes;         /* the guest waits for each write at the destination */
	int64_t disk_rate_us;     /* of the first look at the guest's writes; 0: there was none */
	GPtrArray *files;         /* struct journey_file (files.h); NULL: none */
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
	bool unrecorded;        /* this journey has no row in it */
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
	struct journey_progress progress;
	uint64_t wire_before; /* of earlier movers of this very journey */
	uint64_t wire_seen;   /* in the last stats, at that time */
	int64_t wire_seen_us;
	uint64_t stream_seen; /* likewise */
	int64_t stream_seen_us;
	int lanes_up;              /* of the link, as a mover said last */
	struct watch_link link;    /* as the source's mover said last */
	struct postcopy *postcopy; /* postcopy.h; NULL: nobody asked for it */
};

/* Loop and threads (loop.c). */
/* Turn the loop until DONE(data), for at most TIMEOUT_MS (-1: for ever). False: cancelled (unless
 * UNCANCELLABLE), or the time is over, with *error. */
bool journey_wait(struct journey *journey, bool (*done)(void *data), void *data, int timeout_ms,
		  GError **error);
/* Turn the loop for so long, or until cancelled. */
void journey_pause(struct journey *journey, int ms);
/* Run CALL in a thread and turn the loop until it returns. The thread is never left behind. When
 * it takes long that is said; and once cancelled, before the migration, its libvirt connections
 * are cut. */
void journey_call(struct journey *journey, void (*call)(void *data), void *data);
/* Say what is being done now. */
void journey_say(struct journey *journey, const char *doing);
void journey_note(struct journey *journey, bool important, const char *format, ...)
	G_GNUC_PRINTF(3, 4);
/* A finding of a later phase than "check"; takes it. A warning is noted, too. */
void journey_add_finding(struct journey *journey, struct check_finding *finding);
void journey_show_progress(struct journey *journey);
/* The progress as people and other terminals may see it: once the VM stands still, without the
 * numbers that were read before. */
struct journey_progress journey_shown_progress(const struct journey *journey);
void journey_catch_signals(struct journey *journey);
void journey_release_signals(struct journey *journey);
/* The user wants it to end. False when it is too late, or asked for already; *what says it. */
bool journey_cancel(struct journey *journey, const char **what);
/* False with WATARI_ERROR_CANCELLED once the user cancelled. */
bool journey_check_cancel(struct journey *journey, GError **error);

/* The frame around a journey: report, clock, signals; and everything given back. */
void journey_prepare(struct journey *journey);
void journey_clear(struct journey *journey);

/* How long the VM may stand still; 0: as long as it takes. */
int64_t journey_stop_ceiling_ms(const struct journey *journey);
/* What QEMU may leave to the stop at any time, see limit_init(). Known after the checks. */
int64_t journey_easy_ms(const struct journey *journey);
/* The flags of virDomainMigrate3. */
unsigned journey_migrate_flags(struct journey *journey);

/* As the request has them. */
void journey_set_limits(struct journey *journey);
/* Both hosts and the VM at the source anew, after a connection broke. */
bool journey_reconnect(struct journey *journey, GError **error);

/* The phases, one file each. */
bool phase_request(struct journey *journey, GError **error);
bool phase_connect(struct journey *journey, GError **error);
bool phase_check(struct journey *journey, GError **error);
bool phase_link(struct journey *journey, GError **error);
bool phase_measure(struct journey *journey, GError **error);
bool phase_forecast(struct journey *journey, GError **error);
bool phase_rehearsed(struct journey *journey, GError **error);
bool phase_share(struct journey *journey, GError **error);
bool phase_secrets(struct journey *journey, GError **error);
bool phase_disks(struct journey *journey, GError **error);
bool phase_belongings(struct journey *journey, GError **error);
bool phase_movers(struct journey *journey, GError **error);
bool phase_directory(struct journey *journey, GError **error);
bool phase_stay(struct journey *journey, GError **error);
bool phase_save(struct journey *journey, GError **error);
bool phase_restore(struct journey *journey, GError **error);
bool phase_ask(struct journey *journey, GError **error);
bool phase_perform(struct journey *journey, GError **error);
/* Only its end: a post-copy that broke is recovered. */
bool phase_perform_resume(struct journey *journey, GError **error);
bool phase_copy(struct journey *journey, GError **error);
bool phase_define(struct journey *journey, GError **error);
