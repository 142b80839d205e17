/* SPDX-License-Identifier: Apache-2.0 */
/* Agrees with the other mover before QEMU hears that all is there. */
#include "mover/core/gate.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/i18n.h"
#include "base/wait.h"
#include "control/messages.h"
#include "mover/core/conductor_check.h"
#include "mover/core/fault.h"
#include "mover/core/proof.h"
#include "mover/core/peer_messages.h"

#include <string.h>

#define ANSWER_MS 10000 /* no answer at the gate means no agreement */
#define EMITTED_MS 2000 /* SHUT is here, so the last frame is being counted right now */

static JsonObject *describe_emitted(struct transfer *transfer)
{
	char chain[TAG_HEX_BYTES];
	JsonObject *body = json_object_new();
	pthread_mutex_lock(&transfer->lock);
	tag_hex(transfer->chain, chain);
	json_object_set_int_member(body, "frames", (gint64) transfer->frames);
	json_object_set_int_member(body, "bytes", (gint64) transfer->bytes);
	pthread_mutex_unlock(&transfer->lock);
	json_object_set_string_member(body, "chain", chain);
	return body;
}

/* ---- source ---- */

/* What the destination says that it has emitted. It is asked although it could tell beforehand: its
 * answer also says that it is still there, which the hand-over must not go without. */
static JsonObject *ask_emitted(struct transfer *transfer, JsonObject *mine, GError **error)
{
	if (!talk_send_json(transfer->link, TALK_AGREE, json_object_ref(mine), error))
		return NULL;
	struct link_frame *frame = talk_receive(transfer->link, ANSWER_MS, error);
	if (!frame) {
		if (error && !*error)
			error_set(error, WATARI_ERROR_INTERNAL, NULL,
				  _("the destination mover ended at the gate"));
		return NULL;
	}
	JsonObject *theirs = frame->flags == TALK_AGREED ? talk_parse(frame, error) : NULL;
	link_frame_done(transfer->link, LINK_TALK, frame);
	return theirs;
}

static bool is_same_stream(JsonObject *mine, JsonObject *theirs)
{
	return json_get_int(theirs, "frames", -1) == json_get_int(mine, "frames", -2) &&
	       json_get_int(theirs, "bytes", -1) == json_get_int(mine, "bytes", -2) &&
	       g_str_equal(json_get_string(theirs, "chain", "-"),
			   json_get_string(mine, "chain", "+"));
}

static bool agree(struct transfer *transfer, GError **error)
{
	/* Two objects: json-glib's reference counts belong to one thread. */
	transfer_post(transfer, EVENT_AGREEING, describe_emitted(transfer));
	g_autoptr(JsonObject) mine = describe_emitted(transfer);
	g_autoptr(JsonObject) theirs = ask_emitted(transfer, mine, error);
	if (error && *error)
		return false;
	if (!theirs || !is_same_stream(mine, theirs))
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("the destination did not hand on what the source sent"));
	JsonObject *extra = json_object_new();
	json_object_set_int_member(extra, "frames", json_get_int(theirs, "frames", 0));
	json_object_set_int_member(extra, "bytes", json_get_int(theirs, "bytes", 0));
	json_object_set_string_member(extra, "tag", json_get_string(theirs, "chain", ""));
	transfer_post(transfer, EVENT_AGREED, extra);
	return true;
}

static bool within_limit(struct transfer *transfer, GError **error)
{
	pthread_mutex_lock(&transfer->lock);
	int64_t since = transfer->stopped_us ? transfer->stopped_us : transfer->loaded_us;
	pthread_mutex_unlock(&transfer->lock);
	int64_t stopped_ms = (clock_now_us() - since) / 1000;
	int limit = g_atomic_int_get(&transfer->settings->stop_limit_ms);
	if (limit == 0 || stopped_ms <= limit)
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the VM had been stopped for %d ms at the gate; the limit is %d ms"),
			 (int) stopped_ms, limit);
}

static void tell_disagreement(struct transfer *transfer, const GError *error)
{
	JsonObject *extra = json_object_new();
	g_autofree char *what = error_what(error);
	json_object_set_string_member(extra, "reason", what);
	transfer_post(transfer, EVENT_DISAGREED, extra);
}

/* The destination's word may be older than its end: the link says whether it is still there. */
static bool is_linked(struct transfer *transfer, GError **error)
{
	return link_check(transfer->link, error);
}

