/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the closing report: where the VM runs now, times, bytes, proof. */
#include "cli/report.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"

#include <inttypes.h>

static const char *host_of(const struct move_report_side *side)
{
	return side->host ? side->host : side->address ? side->address : "?";
}

const char *report_state_words(const char *state)
{
	static const struct {
		const char *state, *words;
	} table[] = {
		{ "running", N_("runs") },         { "absent", N_("is not there") },
		{ "off", N_("is off") },           { "paused", N_("is paused") },
		{ "incoming", N_("is arriving") }, { "unknown", N_("is not known") },
	};
	for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
		if (g_strcmp0(state, table[i].state) == 0)
			return _(table[i].words);
	return state;
}

static void print_places(const struct move_report *report, FILE *out)
{
	const struct move_report_side *source = &report->sides[MOVE_SOURCE];
	const struct move_report_side *destination = &report->sides[MOVE_DESTINATION];
	/* TRANSLATORS: VM name; at the destination HOST it STATE, at the source HOST it STATE */
	fprintf(out, _("%s: at %s it %s; at %s it %s"), report->vm_name, host_of(destination),
		report_state_words(destination->vm_state), host_of(source),
		report_state_words(source->vm_state));
	fputc('\n', out);
}

static void print_times(const struct move_report *report, FILE *out)
{
	g_autofree char *total = unit_format_duration_ms(report->total_ms);
	fprintf(out, _("  time      %s in all"), total);
	if (report->downtime_ms >= 0) {
		g_autofree char *down = unit_format_duration_ms(report->downtime_ms);
		fprintf(out, _(", stopped for %s"), down);
	}
	if (report->stop_to_release_ms >= 0) {
		g_autofree char *held = unit_format_duration_ms(report->stop_to_release_ms);
		fprintf(out, _(" (%s from the stop to the hand-over)"), held);
	}
	fputc('\n', out);
}

static void print_link(const struct move_report *report, FILE *out)
{
	fprintf(out,
		ngettext("  link      %s, %d connection", "  link      %s, %d connections",
			 (unsigned long) report->connections),
		report->link, report->connections);
	if (report->reconnects > 0)
		fprintf(out,
			ngettext(", connected again %d time", ", connected again %d times",
				 (unsigned long) report->reconnects),
			(int) report->reconnects);
	fputc('\n', out);
}

static void print_bytes(const struct move_report *report, FILE *out)
{
	g_autofree char *wire = unit_format_bytes(report->wire_sent);
	if (report->state_path) {
		g_autofree char *size = unit_format_bytes(report->state_bytes);
		fprintf(out, _("  state     %s through %s"), size, report->state_path);
		fputc('\n', out);
		return;
	}
	if (report->kind == MOVE_OFFLINE) {
		fprintf(out, _("  bytes     %s on the wire"), wire);
		fputc('\n', out);
		print_link(report, out);
		return;
	}
	g_autofree char *stream = unit_format_bytes(report->stream_bytes);
	fprintf(out, _("  bytes     %s of migration, %s on the wire"), stream, wire);
	if (report->wire_sent > 0 && report->stream_bytes >= report->wire_sent * 11 / 10)
		fprintf(out, _(" (1/%.1f of it)"),
			(double) report->stream_bytes / (double) report->wire_sent);
	fprintf(out, ngettext(", %d pass", ", %d passes", (unsigned long) report->iterations),
		report->iterations);
	fputc('\n', out);
	print_link(report, out);
	if (report->opaque) {
		fprintf(out, _("  note      carried as plain bytes: %s"), report->opaque);
		fputc('\n', out);
	}
}

/* The kinds of what was sent, by the names that the mover gives them. */
static void print_content(const struct move_report *report, FILE *out)
{
	static const struct {
		const char *name, *words;
	} kinds[] = {
		/* TRANSLATORS: pages of memory, by what was sent for them */
		{ "zero_pages", N_("zero") },
		{ "same_pages", N_("as before") },
		{ "reference_pages", N_("as elsewhere") },
		{ "delta_pages", N_("by what changed") },
		{ "literal_pages", N_("whole") },
	};
	JsonObject *content = report->sides[MOVE_SOURCE].content;
	const char *between = _("  pages     ");
	bool any = false;
	for (size_t i = 0; content && i < G_N_ELEMENTS(kinds); i++) {
		int64_t pages = json_get_int(content, kinds[i].name, 0);
		if (pages <= 0)
			continue;
		fprintf(out, "%s%s %" PRId64, between, _(kinds[i].words), pages);
		between = ", ";
		any = true;
	}
	if (any)
		fputc('\n', out);
}

