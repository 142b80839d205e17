/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a saved state. See saved_state.h. */
#include "mover/chores/saved_state.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/hex.h"
#include "base/i18n.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, CHUNK = 1 << 20, DIGEST_MOST = 4096 };

struct saved {
	const char *path, *uuid;
	char *beside;
	int64_t size;
	char sha256[2 * EVP_MAX_MD_SIZE + 1];
	char *identity; /* of the file, with all that tells that it was written to */
};

static bool fail_saved(const char *path, GError **error)
{
	return error_set(error, WATARI_ERROR_FAILED, NULL, "%s: %s", path, g_strerror(errno));
}

/* ---- the digest ---- */

static bool hash_file(int fd, EVP_MD_CTX *hash, struct saved *saved)
{
	g_autofree uint8_t *chunk = g_malloc(CHUNK);
	ssize_t n;
	while ((n = read(fd, chunk, CHUNK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		EVP_DigestUpdate(hash, chunk, (size_t) n);
		saved->size += n;
	}
	return true;
}

static bool identify_state(int fd, struct saved *saved, GError **error)
{
	struct stat facts;
	if (fd < 0 || fstat(fd, &facts) != 0)
		return fail_saved(saved->path, error);
	g_free(saved->identity);
	saved->identity = g_strdup_printf(
		"%ju:%ju:%jd:%jd.%09ld:%jd.%09ld", (uintmax_t) facts.st_dev,
		(uintmax_t) facts.st_ino, (intmax_t) facts.st_size, (intmax_t) facts.st_mtim.tv_sec,
		facts.st_mtim.tv_nsec, (intmax_t) facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec);
	return true;
}

/* What was read is one state only if nobody wrote to it meanwhile. */
static bool is_still(int fd, struct saved *saved, GError **error)
{
	g_autofree char *before = g_steal_pointer(&saved->identity);
	return identify_state(fd, saved, error) &&
	       (g_str_equal(before, saved->identity) ||
		error_set(error, WATARI_ERROR_FAILED, NULL,
			  _("%s was written to while it was read"), saved->path));
}

static bool read_state(struct saved *saved, GError **error)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	FD_AUTO int fd = open(saved->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	/* what the other host shall find must have left this one */
	if (fd < 0 || fsync(fd) != 0)
		return fail_saved(saved->path, error);
	if (!identify_state(fd, saved, error))
		return false;
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	bool good = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) &&
		    hash_file(fd, hash, saved) && EVP_DigestFinal_ex(hash, digest, &length);
	EVP_MD_CTX_free(hash);
	if (good)
		hex_print(digest, length, saved->sha256);
	return good ? is_still(fd, saved, error) : fail_saved(saved->path, error);
}

/* ---- the file beside it ---- */

static JsonObject *describe_saved(const struct saved *saved)
{
	JsonObject *object = json_object_new();
	json_object_set_int_member(object, "format", FORMAT);
	json_object_set_string_member(object, "vm", saved->uuid);
	json_object_set_int_member(object, "size", saved->size);
	json_object_set_string_member(object, "sha256", saved->sha256);
	if (saved->identity)
		json_object_set_string_member(object, "identity", saved->identity);
	return object;
}

static bool write_digest(const struct saved *saved, GError **error)
{
	g_autoptr(JsonObject) object = describe_saved(saved);
	g_autofree char *text = json_print_object(object);
	unlink(saved->beside);
	FD_AUTO int fd = open(saved->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return (fd >= 0 && fd_write_all(fd, text, strlen(text)) && fsync(fd) == 0) ||
	       fail_saved(saved->beside, error);
}

static JsonObject *read_digest(const struct saved *saved, GError **error)
{
	char text[DIGEST_MOST];
	FD_AUTO int fd = open(saved->beside, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;
	if (n < 0) {
		fail_saved(saved->beside, error);
		return NULL;
	}
	return json_parse_object(text, (size_t) n, error);
}

static bool compare_digest(const struct saved *saved, GError **error)
{
	g_autoptr(JsonObject) digest = read_digest(saved, error);
	if (!digest)
		return false;
	if (!g_str_equal(json_get_string(digest, "vm", ""), saved->uuid))
		return error_set(error, WATARI_ERROR_FAILED, NULL,
				 _("%s is the state of another VM"), saved->path);
	if (json_get_int(digest, "size", -1) == saved->size &&
	    g_str_equal(json_get_string(digest, "sha256", ""), saved->sha256))
		return true;
	return error_set(error, WATARI_ERROR_FAILED, NULL,
			 _("%s differs from what the source saved (its digest does not agree)"),
			 saved->path);
}

/* ---- the actions ---- */

static bool do_digest(struct saved *saved, GError **error)
{
	return read_state(saved, error) && write_digest(saved, error);
}

static bool do_check(struct saved *saved, GError **error)
{
	return read_state(saved, error) && compare_digest(saved, error);
}

static bool do_look(struct saved *saved, GError **error)
{
	FD_AUTO int fd = open(saved->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return identify_state(fd, saved, error);
}

static bool do_remove(struct saved *saved, GError **error)
{
	const char *const paths[] = { saved->path, saved->beside };
	for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
		if (unlink(paths[i]) != 0 && errno != ENOENT)
			return fail_saved(paths[i], error);
	return true;
}

static const struct {
	const char *name;
	bool (*act)(struct saved *saved, GError **error);
} actions[] = {
	{ "digest", do_digest },
	{ "check", do_check },
	{ "look", do_look },
	{ "remove", do_remove },
};

static bool act_on_state(const char *action, struct saved *saved, GError **error)
{
	/* a name of ours, so that nothing else can be removed */
	g_autofree char *name = g_path_get_basename(saved->path);
	bool ours = *saved->path == '/' && g_str_has_prefix(name, "watari-") &&
		    g_str_has_suffix(name, ".state");
	for (size_t i = 0; ours && i < G_N_ELEMENTS(actions); i++)
		if (g_str_equal(action, actions[i].name))
			return actions[i].act(saved, error);
	return error_set(error, WATARI_ERROR_USAGE, NULL, _("no such action or file: %s %s"),
			 action, saved->path);
}

int saved_state_run(const char *action, const char *path, const char *uuid)
{
	struct saved saved = { .path = path, .uuid = uuid };
	g_autoptr(GError) error = NULL;
	saved.beside = g_strdup_printf("%s.digest", path);
	act_on_state(action, &saved, &error);
	g_autoptr(JsonObject) answer = describe_saved(&saved);
	if (error) {
		g_autofree char *what = error_what(error);
		json_object_set_string_member(answer, "reason", what);
	}
	g_autofree char *text = json_print_object(answer);
	puts(text);
	g_free(saved.beside);
	g_free(saved.identity);
	return error ? (int) error_exit_code(error) : WATARI_EXIT_OK;
}
