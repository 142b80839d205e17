/* SPDX-License-Identifier: Apache-2.0 */
/* Check that QEMU's user at the destination can come to the VM's files: it must be allowed to search every directory
 * above them, which libvirt never changes, and to read what libvirt does not give to it. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <stdio.h>
#include <string.h>

enum { ASK_MS = 20000 };

/* A file of the VM, and how it is named in messages. */
struct reached {
	char *target, *path;
	char mode; /* 'd': its directories; 'r': read, unless libvirt gives it to QEMU; 'R': read always */
};

static void free_reached(gpointer data)
{
	struct reached *reached = data;
	g_free(reached->target);
	g_free(reached->path);
	g_free(reached);
}

static void add_reached(GPtrArray *all, const char *target, char *path, char mode)
{
	if (!path || *path != '/') {
		g_free(path);
		return;
	}
	struct reached *reached = g_new0(struct reached, 1);
	*reached = (struct reached){ g_strdup(target), path, mode };
	g_ptr_array_add(all, reached);
}

/* Where --disk puts it; NULL: nothing is said. */
static const char *find_place_of_file(const struct check_context *context, const char *target)
{
	const char *const *places = context->options->disk_places;
	for (; places && *places; places++) {
		const char *equals = strchr(*places, '=');
		size_t length = equals ? (size_t) (equals - *places) : 0;
		if (length && strlen(target) == length && strncmp(*places, target, length) == 0)
			return equals + 1;
	}
	return NULL;
}

static void add_disk_paths(struct check_context *context, xmlNodePtr node, GPtrArray *all)
{
	g_autofree char *target = xml_string(context->vm, node, "target/@dev");
	g_autofree char *device = xml_string(context->vm, node, "@device");
	bool reads = xml_has(context->vm, node, "readonly") || g_strcmp0(device, "cdrom") == 0;
	const char *place = target ? find_place_of_file(context, target) : NULL;
	add_reached(all, target,
		    place ? g_strdup(place)
			  : xml_string(context->vm, node, "source/@file | source/@dir"),
		    reads ? 'r' : 'd');
}

static const struct {
	const char *target, *path;
	char mode;
} files[] = {
	{ "kernel", "os/kernel", 'r' }, { "initrd", "os/initrd", 'r' }, { "dtb", "os/dtb", 'r' },
	{ "loader", "os/loader", 'R' }, { "nvram", "os/nvram", 'd' },
};

static GPtrArray *list_reached(struct check_context *context)
{
	GPtrArray *all = g_ptr_array_new_with_free_func(free_reached);
	g_autoptr(GPtrArray) disks = xml_find(context->vm, NULL, "devices/disk");
	for (guint i = 0; i < disks->len; i++)
		add_disk_paths(context, disks->pdata[i], all);
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
		add_reached(all, files[i].target, xml_path(context->vm, NULL, files[i].path),
			    files[i].mode);
	return all;
}

/* ---- asking ---- */

/* "N K": of the Nth path the Kth directory is closed, or (0) it cannot be read. What is not there says nothing. Where
 * the user cannot be tried, nothing is said. */
static const char ask_script[] =
	"u=$1 g=$2; shift 2\n"
	"test \"$(id -u)\" = 0 && command -v setpriv >/dev/null || exit 0\n"
	"setpriv --reuid=\"$u\" --regid=\"$g\" --init-groups true 2>/dev/null || exit 0\n"
	"f=1; grep -qsE '^[[:space:]]*dynamic_ownership[[:space:]]*=[[:space:]]*0' "
	"/etc/libvirt/qemu.conf && f=0\n"
	"exec setpriv --reuid=\"$u\" --regid=\"$g\" --init-groups sh -c '\n"
	"f=$1 n=0; shift\n"
	"for w; do\n"
	"  n=$((n + 1)) p=${w#?} k=0 d= c=; m=${w%\"$p\"} r=${p#/}\n"
	"  while :; do case $r in */*) ;; *) break ;; esac\n"
	"    d=$d/${r%%/*} r=${r#*/} k=$((k + 1))\n"
	"    test -d \"$d\" || { c=1; break; }\n"
	"    test -x \"$d\" || { echo $n $k; c=1; break; }\n"
	"  done\n"
	"  test -n \"$c\" -o \"$m\" = d -o ! -f \"$p\" || test \"$m$f\" = r1 -o -r \"$p\" || echo "
	"$n 0\n"
	"done' sh $f \"$@\"\n";

