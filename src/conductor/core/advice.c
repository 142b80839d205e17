/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the next step of an error that names none. */
#include "conductor/core/advice.h"

#include "conductor/core/movers.h"

#include "base/i18n.h"

/* What a mover says when it was another's end that ended it is left out: there is a better reason. */
static const struct {
	const char *code, *next;
} codes[] = {
	{ "link", N_("See that the network between both hosts carries, or allow longer cuts of it "
		     "(--link-timeout), and begin again.") },
	{ "disk", N_("See that the storage of the VM's disks works at both hosts and has room, and "
		     "begin again.") },
	{ "local",
	  N_("See the VM's log in /var/log/libvirt/qemu at both hosts, and begin again.") },
	{ "verify", N_("Begin again. If it happens again, look for broken memory, disks or network "
		       "at both hosts.") },
	{ "protocol", N_("See that both hosts have the same Watari (watari --version), and begin "
			 "again.") },
	{ "internal", N_("See the memory that is free at both hosts and their logs (journalctl), "
			 "and begin again.") },
};

static const char *find_code(const char *code)
{
	for (size_t i = 0; code && i < G_N_ELEMENTS(codes); i++)
		if (g_str_equal(codes[i].code, code))
			return codes[i].next;
	return NULL;
}

void advice_take_code(struct move *move, const char *code)
{
	bool vague = move->refuse_code && !find_code(move->refuse_code);
	if (move->mover_reason && !vague)
		return;
	g_free(move->refuse_code);
	move->refuse_code = g_strdup(code);
}

static const char *name_of_host(const struct move *move, int side)
{
	return move->hosts[side] ? move->hosts[side]->name : move->report->sides[side].address;
}

static char *advise_on_lost_host(struct move *move)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (move->guard && guard_is_broken(move->guard, (enum guard_side) side, NULL))
			return g_strdup_printf(_("See that %s can be reached and that libvirtd "
						 "runs there, and begin again."),
					       name_of_host(move, side));
	return NULL;
}

char *advice_on_lost_mover(struct move *move)
{
	for (int side = 0; side < MOVE_SIDES; side++)
		if (move->movers[side] && !movers_alive(move, side))
			return g_strdup_printf(_("See that %s can be reached, and its log "
						 "(journalctl) for what ended the program there, "
						 "and begin again."),
					       name_of_host(move, side));
	return NULL;
}

char *advice_find(struct move *move)
{
	char *advice = advise_on_lost_host(move);
	const char *of_code = find_code(move->refuse_code);
	if (!advice && of_code)
		advice = g_strdup(_(of_code));
	if (!advice)
		advice = advice_on_lost_mover(move);
	return advice ? advice
		      : g_strdup(_("See the logs of libvirtd (journalctl) and of the VM "
				   "(/var/log/libvirt/qemu) at both hosts, and begin again."));
}

/* One that needs a person is never told to begin again: where the VM is must be clear first. */
void advice_give(GError **error, const char *advice)
{
	if (!error || !*error)
		return;
	int code = (*error)->domain == WATARI_ERROR ? (*error)->code : WATARI_ERROR_ATTENTION;
	bool unclear = code == WATARI_ERROR_ATTENTION || code == WATARI_ERROR_INTERNAL;
	g_autofree char *next = error_next(*error);
	if (next || (!unclear && code != WATARI_ERROR_REFUSED && code != WATARI_ERROR_FAILED))
		return;
	g_autofree char *what = error_what(*error);
	g_clear_error(error);
	error_set(error, (enum watari_error) code,
		  unclear ? _("Look at both hosts (virsh list --all), then run “watari resolve”.")
			  : advice,
		  "%s", what);
}

/* ---- before anything has moved ---- */

struct looking {
	struct move *move;
	bool ended;
};

static void call_look_for_end(void *data)
{
	struct looking *looking = data;
	struct move *move = looking->move;
	struct host_vm vm;
	looking->ended = host_vm_ask(move->hosts[MOVE_SOURCE], move->report->vm_uuid, &vm, NULL) &&
			 (vm.state == HOST_VM_ABSENT || vm.state == HOST_VM_OFF);
}

void advice_explain_ended(struct move *move, GError **error)
{
	struct looking looking = { .move = move };
	g_autofree char *next = error_next(*error);
	if (next || move->offline || !move->domain || !move->hosts[MOVE_SOURCE] ||
	    !move->report->vm_uuid || (*error)->code != WATARI_ERROR_REFUSED)
		return;
	move_call(move, call_look_for_end, &looking);
	if (!looking.ended)
		return;
	g_autofree char *what = error_what(*error);
	g_clear_error(error);
	error_set(error, WATARI_ERROR_REFUSED,
		  _("Start it where it was, or move it while it is off (--offline)."),
		  _("“%s” ended at %s before anything had moved (%s)"), move->report->vm_name,
		  name_of_host(move, MOVE_SOURCE), what);
}
