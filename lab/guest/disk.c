/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk areas: the first blocks of /dev/vda to /dev/vdd, as far as they are there and writable,
 * written and verified with O_DIRECT, so that what is verified is what the hypervisor's disk holds.
 * Blocks are pages (page.c); their numbers, generations and seals work alike. A disk's place is part
 * of the number, so that a block that ended up on another disk is found.
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

#define DISKS 4
#define PLACE_SHIFT 40 /* of the disk's place in a block's number */
#define SCAN_BLOCKS 256
#define STEP_NS 50000000u
#define FLUSH_STEPS 20

struct disk {
	/* set once */
	int fd; /* -1: no disk */
	unsigned place;
	uint64_t count;
	uint64_t stride; /* bytes from one block of the area to the next */
	struct page_expected *table;
	/* atomics */
	_Atomic bool ready;
	_Atomic uint64_t errors;
	_Atomic uint64_t foreign;
	_Atomic uint64_t writes;
	_Atomic uint64_t slowest_us;
	/* under lock: the table, the block buffer, the device itself */
	pthread_mutex_t lock;
	uint8_t *buffer;
	char first_error[160];
};

static struct disk disks[DISKS];
static _Atomic uint64_t disk_rate; /* blocks written a second, on each; as many are read back */
static _Atomic uint64_t disk_kind;

/* known_bad of a disk block has a second meaning: foreign. */
enum {
	BLOCK_KNOWN_BAD = 1,
	BLOCK_FOREIGN = 2,
};

static const char *disk_name(const struct disk *disk)
{
	static const char *const names[DISKS] = { "vda", "vdb", "vdc", "vdd" };

	return names[disk->place];
}

static void disk_wrong(struct disk *disk, uint64_t number, const char *wrong, char *error,
		       size_t size)
{
	struct page_expected *expected = &disk->table[number];
	char message[160];

	snprintf(message, sizeof(message), "disk %s block %llu (generation %llu): %s",
		 disk_name(disk), (unsigned long long) number,
		 (unsigned long long) expected->generation, wrong);
	if (error && size && !error[0])
		snprintf(error, size, "%s", message);
	if (expected->known_bad)
		return;
	expected->known_bad = BLOCK_KNOWN_BAD;
	atomic_fetch_add(&disk->errors, 1);
	if (!disk->first_error[0])
		snprintf(disk->first_error, sizeof(disk->first_error), "%s", message);
	say("WRONG %s", message);
}

static void disk_timed(struct disk *disk, uint64_t begun)
{
	uint64_t us = (now_ns(CLOCK_MONOTONIC) - begun) / 1000;

	if (us > atomic_load(&disk->slowest_us))
		atomic_store(&disk->slowest_us, us);
}

/* What a block calls itself: never the same on two disks. */
static uint64_t block_name(const struct disk *disk, uint64_t number)
{
	return (uint64_t) disk->place << PLACE_SHIFT | number;
}

/* The following are called with the lock held. */

static bool block_read(struct disk *disk, uint64_t number)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	ssize_t n = pread(disk->fd, disk->buffer, PAGE_BYTES, (off_t) (number * disk->stride));

	disk_timed(disk, begun);
	count(COUNT_DISK_READS, 1);
	return n == PAGE_BYTES;
}

static bool block_write(struct disk *disk, uint64_t number)
{
	uint64_t begun = now_ns(CLOCK_MONOTONIC);
	ssize_t n = pwrite(disk->fd, disk->buffer, PAGE_BYTES, (off_t) (number * disk->stride));

	disk_timed(disk, begun);
	count(COUNT_DISK_WRITES, 1);
	atomic_fetch_add(&disk->writes, 1);
	return n == PAGE_BYTES;
}

static bool block_verify(struct disk *disk, uint64_t number, char *error, size_t size)
{
	const char *wrong;

	if (disk->table[number].known_bad & BLOCK_FOREIGN)
		return true;
	wrong = block_read(disk, number)
			? page_verify(disk->buffer, block_name(disk, number), &disk->table[number])
			: "cannot be read";
	if (wrong)
		disk_wrong(disk, number, wrong, error, size);
	return !wrong;
}

