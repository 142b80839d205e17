/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes, rates and durations as people write them. */
#include "base/unit.h"

#include "base/error.h"
#include "base/i18n.h"

#include <math.h>

char *unit_format_bytes(uint64_t bytes)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB" };
	double value = (double) bytes;
	size_t step = 0;
	while (value >= 1023.95 && step + 1 < G_N_ELEMENTS(names)) {
		value /= 1024;
		step++;
	}
	return g_strdup_printf(step > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s", value,
			       names[step]);
}

char *unit_format_rate(double bytes_per_s)
{
	g_autofree char *bytes = unit_format_bytes(bytes_per_s > 0 ? (uint64_t) bytes_per_s : 0);
	return g_strdup_printf("%s/s", bytes);
}

char *unit_format_duration_ms(int64_t ms)
{
	if (ms < 1000)
		return g_strdup_printf(_("%d ms"), (int) ms);
	if (ms < 60000)
		return g_strdup_printf(_("%.1f s"), (double) ms / 1000);
	return g_strdup_printf(_("%d min %d s"), (int) (ms / 60000), (int) (ms / 1000 % 60));
}

/* A finite number that is not negative, and what follows it. */
static bool parse_unit_number(const char *text, double *value, const char **rest)
{
	if (!g_ascii_isdigit(text[0]) || (text[0] == '0' && (text[1] | 0x20) == 'x'))
		return false;
	char *end = NULL;
	*value = g_ascii_strtod(text, &end);
	*rest = end;
	return end != text && isfinite(*value) && *value >= 0;
}

bool unit_parse_bytes(const char *text, uint64_t *bytes, GError **error)
{
	static const char letters[] = "KMGT";
	double value;
	const char *rest;
	if (!parse_unit_number(text, &value, &rest))
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Write it like 4096, 512K, 100M or 1.5G."),
				 _("“%s” is not a number of bytes"), text);
	const char *letter = *rest ? strchr(letters, g_ascii_toupper(*rest)) : NULL;
	if (letter) {
		value *= pow(1024, (double) (letter - letters + 1));
		rest++;
		if (rest[0] == 'i' && rest[1] == 'B')
			rest++;
	}
	if (*rest == 'B')
		rest++;
	if (*rest || value >= 0x1p63)
		return error_set(error, WATARI_ERROR_USAGE,
				 _("Write it like 4096, 512K, 100M or 1.5G."),
				 _("“%s” is not a number of bytes"), text);
	*bytes = (uint64_t) value;
	return true;
}

bool unit_parse_duration_ms(const char *text, int64_t default_unit_ms, int64_t *ms, GError **error)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "min", 60000 }, { "h", 3600000 }
	};
	double value, unit = 0;
	const char *rest;
	if (parse_unit_number(text, &value, &rest)) {
		if (!*rest)
			unit = (double) default_unit_ms;
		for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
			if (g_str_equal(rest, units[i].name))
				unit = units[i].ms;
	}
	if (unit == 0 || value * unit >= 0x1p52)
		return error_set(error, WATARI_ERROR_USAGE, _("Write it like 300ms, 1.5s or 2min."),
				 _("“%s” is not a duration"), text);
	*ms = (int64_t) (value * unit);
	return true;
}
