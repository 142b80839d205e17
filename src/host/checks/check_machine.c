/* SPDX-License-Identifier: Apache-2.0 */
/* Check of machine type, KVM and emulator. A machine type that the destination does not know is too
 * new for its QEMU, or so old that it was dropped there, or another distribution's: three cures. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

/* "pc-q35-7.2": the family is "pc-q35-", the version 7.2; of "pc-q35-rhel9.2.0" the family has the
 * distribution in it. */
struct machine_name {
	size_t family;    /* length */
	int major, minor; /* major 0: it has no version */
};

static struct machine_name read_machine(const char *name)
{
	const char *dash = strrchr(name, '-');
	const char *digits = dash ? dash + 1 + strcspn(dash + 1, "0123456789") : name;
	struct machine_name machine = { .family = (size_t) (digits - name) };
	char *end = NULL;
	if (!dash || !*digits)
		return (struct machine_name){ .family = dash ? (size_t) (dash + 1 - name) : 0 };
	machine.major = (int) g_ascii_strtoll(digits, &end, 10);
	machine.minor = *end == '.' ? (int) g_ascii_strtoll(end + 1, NULL, 10) : 0;
	return machine;
}

static int compare_machines(struct machine_name one, struct machine_name other)
{
	return one.major != other.major   ? (one.major < other.major ? -1 : 1)
	       : one.minor != other.minor ? (one.minor < other.minor ? -1 : 1)
					  : 0;
}

/* What the destination has of the family of NAME: older ones, newer ones. */
struct relatives {
	unsigned older, newer;
};

static struct relatives count_relatives(struct check_context *context, const char *name)
{
	struct relatives relatives = { 0 };
	struct machine_name wanted = read_machine(name);
	g_autoptr(GPtrArray) nodes =
		xml_find(context->destination_capabilities, NULL, "guest/arch/machine");
	for (unsigned i = 0; wanted.major > 0 && i < nodes->len; i++) {
		g_autofree char *other =
			xml_string(context->destination_capabilities, nodes->pdata[i], ".");
		struct machine_name known = read_machine(other);
		if (known.major == 0 || known.family != wanted.family ||
		    strncmp(other, name, wanted.family) != 0)
			continue;
		relatives.older += compare_machines(known, wanted) < 0;
		relatives.newer += compare_machines(known, wanted) > 0;
	}
	return relatives;
}

/* Where the names tell nothing, the versions of QEMU do. */
static const char *machine_cure(struct check_context *context)
{
	struct relatives relatives = count_relatives(context, context->machine);
	bool newer_there = context->destination->qemu_version > context->source->qemu_version;
	bool versioned = read_machine(context->machine).major > 0;
	if (relatives.older > 0 && relatives.newer == 0)
		return _("Update QEMU there, or give the VM an older machine type (takes effect "
			 "when it is started again).");
	if (relatives.newer > 0)
		return _("Give the VM a newer machine type, which both hosts have, and start it "
			 "again (a restart from inside is not enough): QEMU there has dropped the "
			 "old one.");
	if (versioned && newer_there)
		return _("Give the VM a machine type that both hosts have (virsh domcapabilities), "
			 "and start it again: QEMU there may have dropped this one.");
	return _("Give the VM a machine type that both hosts have (virsh domcapabilities), which "
		 "takes effect when it is started again, or choose a host with the same "
		 "distribution's QEMU.");
}

void check_refuse_machine(struct check_context *context)
{
	struct relatives relatives = count_relatives(context, context->machine);
	g_autofree char *version = host_format_version(context->destination->qemu_version);
	const char *why = relatives.older > 0 && relatives.newer == 0 ? _("it is too old for it")
			  : relatives.newer > 0 ? _("it is too new and has dropped it")
						: _("it does not know it");
	check_add(context->findings, "machine", CHECK_REFUSE, machine_cure(context),
		  _("%s (QEMU %s) cannot run the machine type %s (%s) of “%s”: %s"),
		  context->destination->name, version, context->machine, context->arch,
		  context->name, why);
}

static void refuse_kvm_or_machine(struct check_context *context)
{
	struct xml *any = check_ask_domain(context->destination, context, NULL, NULL);
	if (any && g_strcmp0(context->virt_type, "kvm") == 0)
		check_add(context->findings, "machine", CHECK_REFUSE,
			  _("See whether /dev/kvm exists there and virtualization is on in its "
			    "firmware."),
			  _("“%s” runs with KVM and %s has none"), context->name,
			  context->destination->name);
	else
		check_refuse_machine(context);
	xml_free(any);
}

void check_machine(struct check_context *context)
{
	context->destination_domain =
		check_ask_domain(context->destination, context, NULL, context->virt_type);
	if (!context->destination_domain) {
		refuse_kvm_or_machine(context);
		return;
	}
	struct xml *same = context->emulator
				   ? check_ask_domain(context->destination, context,
						      context->emulator, context->virt_type)
				   : NULL;
	if (context->emulator && !same)
		check_add(context->findings, "machine", CHECK_REFUSE,
			  _("Install that emulator there, or link it to the one that is there."),
			  _("“%s” runs with the emulator %s, which %s does not have"),
			  context->name, context->emulator, context->destination->name);
	else
		check_add(context->findings, "machine", CHECK_PASS, NULL, NULL);
	/* what the VM's own emulator can do there is what counts further on */
	if (same) {
		xml_free(context->destination_domain);
		context->destination_domain = same;
	}
}
