/* SPDX-License-Identifier: Apache-2.0 */
/* Who else uses a file or block device? Asked of libvirt, which knows its VMs; two writers on one
 * image destroy it. */
#pragma once
#include "host/host.h"
#include "host/remote/remote.h"

/* The name of a VM at HOST, running or only defined, that has PATH as a disk, beneath one or as its
 * firmware's variables, by this name or by another one (a link, /dev/vg/x and /dev/dm-3); the VM EXCEPT_UUID (may be NULL) does not
 * count. NULL: nobody, or it could not be found out (*error). Caller frees. */
char *disk_use_find(const struct remote_shell *shell, struct host *host, const char *path,
		    const char *except_uuid, GError **error);
