/* SPDX-License-Identifier: Apache-2.0 */
/* A move that failed in libvirt's or QEMU's own words: at which host that is mended, and how. */
#pragma once
#include <stdbool.h>

/* The next step for what libvirt SAYS about VM between HERE and THERE. DISKS: some are copied. Caller
 * frees. */
char *qemu_error_advise(const char *says, const char *vm, const char *here, const char *there,
			bool disks);
