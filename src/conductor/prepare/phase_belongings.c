/* SPDX-License-Identifier: Apache-2.0 */
/* What a move carries beside the VM: read and written down, and given back at the end. */
#include "conductor/prepare/belongings.h"
#include "conductor/disks/images.h"
#include "conductor/core/stage.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/belongings/belongings.h"

struct carrying {
	struct move *move;
	struct host *const *hosts;
	enum move_side side;
	GError *error;
	bool good;
};

/* ---- before ---- */

/* Without a journal a killed conductor would lose it, so then nothing is taken off. */
static bool write_belongings_down(struct move *move, GError **error)
{
	g_autofree char *text = json_print_object(move->belongings);
	const char *taken = belongings_first_taken(move->belongings);
	if (!taken)
		return stage_enter(move, STAGE_BELONGINGS, text, error);
	if (stage_enter_recorded(move, STAGE_BELONGINGS, text, error))
		return true;
	error_prefix(error, _("the VM's %s are kept safe by the journal alone while it moves"),
		     taken);
	return false;
}

static void call_take(void *data)
{
	struct carrying *carrying = data;
	struct move *move = carrying->move;
	move->belongings = belongings_read(move->domain, &carrying->error);
	carrying->good = move->belongings &&
			 (json_object_get_size(move->belongings) == 0 ||
			  (write_belongings_down(move, &carrying->error) &&
			   belongings_take(move->domain, move->belongings, &carrying->error)));
}

bool phase_belongings(struct move *move, GError **error)
{
	struct carrying carrying = { .move = move };
	move_call(move, call_take, &carrying);
	if (!carrying.good) {
		error_classify(&carrying.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, carrying.error);
	}
	return carrying.good && move_check_cancel(move, error);
}

/* Larger than a line of the control channel may be: our own file, so parsed without that cap. */
void belongings_recall(struct move *move, const char *id)
{
	g_autofree char *text = journal_find_event(move->journal, id, stage_name(STAGE_BELONGINGS));
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || journal_has_event(move->journal, id, stage_name(STAGE_BELONGINGS_GIVEN)) ||
	    !json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_OBJECT(root))
		move->belongings = json_object_ref(json_node_get_object(root));
}

/* ---- after ---- */

static virDomainPtr find_vm(struct carrying *carrying, enum move_side side)
{
	struct host *host = carrying->hosts[side];
	return host ? virDomainLookupByUUIDString(host->connection, carrying->move->report->vm_uuid)
		    : NULL;
}

static void call_hand_over(void *data)
{
	struct carrying *carrying = data;
	JsonObject *values = carrying->move->belongings;
	virDomainPtr left =
		carrying->side == MOVE_DESTINATION ? find_vm(carrying, MOVE_SOURCE) : NULL;
	virDomainPtr domain = find_vm(carrying, carrying->side);
	carrying->good = domain && belongings_hand_over_all(left, domain, values, &carrying->error);
	if (!domain && !carrying->error)
		error_set(&carrying->error, WATARI_ERROR_INTERNAL, NULL, "%s",
			  _("the VM is not found"));
	if (left)
		virDomainFree(left);
	if (domain)
		virDomainFree(domain);
}

static void note_not_given(struct move *move, const GError *failure)
{
	g_autofree char *what = error_what(failure);
	move_note(move, true,
		  _("Not all that belongs to the VM came along (%s); “watari resolve %s” tries "
		    "it once more."),
		  what, move->report->vm_name);
}

static void count_carried(struct move *move)
{
	JsonObject *values = move->belongings;
	JsonArray *snapshots = values ? json_get_array(values, "snapshots") : NULL;
	move->report->snapshots = snapshots ? (int) json_array_get_length(snapshots) : 0;
	g_clear_pointer(&move->report->carried, json_array_unref);
	move->report->carried = json_array_new();
	g_autoptr(GList) names = values ? json_object_get_members(values) : NULL;
	for (GList *each = names; each; each = each->next)
		json_array_add_string_element(move->report->carried, each->data);
	if (images_count_secrets(move) > 0)
		json_array_add_string_element(move->report->carried, "secrets");
}

void belongings_hand_over(struct move *move, struct host *const *hosts, enum move_side side)
{
	struct carrying carrying = { .move = move, .hosts = hosts, .side = side };
	if (side == MOVE_DESTINATION)
		count_carried(move);
	if (!move->belongings || !json_object_get_size(move->belongings))
		return;
	move_call(move, call_hand_over, &carrying);
	if (!carrying.good) {
		note_not_given(move, carrying.error);
		g_clear_error(&carrying.error);
		g_clear_pointer(&move->report->carried, json_array_unref);
		return;
	}
	stage_note_done(move, STAGE_BELONGINGS_GIVEN);
}
