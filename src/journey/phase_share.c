/* SPDX-License-Identifier: Apache-2.0 */
/* Every file that the VM uses must be the same file at both hosts. libvirt only guesses from the
 * kind of file system; here it is proven: the source's mover writes a token beside each file, the
 * destination's mover must find it there. */
#include "journey/movers.h"

#include "base/i18n.h"
#include "base/json.h"

#include <sys/random.h>

enum { TOKEN_MS = 15000 };

static bool make_token(char token[33], GError **error)
{
	uint8_t bytes[16];
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return error_set(error, WATARI_ERROR_REFUSED, NULL,
				 _("the kernel gives no random numbers"));
	for (size_t i = 0; i < sizeof bytes; i++)
		g_snprintf(token + 2 * i, 3, "%02x", bytes[i]);
	return true;
}

static JsonObject *ask_token(struct journey *journey, enum journey_side side, const char *action,
			     const char *path, const char *token, GError **error)
{
	JsonObject *request = dialogue_message("file-token");
	json_object_set_string_member(request, "action", action);
	json_object_set_string_member(request, "path", path);
	json_object_set_string_member(request, "token", token);
	return movers_ask(journey, side, request, "file-token", TOKEN_MS, error);
}

static bool unseen(struct journey *journey, const char *path, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Put the file on storage that both hosts share, mounted at the same "
			   "path. Moving disks without shared storage is not there yet."),
			 _("the destination %s does not see the VM's disk %s"),
			 journey->hosts[JOURNEY_DESTINATION]->name, path);
}

static bool is_another(struct journey *journey, const char *path, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Move it to storage that both hosts share. Moving disks without shared "
			   "storage is not there yet."),
			 _("the file %s at %s is another one than at the source"), path,
			 journey->hosts[JOURNEY_DESTINATION]->name);
}

static bool look_for_token(struct journey *journey, const char *path, const char *token,
			   GError **error)
{
	g_autoptr(JsonObject) there =
		ask_token(journey, JOURNEY_DESTINATION, "read", path, token, error);
	if (!there)
		return false;
	if (json_get_int(there, "size", -1) < 0)
		return unseen(journey, path, error);
	return json_get_bool(there, "same", false) || is_another(journey, path, error);
}

static bool prove_writable(struct journey *journey, const char *path, const char *token,
			   GError **error)
{
	g_autoptr(JsonObject) made =
		ask_token(journey, JOURNEY_SOURCE, "create", path, token, error);
	if (!made)
		return false;
	if (!json_get_bool(made, "same", false))
		return error_set(error, WATARI_ERROR_REFUSED,
				 _("The mover must be able to write in the disk's directory, to "
				   "prove that both hosts see the same one."),
				 _("no token can be written beside %s: %s"), path,
				 json_get_string(made, "reason", "?"));
	bool good = look_for_token(journey, path, token, error);
	G_GNUC_UNUSED g_autoptr(JsonObject) gone =
		ask_token(journey, JOURNEY_SOURCE, "remove", path, token, NULL);
	return good;
}

/* What is only read may be a copy; a block device has no directory to write in. */
static bool find_readable(struct journey *journey, const char *path, const char *token,
			  GError **error)
{
	int64_t sizes[JOURNEY_SIDES];
	for (int side = 0; side < JOURNEY_SIDES; side++) {
		g_autoptr(JsonObject) seen = ask_token(journey, side, "read", path, token, error);
		if (!seen)
			return false;
		sizes[side] = json_get_int(seen, "size", -1);
	}
	if (sizes[JOURNEY_DESTINATION] < 0)
		return unseen(journey, path, error);
	return sizes[0] == sizes[1] || is_another(journey, path, error);
}

bool phase_share(struct journey *journey, GError **error)
{
	char token[33];
	bool good = make_token(token, error);
	for (guint i = 0; good && i < journey->paths->len; i++) {
		const struct check_shared_path *path = journey->paths->pdata[i];
		bool provable = path->writable && path->kind == CHECK_PATH_FILE;
		good = provable ? prove_writable(journey, path->path, token, error)
				: find_readable(journey, path->path, token, error);
		journey->report->shared_disks += good && provable;
	}
	if (!good)
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return good;
}
