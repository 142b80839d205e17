/* SPDX-License-Identifier: Apache-2.0 */
/* One libvirt host: its connection and what we know about it. */
#pragma once
#include "host/remote/address.h"
#include "host/guard/guard.h"

#include "base/error.h"

#include <libvirt/libvirt.h>
#include <stdint.h>

struct host {
	const struct host_address *address; /* not owned; outlives the host */
	virConnectPtr connection;
	char *name;    /* its own host name */
	char *uuid;    /* its host UUID, from the capabilities */
	char *machine; /* its /etc/machine-id (machine.h); NULL: not known */
	char *instance; /* what only this machine, as it runs now, can say of itself; NULL: not known */
	unsigned long libvirt_version, qemu_version; /* 1000000 * major + 1000 * minor + release */
	int qemu_uid, qemu_gid; /* who QEMU runs as (dac base label); -1: unknown */
	char *security_model;   /* "apparmor", "selinux" or NULL */
	char *capabilities;     /* XML */
};

/* Make libvirt's library ready. Before threads that open hosts or start programs: it sets a variable of the
 * environment. */
void host_prepare_library(void);
/* Open URI (from guard_attach) and read the facts. WATARI_ERROR_REFUSED. */
struct host *host_open(const struct host_address *address, const char *uri, GError **error);
/* guard_attach and host_open in one; when it fails, the error has ssh's words too. */
struct host *host_open_guarded(struct guard *guard, enum guard_side side,
			       const struct remote_shell *shell, const struct host_address *address,
			       GError **error);
void host_free(struct host *host);

/* libvirt's last error as ours, with PREFIX. Always returns false. */
bool host_error(GError **error, enum watari_error code, const char *next, const char *prefix);
/* "9.0.0". Caller frees. */
char *host_format_version(unsigned long version);

/* Where a VM is now, asked from the host. */
enum host_vm_state {
	HOST_VM_ABSENT,
	HOST_VM_OFF,
	HOST_VM_RUNNING,
	HOST_VM_PAUSED,
	HOST_VM_INCOMING
};
struct host_vm {
	enum host_vm_state state;
	int reason; /* libvirt's reason for the state (enum virDomain*Reason) */
	bool persistent;
	bool busy;          /* a job of libvirt's is at work on it (a migration, a save, ...) */
	uint64_t job_bytes; /* that it has processed so far; 0: none, or not known */
};
/* False only when the host did not answer. */
bool host_vm_ask(struct host *host, const char *uuid, struct host_vm *vm, GError **error);
const char *host_vm_state_name(enum host_vm_state state); /* stable word for JSON */
/* libvirt's reason as a stable word ("migration", "post-copy", "user", ...), "unknown" otherwise.
 */
const char *host_vm_reason_name(const struct host_vm *vm);
