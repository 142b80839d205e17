/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that the guest writes, counted by QEMU. See dirty_rate.h. */
#include "conductor/measure/dirty_rate.h"

#include "conductor/measure/prediction.h"
#include "conductor/core/move.h"

#include "base/clock.h"
#include "base/i18n.h"

#include <libvirt/virterror.h>

enum { WINDOW_S = 1, PATIENCE_MS = 5000, POLL_MS = 50 };
static const double pages_of_mib = 256;

/* ---- may it be asked? ---- */

/* libvirt knows the way since 8.1, QEMU counts it since 6.2. */
static const unsigned long libvirt_least = 8001000, qemu_least = 6002000;

/* Part of these machines is not QEMU's; and arguments that libvirt does not understand may name another
 * accelerator than its type says. */
static const char *const foreign[] = {
	"devices/hostdev",
	"devices/filesystem",
	"devices/interface[@type='hostdev' or @type='vhostuser' or @type='vdpa']",
	"devices/disk[@type='vhostuser' or @type='vhostvdpa']",
	"devices/*[@model='vhost-user' or model/@type='vhost-user' or driver/@name='vhostuser']",
	"*[local-name()='commandline']/*[local-name()='arg']",
};

bool dirty_rate_may_ask(struct xml *vm, unsigned long libvirt_version, unsigned long qemu_version)
{
	g_autofree char *type = xml_string(vm, NULL, "@type");
	if (g_strcmp0(type, "kvm") != 0 || libvirt_version < libvirt_least ||
	    qemu_version < qemu_least)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
		if (xml_has(vm, NULL, foreign[i]))
			return false;
	return true;
}

static bool may_ask(struct move *move)
{
	const struct host *host = move->hosts[MOVE_SOURCE];
	int kind = move->request->kind;
	if ((kind != MOVE_PLAN && kind != MOVE_REHEARSAL) || move->paused_before)
		return false;
	struct xml *vm = xml_read(move->live_xml, NULL);
	bool may = vm && dirty_rate_may_ask(vm, host->libvirt_version, host->qemu_version);
	xml_free(vm);
	return may;
}

/* ---- asking ---- */

/* What a thread works on. */
struct counting {
	virDomainPtr domain;
	bool good;
	double mib; /* a second */
	char *reason;
};

static bool refused(struct counting *counting)
{
	counting->good = false;
	counting->reason = g_strdup(virGetLastErrorMessage());
	return false;
}

static void call_begin(void *data)
{
	struct counting *counting = data;
	counting->good = virDomainStartDirtyRateCalc(counting->domain, WINDOW_S,
						     VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP) == 0;
	if (!counting->good)
		refused(counting);
}

/* False: it does not say. */
static bool look_at_count(struct counting *counting, int *status)
{
	virDomainPtr domains[] = { counting->domain, NULL };
	virDomainStatsRecordPtr *records = NULL;
	int count = virDomainListGetStats(domains, VIR_DOMAIN_STATS_DIRTYRATE, &records, 0);
	if (count < 0)
		return refused(counting);
	long long mib = 0;
	const char *mode = "";
	bool known = count == 1 && virTypedParamsGetInt(records[0]->params, records[0]->nparams,
							"dirtyrate.calc_status", status) == 1;
	bool whole = known && *status == VIR_DOMAIN_DIRTYRATE_MEASURED &&
		     virTypedParamsGetString(records[0]->params, records[0]->nparams,
					     "dirtyrate.calc_mode", &mode) == 1 &&
		     virTypedParamsGetLLong(records[0]->params, records[0]->nparams,
					    "dirtyrate.megabytes_per_second", &mib) == 1;
	counting->good = whole && g_str_equal(mode, "dirty-bitmap");
	counting->mib = (double) MAX(mib, 0);
	virDomainStatsRecordListFree(records);
	return known;
}

static void call_end_count(void *data)
{
	struct counting *counting = data;
	int64_t until_us = clock_now_us() + PATIENCE_MS * 1000;
	int status = VIR_DOMAIN_DIRTYRATE_MEASURING;
	/* The count is begun by a thread of QEMU's own, so at first it may be unstarted still. */
	while (look_at_count(counting, &status) && status != VIR_DOMAIN_DIRTYRATE_MEASURED &&
	       clock_now_us() < until_us)
		g_usleep(POLL_MS * 1000);
}

static void note_count(struct move *move, struct counting *counting)
{
	if (!counting->good)
		move_note(move, false, _("QEMU has not counted the pages that the VM writes: %s"),
			  counting->reason ? counting->reason : _("libvirt gave no reason"));
	g_free(counting->reason);
}

void dirty_rate_begin(struct move *move)
{
	struct counting counting = { .domain = move->domain };
	if (!may_ask(move))
		return;
	move_call(move, call_begin, &counting);
	move->prediction->counting = counting.good;
	note_count(move, &counting);
}

void dirty_rate_end(struct move *move)
{
	struct counting counting = { .domain = move->domain };
	if (!move->prediction->counting)
		return;
	move->prediction->counting = false;
	move_call(move, call_end_count, &counting);
	/* whole MiB are said, rounded down */
	if (counting.good)
		move->prediction->facts.dirtied_rate = (counting.mib + 0.5) * pages_of_mib;
	note_count(move, &counting);
}
