/* SPDX-License-Identifier: Apache-2.0 */
/* Asks both movers for fingerprints and compares them. See same.h. */
#include "conductor/disks/same.h"

#include "conductor/core/movers.h"

#include "base/i18n.h"
#include "base/random.h"
#include "control/messages.h"
#include "mover/compare/likeness.h"

#include <inttypes.h>
#include <string.h>

/* A host whose caches are behind gets another look or two before it is called another one. */
enum { ASK_MS = 30000, LOOKS = 3, AGAIN_MS = 300 };

struct asking {
	struct move *move;
	const struct same_question *question;
	struct same_answer *answer;
	char key[65];
	struct fingerprint before, there, after;
	bool kept; /* by digests of earlier moves it is the same */
};

/* ---- asking ---- */

static JsonObject *make_request(const struct asking *asking, enum move_side side, const char *what)
{
	const struct same_question *question = asking->question;
	JsonObject *request = dialogue_message(MESSAGE_FINGERPRINT);
	json_object_set_string_member(request, "path",
				      side == MOVE_SOURCE ? question->here : question->there);
	json_object_set_string_member(request, "key", asking->key);
	json_object_set_string_member(request, "what", what);
	return request;
}

static const char *host_asked(const struct asking *asking, enum move_side side)
{
	return asking->move->hosts[side]->name;
}

/* *usable false: it could not be read, and the answer says so. */
static bool take_print(struct asking *asking, enum move_side side, JsonObject *got,
		       struct fingerprint *print, bool *usable, GError **error)
{
	struct same_answer *answer = asking->answer;
	const char *reason = json_get_string(got, "reason", NULL);
	const struct same_question *question = asking->question;
	*usable = !reason;
	if (!reason)
		return fingerprint_parse(print, got, error);
	bool missing = side == MOVE_DESTINATION && json_get_bool(got, "missing", false);
	answer->same = missing ? SAME_MISSING : SAME_UNKNOWN;
	g_snprintf(answer->what, sizeof answer->what, _("%s cannot be read at %s: %s"),
		   side == MOVE_SOURCE ? question->here : question->there, host_asked(asking, side),
		   reason);
	return true;
}

static bool ask_side(struct asking *asking, enum move_side side, JsonObject *request,
		     struct fingerprint *print, bool *usable, GError **error)
{
	g_autoptr(JsonObject) got =
		movers_ask(asking->move, side, request, MESSAGE_FINGERPRINT, ASK_MS, error);
	return got && take_print(asking, side, got, print, usable, error);
}

/* What BEFORE has, read again or elsewhere. */
static JsonObject *make_repeat(const struct asking *asking, enum move_side side)
{
	JsonObject *request = make_request(asking, side, "read");
	g_autoptr(JsonObject) described = json_object_new();
	fingerprint_describe(&asking->before, described);
	json_object_set_string_member(request, "blocks",
				      json_object_get_string_member(described, "blocks"));
	return request;
}

/* ---- judging ---- */

static void find_other_size(struct asking *asking)
{
	struct same_answer *answer = asking->answer;
	answer->same = SAME_OTHER;
	g_snprintf(answer->what, sizeof answer->what,
		   _("it has %" PRIu64 " bytes at %s and %" PRIu64 " at %s"), asking->before.size,
		   host_asked(asking, MOVE_SOURCE), asking->there.size,
		   host_asked(asking, MOVE_DESTINATION));
}

static void judge_whole(struct asking *asking)
{
	struct same_answer *answer = asking->answer;
	answer->whole = true;
	answer->same =
		tag_equal(asking->before.digest, asking->there.digest) ? SAME_YES : SAME_OTHER;
	g_strlcpy(answer->what,
		  answer->same == SAME_YES ? _("all of it is equal") : _("its content differs"),
		  sizeof answer->what);
}

/* Both know a digest of all of it; a sample of today has still to agree. */
static bool both_kept(const struct asking *asking)
{
	return asking->before.kept && asking->there.kept;
}

static void judge_kept(struct asking *asking)
{
	struct same_answer *answer = asking->answer;
	if (memcmp(asking->before.kept_digest, asking->there.kept_digest, DIGEST_BYTES) == 0)
		return;
	answer->whole = true;
	answer->same = SAME_OTHER;
	g_strlcpy(answer->what, _("its content differs, as far as digests of earlier moves tell"),
		  sizeof answer->what);
}

static void judge_blocks(struct asking *asking, const struct fingerprint *after)
{
	struct same_answer *answer = asking->answer;
	struct fingerprint_likeness likeness =
		fingerprint_compare(&asking->before, &asking->there, after);
	answer->compared = likeness.compared;
	answer->filled = MIN(asking->before.filled, likeness.compared);
	answer->same = likeness.differing                          ? SAME_OTHER
		       : likeness.compared || !asking->before.size ? SAME_YES
								   : SAME_UNKNOWN;
	if (likeness.differing)
		g_snprintf(
			answer->what, sizeof answer->what,
			_("%u of %u blocks that were compared differ, the first at byte %" PRIu64),
			likeness.differing, likeness.compared, likeness.where);
	else
		g_snprintf(answer->what, sizeof answer->what,
			   _("%u blocks of it were compared and are equal"), likeness.compared);
}

/* What the sample says, too. */
static void judge_again(struct asking *asking)
{
	struct same_answer *answer = asking->answer;
	answer->whole = true;
	g_snprintf(answer->what, sizeof answer->what,
		   _("digests of all of it, of earlier moves, are equal, and so are %u blocks that "
		     "were compared now"),
		   answer->compared);
}

/* ---- the ways ---- */

