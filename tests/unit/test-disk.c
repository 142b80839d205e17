/* SPDX-License-Identifier: Apache-2.0 */
/* Disks in libvirt's descriptions, images as qemu-img describes them, and images made for real. */
#include "host/disk.h"
#include "host/image.h"
#include "host/transfer.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- qemu-img's words (7.2) ---- */

static const char overlay[] =
	"{\"backing-filename-format\": \"raw\", \"virtual-size\": 67108864, "
	"\"filename\": \"/lab/images/d2.qcow2\", \"cluster-size\": 65536, \"format\": \"qcow2\", "
	"\"actual-size\": 200704, \"format-specific\": {\"type\": \"qcow2\", \"data\": {"
	"\"compat\": \"1.1\", \"compression-type\": \"zlib\", \"lazy-refcounts\": false, "
	"\"refcount-bits\": 16, \"corrupt\": false, \"extended-l2\": false}}, "
	"\"full-backing-filename\": \"/lab/images/base.raw\", "
	"\"backing-filename\": \"/lab/images/base.raw\", \"dirty-flag\": false}";

static void test_image(void)
{
	g_autoptr(GError) error = NULL;
	struct image *top = image_parse(overlay, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(top->path, ==, "/lab/images/d2.qcow2");
	g_assert_cmpstr(top->format, ==, "qcow2");
	g_assert_cmpstr(top->traits.compat, ==, "1.1");
	g_assert_cmpstr(top->backing, ==, "/lab/images/base.raw");
	g_assert_cmpstr(top->backing_format, ==, "raw");
	g_assert_cmpuint(top->size, ==, 67108864);
	g_assert_cmpuint(top->allocated, ==, 200704);
	g_assert_cmpuint(top->traits.cluster, ==, 65536);
	g_assert_false(top->snapshots || top->bitmaps || top->encrypted || top->corrupt);
	image_free(top);
}

static void test_marks(void)
{
	struct image *top =
		image_parse("{\"filename\": \"/x\", \"format\": \"qcow2\", \"encrypted\": true, "
			    "\"snapshots\": [{\"id\": \"1\"}], \"format-specific\": {\"data\": "
			    "{\"corrupt\": true, \"data-file\": \"/y\", "
			    "\"bitmaps\": [{\"name\": \"b\"}, {\"name\": \"c\"}]}}}",
			    NULL);
	g_assert_true(top->snapshots && top->encrypted && top->corrupt);
	g_assert_cmpstr(top->bitmaps, ==, "b, c");
	g_assert_cmpstr(top->data_file, ==, "/y");
	g_assert_null(top->backing);
	image_free(top);
}

static void test_nonsense(void)
{
	static const char *const cases[] = { "",
					     "{}",
					     "[1]",
					     "[{}]",
					     "{\"filename\": 1, \"format\": \"raw\"}",
					     "{\"filename\": \"/x\"}",
					     "{\"format\": \"raw\"}",
					     "]} , {[" };
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(image_parse(cases[i], &error));
		g_assert_nonnull(error);
	}
}

/* ---- libvirt's words (9.0) ---- */

static const char live[] =
	"<domain type='kvm'><devices>"
	"<disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='none'/>"
	"<source file='/lab/images/d2.qcow2' index='1'/><backingStore type='file' index='3'>"
	"<format type='raw'/><source file='/lab/images/base.raw'/><backingStore/></backingStore>"
	"<target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>"
	"<disk type='block' device='disk'><driver name='qemu' type='raw'/>"
	"<source dev='/dev/vg/web'/><target dev='vdb' bus='virtio'/><alias name='ua-data'/></disk>"
	"<disk type='volume' device='disk'><driver name='qemu' type='raw'/>"
	"<source pool='images' volume='x'/><target dev='vdc' bus='virtio'/></disk>"
	"<disk type='network' device='disk'><source protocol='rbd' name='p/i'/>"
	"<target dev='vdd' bus='virtio'/></disk>"
	"<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>"
	"<disk type='file' device='disk'><source file='/srv/ro.raw'/><readonly/>"
	"<target dev='vde' bus='virtio'/><shareable/></disk>"
	"</devices></domain>";

