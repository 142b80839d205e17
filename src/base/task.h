/* SPDX-License-Identifier: Apache-2.0 */
/* Something that takes a while and ends with one message to the conductor, in a thread of its own. What is known
 * earlier may be reported before. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

struct errand;
/* WORK returns the answer; it looks at errand_sleep() for the end. SEND gets it in the main thread, unless
 * the errand was freed before. DATA is given to CLEAR at the end (which may be NULL). */
struct errand *errand_new(JsonObject *(*work)(struct errand *errand, void *data), void *data,
			  void (*clear)(void *data), void (*send)(JsonObject *answer, void *data),
			  void *send_data);
/* Sends MESSAGE before the answer; takes it. The errand's own thread. */
void errand_report(struct errand *errand, JsonObject *message);
/* False: it is over, go home. Any thread, as is errand_is_over(). */
bool errand_sleep(struct errand *errand, int ms);
bool errand_is_over(struct errand *errand);
/* Has its answer been sent? Main thread. */
bool errand_is_done(const struct errand *errand);
/* Waits for the thread. NULL is no errand. Main thread. */
void errand_free(struct errand *errand);
