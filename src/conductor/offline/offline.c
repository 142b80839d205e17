/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the VM is still off, and what serves its new images. See offline.h. */
#include "conductor/offline/offline.h"

#include "base/i18n.h"
#include "host/storage.h"

enum { LOOK_MS = 20000 };

struct looking {
	struct journey *journey;
	char *looks;
	struct host_vm vm;
	GError *error;
};

/* Of a block device only that it is there: writes to it leave no trace in it. */
static const char look_script[] = "for p; do stat -L -c '%n %d:%i %s %y' -- \"$p\" || exit; done\n";

static void call_look(void *data)
{
	struct looking *looking = data;
	struct journey *journey = looking->journey;
	GPtrArray *disks = journey->report->disks;
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	static const char *const head[] = { "sh", "-c", look_script, "sh" };
	for (size_t i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(words, (gpointer) (uintptr_t) head[i]);
	for (guint i = 0; i < disks->len; i++) {
		const struct journey_disk *disk = disks->pdata[i];
		char **chain = disk->kind == JOURNEY_DISK_COPIED ? disk->source_chain : NULL;
		for (; chain && *chain; chain++)
			g_ptr_array_add(words, *chain);
	}
	g_ptr_array_add(words, NULL);
	remote_run(&journey->shell, journey->addresses[JOURNEY_SOURCE],
		   (const char *const *) words->pdata, LOOK_MS, &looking->looks, NULL,
		   &looking->error);
}

bool offline_remember_images(struct journey *journey, GError **error)
{
	struct looking looking = { .journey = journey };
	journey_call(journey, call_look, &looking);
	journey->offline->looks = looking.looks;
	if (looking.error)
		g_propagate_error(error, looking.error);
	return looking.looks != NULL;
}

/* ---- is it still off? ---- */

static void call_ask(void *data)
{
	struct looking *looking = data;
	host_vm_ask(looking->journey->hosts[JOURNEY_SOURCE], looking->journey->report->vm_uuid,
		    &looking->vm, &looking->error);
}

bool offline_check_off(struct journey *journey, GError **error)
{
	struct looking looking = { .journey = journey };
	journey_call(journey, call_ask, &looking);
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
			 journey->report->vm_name);
}

bool offline_check_source(struct journey *journey, GError **error)
{
	struct looking looking = { .journey = journey };
	if (!offline_check_off(journey, error))
		return false;
	journey_call(journey, call_look, &looking);
	g_autofree char *now = looking.looks;
	if (looking.error) {
		g_propagate_error(error, looking.error);
		return false;
	}
	return g_str_equal(now, journey->offline->looks) ||
	       error_set(error, WATARI_ERROR_FAILED,
			 _("Find out who did (a start of the VM, a tool), and try again."),
			 _("somebody changed the images of “%s” at the source while they were "
			   "copied"),
			 journey->report->vm_name);
}

/* ---- life ---- */

static void call_end(void *data)
{
	storage_end(data);
}

void offline_end_storage(struct journey *journey)
{
	if (journey->offline && journey->offline->storage)
		journey_call(journey, call_end, g_steal_pointer(&journey->offline->storage));
}

void offline_free(struct journey *journey)
{
	offline_end_storage(journey);
	if (journey->offline)
		g_free(journey->offline->looks);
	g_clear_pointer(&journey->offline, g_free);
}
