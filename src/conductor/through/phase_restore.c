/* SPDX-License-Identifier: Apache-2.0 */
/* The state is proven to be whole at the destination, the stopped copy at the source is ended, and the
 * VM goes on at the destination. The order, and why: through.h. */
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"

#include <stdlib.h>

struct restoring {
	struct move *move;
	bool never_ran; /* what was restored, and could not go on */
	GError *error;
};

/* ---- before anything is given up ---- */

/* A copy that somebody let go on has left its saved state behind. */
static bool is_stopped_at_source(struct restoring *restoring)
{
	struct move *move = restoring->move;
	struct host_vm vm;
	if (!host_vm_ask(move->hosts[MOVE_SOURCE], move->report->vm_uuid, &vm, &restoring->error))
		return false;
	return vm.state == HOST_VM_PAUSED ||
	       error_set(&restoring->error, WATARI_ERROR_FAILED, NULL,
			 _("somebody let “%s” go on at the source, or ended it"),
			 move->report->vm_name);
}

/* A source that cannot be asked is found out here, where nobody waits for an order that may be late. */
static void call_check_state(void *data)
{
	struct restoring *restoring = data;
	struct move *move = restoring->move;
	struct host *there = move->hosts[MOVE_DESTINATION];
	struct host_vm vm;
	if (!is_stopped_at_source(restoring))
		return;
	/* what libvirt writes before the memory */
	char *xml = virDomainSaveImageGetXMLDesc(there->connection, move->through->path, 0);
	if (!xml) {
		host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
			   _("libvirt at the destination cannot read the saved state"));
		return;
	}
	free(xml);
	if (!host_vm_ask(there, move->report->vm_uuid, &vm, &restoring->error))
		return;
	if (vm.state != HOST_VM_ABSENT && vm.state != HOST_VM_OFF)
		error_set(&restoring->error, WATARI_ERROR_FAILED,
			  _("Find out what it is; nothing of it was touched."),
			  _("somebody started “%s” at %s meanwhile"), move->report->vm_name,
			  there->name);
}

static void call_leave(void *data)
{
	struct restoring *restoring = data;
	struct move *move = restoring->move;
	if (!is_stopped_at_source(restoring))
		return;
	move->through->ordered[MOVE_SOURCE] = true;
	if (virDomainDestroy(move->domain) == 0)
		move->through->ordered[MOVE_SOURCE] = false;
	else
		host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
			   _("the stopped copy at the source could not be ended"));
}

static bool do_call(struct restoring *restoring, void (*call)(void *data), GError **error)
{
	move_call(restoring->move, call, restoring);
	if (!restoring->error)
		return true;
	error_classify(&restoring->error, WATARI_ERROR_FAILED, NULL);
	g_propagate_error(error, g_steal_pointer(&restoring->error));
	return false;
}

/* The last moment in which going back costs nothing. Restoring reads the whole file again. */
static bool check_limit(struct move *move, int64_t checking_ms, GError **error)
{
	int64_t limit_ms = move_stop_ceiling_ms(move);
	int64_t stood_ms = (clock_now_us() - move->still_us) / 1000;
	int64_t needed_ms = stood_ms + MAX(move->through->saving_ms, checking_ms);
	if (!limit_ms || needed_ms <= limit_ms)
		return true;
	g_autofree char *needed = unit_format_duration_ms(needed_ms);
	g_autofree char *limit = unit_format_duration_ms(limit_ms);
	return error_set(error, WATARI_ERROR_FAILED,
			 _("Allow a longer stop (--max-stop), or use faster storage."),
			 _("the stop would have lasted about %s, longer than the limit of %s"),
			 needed, limit);
}

static bool leave_state(struct restoring *restoring, GError **error)
{
	struct move *move = restoring->move;
	int64_t start_ms = clock_now_ms();
	return through_check(move, MOVE_DESTINATION, error) &&
	       do_call(restoring, call_check_state, error) &&
	       check_limit(move, clock_now_ms() - start_ms, error) &&
	       move_check_cancel(move, error) &&
	       through_is_unchanged(move, MOVE_DESTINATION, error) &&
	       through_enter(move, THROUGH_LEFT, error) && do_call(restoring, call_leave, error);
}

/* ---- there ---- */

static void call_restore(void *data)
{
	struct restoring *restoring = data;
	struct move *move = restoring->move;
	move->through->ordered[MOVE_DESTINATION] = true;
	if (virDomainRestoreFlags(move->hosts[MOVE_DESTINATION]->connection, move->through->path,
				  NULL, VIR_DOMAIN_SAVE_PAUSED) == 0)
		move->through->ordered[MOVE_DESTINATION] = false;
	else
		host_error(&restoring->error, WATARI_ERROR_FAILED,
			   _("See the VM's log in /var/log/libvirt/qemu there."),
			   _("the destination could not restore the VM"));
}

/* Nobody but this lets it go on: one that was gone before it was asked to has not run either. */
static bool never_ran(struct move *move, bool asked)
{
	struct host_vm vm;
	if (!host_vm_ask(move->hosts[MOVE_DESTINATION], move->report->vm_uuid, &vm, NULL))
		return false;
	bool gone = vm.state == HOST_VM_ABSENT || vm.state == HOST_VM_OFF;
	return vm.state == HOST_VM_PAUSED || (gone && !asked);
}

static void call_resume(void *data)
{
	struct restoring *restoring = data;
	struct move *move = restoring->move;
	struct host *there = move->hosts[MOVE_DESTINATION];
	virDomainPtr domain = virDomainLookupByUUIDString(there->connection, move->report->vm_uuid);
	move->through->ordered[MOVE_DESTINATION] = domain != NULL;
	if (domain && virDomainResume(domain) == 0) {
		move->through->ordered[MOVE_DESTINATION] = false;
		virDomainFree(domain);
		return;
	}
	host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
		   _("the destination restored the VM, but could not let it go on"));
	restoring->never_ran = never_ran(move, domain != NULL);
	if (domain)
		virDomainFree(domain);
}

/* Where even that cannot be written the copy there waits, and the ending says so. */
static void go_back(struct move *move)
{
	g_autoptr(GError) error = NULL;
	if (through_enter(move, THROUGH_BACK, &error))
		return;
	g_autofree char *what = error_what(error);
	move_note(move, true, "%s", what);
}

static bool restore(struct restoring *restoring, GError **error)
{
	struct move *move = restoring->move;
	move_say(move, _("restoring the VM at the destination"));
	if (!through_is_unchanged(move, MOVE_DESTINATION, error) ||
	    !do_call(restoring, call_restore, error) ||
	    !through_enter(move, THROUGH_RESUMED, error)) {
		go_back(move);
		return false;
	}
	if (move->paused_before)
		return true;
	if (do_call(restoring, call_resume, error)) {
		move->stood_ms = (clock_now_us() - move->still_us) / 1000;
		return true;
	}
	if (restoring->never_ran)
		go_back(move);
	return false;
}

bool phase_restore(struct move *move, GError **error)
{
	struct restoring restoring = { .move = move };
	int64_t start_ms = clock_now_ms();
	bool good = leave_state(&restoring, error) && restore(&restoring, error);
	move->report->migration_ms += clock_now_ms() - start_ms;
	return good;
}
