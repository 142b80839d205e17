/* SPDX-License-Identifier: Apache-2.0 */
/* The VM is looked up and everything that can be known before is asked; a refusal ends it here. */
#include "conductor/disks/definition.h"
#include "conductor/disks/disk_params.h"
#include "conductor/disks/disk_place.h"
#include "conductor/disks/files.h"
#include "conductor/disks/same.h"
#include "conductor/disks/seeds.h"
#include "conductor/prepare/earlier_moves.h"
#include "conductor/core/move.h"
#include "conductor/measure/preconditions.h"

#include "base/i18n.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static bool find_domain(struct move *move, GError **error)
{
	move->domain = check_find_domain(move->hosts[MOVE_SOURCE], move->vm, error);
	if (!move->domain)
		return false;
	char uuid[VIR_UUID_STRING_BUFLEN];
	virDomainGetUUIDString(move->domain, uuid);
	move->report->vm_name = g_strdup(virDomainGetName(move->domain));
	move->report->vm_uuid = g_strdup(uuid);
	return true;
}

/* A volume is copied, or proven to be shared, by its path. */
static void find_volume(struct move *move, struct disk *disk)
{
	virConnectPtr connection = move->hosts[MOVE_SOURCE]->connection;
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

static bool read_disks(struct move *move, GError **error)
{
	g_autoptr(GPtrArray) disks = disk_read_all(move->live_xml, error);
	for (guint i = 0; disks && i < disks->len; i++) {
		struct disk *disk = disks->pdata[i];
		if (disk->source == DISK_VOLUME)
			find_volume(move, disk);
	}
	if (!disks)
		return false;
	move->report->disks = move_disks_new(disks);
	return same_check_trusted(move, error) && seeds_check_words(move->request->seeds, error) &&
	       disk_places_read(move, error);
}

static bool read_domain(struct move *move, GError **error)
{
	const char *name = move->report->vm_name;
	int persistent = virDomainIsPersistent(move->domain);
	int state = VIR_DOMAIN_NOSTATE;
	move->live_xml = virDomainGetXMLDesc(move->domain, 0);
	if (persistent < 0 || !move->live_xml ||
	    virDomainGetState(move->domain, &state, NULL, 0) < 0)
		return host_error(error, WATARI_ERROR_REFUSED, NULL, name);
	move->persistent = persistent == 1;
	move->paused_before = state == VIR_DOMAIN_PAUSED;
	move->nics = domain_read_nics(move->live_xml, error);
	if (!move->nics)
		return false;
	move->paths = check_list_shared_paths(move->domain, error);
	return move->paths && read_disks(move, error);
}

/* What the user has overruled refuses no more; what was not needed is said, as it may be a slip. */
static void accept_findings(struct move *move)
{
	g_auto(GStrv) unneeded = check_accept(move->report->findings, move->request->accept);
	for (char **name = unneeded; *name; name++)
		move_note(move, true,
			  _("--accept %s was not needed: that check has refused nothing"), *name);
}

/* The refusals are the error; the warnings are told. */
static bool judge_findings(struct move *move, GError **error)
{
	const GPtrArray *findings = move->report->findings;
	accept_findings(move);
	for (guint i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (finding->result == CHECK_WARN)
			move_note_finding(move, finding);
	}
	return check_verdict(findings, error);
}

struct asking {
	struct move *move;
	GError *error;
	bool good;
};

static void ask_hosts(void *data)
{
	struct asking *asking = data;
	struct move *move = asking->move;
	if (!find_domain(move, &asking->error) || !earlier_refuse_driven(move, &asking->error))
		return;
	if (!read_domain(move, &asking->error))
		return;
	const struct mapping mapping = { move->request->networks, move->request->listens };
	/* what is shared is not known yet, and what is copied is not asked of libvirt */
	struct check_options options = {
		.shell = &move->shell,
		.mapping = &mapping,
		.flags = move_migrate_flags(move) | VIR_MIGRATE_UNSAFE,
		.offline = move->request->kind == MOVE_OFFLINE,
		.disk_places = move->request->disk_places,
		.disks_stay = move->request->disks == MOVE_DISKS_SHARED,
		.files_stay = files_stay(move->request),
		.secrets_stay = move->request->secrets_stay,
	};
	move->report->findings = check_run(move->hosts[MOVE_SOURCE], move->domain,
					   move->hosts[MOVE_DESTINATION], &options, &asking->error);
	asking->good = move->report->findings != NULL;
	definition_find_absent_media(move);
}

static bool is_as_planned(struct move *move, GError **error)
{
	JsonObject *plan = move->request->plan;
	return !plan || preconditions_compare(json_get_object(plan, "world"),
					      move->report->preconditions, error);
}

bool phase_check(struct move *move, GError **error)
{
	struct asking asking = { .move = move };
	move_call(move, ask_hosts, &asking);
	if (!asking.good) {
		error_classify(&asking.error, WATARI_ERROR_REFUSED, NULL);
		g_propagate_error(error, asking.error);
		return false;
	}
	earlier_check(move);
	move->report->preconditions = preconditions_describe(move);
	return is_as_planned(move, error) && judge_findings(move, error) &&
	       move_check_cancel(move, error);
}
