/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory region: filled at boot, dirtied on command, checked all the time.
 *
 * The table of what each page must be lies in memory of its own. A page and its entry change under
 * the page's lock, and every page is verified before it is overwritten, so no wrong page is ever
 * covered up by the load.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guestd.h"

#define LOCKS 64 /* page number modulo this: the load does not starve the checker */
#define BURST_PAGES 256
#define SLICE_NS 10000000u
#define CHECK_NS 250000000u
#define RATE_MAX UINT64_MAX
#define DEFAULT_RATE 1000

struct load {
	const struct pattern *pattern;
	uint64_t rate;  /* pages a second, or RATE_MAX */
	uint64_t pages; /* the working set: the first pages of the region */
	bool random;    /* order */
	bool verify;    /* before overwriting */
};

static struct {
	/* set once */
	uint8_t *pages;
	struct page_expected *table;
	uint64_t count;
	uint64_t check_rate;
	pthread_mutex_t page_lock[LOCKS];
	/* atomics */
	_Atomic uint64_t filled;
	_Atomic uint64_t errors;
	_Atomic uint64_t passes;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct load load;
	_Atomic unsigned int load_serial; /* written under lock */
	unsigned int
		load_taken; /* by the load thread; behind load_serial while an older load still runs */
	bool load_thread;
	char first_error[160];
} memory = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static void *page_at(uint64_t number)
{
	return memory.pages + number * PAGE_BYTES;
}

static pthread_mutex_t *page_lock(uint64_t number)
{
	pthread_mutex_t *lock = &memory.page_lock[number % LOCKS];

	pthread_mutex_lock(lock);
	return lock;
}

/* Remembers a wrong page, and says it once on the console. Called with the page's lock held. */
static void memory_wrong(uint64_t number, const char *wrong, char *error, size_t size)
{
	struct page_expected *expected = &memory.table[number];
	char message[160];

	snprintf(message, sizeof(message), "memory page %llu (generation %llu): %s",
		 (unsigned long long) number, (unsigned long long) expected->generation, wrong);
	if (error && size && !error[0])
		snprintf(error, size, "%s", message);
	if (expected->known_bad)
		return;
	expected->known_bad = 1;
	atomic_fetch_add(&memory.errors, 1);
	pthread_mutex_lock(&memory.lock);
	if (!memory.first_error[0])
		snprintf(memory.first_error, sizeof(memory.first_error), "%s", message);
	pthread_mutex_unlock(&memory.lock);
	say("WRONG %s", message);
}

/* Verifies one page; called with its lock held. */
static bool memory_verify(uint64_t number, char *error, size_t size)
{
	const char *wrong = page_verify(page_at(number), number, &memory.table[number]);

	if (wrong)
		memory_wrong(number, wrong, error, size);
	return !wrong;
}

/* The patterns. Each dirties one page and returns how many bytes it wrote. */

static uint64_t dirty_whole(uint64_t number, enum page_kind kind)
{
	struct page_expected *expected = &memory.table[number];

	expected->generation++;
	expected->kind = (uint8_t) kind;
	page_build(page_at(number), number, expected);
	return PAGE_BYTES;
}

static uint64_t dirty_text(uint64_t number)
{
	return dirty_whole(number, PAGE_TEXT);
}

static uint64_t dirty_random(uint64_t number)
{
	return dirty_whole(number, PAGE_RANDOM);
}

static uint64_t dirty_few(uint64_t number)
{
	struct page_expected *expected = &memory.table[number];

	if (expected->kind == PAGE_ZERO)
		return dirty_text(number);
	expected->generation++;
	page_renew(page_at(number), number, expected);
	return 16;
}

static uint64_t dirty_zero(uint64_t number)
{
	return dirty_whole(number,
			   memory.table[number].kind == PAGE_ZERO ? PAGE_RANDOM : PAGE_ZERO);
}

/* Written, but with what it held already: dirty for the hypervisor, unchanged for whoever compares.
 */
static uint64_t dirty_same(uint64_t number)
{
	volatile uint64_t *word = page_at(number);

	*word = *word;
	return 8;
}

static uint64_t dirty_mixed(uint64_t number)
{
	static uint64_t (*const way[])(uint64_t number) = { dirty_few, dirty_text, dirty_random,
							    dirty_zero, dirty_same };

	return way[(number * 7 + memory.table[number].generation) % 5](number);
}

static const struct pattern {
	const char *name;
	uint64_t (*dirty)(uint64_t number);
} patterns[] = {
	{ "none", NULL },           { "few", dirty_few },   { "text", dirty_text },
	{ "random", dirty_random }, { "zero", dirty_zero }, { "same", dirty_same },
	{ "mixed", dirty_mixed },
};

