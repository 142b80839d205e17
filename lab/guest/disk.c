/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk area: the first blocks of /dev/vda, when there is one, written and verified with
 * O_DIRECT, so that what is verified is what the hypervisor's disk holds. Blocks are pages
 * (page.c); their numbers, generations and seals work alike.
 *
 * At boot blocks of an earlier life are taken as they are. A block that is neither ours nor zero is
 * foreign: never checked, and left alone until the load reaches it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guestd.h"

#define DEVICE "/dev/vda"
#define SCAN_BLOCKS 256
#define STEP_NS 50000000u
#define FLUSH_STEPS 20

static struct {
	/* set once */
	int fd; /* -1: no disk */
	uint64_t count;
	struct page_expected *table;
	/* atomics */
	_Atomic bool ready;
	_Atomic uint64_t rate; /* blocks written a second; as many are read back */
	_Atomic uint64_t kind;
	_Atomic uint64_t errors;
	_Atomic uint64_t foreign;
	_Atomic uint64_t slowest_us;
	/* under lock: the table, the block buffer, the device itself */
	pthread_mutex_t lock;
	uint8_t *buffer;
	char first_error[160];
} disk = {
	.fd = -1,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

/* known_bad of a disk block has a second meaning: foreign. */
enum {
	BLOCK_KNOWN_BAD = 1,
	BLOCK_FOREIGN = 2,
};

static void disk_wrong(uint64_t number, const char *wrong, char *error, size_t size)
{
	struct page_expected *expected = &disk.table[number];
	char message[160];

	snprintf(message, sizeof(message), "disk block %llu (generation %llu): %s",
		 (unsigned long long) number, (unsigned long long) expected->generation, wrong);
	if (error && size && !error[0])
		snprintf(error, size, "%s", message);
	if (expected->known_bad)
		return;
	expected->known_bad = BLOCK_KNOWN_BAD;
	atomic_fetch_add(&disk.errors, 1);
	if (!disk.first_error[0])
		snprintf(disk.first_error, sizeof(disk.first_error), "%s", message);
	say("WRONG %s", message);
}

static void disk_timed(uint64_t begun)
{
	uint64_t us = (now_ns(CLOCK_MONOTONIC) - begun) / 1000;

	if (us > atomic_load(&disk.slowest_us))
		atomic_store(&disk.slowest_us, us);
}

/* The following are called with the lock held. */

static bool block_read(uint64_t number)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	ssize_t n = pread(disk.fd, disk.buffer, PAGE_BYTES, (off_t) (number * PAGE_BYTES));

	disk_timed(begun);
	count(COUNT_DISK_READS, 1);
	return n == PAGE_BYTES;
}

static bool block_write(uint64_t number)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	ssize_t n = pwrite(disk.fd, disk.buffer, PAGE_BYTES, (off_t) (number * PAGE_BYTES));

	disk_timed(begun);
	count(COUNT_DISK_WRITES, 1);
	return n == PAGE_BYTES;
}

static bool block_verify(uint64_t number, char *error, size_t size)
{
	const char *wrong;

	if (disk.table[number].known_bad & BLOCK_FOREIGN)
		return true;
	wrong = block_read(number) ? page_verify(disk.buffer, number, &disk.table[number])
				   : "cannot be read";
	if (wrong)
		disk_wrong(number, wrong, error, size);
	return !wrong;
}

static void block_renew(uint64_t number)
{
	struct page_expected *expected = &disk.table[number];

	if (!block_verify(number, NULL, 0))
		return;
	if (expected->known_bad & BLOCK_FOREIGN) {
		*expected = (struct page_expected){ 0 };
		atomic_fetch_sub(&disk.foreign, 1);
	}
	expected->generation++;
	expected->kind = (uint8_t) atomic_load(&disk.kind);
	page_build(disk.buffer, number, expected);
	if (!block_write(number))
		disk_wrong(number, "cannot be written", NULL, 0);
}

/* Takes what is on the disk as the state of things. */
static void disk_scan(void)
{
	uint8_t *many = aligned_alloc(PAGE_BYTES, SCAN_BLOCKS * PAGE_BYTES);

	for (uint64_t first = 0; many && first < disk.count; first += SCAN_BLOCKS) {
		uint64_t n = disk.count - first < SCAN_BLOCKS ? disk.count - first : SCAN_BLOCKS;
		ssize_t got = pread(disk.fd, many, n * PAGE_BYTES, (off_t) (first * PAGE_BYTES));

		for (uint64_t i = 0; i < n; i++) {
			struct page_expected *expected = &disk.table[first + i];

			if (got == (ssize_t) (n * PAGE_BYTES) &&
			    page_recognise(many + i * PAGE_BYTES, first + i, expected))
				continue;
			*expected = (struct page_expected){ .known_bad = BLOCK_FOREIGN };
			atomic_fetch_add(&disk.foreign, 1);
		}
	}
	free(many);
	say("disk: %llu blocks, %llu of them foreign", (unsigned long long) disk.count,
	    (unsigned long long) atomic_load(&disk.foreign));
}

