/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt refuses to migrate a VM that has snapshots, though their data lies in the shared disks
 * and only their descriptions ("metadata") belong to a host. So these are taken off at the source,
 * written down in the journal first, and put back where the VM ends up. */
#pragma once
#include <json-glib/json-glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>

/* All snapshots of DOMAIN, parents first: an array of {name, current, xml}. NULL with *error. */
JsonArray *snapshots_read(virDomainPtr domain, GError **error);
/* Forget their metadata at DOMAIN. */
bool snapshots_remove(virDomainPtr domain, JsonArray *snapshots, GError **error);
/* Define them again at DOMAIN; those that are there already stay. */
bool snapshots_restore(virDomainPtr domain, JsonArray *snapshots, GError **error);
