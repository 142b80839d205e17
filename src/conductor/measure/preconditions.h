/* SPDX-License-Identifier: Apache-2.0 */
/* What a move must find as its plan found it. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* {"field": "text", ...}, from what the check has read. Unref it. */
JsonObject *world_describe(struct journey *journey);
/* The part of it that libvirt's DESCRIPTION of the VM gives. */
void world_describe_vm(JsonObject *world, const char *description);
/* WATARI_ERROR_REFUSED with what has changed since BEFORE. */
bool world_compare(JsonObject *before, JsonObject *now, GError **error);
