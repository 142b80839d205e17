/* SPDX-License-Identifier: Apache-2.0 */
/* The struct of a move: made, filled, and given back. See move.h. */
#include "conductor/core/hand_over.h"
#include "conductor/core/part.h"
#include "conductor/core/ssh_link.h"
#include "forecast/rules.h"

#include "base/clock.h"
#include "base/i18n.h"

#include <string.h>

int64_t move_stop_ceiling_ms(const struct move *move)
{
	bool quick = move->request->kind == MOVE_QUICK;
	return quick && move->paused_before ? 0 : move->limits.ceiling_ms;
}

/* Where QEMU may lose a page each time that it looks for dirty ones (the check "tcg"), few rounds are
 * worth more than a short stop. */
int64_t move_easy_ms(const struct move *move)
{
	enum { FEW_ROUNDS_MS = 100 }; /* or a third of the ceiling */
	const GPtrArray *findings = move->report->findings;
	int64_t ceiling_ms = move->limits.ceiling_ms;
	if (!ceiling_ms)
		ceiling_ms = move->request->max_downtime_ms;
	for (guint i = 0; findings && i < findings->len; i++) {
		const struct check_finding *finding = findings->pdata[i];
		if (g_str_equal(finding->check, "tcg") && finding->result == CHECK_WARN)
			return MAX(MIN(FEW_ROUNDS_MS, ceiling_ms / 3), RULE_EASY_MS);
	}
	return RULE_EASY_MS;
}

static void close_hosts(void *data)
{
	struct move *move = data;
	if (move->domain)
		virDomainFree(move->domain);
	for (int side = 0; side < MOVE_SIDES; side++)
		g_clear_pointer(&move->hosts[side], host_free);
	g_clear_pointer(&move->guard, guard_free);
}

void move_clear(struct move *move)
{
	move_call(move, close_hosts, move);
	move_release_signals(move);
	for (int side = 0; side < MOVE_SIDES; side++) {
		g_clear_pointer(&move->host_uuids[side], g_free);
		g_clear_pointer(&move->hellos[side], json_object_unref);
		if (move->addresses[side])
			host_address_free(move->addresses[side]);
	}
	g_clear_pointer(&move->nics, g_ptr_array_unref);
	g_clear_pointer(&move->paths, g_ptr_array_unref);
	g_clear_pointer(&move->absent_media, g_strfreev);
	g_clear_pointer(&move->belongings, json_object_unref);
	g_clear_pointer(&move->images, json_array_unref);
	parts_clear(move);
	finish_mark_free(move->finish_mark);
	inhibit_end(move->inhibit);
	journal_close(move->journal);
	g_strfreev(move->shell.rsh);
	free(move->live_xml); /* libvirt's */
	g_free(move->socket);
	g_free(move->disks_socket);
	g_free(move->mover_reason);
	g_free(move->mover_next);
	g_free(move->refuse_code);
	explicit_bzero(move->key, sizeof move->key);
}

void move_prepare(struct move *move)
{
	move_report_init(move->report);
	move->started_us = clock_now_us();
	move->progress.left_ms = -1;
	move_catch_signals(move);
}

void move_set_limits(struct move *move)
{
	const struct move_request *request = move->request;
	int64_t ceiling_ms =
		request->kind == MOVE_QUICK ? request->max_stop_ms : request->max_downtime_ms;
	move->limits = (struct move_limits){
		.bandwidth = request->bandwidth,
		.ceiling_ms = ceiling_ms,
		.hand_over_ms = hand_over_choose(NULL, 0, request->bandwidth, ceiling_ms),
		.link_timeout_ms = request->link_timeout_ms,
		/* only a move that may come to its end is worth a slower VM */
		.max_slowdown = request->kind == MOVE_LIVE ? request->max_slowdown : 0,
		.postcopy = request->allow_postcopy,
	};
}

void move_note_finding(struct move *move, const struct check_finding *finding)
{
	if (finding->accepted)
		move_note(move, true, _("%s (accepted: %s)"), finding->what, finding->check);
	else
		move_note(move, true, "%s%s%s", finding->what, finding->next ? " — " : "",
			  finding->next ? finding->next : "");
}

void move_add_finding(struct move *move, struct check_finding *finding)
{
	if (!move->report->findings)
		move->report->findings = check_new_findings();
	g_ptr_array_add(move->report->findings, finding);
	if (finding->result == CHECK_WARN)
		move_note_finding(move, finding);
}
