/* SPDX-License-Identifier: Apache-2.0 */
/* How many different pages a guest changes in a time: d(t) = set x (1 - exp(-t / tau)) + stream x t.
 *
 * A working set that is written again and again saturates; what moves on through memory (a page cache
 * that fills, a copying collector) does not. Two or more looks at different distances from the first tell
 * the two apart. (The form is usual in the literature on pre-copy; docs/methods.md.)
 */
#pragma once

struct dirty_look {
	double seconds; /* since the first look */
	double pages;   /* different from then */
};

struct dirty_model {
	double set;    /* pages of the working set */
	double tau;    /* seconds in which most of them are met */
	double stream; /* pages a second beyond it */
};

/* By least squares on the share of error; COUNT of 0 is a guest that changes nothing. */
struct dirty_model dirty_fit(const struct dirty_look *looks, unsigned count);
double dirty_pages(const struct dirty_model *model, double seconds);
