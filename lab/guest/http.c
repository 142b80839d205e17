/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP control on port 80. GET only, one request a connection, answers in JSON.
 *
 *   /         name, uptime, requests served: a quick sign of life
 *   /state    everything: memory, disk, time, services, work
 *   /check    verifies all memory and all of the disks' areas: "ok", or the first that is or was wrong
 *   /load     ?pattern=none|few|text|random|zero|same|mixed &rate=PAGES_A_SECOND|max &set=MIB
 *             &order=sequential|random &verify=0|1 &disk_rate=BLOCKS_A_SECOND &disk_kind=random|text
 *   /watch    ?reset=1 &spin=0|1
 *   /corrupt  ?page=N, or ?block=N and &disk=N (0 is vda); &how=bit|stale|zero|other: spoils it
 *             behind the checker's back
 *   /power    ?do=off|reboot|halt|panic; halt: the processors stand still, the VM is not off
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guestd.h"

#define SERVICE_PROGRAM "/usr/lib/watari/service"

/* The query's load only touches what it names: a change of the disk's rate leaves the memory's
 * pattern alone. */
static void answer_load(const char *query, struct text *json)
{
	char pattern[16];
	const char *wrong = NULL;

	if (query_text(query, "pattern", pattern, sizeof(pattern)))
		wrong = memory_set_load(query);
	if (!wrong)
		wrong = disk_set_load(query);
	text_add(json, "{\"ok\":%s,\"error\":\"%s\"}", wrong ? "false" : "true",
		 wrong ? wrong : "");
}

/* Where there is more than guestd to wait for, somebody makes the file named by watari.ready_file. */
static bool all_ready(void)
{
	static const char *file;

	if (!file)
		file = option_text("ready_file", "/");
	return memory_ready() && !access(file, F_OK);
}

static void answer_root(const char *query, struct text *json)
{
	text_add(json,
		 "{\"name\":\"%s\",\"uptime_ms\":%llu,\"ready\":%s,\"requests\":%llu,\"dirtied_"
		 "pages\":%llu}",
		 option_text("name", "small"),
		 (unsigned long long) (now_ns(CLOCK_MONOTONIC) / 1000000),
		 all_ready() ? "true" : "false", (unsigned long long) counted(COUNT_HTTP_REQUESTS),
		 (unsigned long long) counted(COUNT_DIRTIED_PAGES));
}

static void answer_state(const char *query, struct text *json)
{
	text_add(json, "{\"name\":\"%s\",\"memory\":", option_text("name", "small"));
	memory_describe(json);
	text_add(json, ",\"disks\":");
	disk_describe(json);
	text_add(json, ",\"time\":");
	watch_describe(json);
	text_add(json, ",\"services\":");
	echo_describe(json);
	text_add(json, ",\"work\":");
	work_describe(json);
	text_add(json, "}");
}

static void answer_check(const char *query, struct text *json)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	char error[160] = "";
	uint64_t memory_wrong = memory_check(error, sizeof(error));
	uint64_t disk_wrong = disk_check(error, sizeof(error));
	uint64_t time_wrong = watch_errors(error, sizeof(error));

	text_add(json,
		 "{\"ok\":%s,\"error\":\"%s\",\"memory_wrong\":%llu,\"disk_wrong\":%llu,\"counters_"
		 "wrong\":%llu,"
		 "\"took_ms\":%llu}",
		 error[0] ? "false" : "true", error, (unsigned long long) memory_wrong,
		 (unsigned long long) disk_wrong, (unsigned long long) time_wrong,
		 (unsigned long long) ((now_ns(CLOCK_MONOTONIC) - begun) / 1000000));
}

static void answer_watch(const char *query, struct text *json)
{
	watch_set(query);
	watch_describe(json);
}

static void answer_corrupt(const char *query, struct text *json)
{
	const char *wrong = "say page=N or block=N";
	char how[16] = "bit", number[24];

	query_text(query, "how", how, sizeof(how));
	if (query_text(query, "page", number, sizeof(number)))
		wrong = memory_spoil(query_number(query, "page", 0), how);
	else if (query_text(query, "block", number, sizeof(number)))
		wrong = disk_spoil(query_number(query, "disk", 0), query_number(query, "block", 0),
				   how);
	text_add(json, "{\"ok\":%s,\"error\":\"%s\"}", wrong ? "false" : "true",
		 wrong ? wrong : "");
}

