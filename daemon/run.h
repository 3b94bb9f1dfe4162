/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a kernel and a configuration to the exit code: what both programs have in common. */

#include "bus/bus.h"
#include "kernel/kernel.h"

/* Where a program's configuration comes from. */
typedef struct ConfigSource {
        const char *path; /* NULL: nowhere, the defaults hold */
        bool required;    /* somebody named it, so it has to be there */
} ConfigSource;

/* Where a daemon keeps what the next one is to know; NULL: nowhere. */
typedef struct Folders {
        const char *runtime;     /* records of this boot */
        const char *definitions; /* what outlives the boot */
} Folders;

/* Takes @kernel over and runs until SIGTERM or SIGINT; SIGHUP reads the configuration again. @address and @extra as for bus_start().
 * Tells systemd READY when all that the last daemon left has been taken on, the name is owned, and what is defined to be admitted at boot has been
 * admitted or refused, or that takes too long. Returns 0 or a negative errno, logged. */
int run(Kernel *kernel, const ConfigSource *source, const Folders *folders, const char *address,
        int (*extra)(Bus *bus));
