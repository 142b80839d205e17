/* SPDX-License-Identifier: Apache-2.0 */
/* Which program this is: the release, and the commit it was built from ("0.1.0+1a2b3c4d5e"), so that two
 * builds that differ do not call themselves the same. Both hosts must have the same one. */
#pragma once

extern const char watari_version[];
