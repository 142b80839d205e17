/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the two movers, made and read. */
#include "mover/core/peer_messages.h"

#include "base/error.h"
#include "base/i18n.h"

#include <string.h>

bool talk_send_bytes(struct link *link, uint32_t kind, const void *bytes, size_t length,
		     GError **error)
{
	if (length > TALK_MAX)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("a message too long to send"));
	struct link_frame *frame = link_frame_begin(link, LINK_TALK, error);
	if (!frame)
		return false;
	if (length > 0)
		memcpy(frame->data, bytes, length);
	frame->length = length;
	frame->flags = kind;
	memset(frame->tag, 0, sizeof(frame->tag));
	link_frame_commit(link, LINK_TALK, frame);
	return true;
}

bool talk_send_json(struct link *link, uint32_t kind, JsonObject *body, GError **error)
{
	g_autoptr(JsonObject) owned = body ? body : json_object_new();
	g_autofree char *text = json_print_object(owned);
	return talk_send_bytes(link, kind, text, strlen(text), error);
}

struct link_frame *talk_receive(struct link *link, int timeout_ms, GError **error)
{
	bool finished = false;
	g_autoptr(GError) broken = NULL;
	struct link_frame *frame = link_receive(link, LINK_TALK, timeout_ms, &finished, &broken);
	if (frame)
		return frame;
	if (broken)
		g_propagate_error(error, g_steal_pointer(&broken));
	else if (!finished)
		error_set(error, WATARI_ERROR_INTERNAL, NULL,
			  _("the other mover has not answered for %d ms"), timeout_ms);
	return NULL;
}

JsonObject *talk_parse(const struct link_frame *frame, GError **error)
{
	return json_parse_object((const char *) frame->data, frame->length, error);
}
