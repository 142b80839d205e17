/* SPDX-License-Identifier: Apache-2.0 */
/* Who else uses a file or block device? See disk_use.h. */
#include "host/disk_use.h"

#include "host/disk.h"
#include "host/xml.h"

#include <stdlib.h>

/* A command line has an end, so not all are asked for at once. */
enum { LOOK_MS = 30000, BATCH = 100 };

/* ---- what the VMs have ---- */

struct use {
	char *vm, *path;
};

static void free_use(gpointer data)
{
	struct use *use = data;
	g_free(use->vm);
	g_free(use->path);
	g_free(use);
}

static void add_use(GPtrArray *uses, virDomainPtr domain, const char *path)
{
	if (!path || *path != '/')
		return;
	struct use *use = g_new0(struct use, 1);
	use->vm = g_strdup(virDomainGetName(domain));
	use->path = g_strdup(path);
	g_ptr_array_add(uses, use);
}

/* Its firmware's variables. */
static void add_nvram(GPtrArray *uses, virDomainPtr domain, const char *text)
{
	struct xml *xml = xml_read(text, NULL);
	g_autofree char *plain = xml ? xml_path(xml, NULL, "os/nvram") : NULL;
	g_autofree char *source = xml ? xml_path(xml, NULL, "os/nvram/source/@file") : NULL;
	xml_free(xml);
	add_use(uses, domain, plain);
	add_use(uses, domain, source);
}

/* A running VM's disks may differ from those it is defined with. */
static void add_uses(GPtrArray *uses, virDomainPtr domain, unsigned flags)
{
	char *text = virDomainGetXMLDesc(domain, flags);
	g_autoptr(GPtrArray) disks = text ? disk_read_all(text, NULL) : NULL;
	if (text)
		add_nvram(uses, domain, text);
	for (guint i = 0; disks && i < disks->len; i++) {
		const struct disk *disk = disks->pdata[i];
		add_use(uses, domain, disk->path);
		for (char **path = disk->backing; *path; path++)
			add_use(uses, domain, *path);
	}
	free(text);
}

static bool is_other(virDomainPtr domain, const char *except_uuid)
{
	char uuid[VIR_UUID_STRING_BUFLEN];
	return virDomainGetUUIDString(domain, uuid) == 0 && g_strcmp0(uuid, except_uuid) != 0;
}

static GPtrArray *list_uses(struct host *host, const char *except_uuid, GError **error)
{
	virDomainPtr *domains = NULL;
	int count = virConnectListAllDomains(host->connection, &domains, 0);
	if (count < 0) {
		host_error(error, WATARI_ERROR_INTERNAL, NULL, host->name);
		return NULL;
	}
	GPtrArray *uses = g_ptr_array_new_with_free_func(free_use);
	for (int i = 0; i < count; i++) {
		if (is_other(domains[i], except_uuid)) {
			add_uses(uses, domains[i], 0);
			add_uses(uses, domains[i], VIR_DOMAIN_XML_INACTIVE);
		}
		virDomainFree(domains[i]);
	}
	free(domains);
	return uses;
}

/* ---- which of them is it? ---- */

/* The number of the first path that is the same file or device as the first one; nothing: none is. */
static const char look_script[] =
	"what() {\n"
	"  if test -b \"$1\"; then stat -L -c 'device %t:%T' -- \"$1\"\n"
	"  else stat -L -c 'file %d:%i' -- \"$1\"; fi 2>/dev/null\n"
	"}\n"
	"w=$(what \"$1\"); n=0; shift\n"
	"for p; do\n"
	"  test -n \"$w\" -a \"$(what \"$p\")\" = \"$w\" && echo $n && exit 0; n=$((n + 1))\n"
	"done; exit 0\n";

/* *found: the use, among COUNT from FIRST on, of the same thing under whatever name; or NULL. */
static bool find_same(const struct remote_shell *shell, struct host *host, const char *path,
		      const GPtrArray *uses, guint first, const struct use **found, GError **error)
{
	guint count = MIN(uses->len - first, BATCH);
	const char *const head[] = { "sh", "-c", look_script, "sh", path };
	const char *argv[G_N_ELEMENTS(head) + BATCH + 1] = { NULL };
	g_autofree char *output = NULL;
	for (guint i = 0; i < G_N_ELEMENTS(head); i++)
		argv[i] = head[i];
	for (guint i = 0; i < count; i++)
		argv[G_N_ELEMENTS(head) + i] = ((const struct use *) uses->pdata[first + i])->path;
	if (!remote_run(shell, host->address, argv, LOOK_MS, &output, NULL, error))
		return false;
	guint64 index = g_ascii_strtoull(output, NULL, 10);
	*found = *g_strchomp(output) && index < count ? uses->pdata[first + index] : NULL;
	return true;
}

char *disk_use_find(const struct remote_shell *shell, struct host *host, const char *path,
		    const char *except_uuid, GError **error)
{
	g_autoptr(GPtrArray) uses = list_uses(host, except_uuid, error);
	const struct use *found = NULL;
	for (guint i = 0; uses && i < uses->len && !found; i++)
		if (g_str_equal(((const struct use *) uses->pdata[i])->path, path))
			found = uses->pdata[i];
	for (guint i = 0; uses && i < uses->len && !found; i += BATCH)
		if (!find_same(shell, host, path, uses, i, &found, error))
			return NULL;
	return found ? g_strdup(found->vm) : NULL;
}
