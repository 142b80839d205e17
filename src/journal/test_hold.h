/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the conductor stays for 3 s where the moment is in which a thing is written down and not
 * done yet. WATARI_TEST_HOLD names events and phases of the journal, with commas between; builds without
 * -Dfaults=true contain none of it. */
#pragma once

/* WORD was just written, or given to who writes notes. */
void test_hold_written(const char *word);
