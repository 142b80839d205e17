/* SPDX-License-Identifier: Apache-2.0 */
/* Disk images at a host. See image.h. */
#include "host/image.h"

#include "base/i18n.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { READ_MS = 30000, MAKE_MS = 60000, CHAIN_MAX = 256, KEY_TRIES = 8 };

/* ---- what an image is ---- */

void image_free(gpointer data)
{
	struct image *image = data;
	g_free(image->path);
	g_free(image->format);
	g_free(image->backing);
	g_free(image->backing_format);
	g_free(image->bitmaps);
	g_free(image->data_file);
	g_free(image);
}

static bool has_elements(JsonObject *object, const char *name)
{
	JsonArray *array = object ? json_get_array(object, name) : NULL;
	return array && json_array_get_length(array) > 0;
}

/* "a, b"; NULL: none. */
static char *list_names(JsonArray *array)
{
	g_autoptr(GString) text = g_string_new(NULL);
	for (guint i = 0; array && i < json_array_get_length(array); i++) {
		JsonNode *node = json_array_get_element(array, i);
		if (JSON_NODE_HOLDS_OBJECT(node))
			g_string_append_printf(
				text, "%s%s", text->len ? ", " : "",
				json_get_string(json_node_get_object(node), "name", "?"));
	}
	return text->len ? g_strdup(text->str) : NULL;
}

static void read_specific(struct image *image, JsonObject *data)
{
	struct image_traits *traits = &image->traits;
	g_strlcpy(traits->compat, json_get_string(data, "compat", ""), sizeof traits->compat);
	g_strlcpy(traits->compression, json_get_string(data, "compression-type", ""),
		  sizeof traits->compression);
	traits->refcount_bits = (unsigned) CLAMP(json_get_int(data, "refcount-bits", 0), 0, 64);
	traits->lazy_refcounts = json_get_bool(data, "lazy-refcounts", false);
	traits->extended_l2 = json_get_bool(data, "extended-l2", false);
	image->corrupt = json_get_bool(data, "corrupt", false);
	image->bitmaps = list_names(json_get_array(data, "bitmaps"));
	image->data_file = g_strdup(json_get_string(data, "data-file", NULL));
}

static struct image *describe_image_plan(JsonObject *object)
{
	JsonObject *specific = json_get_object(object, "format-specific");
	JsonObject *data = specific ? json_get_object(specific, "data") : NULL;
	struct image *image = g_new0(struct image, 1);
	image->path = g_strdup(json_get_string(object, "filename", NULL));
	image->format = g_strdup(json_get_string(object, "format", NULL));
	image->size = (uint64_t) MAX(json_get_int(object, "virtual-size", 0), 0);
	image->allocated = (uint64_t) MAX(json_get_int(object, "actual-size", 0), 0);
	image->traits.cluster = (uint64_t) MAX(json_get_int(object, "cluster-size", 0), 0);
	image->backing =
		g_strdup(json_get_string(object, "full-backing-filename",
					 json_get_string(object, "backing-filename", NULL)));
	image->backing_format = g_strdup(json_get_string(object, "backing-filename-format", NULL));
	image->encrypted = json_get_bool(object, "encrypted", false);
	image->snapshots = has_elements(object, "snapshots");
	if (data)
		read_specific(image, data);
	return image;
}

struct image *image_parse(const char *json, GError **error)
{
	g_autoptr(JsonObject) object = json_parse_object(json, strlen(json), error);
	struct image *image = object ? describe_image_plan(object) : NULL;
	if (!image || (image->path && image->format))
		return image;
	image_free(image);
	error_set(error, WATARI_ERROR_INTERNAL, NULL, _("qemu-img does not say what it should"));
	return NULL;
}

/* One file, and not what it stands on: that is opened by itself, in the format of its own. */
static struct image *read_link(const struct remote_shell *shell, const struct host_address *host,
			       const char *path, const char *format, GError **error)
{
	g_autofree char *word = g_strconcat("--format=", format, NULL);
	const char *const argv[] = {
		"qemu-img", "info", "--force-share", "--output=json", word, "--", path, NULL
	};
	g_autofree char *output = NULL;
	if (!remote_run(shell, host, argv, READ_MS, &output, NULL, error))
		return NULL;
	return image_parse(output, error);
}

