/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are the same at both hosts? libvirt only guesses from the kind of file system; here it
 * is proven: the source's mover writes a token beside each image, the destination's mover must find
 * it there, and both must read the same content. A disk that is shared stays where it is, one that
 * is not is copied; what is only read must have the same content there. */
#include "conductor/core/movers.h"
#include "conductor/disks/files.h"
#include "conductor/disks/same.h"
#include "conductor/disks/share.h"
#include "conductor/disks/volume.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/random.h"
#include "control/messages.h"
#include "host/image.h"

enum { TOKEN_MS = 15000 };

/* What the comparison of a disk's place at both hosts says. */
enum sight { SIGHT_SAME, SIGHT_OTHER, SIGHT_MISSING, SIGHT_UNKNOWN };

static JsonObject *ask_token(struct move *move, enum move_side side, const char *action,
			     const char *path, const char *token, GError **error)
{
	JsonObject *request = dialogue_message(MESSAGE_FILE_TOKEN);
	json_object_set_string_member(request, "action", action);
	json_object_set_string_member(request, "path", path);
	json_object_set_string_member(request, "token", token);
	return movers_ask(move, side, request, MESSAGE_FILE_TOKEN, TOKEN_MS, error);
}

/* ---- what is written to ---- */

static bool cannot_write(const char *path, const char *reason, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("The mover must be able to write in the disk's directory, to prove "
			   "whether both hosts see the same one; or say what is true with --disks "
			   "shared or --disk DISK=PLACE."),
			 _("no token can be written beside %s: %s"), path, reason);
}

static bool compare_token(struct move *move, const char *path, const char *token, enum sight *sight,
			  GError **error)
{
	g_autoptr(JsonObject) made = ask_token(move, MOVE_SOURCE, "create", path, token, error);
	if (!made)
		return false;
	if (!json_get_bool(made, "same", false))
		return cannot_write(path, json_get_string(made, "reason", "?"), error);
	g_autoptr(JsonObject) there = ask_token(move, MOVE_DESTINATION, "read", path, token, error);
	G_GNUC_UNUSED g_autoptr(JsonObject) gone =
		ask_token(move, MOVE_SOURCE, "remove", path, token, NULL);
	if (there)
		*sight = json_get_bool(there, "same", false) ? SIGHT_SAME : SIGHT_OTHER;
	return there != NULL;
}

struct real_paths {
	struct move *move;
	const char *path;
	char *real[MOVE_SIDES];
	GError *error;
};

static void call_read_links(void *data)
{
	struct real_paths *paths = data;
	const char *const argv[] = { "readlink", "-fn", "--", paths->path, NULL };
	for (int side = 0; side < MOVE_SIDES && !paths->error; side++) {
		int status = 0;
		remote_run(&paths->move->shell, paths->move->addresses[side], argv, TOKEN_MS,
			   &paths->real[side], &status, &paths->error);
	}
}

/* A name in a shared directory may be a link that leads elsewhere at each host, so the token lies
 * beside what the name stands for. */
static bool compare_files(struct move *move, const char *path, const char *token, enum sight *sight,
			  GError **error)
{
	g_autoptr(JsonObject) there = ask_token(move, MOVE_DESTINATION, "read", path, token, error);
	*sight = SIGHT_MISSING;
	if (!there)
		return false;
	if (json_get_int(there, "size", -1) < 0)
		return true;
	struct real_paths paths = { .move = move, .path = path };
	move_call(move, call_read_links, &paths);
	g_autofree char *here_real = paths.real[MOVE_SOURCE];
	g_autofree char *there_real = paths.real[MOVE_DESTINATION];
	if (paths.error) {
		g_propagate_error(error, paths.error);
		return false;
	}
	*sight = SIGHT_OTHER;
	if (!g_str_equal(here_real, there_real))
		return true;
	return compare_token(move, *here_real ? here_real : path, token, sight, error);
}

struct looking {
	struct move *move;
	const char *path;
	struct image_place places[MOVE_SIDES];
	GError *error;
};

static void call_look_at_shares(void *data)
{
	struct looking *looking = data;
	struct move *move = looking->move;
	for (int side = 0; side < MOVE_SIDES && !looking->error; side++)
		image_look(&move->shell, move->addresses[side], looking->path,
			   &looking->places[side], &looking->error);
}

/* A block device has no directory to write in, but often a name that should be its own. Cloned disks,
 * cheap ones and virtual ones have equal names, so this is only the first half of the proof. */
