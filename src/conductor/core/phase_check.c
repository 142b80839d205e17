/* SPDX-License-Identifier: Apache-2.0 */
/* The VM is looked up and everything that can be known before is asked; a refusal ends it here. */
#include "conductor/disks/definition.h"
#include "conductor/disks/disk_params.h"
#include "conductor/disks/disk_place.h"
#include "conductor/files/files.h"
#include "conductor/disks/same.h"
#include "conductor/disks/seeds.h"
#include "conductor/core/earlier_moves.h"
#include "conductor/core/move.h"
#include "conductor/measure/preconditions.h"

#include "base/i18n.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static bool find_domain(struct journey *journey, GError **error)
{
	journey->domain = check_find_domain(journey->hosts[JOURNEY_SOURCE], journey->vm, error);
	if (!journey->domain)
		return false;
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainGetUUIDString(journey->domain, uuid);
	journey->report->vm_name = g_strdup(virDomainGetName(journey->domain));
	journey->report->vm_uuid = g_strdup(uuid);
	return true;
}

/* A volume is copied, or proven to be shared, by its path. */
static void find_volume(struct journey *journey, struct disk *disk)
{
	virConnectPtr connection = journey->hosts[JOURNEY_SOURCE]->connection;
	virStoragePoolPtr pool = virStoragePoolLookupByName(connection, disk->pool);
	virStorageVolPtr volume = pool ? virStorageVolLookupByName(pool, disk->volume) : NULL;
	virStorageVolInfo info = { .type = VIR_STORAGE_VOL_NETWORK };
	char *path = volume ? virStorageVolGetPath(volume) : NULL;
	bool local = path && *path == '/' && virStorageVolGetInfo(volume, &info) == 0 &&
		     (info.type == VIR_STORAGE_VOL_FILE || info.type == VIR_STORAGE_VOL_BLOCK);
	disk->path = local ? g_strdup(path) : NULL;
	disk->source = !local                               ? DISK_OTHER
		       : info.type == VIR_STORAGE_VOL_BLOCK ? DISK_BLOCK
							    : DISK_FILE;
	free(path);
	if (volume)
		virStorageVolFree(volume);
	if (pool)
		virStoragePoolFree(pool);
}

static bool read_disks(struct journey *journey, GError **error)
{
	g_autoptr(GPtrArray) disks = disk_read_all(journey->live_xml, error);
	for (guint i = 0; disks && i < disks->len; i++) {
		struct disk *disk = disks->pdata[i];
		if (disk->source == DISK_VOLUME)
			find_volume(journey, disk);
	}
	if (!disks)
		return false;
	journey->report->disks = journey_disks_new(disks);
	return same_check_trusted(journey, error) &&
	       seeds_check_words(journey->request->seeds, error) &&
	       disk_places_read(journey, error);
}

static bool read_domain(struct journey *journey, GError **error)
{
	const char *name = journey->report->vm_name;
	int persistent = virDomainIsPersistent(journey->domain);
	int state = VIR_DOMAIN_NOSTATE;
	journey->live_xml = virDomainGetXMLDesc(journey->domain, 0);
	if (persistent < 0 || !journey->live_xml ||
	    virDomainGetState(journey->domain, &state, NULL, 0) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, name);
	journey->persistent = persistent == 1;
	journey->paused_before = state == VIR_DOMAIN_PAUSED;
	journey->nics = domain_read_nics(journey->live_xml, error);
	if (!journey->nics)
		return false;
	journey->paths = check_list_shared_paths(journey->domain, error);
	return journey->paths && read_disks(journey, error);
}

