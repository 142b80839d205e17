/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the conductor (core/part.h). A new capability is a file that ends with its struct, and a line here. */
#include "conductor/core/part.h"

extern const struct part postcopy_part, rehearsal_part, ladder_part, quick_part, prediction_part,
	through_part, answers_part, files_part, offline_part;

const struct part *const parts[] = {
	&postcopy_part, &rehearsal_part, &ladder_part, &quick_part,   &prediction_part,
	&through_part,  &answers_part,   &files_part,  &offline_part, NULL,
};