/* Writes at its rate through the area, reads back blocks from elsewhere in it, flushes once a
 * second. */
static void disk_main(void *arg)
{
	uint64_t write_at = 0, read_at = disk.count / 2, steps = 0;
	double due = 0;

	disk_scan();
	atomic_store(&disk.ready, true);
	for (;;) {
		uint64_t next = now_ns(CLOCK_MONOTONIC) + STEP_NS;

		due += (double) atomic_load(&disk.rate) * STEP_NS * 1e-9;
		for (; due >= 1; due--) {
			pthread_mutex_lock(&disk.lock);
			block_renew(write_at++ % disk.count);
			block_verify(read_at++ % disk.count, NULL, 0);
			pthread_mutex_unlock(&disk.lock);
		}
		if (++steps % FLUSH_STEPS == 0 && atomic_load(&disk.rate) && fdatasync(disk.fd))
			say("WRONG disk: a flush failed: %s", strerror(errno));
		sleep_until_ns(next);
	}
}

const char *disk_set_load(const char *query)
{
	char kind[16];

	if (query_text(query, "disk_kind", kind, sizeof(kind)))
		atomic_store(&disk.kind, !strcmp(kind, "text") ? PAGE_TEXT : PAGE_RANDOM);
	atomic_store(&disk.rate, query_number(query, "disk_rate", atomic_load(&disk.rate)));
	return NULL;
}

uint64_t disk_check(char *error, size_t size)
{
	uint64_t wrong = 0;

	if (disk.fd < 0 || !atomic_load(&disk.ready))
		return 0;
	for (uint64_t number = 0; number < disk.count; number++) {
		pthread_mutex_lock(&disk.lock);
		wrong += !block_verify(number, error, size);
		pthread_mutex_unlock(&disk.lock);
	}
	if (!error[0])
		snprintf(error, size, "%s", disk.first_error);
	return wrong;
}

const char *disk_spoil(uint64_t number, const char *how)
{
	const char *wrong = NULL;

	if (disk.fd < 0 || number >= disk.count || !atomic_load(&disk.ready))
		return "no such block";
	pthread_mutex_lock(&disk.lock);
	if (!block_read(number))
		wrong = "cannot be read";
	else if (!page_spoil(disk.buffer, number, &disk.table[number], how))
		wrong = "no such way; there are bit, stale, zero, other";
	else if (!page_verify(disk.buffer, number, &disk.table[number]))
		wrong = "that block is so already";
	else if (!block_write(number))
		wrong = "cannot be written";
	pthread_mutex_unlock(&disk.lock);
	return wrong;
}

void disk_describe(struct text *json)
{
	if (disk.fd < 0) {
		text_add(json, "null");
		return;
	}
	text_add(json,
		 "{\"blocks\":%llu,\"ready\":%s,\"rate\":%llu,\"writes\":%llu,\"reads\":%llu,"
		 "\"foreign\":%llu,"
		 "\"slowest_us\":%llu,\"errors\":%llu,\"first_error\":\"%s\"}",
		 (unsigned long long) disk.count, atomic_load(&disk.ready) ? "true" : "false",
		 (unsigned long long) atomic_load(&disk.rate),
		 (unsigned long long) counted(COUNT_DISK_WRITES),
		 (unsigned long long) counted(COUNT_DISK_READS),
		 (unsigned long long) atomic_load(&disk.foreign),
		 (unsigned long long) atomic_load(&disk.slowest_us),
		 (unsigned long long) atomic_load(&disk.errors), disk.first_error);
}

void disk_start(void)
{
	uint64_t bytes = 0, most = option_number("disk_set", 32) << 20;

	atomic_store(&disk.rate, option_number("disk_rate", 20));
	atomic_store(&disk.kind, PAGE_RANDOM);
	if (!most) /* the disk is somebody else's, a root file system for one */
		return;
	disk.fd = open(DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk.fd < 0 || ioctl(disk.fd, BLKGETSIZE64, &bytes) || bytes < PAGE_BYTES) {
		disk.fd = -1;
		return;
	}
	disk.count = (bytes < most ? bytes : most) / PAGE_BYTES;
	disk.table = calloc(disk.count, sizeof(*disk.table));
	disk.buffer = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
	if (!disk.table || !disk.buffer) {
		say("no memory for the disk's table");
		_exit(1);
	}
	thread_start(disk_main, NULL, 0);
}
