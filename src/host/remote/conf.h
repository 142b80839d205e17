/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's own configuration files (libvirt.conf, libvirtd.conf, qemu.conf), read as libvirt does.
 *
 * The format: `name = value` a line; a value is a number, a string ("a", 'a' or """a""", no
 * escapes) or a list of values in brackets, over as many lines as it likes; # begins a comment.
 * A line that makes no sense is skipped: we want a fact out of somebody else's file, and it is not
 * for us to judge the rest of it.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct conf;

struct conf *conf_parse(const char *text); /* never NULL */
struct conf *conf_load(const char *path);  /* NULL when the file cannot be read */
void conf_free(struct conf *conf);

/* NULL where absent or of another kind. They stay owned by CONF. */
const char *conf_get_string(const struct conf *conf, const char *name);
const char *const *conf_get_list(const struct conf *conf, const char *name);
/* FALLBACK where absent or not a number. */
int64_t conf_get_int(const struct conf *conf, const char *name, int64_t fallback);
