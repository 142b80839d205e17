/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the secrets that a VM's disks and devices are opened with: libvirt at the destination
 * must have them itself, they do not travel. Their values are not asked for. */
#include "host/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* Where a VM's description names secrets, and libvirt's kind of usage for those named by usage. */
static const struct {
	const char *path;
	int usage;
} places[] = {
	{ "devices/disk//encryption/secret", VIR_SECRET_USAGE_TYPE_VOLUME },
	{ "devices/disk//auth/secret[@type='ceph']", VIR_SECRET_USAGE_TYPE_CEPH },
	{ "devices/disk//auth/secret[@type='iscsi']", VIR_SECRET_USAGE_TYPE_ISCSI },
	{ "devices/hostdev//auth/secret", VIR_SECRET_USAGE_TYPE_ISCSI },
	{ "devices/tpm/backend/encryption[@secret]", VIR_SECRET_USAGE_TYPE_VTPM },
};

struct wanted_secret {
	char *key;    /* its UUID or its usage, as the VM names it */
	char *target; /* the disk that needs it; NULL: another device */
	bool by_uuid;
	int usage;
};

static void clear_wanted(struct wanted_secret *wanted)
{
	g_free(wanted->key);
	g_free(wanted->target);
}

static bool read_wanted(struct xml *vm, xmlNodePtr node, int usage, struct wanted_secret *wanted)
{
	*wanted = (struct wanted_secret){ .usage = usage, .by_uuid = true };
	wanted->key = xml_string(vm, node, "@uuid | self::encryption/@secret");
	if (!wanted->key) {
		wanted->by_uuid = false;
		wanted->key = xml_string(vm, node, "@usage");
	}
	wanted->target = xml_string(vm, node, "ancestor::disk/target/@dev");
	return wanted->key != NULL;
}

static virSecretPtr look_up(virConnectPtr connection, const struct wanted_secret *wanted)
{
	return wanted->by_uuid ? virSecretLookupByUUIDString(connection, wanted->key)
			       : virSecretLookupByUsage(connection, wanted->usage, wanted->key);
}

static void refuse_missing(struct check_context *context, const struct wanted_secret *wanted,
			   const char *check)
{
	const char *next = wanted->by_uuid
				   ? _("Define it there with the same UUID and give it its value: "
				       "virsh secret-define, virsh secret-set-value.")
				   : _("Define it there with the same usage and give it its value: "
				       "virsh secret-define, virsh secret-set-value.");
	if (wanted->target)
		check_add(context->findings, check, CHECK_REFUSE, next,
			  _("the disk %s of “%s” is opened with the secret “%s”, which libvirt at "
			    "%s does not have"),
			  wanted->target, context->name, wanted->key, context->destination->name);
	else
		check_add(context->findings, check, CHECK_REFUSE, next,
			  _("a device of “%s” is opened with the secret “%s”, which libvirt at %s "
			    "does not have"),
			  context->name, wanted->key, context->destination->name);
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

static void check_one_secret(struct check_context *context, const struct wanted_secret *wanted)
{
	g_autofree char *check = g_strdup_printf("secret:%s", wanted->key);
	virSecretPtr secret = look_up(context->destination->connection, wanted);
	virErrorPtr last = virGetLastError();
	if (!secret && last && last->code == VIR_ERR_NO_SECRET)
		refuse_missing(context, wanted, check);
	else if (!secret)
		check_add_virt(context, check, CHECK_WARN, NULL,
			       _("the secrets of the destination's libvirt are not known"));
	else if (seems_empty(context, secret))
		check_add(context->findings, check, CHECK_WARN,
			  _("Give it its value there: virsh secret-set-value."),
			  _("libvirt at %s knows the secret “%s”, which “%s” needs, but seems to "
			    "have no value for it"),
			  context->destination->name, wanted->key, context->name);
	else
		check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	if (secret)
		virSecretFree(secret);
}

void check_secrets(struct check_context *context)
{
	g_autoptr(GHashTable) done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	unsigned before = context->findings->len;
	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, places[i].path);
		for (unsigned j = 0; j < nodes->len; j++) {
			struct wanted_secret wanted;
			if (read_wanted(context->vm, nodes->pdata[j], places[i].usage, &wanted) &&
			    g_hash_table_add(done, g_strdup(wanted.key)))
				check_one_secret(context, &wanted);
			clear_wanted(&wanted);
		}
	}
	if (context->findings->len == before)
		check_add(context->findings, "secret", CHECK_PASS, NULL, NULL);
}