char *check_ask_access(const struct remote_shell *shell, const struct host_address *host, int uid,
		       int gid, const GPtrArray *words, GError **error)
{
	g_autofree char *user = g_strdup_printf("%d", uid), *group = g_strdup_printf("%d", gid);
	const char *const head[] = { "sh", "-c", ask_script, "sh", user, group };
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	char *output = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(argv, (gpointer) (uintptr_t) head[i]);
	for (guint i = 0; i < words->len; i++)
		g_ptr_array_add(argv, words->pdata[i]);
	g_ptr_array_add(argv, NULL);
	remote_run(shell, host, (const char *const *) argv->pdata, ASK_MS, &output, NULL, error);
	return output;
}

/* The path's first COUNT directories. */
static char *cut_path(const char *path, unsigned count)
{
	const char *end = path;
	for (unsigned i = 0; i < count && end; i++)
		end = strchr(end + 1, '/');
	return end ? g_strndup(path, (gsize) (end - path)) : g_strdup(path);
}

static void refuse_closed(struct check_context *context, const struct reached *reached,
			  unsigned directories)
{
	const struct host *there = context->destination;
	g_autofree char *check = g_strdup_printf("access:%s", reached->target);
	g_autofree char *closed = cut_path(reached->path, directories);
	if (directories)
		check_add(context->findings, check, CHECK_REFUSE,
			  _("Let it in there (chmod o+x, or setfacl -m u:UID:x), or use another "
			    "directory."),
			  _("QEMU's user at %s (%d) may not enter the directory %s, where “%s” "
			    "has %s (%s)"),
			  there->name, there->qemu_uid, closed, context->name, reached->target,
			  reached->path);
	else
		check_add(context->findings, check, CHECK_REFUSE,
			  _("Let it read the file there (chmod o+r, or chown)."),
			  _("QEMU's user at %s (%d) may not read %s, which “%s” has as %s"),
			  there->name, there->qemu_uid, reached->path, context->name,
			  reached->target);
}

static void take_access_answer(struct check_context *context, const GPtrArray *all,
			       const char *answer)
{
	g_auto(GStrv) lines = g_strsplit(answer, "\n", -1);
	for (char **line = lines; *line; line++) {
		unsigned number = 0, directories = 0;
		if (sscanf(*line, "%u %u", &number, &directories) == 2 && number >= 1 &&
		    number <= all->len)
			refuse_closed(context, all->pdata[number - 1], directories);
	}
}

void check_access(struct check_context *context)
{
	const struct host *there = context->destination;
	unsigned before = context->findings->len;
	g_autoptr(GPtrArray) all = list_reached(context);
	g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
	for (guint i = 0; i < all->len; i++) {
		const struct reached *reached = all->pdata[i];
		g_ptr_array_add(words, g_strdup_printf("%c%s", reached->mode, reached->path));
	}
	/* root may go anywhere */
	if (there->qemu_uid > 0 && there->qemu_gid >= 0 && words->len > 0) {
		g_autofree char *answer =
			check_ask_access(context->options->shell, there->address, there->qemu_uid,
					 there->qemu_gid, words, NULL);
		if (answer)
			take_access_answer(context, all, answer);
	}
	if (context->findings->len == before)
		check_add(context->findings, "access", CHECK_PASS, NULL, NULL);
}
