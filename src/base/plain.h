/* SPDX-License-Identifier: Apache-2.0 */
/* Text for a terminal, without what a terminal would carry out.
 *
 * What people read here holds words of other hosts, of guests, of libvirt and of files: each of
 * them could move the cursor, rewrite what stands above, or make the terminal answer as if
 * somebody typed. So nothing but letters, spaces, tabs and new lines leaves the program: its
 * stdout and stderr are streams of this kind from main() on, whoever writes to them. JSON is not
 * changed by it: there control characters are escaped.
 */
#pragma once
#include <glib.h>
#include <stdio.h>

/* Bytes come in any pieces: what of a letter has come so far. Zeroed to begin with. */
struct plain {
	unsigned char letter[4];
	unsigned have, want;
};
/* Appends to OUT what of the LENGTH bytes at AT may be shown: valid UTF-8 with '?' for every
 * control character (C0, DEL, C1, and those that turn the direction of text), every line separator
 * that is none, and every byte that is no UTF-8. */
void plain_feed(struct plain *plain, const char *at, size_t length, GString *out);

/* A stream that writes so to FD, which stays open. BUFFERING as in setvbuf. NULL: no memory. For
 * the main thread. */
FILE *plain_stream(int fd, int buffering);
/* Our own commands to the terminal at stderr. */
void plain_command(const char *sequence);
/* One line for a message: the same, and no new line or tab either. Takes RAW; caller frees. */
char *plain_line(char *raw);
