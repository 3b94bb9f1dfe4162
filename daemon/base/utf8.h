/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* D-Bus carries no text that is not UTF-8: what comes from elsewhere may be none, and what is cut may have been cut in the middle of a character. */

#include "base/macro.h"

/* Puts a "?" in place of each byte of @text that is not of a whole character. */
void utf8_mend(char *text);
