/* SPDX-License-Identifier: Apache-2.0 */
/* The checks and the doctor by themselves, one finding a line: result, check, what -> next.
 *
 *	host-look doctor HOST
 *	host-look check SOURCE DESTINATION VM
 *	host-look vm HOST UUID
 */
#include "host/checks/check.h"
#include "host/checks/doctor.h"

#include <stdio.h>
#include <string.h>

static void fail(GError *error)
{
	fprintf(stderr, "%s\n", error->message);
	exit(2);
}

static struct host_address *parse(const char *text)
{
	GError *error = NULL;
	struct host_address *address = host_address_parse(text, &error);
	if (!address)
		fail(error);
	return address;
}

static void print_findings(GPtrArray *findings)
{
	for (unsigned i = 0; i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		printf("%s\t%s\t%s\t%s\n", check_result_name(finding->result), finding->check,
		       finding->what ? finding->what : "", finding->next ? finding->next : "");
	}
	g_ptr_array_unref(findings);
}

static void doctor(char **argv)
{
	GError *error = NULL;
	struct host_address *address = parse(argv[2]);
	g_autoptr(GPtrArray) others = doctor_new_others();
	GPtrArray *findings = doctor_run(NULL, address, others, &error);
	if (!findings)
		fail(error);
	print_findings(findings);
	host_address_free(address);
}

static struct host *open_host(struct guard *guard, enum guard_side side,
			      struct host_address *address)
{
	GError *error = NULL;
	struct host *host = host_open_guarded(guard, side, NULL, address, &error);
	if (!host)
		fail(error);
	return host;
}

static void check(char **argv)
{
	GError *error = NULL;
	struct guard *guard = guard_new(NULL);
	struct host_address *addresses[] = { parse(argv[2]), parse(argv[3]) };
	struct host *source = open_host(guard, GUARD_SOURCE, addresses[0]);
	struct host *destination = open_host(guard, GUARD_DESTINATION, addresses[1]);
	virDomainPtr domain = check_find_domain(source, argv[4], &error);
	GPtrArray *findings = domain ? check_run(source, domain, destination, NULL, &error) : NULL;
	if (!findings)
		fail(error);
	print_findings(findings);
	GPtrArray *paths = check_list_shared_paths(domain, &error);
	if (!paths)
		fail(error);
	for (unsigned i = 0; i < paths->len; i++) {
		const struct check_shared_path *path = paths->pdata[i];
		printf("path\t%s\t%s\t%s%s\n", path->target, path->path,
		       path->kind == CHECK_PATH_FILE ? "file" : "block",
		       path->writable ? " writable" : "");
	}
	g_ptr_array_unref(paths);
	virDomainFree(domain);
	host_free(source);
	host_free(destination);
	guard_free(guard);
	for (unsigned i = 0; i < 2; i++)
		host_address_free(addresses[i]);
}

static void ask_vm(char **argv)
{
	GError *error = NULL;
	struct host_vm vm;
	struct guard *guard = guard_new(NULL);
	struct host_address *address = parse(argv[2]);
	struct host *host = open_host(guard, GUARD_SOURCE, address);
	if (!host_vm_ask(host, argv[3], &vm, &error))
		fail(error);
	printf("%s\t%s\t%s\t%s\n", host_vm_state_name(vm.state), host_vm_reason_name(&vm),
	       vm.persistent ? "persistent" : "transient", vm.busy ? "busy" : "idle");
	host_free(host);
	guard_free(guard);
	host_address_free(address);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "doctor"))
		doctor(argv);
	else if (argc == 5 && !strcmp(argv[1], "check"))
		check(argv);
	else if (argc == 4 && !strcmp(argv[1], "vm"))
		ask_vm(argv);
	else
		return 2;
	return 0;
}
