/* SPDX-License-Identifier: Apache-2.0 */
/* The checks before a migration: the table and what all of them share. See check.h. */
#include "host/checks/check.h"

#include "base/i18n.h"
#include "base/plain.h"
#include "host/checks/checks.h"

#include <libvirt/virterror.h>
#include <string.h>

static void free_finding(gpointer data)
{
	struct check_finding *finding = data;
	g_free(finding->what);
	g_free(finding->next);
	g_free(finding);
}

GPtrArray *check_new_findings(void)
{
	return g_ptr_array_new_with_free_func(free_finding);
}

static const char *const result_names[] = { "pass", "warn", "refuse" };
_Static_assert(G_N_ELEMENTS(result_names) == CHECK_REFUSE + 1, "one name for each result");

JsonArray *check_describe(const GPtrArray *findings, bool move)
{
	JsonArray *array = json_array_new();
	for (guint i = 0; findings && i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		JsonObject *object = json_object_new();
		json_set_text(object, "check", finding->check);
		json_set_text(object, "result", check_result_name(finding->result));
		json_set_text(object, "what", finding->what);
		json_set_text(object, "next", finding->next);
		if (move) {
			json_object_set_boolean_member(object, "can_accept",
						       check_can_accept(finding->check));
			json_object_set_boolean_member(object, "accepted", finding->accepted);
		}
		json_array_add_object_element(array, object);
	}
	return array;
}

const char *check_result_name(enum check_result result)
{
	return result_names[result];
}

void check_add(GPtrArray *findings, const char *check, enum check_result result, const char *next,
	       const char *format, ...)
{
	struct check_finding *finding = g_new0(struct check_finding, 1);
	finding->check = g_intern_string(check);
	finding->result = result;
	finding->next = g_strdup(next);
	if (format) {
		va_list arguments;
		va_start(arguments, format);
		finding->what = plain_line(g_strdup_vprintf(format, arguments));
		va_end(arguments);
	}
	g_ptr_array_add(findings, finding);
}

void check_add_virt(struct check_context *context, const char *check, enum check_result result,
		    const char *next, const char *prefix)
{
	virErrorPtr last = virGetLastError();
	check_add(context->findings, check, result, next, "%s: %s", prefix,
		  last && last->message ? last->message : _("libvirt gave no reason"));
}

/* WORDS may hold anything, newlines too, so the answer is their numbers, one a line. */
static char **pick_words(const GPtrArray *words, const char *numbers)
{
	g_autoptr(GStrvBuilder) picked = g_strv_builder_new();
	g_auto(GStrv) lines = g_strsplit(numbers, "\n", -1);
	for (char **line = lines; *line; line++) {
		guint64 number = 0;
		if (g_ascii_string_to_unsigned(*line, 10, 1, words->len, &number, NULL))
			g_strv_builder_add(picked, words->pdata[number - 1]);
	}
	return g_strv_builder_end(picked);
}

char **check_missing_there(struct check_context *context, const char *kind, const char *prefix,
			   const GPtrArray *words)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autofree char *output = NULL;
	static const char script[] = "t=$1 p=$2 n=0; shift 2; for w; do n=$((n + 1)); "
				     "test \"$t\" \"$p$w\" || echo $n; done";
	const char *const head[] = { "sh", "-c", script, "sh", kind, prefix };
	for (unsigned i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(argv, (gpointer) (uintptr_t) head[i]);
	for (unsigned i = 0; i < words->len; i++)
		g_ptr_array_add(argv, words->pdata[i]);
	g_ptr_array_add(argv, NULL);
	if (!remote_run(context->options->shell, context->destination->address,
			(const char *const *) argv->pdata, 20000, &output, NULL, NULL))
		return NULL;
	return pick_words(words, output);
}

/* The order is that of the message a person reads: who, where, then what. The dry run is last: it
 * asks libvirt and QEMU themselves, in their words, for whatever we did not think of. */
static void (*const checks[])(struct check_context *) = {
	check_vm_state,    check_same_host,     check_name_taken, check_jobs,    check_versions,
	check_machine,     check_cpu,           check_tsc,        check_memory,  check_placement,
	check_disks,       check_access,        check_locks,      check_secrets, check_host_devices,
	check_filesystems, check_other_devices, check_sockets,    check_things,  check_vsock,
	check_offered,     check_networks,      check_labels,     check_agent,   check_postcopy,
	check_tcg,         check_belongings,    check_dry_run,
};

/* Of a VM that is off: it need not run there at once, nor is anything of it at work. */
static void (*const checks_offline[])(struct check_context *) = {
	check_vm_off,   check_same_host, check_name_taken, check_versions, check_machine,
	check_disks,    check_access,    check_locks,      check_secrets,  check_offered,
	check_networks, check_labels,    check_belongings,
};

static void run_all(struct check_context *context)
{
	if (context->options->offline)
		for (size_t i = 0; i < G_N_ELEMENTS(checks_offline); i++)
			checks_offline[i](context);
	else
		for (size_t i = 0; i < G_N_ELEMENTS(checks); i++)
			checks[i](context);
}

