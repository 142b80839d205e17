/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the conductor's setup message. */
#include "mover/core/setup.h"

#include "base/error.h"
#include "base/hex.h"
#include "base/i18n.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/un.h>

static const char *const role_names[] = { "source", "destination" };
static const char *const verify_names[] = { "none", "sample", "full" };
static const char *const fault_names[] = {
	"page",          "device",    "late-page",  "gate",        "unknown",
	"release",       "lie-bytes", "lie-zero",   "lie-literal", "lie-same",
	"lie-reference", "lie-delta", "lie-packed", "slow-look",   "slow-read",
};

static bool bad_field(GError **error, const char *name)
{
	return error_set(error, WATARI_ERROR_INTERNAL, NULL, _("setup: bad or missing field “%s”"),
			 name);
}

/* Index of TEXT in NAMES, -1 if it is none of them. */
static int find_word(const char *text, const char *const *names, size_t count)
{
	for (size_t i = 0; text && i < count; i++)
		if (g_str_equal(text, names[i]))
			return (int) i;
	return -1;
}

static bool parse_identity(struct mover_setup *s, JsonObject *setup, GError **error)
{
	uint8_t id[16];
	const char *text = json_get_string(setup, "id", NULL);
	int role = find_word(json_get_string(setup, "role", NULL), role_names,
			     G_N_ELEMENTS(role_names));
	if (role < 0)
		return bad_field(error, "role");
	if (!hex_parse(text, id, sizeof(id)))
		return bad_field(error, "id");
	if (!hex_parse(json_get_string(setup, "key", NULL), s->key, sizeof(s->key)))
		return bad_field(error, "key");
	s->role = (enum mover_role) role;
	memcpy(s->id, text, 32);
	return true;
}

static bool parse_vm(struct mover_setup *s, JsonObject *setup, GError **error)
{
	JsonObject *vm = json_get_object(setup, "vm");
	const char *name = vm ? json_get_string(vm, "name", NULL) : NULL;
	const char *uuid = vm ? json_get_string(vm, "uuid", NULL) : NULL;
	const char *dir = json_get_string(setup, "socket_dir", NULL);
	if (!name || !*name || strchr(name, '/'))
		return bad_field(error, "vm.name");
	if (!uuid || strlen(uuid) != 36)
		return bad_field(error, "vm.uuid");
	if (!dir || dir[0] != '/' || strstr(dir, "/..") || strlen(dir) < 2)
		return bad_field(error, "socket_dir");
	s->vm_name = g_strdup(name);
	s->vm_uuid = g_strdup(uuid);
	s->socket_dir = g_strdup(dir);
	return true;
}

static bool parse_setup_number(JsonObject *setup, const char *name, int64_t fallback, int64_t first,
			       int64_t last, int64_t *value, GError **error)
{
	if (json_object_has_member(setup, name)) {
		*value = json_get_int(setup, name, first - 1);
		if (*value < first || *value > last)
			return bad_field(error, name);
	} else {
		*value = fallback;
	}
	return true;
}

static bool parse_numbers(struct mover_setup *s, JsonObject *setup, GError **error)
{
	int64_t connections, user, bandwidth, window, dark, stop;
	if (!parse_setup_number(setup, "connections", 2, 1, LINK_CONNECTIONS_MAX, &connections,
				error) ||
	    !parse_setup_number(setup, "socket_user", -1, -1, INT32_MAX, &user, error) ||
	    !parse_setup_number(setup, "bandwidth", 0, 0, INT64_MAX, &bandwidth, error) ||
	    !parse_setup_number(setup, "window_max", 0, 0, 1 << 30, &window, error) ||
	    !parse_setup_number(setup, "link_timeout_ms", 60000, 1, INT32_MAX, &dark, error) ||
	    !parse_setup_number(setup, "stop_limit_ms", 0, 0, INT32_MAX, &stop, error))
		return false;
	s->connections = (unsigned) connections;
	s->socket_user = (int) user;
	s->bandwidth = (uint64_t) bandwidth;
	s->window_max = (uint64_t) window;
	s->link_timeout_ms = (int) dark;
	s->stop_limit_ms = (int) stop;
	return true;
}

