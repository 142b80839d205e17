/* SPDX-License-Identifier: Apache-2.0 */
/* `watari doctor`: says for each host what works, what does not, and the next step. */
#include "cli/command.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/version.h"
#include "host/checks/doctor.h"

struct values {
	const char *rsh, *remote_watari;
	bool json;
};

#define AT(member) offsetof(struct values, member)

static const struct option_row rows[] = {
	{ "rsh", 0, OPTION_TEXT, AT(rsh), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("The remote shell to use instead of ssh.") },
	{ "remote-watari", 0, OPTION_TEXT, AT(remote_watari), N_("COMMAND"), .offer = OFFER_COMMAND,
	  .help = N_("What runs watari at the hosts, as in /opt/bin/watari or 'sudo -n watari'. "
		     "The default is found by their PATH.") },
	{ "json", 0, OPTION_FLAG, AT(json), .help = N_("Print one JSON document.") },
	{ 0 },
};

/* ---- for people ---- */

static void print_finding(const struct check_finding *finding)
{
	static const char *const marks[] = {
		[CHECK_PASS] = N_("good"), [CHECK_WARN] = N_("mind"), [CHECK_REFUSE] = N_("BAD")
	};
	printf("  %s  %s", _(marks[finding->result]), finding->check);
	if (finding->what)
		printf(": %s", finding->what);
	putchar('\n');
	if (finding->next && finding->result != CHECK_PASS)
		printf("        %s\n", finding->next);
}

static void print_host(const char *name, const GPtrArray *findings)
{
	printf("%s\n", name);
	for (guint i = 0; i < findings->len; i++)
		print_finding(findings->pdata[i]);
}

/* ---- for programs ---- */

static JsonObject *describe_host(const char *name, const GPtrArray *findings)
{
	JsonObject *host = json_object_new();
	json_set_text(host, "host", name);
	json_object_set_array_member(host, "checks", check_describe(findings, false));
	return host;
}

/* ERROR NULL: all hosts were asked. */
static void print_doctor_json(JsonArray *hosts, const GError *error)
{
	JsonObject *document = json_object_new();
	json_object_set_int_member(document, "format", 1);
	json_set_text(document, "watari", watari_version);
	json_object_set_array_member(document, "hosts", json_array_ref(hosts));
	if (error)
		json_object_set_object_member(document, "error", json_describe_error(error));
	else
		json_object_set_null_member(document, "error");
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
	json_node_take_object(node, document);
	g_autofree char *text = json_to_string(node, TRUE);
	puts(text);
}

/* ---- the work ---- */

static bool has_refusal(const GPtrArray *findings)
{
	for (guint i = 0; i < findings->len; i++)
		if (((struct check_finding *) findings->pdata[i])->result == CHECK_REFUSE)
			return true;
	return false;
}

/* NAME NULL: this machine. */
static bool look_at_host(const char *name, const struct remote_shell *shell,
			 const struct values *values, GPtrArray *others, JsonArray *hosts,
			 bool *good, GError **error)
{
	struct host_address *address = host_address_parse(name, error);
	if (!address)
		return false;
	g_autoptr(GPtrArray) findings = doctor_run(shell, address, others, error);
	if (findings && values->json)
		json_array_add_object_element(hosts, describe_host(address->text, findings));
	else if (findings)
		print_host(address->text, findings);
	if (findings && has_refusal(findings))
		*good = false;
	host_address_free(address);
	return findings != NULL;
}

static int run(const struct command *command, void *data, char **arguments)
{
	struct values *values = data;
	struct remote_shell shell = { .watari = values->remote_watari };
	static char *here[] = { NULL };
	g_autoptr(GError) error = NULL;
	g_autoptr(JsonArray) hosts = json_array_new();
	g_autoptr(GPtrArray) others = doctor_new_others();
	bool known = true, good = true;
	if (values->rsh && !g_shell_parse_argv(values->rsh, NULL, &shell.rsh, &error)) {
		error_classify(&error, WATARI_ERROR_USAGE, NULL);
		return command_complain_json(error, values->json);
	}
	if (!*arguments)
		known = look_at_host(NULL, &shell, values, others, hosts, &good, &error);
	for (char **name = *arguments ? arguments : here; known && *name; name++)
		known = look_at_host(*name, &shell, values, others, hosts, &good, &error);
	if (values->json)
		print_doctor_json(hosts, error);
	g_strfreev(shell.rsh);
	if (!known)
		return command_complain(error);
	return good ? WATARI_EXIT_OK : WATARI_EXIT_REFUSED;
}

const struct command doctor_command = {
	.name = "doctor",
	.summary = N_("Say for each host what works and what does not."),
	.arguments = "[HOST…]",
	.arguments_most = -1,
	.offers = { OFFER_HOST, OFFER_HOST },
	.rows = rows,
	.values_size = sizeof(struct values),
	.run = run,
};
