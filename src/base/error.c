/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of this program: made, read, printed. */
#include "base/error.h"

#include "base/plain.h"

#include <string.h>

G_DEFINE_QUARK(watari - error, watari_error)

static const struct {
	const char *name;
	enum watari_exit exit;
} classes[] = {
	[WATARI_ERROR_USAGE] = { "usage", WATARI_EXIT_USAGE },
	[WATARI_ERROR_REFUSED] = { "refused", WATARI_EXIT_REFUSED },
	[WATARI_ERROR_FAILED] = { "failed", WATARI_EXIT_FAILED },
	[WATARI_ERROR_ATTENTION] = { "attention", WATARI_EXIT_ATTENTION },
	[WATARI_ERROR_CANCELLED] = { "cancelled", WATARI_EXIT_CANCELLED },
	/* Nobody said what it means for the VM, so a person has to look. */
	[WATARI_ERROR_INTERNAL] = { "attention", WATARI_EXIT_ATTENTION },
};
_Static_assert(G_N_ELEMENTS(classes) == WATARI_ERROR_LAST, "every class has a name");

/* A message may carry anybody's words (a VM's name, a remote program's complaint), and the first
 * newline of a GError's message parts it from the next step. */
bool error_set(GError **error, enum watari_error code, const char *next, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *what = plain_line(g_strdup_vprintf(format, args));
	va_end(args);
	if (next)
		g_set_error(error, WATARI_ERROR, code, "%s\n%s", what, next);
	else
		g_set_error_literal(error, WATARI_ERROR, code, what);
	return false;
}

void error_prefix(GError **error, const char *format, ...)
{
	if (!error || !*error)
		return;
	va_list args;
	va_start(args, format);
	g_autofree char *prefix = g_strdup_vprintf(format, args);
	va_end(args);
	g_prefix_error(error, "%s: ", prefix);
}

char *error_what(const GError *error)
{
	const char *end = strchr(error->message, '\n');
	return end ? g_strndup(error->message, (size_t) (end - error->message))
		   : g_strdup(error->message);
}

char *error_next(const GError *error)
{
	const char *end = strchr(error->message, '\n');
	return end && error->domain == WATARI_ERROR ? g_strdup(end + 1) : NULL;
}

void error_classify(GError **error, enum watari_error code, const char *next)
{
	if (!error || !*error)
		return;
	GError *old = *error;
	if (old->domain == WATARI_ERROR && old->code != WATARI_ERROR_INTERNAL)
		return;
	g_autofree char *what =
		old->domain == WATARI_ERROR ? error_what(old) : g_strdup(old->message);
	g_autofree char *kept = error_next(old);
	GError *classed = NULL;
	error_set(&classed, code, kept ? kept : next, "%s", what);
	g_error_free(old);
	*error = classed;
}

enum watari_exit error_exit_code(const GError *error)
{
	if (error->domain != WATARI_ERROR || error->code < 0 || error->code >= WATARI_ERROR_LAST)
		return WATARI_EXIT_ATTENTION;
	return classes[error->code].exit;
}

const char *error_class_name(const GError *error)
{
	if (error->domain != WATARI_ERROR || error->code < 0 || error->code >= WATARI_ERROR_LAST)
		return "attention";
	return classes[error->code].name;
}
