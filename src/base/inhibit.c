/* SPDX-License-Identifier: Apache-2.0 */
/* Asks logind to keep this machine awake. */
#include "base/inhibit.h"

#include "base/fd.h"

#include <gio/gio.h>
#include <gio/gunixfdlist.h>

enum { ANSWER_MS = 5000 };

struct inhibit {
	char *why;
	GCancellable *cancel;
	GThread *thread;
	int lock; /* the thread's until it is joined; -1: none */
};

static GDBusConnection *connect_to_system_bus(GCancellable *cancel)
{
	g_autofree char *address = g_dbus_address_get_for_bus_sync(G_BUS_TYPE_SYSTEM, cancel, NULL);
	if (!address)
		return NULL;
	return g_dbus_connection_new_for_address_sync(
		address,
		G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
			G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
		NULL, cancel, NULL);
}

/* The lock is held as long as the descriptor is open, whatever becomes of the connection. */
static int take_lock(GDBusConnection *bus, const struct inhibit *inhibit, const char *mode)
{
	g_autoptr(GUnixFDList) descriptors = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(GVariant) answer = g_dbus_connection_call_with_unix_fd_list_sync(
		bus, "org.freedesktop.login1", "/org/freedesktop/login1",
		"org.freedesktop.login1.Manager", "Inhibit",
		g_variant_new("(ssss)", "sleep:shutdown", "watari", inhibit->why, mode),
		G_VARIANT_TYPE("(h)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, ANSWER_MS, NULL,
		&descriptors, inhibit->cancel, &error);
	int index = -1;
	if (answer && descriptors)
		g_variant_get(answer, "(h)", &index);
	else
		g_debug("inhibitor lock (%s): %s", mode, error ? error->message : "no descriptor");
	return index >= 0 ? g_unix_fd_list_get(descriptors, index, NULL) : -1;
}

/* A user that is not at the machine itself may not block, but delay. */
static void *take_inhibitor(void *data)
{
	static const char *const modes[] = { "block", "delay" };
	struct inhibit *inhibit = data;
	g_autoptr(GDBusConnection) bus = connect_to_system_bus(inhibit->cancel);
	for (size_t i = 0; bus && inhibit->lock < 0 && i < G_N_ELEMENTS(modes); i++)
		inhibit->lock = take_lock(bus, inhibit, modes[i]);
	return NULL;
}

struct inhibit *inhibit_begin(const char *why)
{
	struct inhibit *inhibit = g_new0(struct inhibit, 1);
	inhibit->why = g_strdup(why);
	inhibit->cancel = g_cancellable_new();
	inhibit->lock = -1;
	inhibit->thread = g_thread_new("inhibit", take_inhibitor, inhibit);
	return inhibit;
}

void inhibit_end(struct inhibit *inhibit)
{
	if (!inhibit)
		return;
	g_cancellable_cancel(inhibit->cancel);
	g_thread_join(inhibit->thread);
	fd_clear(&inhibit->lock);
	g_object_unref(inhibit->cancel);
	g_free(inhibit->why);
	g_free(inhibit);
}