static void power_main(void *arg)
{
	sleep_until_ns(now_ns(CLOCK_MONOTONIC) + 200000000u); /* let the answer out first */
	if (reboot((int) (intptr_t) arg))
		say("power: the kernel refused");
}

static void panic_main(void *arg)
{
	int fd;

	sleep_until_ns(now_ns(CLOCK_MONOTONIC) + 200000000u);
	fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "c", 1) < 0)
		say("panic: no sysrq");
}

static void answer_power(const char *query, struct text *json)
{
	char what[16] = "";
	bool ok = true;

	query_text(query, "do", what, sizeof(what));
	if (!strcmp(what, "off"))
		thread_start(power_main, (void *) (intptr_t) RB_POWER_OFF, 0);
	else if (!strcmp(what, "reboot"))
		thread_start(power_main, (void *) (intptr_t) RB_AUTOBOOT, 0);
	else if (!strcmp(what, "halt"))
		thread_start(power_main, (void *) (intptr_t) RB_HALT_SYSTEM, 0);
	else if (!strcmp(what, "panic"))
		thread_start(panic_main, NULL, 0);
	else
		ok = false;
	text_add(json, "{\"ok\":%s,\"error\":\"%s\"}", ok ? "true" : "false",
		 ok ? "" : "say do=off, reboot, halt or panic");
}

static bool plain_word(const char *word)
{
	return word[0] && word[strspn(word, "abcdefghijklmnopqrstuvwxyz")] == '\0';
}

static void answer_service(const char *query, struct text *json)
{
	char name[32] = "", what[16] = "", command[128];
	bool ok;

	query_text(query, "name", name, sizeof(name));
	query_text(query, "do", what, sizeof(what));
	snprintf(command, sizeof(command), SERVICE_PROGRAM " %s %s", name, what);
	ok = plain_word(name) && plain_word(what) && !access(SERVICE_PROGRAM, X_OK) &&
	     system(command) == 0;
	text_add(json, "{\"ok\":%s,\"error\":\"%s\"}", ok ? "true" : "false",
		 ok ? "" : "no such service here");
}

static const struct {
	const char *path;
	void (*answer)(const char *query, struct text *json);
} answers[] = {
	{ "/", answer_root },       { "/state", answer_state },     { "/check", answer_check },
	{ "/load", answer_load },   { "/watch", answer_watch },     { "/corrupt", answer_corrupt },
	{ "/power", answer_power }, { "/service", answer_service },
};

/* Reads up to the empty line; cuts the request line into path and query. */
static bool request_read(int fd, char *request, size_t size, char **path, char **query)
{
	size_t len = 0;
	char *end;

	request[0] = '\0';
	while (!strstr(request, "\r\n\r\n")) {
		ssize_t n = len < size - 1 ? read(fd, request + len, size - 1 - len) : 0;

		if (n <= 0)
			return false;
		len += (size_t) n;
		request[len] = '\0';
	}
	if (strncmp(request, "GET /", 5))
		return false;
	*path = request + 4;
	end = *path + strcspn(*path, " \r\n");
	*end = '\0';
	*query = strchr(*path, '?');
	if (*query)
		*(*query)++ = '\0';
	return true;
}

static void http_session(int fd)
{
	char request[2048], *path = NULL, *query = NULL;
	struct text json = { .len = 0 };
	const char *status = "404 Not Found";

	if (!request_read(fd, request, sizeof(request), &path, &query))
		return;
	count(COUNT_HTTP_REQUESTS, 1);
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (!strcmp(path, answers[i].path)) {
			status = "200 OK";
			answers[i].answer(query, &json);
		}
	text_add(&json, "\n");
	dprintf(fd,
		"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: "
		"%zu\r\nConnection: close\r\n\r\n%s",
		status, json.len, json.buf);
	shutdown(fd, SHUT_WR);
	while (read(fd, request, sizeof(request)) > 0)
		; /* until the other side is done: a close with unread bytes would reset the answer
		     away */
}

void http_start(void)
{
	tcp_serve((uint16_t) option_number("http_port", 80), http_session);
}
