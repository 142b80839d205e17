/* SPDX-License-Identifier: Apache-2.0 */
/* What a move carries beside the VM: read and written down, and given back at the end. */
#include "conductor/core/belongings.h"
#include "conductor/disks/images.h"
#include "conductor/core/stage.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/belongings/belongings.h"

struct carrying {
	struct journey *journey;
	struct host *const *hosts;
	enum journey_side side;
	GError *error;
	bool good;
};

/* ---- before ---- */

/* Without a journal a killed conductor would lose it, so then nothing is taken off. */
static bool write_belongings_down(struct journey *journey, GError **error)
{
	g_autofree char *text = json_print_object(journey->belongings);
	const char *taken = belongings_first_taken(journey->belongings);
	if (!taken)
		return stage_enter(journey, STAGE_BELONGINGS, text, error);
	if (stage_enter_recorded(journey, STAGE_BELONGINGS, text, error))
		return true;
	error_prefix(error, _("the VM's %s are kept safe by the journal alone while it moves"),
		     taken);
	return false;
}

static void call_take(void *data)
{
	struct carrying *carrying = data;
	struct journey *journey = carrying->journey;
	journey->belongings = belongings_read(journey->domain, &carrying->error);
	carrying->good =
		journey->belongings &&
		(json_object_get_size(journey->belongings) == 0 ||
		 (write_belongings_down(journey, &carrying->error) &&
		  belongings_take(journey->domain, journey->belongings, &carrying->error)));
}

bool phase_belongings(struct journey *journey, GError **error)
{
	struct carrying carrying = { .journey = journey };
	journey_call(journey, call_take, &carrying);
	if (!carrying.good) {
		error_classify(&carrying.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, carrying.error);
	}
	return carrying.good && journey_check_cancel(journey, error);
}

/* Larger than a line of the control channel may be: our own file, so parsed without that cap. */
void belongings_recall(struct journey *journey, const char *id)
{
	g_autofree char *text =
		journal_find_event(journey->journal, id, stage_name(STAGE_BELONGINGS));
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || journal_has_event(journey->journal, id, stage_name(STAGE_BELONGINGS_GIVEN)) ||
	    !json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_OBJECT(root))
		journey->belongings = json_object_ref(json_node_get_object(root));
}

/* ---- after ---- */

static virDomainPtr find_vm(struct carrying *carrying, enum journey_side side)
{
	struct host *host = carrying->hosts[side];
	return host ? virDomainLookupByUUIDString(host->connection,
						  carrying->journey->report->vm_uuid)
		    : NULL;
}

static void call_hand_over(void *data)
{
	struct carrying *carrying = data;
	JsonObject *values = carrying->journey->belongings;
	virDomainPtr left =
		carrying->side == JOURNEY_DESTINATION ? find_vm(carrying, JOURNEY_SOURCE) : NULL;
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

static void note_not_given(struct journey *journey, const GError *failure)
{
	g_autofree char *what = error_what(failure);
	journey_note(journey, true,
		     _("Not all that belongs to the VM came along (%s); “watari resolve %s” tries "
		       "it once more."),
		     what, journey->report->vm_name);
}

static void count_carried(struct journey *journey)
{
	JsonObject *values = journey->belongings;
	JsonArray *snapshots = values ? json_get_array(values, "snapshots") : NULL;
	journey->report->snapshots = snapshots ? (int) json_array_get_length(snapshots) : 0;
	g_clear_pointer(&journey->report->carried, json_array_unref);
	journey->report->carried = json_array_new();
	g_autoptr(GList) names = values ? json_object_get_members(values) : NULL;
	for (GList *each = names; each; each = each->next)
		json_array_add_string_element(journey->report->carried, each->data);
	if (images_count_secrets(journey) > 0)
		json_array_add_string_element(journey->report->carried, "secrets");
}

void belongings_hand_over(struct journey *journey, struct host *const *hosts,
			  enum journey_side side)
{
	struct carrying carrying = { .journey = journey, .hosts = hosts, .side = side };
	if (side == JOURNEY_DESTINATION)
		count_carried(journey);
	if (!journey->belongings || !json_object_get_size(journey->belongings))
		return;
	journey_call(journey, call_hand_over, &carrying);
	if (!carrying.good) {
		note_not_given(journey, carrying.error);
		g_clear_error(&carrying.error);
		g_clear_pointer(&journey->report->carried, json_array_unref);
		return;
	}
	stage_note_done(journey, STAGE_BELONGINGS_GIVEN);
}
