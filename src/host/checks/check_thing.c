/* SPDX-License-Identifier: Apache-2.0 */
/* Check of everything else in the VM's description that names a thing of its host: device nodes,
 * sockets, scripts, programs. What is not there at the destination would end the move late, in
 * QEMU's words. */
#include "host/checks/checks.h"

#include "base/i18n.h"

#include <string.h>

/* How it is found out that a thing is there; words of the script below. */
#define FILE_THERE "file"
#define DEVICE_THERE "device"
#define SOCKET_THERE "socket"
#define FOLDER_THERE "folder" /* the directory that the path is in */
#define PIPE_THERE "pipe"
#define PROGRAM_THERE "program"
#define LINK_THERE "link" /* a network interface */

#define MAKE_IT N_("Make it there, or detach the device first: virsh detach-device.")
#define SERVE_IT                                                                                 \
	N_("Start what serves it there, with its socket at the same path, or detach the device " \
	   "first: virsh detach-device.")
#define INSTALL_IT N_("Install it there.")

/* From top to bottom as in libvirt's manual of the format. WORD: where PATH only tells that the VM
 * needs it; NULL: the thing is what stands at PATH. */
static const struct {
	const char *check, *kind, *path, *word, *what, *next;
} things[] = {
	{ "placement", PROGRAM_THERE,
	  "vcpu[@placement='auto'] | numatune/memory[@placement='auto']", "numad",
	  N_("the program that chooses processors"), INSTALL_IT },
	{ "placement", FILE_THERE, "cputune/cachetune | cputune/memorytune",
	  "/sys/fs/resctrl/schemata", N_("the kernel's allotment of caches"),
	  N_("Mount it there (mount -t resctrl resctrl /sys/fs/resctrl), if its processors can do "
	     "that.") },
	{ "device", FILE_THERE, "devices/*/rom/@file", NULL, N_("the ROM of a device"), MAKE_IT },
	{ "device", SOCKET_THERE,
	  "devices/disk[@type='vhostuser']/source/@path | "
	  "devices/interface[@type='vhostuser']/source[not(@mode='server')]/@path",
	  NULL, N_("the socket of a vhost-user device"), SERVE_IT },
	{ "device", FOLDER_THERE,
	  "devices/interface[@type='vhostuser']/source[@mode='server']/@path", NULL,
	  N_("the directory for the socket of a vhost-user device"), MAKE_IT },
	{ "device", PROGRAM_THERE,
	  "devices/interface/script/@path | devices/interface/downscript/@path", NULL,
	  N_("the script of a network card"), N_("Copy it there.") },
	{ "device", LINK_THERE,
	  "devices/interface[@type='ethernet']/target[@managed='no']/@dev | "
	  "devices/interface[@type='user']/source/@dev",
	  NULL, N_("the host's interface of a network card"), N_("Set it up there.") },
	{ "device", DEVICE_THERE,
	  "devices/interface/backend/@tap | devices/interface/backend/@vhost", NULL,
	  N_("the device of a network card"),
	  N_("Load its module there (modprobe tun, vhost_net).") },
	{ "device", DEVICE_THERE, "devices/interface/driver[@name='vhost']", "/dev/vhost-net",
	  N_("the device of a network card"), N_("Load its module there: modprobe vhost_net.") },
	{ "device", PROGRAM_THERE, "devices/interface/virtualport[@type='openvswitch']",
	  "ovs-vsctl", N_("the program of a network card"), N_("Install Open vSwitch there.") },
	{ "device", PROGRAM_THERE, "devices/interface/virtualport[@type='midonet']", "mm-ctl",
	  N_("the program of a network card"), INSTALL_IT },
	{ "device", PROGRAM_THERE, "devices/interface/virtualport[starts-with(@type,'802.1Qb')]",
	  "lldptool", N_("the program of a network card"), N_("Install lldpad there.") },
	{ "network", PROGRAM_THERE, "devices/interface/backend[@type='passt']", "passt",
	  N_("the program of a network card"), N_("Install passt there.") },
	{ "device", DEVICE_THERE,
	  "devices/graphics/gl/@rendernode | devices/video/model/acceleration/@rendernode", NULL,
	  N_("the graphics card of a display"), MAKE_IT },
	{ "device", DEVICE_THERE, "devices/rng/backend[@model='random']", NULL,
	  N_("a source of random numbers"),
	  N_("Detach it first (virsh detach-device), or use "
	     "/dev/urandom.") },
	{ "device", SOCKET_THERE, "devices/rng/backend/source[@mode='connect']/@path", NULL,
	  N_("a source of random numbers"), SERVE_IT },
	{ "device", SOCKET_THERE, "devices/*[@type='unix']/source[@mode='connect']/@path", NULL,
	  N_("the socket of a serial line or channel"), SERVE_IT },
	{ "device", FOLDER_THERE, "devices/*[@type='unix']/source[@mode='bind']/@path", NULL,
	  N_("the directory for the socket of a serial line or channel"), MAKE_IT },
	{ "device", FOLDER_THERE, "devices/graphics/listen[@type='socket']/@socket", NULL,
	  N_("the directory for the socket of a display"), MAKE_IT },
	{ "device", DEVICE_THERE, "devices/*[@type='dev']/source/@path", NULL,
	  N_("the host's device of a serial line"), MAKE_IT },
	{ "device", PIPE_THERE, "devices/*[@type='pipe']/source/@path", NULL,
	  N_("the pipe of a serial line"), MAKE_IT },
	{ "device", FOLDER_THERE,
	  "devices/*[@type='file'][self::serial or self::console or self::parallel or "
	  "self::channel]/source/@path | devices/*/log/@file",
	  NULL, N_("the directory of a log"), N_("Make it there.") },
	{ "device", FOLDER_THERE, "devices/audio[@type='file']/@path | devices/pstore/path", NULL,
	  N_("the directory of a file"), N_("Make it there.") },
	{ "device", DEVICE_THERE, "devices/audio[@type='oss']/*/@dev", NULL, N_("a sound card"),
	  MAKE_IT },
	{ "device", SOCKET_THERE, "devices/shmem/server/@path", NULL,
	  N_("the socket of shared memory"), SERVE_IT },
	{ "device", DEVICE_THERE, "devices/vsock", "/dev/vhost-vsock", N_("the device of a vsock"),
	  N_("Load its module there: modprobe vhost_vsock.") },
	{ "device", DEVICE_THERE, "devices/memory[@model='sgx-epc']", "/dev/sgx_vepc",
	  N_("the device of enclave memory"), MAKE_IT },
};

