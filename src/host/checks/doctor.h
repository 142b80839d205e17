/* SPDX-License-Identifier: Apache-2.0 */
/* What works at one host and what does not, for `watari doctor`: each finding with its next step.
 */
#pragma once
#include "host/checks/check.h"

/* Look at HOST. Returns a GPtrArray of struct check_finding, in the order a person reads them; a
 * host that cannot be reached at all gives findings too. NULL with *error only for faults of our
 * own. Stable names: "ssh", "libvirt", "qemu", "keepalive", "watari", "sockets", "userfaultfd",
 * "security", "ports", "memory", "same-host". OTHERS gets what tells this host from the next ones, and a
 * host that libvirt cannot tell from an earlier one of them is a finding. */
GPtrArray *doctor_run(const struct remote_shell *shell, const struct host_address *address,
		      GPtrArray *others, GError **error);
/* Nothing yet. Free with g_ptr_array_unref. */
GPtrArray *doctor_new_others(void);
/* What confines QEMU there, by libvirt's word for it (NULL: it says none). HELPER_ALLOWS: AppArmor's rule for the
 * incoming socket is there. ENFORCING: SELinux does, and not only notes. */
void doctor_judge_security(GPtrArray *findings, const char *model, bool helper_allows,
			   bool enforcing);
