/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files that others read at any time: they see the old one or the new one, never a part. */

#include "lib/failure.h"

/* Writes @size bytes to a new file beside @path and puts it in the place of what is there. It gets the mode of the regular file
 * that it replaces, else 0666 less the umask. Nothing is left of it when that fails; what was there stays then.
 * Returns 0 or a negative errno (reterr set). */
int replace_file(const char *path, const char *text, size_t size, Failure *reterr);
