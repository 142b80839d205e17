/* SPDX-License-Identifier: Apache-2.0 */
/* One table an option list: parsing, --help, shell completion and the man page's list all read it.
 *
 * A command is a row of the table in commands.c: its name, its options, and the function that
 * runs it with the parsed values. Values land in a plain struct of the command's own, at the
 * offset that the option's row names; the command fills in the defaults before.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum option_kind {
	OPTION_FLAG,     /* bool: set to true */
	OPTION_TEXT,     /* const char *: points into argv */
	OPTION_BYTES,    /* uint64_t: bytes or bytes a second */
	OPTION_DURATION, /* int64_t: ms; a bare number counts in `unit` ms */
	OPTION_NUMBER,   /* int, from least to most */
	OPTION_PORTS,    /* uint16_t[2]: "A-B" or "A" */
	OPTION_WORD,     /* int: index into `words` */
	OPTION_LIST, /* const char *[most + 1], NULL-terminated: may be given up to `most` times */
	OPTION_KIND_LAST
};

/* What the shell may offer for a value or an argument. */
/* VM: of the host that is named before its colon, or of this one; MOVE: VMs whose moves run. */
enum option_offer {
	OFFER_NOTHING,
	OFFER_VM,
	OFFER_HOST,
	OFFER_FILE,
	OFFER_MOVE,
	OFFER_COMMAND,
	OFFER_CHECK
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;      /* 0: none */
	enum option_kind kind;
	size_t offset;
	const char *value; /* the value's name in the help, marked with N_(); NULL for flags */
	int64_t least, most, unit;
	const char *const *words; /* NULL-terminated */
	enum option_offer offer;
	const char *help; /* marked with N_(); a sentence */
	unsigned only;    /* bits: of the commands that share the table, whose it is; 0: of all */
};

struct command {
	const char *name;
	const char *summary;                 /* marked with N_() */
	const char *arguments;               /* "[HOST:]VM DEST"; as in the man page */
	int arguments_least, arguments_most; /* most < 0: any number */
	enum option_offer offers[2];         /* for the first argument, and for all others */
	const struct option_row *rows;       /* the last has no name; NULL: none */
	unsigned bit;                        /* this command's in `only` */
	size_t values_size;
	void (*defaults)(void *values);
	/* ARGUMENTS is NULL-terminated. Returns the exit code; prints its own errors. */
	int (*run)(const struct command *command, void *values, char **arguments);
	/* Instead of all that: gets argv as it is (argv[0] is the command's name). */
	int (*run_raw)(int argc, char **argv);
};

/* The next row at or after *INDEX that is COMMAND's, and *INDEX behind it. NULL: no more. */
const struct option_row *options_next(const struct command *command, size_t *index);

extern const struct command *const commands[]; /* NULL-terminated; commands.c */
const struct command *command_find(const char *name);

/* Parse ARGV (argv[0] is the command's name) into VALUES. *arguments points into ARGV, which is
 * permuted. *help is set when --help was asked for; then nothing else is checked. */
bool options_parse(const struct command *command, int argc, char **argv, void *values,
		   char ***arguments, bool *help, GError **error);

/* COUNT arguments are as many as LEAST at least, and as COMMAND takes at most. WATARI_ERROR_USAGE. */
bool options_count(const struct command *command, int count, int least, GError **error);
/* The command line that gives VALUES where they differ from DEFAULTS, row by row: a NULL-terminated list
 * of words, of the rows that COMMAND and the command with the bit OTHER share. Free with g_strfreev. */
char **options_words(const struct command *command, const void *values, const void *defaults,
		     unsigned other);

/* Documents from the table. */
void options_print_help(const struct command *command, FILE *out);
void options_print_overview(FILE *out);
void options_print_mdoc(const struct command *command, FILE *out);
void options_print_bash_completion(FILE *out);