unsigned journey_migrate_flags(struct journey *journey)
{
	const struct journey_request *request = journey->request;
	if (request->kind ==
	    JOURNEY_REHEARSAL) /* nothing is defined, and memory's part copies no disks */
		return VIR_MIGRATE_LIVE | VIR_MIGRATE_UNSAFE |
		       (journey->disks_socket ? disk_params_flags(journey) : 0);
	bool as_it_is = !request->persistent && !request->undefine_source;
	/* Without the flag libvirt stops the VM when the copies of its disks keep up, before memory
	 * moves, and lets it run on by itself if it stays. */
	bool stops = request->kind == JOURNEY_QUICK && !request->prewarm;
	unsigned flags = stops ? 0 : VIR_MIGRATE_LIVE;
	if (request->allow_postcopy)
		flags |= VIR_MIGRATE_POSTCOPY;
	if (request->persistent || (as_it_is && journey->persistent))
		flags |= VIR_MIGRATE_PERSIST_DEST;
	if ((request->undefine_source || as_it_is) && journey->persistent)
		flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
	if (journey->limits.max_slowdown > 0)
		flags |= VIR_MIGRATE_AUTO_CONVERGE;
	return flags | disk_params_flags(journey);
}

/* What the user has overruled refuses no more; what was not needed is said, as it may be a slip. */
static void accept_findings(struct journey *journey)
{
	g_auto(GStrv) unneeded = check_accept(journey->report->findings, journey->request->accept);
	for (char **name = unneeded; *name; name++)
		journey_note(journey, true,
			     _("--accept %s was not needed: that check has refused nothing"),
			     *name);
}

static void note_finding(struct journey *journey, const struct check_finding *finding)
{
	if (finding->accepted)
		journey_note(journey, true, _("%s (accepted: %s)"), finding->what, finding->check);
	else
		journey_note(journey, true, "%s%s%s", finding->what, finding->next ? " — " : "",
			     finding->next ? finding->next : "");
}

void journey_add_finding(struct journey *journey, struct check_finding *finding)
{
	if (!journey->report->findings)
		journey->report->findings = check_new_findings();
	g_ptr_array_add(journey->report->findings, finding);
	if (finding->result == CHECK_WARN)
		note_finding(journey, finding);
}

/* The refusals are the error; the warnings are told. */
static bool judge(struct journey *journey, GError **error)
{
	const GPtrArray *findings = journey->report->findings;
	accept_findings(journey);
	for (guint i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (finding->result == CHECK_WARN)
			note_finding(journey, finding);
	}
	return check_verdict(findings, error);
}

struct asking {
	struct journey *journey;
	GError *error;
	bool good;
};

static void ask(void *data)
{
	struct asking *asking = data;
	struct journey *journey = asking->journey;
	if (!find_domain(journey, &asking->error) ||
	    !earlier_refuse_driven(journey, &asking->error))
		return;
	if (!read_domain(journey, &asking->error))
		return;
	const struct mapping mapping = { journey->request->networks, journey->request->listens };
	/* what is shared is not known yet, and what is copied is not asked of libvirt */
	struct check_options options = {
		.shell = &journey->shell,
		.mapping = &mapping,
		.flags = journey_migrate_flags(journey) | VIR_MIGRATE_UNSAFE,
		.offline = journey->request->kind == JOURNEY_OFFLINE,
		.disk_places = journey->request->disk_places,
		.disks_stay = journey->request->disks == JOURNEY_DISKS_SHARED,
		.files_stay = files_stay(journey->request),
		.secrets_stay = journey->request->secrets_stay,
	};
	journey->report->findings =
		check_run(journey->hosts[JOURNEY_SOURCE], journey->domain,
			  journey->hosts[JOURNEY_DESTINATION], &options, &asking->error);
	asking->good = journey->report->findings != NULL;
	definition_find_absent_media(journey);
}

static bool is_as_planned(struct journey *journey, GError **error)
{
	JsonObject *plan = journey->request->plan;
	return !plan ||
	       world_compare(json_get_object(plan, "world"), journey->report->world, error);
}

bool phase_check(struct journey *journey, GError **error)
{
	struct asking asking = { .journey = journey };
	journey_call(journey, ask, &asking);
	if (!asking.good) {
		error_classify(&asking.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, asking.error);
		return false;
	}
	earlier_check(journey);
	journey->report->world = world_describe(journey);
	return is_as_planned(journey, error) && judge(journey, error) &&
	       journey_check_cancel(journey, error);
}
