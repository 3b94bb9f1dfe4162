/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configuration files of [Section]s with Key=value lines, read strictly: what is wrong first is told with its line, and
 * nothing after it counts. The one door of inih.
 */

#include "base/macro.h"

#define INI_REFUSAL_SIZE      256
#define INI_SECTION_NAME_SIZE 128

typedef struct IniFile IniFile;

/* Takes a section that begins, whether or not a key follows. Returns 0; what ini_refuse() returns; -ENOMEM. */
typedef int (*IniSectionFound)(void *userdata, IniFile *file, const char *section);

/* Takes a key of the section that began last ("" before the first). Returns 0; what ini_refuse() returns; -ENOMEM. After the first
 * that is not 0 nothing is asked again. */
typedef int (*IniKeyFound)(void *userdata, IniFile *file, const char *key, const char *value);

/* Says what is wrong with the line that is being read. Returns -EINVAL. */
int ini_refuse(IniFile *file, const char *format, ...) _printf_(2, 3);

/* The number of the line that is being read, from 1. */
int ini_get_line(const IniFile *file);

/* The name of the section that began last, "" before the first. */
const char *ini_get_section(const IniFile *file);

/* Reads @path. Returns 0; -EINVAL when the file is wrong, with the number of the line in *ret_line and a sentence about it in
 * @ret_refusal; what opening it gave (-ENOENT, -EACCES, ...); -EIO; -ENOMEM. */
int ini_file_read_sections(const char *path, IniSectionFound section_found, IniKeyFound key_found,
                           void *userdata, int *ret_line,
                           char ret_refusal[static INI_REFUSAL_SIZE]);

/* The same for a file of [@section] alone. */
int ini_file_read(const char *path, const char *section, IniKeyFound found, void *userdata,
                  int *ret_line, char ret_refusal[static INI_REFUSAL_SIZE]);