static void test_disks(void)
{
	static const struct {
		const char *target, *alias, *path, *format, *cache;
		enum disk_source source;
		bool writable, removable, several;
		unsigned backing;
	} rows[] = {
		{ "vda", "virtio-disk0", "/lab/images/d2.qcow2", "qcow2", "none", DISK_FILE, true,
		  false, false, 1 },
		{ "vdb", "ua-data", "/dev/vg/web", "raw", "default", DISK_BLOCK, true, false, false,
		  0 },
		{ "vdc", NULL, NULL, "raw", "default", DISK_VOLUME, true, false, false, 0 },
		{ "vdd", NULL, NULL, "raw", "default", DISK_OTHER, true, false, false, 0 },
		{ "sda", NULL, NULL, "raw", "default", DISK_NOTHING, false, true, false, 0 },
		{ "vde", NULL, "/srv/ro.raw", "raw", "default", DISK_FILE, false, false, true, 0 },
	};
	g_autoptr(GPtrArray) disks = disk_read_all(live, NULL);
	g_assert_cmpuint(disks->len, ==, G_N_ELEMENTS(rows));
	for (guint i = 0; i < disks->len; i++) {
		const struct disk *disk = disks->pdata[i];
		g_assert_cmpstr(disk->target, ==, rows[i].target);
		g_assert_cmpstr(disk->alias, ==, rows[i].alias);
		g_assert_cmpstr(disk->path, ==, rows[i].path);
		g_assert_cmpstr(disk->format, ==, rows[i].format);
		g_assert_cmpstr(disk->cache, ==, rows[i].cache);
		g_assert_cmpint(disk->source, ==, rows[i].source);
		g_assert_true(disk->writable == rows[i].writable);
		g_assert_true(disk->removable == rows[i].removable);
		g_assert_true(disk->several == rows[i].several);
		g_assert_cmpuint(g_strv_length(disk->backing), ==, rows[i].backing);
	}
}

static void test_adapt(void)
{
	const struct disk_move moves[] = {
		{ "vda", "/lab/images/d2.qcow2", "/srv/a&b.qcow2", false, "qcow2" },
		{ "vdb", "/dev/vg/web", "/srv/web.raw", false, "raw" },
		{ "vdc", NULL, "/dev/vg/x", true, "raw", 4096 },
		{ "vde", "/another", "/nowhere", false, "raw" },
	};
	g_autofree char *xml = disk_adapt_xml(live, moves, G_N_ELEMENTS(moves), NULL);
	g_autoptr(GPtrArray) disks = disk_read_all(xml, NULL);
	g_assert_cmpuint(disks->len, ==, 6);
	for (guint i = 0; i < 3; i++) {
		const struct disk *disk = disks->pdata[i];
		g_assert_cmpstr(disk->path, ==, moves[i].destination);
		g_assert_cmpint(disk->source, ==, moves[i].block ? DISK_BLOCK : DISK_FILE);
		g_assert_cmpuint(g_strv_length(disk->backing), ==, 0);
		g_assert_null(disk->pool);
	}
	/* not the one that is meant: it lies elsewhere in this description */
	g_assert_cmpstr(((struct disk *) disks->pdata[5])->path, ==, "/srv/ro.raw");
	g_assert_null(strstr(xml, "backingStore"));
	g_assert_null(strstr(xml, "index="));
	const char *slice = strstr(xml, "<slice type=\"storage\" offset=\"0\" size=\"4096\"/>");
	g_assert_nonnull(slice);
	g_assert_null(strstr(slice + 1, "<slice "));
	/* and it goes again with the next move */
	g_autofree char *next = disk_adapt_xml(
		xml, &(struct disk_move){ "vdc", NULL, "/a", false, "raw" }, 1, NULL);
	g_assert_null(strstr(next, "slice"));
}

/* ---- for real, on this machine ---- */

static struct host_address *here;

static bool look(const char *path, struct image_place *place)
{
	g_autoptr(GError) error = NULL;
	image_look(NULL, here, path, place, &error);
	g_assert_no_error(error);
	return place->exists;
}