/* With the names that the user gives things of the destination. */
struct xml *check_read_vm(struct check_context *context, unsigned flags, GError **error)
{
	char *text = virDomainGetXMLDesc(context->domain, flags);
	if (!text) {
		host_error(error, WATARI_ERROR_REFUSED, NULL, context->name);
		return NULL;
	}
	const struct mapping *mapping = context->options->mapping;
	g_autofree char *adapted = mapping_is_empty(mapping)
					   ? g_strdup(text)
					   : mapping_adapt_xml(mapping, text, error);
	free(text);
	return adapted ? xml_read(adapted, error) : NULL;
}

static bool prepare_checks(struct check_context *context, GError **error)
{
	context->vm = check_read_vm(context, 0, error);
	if (!context->vm)
		return false;
	context->source_capabilities = xml_read(context->source->capabilities, error);
	if (!context->source_capabilities)
		return false;
	context->destination_capabilities = xml_read(context->destination->capabilities, error);
	if (!context->destination_capabilities)
		return false;
	context->arch = xml_string(context->vm, NULL, "os/type/@arch");
	context->machine = xml_string(context->vm, NULL, "os/type/@machine");
	context->virt_type = xml_string(context->vm, NULL, "@type");
	context->emulator = xml_string(context->vm, NULL, "devices/emulator");
	return true;
}

/* What several checks want to know of the destination, asked once. */
static void look_at_destination(struct check_context *context, struct room *room)
{
	unsigned char *map = NULL;
	if (context->options->offline)
		return;
	if (room_ask(context->options->shell, context->destination->address, room))
		context->room = room;
	int count = virNodeGetCPUMap(context->destination->connection, &map, NULL, 0);
	context->cpu_count = MAX(count, 0);
	context->cpu_map = map;
}

static void clear_context(struct check_context *context)
{
	free((void *) (uintptr_t) context->cpu_map); /* libvirt's */
	xml_free(context->vm);
	xml_free(context->source_capabilities);
	xml_free(context->destination_capabilities);
	xml_free(context->destination_domain);
	g_free(context->arch);
	g_free(context->machine);
	g_free(context->virt_type);
	g_free(context->emulator);
}

static bool is_alive(struct host *host, GError **error)
{
	if (virConnectIsAlive(host->connection) == 1)
		return true;
	return error_set(error, WATARI_ERROR_REFUSED, _("Try again."),
			 _("the connection to libvirt at %s broke"), host->address->text);
}

GPtrArray *check_run(struct host *source, virDomainPtr domain, struct host *destination,
		     const struct check_options *options, GError **error)
{
	static const struct check_options nothing;
	struct check_context context = {
		.source = source,
		.destination = destination,
		.domain = domain,
		.options = options ? options : &nothing,
		.name = virDomainGetName(domain),
		.findings = check_new_findings(),
	};
	struct room room;
	bool done = prepare_checks(&context, error);
	if (done) {
		look_at_destination(&context, &room);
		run_all(&context);
	}
	clear_context(&context);
	if (done && is_alive(source, error) && is_alive(destination, error))
		return context.findings;
	g_ptr_array_unref(context.findings);
	return NULL;
}

bool check_verdict(const GPtrArray *findings, GError **error)
{
	g_autoptr(GString) what = g_string_new(NULL);
	const char *next = NULL;
	for (unsigned i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (finding->result != CHECK_REFUSE)
			continue;
		g_string_append_printf(what, "%s%s", what->len ? "; " : "", finding->what);
		next = next ? next : finding->next;
	}
	g_autofree char *options = check_suggest_accept(findings);
	/* TRANSLATORS: the next step, then the options (--accept memory) that overrule the checks */
	g_autofree char *either = options ? g_strdup_printf(_("%s If you know better: %s."),
							    next ? next : "", options)
					  : g_strdup(next);
	if (either)
		g_strchug(either);
	return what->len == 0 || error_set(error, WATARI_ERROR_REFUSED, either, "%s", what->str);
}

static virDomainPtr look_up_domain(virConnectPtr connection, const char *name)
{
	guint64 id = 0;
	virDomainPtr domain = virDomainLookupByName(connection, name);
	if (!domain && g_uuid_string_is_valid(name))
		domain = virDomainLookupByUUIDString(connection, name);
	if (!domain && g_ascii_string_to_unsigned(name, 10, 1, G_MAXINT, &id, NULL))
		domain = virDomainLookupByID(connection, (int) id);
	return domain;
}

virDomainPtr check_find_domain(struct host *host, const char *name, GError **error)
{
	virDomainPtr domain = look_up_domain(host->connection, name);
	if (domain)
		return domain;
	virErrorPtr last = virGetLastError();
	if (last && last->code != VIR_ERR_NO_DOMAIN) {
		host_error(error, WATARI_ERROR_REFUSED, NULL, host->address->text);
		return NULL;
	}
	g_autofree char *next =
		host->address->shell
			? g_strdup_printf(_("See “virsh -c qemu+ssh://%s/system list --all”."),
					  host->address->shell)
			: g_strdup(_("See “virsh list --all”; a VM of another host is named "
				     "HOST:VM."));
	error_set(error, WATARI_ERROR_REFUSED, next, _("there is no VM “%s” at %s"), name,
		  host->name);
	return NULL;
}
