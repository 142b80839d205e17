/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a move before it: measured by the movers, asked of libvirt, wished by the user. All that
 * a forecast stands on, and nothing else; kept with it in the journal and in plan files. */
#pragma once
#include "forecast/dirty.h"

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { FACTS_LOOKS = 8, FACTS_HOSTS = 2 };

/* How a trial of the encoders went on a sample of the memory; `share` 0: not tried. */
struct facts_packing {
	double share; /* packed / original */
	double speed; /* original bytes a second of one thread */
};

struct facts_host {
	double cpus, load;
	double busy, stolen; /* of all processors' time; 0..1 */
	double speed;        /* bytes a second of a fixed piece of work; 0: not known */
	double clock_ms;     /* ahead of the conductor's clock */
};

struct plan_facts {
	/* the VM */
	double memory; /* bytes */
	double vcpus;
	double paused;  /* 1: it stands still already */
	double easy_ms; /* of memory that QEMU may leave to the stop at any time; 0: not known */
	/* its memory, by a sample; sample_pages 0: none could be had */
	double sample_pages, whole_pages;
	double zero, data,
		unknown; /* parts of all pages: zero or not there, something in it, swapped out */
	/* parts of the pages that hold something, whose content lies on disks: on those that are copied before
	 * the memory; on shared ones that the destination has looked through before, or must first look
	 * through, which takes so long */
	double on_copied, on_indexed, on_new, look_through_s;
	double twice;                       /* of them, what is as an earlier one, and on no disk */
	struct facts_packing batch, stream; /* each group alone; as a long stream */
	double changed_bytes;               /* on the wire for a changed page */
	struct dirty_look looks[FACTS_LOOKS]; /* of the whole memory */
	unsigned look_count;
	/* Pages a second that it *writes*, changed by that or not, counted by QEMU over one second;
	 * 0: not known. */
	double dirtied_rate;
	/* of a rehearsal; 0: there was none */
	double setup_ms;           /* from libvirt's call to QEMU's first byte */
	double page_s, page_bytes; /* for a page that holds something, in the first pass */
	double data_pages;         /* of all memory */
	/* the link */
	double link_rate; /* bytes a second; 0: not known */
	double round_trip_ms, loss, connections;
	/* source, destination */
	struct facts_host hosts[FACTS_HOSTS];
	/* disks that are copied: their images; what the guest writes to them meanwhile */
	double disk_bytes, disk_write_rate;
	/* of their content, looked through (all 0: it was not): what the destination has nothing like; what is only
	 * named, for it was sent before or lies on an image that the destination has looked through; what
	 * lies on images there that it must look through first, which takes so long */
	double disk_own, disk_named, disk_found, disk_look_s;
	struct facts_packing disk_batch, disk_stream; /* of what the destination may not have */
	double disk_bandwidth;                        /* what is taken of them at most; 0: no cap */
	double disk_rate,
		disk_share; /* of a rehearsal: content a second, wire / content; 0: none */
	/* wishes */
	double bandwidth; /* 0: none */
	double max_downtime_ms;
	double workers; /* threads that encode */
	double prewarm; /* 1: a first pass before a quick move's stop */
};

/* Facts as JSON and back; what is absent is 0. */
JsonObject *plan_facts_describe(const struct plan_facts *facts);
void plan_facts_read(struct plan_facts *facts, JsonObject *object);
