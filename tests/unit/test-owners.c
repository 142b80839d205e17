/* SPDX-License-Identifier: Apache-2.0 */
#include "mover/core/owners.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* As QEMU has them: another process, of another user, holds an image open for writing and a base for reading. */
enum { HERE = 65001, THERE = 65002, RIGHTS = 07777 };

struct scene {
	char *dir, *image, *base;
	pid_t pid;
	struct owners *owners;
};

static void be_qemu(const struct scene *scene, int ready)
{
	if (setregid(HERE, HERE) != 0 || setreuid(HERE, HERE) != 0)
		_exit(1);
	int image = open(scene->image, O_RDWR), base = open(scene->base, O_RDONLY);
	if (image < 0 || base < 0 || write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void make_file(const char *path, mode_t mode)
{
	g_assert_true(g_file_set_contents(path, "image", -1, NULL));
	g_assert_cmpint(chmod(path, mode), ==, 0);
	g_assert_cmpint(chown(path, HERE, HERE), ==, 0);
}

static void begin(struct scene *scene)
{
	int ready[2];
	char byte;
	scene->dir = g_dir_make_tmp("watari-owners-XXXXXX", NULL);
	scene->image = g_build_filename(scene->dir, "image", NULL);
	scene->base = g_build_filename(scene->dir, "base", NULL);
	g_assert_cmpint(chmod(scene->dir, 0755), ==, 0);
	make_file(scene->image, 0600);
	make_file(scene->base, 0600);
	g_assert_cmpint(pipe(ready), ==, 0);
	scene->pid = fork();
	if (scene->pid == 0)
		be_qemu(scene, ready[1]);
	close(ready[1]);
	g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
	close(ready[0]);
}

static void end_qemu(struct scene *scene)
{
	if (scene->pid <= 0)
		return;
	kill(scene->pid, SIGKILL);
	waitpid(scene->pid, NULL, 0);
	scene->pid = 0;
}

static void end(struct scene *scene)
{
	end_qemu(scene);
	owners_free(scene->owners);
	unlink(scene->image);
	unlink(scene->base);
	rmdir(scene->dir);
	g_free(scene->dir);
	g_free(scene->image);
	g_free(scene->base);
}

static void assert_is(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct stat found;
	g_assert_cmpint(stat(path, &found), ==, 0);
	g_assert_cmpuint(found.st_uid, ==, uid);
	g_assert_cmpuint(found.st_gid, ==, gid);
	g_assert_cmpuint(found.st_mode & RIGHTS, ==, mode);
}

static bool is_root(void)
{
	if (geteuid() == 0)
		return true;
	g_test_skip("only root gives files away");
	return false;
}

static void note(struct scene *scene)
{
	g_autoptr(GError) error = NULL;
	begin(scene);
	scene->owners = owners_new(scene->pid, &error);
	g_assert_no_error(error);
	g_assert_nonnull(scene->owners);
	g_assert_true(owners_begin(scene->owners, &error));
	g_assert_no_error(error);
}

static void test_nothing_changes(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	note(&scene);
	g_assert_true(owners_share(scene.owners, NULL));
	owners_give_back(scene.owners);
	assert_is(scene.image, HERE, HERE, 0600);
	end(&scene);
}

static void test_both_may(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	note(&scene);
	g_assert_cmpint(chown(scene.image, THERE, THERE), ==, 0);
	g_assert_cmpint(chown(scene.base, THERE, THERE), ==, 0);
	g_assert_true(owners_share(scene.owners, NULL));
	assert_is(scene.image, HERE, THERE, 0660);
	assert_is(scene.base, THERE, THERE, 0600); /* it is not opened again */
	owners_give_back(scene.owners);
	assert_is(scene.image, HERE, HERE, 0600);
	end(&scene);
}

/* The file is meant, not its name: an image is renamed, and something else stands there. */
static void test_the_file_itself(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	note(&scene);
	g_autofree char *other = g_strconcat(scene.image, ".other", NULL);
	g_assert_cmpint(rename(scene.image, other), ==, 0);
	make_file(scene.image, 0640);
	g_assert_cmpint(chown(other, 0, 0), ==, 0);
	owners_give_back(scene.owners);
	assert_is(other, HERE, HERE, 0600);
	assert_is(scene.image, HERE, HERE, 0640);
	unlink(other);
	end(&scene);
}

static void test_handed_over(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	note(&scene);
	g_assert_cmpint(chown(scene.image, THERE, THERE), ==, 0);
	g_assert_true(owners_share(scene.owners, NULL));
	owners_hand_over(scene.owners); /* QEMU is there, and may be asked to go on */
	assert_is(scene.image, HERE, THERE, 0660);
	g_assert_cmpint(chown(scene.image, 0, 0), ==,
			0); /* the other side has failed, and libvirt there ended it */
	owners_hand_over(scene.owners);
	assert_is(scene.image, HERE, THERE, 0660);
	end_qemu(&scene);
	owners_hand_over(scene.owners);
	assert_is(scene.image, THERE, THERE, 0600);
	end(&scene);
}

/* libvirt at the source gives it to root when the VM has left it. */
static void test_taken_behind(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	note(&scene);
	g_assert_true(owners_share(scene.owners, NULL));
	end_qemu(&scene);
	g_assert_cmpint(chown(scene.image, 0, 0), ==, 0);
	owners_hand_over(scene.owners);
	assert_is(scene.image, HERE, HERE, 0600);
	end(&scene);
}

static void test_taken_before(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	begin(&scene);
	g_assert_cmpint(chown(scene.image, 0, HERE), ==, 0);
	g_assert_cmpint(chmod(scene.image, 0660), ==, 0);
	scene.owners = owners_new(scene.pid, NULL);
	g_assert_true(owners_begin(scene.owners, NULL)); /* by its group it may */
	assert_is(scene.image, 0, HERE, 0660);
	owners_free(scene.owners);
	g_assert_cmpint(chown(scene.image, 0, 0), ==, 0);
	scene.owners = owners_new(scene.pid, NULL);
	g_assert_true(owners_begin(scene.owners, NULL));
	assert_is(scene.image, HERE, HERE, 0660);
	g_assert_cmpuint(geteuid(), ==, 0);
	end(&scene);
}

/* A plan's mover looks, and touches nothing. */
static void test_only_looked(void)
{
	struct scene scene = { 0 };
	if (!is_root())
		return;
	begin(&scene);
	g_assert_cmpint(chown(scene.image, 0, 0), ==, 0);
	scene.owners = owners_new(scene.pid, NULL);
	g_assert_nonnull(scene.owners);
	g_assert_cmpint(chown(scene.image, THERE, THERE), ==, 0);
	g_assert_true(owners_share(scene.owners, NULL));
	owners_give_back(scene.owners);
	owners_hand_over(scene.owners);
	assert_is(scene.image, THERE, THERE, 0600);
	end(&scene);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/owners/nothing-changes", test_nothing_changes);
	g_test_add_func("/owners/both-may", test_both_may);
	g_test_add_func("/owners/the-file-itself", test_the_file_itself);
	g_test_add_func("/owners/handed-over", test_handed_over);
	g_test_add_func("/owners/taken-behind", test_taken_behind);
	g_test_add_func("/owners/taken-before", test_taken_before);
	g_test_add_func("/owners/only-looked", test_only_looked);
	return g_test_run();
}