static bool compare_blocks(struct move *move, const char *path, enum sight *sight, GError **error)
{
	struct looking looking = { .move = move, .path = path };
	move_call(move, call_look_at_shares, &looking);
	const struct image_place *here = &looking.places[MOVE_SOURCE];
	const struct image_place *there = &looking.places[MOVE_DESTINATION];
	if (looking.error) {
		g_propagate_error(error, looking.error);
		return false;
	}
	if (!there->exists)
		*sight = SIGHT_MISSING;
	else if (!there->block || here->size != there->size)
		*sight = SIGHT_OTHER;
	else if (!*here->identity || !*there->identity)
		*sight = SIGHT_UNKNOWN;
	else
		*sight = g_str_equal(here->identity, there->identity) ? SIGHT_SAME : SIGHT_OTHER;
	return true;
}

static bool unseen(struct move *move, const char *path, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Put the file on storage that both hosts share, mounted at the same "
			   "path; or leave --disks shared out, and disks are copied."),
			 _("the destination %s does not see the VM's disk %s"),
			 move->hosts[MOVE_DESTINATION]->name, path);
}

static bool believe(struct move *move, struct move_disk *disk, enum sight sight, GError **error)
{
	disk->kind = MOVE_DISK_SHARED;
	if (sight == SIGHT_MISSING)
		return unseen(move, disk->disk->path, error);
	if (sight != SIGHT_SAME)
		move_note(move, true,
			  _("DANGER: that %s is the same disk at both hosts is not proven, only "
			    "believed (--disks shared). If it is another one that looks the "
			    "same now, the VM goes on with its content and is damaged."),
			  disk->disk->path);
	return true;
}

static bool copy_onto_itself(const struct move_disk *disk, GError **error)
{
	g_autofree char *next = g_strdup_printf(
		_("Leave --disks copy out, or name another place: --disk %s=PLACE."),
		disk->disk->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("both hosts see the same file %s: copied onto itself it would be "
			   "destroyed"),
			 disk->disk->path);
}

static bool unclear(struct move *move, const struct move_disk *disk, GError **error)
{
	g_autofree char *next = g_strdup_printf(_("If it is the same, say --trust %s. If it is "
						  "not, --disk %s=PLACE says where to "
						  "copy it."),
						disk->disk->target, disk->disk->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("whether the block device %s is the same at both hosts cannot be found "
			   "out: it has no identity"),
			 disk->disk->path);
}

static bool decide_kind(struct move *move, struct move_disk *disk, enum sight sight, GError **error)
{
	int wish = move->request->disks;
	disk->proven = sight == SIGHT_SAME;
	if (wish == MOVE_DISKS_SHARED)
		return believe(move, disk, sight, error);
	if (sight == SIGHT_SAME && wish == MOVE_DISKS_COPY)
		return copy_onto_itself(disk, error);
	bool trusted = sight == SIGHT_UNKNOWN && same_is_trusted(move, disk->disk->target);
	if (sight == SIGHT_UNKNOWN && !trusted)
		return unclear(move, disk, error);
	disk->kind = sight == SIGHT_SAME || trusted ? MOVE_DISK_SHARED : MOVE_DISK_COPIED;
	return true;
}

/* QEMU reads such a file through the page cache, and the destination may have read before the source
 * wrote. */
static void name_cache(struct move *move, const struct move_disk *disk)
{
	static const char *const direct[] = { "none", "directsync", NULL };
	if (disk->kind == MOVE_DISK_SHARED && !g_strv_contains(direct, disk->disk->cache))
		move_note(move, true,
			  _("The shared disk %s has the cache mode “%s”: safe only on a file "
			    "system whose caches are coherent (GFS2, OCFS2, Ceph). Use “none” "
			    "or “directsync” otherwise."),
			  disk->disk->target, disk->disk->cache);
}

/* ---- what is in it ---- */

static bool is_other_disk(struct move *move, const struct move_disk *disk,
			  const struct same_answer *answer, GError **error)
{
	const struct disk *facts = disk->disk;
	g_autofree char *next = g_strdup_printf(
		_("See what lies there. If it is another disk, --disk %s=PLACE copies this one to "
		  "a place of its own; if you know that it is the same one: --trust %s."),
		facts->target, facts->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the disk %s (%s) at %s is not the one at %s: %s"), facts->target,
			 facts->path, move->hosts[MOVE_DESTINATION]->name,
			 move->hosts[MOVE_SOURCE]->name, answer->what);
}

