/* SPDX-License-Identifier: Apache-2.0 */
/* What to do about a move that failed in libvirt's own words. See qemu_errors.h. */
#include "conductor/live/qemu_errors.h"

#include "base/i18n.h"

#include <glib.h>
#include <string.h>

/* libvirt and QEMU have no codes for these. Where QEMU dies or a file cannot be opened it is the
 * destination's, which makes the new QEMU; the source's runs already. */
static const struct {
	const char *words;
	const char *next; /* %s: the destination */
} known[] = {
	{ "ermission denied",
	  N_("See at %s whether QEMU's user may open what is named there and enter all directories "
	     "above it (namei -l PATH), and whether AppArmor or SELinux forbids it (journalctl "
	     "-k).") },
	{ "annot access storage file", N_("See at %s whether what is named is there and QEMU's "
					  "user may open it (namei -l PATH).") },
	{ "o such file or directory",
	  N_("Make what is named at %s, or put it on storage that both hosts see.") },
	{ "o such device", N_("Set up what is named at %s: a bridge, a network card, a device.") },
	{ "ddress already in use", N_("Free that port at %s, or give the VM another one.") },
	{ "ailed to bind",
	  N_("Let the VM listen on an address that %s has and nobody uses there.") },
	{ "annot assign requested address",
	  N_("Let the VM listen on an address that %s has, such as 0.0.0.0 or 127.0.0.1.") },
	{ "annot allocate memory", N_("Make room in the memory of %s, and try again.") },
	{ "o space left on device", N_("Make room on the disks of %s, and try again.") },
	{ "CPU feature",
	  N_("Give the VM a CPU model that %s has as well; it takes effect when it is started "
	     "again.") },
	{ "doesn't match specification",
	  N_("Give the VM a CPU model that %s has as well; it takes effect when it is started "
	     "again.") },
	{ "etwork not found", N_("Define and start a network of that name at %s.") },
	{ "o network with matching name", N_("Define and start a network of that name at %s.") },
	{ "ailed to get \"write\" lock",
	  N_("See who uses the image (fuser, lsof), at %s and everywhere else that sees it.") },
};

char *qemu_error_advise(const char *says, const char *vm, const char *here, const char *there,
			bool disks)
{
	for (size_t i = 0; says && i < G_N_ELEMENTS(known); i++) {
		if (!strstr(says, known[i].words))
			continue;
		g_autoptr(GString) next = g_string_new(_(known[i].next));
		g_string_replace(next, "%s", there, 1);
		return g_strdup(next->str);
	}
	/* qemu's own log is where the reason stands that libvirt cuts short */
	return g_strdup_printf(disks ? _("See /var/log/libvirt/qemu/%s.log at %s, and at %s, from "
					 "whose images the "
					 "disks are read.")
				     : _("See /var/log/libvirt/qemu/%s.log at %s, and at %s."),
			       vm, there, here);
}
