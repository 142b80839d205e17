/* SPDX-License-Identifier: Apache-2.0 */
/* Starting, setting up and ending the pair of movers. Only inside src/conductor. */
#pragma once
#include "conductor/core/move.h"

/* Start a mover at both hosts and check who says hello. Refuses with the reason and next step. */
bool movers_start(struct move *move, GError **error);
/* A fresh mover at SIDE in place of the old one, which is ended. */
bool movers_restart(struct move *move, enum move_side side, GError **error);
/* Tell both what to do; they make their sockets. */
bool movers_set_up(struct move *move, GError **error);
/* Send MESSAGE to SIDE and wait for the answer of type TYPE; takes MESSAGE. Unref the result. */
JsonObject *movers_ask(struct move *move, enum move_side side, JsonObject *message,
		       const char *type, int timeout_ms, GError **error);
/* Only wait for it. */
JsonObject *movers_wait(struct move *move, enum move_side side, const char *type, int timeout_ms,
			GError **error);
/* Tell SIDE something; a mover that is gone is no error. Takes MESSAGE. */
void movers_tell(struct move *move, enum move_side side, JsonObject *message);
/* Say good-bye and wait for both to end. */
void movers_end(struct move *move);
/* The user's ceiling is for the whole standstill. What comes after the source mover's part, libvirt's
 * own hand-over, cannot be broken off any more, so it is left room. 0: no ceiling. */
int64_t movers_stop_limit_ms(const struct move_limits *limits);
/* The first failure of either, or NULL. */
const GError *movers_failure(struct move *move);
/* SIDE's mover still talks to us. */
bool movers_alive(struct move *move, enum move_side side);
/* Kill SIDE's mover, which hangs, through the shell; blocks, for a thread of its own. */
void movers_kill(struct move *move, enum move_side side);
/* The move is over: close the sockets that still hold QEMU, unless it was handed over. */
void movers_let_go(struct move *move);
/* The words that start watari at a host: an argument vector to be freed with g_strfreev. */
char **movers_command(struct move *move, enum move_side side, const char *const *words);
/* Those before a tool of QEMU's there, which make it a confined one that ends with whoever started it. */
char **movers_helper(struct move *move, enum move_side side);
/* What SIDE's mover said in its hello, or NULL. */
JsonObject *movers_hello(struct move *move, enum move_side side);
/* Both said so among their features. */
bool movers_can(struct move *move, const char *feature);
/* Remove what killed movers of this move left at both hosts: only what no living process needs. */
void movers_sweep(struct move *move);
