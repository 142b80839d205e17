// SPDX-License-Identifier: Apache-2.0
/*
 * host-clock: a wall clock of its own for a host of the lab, as a library loaded before all others.
 *
 * Hosts of the lab share one kernel, and so one CLOCK_REALTIME; time namespaces do not cover it. This
 * adds the number of nanoseconds in FILE (eight bytes, mapped, so that the lab can step the clock of
 * processes that run) wherever glibc hands out the wall clock. A wait until a wall-clock time follows
 * the steps too, as it would on such a host. CLOCK_MONOTONIC stays what it is.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "/run/lab-clock"

static const int64_t second_ns = 1000000000;
static const int64_t slice_ns = 50000000; /* how soon a wait notices that the clock was stepped */
static const int64_t wall_s = 500000000;  /* later ones are of the wall clock, not of an uptime */

static const volatile int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void)
{
	int fd = open(FILE_NAME, O_RDONLY | O_CLOEXEC);
	void *page = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (fd >= 0)
		close(fd);
	if (page != MAP_FAILED)
		offset_ns = page;
}

static struct timespec shift_time(struct timespec time, int64_t by_ns)
{
	int64_t ns = time.tv_sec * second_ns + time.tv_nsec + by_ns;

	return (struct timespec){ ns / second_ns, ns % second_ns };
}

static int64_t read_offset(void)
{
	return offset_ns ? *offset_ns : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	if (syscall(SYS_clock_gettime, clock, time))
		return -1;
	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		*time = shift_time(*time, read_offset());
	return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*time = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *result)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (result)
		*result = now.tv_sec;
	return now.tv_sec;
}

int timespec_get(struct timespec *time, int base)
{
	return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, time) ? base : 0;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
			   const struct timespec *restrict until)
{
	static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	struct timespec real;
	int result;

	if (!next)
		next = (__typeof__(next)) dlsym(RTLD_NEXT, "pthread_cond_timedwait");
	if (!offset_ns || until->tv_sec < wall_s)
		return next(condition, mutex, until);
	do {
		struct timespec end = shift_time(*until, -read_offset());

		syscall(SYS_clock_gettime, CLOCK_REALTIME, &real);
		real = shift_time(real, slice_ns);
		if (end.tv_sec > real.tv_sec ||
		    (end.tv_sec == real.tv_sec && end.tv_nsec > real.tv_nsec))
			end = real;
		result = next(condition, mutex, &end);
		clock_gettime(CLOCK_REALTIME, &real);
	} while (result == ETIMEDOUT &&
		 (real.tv_sec < until->tv_sec ||
		  (real.tv_sec == until->tv_sec && real.tv_nsec < until->tv_nsec)));
	return result;
}
