/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, for people and from people. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* "863 MiB", "1.2 GiB", "512 B". Caller frees. */
char *unit_format_bytes(uint64_t bytes);
/* "112 MiB/s". Caller frees. */
char *unit_format_rate(double bytes_per_s);
/* "4.2 s", "87 ms", "3 min 5 s". Caller frees. */
char *unit_format_duration_ms(int64_t ms);

/* A byte count or a rate as users write it: a number, optional K M G T (1024) with
 * optional B, iB. "100M", "1.5G", "512KiB", "4096". Refuses nonsense, negatives and overflow. */
bool unit_parse_bytes(const char *text, uint64_t *bytes, GError **error);
/* A duration: "300ms", "1.5s", "2min" or "2m", "1h"; a bare number has the unit DEFAULT_UNIT_MS (in ms). */
bool unit_parse_duration_ms(const char *text, int64_t default_unit_ms, int64_t *ms, GError **error);
