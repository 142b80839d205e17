/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the VM is still off, and what serves its new images. See offline.h. */
#include "conductor/offline/offline.h"

#include "conductor/core/part.h"

#include "base/i18n.h"
#include "host/storage.h"

enum { LOOK_MS = 20000 };

struct looking {
	struct move *move;
	char *looks;
	struct host_vm vm;
	GError *error;
};

/* Of a block device only that it is there: writes to it leave no trace in it. */
static const char look_script[] = "for p; do stat -L -c '%n %d:%i %s %y' -- \"$p\" || exit; done\n";

static void call_look_at_images(void *data)
{
	struct looking *looking = data;
	struct move *move = looking->move;
	GPtrArray *disks = move->report->disks;
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	static const char *const head[] = { "sh", "-c", look_script, "sh" };
	for (size_t i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(words, (gpointer) (uintptr_t) head[i]);
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		char **chain = disk->kind == MOVE_DISK_COPIED ? disk->source_chain : NULL;
		for (; chain && *chain; chain++)
			g_ptr_array_add(words, *chain);
	}
	g_ptr_array_add(words, NULL);
	remote_run(&move->shell, move->addresses[MOVE_SOURCE], (const char *const *) words->pdata,
		   LOOK_MS, &looking->looks, NULL, &looking->error);
}

bool offline_remember_images(struct move *move, GError **error)
{
	struct looking looking = { .move = move };
	move_call(move, call_look_at_images, &looking);
	move->offline->looks = looking.looks;
	if (looking.error)
		g_propagate_error(error, looking.error);
	return looking.looks != NULL;
}

/* ---- is it still off? ---- */

static void call_ask_storage(void *data)
{
	struct looking *looking = data;
	host_vm_ask(looking->move->hosts[MOVE_SOURCE], looking->move->report->vm_uuid, &looking->vm,
		    &looking->error);
}

bool offline_check_off(struct move *move, GError **error)
{
	struct looking looking = { .move = move };
	move_call(move, call_ask_storage, &looking);
	if (looking.error) {
		g_propagate_error(error, looking.error);
		return false;
	}
	if (looking.vm.state == HOST_VM_OFF)
		return true;
	return error_set(error, WATARI_ERROR_FAILED,
			 _("Shut it down and try again, or move it while it runs, without "
			   "--offline."),
			 _("somebody started “%s” at the source meanwhile, or removed it"),
			 move->report->vm_name);
}

bool offline_check_source(struct move *move, GError **error)
{
	struct looking looking = { .move = move };
	if (!offline_check_off(move, error))
		return false;
	move_call(move, call_look_at_images, &looking);
	g_autofree char *now = looking.looks;
	if (looking.error) {
		g_propagate_error(error, looking.error);
		return false;
	}
	return g_str_equal(now, move->offline->looks) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who did (a start of the VM, a tool), and try again."),
			 _("somebody changed the images of “%s” at the source while they were "
			   "copied"),
			 move->report->vm_name);
}

/* ---- life ---- */

static void call_end_storage(void *data)
{
	storage_end(data);
}

void offline_end_storage(struct move *move)
{
	if (move->offline && move->offline->storage)
		move_call(move, call_end_storage, g_steal_pointer(&move->offline->storage));
}

void offline_free(struct move *move)
{
	offline_end_storage(move);
	if (move->offline)
		g_free(move->offline->looks);
	g_clear_pointer(&move->offline, g_free);
}

const struct part offline_part = { .name = "offline", .clear = offline_free };
