/* SPDX-License-Identifier: Apache-2.0 */
#include "record/finish_mark.h"

#include "base/error.h"
#include "base/fd.h"
#include "record/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

enum { LINE_MOST = 64 };

struct finish_mark {
	int fd;
	off_t place; /* of the letter */
};

static const char letters[] = {
	[FINISH_NOT_SAID] = 'n', [FINISH_SAID] = 's', [FINISH_FAILED] = 'f'
};

static char *path_of(const char *id)
{
	g_autofree char *folder = journal_directory();
	return g_strdup_printf("%s/%s.finish", folder, id);
}

/* NULL: this kernel does not say. */
static char *read_boot(void)
{
	char *text = NULL;
	if (g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		g_strstrip(text);
	return text;
}

/* The file's name lasts only when its directory is on the disk, too. */
static bool sync_folder(const char *path)
{
	g_autofree char *folder = g_path_get_dirname(path);
	FD_AUTO int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fsync(fd) == 0;
}

struct finish_mark *finish_mark_new(const char *id, GError **error)
{
	g_autofree char *path = path_of(id), *boot = read_boot();
	g_autofree char *line =
		g_strdup_printf("%s %c\n", boot ? boot : "-", letters[FINISH_NOT_SAID]);
	FD_AUTO int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !fd_write_all(fd, line, strlen(line)) || fsync(fd) < 0 ||
	    !sync_folder(path)) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", path, g_strerror(errno));
		unlink(path);
		return NULL;
	}
	struct finish_mark *mark = g_new0(struct finish_mark, 1);
	mark->fd = fd_steal(&fd);
	mark->place = (off_t) strlen(line) - 2;
	return mark;
}

void finish_mark_set(struct finish_mark *mark, enum finish_said said)
{
	if (mark && pwrite(mark->fd, &letters[said], 1, mark->place) != 1)
		g_warning("finish mark: %s", g_strerror(errno));
}

void finish_mark_free(struct finish_mark *mark)
{
	if (!mark)
		return;
	fd_clear(&mark->fd);
	g_free(mark);
}

bool finish_mark_proves_never(const char *id)
{
	char line[LINE_MOST + 1] = "";
	g_autofree char *path = path_of(id), *boot = read_boot();
	FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	ssize_t got = fd >= 0 ? read(fd, line, LINE_MOST) : -1;
	if (got < 3 || !boot || line[got - 1] != '\n' || line[got - 3] != ' ')
		return false;
	char letter = line[got - 2];
	line[got - 3] = '\0';
	return letter == letters[FINISH_FAILED] ||
	       (letter == letters[FINISH_NOT_SAID] && g_str_equal(line, boot));
}

void finish_mark_remove(const char *id)
{
	g_autofree char *path = path_of(id);
	unlink(path);
}
