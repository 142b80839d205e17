/* SPDX-License-Identifier: Apache-2.0 */
/* What stands before each command at a host: a line by which its output is known from what the
 * login shell prints, and root's rights by sudo for who is not root and need not give a password.
 *
 *	login shell:  Welcome to hostb!          (anything, or nothing: passed over)
 *	prologue:     \nwatari-begins\n
 *	command:      its output, from the first byte on
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

enum begin_rights {
	BEGIN_ROOT,    /* as root if sudo allows it, else as the user */
	BEGIN_LIBVIRT, /* the same, but a member of the group libvirt needs no more */
};

/* A login shell that prints more before it has begun never will. */
#define BEGIN_NOISE_MAX 65536

/* Where the output of one command stands. All zero: not begun. */
struct begin {
	bool done;        /* what comes now is the command's */
	unsigned matched; /* bytes of the line so far */
	size_t seen;      /* bytes that were passed over, the line included */
	char words[96];   /* the first of them */
};

enum begin_state { BEGIN_WAITS, BEGIN_DONE, BEGIN_BROKEN };

/* ARGV behind the prologue; the words are sh's. Free with g_strfreev. */
char **begin_wrap(const char *const *argv, enum begin_rights rights);
/* Pass over what FD (non-blocking) has before the command's own output. BROKEN: it ended, or there
 * is too much. Not a byte of the command's is taken. */
enum begin_state begin_read(struct begin *begin, int fd);
/* What was printed before the line, its first words, made printable; NULL: nothing. Caller frees. */
char *begin_noise(const struct begin *begin);