/* In this order: what takes long comes first, and what may have changed meanwhile last. */
static const struct {
	bool (*holds)(struct transfer *transfer, GError **error);
	const char *code;
} conditions[] = {
	{ agree, "verify" },     { proof_compare, "verify" }, { conductor_check_wait, "protocol" },
	{ is_linked, "verify" }, { within_limit, "limit" },
};

static bool may_release(struct transfer *transfer)
{
	conductor_check_ask(transfer);
	for (size_t i = 0; i < G_N_ELEMENTS(conditions); i++) {
		g_autoptr(GError) error = NULL;
		if (conditions[i].holds(transfer, &error))
			continue;
		transfer_refuse_error(transfer, conditions[i].code, error);
		return false;
	}
	return true;
}

bool gate_pass(struct transfer *transfer)
{
	g_autoptr(GError) error = NULL;
	pthread_mutex_lock(&transfer->lock);
	bool postcopy = transfer->stream.postcopy || transfer->settings->recover;
	pthread_mutex_unlock(&transfer->lock);
	if (!transfer_advance(transfer, TRANSFER_LOADED))
		return false;
	if (transfer->settings->rehearse) {
		transfer_refuse(transfer, "rehearsal", _("a rehearsal does not hand the VM over"));
		return false;
	}
	fault_gate(transfer);
	/* In post-copy the destination runs already: there is nothing left to hold back. What was sent and
	 * what was handed on are compared all the same, for the report. */
	if (postcopy && !agree(transfer, &error))
		tell_disagreement(transfer, error);
	if (!postcopy && !may_release(transfer))
		return false;
	if (!transfer_advance(transfer, TRANSFER_RELEASED))
		return false;
	fault_release(transfer);
	/* Only to let the destination know; the hand-over does not wait for it. */
	talk_send_json(transfer->link, TALK_RELEASED, NULL, NULL);
	link_finish(transfer->link, LINK_TALK);
	return true;
}

/* ---- destination ---- */

static void wait_emitted(struct transfer *transfer, uint64_t frames)
{
	int64_t until_us = clock_now_us() + EMITTED_MS * INT64_C(1000);
	pthread_mutex_lock(&transfer->lock);
	while (transfer->frames < frames && transfer->phase != TRANSFER_REFUSED)
		if (!wait_cond_until(&transfer->changed, &transfer->lock, until_us))
			break;
	pthread_mutex_unlock(&transfer->lock);
}

static bool answer_agree(struct transfer *transfer, const struct link_frame *frame, GError **error)
{
	g_autoptr(JsonObject) theirs = talk_parse(frame, error);
	if (!theirs)
		return false;
	wait_emitted(transfer, (uint64_t) json_get_int(theirs, "frames", 0));
	if (!transfer->role->flush(transfer, error)) {
		transfer_refuse_error(transfer, "disk", *error);
		return false;
	}
	return talk_send_json(transfer->link, TALK_AGREED, describe_emitted(transfer), error);
}

static bool answer_compare(struct transfer *transfer, const struct link_frame *frame,
			   GError **error)
{
	g_autoptr(JsonObject) request = talk_parse(frame, error);
	return request && proof_answer(transfer, request, error);
}

static bool answer_released(struct transfer *transfer, const struct link_frame *frame,
			    GError **error)
{
	transfer_advance(transfer, TRANSFER_RELEASED);
	return true;
}

static const struct {
	uint32_t kind;
	bool (*answer)(struct transfer *transfer, const struct link_frame *frame, GError **error);
} answers[] = {
	{ TALK_AGREE, answer_agree },
	{ TALK_COMPARE, answer_compare },
	{ TALK_RELEASED, answer_released },
};

static bool answer_one(struct transfer *transfer, const struct link_frame *frame, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(answers); i++)
		if (answers[i].kind == frame->flags)
			return answers[i].answer(transfer, frame, error);
	return error_set(error, WATARI_ERROR_INTERNAL, NULL,
			 _("the source mover sent a message of an unknown kind"));
}

void gate_answer(struct transfer *transfer)
{
	g_autoptr(GError) error = NULL;
	struct link_frame *frame;
	while ((frame = talk_receive(transfer->link, -1, &error))) {
		bool ok = answer_one(transfer, frame, &error);
		link_frame_done(transfer->link, LINK_TALK, frame);
		if (!ok)
			break;
	}
	if (error)
		transfer_refuse_error(transfer, "link", error);
}
