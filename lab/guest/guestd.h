/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guestd: the one program of the lab's small guest.
 *
 * It serves, it makes load, and it watches itself: every page of its memory region and every block
 * of its disk area carries enough to tell by itself whether it is whole, whose it is and how new it
 * is; a table kept elsewhere says how new it must be. So a page that was lost, mixed up, cut in
 * half or left behind at an older state is found and named.
 *
 * Threads: one per job (fill and check, load, disk, watch, UDP echo, two listeners) and one per
 * connection. Each room's state is private to its file; what others may see is copied out under the
 * room's lock or is an atomic counter.
 */
#ifndef WATARI_GUESTD_H
#define WATARI_GUESTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PAGE_BYTES 4096

/* text.c: a bounded string that is appended to; what does not fit is cut off. */
struct text {
	size_t len;
	char buf[8192];
};

void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints a line on the console, for whoever reads the serial log. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t now_ns(clockid_t clock);
void sleep_until_ns(uint64_t monotonic_ns);
/* Starts a detached thread; priority 0 is an ordinary one, above it SCHED_FIFO. Says so and powers
 * on without it on failure. */
void thread_start(void (*run)(void *), void *arg, int priority);

/* options.c: `watari.KEY=VALUE` words of the kernel command line, and KEY=VALUE pairs of a query.
 */
void options_read(void);
const char *option_text(const char *key, const char *fallback);
uint64_t option_number(const char *key, uint64_t fallback);
/* Copies the value of KEY in "a=1&b=2" to value (cut at size); false when there is none. */
bool query_text(const char *query, const char *key, char *value, size_t size);
uint64_t query_number(const char *query, const char *key, uint64_t fallback);

/* page.c: what a self-checking page looks like. Also used for disk blocks. */
enum page_kind {
	PAGE_ZERO,   /* all zero, nothing else */
	PAGE_TEXT,   /* whole page, compresses well */
	PAGE_RANDOM, /* whole page, does not compress */
	PAGE_KINDS,
};

/* What a page must be; kept in a table far from the page itself. */
struct page_expected {
	uint64_t generation; /* never goes down */
	uint8_t kind;        /* enum page_kind */
	uint8_t known_bad;   /* told once, then silent */
};

void page_build(void *page, uint64_t number, const struct page_expected *expected);
/* Changes only the generation and the seal (16 bytes). Not for PAGE_ZERO. */
void page_renew(void *page, uint64_t number, const struct page_expected *expected);
/* NULL when the page is what it must be, else what is wrong with it (a static string). */
const char *page_verify(const void *page, uint64_t number, const struct page_expected *expected);
/* Takes an unknown page as it stands: true when it is a whole page of this number (or zero), its
 * state then in found. */
bool page_recognise(const void *page, uint64_t number, struct page_expected *found);
/* Ways to spoil a page behind the checker's back, for its own tests: "bit", "stale", "zero",
 * "other". */
bool page_spoil(void *page, uint64_t number, const struct page_expected *expected, const char *how);

/* memory.c: the region, its load and its checker. */
void memory_start(void);
bool memory_ready(void);
/* Takes "pattern=..&rate=..&set=..&order=..&verify=.." ; NULL or what is wrong with it. */
const char *memory_set_load(const char *query);
void memory_describe(struct text *json);
/* Verifies every page once. Returns how many were wrong in this pass; the first is named in error.
 */
uint64_t memory_check(char *error, size_t size);
const char *memory_spoil(uint64_t page, const char *how);

/* disk.c: the same for /dev/vda to /dev/vdd, as far as they are there and writable. */
void disk_start(void);
const char *disk_set_load(const char *query);
void disk_describe(struct text *json);
uint64_t disk_check(char *error, size_t size);
const char *disk_spoil(uint64_t place, uint64_t block, const char *how);

/* watch.c: clocks, gaps, and counters that must never go back. */
enum counter {
	COUNT_TICKS,
	COUNT_DIRTIED_PAGES,
	COUNT_DIRTIED_BYTES,
	COUNT_CHECKED_PAGES,
	COUNT_DISK_WRITES,
	COUNT_DISK_READS,
	COUNT_UDP_ECHOES,
	COUNT_TCP_LINES,
	COUNT_HTTP_REQUESTS,
	COUNTERS,
};

void count(enum counter counter, uint64_t amount);
uint64_t counted(enum counter counter);
void watch_start(void);
/* "reset=1", "spin=0|1" */
void watch_set(const char *query);
void watch_describe(struct text *json);
uint64_t watch_errors(char *error, size_t size);

/* work.c: counters of other programs' work, to see how much a migration slows them down. */
void work_describe(struct text *json);

/* echo.c, http.c: what the outside talks to. */
void echo_start(void);
void echo_describe(struct text *json);
void http_start(void);
/* A listening TCP socket that calls serve(connection) in a thread of its own for every connection.
 */
void tcp_serve(uint16_t port, void (*serve)(int fd));

#endif
