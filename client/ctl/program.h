/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A program of verbs: aviommuctl, and those that it becomes for verbs with verbs of their own. */

#include "ctl/ctl.h"

struct Candidates;

typedef struct Program {
        const char *name, *summary;
        const Verb *verbs;        /* ends with a NULL name */
        const CtlOption *options; /* that all of them have, besides those of every program */
        size_t n_options;
        int (*option)(Ctl *ctl, int id, const char *argument); /* -ENOENT: not one of @options */
        /* Adds the candidates for what is @name in the help, and no other room knows (SOURCE_PROGRAM); may be NULL. Returns 0 or a
         * negative errno (failure set). */
        int (*complete)(Ctl *ctl, const char *name, const struct Candidates *c);
} Program;

/* The options that every program has. */
const CtlOption *program_global_options(size_t *ret_n);

/* Goes on as @name, which has verbs of its own, with the options before and all that comes after the verb at @first. Returns only to
 * tell why it could not, a negative errno (failure set). */
int program_become(Ctl *ctl, const char *name, char **argv, int argc, int first);

/* Does what the command line says. Returns the exit code. */
int program_run(const Program *program, int argc, char *argv[]);
