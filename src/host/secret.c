/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets in libvirt at both hosts. See secret.h. */
#include "host/secret.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>

/* ---- what a VM names ---- */

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

static void free_secret(gpointer data)
{
	struct secret *secret = data;
	g_free(secret->key);
	g_free(secret->target);
	g_free(secret);
}

static struct secret *read_named(struct xml *vm, xmlNodePtr node, int usage)
{
	struct secret *secret = g_new0(struct secret, 1);
	*secret = (struct secret){ .usage = usage, .by_uuid = true };
	secret->key = xml_string(vm, node, "@uuid | self::encryption/@secret");
	if (!secret->key) {
		secret->by_uuid = false;
		secret->key = xml_string(vm, node, "@usage");
	}
	secret->target = xml_string(vm, node, "ancestor::disk/target/@dev");
	return secret;
}

static bool is_secret_listed(const GPtrArray *secrets, const char *key)
{
	for (guint i = 0; i < secrets->len; i++)
		if (g_str_equal(((const struct secret *) secrets->pdata[i])->key, key))
			return true;
	return false;
}

GPtrArray *secret_list(struct xml *vm)
{
	GPtrArray *secrets = g_ptr_array_new_with_free_func(free_secret);
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autoptr(GPtrArray) nodes = xml_find(vm, NULL, places[i].path);
		for (guint j = 0; j < nodes->len; j++) {
			struct secret *secret = read_named(vm, nodes->pdata[j], places[i].usage);
			if (secret->key && !is_secret_listed(secrets, secret->key))
				g_ptr_array_add(secrets, secret);
			else
				free_secret(secret);
		}
	}
	return secrets;
}

virSecretPtr secret_look_up(virConnectPtr connection, const struct secret *secret)
{
	return secret->by_uuid ? virSecretLookupByUUIDString(connection, secret->key)
			       : virSecretLookupByUsage(connection, secret->usage, secret->key);
}

/* ---- values ---- */

struct value {
	unsigned char *bytes; /* libvirt's */
	size_t length;
};

static bool read_value(virSecretPtr secret, struct value *value, GError **error)
{
	*value = (struct value){ 0 };
	value->bytes = virSecretGetValue(secret, &value->length, 0);
	return value->bytes || host_error(error, WATARI_ERROR_INTERNAL, NULL,
					  _("the value of a secret cannot be read"));
}

static void clear_value(struct value *value)
{
	if (value->bytes)
		explicit_bzero(value->bytes, value->length);
	free(value->bytes);
}

bool secret_gives(virSecretPtr secret, GError **error)
{
	struct value value;
	bool given = read_value(secret, &value, error);
	clear_value(&value);
	return given;
}

bool secret_differs(virSecretPtr one, virSecretPtr other)
{
	struct value first, second = { 0 };
	bool both = read_value(one, &first, NULL) && read_value(other, &second, NULL);
	bool differs = both && (first.length != second.length ||
				memcmp(first.bytes, second.bytes, first.length) != 0);
	clear_value(&first);
	clear_value(&second);
	return differs;
}

/* ---- making ---- */

static bool define_described(virSecretPtr one, virConnectPtr connection, const char *token,
			     GError **error)
{
	char *text = virSecretGetXMLDesc(one, 0);
	struct xml *xml = text ? xml_read(text, error) : NULL;
	if (!text)
		host_error(error, WATARI_ERROR_INTERNAL, NULL, _("what libvirt knows of a secret"));
	free(text);
	if (!xml)
		return false;
	xmlNodePtr root = xmlDocGetRootElement(xml->document);
	g_autoptr(GPtrArray) described = xml_find(xml, NULL, "self::secret/description");
	for (guint i = 0; token && i < described->len; i++) {
		xmlUnlinkNode(described->pdata[i]);
		xmlFreeNode(described->pdata[i]);
	}
	if (token)
		xmlNewTextChild(root, NULL, (const xmlChar *) "description",
				(const xmlChar *) token);
	g_autofree char *wanted = xml_print(xml, root);
	xml_free(xml);
	virSecretPtr made = virSecretDefineXML(connection, wanted, 0);
	if (!made)
		return host_error(error, WATARI_ERROR_INTERNAL, NULL,
				  _("the secret cannot be made at the destination"));
	virSecretFree(made);
	return true;
}

bool secret_define(virSecretPtr one, virConnectPtr connection, const char *token, GError **error)
{
	return define_described(one, connection, token, error);
}

static bool give_value(virSecretPtr to, const struct value *value, GError **error)
{
	return virSecretSetValue(to, value->bytes, value->length, 0) == 0 ||
	       host_error(error, WATARI_ERROR_INTERNAL, NULL,
			  _("the secret cannot be given its value"));
}

bool secret_fill(virSecretPtr one, virConnectPtr connection, GError **error)
{
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	virSecretGetUUIDString(one, uuid);
	virSecretPtr there = virSecretLookupByUUIDString(connection, uuid);
	if (!there)
		return host_error(error, WATARI_ERROR_INTERNAL, NULL, uuid);
	struct value value;
	bool good = read_value(one, &value, error) && give_value(there, &value, error) &&
		    define_described(one, connection, NULL, error);
	clear_value(&value);
	virSecretFree(there);
	return good;
}

/* ---- removing ---- */

static bool is_marked(virSecretPtr secret, const char *token)
{
	char *text = virSecretGetXMLDesc(secret, 0);
	struct xml *xml = text ? xml_read(text, NULL) : NULL;
	g_autofree char *described = xml ? xml_string(xml, NULL, "description") : NULL;
	xml_free(xml);
	free(text);
	return g_strcmp0(described, token) == 0;
}

bool secret_remove(virConnectPtr connection, const char *uuid, const char *token, GError **error)
{
	virSecretPtr secret = virSecretLookupByUUIDString(connection, uuid);
	virErrorPtr last = virGetLastError();
	if (!secret)
		return (last && last->code == VIR_ERR_NO_SECRET) ||
		       host_error(error, WATARI_ERROR_INTERNAL, NULL, uuid);
	bool good = (token && !is_marked(secret, token)) || virSecretUndefine(secret) == 0 ||
		    host_error(error, WATARI_ERROR_INTERNAL, NULL, uuid);
	virSecretFree(secret);
	return good;
}
