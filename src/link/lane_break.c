/* SPDX-License-Identifier: Apache-2.0 */
/* How a lane's connection, or the whole link, ends before its time. */
#include "base/i18n.h"
#include "link/lane.h"

void lane_break(struct lane *lane, const char *what, const char *problem)
{
	lane->broken = true;
	pthread_mutex_lock(&lane->link->lock);
	link_note_problem(lane->link, what, problem);
	pthread_mutex_unlock(&lane->link->lock);
}

void lane_break_channel(struct lane *lane)
{
	lane_break(lane, _("connection lost"), channel_problem(lane->channel));
}

void lane_fail_protocol(struct lane *lane, const char *problem)
{
	lane->broken = true;
	pthread_mutex_lock(&lane->link->lock);
	link_fail_protocol(lane->link, problem);
	pthread_mutex_unlock(&lane->link->lock);
}
