/* SPDX-License-Identifier: Apache-2.0 */
/* Everything of a VM that names a thing of its host, or that libvirt loses when the VM moves: one
 * list, and what becomes of each on the way. The checks walk it before a move, the move carries
 * what it says, and docs/travels.md is its text for people (a unit test compares the two).
 *
 * What is carried (`carrier`) lies beside the VM in libvirt: it is read at the source and written to
 * the journal before anything moves, and given to the VM where it has ended up, by whoever ends the
 * move. Its values are JSON.
 *
 * Thread rules: calls of libvirt, so never on the loop's thread. Errors: WATARI_ERROR_INTERNAL
 * unless said otherwise.
 */
#pragma once
#include "host/checks/checks.h"

#include <json-glib/json-glib.h>
#include <libvirt/libvirt.h>
#include <stdbool.h>

/* What becomes of it. */
enum belonging_fate {
	BELONGING_LIBVIRT, /* libvirt carries it: seen by experiment */
	BELONGING_CARRIED, /* by this program */
	BELONGING_PROVEN,  /* it must be at the destination, which is looked at before */
	BELONGING_MAPPED,  /* likewise, or an option names what takes its place there */
	BELONGING_SAID,    /* it stays behind, and that is said before */
	BELONGING_REFUSED, /* it cannot move, and so the VM does not */
	BELONGING_FATE_LAST
};
const char *belonging_fate_name(enum belonging_fate fate); /* stable word */

struct belonging_carrier {
	/* DOMAIN at the source, as it is before the move. NULL without *error: there is nothing. */
	JsonNode *(*read)(virDomainPtr domain, GError **error);
	/* Taken off at the source, because libvirt would refuse the move. NULL: it need not be. */
	bool (*take)(virDomainPtr domain, JsonNode *value, GError **error);
	/* Given to DOMAIN where the VM has ended up, which may be the source again. A second time does
	 * no harm. */
	bool (*give)(virDomainPtr domain, JsonNode *value, GError **error);
	/* Taken from the definition that stays at the source while the VM lives at the destination.
	 * NULL: it may keep it. */
	bool (*leave)(virDomainPtr domain, JsonNode *value, GError **error);
};

struct belonging {
	const char *name; /* stable word, unique */
	const char *path; /* where a description has it (XPath below <domain>); NULL: beside it */
	enum belonging_fate fate;
	/* Says before the move what will become of it: a row of the checks' table does it, or this. */
	void (*check)(struct check_context *context);
	const struct belonging_carrier *carrier; /* of what is BELONGING_CARRIED beside the VM */
};

/* The list; the last row has no name. */
extern const struct belonging belongings[];

/* All that carriers find of DOMAIN: {name: value}. NULL with *error: WATARI_ERROR_REFUSED. */
JsonObject *belongings_read(virDomainPtr domain, GError **error);
/* The name of the first of VALUES that must be taken off at the source; NULL: none must. */
const char *belongings_first_taken(JsonObject *values);
/* In the order of the list; the first failure ends it. WATARI_ERROR_REFUSED. */
bool belongings_take(virDomainPtr domain, JsonObject *values, GError **error);
/* VALUES to DOMAIN, where the VM has ended up; LEFT: the definition that stayed at the source, or NULL.
 * All are tried; *error is the first failure. */
bool belongings_hand_over_all(virDomainPtr left, virDomainPtr domain, JsonObject *values,
			      GError **error);

/* The carriers, one file each. */
extern const struct belonging_carrier belonging_autostart;
extern const struct belonging_carrier belonging_snapshots;
extern const struct belonging_carrier belonging_checkpoints;
extern const struct belonging_carrier belonging_tuning;
/* How the snapshots of DOMAIN can be removed with that version of libvirt. */
const char *belonging_advise_snapshots(virDomainPtr domain, unsigned long libvirt_version);
void belonging_check_snapshots(struct check_context *context);
void belonging_check_autostart(struct check_context *context);
void belonging_check_checkpoints(struct check_context *context);
void belonging_check_definition(struct check_context *context);
void belonging_check_mapping(struct check_context *context);
/* What the VM has written to logs stays. */
void belonging_check_logs(struct check_context *context);
/* Every path of the host that the description names and no other row speaks of. */
void belonging_check_files(struct check_context *context);
