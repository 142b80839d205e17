/* SPDX-License-Identifier: Apache-2.0 */
/* The message “fingerprint”: what a file or block device of this host holds, as keyed tags of blocks
 * (mover/compare/likeness.h). It is read past the page cache where that is possible: a host whose cache
 * is stale would answer for what the disk was.
 *
 * Asked for `whole`, it is a digest of all, if that is read within two seconds or so; else the one that is kept of it,
 * if there is one (digests.h). Asked
 * to `pick`, blocks are chosen by the key: the first and the last MiB and some of what lies
 * between, most of them where the file system says that there is data. Asked to `read`, they are those of the
 * request. What is not read within about a second is left out, but for the first piece.
 *
 * Thread rules: main thread; a thread of its own reads. Memory: 1 MiB and two fingerprints.
 */
#pragma once
#include "mover/compare/likeness.h"
#include "base/task.h"

struct fingerprint_request {
	char *path;
	uint8_t key[TAG_KEY_BYTES];
	int what;  /* enum in the .c: whole, pick or read */
	bool slow; /* all of it is never read in time: for tests */
	struct fingerprint asked;
};
/* Checked whole; free with fingerprint_request_free. WATARI_ERROR_INTERNAL that names the field. */
struct fingerprint_request *fingerprint_request_parse(JsonObject *message, GError **error);
void fingerprint_request_free(void *request);

/* The answer is sent when it is there: a fingerprint, or `reason` (and `missing`: nothing is at that path). */
struct task *fingerprint_start(JsonObject *message, bool slow,
			       void (*send)(JsonObject *answer, void *data), void *data,
			       GError **error);
/* The same without a thread. */
JsonObject *fingerprint_take(const struct fingerprint_request *request);
