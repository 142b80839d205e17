/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What else the guest has done so far, for whoever asks how much a migration slows it down: the
 * kernel's count of new processes (a shell's load forks twice for each of its rounds), and the
 * commands that a Redis on this guest has processed.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guestd.h"

#define REDIS_PORT 6379
#define REDIS_COUNT "total_commands_processed:"

static uint64_t forks_so_far(void)
{
	char line[512];
	uint64_t forks = 0;
	FILE *file = fopen("/proc/stat", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "processes %" SCNu64, &forks) == 1)
			break;
	if (file)
		fclose(file);
	return forks;
}

static int redis_connect(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(REDIS_PORT),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	struct timeval limit = { .tv_sec = 2 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *) &address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* False when there is no Redis, or it does not answer. */
static bool redis_commands(uint64_t *commands)
{
	static const char ask[] = "INFO stats\r\n";
	char answer[8192];
	size_t len = 0;
	ssize_t n;
	const char *found = NULL;
	int fd = redis_connect();

	if (fd < 0)
		return false;
	if (write(fd, ask, sizeof(ask) - 1) == (ssize_t) sizeof(ask) - 1)
		while (!found && len < sizeof(answer) - 1 &&
		       (n = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0) {
			answer[len += (size_t) n] = '\0';
			found = strstr(answer, REDIS_COUNT);
			if (found && !strchr(found, '\n'))
				found = NULL; /* the number may go on */
		}
	close(fd);
	return found && sscanf(found, REDIS_COUNT "%" SCNu64, commands) == 1;
}

void work_describe(struct text *json)
{
	uint64_t commands = 0;
	bool redis = redis_commands(&commands);

	text_add(json, "{\"forks\":%" PRIu64, forks_so_far());
	if (redis)
		text_add(json, ",\"redis_commands\":%" PRIu64, commands);
	text_add(json, "}");
}
