/* SPDX-License-Identifier: Apache-2.0 */
/* What there is no logind for, or what does not answer, holds nobody up. The lock itself is taken from a true logind by
 * tests/lab/test_rights.py. */
#include "base/clock.h"
#include "base/inhibit.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <unistd.h>

enum { SOON_MS = 3000 };

static void assert_soon(const char *address)
{
	g_setenv("DBUS_SYSTEM_BUS_ADDRESS", address, TRUE);
	int64_t began = clock_now_ms();
	struct inhibit *inhibit = inhibit_begin("a test");
	g_usleep(100000);
	inhibit_end(inhibit);
	g_assert_cmpint(clock_now_ms() - began, <, SOON_MS);
}

static void test_none(void)
{
	inhibit_end(NULL);
	assert_soon("unix:path=/nowhere/socket");
	assert_soon("nonsense");
}

/* It takes the connection and says nothing. */
static void test_silent(void)
{
	g_autofree char *directory = g_dir_make_tmp("watari-bus-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(directory, "socket", NULL);
	g_autofree char *address = g_strdup_printf("unix:path=%s", path);
	g_autoptr(GSocketAddress) place = g_unix_socket_address_new(path);
	g_autoptr(GSocket) bus = g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM,
					      G_SOCKET_PROTOCOL_DEFAULT, NULL);
	g_assert_true(g_socket_bind(bus, place, FALSE, NULL));
	g_assert_true(g_socket_listen(bus, NULL));
	assert_soon(address);
	g_unlink(path);
	g_rmdir(directory);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/inhibit/none", test_none);
	g_test_add_func("/inhibit/silent", test_silent);
	return g_test_run();
}
