/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware and TPM keep of a VM in files of the host. A running VM's comes with its memory, but QEMU must find the
 * file of the variables, and a file of another content that lies there may be another's; of a VM that is off both are
 * carried. What stays at the source would be old settings and keys, so it goes after a good end. */
#include "conductor/disks/file.h"
#include "conductor/disks/files.h"
#include "conductor/disks/share.h"
#include "conductor/core/stage.h"

#include "base/i18n.h"
#include "base/json.h"
#include "host/disk_use.h"
#include "host/image.h"
#include "host/transfer.h"
#include "host/xml.h"

#include <string.h>

#define NVRAM_DIRECTORY "/var/lib/libvirt/qemu/nvram"
#define TPM_DIRECTORY "/var/lib/libvirt/swtpm"

struct finding {
	struct move *move;
	const char *target;
	const char *path;
	bool directory;
	char *identity;            /* at the source; "": nothing is there */
	char *digests[MOVE_SIDES]; /* "": nothing is there */
	char *user;                /* the VM at the destination that has the file, or NULL */
	GError *error;
};

/* ---- where they are ---- */

/* A definition that leaves the choice to libvirt names none until the VM has run, or with an older libvirt never. */
static char *find_nvram(struct move *move, struct xml *vm)
{
	char *path = xml_path(vm, NULL, "os/nvram/source/@file");
	if (!path && !xml_has(vm, NULL, "os/nvram/source"))
		path = xml_path(vm, NULL, "os/nvram");
	if (path && *path == '/')
		return path;
	g_clear_pointer(&path, g_free);
	if (xml_has(vm, NULL, "os[@firmware='efi'] | os/loader[@type='pflash']") &&
	    !xml_has(vm, NULL, "os/nvram/source"))
		path = g_strdup_printf("%s/%s_VARS.fd", NVRAM_DIRECTORY, move->report->vm_name);
	return path;
}

static char *find_tpm(struct move *move, struct xml *vm)
{
	if (!xml_has(vm, NULL, "devices/tpm/backend[@type='emulator']"))
		return NULL;
	char *path = xml_path(vm, NULL, "devices/tpm/backend/source/@path");
	return path ? path : g_strdup_printf("%s/%s", TPM_DIRECTORY, move->report->vm_uuid);
}

/* ---- what lies at both hosts ---- */

static const char identity_script[] = "stat -c %d:%i -- \"$1\" 2>/dev/null || :\n";

static char *read_identity(struct move *move, const char *path, GError **error)
{
	enum { READ_MS = 20000 };
	const char *const argv[] = { "sh", "-c", identity_script, "sh", path, NULL };
	char *output = NULL;
	if (!remote_run(&move->shell, move->addresses[MOVE_SOURCE], argv, READ_MS, &output, NULL,
			error))
		return NULL;
	return g_strstrip(output);
}

static void call_look_at_private(void *data)
{
	struct finding *finding = data;
	struct move *move = finding->move;
	finding->identity = read_identity(move, finding->path, &finding->error);
	for (int side = 0; side < MOVE_SIDES && !finding->error; side++)
		finding->digests[side] = transfer_digest(&move->shell, move->addresses[side],
							 finding->path, &finding->error);
	if (!finding->error && *finding->digests[MOVE_DESTINATION])
		finding->user =
			disk_use_find(&move->shell, move->hosts[MOVE_DESTINATION], finding->path,
				      move->report->vm_uuid, &finding->error);
}

static void clear_finding(struct finding *finding)
{
	g_free(finding->identity);
	g_free(finding->digests[0]);
	g_free(finding->digests[1]);
	g_free(finding->user);
	g_clear_error(&finding->error);
}

/* ---- the source's, for afterwards ---- */

static bool write_private_down(struct move *move, GError **error)
{
	g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
	json_node_set_array(node, move->private_files);
	g_autofree char *text = json_to_string(node, FALSE);
	return stage_enter(move, STAGE_PRIVATE_FILES, text, error);
}

