/* SPDX-License-Identifier: Apache-2.0 */
/* Check of the guest agent. A move does not need one; a guest whose agent hangs may hang itself, and
 * after a long stop only an agent (or the guest's own time service) puts the guest's clock right. */
#include "host/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>

#define ANSWER_S 2

/* libvirt waits for a dead agent for up to 10 s, and a shorter time can only be set for good, which
 * would change the VM. So it is asked aside, and is left alone when it takes longer: the question
 * ends by itself, at the latest with the connection. */
struct question {
	GMutex lock;
	GCond answered;
	virDomainPtr domain; /* the asking thread's own */
	unsigned holders;    /* under the lock */
	bool done, good;     /* under the lock */
};

static void release(struct question *question)
{
	g_mutex_lock(&question->lock);
	bool last = --question->holders == 0;
	g_mutex_unlock(&question->lock);
	if (!last)
		return;
	g_mutex_clear(&question->lock);
	g_cond_clear(&question->answered);
	g_free(question);
}

static gpointer ask(gpointer data)
{
	struct question *question = data;
	long long seconds = 0;
	unsigned nanoseconds = 0;
	bool good = virDomainGetTime(question->domain, &seconds, &nanoseconds, 0) == 0;
	virDomainFree(question->domain);
	g_mutex_lock(&question->lock);
	question->good = good;
	question->done = true;
	g_cond_signal(&question->answered);
	g_mutex_unlock(&question->lock);
	release(question);
	return NULL;
}

static bool does_answer(virDomainPtr domain)
{
	struct question *question = g_new0(struct question, 1);
	g_mutex_init(&question->lock);
	g_cond_init(&question->answered);
	question->holders = 2;
	question->domain = domain;
	virDomainRef(domain);
	g_thread_unref(g_thread_new("agent", ask, question));
	gint64 limit = g_get_monotonic_time() + ANSWER_S * G_TIME_SPAN_SECOND;
	g_mutex_lock(&question->lock);
	while (!question->done && g_cond_wait_until(&question->answered, &question->lock, limit))
		;
	bool good = question->good;
	g_mutex_unlock(&question->lock);
	release(question);
	return good;
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
	else if (state != VIR_DOMAIN_RUNNING)
		check_add(context->findings, "agent", CHECK_PASS, NULL, NULL);
	else if (!does_answer(context->domain))
		check_add(context->findings, "agent", CHECK_WARN,
			  _("See whether the guest hangs, or restart qemu-guest-agent in it; the "
			    "move itself does not need it."),
			  _("the guest agent of “%s” did not answer within %d s"), context->name,
			  ANSWER_S);
	else
		check_add(context->findings, "agent", CHECK_PASS, NULL,
			  _("the guest agent of “%s” answers"), context->name);
}