static const char *find_told(const struct image_told *told, const char *path)
{
	for (size_t i = 0; told && told->paths[i]; i++)
		if (g_str_equal(told->paths[i], path) && *told->formats[i])
			return told->formats[i];
	return NULL;
}

static bool names_no_format(const struct image *image, GError **error)
{
	g_autofree char *next = g_strdup_printf(
		_("Write it down while the VM is off: qemu-img rebase -u -f %s -b %s -F FORMAT "
		  "%s, with the format that the file below was made in (raw or qcow2)."),
		image->format, image->backing, image->path);
	return error_set(error, WATARI_ERROR_REFUSED, next,
			 _("the image %s stands on %s and does not say in which format that is; "
			   "what the file looks like is no answer, for a VM may have written it"),
			 image->path, image->backing);
}

GPtrArray *image_read_chain(const struct remote_shell *shell, const struct host_address *host,
			    const char *path, const char *format, const struct image_told *told,
			    GError **error)
{
	g_autoptr(GPtrArray) chain = g_ptr_array_new_with_free_func(image_free);
	while (path) {
		struct image *image = read_link(shell, host, path, format, error);
		if (!image)
			return NULL;
		g_ptr_array_add(chain, image);
		path = image->backing;
		format = image->backing_format;
		if (path && !format)
			format = find_told(told, path);
		if (path && !format && !names_no_format(image, error))
			return NULL;
		if (path && chain->len >= CHAIN_MAX) {
			error_set(error, WATARI_ERROR_REFUSED, NULL,
				  _("the image %s stands on more than %d others"),
				  ((struct image *) chain->pdata[0])->path, CHAIN_MAX);
			return NULL;
		}
	}
	return g_steal_pointer(&chain);
}

/* ---- what is at a path ---- */

/* One "word value" a line; what cannot be found out is left out. A block device has a
 * device mapper UUID (as LVM volumes do) or a WWID. Neither is unique: clones keep it, and many
 * devices that are cheap or virtual have none of their own. */
static const char look_script[] =
	"d=$(dirname -- \"$1\"); p=$(readlink -f -- \"$1\" 2>/dev/null || printf %s \"$1\")\n"
	"test -d \"$d\" && echo directory 1\n"
	"test -e \"$1\" -o -L \"$1\" && echo exists 1\n"
	"stat -f -c 'room %a %S %i' -- \"$d\" 2>/dev/null\n"
	"test -f \"$p\" && stat -c 'size %s' -- \"$p\"\n"
	"test -b \"$p\" || exit 0\n"
	"echo block 1; echo \"size $(blockdev --getsize64 \"$p\")\"\n"
	"s=/sys/dev/block/$(stat -c '%Hr:%Lr' -- \"$p\")\n"
	"test -e \"$s\" || s=/sys/class/block/${p##*/}\n"
	"for f in dm/uuid device/wwid wwid; do\n"
	"  test -s \"$s/$f\" && echo \"identity $(tr -s ' ' _ <\"$s/$f\")\" && break\n"
	"done\n"
	"ls \"$s/holders\" 2>/dev/null | grep -q . && echo busy 1\n"
	"awk -v m=\"$(cat \"$s/dev\" 2>/dev/null)\" '$3 == m { print \"busy 1\"; exit }' "
	"/proc/self/mountinfo\n"
	"exit 0\n";

static void take_image_word(struct image_place *place, const char *word, const char *value)
{
	unsigned long long blocks = 0, block_size = 0;
	if (g_str_equal(word, "directory"))
		place->directory = true;
	else if (g_str_equal(word, "exists"))
		place->exists = true;
	else if (g_str_equal(word, "block"))
		place->block = true;
	else if (g_str_equal(word, "busy"))
		place->busy = true;
	else if (g_str_equal(word, "size"))
		place->size = g_ascii_strtoull(value, NULL, 10);
	else if (g_str_equal(word, "identity"))
		g_strlcpy(place->identity, value, sizeof place->identity);
	else if (g_str_equal(word, "room") &&
		 sscanf(value, "%llu %llu %39s", &blocks, &block_size, place->filesystem) == 3)
		place->room = blocks * block_size;
}