static void test_make(void)
{
	g_autofree char *qemu_img = g_find_program_in_path("qemu-img");
	if (!qemu_img) {
		g_test_skip("there is no qemu-img");
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "it's new.qcow2", NULL);
	struct image_place place;
	struct image_plan plan = { .token = "0123456789abcdef",
				   .path = path,
				   .format = "qcow2",
				   .size = 5 * 1024 * 1024 + 512,
				   .traits = { .cluster = 4096, .compat = "0.10" },
				   .uid = -1,
				   .gid = -1 };
	g_assert_false(look(path, &place));
	g_assert_true(place.directory);
	g_assert_cmpuint(place.room, >, 0);
	g_autofree char *identity = image_create(NULL, here, &plan, &error);
	g_assert_no_error(error);
	g_assert_nonnull(identity);
	g_assert_true(look(path, &place));
	/* it has two names, until the first is not needed any more */
	g_autofree char *own = image_own_name(path, plan.token);
	g_assert_true(look(own, &place));
	g_assert_true(image_settle(NULL, here, path, plan.token, NULL));
	g_assert_false(look(own, &place));
	g_autoptr(GPtrArray) chain = image_read_chain(NULL, here, path, "qcow2", NULL, &error);
	g_assert_no_error(error);
	const struct image *image = chain->pdata[0];
	g_assert_cmpuint(image->size, ==, plan.size);
	g_assert_cmpuint(image->traits.cluster, ==, 4096);
	g_assert_cmpstr(image->traits.compat, ==, "0.10");
	/* what exists is not overwritten, and not removed when it is another file */
	g_assert_null(image_create(NULL, here, &plan, NULL));
	g_assert_true(image_remove(NULL, here, path, "1:1", NULL));
	g_assert_true(look(path, &place));
	g_assert_true(image_remove(NULL, here, path, identity, NULL));
	g_assert_false(look(path, &place));
	g_assert_true(image_remove(NULL, here, path, identity, NULL));
	g_rmdir(directory);
	g_assert_false(look(path, &place));
	g_assert_false(place.directory);
}

/* Whoever may write to the directory puts a link in the new image's place while qemu-img works on it. */
static void test_link_in_place(void)
{
	g_autofree char *qemu_img = g_find_program_in_path("qemu-img");
	if (!qemu_img) {
		g_test_skip("there is no qemu-img");
		return;
	}
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "new.raw", NULL);
	g_autofree char *victim = g_build_filename(directory, "victim", NULL);
	g_autofree char *tool = g_build_filename(directory, "qemu-img", NULL);
	struct image_plan plan = { .token = "0123456789abcdef",
				   .path = path,
				   .format = "raw",
				   .size = 1 << 20,
				   .uid = (int) getuid(),
				   .gid = (int) getgid() };
	g_autofree char *own = image_own_name(path, plan.token);
	g_autofree char *script =
		g_strdup_printf("#!/bin/sh\nrm -f '%s'; ln -s '%s' '%s'\nexec '%s' \"$@\"\n", own,
				victim, own, qemu_img);
	g_autofree char *before = g_strdup(g_getenv("PATH"));
	g_autofree char *with = g_strconcat(directory, ":", before, NULL);
	g_assert_true(g_file_set_contents_full(victim, "precious", -1, G_FILE_SET_CONTENTS_NONE,
					       0640, NULL));
	g_assert_true(
		g_file_set_contents_full(tool, script, -1, G_FILE_SET_CONTENTS_NONE, 0755, NULL));
	g_setenv("PATH", with, TRUE);
	g_autofree char *identity = image_create(NULL, here, &plan, NULL);
	g_setenv("PATH", before, TRUE);
	g_assert_null(identity);
	struct stat facts;
	g_autofree char *text = NULL;
	g_assert_true(g_file_get_contents(victim, &text, NULL, NULL));
	g_assert_cmpstr(text, ==, "precious");
	g_assert_cmpint(stat(victim, &facts), ==, 0);
	g_assert_cmpuint(facts.st_mode & 0777, ==, 0640);
	/* the premise: that one did run */
	g_assert_true(g_file_test(own, G_FILE_TEST_IS_SYMLINK));
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_unlink(own);
	g_unlink(victim);
	g_unlink(tool);
	g_rmdir(directory);
}

/* The conductor died before it knew what came of an image, or of a copied file: only what is proven to be
 * ours goes. */
