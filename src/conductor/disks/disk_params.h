/* SPDX-License-Identifier: Apache-2.0 */
/* What libvirt's migration must be told of the disks. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* The flags for the disks as they were found to be. */
unsigned disk_params_flags(struct move *move);
/* Its content goes over the link. In a rehearsal that of a block device which is the user's own does not:
 * that could not be taken back. */
bool disk_params_copies(const struct move *move, const struct move_disk *disk);
/* The VM's description as it is there: its disks at their new places, networks and addresses by their names there; FLAGS of virDomainGetXMLDesc. Caller frees. */
char *disk_params_describe_there(struct move *move, unsigned flags, GError **error);
/* Add the parameters for copied disks and for what has another name there; nothing when there are none. FLAGS as for the call. */
bool disk_params_add(struct move *move, unsigned flags, virTypedParameterPtr *params, int *count,
		     int *max, GError **error);
/* The flags of virDomainMigrate3. */
unsigned move_migrate_flags(struct move *move);