static bool note_private(struct move *move, const struct finding *finding, GError **error)
{
	JsonObject *object = json_object_new();
	if (!move->private_files)
		move->private_files = json_array_new();
	json_object_set_string_member(object, "path", finding->path);
	json_object_set_string_member(object, "identity", finding->identity);
	json_array_add_object_element(move->private_files, object);
	return write_private_down(move, error);
}

void files_read(struct move *move, const char *id)
{
	g_autofree char *text =
		journal_find_event(move->journal, id, stage_name(STAGE_PRIVATE_FILES));
	g_autoptr(JsonParser) parser = json_parser_new();
	if (!text || !json_parser_load_from_data(parser, text, -1, NULL))
		return;
	JsonNode *root = json_parser_get_root(parser);
	if (root && JSON_NODE_HOLDS_ARRAY(root))
		move->private_files = json_array_ref(json_node_get_array(root));
}

/* ---- must it be carried? ---- */

static bool is_file_used(const struct finding *finding, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Give one of the two VMs another path for it."),
			 _("%s at %s belongs to the VM “%s”"), finding->path,
			 finding->move->hosts[MOVE_DESTINATION]->name, finding->user);
}

static bool judge_finding(struct finding *finding, GError **error)
{
	struct move *move = finding->move;
	bool live = move->request->kind != MOVE_OFFLINE;
	if (!*finding->identity)
		return true; /* nothing was kept yet */
	if (finding->user)
		return is_file_used(finding, error);
	if (!note_private(move, finding, error))
		return false;
	/* that of a running VM's TPM comes with its memory; through a directory both do, and libvirt makes the files */
	if (move->through || (live && finding->directory))
		return true;
	if (g_str_equal(finding->digests[MOVE_SOURCE], finding->digests[MOVE_DESTINATION]))
		return true;
	struct move_file *file = file_new(move, finding->target, finding->path, finding->path);
	file->directory = finding->directory;
	file->keep = true;
	file->changes = live;
	return true;
}

static bool find_one(struct move *move, const char *target, const char *path, bool directory,
		     GError **error)
{
	struct finding finding = {
		.move = move, .target = target, .path = path, .directory = directory
	};
	bool same = false, good = false;
	move_call(move, call_look_at_private, &finding);
	if (finding.error)
		g_propagate_error(error, g_steal_pointer(&finding.error));
	else
		good = !*finding.identity || share_prove(move, path, &same, error);
	good = good && (same || judge_finding(&finding, error));
	clear_finding(&finding);
	return good;
}

bool files_find_private(struct move *move, GError **error)
{
	struct xml *vm = xml_read(move->live_xml, error);
	if (!vm)
		return false;
	g_autofree char *nvram = find_nvram(move, vm), *tpm = find_tpm(move, vm);
	xml_free(vm);
	return (!nvram || find_one(move, "nvram", nvram, false, error)) &&
	       (!tpm || find_one(move, "tpm", tpm, true, error));
}

/* ---- after a good end ---- */

struct removing {
	struct move *move;
	JsonObject *file;
	GError *error;
};

static void call_remove_private(void *data)
{
	struct removing *removing = data;
	struct move *move = removing->move;
	const char *path = json_get_string(removing->file, "path", "");
	const char *identity = json_get_string(removing->file, "identity", "");
	if (*path == '/' && *identity)
		image_remove(&move->shell, move->addresses[MOVE_SOURCE], path, identity,
			     &removing->error);
}

void files_after_move(struct move *move)
{
	JsonArray *files = move->private_files;
	/* what is defined there still needs them */
	if (!files || g_strcmp0(move->report->sides[MOVE_SOURCE].vm_state, "absent") != 0)
		return;
	for (guint i = 0; i < json_array_get_length(files); i++) {
		JsonNode *node = json_array_get_element(files, i);
		struct removing removing = { .move = move };
		if (!JSON_NODE_HOLDS_OBJECT(node))
			continue;
		removing.file = json_node_get_object(node);
		move_call(move, call_remove_private, &removing);
		if (!removing.error)
			continue;
		g_autofree char *what = error_what(removing.error);
		move_note(move, true,
			  _("%s at the source, which belonged to the VM, is not removed: %s"),
			  json_get_string(removing.file, "path", "?"), what);
		g_clear_error(&removing.error);
	}
}
