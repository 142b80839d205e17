/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, parameters and descriptions for a migration with disks. See disk_params.h. */
#include "journey/disks/disk_params.h"

#include "base/i18n.h"

#include <stdlib.h>

/* libvirt guesses from the kind of file system what is shared, and only disks that stay are asked of
 * it. Each of those was proven to be the same (phase_share.c), or the user took the danger. */
unsigned disk_params_flags(struct journey *journey)
{
	GPtrArray *disks = journey->report->disks;
	unsigned flags = 0;
	bool kept = false;
	for (guint i = 0; disks && i < disks->len; i++)
		kept |= ((const struct journey_disk *) disks->pdata[i])->backing != NULL;
	if (journey_disks_count(disks, JOURNEY_DISK_SHARED) > 0)
		flags |= VIR_MIGRATE_UNSAFE;
	if (journey_disks_count(disks, JOURNEY_DISK_COPIED) > 0)
		flags |= kept ? VIR_MIGRATE_NON_SHARED_INC : VIR_MIGRATE_NON_SHARED_DISK;
	if (journey->sync_writes)
		flags |= VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES;
	return flags;
}

/* ---- the description of the VM there ---- */

static struct disk_move *list_moves(struct journey *journey, guint *count)
{
	GPtrArray *disks = journey->report->disks;
	struct disk_move *moves = g_new0(struct disk_move, disks->len);
	*count = 0;
	for (guint i = 0; i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		if (disk->kind == JOURNEY_DISK_CARRIED)
			moves[(*count)++] = (struct disk_move){ .target = disk->disk->target,
								.source = disk->disk->path,
								.destination = disk->destination,
								.format = disk->disk->format };
		if (disk->kind == JOURNEY_DISK_COPIED)
			moves[(*count)++] = (struct disk_move){
				.target = disk->disk->target,
				.source = disk->disk->path,
				.destination = disk->destination,
				.block = disk->block,
				.format = disk->format,
				.slice = disk->slice,
			};
	}
	return moves;
}

char *disk_params_describe_there(struct journey *journey, unsigned flags, GError **error)
{
	char *text = virDomainGetXMLDesc(journey->domain, flags);
	if (!text) {
		host_error(error, WATARI_ERROR_REFUSED, NULL, journey->report->vm_name);
		return NULL;
	}
	guint count;
	g_autofree struct disk_move *moves = list_moves(journey, &count);
	char *adapted = disk_adapt_xml(text, moves, count, error);
	free(text);
	return adapted;
}

/* ---- the parameters ---- */

bool disk_params_copies(const struct journey *journey, const struct journey_disk *disk)
{
	bool rehearsal = journey->request->kind == JOURNEY_REHEARSAL;
	return disk->kind == JOURNEY_DISK_COPIED && !(rehearsal && disk->given);
}

struct adding {
	virTypedParameterPtr *params;
	int *count, *max;
	bool good;
};

static void add_text(struct adding *adding, const char *name, const char *value)
{
	adding->good = adding->good && value &&
		       virTypedParamsAddString(adding->params, adding->count, adding->max, name,
					       value) == 0;
}

static void add_targets(struct adding *adding, struct journey *journey)
{
	GPtrArray *disks = journey->report->disks;
	g_autofree char *path = g_uri_escape_string(journey->disks_socket, "/", FALSE);
	g_autofree char *uri = g_strdup_printf("unix://%s", path);
	add_text(adding, VIR_MIGRATE_PARAM_DISKS_URI, uri);
	for (guint i = 0; i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		if (disk_params_copies(journey, disk))
			add_text(adding, VIR_MIGRATE_PARAM_MIGRATE_DISKS, disk->disk->target);
	}
}

bool disk_params_add(struct journey *journey, unsigned flags, virTypedParameterPtr *params,
		     int *count, int *max, GError **error)
{
	GPtrArray *disks = journey->report->disks;
	if (!journey_disks_count(disks, JOURNEY_DISK_COPIED) &&
	    !journey_disks_count(disks, JOURNEY_DISK_CARRIED))
		return true;
	struct adding adding = { params, count, max, true };
	const unsigned live = VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE;
	g_autofree char *running = disk_params_describe_there(journey, live, error);
	g_autofree char *defined =
		running && flags & VIR_MIGRATE_PERSIST_DEST
			? disk_params_describe_there(journey, live | VIR_DOMAIN_XML_INACTIVE, error)
			: NULL;
	if (!running || (flags & VIR_MIGRATE_PERSIST_DEST && !defined))
		return false;
	if (journey->disks_socket)
		add_targets(&adding, journey);
	add_text(&adding, VIR_MIGRATE_PARAM_DEST_XML, running);
	if (defined)
		add_text(&adding, VIR_MIGRATE_PARAM_PERSIST_XML, defined);
	return adding.good ||
	       host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
}
