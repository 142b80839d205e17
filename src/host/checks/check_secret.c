/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the secrets that a VM's disks and devices are opened with: what libvirt at the destination does
 * not have is carried there, as far as libvirt at the source gives its value. */
#include "host/checks/checks.h"
#include "host/secret.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* WHY: it cannot be carried there. */
static void refuse_missing(struct check_context *context, const struct secret *wanted,
			   const char *check, const char *why)
{
	const char *next = wanted->by_uuid
				   ? _("Define it there with the same UUID and give it its value: "
				       "virsh secret-define, virsh secret-set-value.")
				   : _("Define it there with the same usage and give it its value: "
				       "virsh secret-define, virsh secret-set-value.");
	if (wanted->target)
		check_add(context->findings, check, CHECK_REFUSE, next,
			  _("the disk %s of “%s” is opened with the secret “%s”, which libvirt at "
			    "%s does not have (%s)"),
			  wanted->target, context->name, wanted->key, context->destination->name,
			  why);
	else
		check_add(context->findings, check, CHECK_REFUSE, next,
			  _("a device of “%s” is opened with the secret “%s”, which libvirt at %s "
			    "does not have (%s)"),
			  context->name, wanted->key, context->destination->name, why);
}

/* Why the source's cannot be carried; NULL: it can. Caller frees. */
static char *find_obstacle(struct check_context *context, const struct secret *wanted,
			   virSecretPtr here)
{
	g_autoptr(GError) failure = NULL;
	if (context->options->secrets_stay)
		return g_strdup(_("--no-secrets carries none"));
	if (here && secret_gives(here, &failure))
		return NULL;
	return failure ? error_what(failure)
		       : g_strdup_printf(_("nor does libvirt at %s"), context->source->name);
}

static void judge_missing(struct check_context *context, const struct secret *wanted,
			  const char *check)
{
	virSecretPtr here = secret_look_up(context->source->connection, wanted);
	g_autofree char *why = find_obstacle(context, wanted, here);
	if (here)
		virSecretFree(here);
	if (why)
		refuse_missing(context, wanted, check, why);
	else
		check_add(context->findings, check, CHECK_PASS, NULL,
			  _("libvirt at %s is given the secret “%s”, which “%s” needs"),
			  context->destination->name, wanted->key, context->name);
}

/* One that lies there with another value would open nothing. */
static bool has_other_value(struct check_context *context, const struct secret *wanted,
			    virSecretPtr there)
{
	virSecretPtr here = secret_look_up(context->source->connection, wanted);
	bool other = here && secret_differs(here, there);
	if (here)
		virSecretFree(here);
	return other;
}

static void refuse_other_value(struct check_context *context, const struct secret *wanted,
			       const char *check)
{
	check_add(context->findings, check, CHECK_REFUSE,
		  _("Give it the right value there: virsh secret-set-value."),
		  _("the secret “%s”, which “%s” needs, has another value at %s than at %s"),
		  wanted->key, context->name, context->destination->name, context->source->name);
}

/* libvirt keeps the values of lasting secrets in files whose names are known. Only a directory that
 * we may look into says something: "." is asked for as well. */
static bool seems_empty(struct check_context *context, virSecretPtr secret)
{
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	char *text = virSecretGetXMLDesc(secret, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	bool lasting = xml && xml_has(xml, NULL, "self::secret[@ephemeral='no']");
	xml_free(xml);
	free(text);
	if (!lasting || virSecretGetUUIDString(secret, uuid) < 0)
		return false;
	g_autofree char *file = g_strdup_printf("%s.base64", uuid);
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	g_ptr_array_add(words, (gpointer) (uintptr_t) ".");
	g_ptr_array_add(words, file);
	g_auto(GStrv) missing = check_missing_there(context, "-r", "/etc/libvirt/secrets/", words);
	return missing && !g_strv_contains((const char *const *) missing, ".") &&
	       g_strv_contains((const char *const *) missing, file);
}

static void judge_known(struct check_context *context, const struct secret *wanted,
			const char *check, virSecretPtr there)
{
	if (seems_empty(context, there))
		check_add(context->findings, check, CHECK_WARN,
			  _("Give it its value there: virsh secret-set-value."),
			  _("libvirt at %s knows the secret “%s”, which “%s” needs, but seems to "
			    "have no value for it"),
			  context->destination->name, wanted->key, context->name);
	else if (has_other_value(context, wanted, there))
		refuse_other_value(context, wanted, check);
	else
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
}

static void check_one_secret(struct check_context *context, const struct secret *wanted)
{
	g_autofree char *check = g_strdup_printf("secret:%s", wanted->key);
	virSecretPtr there = secret_look_up(context->destination->connection, wanted);
	virErrorPtr last = virGetLastError();
	if (there)
		judge_known(context, wanted, check, there);
	else if (last && last->code == VIR_ERR_NO_SECRET)
		judge_missing(context, wanted, check);
	else
		check_add_virt(context, check, CHECK_WARN, NULL,
			       _("the secrets of the destination's libvirt are not known"));
	if (there)
		virSecretFree(there);
}

void check_secrets(struct check_context *context)
{
	g_autoptr(GPtrArray) secrets = secret_list(context->vm);
	for (guint i = 0; i < secrets->len; i++)
		check_one_secret(context, secrets->pdata[i]);
	if (secrets->len == 0)
		check_add(context->findings, "secret", CHECK_PASS, NULL, NULL);
}
