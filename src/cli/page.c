/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a plan on one page. */
#include "cli/page.h"

#include "base/i18n.h"
#include "base/json.h"
#include "base/unit.h"
#include "cli/columns.h"

#include <math.h>

/* A range as two texts, by the function that knows the unit. */
typedef struct {
	char *middle, *most;
} shown;

static void shown_clear(shown *range)
{
	g_free(range->middle);
	g_free(range->most);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(shown, shown_clear)

static char *format_ms(double value)
{
	return unit_format_duration_ms((int64_t) llround(value));
}

static char *format_bytes(double value)
{
	return unit_format_bytes((uint64_t) llround(fmax(value, 0)));
}

static char *format_part(double value)
{
	return g_strdup_printf("%d %%", (int) lround(value * 100));
}

static shown show_page(JsonObject *outlook, const char *name, char *(*format)(double value))
{
	JsonObject *range = json_get_object(outlook, name);
	return (shown){ format(range ? json_get_double(range, "p50", 0) : 0),
			format(range ? json_get_double(range, "p90", 0) : 0) };
}

/* ---- what it takes ---- */

static JsonObject *find_strategy(JsonObject *forecast, const char *name)
{
	JsonArray *strategies = json_get_array(forecast, "strategies");
	for (guint i = 0; strategies && i < json_array_get_length(strategies); i++) {
		JsonObject *outlook = json_array_get_object_element(strategies, i);
		if (g_str_equal(json_get_string(outlook, "strategy", ""), name))
			return outlook;
	}
	return NULL;
}

static const struct {
	const char *name, *words;
	char *(*format)(double value);
} quantities[] = {
	{ "total_ms", N_("total time"), format_ms },
	{ "stop_ms", N_("longest stop"), format_ms },
	{ "bytes", N_("on the wire"), format_bytes },
	{ "slowdown", N_("slower meanwhile"), format_part },
};

static void print_row(FILE *out, const char *head, const char *text)
{
	long width = columns_width(head);
	fprintf(out, "  %s%*s  %s\n", head, (int) MAX(20 - width, 0), "", text);
}

static void print_chosen(JsonObject *outlook, FILE *out)
{
	for (size_t i = 0; i < G_N_ELEMENTS(quantities); i++) {
		g_auto(shown) range = show_page(outlook, quantities[i].name, quantities[i].format);
		/* TRANSLATORS: a forecast: the value expected, and what nine of ten stay below */
		g_autofree char *text = g_strdup_printf(_("%s, in 9 of 10 cases at most %s"),
							range.middle, range.most);
		print_row(out, _(quantities[i].words), text);
	}
}

static const struct {
	const char *name, *words;
	const char *price; /* what it costs besides; NULL: nothing */
} strategies[] = {
	{ "live", N_("live") },
	{ "postcopy", N_("with post-copy"),
	  N_("while it lasts no single host has the whole VM; hence --allow-postcopy") },
	{ "quick", N_("quick (it stands still)") },
};

static const char *strategy_words(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(strategies); i++)
		if (g_str_equal(strategies[i].name, name))
			return _(strategies[i].words);
	return name;
}

static void print_others(JsonObject *forecast, const char *chosen, FILE *out)
{
	fprintf(out, "\n%s\n", _("The other ways"));
	for (size_t i = 0; i < G_N_ELEMENTS(strategies); i++) {
		JsonObject *outlook = find_strategy(forecast, strategies[i].name);
		if (!outlook || g_str_equal(strategies[i].name, chosen))
			continue;
		g_auto(shown) total = show_page(outlook, "total_ms", format_ms);
		g_auto(shown) stop = show_page(outlook, "stop_ms", format_ms);
		g_autofree char *text = g_strdup_printf(_("%s, of which it stands still for %s"),
							total.middle, stop.middle);
		print_row(out, _(strategies[i].words), text);
		if (strategies[i].price)
			print_row(out, "", _(strategies[i].price));
	}
}

/* ---- what that comes from ---- */