static void block_renew(struct disk *disk, uint64_t number)
{
	struct page_expected *expected = &disk->table[number];

	if (!block_verify(disk, number, NULL, 0))
		return;
	if (expected->known_bad & BLOCK_FOREIGN) {
		*expected = (struct page_expected){ 0 };
		atomic_fetch_sub(&disk->foreign, 1);
	}
	expected->generation++;
	expected->kind = (uint8_t) atomic_load(&disk_kind);
	page_build(disk->buffer, block_name(disk, number), expected);
	if (!block_write(disk, number))
		disk_wrong(disk, number, "cannot be written", NULL, 0);
}

static bool disk_read_many(struct disk *disk, uint64_t first, uint64_t n, uint8_t *many)
{
	if (disk->stride == PAGE_BYTES)
		return pread(disk->fd, many, n * PAGE_BYTES, (off_t) (first * PAGE_BYTES)) ==
		       (ssize_t) (n * PAGE_BYTES);
	for (uint64_t i = 0; i < n; i++)
		if (pread(disk->fd, many + i * PAGE_BYTES, PAGE_BYTES,
			  (off_t) ((first + i) * disk->stride)) != PAGE_BYTES)
			return false;
	return true;
}

/* Takes what is on the disk as the state of things. */
static void disk_scan(struct disk *disk)
{
	uint8_t *many = aligned_alloc(PAGE_BYTES, SCAN_BLOCKS * PAGE_BYTES);

	for (uint64_t first = 0; many && first < disk->count; first += SCAN_BLOCKS) {
		uint64_t n = disk->count - first < SCAN_BLOCKS ? disk->count - first : SCAN_BLOCKS;
		bool got = disk_read_many(disk, first, n, many);

		for (uint64_t i = 0; i < n; i++) {
			struct page_expected *expected = &disk->table[first + i];

			if (got && page_recognise(many + i * PAGE_BYTES,
						  block_name(disk, first + i), expected))
				continue;
			*expected = (struct page_expected){ .known_bad = BLOCK_FOREIGN };
			atomic_fetch_add(&disk->foreign, 1);
		}
	}
	free(many);
	say("disk %s: %llu blocks, %llu of them foreign", disk_name(disk),
	    (unsigned long long) disk->count, (unsigned long long) atomic_load(&disk->foreign));
}

/* Writes at its rate through the area, reads back blocks from elsewhere in it, flushes once a
 * second. */
static void disk_main(void *arg)
{
	struct disk *disk = arg;
	uint64_t write_at = 0, read_at = disk->count / 2, steps = 0;
	double due = 0;

	disk_scan(disk);
	atomic_store(&disk->ready, true);
	for (;;) {
		uint64_t next = now_ns(CLOCK_MONOTONIC) + STEP_NS;

		due += (double) atomic_load(&disk_rate) * STEP_NS * 1e-9;
		for (; due >= 1; due--) {
			pthread_mutex_lock(&disk->lock);
			block_renew(disk, write_at++ % disk->count);
			block_verify(disk, read_at++ % disk->count, NULL, 0);
			pthread_mutex_unlock(&disk->lock);
		}
		if (++steps % FLUSH_STEPS == 0 && atomic_load(&disk_rate) && fdatasync(disk->fd))
			say("WRONG disk %s: a flush failed: %s", disk_name(disk), strerror(errno));
		sleep_until_ns(next);
	}
}

const char *disk_set_load(const char *query)
{
	char kind[16];

	if (query_text(query, "disk_kind", kind, sizeof(kind)))
		atomic_store(&disk_kind, !strcmp(kind, "text") ? PAGE_TEXT : PAGE_RANDOM);
	atomic_store(&disk_rate, query_number(query, "disk_rate", atomic_load(&disk_rate)));
	return NULL;
}

static uint64_t disk_check_one(struct disk *disk, char *error, size_t size)
{
	uint64_t wrong = 0;

	if (disk->fd < 0 || !atomic_load(&disk->ready))
		return 0;
	for (uint64_t number = 0; number < disk->count; number++) {
		pthread_mutex_lock(&disk->lock);
		wrong += !block_verify(disk, number, error, size);
		pthread_mutex_unlock(&disk->lock);
	}
	if (!error[0])
		snprintf(error, size, "%s", disk->first_error);
	return wrong;
}

