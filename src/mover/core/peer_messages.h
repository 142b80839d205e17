/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the two movers: frames of LINK_TALK whose flags say what they are. */
#pragma once
#include "base/json.h"
#include "link/link.h"

#define TALK_MAX LINK_PAYLOAD_MAX

/* Takes BODY (NULL: none). */
bool talk_send_json(struct link *link, uint32_t kind, JsonObject *body, GError **error);
bool talk_send_bytes(struct link *link, uint32_t kind, const void *bytes, size_t length,
		     GError **error);
/* The next message, or NULL (*error: failed or, at the source, silence). Give it back with
 * link_frame_done. TIMEOUT_MS -1: for ever. */
struct link_frame *talk_receive(struct link *link, int timeout_ms, GError **error);
/* The message as an object; NULL if it is none. */
JsonObject *talk_parse(const struct link_frame *frame, GError **error);
