/* SPDX-License-Identifier: Apache-2.0 */
/* Notes, shares and restores the owners of images. */
#include "mover/core/owners.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/i18n.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	FILES_MOST = 1024,
	GROUPS_MOST = 256,
	BOTH = S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP,
	RIGHTS = 07777,
};

/* Who QEMU is, by the kernel. */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[GROUPS_MOST];
	int group_count;
};

struct file {
	int fd; /* O_PATH: the file itself, whatever its name is then */
	char *path;
	struct stat was, wanted; /* at first; by the destination, if `looked` */
	bool looked;
};

struct owners {
	int pid;
	struct user user;
	GArray *files; /* of struct file */
	bool begun;
	pthread_mutex_t lock;
};

/* ---- what QEMU has ---- */

static void read_groups(struct user *user, const char *text)
{
	char *end;
	for (; user->group_count < GROUPS_MOST; text = end) {
		unsigned long group = strtoul(text, &end, 10);
		if (end == text)
			return;
		user->groups[user->group_count++] = (gid_t) group;
	}
}

/* The ids for files: the fourth of each line (proc_pid_status(5)). */
static bool read_user(struct user *user, int pid, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, error))
		return false;
	const char *uids = strstr(text, "\nUid:"), *gids = strstr(text, "\nGid:");
	const char *groups = strstr(text, "\nGroups:");
	unsigned uid, gid;
	if (!uids || !gids || !groups || sscanf(uids + 5, "%*u %*u %*u %u", &uid) != 1 ||
	    sscanf(gids + 5, "%*u %*u %*u %u", &gid) != 1)
		return error_set(error, WATARI_ERROR_INTERNAL, NULL,
				 _("%s does not say who QEMU is"), path);
	user->uid = uid;
	user->gid = gid;
	g_autofree char *line = g_strndup(groups + 8, strcspn(groups + 8, "\n"));
	read_groups(user, line);
	return true;
}

static bool is_open_for_writing(int pid, const char *number)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fdinfo/%s", pid, number);
	g_autofree char *text = NULL;
	if (!g_file_get_contents(path, &text, NULL, NULL))
		return false;
	const char *flags = strstr(text, "flags:");
	return flags && (strtoul(flags + 6, NULL, 8) & O_ACCMODE) == O_RDWR;
}

static bool is_noted(const struct owners *owners, const struct stat *found)
{
	for (guint i = 0; i < owners->files->len; i++) {
		const struct file *file = &g_array_index(owners->files, struct file, i);
		if (file->was.st_dev == found->st_dev && file->was.st_ino == found->st_ino)
			return true;
	}
	return false;
}

static void note_file(struct owners *owners, const char *number)
{
	g_autofree char *link = g_strdup_printf("/proc/%d/fd/%s", owners->pid, number);
	FD_AUTO int fd = open(link, O_PATH | O_CLOEXEC);
	struct file file = { 0 };
	if (fd < 0 || fstat(fd, &file.was) != 0 || !S_ISREG(file.was.st_mode) ||
	    file.was.st_nlink == 0 || is_noted(owners, &file.was) ||
	    !is_open_for_writing(owners->pid, number))
		return;
	file.path = g_file_read_link(link, NULL);
	file.fd = fd_steal(&fd);
	g_array_append_val(owners->files, file);
}

static void clear_file(void *data)
{
	struct file *file = data;
	fd_clear(&file->fd);
	g_free(file->path);
}

/* ---- whether its user may ---- */

/* As QEMU's user; only this thread becomes it (setfsuid(2)), which takes the right to pass over modes with it. */
static int open_as(const struct user *user, const struct file *file)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", file->fd);
	gid_t before[GROUPS_MOST];
	long count = syscall(SYS_getgroups, GROUPS_MOST, before);
	if (count < 0 || syscall(SYS_setgroups, user->group_count, user->groups) != 0)
		return open(path, O_RDWR | O_CLOEXEC);
	int gid = setfsgid(user->gid), uid = setfsuid(user->uid);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int code = errno;
	setfsuid((uid_t) uid);
	setfsgid((gid_t) gid);
	if (syscall(SYS_setgroups, count, before) != 0)
		g_warning("setgroups: %s", g_strerror(errno));
	errno = code;
	return fd;
}

static bool may_open(const struct user *user, const struct file *file)
{
	FD_AUTO int fd = open_as(user, file);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* ---- giving ---- */

static bool is_same_owner(const struct stat *a, const struct stat *b)
{
	return a->st_uid == b->st_uid && a->st_gid == b->st_gid &&
	       (a->st_mode & RIGHTS) == (b->st_mode & RIGHTS);
}

/* Modes are the owner's to change, and this process is root without CAP_FOWNER: so it is root's for a moment. */
static bool set_owner(const struct file *file, uid_t uid, gid_t gid, mode_t mode)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", file->fd);
	uid_t self = geteuid();
	struct stat now;
	if (fstat(file->fd, &now) != 0)
		return false;
	if ((now.st_mode & RIGHTS) != (mode & RIGHTS) &&
	    ((now.st_uid != self && fchownat(file->fd, "", self, (gid_t) -1, AT_EMPTY_PATH) != 0) ||
	     chmod(path, mode & RIGHTS) != 0))
		return false;
	return fstat(file->fd, &now) == 0 && ((now.st_uid == uid && now.st_gid == gid) ||
					      fchownat(file->fd, "", uid, gid, AT_EMPTY_PATH) == 0);
}