/* "auto", "off", or the most effort that may be taken, "1" to "9". */
static bool parse_effort(struct mover_setup *s, JsonObject *setup, GError **error)
{
	const char *word = json_get_string(setup, "compress", NULL);
	if (!word && json_object_has_member(setup, "compress"))
		return bad_field(error, "compress");
	s->encode = g_strcmp0(word, "off") != 0;
	if (!word || !s->encode || g_str_equal(word, "auto"))
		return true;
	if (word[0] < '1' || word[0] > '9' || word[1])
		return bad_field(error, "compress");
	s->effort_max = word[0] - '0';
	return true;
}

/* How much of this host the mover may take, and for what. */
static bool parse_engine(struct mover_setup *s, JsonObject *setup, GError **error)
{
	int64_t memory, cores;
	if (!parse_setup_number(setup, "memory_limit", MOVER_MEMORY_DEFAULT, MOVER_MEMORY_LEAST,
				INT64_MAX, &memory, error) ||
	    !parse_setup_number(setup, "cores", 0, 0, MOVER_CORES_MOST, &cores, error))
		return false;
	s->memory_limit = (uint64_t) memory;
	s->cores = (unsigned) cores;
	return parse_effort(s, setup, error);
}

static bool parse_faults(struct mover_setup *s, JsonObject *setup, GError **error)
{
	JsonArray *faults = json_get_array(setup, "faults");
	for (guint i = 0; faults && i < json_array_get_length(faults); i++) {
		JsonNode *node = json_array_get_element(faults, i);
		const char *word = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		int fault = find_word(word, fault_names, G_N_ELEMENTS(fault_names));
		if (fault < 0)
			return bad_field(error, "faults");
		s->faults |= 1u << fault;
	}
#ifndef WATARI_FAULTS
	if (s->faults)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("setup: this build carries out no faults"));
#endif
	return true;
}

struct mover_setup *mover_setup_parse(JsonObject *setup, GError **error)
{
	struct mover_setup *s = g_new0(struct mover_setup, 1);
	int verify = find_word(json_get_string(setup, "verify", "none"), verify_names,
			       G_N_ELEMENTS(verify_names));
	if (verify < 0)
		bad_field(error, "verify");
	if (verify < 0 || !parse_identity(s, setup, error) || !parse_vm(s, setup, error) ||
	    !parse_numbers(s, setup, error) || !parse_engine(s, setup, error) ||
	    !parse_faults(s, setup, error)) {
		mover_setup_free(s);
		return NULL;
	}
	s->verify = (enum mover_verify) verify;
	s->recover = json_get_bool(setup, "recover", false);
	s->postcopy_first = json_get_bool(setup, "postcopy_first", false);
	s->rehearse = json_get_bool(setup, "rehearse", false);
	s->rehearse_bytes = (uint64_t) MAX(json_get_int(setup, "rehearse_bytes", 0), 0);
	s->rehearse_disk_bytes = (uint64_t) MAX(json_get_int(setup, "rehearse_disk_bytes", 0), 0);
	s->rehearse_disk_wire = (uint64_t) MAX(json_get_int(setup, "rehearse_disk_wire", 0), 0);
	return s;
}

void mover_setup_free(struct mover_setup *settings)
{
	if (!settings)
		return;
	OPENSSL_cleanse(settings->key, sizeof(settings->key));
	g_free(settings->vm_name);
	g_free(settings->vm_uuid);
	g_free(settings->socket_dir);
	g_free(settings);
}

/* Stock AppArmor profiles allow QEMU to create PREFIX.tunnelmigrate.dest.VM. */
static char *socket_path(const struct mover_setup *settings, const char *prefix, GError **error)
{
	g_autofree char *path = g_strdup_printf("%s/%s.tunnelmigrate.dest.%s", settings->socket_dir,
						prefix, settings->vm_name);
	struct sockaddr_un address;
	if (strlen(path) < sizeof(address.sun_path))
		return g_steal_pointer(&path);
	/* Too long for a socket: only AppArmor cares for the name, and long names are rare. */
	g_autofree char *shorter = g_strdup_printf("%s/%s", settings->socket_dir, prefix);
	if (strlen(shorter) < sizeof(address.sun_path))
		return g_steal_pointer(&shorter);
	bad_field(error, "socket_dir");
	return NULL;
}

char *mover_setup_socket(const struct mover_setup *settings, GError **error)
{
	return socket_path(settings, "m", error);
}

char *mover_setup_disk_socket(const struct mover_setup *settings, GError **error)
{
	return socket_path(settings, "d", error);
}