static void print_memory(JsonObject *facts, FILE *out)
{
	g_autofree char *memory = format_bytes(json_get_double(facts, "memory", 0));
	JsonArray *looks = json_get_array(facts, "looks");
	if (json_get_double(facts, "sample_pages", 0) <= 0) {
		g_autofree char *text =
			g_strdup_printf(_("%s, not sampled: the forecast is a guess"), memory);
		print_row(out, _("memory"), text);
		return;
	}
	double share = json_get_double(facts, "batch_share", 1);
	g_autofree char *text = g_strdup_printf(
		_("%s, %d %% with content, which packs to 1/%.1f"), memory,
		(int) lround(json_get_double(facts, "data", 0) * 100), share > 0 ? 1 / share : 1);
	print_row(out, _("memory"), text);
	guint count = looks ? json_array_get_length(looks) / 2 : 0;
	for (guint i = 0; i < count; i++) {
		g_autofree char *bytes =
			format_bytes(json_element_double(looks, 2 * i + 1, 0) * 4096);
		g_autofree char *time = format_ms(json_element_double(looks, 2 * i, 0) * 1e3);
		g_autofree char *line = g_strdup_printf(_("%s changed in %s"), bytes, time);
		print_row(out, i ? "" : _("changes"), line);
	}
	g_autofree char *dirtied =
		unit_format_rate(json_get_double(facts, "dirtied_rate", 0) * 4096);
	g_autofree char *line = g_strdup_printf(_("%s written, changed by that or not"), dirtied);
	if (json_get_double(facts, "dirtied_rate", 0) > 0)
		print_row(out, count ? "" : _("changes"), line);
}

static void print_page_link(JsonObject *facts, FILE *out)
{
	g_autofree char *rate = unit_format_rate(json_get_double(facts, "link_rate", 0));
	int connections = (int) json_get_double(facts, "connections", 0);
	g_autofree char *text = g_strdup_printf(
		ngettext("%s on %d connection, round trip %.1f ms, %.1f %% sent again",
			 "%s on %d connections, round trip %.1f ms, %.1f %% sent again",
			 (unsigned long) connections),
		rate, connections, json_get_double(facts, "round_trip_ms", 0),
		json_get_double(facts, "loss", 0) * 100);
	print_row(out, _("link"), text);
}

static void print_hosts(JsonObject *facts, FILE *out)
{
	static const char *const names[] = { N_("source"), N_("destination") };
	JsonArray *hosts = json_get_array(facts, "hosts");
	for (guint i = 0; hosts && i < 2 && i < json_array_get_length(hosts); i++) {
		JsonObject *host = json_array_get_object_element(hosts, i);
		int processors = (int) json_get_double(host, "cpus", 0);
		g_autofree char *text = g_strdup_printf(
			ngettext("%d processor, %d %% busy, load %.1f",
				 "%d processors, %d %% busy, load %.1f",
				 (unsigned long) processors),
			processors, (int) lround(json_get_double(host, "busy", 0) * 100),
			json_get_double(host, "load", 0));
		print_row(out, _(names[i]), text);
	}
}

static void print_page_disks(JsonObject *facts, FILE *out)
{
	double bytes = json_get_double(facts, "disk_bytes", 0);
	g_autofree char *allocated = format_bytes(bytes);
	g_autofree char *rate = unit_format_rate(json_get_double(facts, "disk_write_rate", 0));
	/* TRANSLATORS: what the disks take at the source, and at what rate the VM writes to them */
	g_autofree char *text =
		g_strdup_printf(_("%s, to which the VM writes %s"), allocated, rate);
	if (bytes > 0)
		print_row(out, _("disks to copy"), text);
}

static void print_rehearsed_disks(JsonObject *disks, FILE *out)
{
	g_autofree char *bytes = format_bytes(json_get_double(disks, "bytes", 0));
	g_autofree char *ms = format_ms(json_get_double(disks, "ms", 0));
	g_autofree char *wire = format_bytes(json_get_double(disks, "wire_bytes", 0));
	g_autofree char *text =
		json_get_bool(disks, "whole", false)
			? g_strdup_printf(_("all of the disks, %s in %s, %s on the wire"), bytes,
					  ms, wire)
			: g_strdup_printf(_("%s of the disks in %s, %s on the wire"), bytes, ms,
					  wire);
	print_row(out, _("copied"), text);
}

static void print_rehearsal(JsonObject *seen, FILE *out)
{
	JsonObject *disks = json_get_object(seen, "disks");
	g_autofree char *setup = format_ms(json_get_double(seen, "setup_ms", 0));
	g_autofree char *copy = format_ms(json_get_double(seen, "copy_ms", 0));
	g_autofree char *wire = format_bytes(json_get_double(seen, "wire_bytes", 0));
	g_autofree char *pages = format_bytes(json_get_double(seen, "pages", 0) * 4096);
	g_autofree char *left = format_bytes(json_get_double(seen, "left_pages", 0) * 4096);
	g_autofree char *text = g_strdup_printf(
		_("%s of memory in %s, %s on the wire; %s were left out"), pages, copy, wire, left);
	fprintf(out, "\n%s\n", _("Rehearsed"));
	print_row(out, _("until memory moves"), setup);
	if (disks)
		print_rehearsed_disks(disks, out);
	print_row(out, _("copied"), text);
}

