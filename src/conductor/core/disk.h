/* SPDX-License-Identifier: Apache-2.0 */
/* One disk of the VM in one move: what becomes of it, where it goes, and what the movers say of it.
 * Belongs to the report, which outlives the move. */
#pragma once
#include "host/disk.h"
#include "host/image.h"

#include <json-glib/json-glib.h>
#include <stdint.h>

enum move_disk_kind {
	MOVE_DISK_UNKNOWN, /* not looked at yet */
	MOVE_DISK_EMPTY,
	MOVE_DISK_READ_ONLY,
	MOVE_DISK_NETWORK, /* both hosts reach it under one name */
	MOVE_DISK_SHARED,
	MOVE_DISK_COPIED,
	MOVE_DISK_CARRIED, /* only read, and copied before the move (files.h) */
	MOVE_DISK_KIND_LAST
};

struct move_disk {
	struct disk *disk; /* owned */
	enum move_disk_kind kind;
	bool proven;   /* a shared one, and not only believed */
	bool trusted;  /* its proof failed, or that of what it stands on; the user says --trust */
	uint64_t size; /* that the guest sees; 0: not asked */
	uint64_t allocated;     /* of all its images at the source, at most `size` */
	const char *place;      /* what --disk says; NULL: nothing */
	char **source_chain;    /* a copied one's images at the source, the top one first */
	char **source_formats;  /* in which they are read */
	int64_t written_before; /* bytes, by the guest, when measuring began (disk_rate.h) */

	/* a copied one */
	char *destination, *format; /* path and format there */
	bool block;                 /* that is a block device */
	bool given;                 /* which was there before, and is the user's own */
	uint64_t slice;             /* it is larger, and the disk is its first so many bytes; 0 */
	bool fresh;                 /* made by this move: reads as zeroes */
	bool encrypted;             /* a new image with the same passphrase (LUKS) */
	bool whole;                 /* its file goes as it is, whatever is in it: the VM is off */
	bool allocate;              /* all its room is taken, as at the source */
	struct image_traits traits; /* of a new qcow2 */
	char *backing, *backing_format; /* the file there that it stands on; NULL: none */

	/* from the movers */
	uint64_t written; /* bytes that were taken of the source's QEMU, zeros not counted */
	uint64_t literal; /* bytes of its content that were no reference, at the source */
	char *digest;
	bool agreed;      /* the digests of both sides, at the last flush */
	int64_t verified; /* blocks read back and found equal; 0: not asked for, or not yet */
};

/* One for each of DISKS (of struct disk, which are taken out); free with g_ptr_array_unref. */
GPtrArray *move_disks_new(GPtrArray *disks);
struct move_disk *move_disk_find(GPtrArray *disks, const char *target); /* or NULL */
/* As what its bytes are written there by who copies them: not what the VM reads in it. */
const char *move_disk_written_as(const struct move_disk *disk);
char *move_disk_export(const struct move_disk *disk); /* its name for QEMU; caller frees */
unsigned move_disks_count(const GPtrArray *disks, enum move_disk_kind kind);
const char *move_disk_kind_name(enum move_disk_kind kind); /* stable word */
/* For the report; DISKS may be NULL. */
JsonArray *move_disks_describe(const GPtrArray *disks);
/* What a mover's stats and its event "disk-agreed" say. */
void move_disks_take_stats(GPtrArray *disks, JsonArray *stats);
void move_disks_take_digest(GPtrArray *disks, JsonObject *event);
void move_disks_take_proof(GPtrArray *disks, JsonObject *event); /* "disk-verified" */
