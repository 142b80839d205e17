/* SPDX-License-Identifier: Apache-2.0 */
/* The VM is stopped and its state goes into the file; its QEMU stays. libvirt writes the memory of a
 * snapshot in the format from which a VM can be restored, and that leaves the VM where it is. */
#include "conductor/quick/quick_limit.h"
#include "conductor/through/through.h"

#include "base/clock.h"
#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"

enum { LOOK_MS = 200 };

struct saving {
	struct move *move;
	virDomainPtr domain;
	char *xml;
	GError *error;
	gint done; /* atomic */
	/* the looker's */
	gint abort; /* atomic: asked for by the main thread */
	/* under lock */
	GMutex lock;
	uint64_t remaining, processed, total;
	int64_t looked_us;
};

/* ---- the stop ---- */

static void call_suspend(void *data)
{
	struct saving *saving = data;
	if (virDomainSuspend(saving->domain) < 0)
		host_error(&saving->error, WATARI_ERROR_FAILED, NULL,
			   _("the VM could not be stopped"));
}

static bool stop(struct saving *saving, GError **error)
{
	struct move *move = saving->move;
	if (!through_enter(move, THROUGH_STOPPED, error)) {
		error_classify(error, WATARI_ERROR_REFUSED, NULL);
		return false;
	}
	move->performed = true;
	if (!move->paused_before)
		move_call(move, call_suspend, saving);
	move->still = true;
	move->still_us = clock_now_us();
	if (!saving->error)
		return true;
	g_propagate_error(error, saving->error);
	return false;
}

/* ---- the state ---- */

/* Of the disks nothing is taken: they stay where they are, and stand still. */
static char *describe_save(struct move *move)
{
	GPtrArray *disks = move->report->disks;
	GString *xml = g_string_new("<domainsnapshot>");
	char *memory = g_markup_printf_escaped("<memory snapshot='external' file='%s'/><disks>",
					       move->through->path);
	g_string_append(xml, memory);
	g_free(memory);
	for (guint i = 0; i < disks->len; i++) {
		const struct move_disk *disk = disks->pdata[i];
		char *line = g_markup_printf_escaped("<disk name='%s' snapshot='no'/>",
						     disk->disk->target);
		g_string_append(xml, line);
		g_free(line);
	}
	g_string_append(xml, "</disks></domainsnapshot>");
	return g_string_free(xml, FALSE);
}

static gpointer save_memory(gpointer data)
{
	struct saving *saving = data;
	virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(
		saving->domain, saving->xml, VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA);
	if (snapshot)
		virDomainSnapshotFree(snapshot);
	else
		host_error(&saving->error, WATARI_ERROR_FAILED, NULL,
			   _("the state of the VM could not be saved"));
	g_atomic_int_set(&saving->done, 1);
	g_main_context_wakeup(NULL);
	return NULL;
}

/* In a thread: libvirt's answer may be long in coming. Also wakes the library (see phase_perform.c). */
static gpointer look_at_save(gpointer data)
{
	struct saving *saving = data;
	while (!g_atomic_int_get(&saving->done)) {
		virDomainJobInfo job;
		if (g_atomic_int_get(&saving->abort))
			virDomainAbortJob(saving->domain);
		if (virDomainGetJobInfo(saving->domain, &job) == 0 && job.memTotal > 0) {
			g_mutex_lock(&saving->lock);
			saving->remaining = job.memRemaining;
			saving->processed = job.memProcessed;
			saving->total = job.memTotal;
			saving->looked_us = clock_now_us();
			g_mutex_unlock(&saving->lock);
		}
		g_usleep(LOOK_MS * 1000);
	}
	return NULL;
}

static bool is_save_done(void *data)
{
	return g_atomic_int_get(&((struct saving *) data)->done);
}

/* Also when the user has cancelled: libvirt needs a moment for that. */
static void wait_a_little(struct saving *saving)
{
	struct move *move = saving->move;
	bool cancelled = move->cancelled;
	move->cancelled = false;
	move_wait(move, is_save_done, saving, LOOK_MS, NULL);
	move->cancelled |= cancelled;
}

/* Half of --max-stop is for reading it again. */
static bool look_at_save_limit(struct saving *saving, struct quick_limit *limit)
{
	struct move_progress *progress = &saving->move->progress;
	g_mutex_lock(&saving->lock);
	uint64_t remaining = saving->remaining;
	int64_t looked_us = saving->looked_us;
	progress->bytes = saving->processed;
	progress->remaining = remaining;
	progress->total = saving->total;
	progress->rate = (double) saving->processed /
			 ((double) (clock_now_us() - saving->move->still_us) / 1e6);
	g_mutex_unlock(&saving->lock);
	move_show_progress(saving->move);
	return looked_us && quick_limit_look(limit, looked_us, remaining);
}

static char *describe_missed(const struct quick_limit *limit)
{
	g_autofree char *needed = unit_format_duration_ms(limit->needed_ms);
	return g_strdup_printf(_("the stop would have lasted longer than --max-stop: at the rate "
				 "so far the state alone needs %s to be saved, and about as long "
				 "to be read"),
			       needed);
}

static bool save_state(struct saving *saving, GError **error)
{
	struct move *move = saving->move;
	struct quick_limit limit;
	g_autofree char *missed = NULL;
	quick_limit_init(&limit, move->still_us, move_stop_ceiling_ms(move) / 2);
	saving->xml = describe_save(move);
	GThread *saver = g_thread_new("save", save_memory, saving);
	GThread *looker = g_thread_new("look", look_at_save, saving);
	while (!is_save_done(saving)) {
		wait_a_little(saving);
		if (!missed && look_at_save_limit(saving, &limit))
			missed = describe_missed(&limit);
		if (move->cancelled || missed)
			g_atomic_int_set(&saving->abort, 1);
	}
	g_thread_join(saver);
	g_thread_join(looker);
	g_free(saving->xml);
	move->through->saving_ms = (clock_now_us() - move->still_us) / 1000;
	move->progress.bytes = 0; /* of what follows nobody knows how far it is */
	if (!saving->error)
		return move_check_cancel(move, error);
	if (move_check_cancel(move, error) && missed)
		error_set(error, WATARI_ERROR_FAILED, NULL, "%s", missed);
	if (*error)
		g_clear_error(&saving->error);
	else
		g_propagate_error(error, saving->error);
	return false;
}

static bool take_digest(struct move *move, GError **error)
{
	g_autoptr(JsonObject) answer = NULL;
	move_say(move, _("the state is saved; taking its digest"));
	if (!through_file(move, MOVE_SOURCE, "digest", &answer, error))
		return false;
	struct move_report *report = move->report;
	report->state_path = g_strdup(move->through->path);
	report->state_bytes = (uint64_t) json_get_int(answer, "size", 0);
	report->state_digest = g_strdup(json_get_string(answer, "sha256", ""));
	return through_note_digest(move, report->state_digest, error) &&
	       move_check_cancel(move, error);
}

bool phase_save(struct move *move, GError **error)
{
	struct saving saving = { .move = move, .domain = move->domain };
	int64_t start_ms = clock_now_ms();
	g_mutex_init(&saving.lock);
	bool good = stop(&saving, error) && save_state(&saving, error) && take_digest(move, error);
	g_mutex_clear(&saving.lock);
	move->report->migration_ms = clock_now_ms() - start_ms;
	return good;
}
