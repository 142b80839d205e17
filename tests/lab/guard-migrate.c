/* SPDX-License-Identifier: Apache-2.0 */
/* One migration through the guard, with the reply to Finish held back while the test does harm.
 *
 *	guard-migrate [--plain] [--hold] SOURCE DESTINATION VM MIGRATION-URI
 *
 * --plain: the guard is never armed, so that it is nothing but a relay. --hold: when the reply to
 * Finish has come, "held PID" is printed (PID: the ssh of the destination's relay, -1: none) and a
 * line is awaited on stdin; the reply is never passed on. At the end one line:
 *
 *	done migrated=BOOL answer=WORD source-broken=BOOL destination-broken=BOOL ms=N error=TEXT
 */
#include "base/clock.h"
#include "host/host.h"

#include <libvirt/virterror.h>

#include <stdio.h>
#include <string.h>

static const char *const answers[] = {
	[GUARD_NOT_ASKED] = "not-asked", [GUARD_UNANSWERED] = "unanswered", [GUARD_RUNS] = "runs",
	[GUARD_FAILED] = "failed",       [GUARD_UNKNOWN] = "unknown",
};

static void hold(void *data)
{
	char line[64];
	printf("held %d\n", (int) guard_test_child(data, GUARD_DESTINATION));
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

static struct host *open_host(struct guard *guard, enum guard_side side, const char *text)
{
	GError *error = NULL;
	struct host_address *address = host_address_parse(text, &error);
	struct host *host = address ? host_open_guarded(guard, side, NULL, address, &error) : NULL;
	if (host)
		return host;
	fprintf(stderr, "%s\n", error->message);
	exit(2);
}

static void close_host(struct host *host)
{
	struct host_address *address = (struct host_address *) (uintptr_t) host->address;
	host_free(host);
	host_address_free(address);
}

static void print_end(struct guard *guard, bool migrated, int64_t ms)
{
	virErrorPtr last = virGetLastError();
	printf("done migrated=%d answer=%s source-broken=%d destination-broken=%d ms=%d error=%s\n",
	       migrated, answers[guard_answer(guard)], guard_is_broken(guard, GUARD_SOURCE, NULL),
	       guard_is_broken(guard, GUARD_DESTINATION, NULL), (int) ms,
	       !migrated && last && last->message ? last->message : "");
}

static void migrate(struct guard *guard, struct host *source, struct host *destination,
		    const char *vm, const char *uri)
{
	virTypedParameterPtr parameters = NULL;
	int count = 0, limit = 0;
	virDomainPtr domain = virDomainLookupByName(source->connection, vm);
	if (!domain) {
		fprintf(stderr, "%s: no such VM\n", vm);
		exit(2);
	}
	virTypedParamsAddString(&parameters, &count, &limit, VIR_MIGRATE_PARAM_URI, uri);
	int64_t start = clock_now_ms();
	virDomainPtr moved = virDomainMigrate3(domain, destination->connection, parameters,
					       (unsigned) count, VIR_MIGRATE_LIVE);
	print_end(guard, moved != NULL, clock_now_ms() - start);
	if (moved)
		virDomainFree(moved);
	virDomainFree(domain);
	virTypedParamsFree(parameters, count);
}

int main(int argc, char **argv)
{
	gboolean plain = FALSE, holding = FALSE;
	const GOptionEntry options[] = { { "plain", 0, 0, G_OPTION_ARG_NONE, &plain, "", NULL },
					 { "hold", 0, 0, G_OPTION_ARG_NONE, &holding, "", NULL },
					 { NULL } };
	g_autoptr(GOptionContext) context = g_option_context_new("SOURCE DESTINATION VM URI");
	g_option_context_add_main_entries(context, options, NULL);
	if (!g_option_context_parse(context, &argc, &argv, NULL) || argc != 5)
		return 2;
	struct guard *guard = guard_new(NULL);
	struct host *source = open_host(guard, GUARD_SOURCE, argv[1]);
	struct host *destination = open_host(guard, GUARD_DESTINATION, argv[2]);
	if (holding)
		guard_test_hold_finish(guard, hold, guard);
	if (!plain)
		guard_arm(guard);
	migrate(guard, source, destination, argv[3], argv[4]);
	guard_disarm(guard);
	close_host(source);
	close_host(destination);
	guard_free(guard);
	return 0;
}
