/* SPDX-License-Identifier: Apache-2.0 */
/* Text in columns of a terminal, where a Japanese character takes two. */
#pragma once
#include <stdio.h>

enum { COLUMNS_TEXT = 30, COLUMNS_WIDTH = 80 };

/* How many terminal columns TEXT (UTF-8) takes. */
long columns_width(const char *text);
/* HEAD in the first column, then TEXT from column COLUMNS_TEXT, wrapped at COLUMNS_WIDTH: between
 * words, and between wide characters where Japanese typesetting allows it. */
void columns_print(FILE *out, const char *head, const char *text);
