/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the checks: what each of them gets. Not for other rooms (they use check.h). */
#pragma once
#include "host/checks/check.h"
#include "host/listener.h"
#include "host/room.h"
#include "host/xml.h"

struct check_context {
	struct host *source, *destination;
	virDomainPtr domain;
	const struct check_options *options;
	const char *name; /* the VM's, for messages */
	struct xml *vm;   /* the running VM's description */
	struct xml *source_capabilities, *destination_capabilities;
	struct xml *destination_domain; /* domain capabilities for this VM's machine; NULL: none */
	const struct room *room; /* the destination's memory; NULL: its kernel could not be asked */
	const unsigned char *cpu_map; /* a bit for each processor of the destination: it is on */
	int cpu_count;                /* at most so many bits are set; 0: not known */
	bool defined; /* `vm` is only the definition, as it is when the VM is started next */
	char *arch, *machine, *virt_type, *emulator;
	GPtrArray *findings;
};

void check_vm_state(struct check_context *context);
void check_vm_off(struct check_context *context);
void check_same_host(struct check_context *context);
void check_name_taken(struct check_context *context);
void check_jobs(struct check_context *context);
void check_tcg(struct check_context *context);
void check_persistence(struct check_context *context);
void check_dry_run(struct check_context *context);

void check_machine(struct check_context *context);
void check_cpu(struct check_context *context);
void check_tsc(struct check_context *context);

void check_memory(struct check_context *context);
void check_placement(struct check_context *context);

void check_postcopy(struct check_context *context);

void check_disks(struct check_context *context);
void check_access(struct check_context *context);

void check_versions(struct check_context *context);
void check_locks(struct check_context *context);
void check_secrets(struct check_context *context);
void check_agent(struct check_context *context);

void check_host_devices(struct check_context *context);
void check_filesystems(struct check_context *context);
void check_other_devices(struct check_context *context);
void check_things(struct check_context *context);
void check_vsock(struct check_context *context);
void check_sockets(struct check_context *context);
void check_offered(struct check_context *context);
void check_networks(struct check_context *context);
void check_labels(struct check_context *context);

/* The VM's description as the destination will have it (options->mapping); FLAGS of virDomainGetXMLDesc. NULL with *error. */
struct xml *check_read_vm(struct check_context *context, unsigned flags, GError **error);

/* Parts of checks that need no host, for unit tests. */
/* HERE, THERE: lock managers' names, NULL: not known. */
void check_judge_locks(struct check_context *context, const char *here, const char *there);
/* How much memory the VM has now, and may have at most. */
struct check_need {
	uint64_t now_bytes, most_bytes;
};
/* False when libvirt does not say. */
bool check_read_need(struct check_context *context, struct check_need *need);
void check_judge_memory(struct check_context *context, const struct room *room,
			const struct check_need *need);
/* Huge pages; ALL_BYTES: the guest's memory. */
void check_judge_pages(struct check_context *context, const struct room *room, uint64_t all_bytes);
/* The destination does not know the VM's machine type: says why, and the cure. */
void check_refuse_machine(struct check_context *context);
/* The VM OTHER at the destination has the vsock number CID. */
void check_judge_cid(struct check_context *context, uint64_t cid, const char *other);
/* THERE: what the destination listens on; NULL: not known. */
void check_judge_sockets(struct check_context *context, const struct listeners *there);
/* Is NUMBER in a list like "0-3,^2,8"? */
bool check_is_in_set(const char *set, int64_t number);
/* NETWORK: the description of the network NAME at the destination. */
void check_judge_network(struct check_context *context, const char *name, struct xml *network);

/* Which of WORDS ("d/path", see check_access.c) a user cannot come to: "N K" a line. NULL: not asked. Caller frees. */
char *check_ask_access(const struct remote_shell *shell, const struct host_address *host, int uid,
		       int gid, const GPtrArray *words, GError **error);

/* The next step that names a CPU model. BASELINE: a CPU that both hosts have, as libvirt finds it;
 * HERE, THERE: domain capabilities; each may be NULL. Caller frees. */
char *check_suggest_cpu(struct xml *baseline, struct xml *here, struct xml *there);
/* The same, all asked from the hosts. */
char *check_advise_cpu(struct check_context *context);
/* What HOST says it can give a VM of this machine type; EMULATOR, VIRT_TYPE NULL: any. NULL:
 * nothing. */
struct xml *check_ask_domain(struct host *host, struct check_context *context, const char *emulator,
			     const char *virt_type);

/* At the destination: which of the given things are missing. KIND is a test of test(1) ("-e", "-b")
 * with PREFIX before each word. NULL: the host could not be asked. Free with g_strfreev. */
char **check_missing_there(struct check_context *context, const char *kind, const char *prefix,
			   const GPtrArray *words);
/* The source's last libvirt error as a finding. */
void check_add_virt(struct check_context *context, const char *check, enum check_result result,
		    const char *next, const char *prefix);

/* What the list of belongings has to say of each (belongings/belongings.h), which stands above this room. */
void check_belongings(struct check_context *context);
