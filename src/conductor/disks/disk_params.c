/* SPDX-License-Identifier: Apache-2.0 */
/* Flags, parameters and descriptions for a migration with disks. See disk_params.h. */
#include "conductor/disks/definition.h"
#include "conductor/disks/disk_params.h"

#include "base/i18n.h"
#include "host/mapping.h"

#include <stdlib.h>

/* libvirt guesses from the kind of file system what is shared, and only disks that stay are asked of
 * it. Each of those was proven to be the same (phase_share.c), or the user took the danger. */
unsigned disk_params_flags(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	unsigned flags = 0;
	bool kept = false;
	for (guint i = 0; disks && i < disks->len; i++)
		kept |= ((const struct move_disk *) disks->pdata[i])->backing != NULL;
	if (move_disks_count(disks, MOVE_DISK_SHARED) > 0)
		flags |= VIR_MIGRATE_UNSAFE;
	if (move_disks_count(disks, MOVE_DISK_COPIED) > 0)
		flags |= kept ? VIR_MIGRATE_NON_SHARED_INC : VIR_MIGRATE_NON_SHARED_DISK;
	if (move->sync_writes)
		flags |= VIR_MIGRATE_NON_SHARED_SYNCHRONOUS_WRITES;
	return flags;
}

/* ---- the description of the VM there ---- */

static struct disk_move *list_disk_moves(struct move *move, guint *count)
{
	GPtrArray *disks = move->report->disks;
	struct disk_move *moves = g_new0(struct disk_move, disks->len);
	*count = 0;
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_CARRIED)
			moves[(*count)++] = (struct disk_move){ .target = disk->disk->target,
								.source = disk->disk->path,
								.destination = disk->destination,
								.format = disk->disk->format };
		if (disk->kind == MOVE_DISK_COPIED)
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

static struct mapping mapping_of(const struct move *move)
{
	return (struct mapping){ move->request->networks, move->request->listens };
}

/* TEXT with all that is called otherwise there. */
static char *adapt_description(struct move *move, const char *text, bool definition, GError **error)
{
	guint count;
	const struct mapping mapping = mapping_of(move);
	g_autofree struct disk_move *moves = list_disk_moves(move, &count);
	g_autofree char *moved = disk_adapt_xml(text, moves, count, error);
	g_autofree char *named = moved ? mapping_adapt_xml(&mapping, moved, error) : NULL;
	if (!named || !definition || !move->absent_media)
		return g_steal_pointer(&named);
	return definition_make_startable(move, named, error);
}

char *disk_params_describe_there(struct move *move, unsigned flags, GError **error)
{
	char *text = virDomainGetXMLDesc(move->domain, flags);
	if (!text) {
		host_error(error, WATARI_ERROR_REFUSED, NULL, move->report->vm_name);
		return NULL;
	}
	char *adapted = adapt_description(move, text, flags & VIR_DOMAIN_XML_INACTIVE, error);
	free(text);
	return adapted;
}

/* ---- the parameters ---- */

bool disk_params_copies(const struct move *move, const struct move_disk *disk)
{
	bool rehearsal = move->request->kind == MOVE_REHEARSAL;
	return disk->kind == MOVE_DISK_COPIED && !(rehearsal && disk->given);
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

static void add_targets(struct adding *adding, struct move *move)
{
	GPtrArray *disks = move->report->disks;
	g_autofree char *path = g_uri_escape_string(move->disks_socket, "/", FALSE);
	g_autofree char *uri = g_strdup_printf("unix://%s", path);
	add_text(adding, VIR_MIGRATE_PARAM_DISKS_URI, uri);
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk_params_copies(move, disk))
			add_text(adding, VIR_MIGRATE_PARAM_MIGRATE_DISKS, disk->disk->target);
	}
}

/* Where nothing is called otherwise, libvirt's own description is right. */
static bool add_descriptions(struct adding *adding, struct move *move, unsigned flags,
			     GError **error)
{
	const unsigned live = VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE;
	const struct mapping mapping = mapping_of(move);
	bool differs = move_disks_count(move->report->disks, MOVE_DISK_COPIED) ||
		       move_disks_count(move->report->disks, MOVE_DISK_CARRIED) ||
		       !mapping_is_empty(&mapping);
	bool starts_otherwise = move->absent_media && *move->absent_media;
	bool defines = flags & VIR_MIGRATE_PERSIST_DEST && (differs || starts_otherwise);
	g_autofree char *running = differs ? disk_params_describe_there(move, live, error) : NULL;
	if (differs && !running)
		return false;
	g_autofree char *defined =
		defines ? disk_params_describe_there(move, live | VIR_DOMAIN_XML_INACTIVE, error)
			: NULL;
	if (defines && !defined)
		return false;
	if (running)
		add_text(adding, VIR_MIGRATE_PARAM_DEST_XML, running);
	if (defined)
		add_text(adding, VIR_MIGRATE_PARAM_PERSIST_XML, defined);
	return true;
}

bool disk_params_add(struct move *move, unsigned flags, virTypedParameterPtr *params, int *count,
		     int *max, GError **error)
{
	struct adding adding = { params, count, max, true };
	if (!add_descriptions(&adding, move, flags, error))
		return false;
	if (move->disks_socket)
		add_targets(&adding, move);
	return adding.good ||
	       host_error(error, WATARI_ERROR_REFUSED, NULL, _("the migration's settings"));
}

unsigned move_migrate_flags(struct move *move)
{
	const struct move_request *request = move->request;
	if (request->kind ==
	    MOVE_REHEARSAL) /* nothing is defined, and memory's part copies no disks */
		return VIR_MIGRATE_LIVE | VIR_MIGRATE_UNSAFE |
		       (move->disks_socket ? disk_params_flags(move) : 0);
	bool as_it_is = !request->persistent && !request->undefine_source;
	/* Without the flag libvirt stops the VM when the copies of its disks keep up, before memory
	 * moves, and lets it run on by itself if it stays. */
	bool stops = request->kind == MOVE_QUICK && !request->prewarm;
	unsigned flags = stops ? 0 : VIR_MIGRATE_LIVE;
	if (request->allow_postcopy)
		flags |= VIR_MIGRATE_POSTCOPY;
	if (request->persistent || (as_it_is && move->persistent))
		flags |= VIR_MIGRATE_PERSIST_DEST;
	if ((request->undefine_source || as_it_is) && move->persistent)
		flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
	if (move->limits.max_slowdown > 0)
		flags |= VIR_MIGRATE_AUTO_CONVERGE;
	return flags | disk_params_flags(move);
}