static void test_intended(void)
{
	static const struct {
		const char *own, *image; /* what is there; NULL: nothing */
		bool link;               /* both are one file */
		const char *token;
		bool own_stays, image_stays;
	} rows[] = {
		{ NULL, NULL, false, "t", false, false },
		{ NULL, "somebody's", false, "t", false, true },
		{ NULL, "", false, "t", false, true },
		{ "half", NULL, false, "t", false, false },
		{ "half", "somebody's", false, "t", false, true },
		{ "whole", NULL, true, "t", false, false },
		{ "other's", "somebody's", false, "u", true, true },
		{ NULL, "somebody's", false, NULL, false, true },
		{ NULL, "", false, NULL, false, false },
	};
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "x.raw", NULL);
	g_autofree char *own = image_own_name(path, "t");
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct image_place place;
		if (rows[i].own)
			g_assert_true(g_file_set_contents(own, rows[i].own, -1, NULL));
		if (rows[i].image)
			g_assert_true(g_file_set_contents(path, rows[i].image, -1, NULL));
		g_assert_true(!rows[i].link || link(own, path) == 0);
		g_assert_true(image_remove_intended(NULL, here, path, rows[i].token, NULL));
		g_assert_true(look(own, &place) == rows[i].own_stays);
		g_assert_true(look(path, &place) == rows[i].image_stays);
		g_unlink(own);
		g_unlink(path);
	}
	g_rmdir(directory);
}

/* A file that was removed gives its number to the next one of that name. */
static void test_used_again(void)
{
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "x", NULL);
	g_assert_true(g_file_set_contents(path, "somebody's", -1, NULL));
	struct stat facts;
	struct image_place place;
	g_assert_cmpint(stat(path, &facts), ==, 0);
	g_autofree char *born_before = g_strdup_printf(
		"%u:%" G_GUINT64_FORMAT ":7", (unsigned) facts.st_dev, (guint64) facts.st_ino);
	g_assert_true(image_remove(NULL, here, path, born_before, NULL));
	g_assert_true(look(path, &place));
	/* as an earlier version wrote it */
	*strrchr(born_before, ':') = 0;
	g_assert_true(image_remove(NULL, here, path, born_before, NULL));
	g_assert_false(look(path, &place));
	g_rmdir(directory);
}

/* Made like another one. */
static void test_traits(void)
{
	g_autofree char *qemu_img = g_find_program_in_path("qemu-img");
	if (!qemu_img) {
		g_test_skip("there is no qemu-img");
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "x.qcow2", NULL);
	struct image_plan plan = { .token = "0123456789abcdef",
				   .path = path,
				   .format = "qcow2",
				   .size = 1 << 20,
				   .traits = { .cluster = 32768,
					       .compat = "1.1",
					       .compression = "zstd",
					       .refcount_bits = 32,
					       .lazy_refcounts = true,
					       .extended_l2 = true },
				   .uid = -1,
				   .gid = -1 };
	g_autofree char *identity = image_create(NULL, here, &plan, &error);
	g_assert_no_error(error);
	g_assert_nonnull(identity);
	g_autoptr(GPtrArray) chain = image_read_chain(NULL, here, path, "qcow2", NULL, &error);
	g_assert_no_error(error);
	const struct image_traits *made = &((const struct image *) chain->pdata[0])->traits;
	g_assert_cmpuint(made->cluster, ==, plan.traits.cluster);
	g_assert_cmpuint(made->refcount_bits, ==, 32);
	g_assert_cmpstr(made->compression, ==, "zstd");
	g_assert_true(made->lazy_refcounts && made->extended_l2);
	g_unlink(path);
	g_rmdir(directory);
}

/* Room that the original has taken is taken for the copy as well. */
static void test_allocate(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "x.raw", NULL);
	struct image_plan plan = { .token = "0123456789abcdef",
				   .path = path,
				   .format = "raw",
				   .size = 1 << 20,
				   .allocate = true,
				   .uid = -1,
				   .gid = -1 };
	g_autofree char *identity = image_create(NULL, here, &plan, &error);
	g_assert_no_error(error);
	g_assert_nonnull(identity);
	g_autoptr(GPtrArray) chain = image_read_chain(NULL, here, path, "raw", NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(((const struct image *) chain->pdata[0])->allocated, >=, plan.size);
	g_unlink(path);
	g_rmdir(directory);
}

static char *make_image(const char *directory, const char *name, const char *options)
{
	char *path = g_build_filename(directory, name, NULL);
	g_autofree char *command = g_strdup_printf("qemu-img create -q %s %s 1M", options, path);
	int status = -1;
	g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, &status, NULL) && status == 0);
	return path;
}

