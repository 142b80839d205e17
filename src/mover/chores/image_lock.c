/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the locks by which QEMU is kept from images. */
#include "mover/chores/image_lock.h"

#include "base/i18n.h"
#include "control/messages.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { IMAGES_MAX = 256 };

/* QEMU's layout of locks inside an image, the same since 2.10: one byte for each thing that somebody
 * does (100 + n), and one for each that somebody will not have others do (200 + n). */
enum { USED = 100, UNSHARED = 200, WRITE = 1, RESIZE = 3 };
static const off_t things[] = { WRITE, RESIZE };

struct image_lock {
	int fds[IMAGES_MAX];
	unsigned count;
};

void image_lock_free(struct image_lock *hold)
{
	for (unsigned i = 0; hold && i < hold->count; i++)
		close(hold->fds[i]);
	g_free(hold);
}

static bool is_used(int fd, off_t thing)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = USED + thing, .l_len = 1 };
	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool forbid(int fd, off_t thing)
{
	struct flock lock = { .l_type = F_RDLCK, .l_start = UNSHARED + thing, .l_len = 1 };
	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* First the lock, then the look: a writer that comes at the same time sees ours, or we see its. NULL,
 * or why not. */
static const char *hold_one(struct image_lock *hold, const char *path)
{
	int fd = path && *path == '/' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return path && *path == '/' ? g_strerror(errno) : _("it has no path");
	hold->fds[hold->count++] = fd;
	for (size_t i = 0; i < G_N_ELEMENTS(things); i++)
		if (!forbid(fd, things[i]))
			return g_strerror(errno);
	for (size_t i = 0; i < G_N_ELEMENTS(things); i++)
		if (is_used(fd, things[i]))
			return _("a program has it open to write to it");
	return NULL;
}

JsonObject *image_lock_do(struct image_lock **hold, JsonObject *request)
{
	JsonArray *paths = json_get_array(request, "paths");
	guint count = paths ? MIN(json_array_get_length(paths), IMAGES_MAX) : 0;
	JsonObject *answer = json_object_new();
	json_object_set_string_member(answer, MESSAGE_TYPE, MESSAGE_HELD);
	g_clear_pointer(hold, image_lock_free);
	*hold = g_new0(struct image_lock, 1);
	for (guint i = 0; i < count; i++) {
		JsonNode *node = json_array_get_element(paths, i);
		const char *path = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
		const char *reason = hold_one(*hold, path);
		if (!reason)
			continue;
		json_object_set_string_member(answer, "path", path ? path : "");
		json_object_set_string_member(answer, "reason", reason);
		g_clear_pointer(hold, image_lock_free);
		break;
	}
	return answer;
}
