/* SPDX-License-Identifier: Apache-2.0 */
/* Finds, makes and removes the sockets of conductors. */
#include "conductor/server/socket_place.h"

#include "base/fd.h"
#include "journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SUFFIX ".sock"
enum { BACKLOG = 16, ID_LENGTH = 32 };

char *server_directory(const char *state)
{
	g_autofree char *own = state ? g_strdup(state) : journal_directory();
	char *directory = g_build_filename(own, "moves", NULL);
	if (g_mkdir_with_parents(directory, 0700) == 0)
		return directory;
	g_free(directory);
	return NULL;
}

/* The name of a socket has 107 bytes at most, and a state directory may be longer: so by a descriptor
 * of the directory, which must stay open meanwhile. */
static int find_socket(const char *directory, const char *id, struct sockaddr_un *address)
{
	int folder = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	g_snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%.*s" SUFFIX,
		   folder, ID_LENGTH, id);
	return folder;
}

int server_listen(const char *directory, const char *id)
{
	struct sockaddr_un address;
	FD_AUTO int folder = find_socket(directory, id, &address);
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (folder < 0 || fd < 0 ||
	    bind(fd, (const struct sockaddr *) &address, sizeof address) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -1;
	return fd_steal(&fd);
}

int server_dial(const char *directory, const char *id)
{
	struct sockaddr_un address;
	FD_AUTO int folder = find_socket(directory, id, &address);
	FD_AUTO int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (folder < 0 || fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *) &address, sizeof address) == 0)
		return fd_steal(&fd);
	if (errno == ECONNREFUSED) {
		server_remove(directory, id);
		errno = ECONNREFUSED;
	}
	return -1;
}

void server_remove(const char *directory, const char *id)
{
	g_autofree char *name = g_strconcat(id, SUFFIX, NULL);
	g_autofree char *path = g_build_filename(directory, name, NULL);
	unlink(path);
}

void server_sweep(const char *directory)
{
	g_autoptr(GDir) folder = g_dir_open(directory, 0, NULL);
	const char *name;
	while (folder && (name = g_dir_read_name(folder))) {
		if (!g_str_has_suffix(name, SUFFIX) || strlen(name) != ID_LENGTH + strlen(SUFFIX))
			continue;
		g_autofree char *id = g_strndup(name, ID_LENGTH);
		/* dialling removes the socket of one that is gone */
		int fd = server_dial(directory, id);
		fd_clear(&fd);
	}
}
