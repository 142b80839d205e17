/* SPDX-License-Identifier: Apache-2.0 */
/* Which word was meant, by its beginning or by the number of letters that differ. */
#include "cli/nearest.h"

#include <glib.h>
#include <string.h>

enum { LENGTH_MOST = 40, DISTANCE_MOST = 2, FAR = LENGTH_MOST };

/* Levenshtein's distance. */
static unsigned count_differences(const char *a, const char *b)
{
	size_t length = strlen(b);
	unsigned row[LENGTH_MOST + 1];
	if (strlen(a) > LENGTH_MOST || length > LENGTH_MOST)
		return FAR;
	for (size_t j = 0; j <= length; j++)
		row[j] = (unsigned) j;
	for (size_t i = 0; a[i]; i++) {
		unsigned diagonal = row[0]++;
		for (size_t j = 0; j < length; j++) {
			unsigned replaced = diagonal + (a[i] != b[j]);
			diagonal = row[j + 1];
			row[j + 1] = MIN(replaced, MIN(row[j], diagonal) + 1);
		}
	}
	return row[length];
}

static unsigned rate_candidate(const char *word, const char *candidate)
{
	size_t length = strlen(word);
	if (length >= 2 && strncmp(word, candidate, length) == 0)
		return 0;
	unsigned distance = count_differences(word, candidate);
	return distance <= DISTANCE_MOST && 3 * distance <= length ? distance : FAR;
}

const char *nearest_word(const char *word, const char *candidate, const char *best)
{
	unsigned new = rate_candidate(word, candidate);
	if (new == FAR)
		return best;
	return best && rate_candidate(word, best) <= new ? best : candidate;
}
