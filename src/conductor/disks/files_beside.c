/* SPDX-License-Identifier: Apache-2.0 */
/* Files that belong to the VM and that nobody has open: disks that only its definition has, for when it is started next,
 * with the images below them, and the memory of external snapshots. They go as they are. */
#include "conductor/disks/disk_params.h"
#include "conductor/disks/file.h"
#include "conductor/disks/files.h"
#include "conductor/disks/same.h"
#include "conductor/disks/share.h"

#include "base/i18n.h"
#include "host/image.h"
#include "host/xml.h"

#include <libvirt/libvirt.h>
#include <stdlib.h>

/* Is it a file here at all? What is not cannot be carried, and was no use here either. */
struct here {
	struct move *move;
	const char *path;
	struct image_place place;
	GError *error;
};

static void call_look_here(void *data)
{
	struct here *here = data;
	struct move *move = here->move;
	image_look(&move->shell, move->addresses[MOVE_SOURCE], here->path, &here->place,
		   &here->error);
}

static bool is_file_here(struct move *move, const char *path, bool *file, GError **error)
{
	struct here here = { .move = move, .path = path };
	move_call(move, call_look_here, &here);
	*file = here.place.exists && !here.place.block && here.place.size > 0;
	if (here.error)
		g_propagate_error(error, here.error);
	return !here.error;
}

static bool is_another(struct move *move, const char *what, const char *path,
		       const struct same_answer *answer, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Nothing is ever overwritten: remove it there if nobody needs it, or "
			   "take it from the VM."),
			 _("the file %s (%s) at %s is another one than at %s: %s"), path, what,
			 move->hosts[MOVE_DESTINATION]->name, move->hosts[MOVE_SOURCE]->name,
			 answer->what);
}

/* WHAT: what it is of the VM ("snapshot:NAME"). *added: it must be copied. */
static bool find_beside(struct move *move, const char *what, const char *path, bool *added,
			GError **error)
{
	const struct same_question question = { path, path, false };
	struct same_answer answer;
	bool file = false, same = false;
	*added = false;
	if (!is_file_here(move, path, &file, error))
		return false;
	if (!file)
		return true;
	if (!share_prove(move, path, &same, error))
		return false;
	if (same)
		return true;
	if (!same_ask(move, &question, &answer, error))
		return false;
	if (answer.same == SAME_YES)
		return true;
	if (answer.same != SAME_MISSING)
		return is_another(move, what, path, &answer, error);
	*added = true;
	return files_add(move, what, path, path, error);
}

static void add_carried_finding(struct move *move, const char *check, char *what)
{
	g_autoptr(GPtrArray) findings = check_new_findings();
	check_add(findings, check, CHECK_PASS, NULL, "%s", what);
	g_free(what);
	move_add_finding(move, g_ptr_array_steal_index(findings, 0));
}

/* ---- what only the definition has ---- */

static bool runs_with_file(struct move *move, const char *path)
{
	const GPtrArray *disks = move->report->disks;
	for (guint i = 0; i < disks->len; i++)
		if (g_strcmp0(((const struct move_disk *) disks->pdata[i])->disk->path, path) == 0)
			return true;
	return false;
}

static bool find_defined_disk(struct move *move, const struct disk *disk, GError **error)
{
	g_autofree char *what = g_strdup_printf("definition:%s", disk->target);
	bool added = false;
	if (!find_beside(move, what, disk->path, &added, error))
		return false;
	if (!added)
		return true;
	add_carried_finding(move, "definition",
			    g_strdup_printf(_("“%s” has %s as %s when it is started next: it is "
					      "copied"),
					    move->report->vm_name, disk->path, disk->target));
	g_auto(GStrv) below = NULL;
	bool good = share_list_chain(move, disk, &below, error);
	for (char **path = below; good && *path; path++)
		good = **path != '/' || find_beside(move, what, *path, &added, error);
	return good;
}

/* A drive that was emptied while it ran may stay empty (definition.h). */
static bool find_defined(struct move *move, GError **error)
{
	bool defines = move->persistent && !move->offline &&
		       move_migrate_flags(move) & VIR_MIGRATE_PERSIST_DEST;
	char *text = defines ? virDomainGetXMLDesc(move->domain, VIR_DOMAIN_XML_INACTIVE) : NULL;
	g_autoptr(GPtrArray) disks = text ? disk_read_all(text, NULL) : NULL;
	bool good = true;
	free(text); /* libvirt's */
	for (guint i = 0; good && disks && i < disks->len; i++) {
		const struct disk *disk = disks->pdata[i];
		if (disk->source == DISK_FILE && disk->path && !disk->removable &&
		    !runs_with_file(move, disk->path))
			good = find_defined_disk(move, disk, error);
	}
	return good;
}

/* ---- snapshots ---- */

static bool find_memory(struct move *move, virDomainSnapshotPtr snapshot, GError **error)
{
	char *text = virDomainSnapshotGetXMLDesc(snapshot, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	g_autofree char *path =
		xml ? xml_path(xml, NULL, "memory[@snapshot='external']/@file") : NULL;
	const char *name = virDomainSnapshotGetName(snapshot);
	g_autofree char *what = g_strdup_printf("snapshot:%s", name);
	bool added = false;
	xml_free(xml);
	free(text);
	if (!path || *path != '/')
		return true;
	if (!find_beside(move, what, path, &added, error))
		return false;
	if (added)
		add_carried_finding(
			move, "snapshots",
			g_strdup_printf(_("the memory of the snapshot “%s” of “%s” (%s) is copied"),
					name, move->report->vm_name, path));
	return true;
}

static bool find_snapshots(struct move *move, GError **error)
{
	virDomainSnapshotPtr *snapshots = NULL;
	int count = virDomainListAllSnapshots(move->domain, &snapshots,
					      VIR_DOMAIN_SNAPSHOT_LIST_EXTERNAL);
	bool good = true;
	for (int i = 0; i < count; i++) {
		good = good && find_memory(move, snapshots[i], error);
		virDomainSnapshotFree(snapshots[i]);
	}
	free(snapshots); /* libvirt's */
	return good;
}

bool files_find_beside(struct move *move, GError **error)
{
	bool rehearsal = move->request->kind == MOVE_REHEARSAL; /* it needs none of them */
	return files_stay(move->request) || rehearsal ||
	       (find_defined(move, error) && find_snapshots(move, error));
}