/* What nobody writes to, and is small; both read at the same time. *decided: there is an answer. */
static bool compare_whole(struct asking *asking, bool *decided, GError **error)
{
	struct move *move = asking->move;
	struct same_answer *answer = asking->answer;
	bool usable[MOVE_SIDES] = { false, false };
	movers_tell(move, MOVE_DESTINATION, make_request(asking, MOVE_DESTINATION, "whole"));
	g_autoptr(JsonObject) here =
		movers_ask(move, MOVE_SOURCE, make_request(asking, MOVE_SOURCE, "whole"),
			   MESSAGE_FINGERPRINT, ASK_MS, error);
	g_autoptr(JsonObject) there =
		here ? movers_wait(move, MOVE_DESTINATION, MESSAGE_FINGERPRINT, ASK_MS, error)
		     : NULL;
	if (!there || !take_print(asking, MOVE_SOURCE, here, &asking->before, &usable[0], error) ||
	    !take_print(asking, MOVE_DESTINATION, there, &asking->there, &usable[1], error))
		return false;
	*decided = true;
	if (!usable[0] || !usable[1])
		return true;
	*decided = asking->before.size != asking->there.size ||
		   (asking->before.whole && asking->there.whole);
	if (asking->before.size != asking->there.size)
		find_other_size(asking);
	else if (*decided)
		judge_whole(asking);
	else if (both_kept(asking))
		judge_kept(asking);
	asking->kept = !*decided && both_kept(asking);
	*decided |= answer->same == SAME_OTHER;
	return true;
}

static bool compare_blocks_once(struct asking *asking, GError **error)
{
	bool written = asking->question->written, usable = true;
	if (!ask_side(asking, MOVE_SOURCE, make_request(asking, MOVE_SOURCE, "pick"),
		      &asking->before, &usable, error))
		return false;
	if (!usable)
		return true;
	if (!ask_side(asking, MOVE_DESTINATION, make_repeat(asking, MOVE_DESTINATION),
		      &asking->there, &usable, error))
		return false;
	if (!usable)
		return true;
	if (written && !ask_side(asking, MOVE_SOURCE, make_repeat(asking, MOVE_SOURCE),
				 &asking->after, &usable, error))
		return false;
	if (usable)
		judge_blocks(asking, written ? &asking->after : NULL);
	return true;
}

/* A key serves one look: the same blocks that a VM just happened to write are not picked again. */
static bool compare_sample(struct asking *asking, GError **error)
{
	int looks = asking->question->written ? LOOKS : 1;
	for (int i = 0; i < looks; i++) {
		if (i > 0)
			move_pause(asking->move, AGAIN_MS);
		if (!move_check_cancel(asking->move, error) ||
		    !random_hex(asking->key, 64, error) || !compare_blocks_once(asking, error))
			return false;
		if (asking->answer->same != SAME_OTHER)
			break;
	}
	return true;
}

/* In the report: of what kind the proof is. */
static void note_compared(struct asking *asking)
{
	struct move_report *report = asking->move->report;
	const struct same_answer *answer = asking->answer;
	JsonObject *object = json_object_new();
	json_object_set_string_member(object, "path", asking->question->here);
	json_object_set_string_member(object, "by",
				      asking->kept    ? "kept"
				      : answer->whole ? "whole"
						      : "sample");
	json_object_set_int_member(object, "blocks", answer->compared);
	if (!report->compared)
		report->compared = json_array_new();
	json_array_add_object_element(report->compared, object);
}

bool same_ask(struct move *move, const struct same_question *question, struct same_answer *answer,
	      GError **error)
{
	g_autofree struct asking *asking = g_new0(struct asking, 1);
	bool decided = false;
	asking->move = move;
	asking->question = question;
	asking->answer = answer;
	*answer = (struct same_answer){ .same = SAME_UNKNOWN };
	bool good = random_hex(asking->key, 64, error) &&
		    (question->written || compare_whole(asking, &decided, error)) &&
		    (decided || compare_sample(asking, error));
	if (good && asking->kept && answer->same == SAME_YES)
		judge_again(asking);
	if (good && answer->same == SAME_YES)
		note_compared(asking);
	explicit_bzero(asking->key, sizeof asking->key);
	return good;
}

/* ---- what the user knows better ---- */

bool same_is_trusted(const struct move *move, const char *name)
{
	return name && g_strv_contains(move->request->trusted, name);
}

static bool is_name(const struct move *move, const char *name)
{
	bool found = move_disk_find(move->report->disks, name) != NULL;
	for (guint i = 0; !found && i < move->paths->len; i++) {
		const struct check_shared_path *path = move->paths->pdata[i];
		found = g_strcmp0(path->target, name) == 0;
	}
	return found;
}

bool same_check_trusted(const struct move *move, GError **error)
{
	for (const char *const *name = move->request->trusted; *name; name++)
		if (!is_name(move, *name))
			return error_set(error, WATARI_ERROR_USAGE,
					 _("Name a disk (see “virsh domblklist VM”), kernel, "
					   "initrd, dtb, loader or acpi."),
					 _("--trust: the VM has no “%s”"), *name);
	return true;
}

void same_note_trusted(struct move *move, const char *name, const char *path,
		       const struct same_answer *answer)
{
	if (g_str_equal(name, "loader") && answer->same == SAME_OTHER) {
		move_note(move, true,
			  _("The firmware %s is another one at the destination (%s), which the VM "
			    "has from its next start on (--trust loader)."),
			  path, answer->what);
		return;
	}
	move_note(move, true,
		  _("That %s is the same at both hosts is not proven, only believed (--trust "
		    "%s): %s. If it is another one, the VM is damaged."),
		  path, name, answer->what);
}
