/* SPDX-License-Identifier: Apache-2.0 */
/* Check of the guest agent. A move does not need one; a guest whose agent hangs may hang itself, and
 * after a long stop only an agent (or the guest's own time service) puts the guest's clock right. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#define ANSWER_S 2

/* libvirt waits for a dead agent for 5 to 10 s, and a shorter time can only be set for good, which
 * would change the VM. Asked in a thread of ours, it holds up other calls on the connection: the
 * client library of libvirt before 10 loses wake-ups. So virsh asks there, for as long as we like. */
static const char script[] =
	"command -v virsh >/dev/null && command -v timeout >/dev/null || exit 0; "
	"timeout \"$1\" virsh -q -c qemu:///system domtime \"$2\" </dev/null "
	">/dev/null 2>&1; case $? in 0) echo yes;; 124) echo no;; esac";

enum answer { ANSWER_UNKNOWN, ANSWER_YES, ANSWER_NO };

static enum answer ask_agent(struct check_context *context)
{
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	virDomainGetUUIDString(context->domain, uuid);
	const char *const argv[] = { "sh", "-c", script, "sh", G_STRINGIFY(ANSWER_S), uuid, NULL };
	g_autofree char *output = NULL;
	if (!remote_run(context->options->shell, context->source->address, argv, 20000, &output,
			NULL, NULL))
		return ANSWER_UNKNOWN;
	return g_str_has_prefix(output, "yes")  ? ANSWER_YES
	       : g_str_has_prefix(output, "no") ? ANSWER_NO
						: ANSWER_UNKNOWN;
}

static void report_answer(struct check_context *context, enum answer answer)
{
	if (answer == ANSWER_NO)
		check_add(context->findings, "agent", CHECK_WARN,
			  _("See whether the guest hangs, or restart qemu-guest-agent in it; the "
			    "move itself does not need it."),
			  _("the guest agent of “%s” did not answer within %d s"), context->name,
			  ANSWER_S);
	else if (answer == ANSWER_YES)
		check_add(context->findings, "agent", CHECK_PASS, NULL,
			  _("the guest agent of “%s” answers"), context->name);
	else
		check_add(context->findings, "agent", CHECK_PASS, NULL, NULL);
}

void check_agent(struct check_context *context)
{
	static const char channel[] = "devices/channel/target[@name='org.qemu.guest_agent.0']";
	static const char open[] =
		"devices/channel/target[@name='org.qemu.guest_agent.0' and @state='connected']";
	int state = VIR_DOMAIN_NOSTATE;
	virDomainGetState(context->domain, &state, NULL, 0);
	if (!xml_has(context->vm, NULL, channel))
		check_add(context->findings, "agent", CHECK_PASS, NULL,
			  _("“%s” has no channel for a guest agent: after a long stop nobody but "
			    "the guest itself sets its clock"),
			  context->name);
	else if (!xml_has(context->vm, NULL, open))
		check_add(context->findings, "agent", CHECK_PASS, NULL,
			  _("no guest agent runs in “%s”: after a long stop nobody but the guest "
			    "itself sets its clock"),
			  context->name);
	else
		report_answer(context,
			      state == VIR_DOMAIN_RUNNING ? ask_agent(context) : ANSWER_UNKNOWN);
}
