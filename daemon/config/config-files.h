/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which files make up the configuration, and in which order they are read: the main file, then the drop-ins by their file names. Of
 * two drop-ins of one name the one in the folder of the higher rank is read and the other is not: /etc, /run, /usr/local/lib,
 * /usr/lib. One that is a link to /dev/null, or empty, so masks those below it.
 */

#include "base/macro.h"

typedef struct ConfigFiles {
        char **paths; /* with the root */
        size_t n_paths;
} ConfigFiles;

/* Frees the paths. */
void config_files_done(ConfigFiles *files);

/* Finds those below the folder @root ("/": this system's). *ret is the caller's. On an error *ret_path, which the caller frees, says
 * of what. Returns 0; -ENOMEM; what opening a folder gave. */
int config_files_find(const char *root, ConfigFiles *ret, char **ret_path);
