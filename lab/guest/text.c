/* SPDX-License-Identifier: Apache-2.0 */
/* Small things every room of guestd uses: bounded strings, console lines, clocks, threads. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guestd.h"

void text_add(struct text *text, const char *format, ...)
{
	size_t room = sizeof(text->buf) - text->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->buf + text->len, room, format, args);
	va_end(args);
	if (n > 0)
		text->len += (size_t) n < room ? (size_t) n : room - 1;
}

void say(const char *format, ...)
{
	char line[512];
	va_list args;
	int n = snprintf(line, sizeof(line), "watari: ");
	int more;

	va_start(args, format);
	more = vsnprintf(line + n, sizeof(line) - (size_t) n - 1, format, args);
	va_end(args);
	if (more < 0)
		return;
	n = (int) strlen(line);
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, (size_t) n) < 0)
		return; /* a console that is gone cannot be told so */
}

uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

void sleep_until_ns(uint64_t monotonic_ns)
{
	struct timespec t = {
		.tv_sec = (time_t) (monotonic_ns / 1000000000u),
		.tv_nsec = (long) (monotonic_ns % 1000000000u),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

struct thread_job {
	void (*run)(void *);
	void *arg;
};

static void *thread_main(void *arg)
{
	struct thread_job job = *(struct thread_job *) arg;

	free(arg);
	job.run(job.arg);
	return NULL;
}

void thread_start(void (*run)(void *), void *arg, int priority)
{
	struct sched_param param = { .sched_priority = priority };
	struct thread_job *job = malloc(sizeof(*job));
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (!job)
		return;
	*job = (struct thread_job){ .run = run, .arg = arg };
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	if (priority > 0) {
		pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		pthread_attr_setschedparam(&attr, &param);
	}
	err = pthread_create(&thread, &attr, thread_main, job);
	pthread_attr_destroy(&attr);
	if (err) {
		say("a thread did not start: %s", strerror(err));
		free(job);
	}
}
