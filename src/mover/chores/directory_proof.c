/* SPDX-License-Identifier: Apache-2.0 */
/* Writes a token beside an image, or reads one. */
#include "mover/chores/directory_proof.h"

#include "base/fd.h"
#include "base/i18n.h"
#include "control/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#define TOKEN_MAX 64

/* Only a name of our own: "<image>.watari-<token>". NULL for a word that could leave the directory.
 */
static char *token_path(const char *image, const char *token)
{
	size_t length = token ? strlen(token) : 0;
	if (!image || image[0] != '/' || length < 8 || length > TOKEN_MAX)
		return NULL;
	for (size_t i = 0; i < length; i++)
		if (!g_ascii_isalnum(token[i]))
			return NULL;
	return g_strdup_printf("%s.watari-%s", image, token);
}

/* Those that lie there; main thread. NULL: none was ever made. */
static GPtrArray *created;

static void note_created(const char *path)
{
	if (!created)
		created = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(created, g_strdup(path));
}

static void forget_created(const char *path)
{
	guint index;
	if (created && g_ptr_array_find_with_equal_func(created, path, g_str_equal, &index))
		g_ptr_array_remove_index_fast(created, index);
}

void directory_proof_clear(void)
{
	for (guint i = 0; created && i < created->len; i++)
		unlink(created->pdata[i]);
	g_clear_pointer(&created, g_ptr_array_unref);
}

static bool create_token(const char *path, const char *token)
{
	FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		note_created(path);
	/* fsync: a network file system must not keep it to itself. */
	return fd >= 0 && fd_write_all(fd, token, strlen(token)) && fsync(fd) == 0;
}

static bool remove_token(const char *path)
{
	forget_created(path);
	return unlink(path) == 0;
}

static bool read_token(const char *path, const char *token, bool *same)
{
	char text[TOKEN_MAX + 1] = "";
	FD_AUTO int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, TOKEN_MAX) : -1;
	*same = n > 0 && g_str_equal(text, token);
	return n >= 0;
}

static int64_t image_size(const char *image)
{
	struct stat facts;
	if (stat(image, &facts) != 0)
		return -1;
	if (!S_ISBLK(facts.st_mode))
		return facts.st_size;
	uint64_t bytes = 0;
	FD_AUTO int fd = open(image, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? (int64_t) bytes : -1;
}

JsonObject *directory_proof_do(JsonObject *request)
{
	const char *action = json_get_string(request, "action", "");
	const char *image = json_get_string(request, "path", NULL);
	const char *token = json_get_string(request, "token", NULL);
	g_autofree char *path = token_path(image, token);
	JsonObject *answer = json_object_new();
	bool same = false, ok = false;
	errno = EINVAL;
	if (path && g_str_equal(action, "create"))
		ok = same = create_token(path, token);
	else if (path && g_str_equal(action, "read"))
		ok = read_token(path, token, &same);
	else if (path && g_str_equal(action, "remove"))
		ok = remove_token(path);
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_FILE_TOKEN);
	json_object_set_boolean_member(answer, "found", ok);
	json_object_set_boolean_member(answer, "same", same);
	if (!ok)
		json_object_set_string_member(answer, "reason", g_strerror(errno));
	json_object_set_int_member(answer, "size", image ? image_size(image) : -1);
	return answer;
}