static void print_proof(const struct move_report *report, FILE *out)
{
	if (report->state_path && report->outcome == MOVE_MIGRATED) {
		fputs(_("  proof     the state read at the destination has the source's SHA-256"),
		      out);
		fputc('\n', out);
	}
	if (!report->stream_agreed)
		return;
	fputs(_("  proof     both movers saw the same bytes, in the same order"), out);
	if (report->memory_pages > 0) {
		g_autofree char *bytes = unit_format_bytes(report->memory_bytes);
		fprintf(out, _("; memory compared (%s): %s"), report->memory_proof, bytes);
	}
	if (report->shared_disks > 0)
		fprintf(out,
			ngettext("; %d disk proven to be shared", "; %d disks proven to be shared",
				 (unsigned long) report->shared_disks),
			report->shared_disks);
	fputc('\n', out);
}

static void print_disks(const struct move_report *report, FILE *out)
{
	for (guint i = 0; report->disks && i < report->disks->len; i++) {
		const struct move_disk *disk = report->disks->pdata[i];
		if (disk->kind != MOVE_DISK_COPIED || report->outcome != MOVE_MIGRATED)
			continue;
		g_autofree char *size = unit_format_bytes(disk->size);
		g_autofree char *bytes = unit_format_bytes(disk->literal);
		/* TRANSLATORS: disk, its size, its new path, bytes that were no reference */
		fprintf(out, _("  disk      %s (%s) copied to %s, %s of content sent"),
			disk->disk->target, size, disk->destination, bytes);
		if (disk->agreed)
			fputs(disk->verified > 0 ? _(", proven to be the same, and read back")
						 : _(", proven to be the same"),
			      out);
		fputc('\n', out);
	}
}

static void print_files(const struct move_report *report, FILE *out)
{
	for (guint i = 0; report->files && i < json_array_get_length(report->files); i++) {
		JsonObject *file = json_array_get_object_element(report->files, i);
		g_autofree char *size = unit_format_bytes((uint64_t) json_get_int(file, "size", 0));
		/* TRANSLATORS: what it is of the VM ("sda", "nvram"), its size, its path */
		fprintf(out, _("  file      %s (%s) copied to %s\n"),
			json_get_string(file, "what", "?"), size,
			json_get_string(file, "destination", "?"));
	}
}

/* What the guest waited for a page, in milliseconds. */
static void print_requests(int count, double mean_ms, FILE *out)
{
	fprintf(out,
		ngettext("; it asked for %d page and had it after %.1f ms",
			 "; it asked for %d pages and had them after %.1f ms (mean)",
			 (unsigned long) count),
		count, mean_ms);
}

static void print_postcopy(const struct move_report *report, FILE *out)
{
	if (!report->postcopy)
		return;
	JsonObject *arrived =
		report->page_requests ? json_get_object(report->page_requests, "arrived") : NULL;
	fputs(_("  post-copy the last part of the memory followed the VM"), out);
	if (arrived && json_get_int(arrived, "count", 0) > 0)
		print_requests((int) json_get_int(report->page_requests, "requests", 0),
			       (double) json_get_int(arrived, "mean_us", 0) / 1e3, out);
	if (report->postcopy_recoveries > 0)
		fprintf(out,
			ngettext("; it broke and was recovered, in %d try",
				 "; it broke and was recovered, in %d tries",
				 (unsigned long) report->postcopy_recoveries),
			report->postcopy_recoveries);
	fputc('\n', out);
}

static void print_accepted(const struct move_report *report, FILE *out)
{
	for (guint i = 0; report->findings && i < report->findings->len; i++) {
		const struct check_finding *finding = report->findings->pdata[i];
		if (!finding->accepted)
			continue;
		fprintf(out, _("  accepted  %s: %s"), finding->check, finding->what);
		fputc('\n', out);
	}
}

static void print_carried(const struct move_report *report, FILE *out)
{
	g_autoptr(GString) names = g_string_new(NULL);
	for (guint i = 0; report->carried && i < json_array_get_length(report->carried); i++)
		g_string_append_printf(names, "%s%s", i ? ", " : "",
				       json_array_get_string_element(report->carried, i));
	if (names->len > 0)
		fprintf(out, _("  carried   %s\n"), names->str);
}

void report_print(const struct move_report *report, FILE *out)
{
	if (!report->vm_name || report->outcome == MOVE_REFUSED || report->migration_ms == 0)
		return;
	print_places(report, out);
	print_times(report, out);
	if (report->stream_bytes > 0 || report->state_path || report->kind == MOVE_OFFLINE)
		print_bytes(report, out);
	print_content(report, out);
	print_disks(report, out);
	print_files(report, out);
	print_postcopy(report, out);
	print_proof(report, out);
	print_accepted(report, out);
	print_carried(report, out);
	if (report->snapshots > 0) {
		fprintf(out, _("  snapshots %d carried"), report->snapshots);
		fputc('\n', out);
	}
}
