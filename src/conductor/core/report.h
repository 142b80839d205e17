/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a move: its progress while it runs, words and questions for a person, and the closing report. */
#pragma once
#include "base/error.h"
#include "host/checks/check.h"
#include "conductor/core/disk.h"
#include "conductor/core/request.h"

#include <json-glib/json-glib.h>

/* Which of the two hosts; index of arrays. */
enum move_side { MOVE_SOURCE, MOVE_DESTINATION, MOVE_SIDES };

enum move_outcome {
	MOVE_REFUSED, /* nothing has moved */
	MOVE_MIGRATED,
	MOVE_FAILED,    /* the VM runs at the source, or ended there by itself */
	MOVE_CANCELLED, /* the VM runs at the source */
	MOVE_ATTENTION,
	MOVE_PLANNED,   /* nothing was to be moved */
	MOVE_REHEARSED, /* the VM ran at the source all the time */
	MOVE_OUTCOME_LAST
};
const char *move_outcome_name(enum move_outcome outcome); /* stable word */
const char *move_kind_name(enum move_kind kind);          /* stable word */

/* What is known while it runs. Numbers are 0 while unknown. */
struct move_progress {
	const char *phase;              /* stable word */
	const char *doing;              /* for a person, translated */
	uint64_t bytes;                 /* of QEMU's stream so far */
	uint64_t wire_bytes;            /* on the wire, both directions */
	double rate;                    /* bytes a second on the wire, smoothed */
	uint64_t remaining, total;      /* guest memory, as QEMU says */
	uint64_t disk_done, disk_total; /* bytes of disks, while they are copied; else 0 */
	int iteration;
	double dirty_rate; /* bytes a second */
	int64_t left_ms;   /* estimate; -1: unknown */
	int64_t asked_us;  /* when QEMU was asked for remaining, total and dirty_rate */
	int64_t elapsed_ms;
};

struct move_observer {
	void (*progress)(const struct move_progress *progress, void *data);
	void (*note)(const char *text, bool important, void *data); /* a line for a person */
	/* Ask a person; false: no, or nobody is there to be asked. NULL: nobody is. */
	bool (*confirm)(const char *question, void *data);
	void *data;
};

/* One side of the closing report. Strings are owned by the report; NULL where unknown. */
struct move_report_side {
	char *address;  /* as the user gave it */
	char *host;     /* its own name */
	char *vm_state; /* stable word of host_vm_state_name, or "unknown" */
	int64_t mover_rss_kib, mover_cpu_ms;
	JsonObject *content; /* what its mover says that it did to the bytes, or NULL */
};

struct move_report {
	char id[33]; /* of the migration; empty before it had one */
	char *vm_name, *vm_uuid;
	int kind; /* enum move_kind */
	struct move_report_side sides[MOVE_SIDES];
	enum move_outcome outcome;
	char *failed_phase; /* stable word, or NULL */
	int64_t started_s;  /* since the epoch */
	int64_t total_ms, migration_ms;
	JsonObject *phases_ms;       /* each phase by its stable word, in order; or NULL */
	int64_t downtime_ms;         /* the best known whole figure; -1: unknown */
	int64_t stop_to_release_ms;  /* as the source mover saw it; -1 */
	int64_t libvirt_downtime_ms; /* as libvirt says for the whole; -1 */
	uint64_t stream_bytes, wire_sent, wire_received;
	uint64_t pages_normal, pages_zero;
	int iterations;
	bool postcopy;             /* the switch was made */
	int postcopy_recoveries;   /* tries to mend it */
	JsonObject *page_requests; /* of the guest's, as the source's mover counts them, or NULL */
	int64_t limit_ms;          /* QEMU's limit of the downtime at the end; 0: never set */
	JsonArray *limits;     /* each change of it with its reasons (limit_decisions.c), or NULL */
	JsonArray *decisions;  /* of the ladder (ladder_decisions.c), or NULL */
	int slowdown;          /* percent: the most that QEMU slowed the VM down by */
	int broken_off;        /* switchovers that did not fit into the ceiling */
	int64_t broken_off_ms; /* after so long; -1: none, or unknown */
	int64_t hand_over_ms;  /* of the ceiling, what was kept for it */
	char *opaque;          /* why the stream was carried as plain bytes, or NULL */
	char *link;            /* "tcp", "ssh" or NULL */
	int connections;
	uint64_t *lane_bytes; /* connections of them, or NULL */
	int64_t round_trip_us, reconnects;
	bool stream_agreed; /* both movers counted the same bytes with the same tag */
	char *stream_tag;
	char *memory_proof; /* "none", "sample", "full" as done */
	uint64_t memory_pages, memory_bytes;
	char **memory_skipped;
	char *state_path,
		*state_digest; /* quick --through: the saved state and its SHA-256, or NULL */
	uint64_t state_bytes;
	int shared_disks; /* files proven to be the same for both hosts */
	GPtrArray *disks; /* struct move_disk, or NULL */
	JsonArray *files; /* that are no disks of the link (disks/files.h), or NULL */
	int snapshots;    /* carried */
	JsonArray *
		compared; /* files of both hosts that are the same, and how that is known, or NULL */
	JsonArray *carried; /* names of what was carried beside the VM, or NULL */
	JsonObject *
		preconditions; /* what a plan holds fast (conductor/measure/preconditions.h), or NULL */
	JsonObject *rehearsal; /* what was seen in it (conductor/measure/rehearsal.h), or NULL */
	JsonObject *parts;     /* each part's own numbers by its name (part.h), or NULL */
	JsonObject *forecast;  /* what was measured and predicted before, or NULL */
	GPtrArray *findings;   /* struct check_finding, or NULL */
	GPtrArray *notes;      /* char *: warnings for the report */
};

/* An empty report; move_run() does it by itself. */
void move_report_init(struct move_report *report);
void move_report_clear(struct move_report *report);
/* The report as one JSON document with stable field names (man watari-migrate); ERROR may be NULL.
 * Caller frees. */
char *move_report_print(const struct move_report *report, const GError *error);