static const char script[] = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; i=0\n"
			     "while [ $# -ge 2 ]; do case $1 in "
			     "file) test -e \"$2\";; "
			     "device) test -c \"$2\";; "
			     "socket) test -S \"$2\";; "
			     "folder) test -d \"${2%/*}/\";; "
			     "pipe) test -e \"$2\" -o -e \"$2.in\";; "
			     "program) command -v \"$2\" >/dev/null 2>&1;; "
			     "link) test -e \"/sys/class/net/$2\";; "
			     "esac || echo $i; i=$((i+1)); shift 2; done; exit 0\n";

/* ---- what the VM needs ---- */

struct thing {
	unsigned row; /* G_N_ELEMENTS(things) and more: QEMU's own argument */
	const char *kind;
	char *word;
};

static void free_thing(gpointer data)
{
	struct thing *thing = data;
	g_free(thing->word);
	g_free(thing);
}

/* libvirt makes its own paths for each VM anew at the destination. */
static bool is_libvirts(const char *word)
{
	return g_str_has_prefix(word, "/var/lib/libvirt/qemu/") ||
	       g_str_has_prefix(word, "/run/libvirt/") ||
	       g_str_has_prefix(word, "/var/run/libvirt/");
}

static void need_thing(GPtrArray *needed, unsigned row, const char *kind, const char *word)
{
	/* QEMU looks for a file without a directory among its own */
	bool path = strcmp(kind, PROGRAM_THERE) != 0 && strcmp(kind, LINK_THERE) != 0;
	if (!word || !*word || is_libvirts(word) || (path && *word != '/'))
		return;
	for (unsigned i = 0; i < needed->len; i++) {
		const struct thing *known = needed->pdata[i];
		if (strcmp(known->word, word) == 0 && strcmp(known->kind, kind) == 0)
			return;
	}
	const struct thing thing = { row, kind, g_strdup(word) };
	g_ptr_array_add(needed, g_memdup2(&thing, sizeof(thing)));
}

