/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a lane: what its files share (lane.c its life, lane_in.c, lane_out.c, lane_break.c). All of it is
 * for the lane's own thread. */
#pragma once
#include "link/internal.h"

/* This connection is at its end: the lane goes on with another one. */
void lane_break(struct lane *lane, const char *what, const char *problem);
void lane_break_channel(struct lane *lane);
/* The peer broke the protocol: so is the link. */
void lane_fail_protocol(struct lane *lane, const char *problem);

/* Take in what has come; returns whether there may be more. */
bool lane_read(struct lane *lane);

/* Write what may go; returns whether there may be more. */
bool lane_write(struct lane *lane);
/* With the link's lock held: is there something small to say; a frame to carry? */
bool lane_has_control(const struct lane *lane);
bool lane_has_frames(const struct lane *lane);
