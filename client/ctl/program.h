/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A program of verbs: aviommuctl, and those that it becomes for verbs with verbs of their own. */

#include "ctl/ctl.h"

typedef struct Program {
        const char *name, *summary;
        const Verb *verbs;        /* ends with a NULL name */
        const CtlOption *options; /* that all of them have, besides those of every program */
        size_t n_options;
        int (*option)(Ctl *ctl, int id, const char *argument); /* -ENOENT: not one of @options */
} Program;

/* Does what the command line says. Returns the exit code. */
int program_run(const Program *program, int argc, char *argv[]);
