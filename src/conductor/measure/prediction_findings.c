/* SPDX-License-Identifier: Apache-2.0 */
/* What the measurements say against a move, beside what was asked of both hosts before (host/checks/check.h). */
#include "conductor/measure/prediction.h"

#include "conductor/core/move.h"

#include "base/i18n.h"
#include "base/unit.h"

#include <math.h>

static const double slower_warn = 0.9; /* of the source's speed, or less */
static const double busy_warn = 0.85, stolen_warn = 0.05, clock_warn_ms = 500, loss_warn = 0.01;

static GPtrArray *findings_of(struct move *move)
{
	if (!move->report->findings)
		move->report->findings = check_new_findings();
	return move->report->findings;
}

/* The VM's new home, compared with the old one. */
static void find_speed(struct move *move)
{
	const struct facts_host *hosts = move->prediction->facts.hosts;
	const char *there = move->hosts[MOVE_DESTINATION]->name;
	const char *here = move->hosts[MOVE_SOURCE]->name;
	GPtrArray *findings = findings_of(move);
	if (hosts[0].speed <= 0 || hosts[1].speed <= 0)
		return;
	double ratio = hosts[1].speed / hosts[0].speed;
	if (ratio < slower_warn)
		check_add(findings, "speed", CHECK_WARN, NULL,
			  _("a thread runs %d %% slower at %s than at %s: so will the VM"),
			  (int) lround((1 - ratio) * 100), there, here);
	else
		check_add(findings, "speed", CHECK_PASS, NULL, NULL);
}

static void find_load(struct move *move, enum move_side side)
{
	const struct facts_host *host = &move->prediction->facts.hosts[side];
	const char *name = move->hosts[side]->name;
	const char *check = side == MOVE_SOURCE ? "load:source" : "load:destination";
	GPtrArray *findings = findings_of(move);
	if (host->stolen > stolen_warn)
		check_add(findings, check, CHECK_WARN,
			  _("Give it more processor time, or choose another time."),
			  _("%s is a virtual machine itself, and %d %% of its processor time is "
			    "taken by others"),
			  name, (int) lround(host->stolen * 100));
	else if (host->busy > busy_warn)
		check_add(findings, check, CHECK_WARN,
			  _("Move at a quieter time, or move something else away first."),
			  _("the processors of %s are %d %% busy: the move takes longer, and the "
			    "VMs there feel it"),
			  name, (int) lround(host->busy * 100));
	else
		check_add(findings, check, CHECK_PASS, NULL, NULL);
}

static void find_clock(struct move *move)
{
	const struct facts_host *hosts = move->prediction->facts.hosts;
	double apart = hosts[1].clock_ms - hosts[0].clock_ms;
	g_autofree char *text = unit_format_duration_ms((int64_t) fabs(apart));
	if (fabs(apart) > clock_warn_ms)
		check_add(findings_of(move), "clock", CHECK_WARN,
			  _("Let both hosts keep time with NTP (chrony, systemd-timesyncd)."),
			  apart > 0 ? _("the clock of %s is %s ahead of that of %s")
				    : _("the clock of %s is %s behind that of %s"),
			  move->hosts[MOVE_DESTINATION]->name, text,
			  move->hosts[MOVE_SOURCE]->name);
	else
		check_add(findings_of(move), "clock", CHECK_PASS, NULL, NULL);
}

static void find_link(struct move *move)
{
	const struct plan_facts *facts = &move->prediction->facts;
	if (facts->loss > loss_warn)
		check_add(findings_of(move), "link", CHECK_WARN,
			  _("See whether a cable, a port or a switch between the hosts is bad."),
			  _("%d %% of what was sent over the link had to be sent again"),
			  (int) lround(facts->loss * 100));
	else
		check_add(findings_of(move), "link", CHECK_PASS, NULL, NULL);
}

/* Does it come to an end? */
static void find_convergence(struct move *move)
{
	const struct prediction *prediction = move->prediction;
	const struct model_result *model = &prediction->outlooks[PLAN_LIVE].model;
	if (prediction->chosen != PLAN_LIVE || prediction->facts.sample_pages <= 0)
		return;
	if (model->converges) {
		check_add(findings_of(move), "convergence", CHECK_PASS, NULL, NULL);
		return;
	}
	g_autofree char *needed = unit_format_duration_ms((int64_t) model->needed_ms);
	g_autofree char *ceiling =
		unit_format_duration_ms((int64_t) prediction->facts.max_downtime_ms);
	check_add(findings_of(move), "convergence", CHECK_WARN,
		  _("Allow a longer stop (--max-downtime), move at a quieter time, or use “watari "
		    "quick”."),
		  _("the VM changes its memory so fast that the rounds will not get smaller: a "
		    "live move would need a stop of about %s, and %s are allowed"),
		  needed, ceiling);
}

void prediction_find(struct move *move)
{
	find_speed(move);
	for (int side = 0; side < MOVE_SIDES; side++)
		find_load(move, side);
	find_clock(move);
	find_link(move);
	find_convergence(move);
}
