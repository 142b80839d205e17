/* SPDX-License-Identifier: Apache-2.0 */
/* Which refusals are judgements that the user may overrule (--accept), and which keep the VM safe. */
#include "host/checks/check.h"

#include "base/error.h"
#include "base/i18n.h"

#include <string.h>

/* Every check by its name; of "disk:vda" the part before the colon. A check without a reason judges:
 * if it is wrong the VM moves, and if it is right libvirt or QEMU at the destination refuse the VM
 * or it is worse off there, but nothing of it is lost. */
static const struct {
	const char *name;
	const char *keeps; /* why it cannot be overruled; NULL: it can */
} checks[] = {
	{ "vm",
	  N_("a VM in such a state has nothing that could be moved, or must be seen to first") },
	{ "same-host", N_("a move has two ends, which libvirt must be able to tell apart") },
	{ "name", N_("one host cannot have two VMs of one name") },
	{ "uuid", N_("two copies of one VM must not exist") },
	{ "earlier-move", NULL },
	{ "job", N_("two operations on one VM would break each other") },
	{ "block-job", N_("two operations on one disk would break each other") },
	{ "libvirt-version", NULL },
	{ "qemu-version", NULL },
	{ "machine", NULL },
	{ "cpu", NULL },
	{ "tsc", NULL },
	{ "memory", NULL },
	{ "huge-pages", NULL },
	{ "placement", NULL },
	{ "disk", N_("the VM would lose its disk, or go on with another one") },
	{ "access", NULL },
	{ "file", N_("the VM would lose what it reads, or go on with something else") },
	{ "bitmaps", NULL },
	{ "image", NULL },
	{ "locks", N_("nothing would keep a second VM off its disks") },
	{ "secret", NULL },
	{ "hostdev", NULL },
	{ "filesystem", NULL },
	{ "device", NULL },
	{ "graphics", NULL },
	{ "socket", NULL },
	{ "offer", NULL },
	{ "network", NULL },
	{ "filter", NULL },
	{ "security", NULL },
	{ "agent", NULL },
	{ "postcopy", N_("post-copy that fails half-way loses the VM") },
	{ "tcg", NULL },
	{ "autostart", NULL },
	{ "checkpoints", NULL },
	{ "definition", NULL },
	{ "mapping", NULL },
	{ "path", NULL },
	{ "log", NULL },
	{ "log", NULL },
	{ "snapshots", N_("snapshots would be lost") },
	{ "persistence", N_("what was saved of the VM would be lost") },
	{ "blockers", N_("libvirt and QEMU themselves refuse it") },
	/* of a plan or rehearsal, which only warn */
	{ "speed", NULL },
	{ "load", NULL },
	{ "clock", NULL },
	{ "link", NULL },
	{ "convergence", NULL },
};

/* The index of the check that NAME ("network:br0") is one of; -1: there is none. */
static int find_check(const char *name)
{
	size_t length = strcspn(name, ":");
	for (size_t i = 0; i < G_N_ELEMENTS(checks); i++)
		if (strlen(checks[i].name) == length && memcmp(checks[i].name, name, length) == 0)
			return (int) i;
	return -1;
}

bool check_can_accept(const char *name)
{
	int index = find_check(name);
	return index >= 0 && !checks[index].keeps;
}

char **check_list_acceptable(void)
{
	g_autoptr(GStrvBuilder) names = g_strv_builder_new();
	for (size_t i = 0; i < G_N_ELEMENTS(checks); i++)
		if (!checks[i].keeps)
			g_strv_builder_add(names, checks[i].name);
	return g_strv_builder_end(names);
}

bool check_accept_names(const char *const *names, GError **error)
{
	for (; *names; names++) {
		int index = find_check(*names);
		if (index < 0)
			return error_set(
				error, WATARI_ERROR_USAGE,
				_("“watari plan VM DEST” shows the checks by their names."),
				_("--accept: there is no check “%s”"), *names);
		if (checks[index].keeps)
			return error_set(error, WATARI_ERROR_USAGE,
					 _("Leave it out, and do what the check says."),
					 _("--accept: the check “%s” cannot be overruled: %s"),
					 *names, _(checks[index].keeps));
	}
	return true;
}

/* Returns true when the check NAME had refused. */
static bool accept_one(const GPtrArray *findings, const char *name)
{
	bool found = false;
	for (unsigned i = 0; i < findings->len; i++) {
		struct check_finding *finding = findings->pdata[i];
		if (strcmp(finding->check, name) != 0)
			continue;
		/* the same name may be given twice */
		found = found || finding->accepted;
		if (finding->result != CHECK_REFUSE || !check_can_accept(name))
			continue;
		finding->result = CHECK_WARN;
		finding->accepted = found = true;
	}
	return found;
}

char **check_accept(const GPtrArray *findings, const char *const *names)
{
	g_autoptr(GStrvBuilder) unneeded = g_strv_builder_new();
	for (; *names; names++)
		if (!accept_one(findings, *names))
			g_strv_builder_add(unneeded, *names);
	return g_strv_builder_end(unneeded);
}

char *check_suggest_accept(const GPtrArray *findings)
{
	g_autoptr(GString) options = g_string_new(NULL);
	for (unsigned i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		g_autofree char *option = g_strdup_printf(" --accept %s", finding->check);
		if (finding->result != CHECK_REFUSE)
			continue;
		if (!check_can_accept(finding->check))
			return NULL;
		/* names are interned words, and one may begin like another */
		g_autofree char *whole = g_strconcat(options->str, " ", NULL);
		g_autofree char *word = g_strconcat(option, " ", NULL);
		if (!strstr(whole, word))
			g_string_append(options, option);
	}
	return options->len > 0 ? g_strdup(options->str + 1) : NULL;
}
