/* SPDX-License-Identifier: Apache-2.0 */
/* Carries what a running VM was tuned to and libvirt loses in a live migration, found by comparing all
 * that it says of a VM before and after one: how long iothreads poll, and the
 * thresholds at which it tells of a growing image. (What it keeps is the row "settings".) */
#include "host/belongings/belongings.h"

#include "base/i18n.h"

#include <string.h>

/* {"iothread.1.poll-max-ns": 12345, "threshold.vda": 1000000, ...} of a running VM. */
static const struct {
	const char *end, *parameter;
	bool wide;
} polling[] = {
	{ ".poll-max-ns", VIR_DOMAIN_IOTHREAD_POLL_MAX_NS, true },
	{ ".poll-grow", VIR_DOMAIN_IOTHREAD_POLL_GROW, false },
	{ ".poll-shrink", VIR_DOMAIN_IOTHREAD_POLL_SHRINK, false },
};

static int64_t number_of(const virTypedParameter *param)
{
	return param->type == VIR_TYPED_PARAM_ULLONG ? (int64_t) param->value.ul
	       : param->type == VIR_TYPED_PARAM_UINT ? (int64_t) param->value.ui
						     : 0;
}

static void read_polling(const virTypedParameter *param, JsonObject *values)
{
	for (size_t i = 0; i < G_N_ELEMENTS(polling); i++)
		if (g_str_has_prefix(param->field, "iothread.") &&
		    g_str_has_suffix(param->field, polling[i].end))
			json_object_set_int_member(values, param->field, number_of(param));
}

/* Before its numbers a disk has its name. */
static void read_threshold(const virTypedParameter *param, const char **disk, JsonObject *values)
{
	if (!g_str_has_prefix(param->field, "block."))
		return;
	if (g_str_has_suffix(param->field, ".name") && param->type == VIR_TYPED_PARAM_STRING)
		*disk = param->value.s;
	if (!*disk || !g_str_has_suffix(param->field, ".threshold") || number_of(param) == 0)
		return;
	g_autofree char *name = g_strdup_printf("threshold.%s", *disk);
	json_object_set_int_member(values, name, number_of(param));
}

static JsonObject *ask_tuning(virDomainPtr domain)
{
	virDomainStatsRecordPtr *records = NULL;
	virDomainPtr domains[] = { domain, NULL };
	JsonObject *values = json_object_new();
	const char *disk = NULL;
	if (virDomainIsActive(domain) != 1 ||
	    virDomainListGetStats(domains, VIR_DOMAIN_STATS_IOTHREAD | VIR_DOMAIN_STATS_BLOCK,
				  &records, 0) < 1)
		return values;
	for (int i = 0; i < records[0]->nparams; i++) {
		read_polling(&records[0]->params[i], values);
		read_threshold(&records[0]->params[i], &disk, values);
	}
	virDomainStatsRecordListFree(records);
	return values;
}

static JsonNode *read_tuning(virDomainPtr domain, GError **error)
{
	g_autoptr(JsonObject) values = ask_tuning(domain);
	return json_object_get_size(values) > 0 ? json_node_init_object(json_node_alloc(), values)
						: NULL;
}

static bool set_polling(virDomainPtr domain, const char *name, int64_t value)
{
	virTypedParameterPtr params = NULL;
	int count = 0, max = 0, added = -1;
	unsigned id = (unsigned) g_ascii_strtoull(name + strlen("iothread."), NULL, 10);
	for (size_t i = 0; i < G_N_ELEMENTS(polling); i++) {
		const char *parameter = polling[i].parameter;
		if (!g_str_has_suffix(name, polling[i].end))
			continue;
		added = polling[i].wide ? virTypedParamsAddULLong(&params, &count, &max, parameter,
								  (unsigned long long) value)
					: virTypedParamsAddUInt(&params, &count, &max, parameter,
								(unsigned) value);
	}
	bool good = added == 0 && virDomainSetIOThreadParams(domain, id, params, count,
							     VIR_DOMAIN_AFFECT_LIVE) == 0;
	virTypedParamsFree(params, count);
	return good;
}

static bool set_tuning(virDomainPtr domain, const char *name, int64_t value)
{
	if (g_str_has_prefix(name, "iothread."))
		return set_polling(domain, name, value);
	if (g_str_has_prefix(name, "threshold."))
		return virDomainSetBlockThreshold(domain, name + strlen("threshold."),
						  (unsigned long long) value, 0) == 0;
	return true;
}

static bool give_tuning(virDomainPtr domain, JsonNode *value, GError **error)
{
	JsonObject *values = json_node_get_object(value);
	g_autoptr(GList) names = json_object_get_members(values);
	if (virDomainIsActive(domain) != 1)
		return true;
	g_autoptr(JsonObject) now = ask_tuning(domain);
	for (GList *each = names; each; each = each->next) {
		int64_t wanted = json_get_int(values, each->data, 0);
		if (json_get_int(now, each->data, -1) != wanted &&
		    !set_tuning(domain, each->data, wanted))
			return host_error(error, WATARI_ERROR_INTERNAL, NULL, each->data);
	}
	return true;
}

const struct belonging_carrier belonging_tuning = {
	.read = read_tuning,
	.give = give_tuning,
};
