/* SPDX-License-Identifier: Apache-2.0 */
/* The state is proven to be whole at the destination, the stopped copy at the source is ended, and the
 * VM goes on at the destination. The order, and why: through.h. */
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/unit.h"

#include <stdlib.h>

struct restoring {
	struct journey *journey;
	bool never_ran; /* what was restored, and could not go on */
	GError *error;
};

/* ---- before anything is given up ---- */

/* A copy that somebody let go on has left its saved state behind. */
static bool is_stopped_at_source(struct restoring *restoring)
{
	struct journey *journey = restoring->journey;
	struct host_vm vm;
	if (!host_vm_ask(journey->hosts[JOURNEY_SOURCE], journey->report->vm_uuid, &vm,
			 &restoring->error))
		return false;
	return vm.state == HOST_VM_PAUSED ||
	       error_set(&restoring->error, WATARI_ERROR_FAILED, NULL,
			 _("somebody let “%s” go on at the source, or ended it"),
			 journey->report->vm_name);
}

/* A source that cannot be asked is found out here, where nobody waits for an order that may be late. */
static void call_check(void *data)
{
	struct restoring *restoring = data;
	struct journey *journey = restoring->journey;
	struct host *there = journey->hosts[JOURNEY_DESTINATION];
	struct host_vm vm;
	if (!is_stopped_at_source(restoring))
		return;
	/* what libvirt writes before the memory */
	char *xml = virDomainSaveImageGetXMLDesc(there->connection, journey->through->path, 0);
	if (!xml) {
		host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
			   _("libvirt at the destination cannot read the saved state"));
		return;
	}
	free(xml);
	if (!host_vm_ask(there, journey->report->vm_uuid, &vm, &restoring->error))
		return;
	if (vm.state != HOST_VM_ABSENT && vm.state != HOST_VM_OFF)
		error_set(&restoring->error, WATARI_ERROR_FAILED,
			  _("Find out what it is; nothing of it was touched."),
			  _("somebody started “%s” at %s meanwhile"), journey->report->vm_name,
			  there->name);
}

static void call_leave(void *data)
{
	struct restoring *restoring = data;
	struct journey *journey = restoring->journey;
	if (!is_stopped_at_source(restoring))
		return;
	journey->through->ordered[JOURNEY_SOURCE] = true;
	if (virDomainDestroy(journey->domain) == 0)
		journey->through->ordered[JOURNEY_SOURCE] = false;
	else
		host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
			   _("the stopped copy at the source could not be ended"));
}

static bool do_call(struct restoring *restoring, void (*call)(void *data), GError **error)
{
	journey_call(restoring->journey, call, restoring);
	if (!restoring->error)
		return true;
	error_classify(&restoring->error, WATARI_ERROR_FAILED, NULL);
	g_propagate_error(error, g_steal_pointer(&restoring->error));
	return false;
}

/* The last moment in which going back costs nothing. Restoring reads the whole file again. */
static bool check_limit(struct journey *journey, int64_t checking_ms, GError **error)
{
	int64_t limit_ms = journey_stop_ceiling_ms(journey);
	int64_t stood_ms = (clock_now_us() - journey->still_us) / 1000;
	int64_t needed_ms = stood_ms + MAX(journey->through->saving_ms, checking_ms);
	if (!limit_ms || needed_ms <= limit_ms)
		return true;
	g_autofree char *needed = unit_format_duration_ms(needed_ms);
	g_autofree char *limit = unit_format_duration_ms(limit_ms);
	return error_set(error, WATARI_ERROR_FAILED,
			 _("Allow a longer stop (--max-stop), or use faster storage."),
			 _("the stop would have lasted about %s, longer than the limit of %s"),
			 needed, limit);
}

static bool leave(struct restoring *restoring, GError **error)
{
	struct journey *journey = restoring->journey;
	int64_t start_ms = clock_now_ms();
	return through_check(journey, JOURNEY_DESTINATION, error) &&
	       do_call(restoring, call_check, error) &&
	       check_limit(journey, clock_now_ms() - start_ms, error) &&
	       journey_check_cancel(journey, error) &&
	       through_is_unchanged(journey, JOURNEY_DESTINATION, error) &&
	       through_enter(journey, THROUGH_LEFT, error) && do_call(restoring, call_leave, error);
}

/* ---- there ---- */

static void call_restore(void *data)
{
	struct restoring *restoring = data;
	struct journey *journey = restoring->journey;
	journey->through->ordered[JOURNEY_DESTINATION] = true;
	if (virDomainRestoreFlags(journey->hosts[JOURNEY_DESTINATION]->connection,
				  journey->through->path, NULL, VIR_DOMAIN_SAVE_PAUSED) == 0)
		journey->through->ordered[JOURNEY_DESTINATION] = false;
	else
		host_error(&restoring->error, WATARI_ERROR_FAILED,
			   _("See the VM's log in /var/log/libvirt/qemu there."),
			   _("the destination could not restore the VM"));
}

/* Nobody but this lets it go on: one that was gone before it was asked to has not run either. */
static bool never_ran(struct journey *journey, bool asked)
{
	struct host_vm vm;
	if (!host_vm_ask(journey->hosts[JOURNEY_DESTINATION], journey->report->vm_uuid, &vm, NULL))
		return false;
	bool gone = vm.state == HOST_VM_ABSENT || vm.state == HOST_VM_OFF;
	return vm.state == HOST_VM_PAUSED || (gone && !asked);
}

static void call_resume(void *data)
{
	struct restoring *restoring = data;
	struct journey *journey = restoring->journey;
	struct host *there = journey->hosts[JOURNEY_DESTINATION];
	virDomainPtr domain =
		virDomainLookupByUUIDString(there->connection, journey->report->vm_uuid);
	journey->through->ordered[JOURNEY_DESTINATION] = domain != NULL;
	if (domain && virDomainResume(domain) == 0) {
		journey->through->ordered[JOURNEY_DESTINATION] = false;
		virDomainFree(domain);
		return;
	}
	host_error(&restoring->error, WATARI_ERROR_FAILED, NULL,
		   _("the destination restored the VM, but could not let it go on"));
	restoring->never_ran = never_ran(journey, domain != NULL);
	if (domain)
		virDomainFree(domain);
}

/* Where even that cannot be written the copy there waits, and the ending says so. */
static void go_back(struct journey *journey)
{
	g_autoptr(GError) error = NULL;
	if (through_enter(journey, THROUGH_BACK, &error))
		return;
	g_autofree char *what = error_what(error);
	journey_note(journey, true, "%s", what);
}

static bool restore(struct restoring *restoring, GError **error)
{
	struct journey *journey = restoring->journey;
	journey_say(journey, _("restoring the VM at the destination"));
	if (!through_is_unchanged(journey, JOURNEY_DESTINATION, error) ||
	    !do_call(restoring, call_restore, error) ||
	    !through_enter(journey, THROUGH_RESUMED, error)) {
		go_back(journey);
		return false;
	}
	if (journey->paused_before)
		return true;
	if (do_call(restoring, call_resume, error)) {
		journey->stood_ms = (clock_now_us() - journey->still_us) / 1000;
		return true;
	}
	if (restoring->never_ran)
		go_back(journey);
	return false;
}

bool phase_restore(struct journey *journey, GError **error)
{
	struct restoring restoring = { .journey = journey };
	int64_t start_ms = clock_now_ms();
	bool good = leave(&restoring, error) && restore(&restoring, error);
	journey->report->migration_ms += clock_now_ms() - start_ms;
	return good;
}