static void need_row(struct check_context *context, unsigned row, GPtrArray *needed)
{
	g_autoptr(GPtrArray) nodes = xml_find(context->vm, NULL, things[row].path);
	for (unsigned i = 0; i < nodes->len; i++) {
		g_autofree char *text = xml_string(context->vm, nodes->pdata[i], ".");
		need_thing(needed, row, things[row].kind,
			   things[row].word ? things[row].word : text);
	}
}

/* <qemu:commandline>: files that QEMU reads, and directories of what it may make. */
static void need_argument(const char *text, GPtrArray *needed)
{
	static const char pattern[] =
		"(?:^|,)(file|filename|path|mem-path|logfile)=(/[^,]*)|^(/.*)";
	g_autoptr(GRegex) regex = g_regex_new(pattern, 0, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;
	for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match);
	     g_match_info_next(match, NULL)) {
		g_autofree char *key = g_match_info_fetch(match, 1);
		g_autofree char *named = g_match_info_fetch(match, 2);
		g_autofree char *bare = g_match_info_fetch(match, 3);
		bool reads = key && (strcmp(key, "file") == 0 || strcmp(key, "filename") == 0);
		need_thing(needed, G_N_ELEMENTS(things), reads ? FILE_THERE : FOLDER_THERE,
			   named && *named ? named : bare);
	}
}

static GPtrArray *list_things(struct check_context *context)
{
	GPtrArray *needed = g_ptr_array_new_with_free_func(free_thing);
	g_autoptr(GPtrArray) arguments = xml_find(
		context->vm, NULL, "*[local-name()='commandline']/*[local-name()='arg']/@value");
	for (unsigned row = 0; row < G_N_ELEMENTS(things); row++)
		need_row(context, row, needed);
	for (unsigned i = 0; i < arguments->len; i++) {
		g_autofree char *text = xml_string(context->vm, arguments->pdata[i], ".");
		need_argument(text ? text : "", needed);
	}
	return needed;
}

/* ---- what the destination has ---- */

/* The indexes of what is missing, a line each; NULL: it could not be asked. */
static char *ask_missing(struct check_context *context, const GPtrArray *needed)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	static const char *const head[] = { "sh", "-c", script, "sh" };
	char *output = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(head); i++)
		g_ptr_array_add(argv, (gpointer) (uintptr_t) head[i]);
	for (unsigned i = 0; i < needed->len; i++) {
		const struct thing *thing = needed->pdata[i];
		g_ptr_array_add(argv, (gpointer) (uintptr_t) thing->kind);
		g_ptr_array_add(argv, thing->word);
	}
	g_ptr_array_add(argv, NULL);
	if (!remote_run(context->options->shell, context->destination->address,
			(const char *const *) argv->pdata, 20000, &output, NULL, NULL))
		return NULL;
	return output;
}

static void refuse_thing(struct check_context *context, const struct thing *thing)
{
	bool own = thing->row >= G_N_ELEMENTS(things);
	const char *what = own ? _("QEMU's own argument") : _(things[thing->row].what);
	g_autofree char *check = own || strcmp(things[thing->row].check, "network") != 0
					 ? g_strdup(own ? "device" : things[thing->row].check)
					 : g_strdup_printf("network:%s", thing->word);
	check_add(context->findings, check, CHECK_REFUSE,
		  own ? _("Make it there under the same path.") : _(things[thing->row].next),
		  strcmp(thing->kind, FOLDER_THERE) == 0
			  ? _("“%s” needs the directory of %s (%s), which %s does not have")
			  : _("“%s” needs %s (%s), which %s does not have"),
		  context->name, thing->word, what, context->destination->name);
}

void check_things(struct check_context *context)
{
	g_autoptr(GPtrArray) needed = list_things(context);
	g_autofree char *output = needed->len > 0 ? ask_missing(context, needed) : g_strdup("");
	if (!output) {
		check_add(context->findings, "device", CHECK_WARN, NULL,
			  _("whether %s has the files and devices that “%s” names could not be "
			    "asked over the shell"),
			  context->destination->name, context->name);
		return;
	}
	g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
	for (char **line = lines; *line; line++) {
		guint64 index = 0;
		if (needed->len > 0 &&
		    g_ascii_string_to_unsigned(*line, 10, 0, needed->len - 1, &index, NULL))
			refuse_thing(context, needed->pdata[index]);
	}
}