bool image_look(const struct remote_shell *shell, const struct host_address *host, const char *path,
		struct image_place *place, GError **error)
{
	const char *const argv[] = { "sh", "-c", look_script, "sh", path, NULL };
	g_autofree char *output = NULL;
	*place = (struct image_place){ 0 };
	if (!remote_run(shell, host, argv, READ_MS, &output, NULL, error))
		return false;
	g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *blank = strchr(*line, ' ');
		if (!blank)
			continue;
		*blank = 0;
		take_image_word(place, *line, blank + 1);
	}
	return true;
}

static const char open_script[] =
	"test \"$(id -u)\" = 0 && command -v setpriv >/dev/null || exit 0\n"
	"setpriv --reuid=\"$2\" --regid=\"$3\" --init-groups true 2>/dev/null || exit 0\n"
	"setpriv --reuid=\"$2\" --regid=\"$3\" --init-groups test -r \"$1\" -a -w \"$1\" "
	"|| echo closed\n";

bool image_try_open(const struct remote_shell *shell, const struct host_address *host,
		    const char *path, int uid, int gid, bool *usable, GError **error)
{
	g_autofree char *user = g_strdup_printf("%d", uid), *group = g_strdup_printf("%d", gid);
	const char *const argv[] = { "sh", "-c", open_script, "sh", path, user, group, NULL };
	g_autofree char *output = NULL;
	*usable = true;
	if (uid <= 0 || gid < 0)
		return true;
	if (!remote_run(shell, host, argv, READ_MS, &output, NULL, error))
		return false;
	*usable = *g_strstrip(output) == 0;
	return true;
}

/* ---- making one, and removing it ---- */

/* An image is made under a name that nobody else has (image_own_name), and only when it is whole it gets the
 * other one, by a link, which never replaces anything. Until both are removed or the first one is, the first
 * name proves whose the file is. The mode is for QEMU's user alone: an image holds whatever its guest does.
 *
 * The file is made once, and from then on meant by descriptor 9: somebody who may write to the directory could
 * put a link in its place, and root would write to, or give away, what that leads to. */
#define CREATED "/proc/self/fd/9"
/* A number of a file that was removed is given again, with another time of birth. */
#define IDENTIFY "{ stat -c %d:%i:%W -- \"$p\" 2>/dev/null || stat -c %d:%i -- \"$p\"; }"
static const char create_script[] =
	"p=$1 o=$2 a=$3 t=$4 f=" CREATED "; shift 4; umask 077; set -C\n"
	"if test -e \"$p\" -o -L \"$p\"; then echo \"$p: File exists\" >&2; exit 3; fi\n"
	"command exec 9>\"$t\" || exit 3\n"
	"i=$(stat -L -c %d:%i $f)\n"
	"cat | \"$@\" && { test -z \"$a\" || fallocate -l \"$a\" $f 2>/dev/null || :; } &&\n"
	"{ test -z \"$o\" || chown \"$o\" $f; } && test \"$(stat -c %d:%i -- \"$t\")\" = \"$i\" "
	"&&\n"
	"{ ln -T -- \"$t\" \"$p\" || mv -nT -- \"$t\" \"$p\"; } &&\n"
	"test \"$(stat -c %d:%i -- \"$p\")\" = \"$i\" && " IDENTIFY " && exit 0\n"
	"test \"$(stat -c %d:%i -- \"$t\" 2>/dev/null)\" = \"$i\" && rm -f -- \"$t\"; exit 1\n";

static void add_words(GPtrArray *words, const char *first, ...)
{
	va_list more;
	va_start(more, first);
	for (const char *word = first; word; word = va_arg(more, const char *))
		g_ptr_array_add(words, g_strdup(word));
	va_end(more);
}

