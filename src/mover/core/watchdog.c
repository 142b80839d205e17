/* SPDX-License-Identifier: Apache-2.0 */
/* The child that ends a mover which hangs. See watchdog.h. */
#include "mover/core/watchdog.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "mover/core/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	GRACE_MS = 500, /* the mover itself is given so long beyond the limit */
	LOOK_MS = 50,
};

/* Shared with the child: written by the mover, read by the child. */
struct page {
	_Atomic int64_t stopped_us, beat_us; /* 0: not */
	_Atomic int limit_ms, silence_ms;    /* 0: none */
	_Atomic bool rests;
};

struct watchdog {
	pid_t child;
	struct page *page;
};

/* ---- the child ---- */

/* Translated before there is any need: on a host without room nothing more is read from a file. */
struct reasons {
	const char *over, *silent;
};

/* Why the mover has to be killed now; NULL: it need not be. */
static const char *find_reason(const struct page *page, const struct reasons *reasons, int times[2])
{
	int64_t stopped = atomic_load(&page->stopped_us), beat = atomic_load(&page->beat_us);
	int limit = atomic_load(&page->limit_ms), silence = atomic_load(&page->silence_ms);
	int64_t now = clock_now_us();
	times[0] = (int) ((now - stopped) / 1000);
	times[1] = limit;
	if (limit > 0 && stopped > 0 && times[0] >= limit + GRACE_MS)
		return reasons->over;
	times[0] = (int) ((now - beat) / 1000);
	times[1] = silence;
	return limit > 0 && silence > 0 && times[0] >= silence ? reasons->silent : NULL;
}

/* The last words on the mover's stderr, before its end: the conductor reads there why it ended. Whatever
 * keeps them from being written does not keep the mover alive. */
static void write_reason(const char *reason, const int times[2])
{
	char words[512];
	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	int length =
		g_snprintf(words, sizeof words, "%s (%d ms > %d ms)\n", reason, times[0], times[1]);
	if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT &&
	    write(STDERR_FILENO, words, MIN((size_t) length, sizeof words - 1)) < 0)
		return;
}

/* Until the mover ends or rests. */
static void watch_mover(const struct page *page, int mover, const struct reasons *reasons)
{
	struct pollfd ended = { .fd = mover, .events = POLLIN };
	while (poll(&ended, 1, LOOK_MS) == 0 || errno == EINTR) {
		int times[2];
		const char *reason = find_reason(page, reasons, times);
		if (ended.revents || atomic_load(&page->rests))
			return;
		if (!reason)
			continue;
		write_reason(reason, times);
		syscall(SYS_pidfd_send_signal, mover, SIGKILL, NULL, 0);
		return;
	}
}

/* Of the mover's descriptors it keeps stderr: whoever waits for the end of any other must see it. */
static void close_all_but(int kept)
{
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; null >= 0 && fd < STDERR_FILENO; fd++)
		dup2(null, fd);
	if (kept > 3)
		syscall(SYS_close_range, 3U, (unsigned) kept - 1, 0);
	syscall(SYS_close_range, (unsigned) kept + 1, ~0U, 0);
}

/* Its session is its own, so that what stops or ends a group of processes does not reach it; and
 * its pages stay in memory, for a host without room is one of the reasons why a mover hangs. */
static void run_child(const struct page *page, pid_t mover_pid, char *title)
{
	const struct reasons reasons = {
		_("the mover hung while the VM stood still, beyond the ceiling; its watchdog "
		  "ended it, so that the VM goes on at the source"),
		_("the mover hung: it did nothing for longer than the link may be silent; its "
		  "watchdog ended it, so that the VM goes on at the source"),
	};
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* one that hangs itself does not outlive the mover */
	int mover = (int) syscall(SYS_pidfd_open, mover_pid, 0);
	if (mover < 0 || getppid() != mover_pid)
		_exit(1);
	setsid();
	memcpy(title, "guard", MIN(strlen(title), strlen("guard")));
	prctl(PR_SET_NAME, "watari-watchdog");
	mlockall(MCL_CURRENT | MCL_ONFAULT);
	close_all_but(mover);
	rights_drop_all();
	watch_mover(page, mover, &reasons);
	_exit(0);
}

/* ---- the mover ---- */

struct watchdog *watchdog_new(char *title)
{
	struct page *page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return NULL;
	pid_t mover = getpid(), child = fork();
	if (child == 0)
		run_child(page, mover, title);
	if (child < 0) {
		munmap(page, sizeof(*page));
		return NULL;
	}
	struct watchdog *watchdog = g_new0(struct watchdog, 1);
	*watchdog = (struct watchdog){ .child = child, .page = page };
	return watchdog;
}

void watchdog_free(struct watchdog *watchdog)
{
	if (!watchdog)
		return;
	kill(watchdog->child, SIGKILL);
	while (waitpid(watchdog->child, NULL, 0) < 0 && errno == EINTR)
		;
	munmap(watchdog->page, sizeof(*watchdog->page));
	g_free(watchdog);
}

void watchdog_begin(struct watchdog *watchdog, int silence_ms)
{
	watchdog_beat(watchdog);
	if (watchdog)
		atomic_store(&watchdog->page->silence_ms, silence_ms);
}

void watchdog_beat(struct watchdog *watchdog)
{
	if (watchdog)
		atomic_store(&watchdog->page->beat_us, clock_now_us());
}

void watchdog_set_limit(struct watchdog *watchdog, int limit_ms)
{
	if (watchdog)
		atomic_store(&watchdog->page->limit_ms, limit_ms);
}

void watchdog_note_stop(struct watchdog *watchdog, int64_t at_us)
{
	int64_t not_yet = 0;
	if (watchdog)
		atomic_compare_exchange_strong(&watchdog->page->stopped_us, &not_yet, at_us);
}

void watchdog_rest(struct watchdog *watchdog)
{
	if (watchdog)
		atomic_store(&watchdog->page->rests, true);
}
