/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as hex digits, two a byte. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TEXT gets 2 * LENGTH lower-case digits and the end. */
void hex_print(const uint8_t *bytes, size_t length, char *text);
/* True: TEXT (may be NULL) is just the digits of LENGTH bytes, of either case. */
bool hex_parse(const char *text, uint8_t *bytes, size_t length);