/* As a VM could do it that has PATH for its raw disk: from here on it looks like a qcow2 that stands on
 * another file of the host. */
static void forge_header(const char *directory, const char *path)
{
	g_autofree char *secret = g_build_filename(directory, "secret", NULL);
	g_autofree char *options = g_strdup_printf("-f qcow2 -F raw -b %s", secret);
	g_autofree char *content = NULL;
	gsize length = 0;
	g_assert_true(g_file_set_contents(secret, "secret", -1, NULL));
	g_autofree char *forged = make_image(directory, "forged", options);
	g_assert_true(g_file_get_contents(forged, &content, &length, NULL));
	g_assert_true(g_file_set_contents(path, content, (gssize) length, NULL));
	g_unlink(forged);
	g_unlink(secret);
}

/* As images are that were made before qemu-img 6.1: the header's field with the format of the file below
 * becomes one that nobody knows. */
static void leave_format_out(const char *path)
{
	static const char field[] = "\xe2\x79\x2a\xca";
	g_autofree char *content = NULL;
	gsize length = 0;
	g_assert_true(g_file_get_contents(path, &content, &length, NULL));
	char *at = memmem(content, length, field, 4);
	g_assert_nonnull(at);
	at[3] = 1;
	g_assert_true(g_file_set_contents(path, content, (gssize) length, NULL));
}