uint64_t disk_check(char *error, size_t size)
{
	uint64_t wrong = 0;

	for (unsigned place = 0; place < DISKS; place++)
		wrong += disk_check_one(&disks[place], error, size);
	return wrong;
}

const char *disk_spoil(uint64_t place, uint64_t number, const char *how)
{
	struct disk *disk = place < DISKS ? &disks[place] : NULL;
	const char *wrong = NULL;

	if (!disk || disk->fd < 0 || number >= disk->count || !atomic_load(&disk->ready))
		return "no such block";
	pthread_mutex_lock(&disk->lock);
	if (!block_read(disk, number))
		wrong = "cannot be read";
	else if (!page_spoil(disk->buffer, block_name(disk, number), &disk->table[number], how))
		wrong = "no such way; there are bit, stale, zero, other";
	else if (!page_verify(disk->buffer, block_name(disk, number), &disk->table[number]))
		wrong = "that block is so already";
	else if (!block_write(disk, number))
		wrong = "cannot be written";
	pthread_mutex_unlock(&disk->lock);
	return wrong;
}

static void disk_describe_one(struct disk *disk, struct text *json)
{
	text_add(json,
		 "{\"name\":\"%s\",\"blocks\":%llu,\"stride\":%llu,\"ready\":%s,\"rate\":%llu,"
		 "\"writes\":%llu,\"foreign\":%llu,\"slowest_us\":%llu,\"errors\":%llu,"
		 "\"first_error\":\"%s\"}",
		 disk_name(disk), (unsigned long long) disk->count,
		 (unsigned long long) disk->stride, atomic_load(&disk->ready) ? "true" : "false",
		 (unsigned long long) atomic_load(&disk_rate),
		 (unsigned long long) atomic_load(&disk->writes),
		 (unsigned long long) atomic_load(&disk->foreign),
		 (unsigned long long) atomic_load(&disk->slowest_us),
		 (unsigned long long) atomic_load(&disk->errors), disk->first_error);
}

void disk_describe(struct text *json)
{
	const char *comma = "";

	text_add(json, "[");
	for (unsigned place = 0; place < DISKS; place++) {
		if (disks[place].fd < 0)
			continue;
		text_add(json, "%s", comma);
		disk_describe_one(&disks[place], json);
		comma = ",";
	}
	text_add(json, "]");
}

/* Takes a device under check, or leaves it alone: it is not there, or may not be written. */
static void disk_take(struct disk *disk, unsigned place, uint64_t most)
{
	char path[16];
	uint64_t bytes = 0;
	int readonly = 0;

	disk->place = place;
	snprintf(path, sizeof(path), "/dev/%s", disk_name(disk));
	disk->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk->fd < 0 || ioctl(disk->fd, BLKROGET, &readonly) || readonly ||
	    ioctl(disk->fd, BLKGETSIZE64, &bytes) || bytes < PAGE_BYTES) {
		disk->fd = -1;
		return;
	}
	disk->count = (bytes < most ? bytes : most) / PAGE_BYTES;
	disk->stride = PAGE_BYTES;
	if (option_number("disk_spread", 0))
		disk->stride = bytes / disk->count / PAGE_BYTES * PAGE_BYTES;
	disk->table = calloc(disk->count, sizeof(*disk->table));
	disk->buffer = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
	if (!disk->table || !disk->buffer) {
		say("no memory for the disk's table");
		_exit(1);
	}
	pthread_mutex_init(&disk->lock, NULL);
	thread_start(disk_main, disk, 0);
}

void disk_start(void)
{
	uint64_t most = option_number("disk_set", 32) << 20;

	atomic_store(&disk_rate, option_number("disk_rate", 20));
	atomic_store(&disk_kind, PAGE_RANDOM);
	for (unsigned place = 0; place < DISKS; place++) {
		disks[place].fd = -1;
		if (most) /* else they are somebody else's, a root file system for one */
			disk_take(&disks[place], place, most);
	}
}
