/* SPDX-License-Identifier: Apache-2.0 */
/* How a server's unix socket is connected to by somebody who looks at who is there. */
#pragma once
#include <glib.h>

/* The connected descriptor, which is the caller's; -1 with the reason. */
typedef int (*disk_dial)(const char *socket, void *data, GError **error);