static bool is_unproven_disk(const struct move_disk *disk, const char *why, GError **error)
{
	const struct disk *facts = disk->disk;
	g_autofree char *next = g_strdup_printf(
		_("If it is the same: --trust %s. If it is not, --disk %s=PLACE says where to copy "
		  "it."),
		facts->target, facts->target);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("that the disk %s (%s) is the same at both hosts cannot be proven: %s"),
			 facts->target, facts->path, why);
}

/* That a device without a byte of content looks like another one proves nothing. */
static bool judge_content(struct move *move, struct move_disk *disk,
			  const struct same_answer *answer, GError **error)
{
	bool block = disk->disk->source == DISK_BLOCK;
	bool proves = answer->same == SAME_YES && (!block || answer->filled > 0);
	bool seen = disk->proven && !block && answer->same == SAME_UNKNOWN;
	disk->proven = disk->proven && proves;
	if (proves)
		return true;
	/* as on NFS where root is nobody: the token has proven the directory and the name */
	if (seen) {
		move_note(move, true,
			  _("The disk %s lies in a directory that both hosts share, but its "
			    "content could not be compared: %s"),
			  disk->disk->target, answer->what);
		return true;
	}
	disk->trusted = same_is_trusted(move, disk->disk->target);
	if (disk->trusted) {
		same_note_trusted(move, disk->disk->target, disk->disk->path, answer);
		return true;
	}
	if (answer->same == SAME_OTHER)
		return is_other_disk(move, disk, answer, error);
	return is_unproven_disk(
		disk, answer->same == SAME_YES ? _("nothing is on it yet") : answer->what, error);
}

static bool prove_content(struct move *move, struct move_disk *disk, GError **error)
{
	const char *path = disk->disk->path;
	const struct same_question question = { path, path, !move->offline };
	struct same_answer answer;
	return disk->kind != MOVE_DISK_SHARED || (same_ask(move, &question, &answer, error) &&
						  judge_content(move, disk, &answer, error));
}

static bool look_at_writable(struct move *move, struct move_disk *disk, const char *token,
			     GError **error)
{
	enum sight sight = SIGHT_UNKNOWN;
	if (disk->place) {
		disk->kind = MOVE_DISK_COPIED;
		return true;
	}
	bool block = disk->disk->source == DISK_BLOCK;
	bool good = block ? compare_blocks(move, disk->disk->path, &sight, error)
			  : compare_files(move, disk->disk->path, token, &sight, error);
	if (!good || !decide_kind(move, disk, sight, error) || !prove_content(move, disk, error))
		return false;
	name_cache(move, disk);
	move->report->shared_disks += disk->kind == MOVE_DISK_SHARED && disk->proven && !block;
	return true;
}

/* ---- what is only read ---- */

static bool is_not_there(struct move *move, const char *path, GError **error)
{
	return error_set(error, WATARI_ERROR_REFUSED,
			 _("Nobody writes to it: copy it there under the same path."),
			 _("%s has no %s, which the VM reads"), move->hosts[MOVE_DESTINATION]->name,
			 path);
}

/* What a package brought is not copied from host to host. */
static char *advise_other_file(struct move *move, const char *name, const char *path)
{
	if (move_disk_find(move->report->disks, name))
		return g_strdup_printf(_("Copy the right one there; --disk %s=PLACE copies the "
					 "disk to a place of its own. If you know better: "
					 "--trust %s."),
				       name, name);
	if (g_str_equal(name, "loader"))
		return g_strdup(_("Install the same version of its package there. A VM keeps the "
				  "firmware that it has until it is started next; if the other one "
				  "will do then: --trust loader."));
	if (files_are_of_system(path))
		return g_strdup_printf(_("Install the same version of its package there. If you "
					 "know better: --trust %s."),
				       name);
	return g_strdup_printf(_("Copy the right one there under the same path. If you know "
				 "better: --trust %s."),
			       name);
}

static bool is_other_file(struct move *move, const char *name, const char *path,
			  const struct same_answer *answer, GError **error)
{
	g_autofree char *next = advise_other_file(move, name, path);
	if (answer->same == SAME_UNKNOWN)
		return error_set(error, WATARI_ERROR_REFUSED, next,
				 _("whether %s (%s) is the same at both hosts cannot be found out: "
				   "%s"),
				 path, name, answer->what);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the file %s (%s) at %s is another one than at %s: %s"), path, name,
			 move->hosts[MOVE_DESTINATION]->name, move->hosts[MOVE_SOURCE]->name,
			 answer->what);
}

