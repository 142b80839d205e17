/* SPDX-License-Identifier: Apache-2.0 */
/* The mark of libvirt's Finish: a letter in a file, in memory where there is room for it. */
#include "journal/finish_mark.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MOST = 64, PLACES_MAX = 4, MAKE_TRIES = 10 };

struct finish_mark {
	int fd;
	off_t place; /* of the letter */
	char *path;
};

static const char letters[] = {
	[FINISH_NOT_SAID] = 'n', [FINISH_SAID] = 's', [FINISH_FAILED] = 'f'
};

/* ---- where it lies ---- */

/* A shell without a session (cron, sudo) has no XDG_RUNTIME_DIR, though the directory may be there. */
static char *find_session_folder(void)
{
	const char *set = g_getenv("XDG_RUNTIME_DIR");
	g_autofree char *folder =
		set && *set ? g_strdup(set) : g_strdup_printf("/run/user/%u", geteuid());
	struct stat facts;
	if (stat(folder, &facts) < 0 || !S_ISDIR(facts.st_mode) || facts.st_uid != geteuid())
		return NULL;
	return g_build_filename(folder, "watari", NULL);
}

/* The places in which a mark may lie, the best first: memory, which is never waited for. Where none
 * can be used it lies beside the journal. */
static void list_mark_folders(char *folders[PLACES_MAX])
{
	const char *set = g_getenv("WATARI_RUN_DIR");
	char *session = NULL;
	int count = 0;
	if (set && *set)
		folders[count++] = g_strdup(set);
	else if (geteuid() == 0)
		folders[count++] = g_strdup("/run/watari");
	else if ((session = find_session_folder()))
		folders[count++] = session;
	folders[count++] = journal_directory();
	folders[count] = NULL;
}

static char *mark_path(const char *folder, const char *id)
{
	return g_strdup_printf("%s/%s.finish", folder, id);
}

/* ---- making and changing it ---- */

/* The file's name lasts only when its directory is on the disk, too. */
static bool sync_folder(const char *folder)
{
	FD_AUTO int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fsync(fd) == 0;
}

/* Whoever removed the last file in FOLDER takes the folder along, perhaps at this very moment. */
static int create_in_folder(const char *folder, const char *path)
{
	int fd = -1;
	for (int i = 0; i < MAKE_TRIES && fd < 0; i++) {
		if (g_mkdir_with_parents(folder, 0700) < 0)
			return -1;
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno != ENOENT)
			return -1;
	}
	return fd;
}

static struct finish_mark *make_mark(const char *folder, const char *id, GError **error)
{
	g_autofree char *path = mark_path(folder, id), *boot = process_boot_id();
	g_autofree char *line =
		g_strdup_printf("%s %c\n", boot ? boot : "-", letters[FINISH_NOT_SAID]);
	FD_AUTO int fd = create_in_folder(folder, path);
	if (fd < 0 || !fd_write_all(fd, line, strlen(line)) || fsync(fd) < 0 ||
	    !sync_folder(folder)) {
		error_set(error, WATARI_ERROR_INTERNAL, NULL, "%s: %s", path, g_strerror(errno));
		if (fd >= 0)
			unlink(path);
		return NULL;
	}
	struct finish_mark *mark = g_new0(struct finish_mark, 1);
	mark->fd = fd_steal(&fd);
	mark->place = (off_t) strlen(line) - 2;
	mark->path = g_steal_pointer(&path);
	return mark;
}

struct finish_mark *finish_mark_new(const char *id, GError **error)
{
	char *folders[PLACES_MAX];
	struct finish_mark *mark = NULL;
	list_mark_folders(folders);
	for (int i = 0; folders[i] && !mark; i++) {
		g_clear_error(error);
		mark = make_mark(folders[i], id, error);
	}
	if (mark)
		g_clear_error(error);
	for (int i = 0; folders[i]; i++)
		g_free(folders[i]);
	return mark;
}

/* A mark that cannot be changed would go on saying what is not true any more, so it goes. */
bool finish_mark_set(struct finish_mark *mark, enum finish_said said)
{
	return !mark || pwrite(mark->fd, &letters[said], 1, mark->place) == 1 ||
	       unlink(mark->path) == 0 || errno == ENOENT;
}

void finish_mark_free(struct finish_mark *mark)
{
	if (!mark)
		return;
	fd_clear(&mark->fd);
	g_free(mark->path);
	g_free(mark);
}

/* ---- reading it ---- */

enum proof { PROOF_NONE, PROOF_NEVER, PROOF_AGAINST };

static enum proof read_mark(const char *folder, const char *id, const char *boot)
{
	char line[LINE_MOST + 1] = "";
	g_autofree char *path = mark_path(folder, id);
	FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? PROOF_NONE : PROOF_AGAINST;
	ssize_t got = read(fd, line, LINE_MOST);
	if (got < 3 || line[got - 1] != '\n' || line[got - 3] != ' ')
		return PROOF_AGAINST;
	char letter = line[got - 2];
	line[got - 3] = '\0';
	bool never = letter == letters[FINISH_FAILED] ||
		     (letter == letters[FINISH_NOT_SAID] && g_str_equal(line, boot));
	return never ? PROOF_NEVER : PROOF_AGAINST;
}

bool finish_mark_proves_never(const char *id)
{
	char *folders[PLACES_MAX];
	g_autofree char *boot = process_boot_id();
	bool never = false, against = !boot;
	list_mark_folders(folders);
	for (int i = 0; folders[i]; i++) {
		enum proof proof = boot ? read_mark(folders[i], id, boot) : PROOF_NONE;
		never |= proof == PROOF_NEVER;
		against |= proof == PROOF_AGAINST;
		g_free(folders[i]);
	}
	return never && !against;
}

bool finish_mark_remove(const char *id)
{
	char *folders[PLACES_MAX];
	bool good = true;
	list_mark_folders(folders);
	for (int i = 0; folders[i]; i++) {
		g_autofree char *path = mark_path(folders[i], id);
		bool gone = unlink(path) == 0;
		good &= gone || errno == ENOENT || errno == ENOTDIR;
		/* the last one takes the folder in memory with it, the journal's stays */
		if (gone && folders[i + 1])
			rmdir(folders[i]);
	}
	for (int i = 0; folders[i]; i++)
		g_free(folders[i]);
	return good;
}
