/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of disks and other files of the VM, and the list of what must be seen from both hosts. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <libvirt/virterror.h>
#include <string.h>
#include <sys/stat.h>

static void free_path(gpointer data)
{
	struct check_shared_path *path = data;
	g_free(path->target);
	g_free(path->path);
	g_free(path);
}

static void add_path(GPtrArray *paths, const char *target, const char *path,
		     enum check_path_kind kind, bool writable)
{
	if (!path || !*path)
		return;
	for (unsigned i = 0; i < paths->len; i++) {
		struct check_shared_path *known = paths->pdata[i];
		if (strcmp(known->path, path) == 0) {
			known->writable = known->writable || writable;
			return;
		}
	}
	struct check_shared_path *entry = g_new0(struct check_shared_path, 1);
	*entry = (struct check_shared_path){ g_strdup(target), g_strdup(path), kind, writable };
	g_ptr_array_add(paths, entry);
}

static void add_source(struct xml *vm, xmlNodePtr node, const char *target, bool writable,
		       GPtrArray *paths)
{
	g_autofree char *file = xml_string(vm, node, "source/@file");
	g_autofree char *device = xml_string(vm, node, "source/@dev");
	add_path(paths, target, file, CHECK_PATH_FILE, writable);
	add_path(paths, target, device, CHECK_PATH_BLOCK, writable);
}

/* A disk and all it stands on. */
static void add_disk(struct xml *vm, xmlNodePtr disk, GPtrArray *paths)
{
	g_autofree char *target = xml_string(vm, disk, "target/@dev");
	g_autofree char *device = xml_string(vm, disk, "@device");
	bool writable = !xml_has(vm, disk, "readonly") && g_strcmp0(device, "cdrom") != 0;
	add_source(vm, disk, target, writable, paths);
	g_autoptr(GPtrArray) backing = xml_find(vm, disk, ".//backingStore");
	for (unsigned i = 0; i < backing->len; i++)
		add_source(vm, backing->pdata[i], target, false, paths);
}

/* What QEMU opens when it starts, beside the disks. The NVRAM's contents travel with the memory. */
static const struct {
	const char *target, *path;
} files[] = {
	{ "kernel", "os/kernel" }, { "initrd", "os/initrd" },   { "dtb", "os/dtb" },
	{ "loader", "os/loader" }, { "acpi", "os/acpi/table" },
};

GPtrArray *check_list_shared_paths(virDomainPtr domain, GError **error)
{
	char *text = virDomainGetXMLDesc(domain, 0);
	struct xml *vm = text ? xml_read(text, error) : NULL;
	if (!text)
		host_error(error, WATARI_ERROR_REFUSED, NULL, virDomainGetName(domain));
	free(text);
	if (!vm)
		return NULL;
	GPtrArray *paths = g_ptr_array_new_with_free_func(free_path);
	g_autoptr(GPtrArray) disks = xml_find(vm, NULL, "devices/disk");
	for (unsigned i = 0; i < disks->len; i++)
		add_disk(vm, disks->pdata[i], paths);
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = xml_path(vm, NULL, files[i].path);
		add_path(paths, files[i].target, path, CHECK_PATH_FILE, false);
	}
	xml_free(vm);
	return paths;
}

/* ---- the checks ---- */

struct asked_disk {
	char *target, *type, *check;
	bool moves;     /* written to, and may be copied: the destination need not have it */
	bool removable; /* can be ejected */
};

static void check_network_disk(struct check_context *context, xmlNodePtr node,
			       const struct asked_disk *disk)
{
	g_autofree char *host = xml_string(context->vm, node, "source/host/@name");
	bool local = xml_has(context->vm, node, "source/host[@transport='unix']") ||
		     (host && (!strcmp(host, "localhost") || g_str_has_prefix(host, "127.") ||
			       !strcmp(host, "::1")));
	if (local)
		check_add(context->findings, disk->check, CHECK_REFUSE,
			  _("Move the disk to storage that both hosts reach under one name."),
			  _("the disk %s of “%s” comes from a server that only %s itself reaches "
			    "(localhost or a socket)"),
			  disk->target, context->name, context->source->name);
	else
		check_add(context->findings, disk->check, CHECK_PASS, NULL, NULL);
}

static void check_volume_disk(struct check_context *context, xmlNodePtr node,
			      const struct asked_disk *disk)
{
	g_autofree char *name = xml_string(context->vm, node, "source/@pool");
	virStoragePoolPtr pool =
		name ? virStoragePoolLookupByName(context->destination->connection, name) : NULL;
	bool active = pool && virStoragePoolIsActive(pool) == 1;
	if (pool)
		virStoragePoolFree(pool);
	if (active || disk->moves)
		check_add(context->findings, disk->check, CHECK_PASS, NULL, NULL);
	else
		check_add(context->findings, disk->check, CHECK_REFUSE,
			  _("Define and start a pool of that name there, over the same storage."),
			  _("the disk %s of “%s” lies in the storage pool “%s”, which %s does not "
			    "have or has not started"),
			  disk->target, context->name, name ? name : "?",
			  context->destination->name);
}