static void print_reasons(JsonObject *forecast, FILE *out)
{
	JsonObject *facts = json_get_object(forecast, "facts");
	int learnt = (int) json_get_int(forecast, "learnt_from", 0);
	fprintf(out, "\n%s\n", _("Measured"));
	if (facts) {
		print_memory(facts, out);
		print_page_link(facts, out);
		print_hosts(facts, out);
		print_page_disks(facts, out);
	}
	g_autofree char *text =
		learnt > 0 ? g_strdup_printf(ngettext("corrected by %d earlier move",
						      "corrected by %d earlier moves",
						      (unsigned long) learnt),
					     learnt)
			   : g_strdup(_("by the model alone: no earlier move is known"));
	print_row(out, _("forecast"), text);
}

/* ---- what speaks against it ---- */

/* What follows from a finding: the next step, and whether it may be passed over. */
static void print_step(const struct check_finding *finding, FILE *out)
{
	if (finding->accepted)
		fprintf(out, "        %s\n", _("accepted"));
	else if (finding->next)
		fprintf(out, "        %s\n", finding->next);
	if (finding->result != CHECK_REFUSE || !check_can_accept(finding->check))
		return;
	fprintf(out, _("        --accept %s overrules this"), finding->check);
	fputc('\n', out);
}

static void print_checks(const struct move_report *report, FILE *out)
{
	int good = 0;
	fprintf(out, "\n%s\n", _("Checks"));
	for (guint i = 0; report->findings && i < report->findings->len; i++) {
		const struct check_finding *finding = report->findings->pdata[i];
		if (finding->result == CHECK_PASS) {
			good++;
			continue;
		}
		fprintf(out, "  %s  %s: %s\n", finding->result == CHECK_WARN ? _("mind") : _("BAD"),
			finding->check, finding->what ? finding->what : "");
		print_step(finding, out);
	}
	fprintf(out, ngettext("  good  %d check", "  good  %d checks", (unsigned long) good), good);
	fputc('\n', out);
}

static void print_way_back(const struct move_report *report, const struct move_request *request,
			   FILE *out)
{
	const char *here = report->sides[MOVE_SOURCE].host;
	const char *there = report->sides[MOVE_DESTINATION].host;
	g_autofree char *ceiling = unit_format_duration_ms(request->max_downtime_ms);
	fprintf(out, "\n%s\n", _("Back-out plan"));
	fprintf(out, _("  before the switchover: Ctrl-C, and whatever fails, leaves the VM at %s"),
		here);
	fputc('\n', out);
	fprintf(out,
		_("  at the switchover: what takes longer than %s is broken off; it runs on at %s"),
		ceiling, here);
	fputc('\n', out);
	fprintf(out, _("  after it: watari migrate %s:%s %s takes it back"), there, report->vm_name,
		here);
	fputc('\n', out);
	fprintf(out, _("  this program or machine dies: watari resolve %s"), report->vm_name);
	fputc('\n', out);
}

void page_print(const struct move_report *report, const struct move_request *request, FILE *out)
{
	JsonObject *forecast = report->forecast;
	const char *chosen = forecast ? json_get_string(forecast, "chosen", "live") : "live";
	JsonObject *outlook = forecast ? find_strategy(forecast, chosen) : NULL;
	if (report->vm_name && report->sides[1].host) {
		fprintf(out,
			request->kind == MOVE_PLAN ? _("Plan: %s from %s to %s, %s")
						   : _("Rehearsal: %s from %s to %s, %s"),
			report->vm_name, report->sides[0].host, report->sides[1].host,
			strategy_words(chosen));
		fputs("\n\n", out);
	}
	if (outlook) {
		print_chosen(outlook, out);
		print_others(forecast, chosen, out);
		if (report->rehearsal)
			print_rehearsal(report->rehearsal, out);
		print_reasons(forecast, out);
	}
	if (report->findings)
		print_checks(report, out);
	if (outlook)
		print_way_back(report, request, out);
}
