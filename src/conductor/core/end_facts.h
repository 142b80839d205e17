/* SPDX-License-Identifier: Apache-2.0 */
/* What a move knows of its own end, beside what both hosts say (endings/ending.h). */
#pragma once

/* Whether the VM ran at the destination, where only libvirt's Finish starts it (perform/finish.h). */
enum ending_ran {
	ENDING_RAN_MAYBE, /* Finish may have been said, and nobody knows what came of it */
	ENDING_RAN_NEVER, /* it was not, or the destination answered that it failed */
	ENDING_RAN_ONCE,  /* a person says so */
};

/* What the journal says of a move that is picked up: how it ended. */
enum ending_closed { ENDING_OPEN, ENDING_CLOSED_AT_SOURCE, ENDING_CLOSED_AT_DESTINATION };
