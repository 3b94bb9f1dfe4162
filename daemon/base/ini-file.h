/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration files with one section of Key=value lines, read strictly: what is wrong first is told with its line, and
 * nothing after it counts. The one door of inih.
 */

#include "base/macro.h"

#define INI_REFUSAL_SIZE 256

typedef struct IniFile IniFile;

/* Takes a key of the section. Returns 0; what ini_refuse() returns; -ENOMEM. After the first that is not 0 it is not asked again. */
typedef int (*IniKeyFound)(void *userdata, IniFile *file, const char *key, const char *value);

/* Says what is wrong with the line that is being read. Returns -EINVAL. */
int ini_refuse(IniFile *file, const char *format, ...) _printf_(2, 3);

/* Reads @path, a file of [@section] alone. Returns 0; -EINVAL when the file is wrong, with the number of the line in *ret_line and
 * a sentence about it in @ret_refusal; what opening it gave (-ENOENT, -EACCES, ...); -EIO; -ENOMEM. */
int ini_file_read(const char *path, const char *section, IniKeyFound found, void *userdata,
                  int *ret_line, char ret_refusal[static INI_REFUSAL_SIZE]);