static const struct pattern *pattern_find(const char *name)
{
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		if (!strcmp(name, patterns[i].name))
			return &patterns[i];
	return NULL;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Dirties the next n pages of the working set, as long as no other load is asked for. */
static void load_burst(const struct load *load, unsigned int serial, uint64_t *at, uint64_t *random,
		       uint64_t n)
{
	uint64_t bytes = 0, done = 0;

	for (; done < n && atomic_load(&memory.load_serial) == serial; done++) {
		uint64_t number = (load->random ? next_random(random) : (*at)++) % load->pages;
		pthread_mutex_t *lock = page_lock(number);

		if (!load->verify || memory_verify(number, NULL, 0))
			bytes += load->pattern->dirty(number);
		pthread_mutex_unlock(lock);
	}
	count(COUNT_DIRTIED_PAGES, done);
	count(COUNT_DIRTIED_BYTES, bytes);
}

/* Runs one load until it is replaced. */
static void load_run(const struct load *load, unsigned int serial)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	uint64_t done = 0, at = 0, random = 88172645463325252ull ^ serial;

	while (atomic_load(&memory.load_serial) == serial) {
		uint64_t now = now_ns(CLOCK_MONOTONIC);
		uint64_t due = BURST_PAGES;

		if (load->rate != RATE_MAX) {
			due = (uint64_t) ((double) (now - begun) * 1e-9 * (double) load->rate) -
			      done;
			if (due >
			    load->rate / 5 +
				    1) { /* was not running for a while: do not make up for it */
				begun = now;
				done = due = 0;
			}
		}
		load_burst(load, serial, &at, &random, due);
		done += due;
		if (load->rate != RATE_MAX)
			sleep_until_ns(now + SLICE_NS);
	}
}

static void load_main(void *arg)
{
	pthread_mutex_lock(&memory.lock);
	memory.load_thread = true;
	for (;;) {
		struct load load = memory.load;
		unsigned int serial = memory.load_serial;

		memory.load_taken = serial;
		pthread_cond_broadcast(&memory.changed);
		if (!load.pattern->dirty || !load.rate || !memory_ready()) {
			pthread_cond_wait(&memory.changed, &memory.lock);
			continue;
		}
		pthread_mutex_unlock(&memory.lock);
		load_run(&load, serial);
		pthread_mutex_lock(&memory.lock);
	}
}

static uint64_t parse_rate(const char *text)
{
	return !strcmp(text, "max") ? RATE_MAX : strtoull(text, NULL, 0);
}

const char *memory_set_load(const char *query)
{
	struct load load = { .rate = DEFAULT_RATE, .pages = memory.count };
	char text[32] = "none";
	uint64_t set_mib;

	query_text(query, "pattern", text, sizeof(text));
	load.pattern = pattern_find(text);
	if (!load.pattern)
		return "no such pattern; there are none, few, text, random, zero, same, mixed";
	if (query_text(query, "rate", text, sizeof(text)))
		load.rate = parse_rate(text);
	set_mib = query_number(query, "set", 0);
	if (set_mib && set_mib * 256 < memory.count)
		load.pages = set_mib * 256;
	load.random = query_text(query, "order", text, sizeof(text)) && !strcmp(text, "random");
	load.verify = query_number(query, "verify", 1);
	pthread_mutex_lock(&memory.lock);
	memory.load = load;
	memory.load_serial++;
	pthread_cond_broadcast(&memory.changed);
	while (memory.load_thread &&
	       memory.load_taken !=
		       memory.load_serial) /* the answer means: the old load has ended */
		pthread_cond_wait(&memory.changed, &memory.lock);
	pthread_mutex_unlock(&memory.lock);
	return NULL;
}

/* What the region holds at first: a quarter zero, half text, a quarter random, well mixed; or all
 * of one kind. */
static enum page_kind first_kind(const char *fill, uint64_t number)
{
	static const enum page_kind mixed[4] = { PAGE_ZERO, PAGE_TEXT, PAGE_RANDOM, PAGE_TEXT };

	if (!strcmp(fill, "zero"))
		return PAGE_ZERO;
	if (!strcmp(fill, "text"))
		return PAGE_TEXT;
	if (!strcmp(fill, "random"))
		return PAGE_RANDOM;
	return mixed[number * 0x9e3779b97f4a7c15ull >> 62];
}

static void memory_fill(void)
{
	const char *fill = option_text("fill", "mixed");

	for (uint64_t number = 0; number < memory.count; number++) {
		memory.table[number].generation = 1;
		memory.table[number].kind = (uint8_t) first_kind(fill, number);
		/* touched even when zero, so that the page is the guest's own and not the kernel's
		 * shared zero page */
		*(volatile uint8_t *) page_at(number) = 0;
		page_build(page_at(number), number, &memory.table[number]);
		atomic_store(&memory.filled, number + 1);
	}
	say("memory: %llu pages filled", (unsigned long long) memory.count);
	pthread_mutex_lock(&memory.lock);
	pthread_cond_broadcast(&memory.changed);
	pthread_mutex_unlock(&memory.lock);
}

