/* SPDX-License-Identifier: Apache-2.0 */
/* The copy of disks that yields to the guest, against a model of a disk that both share: the more of
 * it the copy takes, the longer the guest's requests take. */
#include "conductor/convergence/disk_yield.h"

#include <glib.h>

#define MIB ((double) (1 << 20))

struct model {
	double base_ns;    /* of a request on an idle disk */
	double disk;       /* bytes a second that it can do; the guest's queue grows towards that */
	double copy;       /* bytes a second that the copy would take if it might */
	double operations; /* of the guest, a second */
	uint64_t cap;
	/* the result of the last seconds */
	double latency_ns, copied;
	struct disk_yield yield;
	struct disk_yield_look now;
};

static void run_second(struct model *model)
{
	double rate = (double) model->yield.rate;
	model->copied = rate > 0 ? MIN(rate, model->copy) : model->copy;
	double busy = MIN(model->copied / model->disk, 0.95);
	model->latency_ns = model->base_ns / (1 - busy);
	model->now.at_us += G_USEC_PER_SEC;
	model->now.operations += (uint64_t) model->operations;
	model->now.busy_ns += (uint64_t) (model->operations * model->latency_ns);
	model->now.copied += (uint64_t) model->copied;
}

static void begin(struct model *model)
{
	struct disk_yield_look before = model->now;
	double copy = model->copy;
	before.at_us = model->now.at_us = 1;
	model->yield.rate = model->cap;
	model->copy = 0;
	run_second(model);
	model->copy = copy;
	disk_yield_init(&model->yield, model->cap, &before, &model->now);
}

static void run(struct model *model, int seconds)
{
	for (int i = 0; i < seconds; i++) {
		run_second(model);
		disk_yield_look(&model->yield, &model->now);
	}
}

/* A copy that would take 90 % of the disk: requests would take ten times as long. */
static void test_yields(void)
{
	struct model model = {
		.base_ns = 4e6, .disk = 100 * MIB, .copy = 90 * MIB, .operations = 100
	};
	double slow = 0, copied = 0;
	begin(&model);
	run(&model, 10);
	for (int i = 0; i < 60; i++) {
		run(&model, 1);
		slow += model.latency_ns > 2.3 * model.base_ns;
		copied += model.copied / 60;
	}
	g_assert_cmpfloat(slow, <=, 12);        /* it feels its way up now and then */
	g_assert_cmpfloat(copied, >, 25 * MIB); /* and does not starve */
	g_assert_cmpfloat(copied, <, 60 * MIB);
}

static void test_needs_no_limit(void)
{
	struct model model = {
		.base_ns = 4e6, .disk = 1000 * MIB, .copy = 100 * MIB, .operations = 100
	};
	begin(&model);
	run(&model, 30);
	g_assert_cmpuint(model.yield.rate, ==, 0);
}

/* Who says nothing holds nothing back: neither from the beginning, nor later. */
static void test_idle_guest(void)
{
	struct model model = {
		.base_ns = 4e6, .disk = 100 * MIB, .copy = 90 * MIB, .operations = 2
	};
	begin(&model);
	run(&model, 30);
	g_assert_cmpuint(model.yield.rate, ==, 0);
	model = (struct model){
		.base_ns = 4e6, .disk = 100 * MIB, .copy = 90 * MIB, .operations = 100
	};
	begin(&model);
	run(&model, 20);
	g_assert_cmpuint(model.yield.rate, >, 0);
	model.operations = 0;
	run(&model, 30);
	g_assert_cmpuint(model.yield.rate, ==, 0);
}

static void test_cap(void)
{
	struct model model = { .base_ns = 4e6,
			       .disk = 100 * MIB,
			       .copy = 90 * MIB,
			       .operations = 100,
			       .cap = (uint64_t) (80 * MIB) };
	begin(&model);
	for (int i = 0; i < 60; i++) {
		run(&model, 1);
		g_assert_cmpuint(model.yield.rate, >, 0);
		g_assert_cmpuint(model.yield.rate, <=, model.cap);
	}
	model.operations = 0;
	run(&model, 30);
	g_assert_cmpuint(model.yield.rate, ==, model.cap);
}

/* However slow the disk is, the copy comes to an end; and what is fast all the same is no reason. */
static void test_ends(void)
{
	struct model model = {
		.base_ns = 4e6, .disk = 1.0 * MIB, .copy = 0.9 * MIB, .operations = 100
	};
	begin(&model);
	run(&model, 100);
	g_assert_cmpuint(model.yield.rate, >=, DISK_YIELD_LEAST_RATE);
	model = (struct model){
		.base_ns = 1e4, .disk = 100 * MIB, .copy = 90 * MIB, .operations = 100
	};
	begin(&model);
	run(&model, 30);
	g_assert_cmpuint(model.yield.rate, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/disk-yield/yields", test_yields);
	g_test_add_func("/disk-yield/needs-no-limit", test_needs_no_limit);
	g_test_add_func("/disk-yield/idle-guest", test_idle_guest);
	g_test_add_func("/disk-yield/cap", test_cap);
	g_test_add_func("/disk-yield/ends", test_ends);
	return g_test_run();
}
