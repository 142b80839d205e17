/* SPDX-License-Identifier: Apache-2.0 */
/* Asks a person at the terminal. */
#pragma once
#include <stdbool.h>

/* `confirm` of struct move_observer; DATA is a struct progress. False without asking if there is
 * no terminal. The default main context is turned meanwhile; a signal that ends the program is a no. */
bool confirm_ask(const char *question, void *data);