/* An earlier move's destination, or somebody, took it away while QEMU had it open. It is for QEMU's user: so no right
 * is given that QEMU does not have. */
static bool regain(const struct user *user, struct file *file, GError **error)
{
	if (may_open(user, file) ||
	    (set_owner(file, user->uid, user->gid, file->was.st_mode | S_IRUSR | S_IWUSR) &&
	     fstat(file->fd, &file->was) == 0 && may_open(user, file)))
		return true;
	return error_set(error, WATARI_ERROR_INTERNAL,
			 _("Give the file back to the user of this host's QEMU, then move again."),
			 _("%s belongs to user %u: the QEMU of the VM (user %u) could not open it "
			   "again after a failure"),
			 file->path, (unsigned) file->was.st_uid, (unsigned) user->uid);
}

static bool regain_all(struct owners *owners, GError **error)
{
	for (guint i = 0; owners->user.uid != 0 && i < owners->files->len; i++)
		if (!regain(&owners->user, &g_array_index(owners->files, struct file, i), error))
			return false;
	return true;
}

/* ---- begin and end ---- */

static bool note_files(struct owners *owners, GError **error)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/fd", owners->pid);
	g_autoptr(GDir) dir = g_dir_open(path, 0, error);
	const char *number;
	while (dir && owners->files->len < FILES_MOST && (number = g_dir_read_name(dir)))
		note_file(owners, number);
	return dir != NULL;
}

struct owners *owners_new(int pid, GError **error)
{
	struct owners *owners = g_new0(struct owners, 1);
	owners->pid = pid;
	owners->files = g_array_new(FALSE, TRUE, sizeof(struct file));
	g_array_set_clear_func(owners->files, clear_file);
	pthread_mutex_init(&owners->lock, NULL);
	if (read_user(&owners->user, pid, error) && note_files(owners, error))
		return owners;
	owners_free(owners);
	return NULL;
}

bool owners_begin(struct owners *owners, GError **error)
{
	if (!owners)
		return true;
	pthread_mutex_lock(&owners->lock);
	owners->begun = regain_all(owners, error);
	pthread_mutex_unlock(&owners->lock);
	return owners->begun;
}

void owners_free(struct owners *owners)
{
	if (!owners)
		return;
	g_array_unref(owners->files);
	pthread_mutex_destroy(&owners->lock);
	g_free(owners);
}

/* ---- in the move ---- */

static bool share_file(const struct owners *owners, struct file *file, GError **error)
{
	struct stat now;
	if (fstat(file->fd, &now) != 0)
		return true;
	if (!file->looked)
		file->wanted = now;
	file->looked = true;
	if (is_same_owner(&now, &file->was) || owners->user.uid == 0)
		return true;
	if (set_owner(file, file->was.st_uid, file->wanted.st_gid,
		      now.st_mode | file->was.st_mode | BOTH))
		return true;
	return error_set(
		error, WATARI_ERROR_INTERNAL,
		_("Let QEMU run as the same user at both hosts (user= in qemu.conf)."),
		_("the destination has given %s to user %u, and it cannot be shared with the "
		  "QEMU of this host (user %u), which could not go on after a failure: %s"),
		file->path, (unsigned) file->wanted.st_uid, (unsigned) owners->user.uid,
		g_strerror(errno));
}

bool owners_share(struct owners *owners, GError **error)
{
	bool good = true;
	if (!owners || !owners->begun)
		return true;
	pthread_mutex_lock(&owners->lock);
	for (guint i = 0; good && i < owners->files->len; i++)
		good = share_file(owners, &g_array_index(owners->files, struct file, i), error);
	pthread_mutex_unlock(&owners->lock);
	return good;
}

static void put_back_owner(struct file *file, const struct stat *as)
{
	struct stat now;
	if (fstat(file->fd, &now) == 0 && !is_same_owner(&now, as) &&
	    !set_owner(file, as->st_uid, as->st_gid, as->st_mode))
		g_warning("%s: %s", file->path, g_strerror(errno));
}

void owners_give_back(struct owners *owners)
{
	if (!owners || !owners->begun)
		return;
	pthread_mutex_lock(&owners->lock);
	for (guint i = 0; i < owners->files->len; i++) {
		struct file *file = &g_array_index(owners->files, struct file, i);
		put_back_owner(file, &file->was);
	}
	pthread_mutex_unlock(&owners->lock);
}

static bool is_process_alive(int pid)
{
	return kill(pid, 0) == 0 || errno != ESRCH;
}

void owners_hand_over(struct owners *owners)
{
	g_autoptr(GError) error = NULL;
	if (!owners || !owners->begun)
		return;
	if (is_process_alive(owners->pid)) {
		if (!owners_share(owners, &error))
			g_warning("%s", error->message);
		return;
	}
	pthread_mutex_lock(&owners->lock);
	for (guint i = 0; i < owners->files->len; i++) {
		struct file *file = &g_array_index(owners->files, struct file, i);
		if (file->looked)
			put_back_owner(file, &file->wanted);
	}
	pthread_mutex_unlock(&owners->lock);
}
