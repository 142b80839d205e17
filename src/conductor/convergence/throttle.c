/* SPDX-License-Identifier: Apache-2.0 */
/* Holds QEMU's throttle below what the user permits. */
#include "conductor/convergence/throttle.h"

#include "base/error.h"
#include "base/i18n.h"
#include "base/json.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

/* The answer's "return", or NULL. */
static JsonObject *command(virDomainPtr domain, const char *text, GError **error)
{
	char *answer = NULL;
	if (virDomainQemuMonitorCommand(domain, text, &answer, 0) < 0) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s", virGetLastErrorMessage());
		return NULL;
	}
	g_autoptr(JsonObject) whole = json_parse_object(answer, strlen(answer), NULL);
	JsonObject *result = whole ? json_get_object(whole, "return") : NULL;
	JsonObject *failure = whole ? json_get_object(whole, "error") : NULL;
	if (!result)
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s",
			  failure ? json_get_string(failure, "desc", answer) : answer);
	free(answer); /* libvirt's */
	return result ? json_object_ref(result) : NULL;
}

static bool set_both(virDomainPtr domain, int initial, int most, GError **error)
{
	g_autofree char *text =
		g_strdup_printf("{\"execute\":\"migrate-set-parameters\",\"arguments\":"
				"{\"cpu-throttle-initial\":%d,\"max-cpu-throttle\":%d}}",
				initial, most);
	g_autoptr(JsonObject) answer = command(domain, text, error);
	return answer != NULL;
}

bool throttle_read(virDomainPtr domain, struct throttle *throttle, GError **error)
{
	g_autoptr(JsonObject) before =
		command(domain, "{\"execute\":\"query-migrate-parameters\"}", error);
	if (!before)
		return false;
	throttle->initial = (int) json_get_int(before, "cpu-throttle-initial", 0);
	throttle->most = (int) json_get_int(before, "max-cpu-throttle", 0);
	if (throttle->initial <= 0 || throttle->most <= 0)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("this QEMU knows no upper end of its throttle"));
	return true;
}

bool throttle_hold(virDomainPtr domain, struct throttle *throttle, GError **error)
{
	throttle->changed = set_both(domain, THROTTLE_LEAST, THROTTLE_LEAST, error);
	return throttle->changed;
}

bool throttle_set(virDomainPtr domain, int percent, GError **error)
{
	return set_both(domain, percent, percent, error);
}

bool throttle_refuse(GError **error)
{
	error_prefix(error, _("--max-slowdown cannot be kept, for QEMU's throttle cannot be held"));
	error_classify(error, WATARI_ERROR_REFUSED,
		       _("Move it without --max-slowdown; --allow-postcopy is another way."));
	return false;
}

void throttle_restore(virDomainPtr domain, const struct throttle *throttle)
{
	if (throttle->changed)
		set_both(domain, throttle->initial, throttle->most, NULL);
}
