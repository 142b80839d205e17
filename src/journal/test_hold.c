/* SPDX-License-Identifier: Apache-2.0 */
/* Stays a while at a named moment, in test builds. */
#include "journal/test_hold.h"

#ifdef WATARI_FAULTS
#include <glib.h>

void test_hold_written(const char *word)
{
	const char *set = g_getenv("WATARI_TEST_HOLD");
	g_auto(GStrv) words = g_strsplit(set ? set : "", ",", -1);
	if (g_strv_contains((const char *const *) words, word))
		g_usleep(3 * G_USEC_PER_SEC);
}
#else
void test_hold_written(const char *word)
{
}
#endif
