/* SPDX-License-Identifier: Apache-2.0 */
/* What a host answers when it is looked at: its memory, its listeners, its login shell. Whatever it says,
 * no more is available than it has, and every name can be shown. */
#include "host/remote/begin.h"
#include "host/listener.h"
#include "host/room.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look_at_memory(const char *text)
{
	struct room room;
	if (!room_parse(text, &room))
		return;
	if (room.arc_bytes > room.available_bytes || room.pages_count > ROOM_PAGES_MOST)
		abort();
	room_find_pages(&room, room.default_page_bytes);
}

static void look_at_listeners(const char *text)
{
	struct listeners *listeners = listeners_parse(text);
	for (unsigned i = 0; i < listeners->taken->len; i++) {
		const struct listener *listener = listeners->taken->pdata[i];
		g_autofree char *who = listeners_describe(listeners, listener);
		if (!who ||
		    !listeners_find(listeners, listener->udp, listener->address, listener->port))
			abort();
		listeners_have(listeners, listener->address);
	}
	listeners_free(listeners);
}

/* Not a byte behind the line is taken. */
static void look_at_shell(const uint8_t *data, size_t size)
{
	static const char line[] = "\nwatari-begins\n";
	struct begin begin = { 0 };
	int fd = memfd_create("shell", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t) size || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	const uint8_t *found = memmem(data, size, line, strlen(line));
	size_t behind = found ? (size_t) (found - data) + strlen(line) : size;
	if (begin_read(&begin, fd) == BEGIN_DONE && (!found || begin.seen != behind))
		abort();
	g_free(begin_noise(&begin));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	g_autofree char *text = g_strndup((const char *) data, size);
	look_at_memory(text);
	look_at_listeners(text);
	look_at_shell(data, size);
	return 0;
}
