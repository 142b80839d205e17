/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a running VM as its description names them, and the description with other places
 * for them. Only documents: nothing here asks a host. */
#pragma once
#include "base/error.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What holds the bytes of a disk. */
enum disk_source {
	DISK_NOTHING, /* an empty drive */
	DISK_FILE,
	DISK_BLOCK,
	DISK_VOLUME, /* of a storage pool; `pool` and `volume` */
	DISK_OTHER,  /* reached over a network, a directory, ... */
};

struct disk {
	char *target; /* "vda" */
	char *alias;  /* "virtio-disk0": what libvirt calls it towards QEMU */
	enum disk_source source;
	char *path; /* of a file or block device at the source; of a volume once somebody asked */
	char *pool, *volume;
	char *format; /* "raw", "qcow2", ... */
	char *cache;  /* as QEMU has it; "default" where nothing is said */
	bool writable, removable;
	char *encryption; /* "luks", ...: what QEMU decrypts it with; NULL: it is not encrypted */
	char *secret; /* libvirt's secret for that, its UUID or (if `secret_by_usage`) its usage */
	bool secret_by_usage;
	bool several; /* may be written by several VMs at a time */
	/* the files that it stands on, and their formats (""), as far as libvirt says */
	char **backing, **backing_formats;
};

void disk_free(struct disk *disk);
/* From the live XML; free with g_ptr_array_unref. */
GPtrArray *disk_read_all(const char *live_xml, GError **error);

/* Where a disk lies at the destination. */
struct disk_move {
	const char *target;      /* which disk */
	const char *source;      /* only if it lies there so far; NULL: wherever */
	const char *destination; /* path */
	bool block;              /* and that is a block device */
	const char *format;
	uint64_t slice; /* the disk is the first so many bytes of it; 0: all of it */
};
/* XML with the COUNT disks at their new places. Caller frees. */
char *disk_adapt_xml(const char *xml, const struct disk_move *moves, guint count, GError **error);
