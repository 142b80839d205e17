/* SPDX-License-Identifier: Apache-2.0 */
/* What a move must find as its plan found it. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* {"field": "text", ...}, from what the check has read. Unref it. */
JsonObject *preconditions_describe(struct move *move);
/* The part of it that libvirt's DESCRIPTION of the VM gives. */
void preconditions_describe_vm(JsonObject *preconditions, const char *description);
/* WATARI_ERROR_REFUSED with what has changed since BEFORE. */
bool preconditions_compare(JsonObject *before, JsonObject *now, GError **error);