static void note_trusted_disk(struct move *move, const char *name)
{
	struct move_disk *disk = move_disk_find(move->report->disks, name);
	if (disk)
		disk->trusted = true;
}

bool share_prove_readable(struct move *move, const char *name, const char *path, bool *missing,
			  GError **error)
{
	const struct same_question question = { path, path, false };
	struct same_answer answer;
	if (!same_ask(move, &question, &answer, error))
		return false;
	if (missing)
		*missing = answer.same == SAME_MISSING;
	if (answer.same == SAME_YES || (missing && *missing))
		return true;
	if (answer.same == SAME_MISSING)
		return is_not_there(move, path, error);
	if (!same_is_trusted(move, name))
		return is_other_file(move, name, path, &answer, error);
	same_note_trusted(move, name, path, &answer);
	note_trusted_disk(move, name);
	return true;
}

/* What is not there is copied. */
static bool find_readable(struct move *move, const char *name, const char *path, bool *missing,
			  GError **error)
{
	return share_prove_readable(move, name, path, missing, error) &&
	       (!*missing || files_add(move, name, path, path, error));
}

/* What is reached over a network has one name for both hosts. */
static bool find_backing(struct move *move, const struct disk *disk, GError **error)
{
	g_auto(GStrv) paths = NULL;
	bool good = true, missing;
	if (move->offline)
		good = share_list_chain(move, disk, &paths, error);
	else
		paths = g_strdupv(disk->backing);
	for (char **path = paths; good && *path; path++)
		good = **path != '/' || find_readable(move, disk->target, *path, &missing, error);
	return good;
}

/* A CD, a seed of cloud-init, a template: what is not there is copied before the move. */
static bool look_at_readable(struct move *move, struct move_disk *disk, GError **error)
{
	const struct disk *facts = disk->disk;
	bool missing = disk->place != NULL;
	disk->kind = MOVE_DISK_READ_ONLY;
	if (disk->place ? !files_add(move, facts->target, facts->path, disk->place, error)
			: !find_readable(move, facts->target, facts->path, &missing, error))
		return false;
	if (missing) {
		disk->kind = MOVE_DISK_CARRIED;
		disk->destination = g_strdup(disk->place ? disk->place : facts->path);
	}
	return find_backing(move, facts, error);
}

/* ---- the whole ---- */

static bool look_at_disk(struct move *move, struct move_disk *disk, const char *token,
			 GError **error)
{
	const struct disk *facts = disk->disk;
	if (facts->source == DISK_NOTHING) {
		disk->kind = MOVE_DISK_EMPTY;
		return true;
	}
	if (!facts->path) {
		disk->kind = facts->writable ? MOVE_DISK_NETWORK : MOVE_DISK_READ_ONLY;
		return true;
	}
	bool good = facts->writable ? look_at_writable(move, disk, token, error)
				    : look_at_readable(move, disk, error);
	bool shared = disk->kind == MOVE_DISK_SHARED;
	if (good && (shared || disk->kind == MOVE_DISK_READ_ONLY))
		good = volume_check_place(move, facts, error);
	return good && (!shared || find_backing(move, facts, error));
}

/* Kernels and the like: what is no disk's. */
static bool look_at_files(struct move *move, GError **error)
{
	bool good = true, missing;
	for (guint i = 0; good && i < move->paths->len; i++) {
		const struct check_shared_path *path = move->paths->pdata[i];
		if (!move_disk_find(move->report->disks, path->target))
			good = find_readable(move, path->target, path->path, &missing, error);
	}
	return good;
}

bool phase_share(struct move *move, GError **error)
{
	char token[33];
	GPtrArray *disks = move->report->disks;
	bool good = random_hex(token, 32, error) && look_at_files(move, error);
	for (guint i = 0; good && i < disks->len; i++)
		good = look_at_disk(move, disks->pdata[i], token, error);
	good = good && files_find_private(move, error) && files_find_beside(move, error);
	if (!good)
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
	return good;
}

bool share_prove(struct move *move, const char *path, bool *same, GError **error)
{
	char token[33];
	enum sight sight = SIGHT_UNKNOWN;
	if (!random_hex(token, 32, error) || !compare_token(move, path, token, &sight, error))
		return false;
	*same = sight == SIGHT_SAME;
	return true;
}
