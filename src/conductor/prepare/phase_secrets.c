/* SPDX-License-Identifier: Apache-2.0 */
/* Libvirt at the destination is given the secrets that the VM is opened with, there or when it is started next, and that
 * it does not have. They are in the journal by their UUIDs before they are made, and removed after a failure. */
#include "conductor/disks/images.h"

#include "base/i18n.h"
#include "host/secret.h"

#include <libvirt/virterror.h>
#include <stdlib.h>

struct making {
	struct move *move;
	virSecretPtr secret; /* at the source */
	char uuid[VIR_UUID_STRING_BUFLEN];
	GError *error;
};

/* ---- which ---- */

static bool is_missing_there(struct move *move, const struct secret *wanted)
{
	virSecretPtr there = secret_look_up(move->hosts[MOVE_DESTINATION]->connection, wanted);
	virErrorPtr last = virGetLastError();
	if (there)
		virSecretFree(there);
	return !there && last && last->code == VIR_ERR_NO_SECRET;
}

static void add_missing(struct move *move, unsigned flags, GPtrArray *makings)
{
	char *text = virDomainGetXMLDesc(move->domain, flags);
	struct xml *vm = text ? xml_read(text, NULL) : NULL;
	g_autoptr(GPtrArray) secrets = vm ? secret_list(vm) : g_ptr_array_new();
	for (guint i = 0; i < secrets->len; i++) {
		if (!is_missing_there(move, secrets->pdata[i]))
			continue;
		virSecretPtr here =
			secret_look_up(move->hosts[MOVE_SOURCE]->connection, secrets->pdata[i]);
		if (!here || !secret_gives(here, NULL)) {
			/* the check has said so, and was overruled */
			if (here)
				virSecretFree(here);
			continue;
		}
		struct making *making = g_new0(struct making, 1);
		making->move = move;
		making->secret = here;
		virSecretGetUUIDString(here, making->uuid);
		g_ptr_array_add(makings, making);
	}
	xml_free(vm);
	free(text);
}

struct finding {
	struct move *move;
	GPtrArray *makings;
};

static void call_find(void *data)
{
	struct finding *finding = data;
	add_missing(finding->move, 0, finding->makings);
	if (finding->move->persistent)
		add_missing(finding->move, VIR_DOMAIN_XML_INACTIVE, finding->makings);
}

/* ---- making them ---- */

static void call_define_secrets(void *data)
{
	struct making *making = data;
	struct move *move = making->move;
	secret_define(making->secret, move->hosts[MOVE_DESTINATION]->connection, move->report->id,
		      &making->error);
}

static void call_fill(void *data)
{
	struct making *making = data;
	secret_fill(making->secret, making->move->hosts[MOVE_DESTINATION]->connection,
		    &making->error);
}

static void call_free(void *data)
{
	GPtrArray *makings = data;
	for (guint i = 0; i < makings->len; i++) {
		struct making *making = makings->pdata[i];
		virSecretFree(making->secret);
		g_clear_error(&making->error);
		g_free(making);
	}
}

static bool make_secret(struct making *making, GError **error)
{
	struct move *move = making->move;
	const struct images_intent intent = { .secret = making->uuid, .token = move->report->id };
	unsigned noted = 0;
	if (!images_note_intent(move, &intent, &noted, error))
		return false;
	move_call(move, call_define_secrets, making);
	if (!making->error)
		images_note_made(move, noted, making->uuid, &making->error);
	if (!making->error)
		move_call(move, call_fill, making);
	if (!making->error)
		return move_check_cancel(move, error);
	error_prefix(&making->error, "%s", making->uuid);
	error_classify(&making->error, WATARI_ERROR_REFUSED,
		       _("Define it there and give it its value: virsh secret-define, virsh "
			 "secret-set-value; then use --no-secrets."));
	g_propagate_error(error, g_steal_pointer(&making->error));
	return false;
}

/* The definition may name the one that the running VM has. */
static bool is_made(const GPtrArray *makings, guint index)
{
	const struct making *making = makings->pdata[index];
	for (guint i = 0; i < index; i++)
		if (g_str_equal(((const struct making *) makings->pdata[i])->uuid, making->uuid))
			return true;
	return false;
}

bool phase_secrets(struct move *move, GError **error)
{
	g_autoptr(GPtrArray) makings = g_ptr_array_new();
	struct finding finding = { move, makings };
	bool good = true;
	if (move->request->secrets_stay)
		return true;
	move_call(move, call_find, &finding);
	for (guint i = 0; good && i < makings->len; i++)
		good = is_made(makings, i) || make_secret(makings->pdata[i], error);
	move_call(move, call_free, makings);
	return good;
}