static char *creation_options(const struct image_plan *plan)
{
	static const struct image_traits none;
	const struct image_traits *traits = &plan->traits;
	bool qcow2 = g_str_equal(plan->format, "qcow2");
	GString *text = g_string_new(NULL);
	if (!qcow2)
		traits = &none;
	if (traits->cluster)
		g_string_append_printf(text, ",cluster_size=%" G_GUINT64_FORMAT, traits->cluster);
	if (*traits->compat)
		g_string_append_printf(text, ",compat=%s", traits->compat);
	if (traits->lazy_refcounts)
		g_string_append(text, ",lazy_refcounts=on");
	if (traits->extended_l2)
		g_string_append(text, ",extended_l2=on");
	/* what is usual is not named: an older qemu-img knows no name for it */
	if (traits->refcount_bits && traits->refcount_bits != 16)
		g_string_append_printf(text, ",refcount_bits=%u", traits->refcount_bits);
	if (*traits->compression && !g_str_equal(traits->compression, "zlib"))
		g_string_append_printf(text, ",compression_type=%s", traits->compression);
	if (plan->key && g_str_equal(plan->format, "raw"))
		g_string_append(text, ",key-secret=key");
	else if (plan->key)
		g_string_append(text, ",encrypt.format=luks,encrypt.key-secret=key");
	if (text->len)
		g_string_erase(text, 0, 1);
	return g_string_free(text, FALSE);
}

char *image_own_name(const char *path, const char *token)
{
	return g_strdup_printf("%s.watari-%s", path, token);
}

static GPtrArray *creation_words(const struct image_plan *plan)
{
	g_autofree char *owner = plan->uid >= 0 && plan->gid >= 0
					 ? g_strdup_printf("%d:%d", plan->uid, plan->gid)
					 : g_strdup("");
	g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, plan->size);
	g_autofree char *options = creation_options(plan);
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *own = image_own_name(plan->path, plan->token);
	add_words(words, "sh", "-c", create_script, "sh", plan->path, owner,
		  plan->allocate ? size : "", own, NULL);
	bool raw = g_str_equal(plan->format, "raw");
	add_words(words, "qemu-img", "create", "-q", NULL);
	if (plan->key)
		add_words(words, "--object", "secret,id=key,file=/dev/stdin", NULL);
	add_words(words, "-f", raw && plan->key ? "luks" : plan->format, NULL);
	if (*options)
		add_words(words, "-o", options, NULL);
	if (plan->backing)
		add_words(words, "-b", plan->backing, "-F", plan->backing_format, NULL);
	add_words(words, "--", CREATED, size, NULL);
	g_ptr_array_add(words, NULL);
	return words;
}

void image_key_clear(struct image_key *key)
{
	if (key->bytes)
		explicit_bzero(key->bytes, key->length);
	free(key->bytes); /* libvirt's */
	*key = (struct image_key){ 0 };
}

/* qemu-img times a trial of the key, and gives up where the kernel's coarse count of its processor time
 * still stands at nothing: by chance, and not twice in a row. */
static bool found_no_time(const struct image_plan *plan, const GError *failure)
{
	return plan->key && strstr(failure->message, "accurate CPU usage");
}

char *image_create(const struct remote_shell *shell, const struct host_address *host,
		   const struct image_plan *plan, GError **error)
{
	g_autoptr(GPtrArray) words = creation_words(plan);
	g_autofree char *output = NULL;
	for (int tries = 1;; tries++) {
		g_autoptr(GError) failure = NULL;
		if (remote_feed(shell, host, (const char *const *) words->pdata,
				plan->key ? plan->key->bytes : NULL,
				plan->key ? plan->key->length : 0, MAKE_MS, &output, &failure))
			return g_strdup(g_strstrip(output));
		if (tries < KEY_TRIES && found_no_time(plan, failure))
			continue;
		g_propagate_error(error, g_steal_pointer(&failure));
		error_prefix(error, "%s", plan->path);
		return NULL;
	}
}