bool memory_ready(void)
{
	return atomic_load(&memory.filled) == memory.count;
}

/* Fills, then checks for ever at its own slow pace. */
static void check_main(void *arg)
{
	uint64_t number = 0;

	memory_fill();
	for (;;) {
		uint64_t next = now_ns(CLOCK_MONOTONIC) + CHECK_NS;
		uint64_t n = memory.check_rate * (CHECK_NS / 1000000) / 1000;

		for (uint64_t i = 0; i < n; i++) {
			pthread_mutex_t *lock = page_lock(number);

			memory_verify(number, NULL, 0);
			pthread_mutex_unlock(lock);
			if (++number < memory.count)
				continue;
			number = 0;
			atomic_fetch_add(&memory.passes, 1);
		}
		count(COUNT_CHECKED_PAGES, n);
		sleep_until_ns(next);
	}
}

uint64_t memory_check(char *error, size_t size)
{
	uint64_t end = atomic_load(&memory.filled);
	uint64_t wrong = 0;

	for (uint64_t number = 0; number < end; number++) {
		pthread_mutex_t *lock = page_lock(number);

		wrong += !memory_verify(number, error, size);
		pthread_mutex_unlock(lock);
	}
	count(COUNT_CHECKED_PAGES, end);
	if (!error[0]) {
		pthread_mutex_lock(&memory.lock);
		snprintf(error, size, "%s", memory.first_error);
		pthread_mutex_unlock(&memory.lock);
	}
	return wrong;
}

const char *memory_spoil(uint64_t number, const char *how)
{
	const char *wrong = NULL;
	pthread_mutex_t *lock;

	if (number >= memory.count || !memory_ready())
		return "no such page";
	lock = page_lock(number);
	if (!page_spoil(page_at(number), number, &memory.table[number], how))
		wrong = "no such way; there are bit, stale, zero, other";
	else if (!page_verify(page_at(number), number, &memory.table[number]))
		wrong = "that page is so already";
	pthread_mutex_unlock(lock);
	return wrong;
}

void memory_describe(struct text *json)
{
	struct load load;
	char error[160];

	pthread_mutex_lock(&memory.lock);
	load = memory.load;
	snprintf(error, sizeof(error), "%s", memory.first_error);
	pthread_mutex_unlock(&memory.lock);
	text_add(json,
		 "{\"pages\":%llu,\"filled\":%llu,\"ready\":%s,\"pattern\":\"%s\",\"rate\":%lld,"
		 "\"set_pages\":%llu,"
		 "\"order\":\"%s\",\"dirtied_pages\":%llu,\"dirtied_bytes\":%llu,\"checked_pages\":"
		 "%llu,\"passes\":%llu,"
		 "\"errors\":%llu,\"first_error\":\"%s\"}",
		 (unsigned long long) memory.count,
		 (unsigned long long) atomic_load(&memory.filled),
		 memory_ready() ? "true" : "false", load.pattern->name,
		 load.rate == RATE_MAX ? -1ll : (long long) load.rate,
		 (unsigned long long) load.pages, load.random ? "random" : "sequential",
		 (unsigned long long) counted(COUNT_DIRTIED_PAGES),
		 (unsigned long long) counted(COUNT_DIRTIED_BYTES),
		 (unsigned long long) counted(COUNT_CHECKED_PAGES),
		 (unsigned long long) atomic_load(&memory.passes),
		 (unsigned long long) atomic_load(&memory.errors), error);
}

/* Half of the guest's memory unless said otherwise. */
static uint64_t region_pages(void)
{
	uint64_t all = (uint64_t) sysconf(_SC_PHYS_PAGES);
	uint64_t mib = option_number("mem", 0);
	uint64_t pages = mib ? mib * 256 : all / 2;
	uint64_t most = all > 16384 ? all - 12288 : all / 4; /* 48 MiB stay for everything else */

	return pages < most ? pages : most;
}

void memory_start(void)
{
	char query[160];

	memory.count = region_pages();
	memory.check_rate = option_number("check", 256);
	memory.pages = mmap(NULL, memory.count * PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory.table = calloc(memory.count, sizeof(*memory.table));
	if (memory.pages == MAP_FAILED || !memory.table) {
		say("no memory for a region of %llu pages", (unsigned long long) memory.count);
		_exit(1);
	}
	for (size_t i = 0; i < LOCKS; i++)
		pthread_mutex_init(&memory.page_lock[i], NULL);
	snprintf(query, sizeof(query), "pattern=%s&rate=%s&set=%s&order=%s&verify=%s",
		 option_text("pattern", "none"), option_text("rate", "1000"),
		 option_text("set", "0"), option_text("order", "sequential"),
		 option_text("verify", "1"));
	if (memory_set_load(query)) {
		say("a load on the kernel command line is not understood: %s", query);
		memory_set_load(NULL);
	}
	thread_start(check_main, NULL, 0);
	thread_start(load_main, NULL, 0);
}
