/* SPDX-License-Identifier: Apache-2.0 */
/* gettext: _() marks and translates, N_() marks only (tables). */
#pragma once
#include <libintl.h>

#define _(text) gettext(text)
#define N_(text) (text)
