/* SPDX-License-Identifier: Apache-2.0 */
/* The secrets that a VM's disks and devices are opened with: passphrases of encrypted disks, keys of Ceph and iSCSI, which
 * libvirt keeps at each host. A value goes from one libvirt to the other over our connections to them, and is in our memory
 * for that long only: never in an argument, a file, a log or the journal. Errors: WATARI_ERROR_INTERNAL. Blocks. */
#pragma once
#include "host/host.h"
#include "host/xml.h"

#include <libvirt/libvirt.h>
#include <stdbool.h>

/* One of them, as the VM's description names it. */
struct secret {
	char *key;    /* its UUID or its usage */
	char *target; /* the disk that needs it; NULL: another device */
	bool by_uuid;
	int usage; /* virSecretUsageType */
};

/* Those that VM names, each once. Free with g_ptr_array_unref. */
GPtrArray *secret_list(struct xml *vm);
/* Libvirt's, or NULL; virGetLastError() says why. */
virSecretPtr secret_look_up(virConnectPtr connection, const struct secret *secret);

/* Whether the value can be had at all; *error says why not. */
bool secret_gives(virSecretPtr secret, GError **error);
/* Have both the same value? False too where one of them is not given. */
bool secret_differs(virSecretPtr one, virSecretPtr other);

/* Make ONE at CONNECTION, without a value and with TOKEN in its description, by which it is known until it is filled. */
bool secret_define(virSecretPtr one, virConnectPtr connection, const char *token, GError **error);
/* Then give it the value of ONE, and ONE's description. */
bool secret_fill(virSecretPtr one, virConnectPtr connection, GError **error);
/* Remove the secret UUID; with TOKEN only if it is that of secret_define(). Gone is good, and so is another one. */
bool secret_remove(virConnectPtr connection, const char *uuid, const char *token, GError **error);