static const char *missing_next(struct check_context *context, const struct asked_disk *disk)
{
	if (context->defined && strcmp(disk->type, "block") == 0)
		return _("Set it up there, or take it out of the definition (virsh detach-disk "
			 "--config): a block device that the running VM does not have is not "
			 "copied.");
	if (disk->removable)
		return _(
			"Eject it (virsh change-media VM DISK --eject), or copy it there under the "
			"same path.");
	if (context->options->disks_stay)
		return _("Leave --disks shared out, and it is copied; or put it on storage that "
			 "both "
			 "hosts see under the same path.");
	return _("Nobody writes to it: copy it there under the same path.");
}

static void check_local_disk(struct check_context *context, xmlNodePtr node,
			     const struct asked_disk *disk)
{
	g_autofree char *path =
		xml_string(context->vm, node, "source/@file | source/@dev | source/@dir");
	bool block = strcmp(disk->type, "block") == 0;
	bool file = strcmp(disk->type, "file") == 0;
	/* what is only read is copied, too, if it is not there */
	bool copied =
		(disk->moves && strcmp(disk->type, "dir") != 0) ||
		(file && !context->options->disks_stay) ||
		(file && context->defined && !disk->removable && !context->options->files_stay);
	/* an empty drive; or what is there, and whether it is the same, is found out later */
	if (!path || copied) {
		check_add(context->findings, disk->check, CHECK_PASS, NULL, NULL);
		return;
	}
	g_autoptr(GPtrArray) words = g_ptr_array_new();
	g_ptr_array_add(words, path);
	g_auto(GStrv) missing = check_missing_there(context, block ? "-b" : "-e", "", words);
	if (!missing)
		check_add(context->findings, disk->check, CHECK_WARN, NULL,
			  _("whether %s sees the disk %s (%s) could not be asked over the shell"),
			  context->destination->name, disk->target, path);
	else if (missing[0] && *missing[0])
		check_add(context->findings, disk->check, CHECK_REFUSE, missing_next(context, disk),
			  _("%s does not see the disk %s of “%s” (%s)"), context->destination->name,
			  disk->target, context->name, path);
	else /* that it is the same is proven by its content, in “share” */
		check_add(context->findings, disk->check, CHECK_PASS, NULL, NULL);
}

static void refuse_disk(struct check_context *context, xmlNodePtr node,
			const struct asked_disk *disk)
{
	bool off = context->options->offline;
	check_add(context->findings, disk->check, off ? CHECK_WARN : CHECK_REFUSE,
		  off ? _("See that the destination has it.")
		      : _("Detach it, or move the VM while it is off (--offline)."),
		  _("the disk %s of “%s” is of the kind “%s”, which is bound to its host"),
		  disk->target, context->name, disk->type);
}

static const struct {
	const char *type;
	void (*check)(struct check_context *context, xmlNodePtr node,
		      const struct asked_disk *disk);
} disk_types[] = {
	{ "file", check_local_disk },    { "block", check_local_disk },
	{ "dir", check_local_disk },     { "network", check_network_disk },
	{ "volume", check_volume_disk }, { "nvme", refuse_disk },
	{ "vhostuser", refuse_disk },    { "vhostvdpa", refuse_disk },
};

static void check_one_disk(struct check_context *context, xmlNodePtr node)
{
	g_autofree char *target = xml_string(context->vm, node, "target/@dev");
	g_autofree char *type = xml_string(context->vm, node, "@type");
	g_autofree char *check = g_strdup_printf("disk:%s", target ? target : "?");
	g_autofree char *device = xml_string(context->vm, node, "@device");
	bool removable = g_strcmp0(device, "cdrom") == 0 || g_strcmp0(device, "floppy") == 0;
	bool writable = !xml_has(context->vm, node, "readonly") && g_strcmp0(device, "cdrom") != 0;
	struct asked_disk disk = { target, type, check, writable && !context->options->disks_stay,
				   removable };
	if (xml_has(context->vm, node, "transient") && !context->options->offline) {
		check_add(context->findings, check, CHECK_REFUSE,
			  _("Move the VM while it is off (--offline), or start it without "
			    "<transient/>."),
			  _("the disk %s of “%s” is transient: what was written to it since the "
			    "start exists only here"),
			  target, context->name);
		return;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(disk_types); i++)
		if (g_strcmp0(type, disk_types[i].type) == 0) {
			disk_types[i].check(context, node, &disk);
			return;
		}
	refuse_disk(context, node, &disk);
}

/* Kernel, firmware and the like must be there as well, or QEMU does not start. */
static void check_files(struct check_context *context)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = xml_path(context->vm, NULL, files[i].path);
		if (!path || !*path)
			continue;
		g_autofree char *check = g_strdup_printf("file:%s", files[i].target);
		g_autoptr(GPtrArray) words = g_ptr_array_new();
		g_ptr_array_add(words, path);
		g_auto(GStrv) missing = check_missing_there(context, "-e", "", words);
		/* what is no package's is copied */
		bool stays = context->options->disks_stay || g_str_has_prefix(path, "/usr/");
		if (stays && missing && missing[0] && *missing[0])
			check_add(
				context->findings, check, CHECK_REFUSE,
				_("Install the package that it belongs to there, or copy it there "
				  "under the same path."),
				_("%s has no %s, which “%s” starts with"),
				context->destination->name, path, context->name);
		else
			check_add(context->findings, check, CHECK_PASS, NULL, NULL);
	}
}

void check_disks(struct check_context *context)
{
	g_autoptr(GPtrArray) disks = xml_find(context->vm, NULL, "devices/disk");
	for (unsigned i = 0; i < disks->len; i++)
		check_one_disk(context, disks->pdata[i]);
	check_files(context);
}
