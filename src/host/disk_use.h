/* SPDX-License-Identifier: Apache-2.0 */
/* Who else uses a file? Asked of libvirt, which knows its VMs; two writers on one image destroy it. */
#pragma once
#include "host/host.h"

/* The name of a VM at HOST, running or only defined, that has PATH as a disk or beneath one, or as its firmware's variables; the VM
 * EXCEPT_UUID (may be NULL) does not count. NULL: nobody, or libvirt did not answer (*error). Caller
 * frees. */
char *disk_use_find(struct host *host, const char *path, const char *except_uuid, GError **error);
