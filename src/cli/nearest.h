/* SPDX-License-Identifier: Apache-2.0 */
/* Which word was meant: for options and commands that are not there. */
#pragma once

/* Of CANDIDATE and BEST (NULL: none yet) the one that WORD may have meant: it begins like it, or one
 * letter in three differs, two at most. NULL: neither. The strings stay the caller's. */
const char *nearest_word(const char *word, const char *candidate, const char *best);
