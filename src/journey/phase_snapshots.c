/* SPDX-License-Identifier: Apache-2.0 */
/* The metadata of the VM's snapshots is written to the journal and taken off at the source. */
#include "journey/snapshots.h"
#include "journey/state.h"

#include "base/i18n.h"

struct asking {
	struct journey *journey;
	GError *error;
	bool good;
};

/* Without a journal a killed conductor would lose them, so then nothing is taken off. */
static bool write_down(struct journey *journey, GError **error)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
	json_node_set_array(node, journey->snapshots);
	g_autofree char *text = json_to_string(node, FALSE);
	if (journey->journal &&
	    journal_add_event(journey->journal, journey->report->id, "snapshots", text, NULL))
		return true;
	error_set(error, WATARI_ERROR_REFUSED, _("Make the journal's directory writable."),
		  _("the VM has snapshots, and there is no journal to keep them safe"));
	return false;
}

static void take_off(void *data)
{
	struct asking *asking = data;
	struct journey *journey = asking->journey;
	journey->snapshots = snapshots_read(journey->domain, &asking->error);
	if (!journey->snapshots)
		return;
	if (json_array_get_length(journey->snapshots) == 0)
		asking->good = true;
	else
		asking->good =
			write_down(journey, &asking->error) &&
			snapshots_remove(journey->domain, journey->snapshots, &asking->error);
}

bool phase_snapshots(struct journey *journey, GError **error)
{
	struct asking asking = { .journey = journey };
	journey_call(journey, take_off, &asking);
	if (!asking.good) {
		error_classify(&asking.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, asking.error);
	}
	return asking.good && journey_check_cancel(journey, error);
}