/* What a guest wrote into the raw image below does not say what that is. */
static void test_format_is_told(void)
{
	g_autofree char *qemu_img = g_find_program_in_path("qemu-img");
	if (!qemu_img) {
		g_test_skip("there is no qemu-img");
		return;
	}
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *base = make_image(directory, "base", "-f raw");
	g_autofree char *over = g_strdup_printf("-f qcow2 -F raw -b %s", base);
	g_autofree char *named = make_image(directory, "named", over);
	g_autofree char *bare = make_image(directory, "bare", over);
	leave_format_out(bare);
	forge_header(directory, base);
	g_autoptr(GPtrArray) chain = image_read_chain(NULL, here, named, "qcow2", NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(chain->len, ==, 2);
	g_assert_cmpstr(((struct image *) chain->pdata[1])->path, ==, base);
	g_assert_cmpstr(((struct image *) chain->pdata[1])->format, ==, "raw");
	g_assert_null(image_read_chain(NULL, here, bare, "qcow2", NULL, &error));
	g_assert_error(error, WATARI_ERROR, WATARI_ERROR_REFUSED);
	g_clear_error(&error);
	char *paths[] = { base, NULL }, *formats[] = { (char[]){ "raw" }, NULL };
	struct image_told told = { paths, formats };
	g_autoptr(GPtrArray) known = image_read_chain(NULL, here, bare, "qcow2", &told, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(known->len, ==, 2);
	g_unlink(named);
	g_unlink(bare);
	g_unlink(base);
	g_rmdir(directory);
}

/* A failed making leaves nothing. */
static void test_make_badly(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "x", NULL);
	struct image_plan plan = {
		.path = path, .format = "no-such-format", .size = 512, .uid = -1, .gid = -1
	};
	struct image_place place;
	g_assert_null(image_create(NULL, here, &plan, &error));
	g_assert_nonnull(error);
	g_assert_false(look(path, &place));
	g_rmdir(directory);
}

/* ---- from host to host, both this machine ---- */

static bool transfer(struct transfer *transfer, GError **error)
{
	return transfer_begin(transfer, error) && transfer_finish(transfer, error);
}

static void test_transfer(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *from = g_build_filename(directory, " it's\n a \"seed\" ", NULL);
	g_autofree char *to = g_build_filename(directory, "-copy ", NULL);
	g_autofree char *content = g_malloc0(700000);
	g_autofree char *copy = NULL;
	gsize length = 0;
	memset(content + 300000, 'x', 1000);
	g_assert_true(g_file_set_contents(from, content, 700000, &error));
	struct transfer one = { .source = here,
				.destination = here,
				.path = from,
				.path_there = to,
				.uid = -1,
				.gid = -1 };
	g_assert_true(transfer(&one, &error));
	g_assert_no_error(error);
	g_assert_cmpuint(one.bytes, ==, 700000);
	g_assert_true(g_file_get_contents(to, &copy, &length, &error));
	g_assert_cmpmem(copy, length, content, 700000);
	/* what exists is not overwritten, and is still there after that */
	struct transfer two = one;
	two.identity = NULL;
	g_assert_false(transfer_begin(&two, &error));
	g_assert_nonnull(error);
	g_clear_error(&error);
	g_assert_null(two.identity);
	g_assert_true(g_file_test(to, G_FILE_TEST_EXISTS));
	g_assert_true(image_remove(NULL, here, to, one.identity, NULL));
	g_assert_false(g_file_test(to, G_FILE_TEST_EXISTS));
	g_free(one.identity);
	g_unlink(from);
	g_rmdir(directory);
}

/* What was given up, or cannot be read, leaves nothing. */
static void test_transfer_badly(void)
{
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *from = g_build_filename(directory, "a", NULL);
	g_autofree char *to = g_build_filename(directory, "b", NULL);
	for (int stop = 0; stop < 2; stop++) {
		g_autoptr(GError) error = NULL;
		struct transfer one = { .source = here,
					.destination = here,
					.path = from,
					.path_there = to,
					.uid = -1,
					.gid = -1,
					.stop = stop };
		if (stop)
			g_assert_true(g_file_set_contents(from, "x", 1, NULL));
		g_assert_false(transfer(&one, &error));
		g_assert_nonnull(error);
		g_assert_false(g_file_test(to, G_FILE_TEST_EXISTS));
		g_free(one.identity);
	}
	g_unlink(from);
	g_rmdir(directory);
}

static void test_transfer_directory(void)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *directory = g_dir_make_tmp("watari-disk-XXXXXX", NULL);
	g_autofree char *from = g_build_filename(directory, "a b", NULL);
	g_autofree char *inner = g_build_filename(from, "tpm2", NULL);
	g_autofree char *file = g_build_filename(inner, "state", NULL);
	g_autofree char *to = g_build_filename(directory, "c d", NULL);
	g_autofree char *made = g_build_filename(to, "tpm2", "state", NULL);
	struct stat old, new;
	g_assert_cmpint(g_mkdir_with_parents(inner, 0700), ==, 0);
	g_assert_true(g_file_set_contents(file, "keys", 4, &error));
	g_assert_cmpint(chmod(file, 0640), ==, 0);
	struct transfer one = { .source = here,
				.destination = here,
				.path = from,
				.path_there = to,
				.directory = true,
				.uid = -1,
				.gid = -1 };
	g_assert_true(transfer(&one, &error));
	g_assert_no_error(error);
	g_assert_true(stat(file, &old) == 0 && stat(made, &new) == 0);
	g_assert_true(old.st_mode == new.st_mode &&old.st_uid == new.st_uid);
	g_assert_true(image_remove(NULL, here, to, "1:1", NULL));
	g_assert_true(g_file_test(made, G_FILE_TEST_EXISTS));
	g_assert_true(image_remove(NULL, here, to, one.identity, NULL));
	g_assert_false(g_file_test(to, G_FILE_TEST_EXISTS));
	g_assert_true(image_remove(NULL, here, from, NULL, NULL) == false);
	g_free(one.identity);
	g_unlink(file);
	g_rmdir(inner);
	g_rmdir(from);
	g_rmdir(directory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	here = host_address_parse(NULL, NULL);
	g_test_add_func("/disk/image", test_image);
	g_test_add_func("/disk/marks", test_marks);
	g_test_add_func("/disk/nonsense", test_nonsense);
	g_test_add_func("/disk/disks", test_disks);
	g_test_add_func("/disk/adapt", test_adapt);
	g_test_add_func("/disk/format-is-told", test_format_is_told);
	g_test_add_func("/disk/make", test_make);
	g_test_add_func("/disk/link-in-place", test_link_in_place);
	g_test_add_func("/disk/intended", test_intended);
	g_test_add_func("/disk/used-again", test_used_again);
	g_test_add_func("/disk/traits", test_traits);
	g_test_add_func("/disk/allocate", test_allocate);
	g_test_add_func("/disk/make-badly", test_make_badly);
	g_test_add_func("/disk/transfer", test_transfer);
	g_test_add_func("/disk/transfer-badly", test_transfer_badly);
	g_test_add_func("/disk/transfer-directory", test_transfer_directory);
	int status = g_test_run();
	host_address_free(here);
	return status;
}
