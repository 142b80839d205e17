/* SPDX-License-Identifier: Apache-2.0 */
/* The directory between the hosts: proven to be one and the same, large enough, and nobody else's. The movers are
 * started for that proof and need no link. */
#include "conductor/core/movers.h"
#include "conductor/disks/share.h"
#include "conductor/through/through.h"

#include "base/i18n.h"
#include "base/unit.h"
#include "host/image.h"

#include <stdio.h>

enum {
	LEAST_ROOM = 64 << 20, /* devices and descriptions */
	OWNER_MS = 20000,
};

bool phase_movers(struct move *move, GError **error)
{
	return movers_start(move, error);
}

struct measuring {
	struct move *move;
	struct image_place place;
	uint64_t memory;
	GError *error;
};

static void call_measure(void *data)
{
	struct measuring *measuring = data;
	struct move *move = measuring->move;
	virDomainInfo info;
	if (virDomainGetInfo(move->domain, &info) < 0) {
		host_error(&measuring->error, WATARI_ERROR_REFUSED, NULL, move->report->vm_name);
		return;
	}
	measuring->memory = (uint64_t) info.memory << 10;
	image_look(&move->shell, move->addresses[MOVE_SOURCE], move->through->path,
		   &measuring->place, &measuring->error);
}

/* A state that does not fit would be found out when the VM stands still. */
static bool check_directory_room(struct move *move, GError **error)
{
	struct measuring measuring = { .move = move };
	move_call(move, call_measure, &measuring);
	if (measuring.error) {
		g_propagate_error(error, measuring.error);
		return false;
	}
	uint64_t needed = measuring.memory + LEAST_ROOM;
	if (measuring.place.directory && measuring.place.room >= needed)
		return true;
	g_autofree char *need = unit_format_bytes(needed);
	g_autofree char *room = unit_format_bytes(measuring.place.room);
	if (!measuring.place.directory)
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("Name a directory that both hosts have mounted."),
				 _("there is no directory %s at the source"),
				 move->request->through);
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Make room there, or name another directory."),
			 _("the state may need %s in %s, where %s are free"), need,
			 move->request->through, room);
}

/* ---- whose is it? ---- */

struct owning {
	struct move *move;
	enum move_side side;
	GError *error;
};

/* What lies there becomes a VM, with any program that its description names: whoever may put another
 * file in its place is root at the destination. Where only owners may rename (sticky) ours stays ours. */
static void judge_owner(struct owning *owning, unsigned uid, unsigned mode)
{
	const struct move *move = owning->move;
	const struct host *host = move->hosts[owning->side];
	bool trusted = uid == 0 || (host->qemu_uid >= 0 && uid == (unsigned) host->qemu_uid);
	bool open = mode & 022 && !(mode & 01000);
	if (trusted && !open)
		return;
	error_set(&owning->error, WATARI_ERROR_REFUSED,
		  _("Name a directory of root's that nobody else may write (chown root, chmod "
		    "go-w)."),
		  open ? _("at %s others may write in %s (mode %o), and could put another state "
			   "in place of the VM's")
		       : _("at %s the directory %s belongs to user %u, who could put another "
			   "state in place of the VM's"),
		  host->name, move->request->through, open ? mode : uid);
}

static void call_ask_owner(void *data)
{
	struct owning *owning = data;
	struct move *move = owning->move;
	const char *const words[] = { "stat", "-L", "-c", "%u %a", "--", move->request->through,
				      NULL };
	g_autofree char *output = NULL;
	unsigned uid = 0, mode = 0;
	if (!remote_run(&move->shell, move->addresses[owning->side], words, OWNER_MS, &output, NULL,
			&owning->error))
		return;
	if (sscanf(output, "%u %o", &uid, &mode) == 2)
		judge_owner(owning, uid, mode);
	else
		error_set(&owning->error, WATARI_ERROR_REFUSED, NULL,
			  _("%s does not say whose the directory %s is"),
			  move->hosts[owning->side]->name, move->request->through);
}

static bool check_directory_owner(struct move *move, GError **error)
{
	for (int side = 0; side < MOVE_SIDES; side++) {
		struct owning owning = { move, side, NULL };
		move_call(move, call_ask_owner, &owning);
		if (owning.error) {
			g_propagate_error(error, owning.error);
			return false;
		}
	}
	return true;
}

bool phase_directory(struct move *move, GError **error)
{
	bool same = false;
	if (!check_directory_room(move, error) ||
	    !share_prove(move, move->through->path, &same, error)) {
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
		return false;
	}
	if (same)
		return check_directory_owner(move, error);
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Mount the same storage there under the same path, or name "
			   "another directory."),
			 _("%s does not see in %s what the source writes there"),
			 move->hosts[MOVE_DESTINATION]->name, move->request->through);
}

bool phase_stay(struct move *move, GError **error)
{
	GPtrArray *disks = move->report->disks;
	/* what comes next needs none, and idle ones end by themselves */
	movers_end(move);
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		if (disk->kind == MOVE_DISK_COPIED || disk->kind == MOVE_DISK_CARRIED)
			return error_set(
				error, WATARI_ERROR_REFUSED,
				_("Put it on storage that both hosts share, or move the VM "
				  "over the network (without --through)."),
				_("the disk %s (%s) is not the same at both hosts, and "
				  "through a directory no disk is copied"),
				disk->disk->target, disk->disk->path);
	}
	return true;
}