bool image_settle(const struct remote_shell *shell, const struct host_address *host,
		  const char *path, const char *token, GError **error)
{
	g_autofree char *own = image_own_name(path, token);
	const char *const argv[] = { "rm", "-f", "--", own, NULL };
	return remote_run(shell, host, argv, READ_MS, NULL, NULL, error);
}

/* What earlier versions wrote down has no time of birth. */
#define IS_THE_SAME                                              \
	"case \"$i\" in *:*:*) f=%d:%i:%W;; *) f=%d:%i;; esac\n" \
	"test \"$(stat -c $f -- \"$p\")\" = \"$i\" || exit 0\n"
static const char remove_script[] = "p=$1 i=$2; test -e \"$p\" || exit 0\n"
				    "test -z \"$i\" && exec rm -f -- \"$p\"\n" IS_THE_SAME
				    "test -d \"$p\" -a ! -L \"$p\" && exec rm -rf -- \"$p\"\n"
				    "rm -f -- \"$p\"\n";

bool image_remove(const struct remote_shell *shell, const struct host_address *host,
		  const char *path, const char *identity, GError **error)
{
	const char *const argv[] = { "sh", "-c", remove_script,
				     "sh", path, identity ? identity : "",
				     NULL };
	return remote_run(shell, host, argv, READ_MS, NULL, NULL, error);
}

/* Without an identity only what the own name proves, or, where none was given (a file that is just being
 * copied), what is empty. */
static const char remove_intended_script[] =
	"p=$1 t=$2\n"
	"if test -n \"$t\"; then\n"
	"  test -e \"$t\" || exit 0\n"
	"  test \"$p\" -ef \"$t\" && rm -f -- \"$p\"\n"
	"  rm -f -- \"$t\"\n"
	"elif test -d \"$p\" -a ! -L \"$p\"; then rmdir -- \"$p\" 2>/dev/null || :\n"
	"elif test -f \"$p\" -a ! -L \"$p\" -a ! -s \"$p\"; then rm -f -- \"$p\"\n"
	"fi\n";

bool image_remove_intended(const struct remote_shell *shell, const struct host_address *host,
			   const char *path, const char *token, GError **error)
{
	g_autofree char *own = token ? image_own_name(path, token) : g_strdup("");
	const char *const argv[] = { "sh", "-c", remove_intended_script, "sh", path, own, NULL };
	return remote_run(shell, host, argv, READ_MS, NULL, NULL, error);
}

/* ---- what lies in the way ---- */

static const char aside_script[] =
	"mv -nT -- \"$1\" \"$2\" && test ! -e \"$1\" && test -e \"$2\"\n";

bool image_set_aside(const struct remote_shell *shell, const struct host_address *host,
		     const char *path, const char *kept, GError **error)
{
	const char *const argv[] = { "sh", "-c", aside_script, "sh", path, kept, NULL };
	return remote_run(shell, host, argv, READ_MS, NULL, NULL, error);
}

/* (What is empty and was not identified is ours, that was just begun; see above.) */
static const char back_script[] = "p=$1 i=$2 k=$3; test -e \"$k\" || exit 0\n"
				  "if test -e \"$p\"; then\n"
				  "  if test -n \"$i\"; then\n"
				  "    case \"$i\" in *:*:*) f=%d:%i:%W;; *) f=%d:%i;; esac\n"
				  "    test \"$(stat -c $f -- \"$p\")\" = \"$i\" || exit 1\n"
				  "    rm -rf -- \"$p\"\n"
				  "  elif test -d \"$p\"; then rmdir -- \"$p\" || exit 1\n"
				  "  else test ! -s \"$p\" && rm -f -- \"$p\" || exit 1; fi\n"
				  "fi\n"
				  "mv -nT -- \"$k\" \"$p\" && test ! -e \"$k\"\n";

bool image_put_back(const struct remote_shell *shell, const struct host_address *host,
		    const char *path, const char *identity, const char *kept, GError **error)
{
	const char *const argv[] = { "sh", "-c", back_script, "sh", path, identity ? identity : "",
				     kept, NULL };
	return remote_run(shell, host, argv, READ_MS, NULL, NULL, error);
}
