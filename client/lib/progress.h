/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a person sees of a call that takes more than a second, on stderr: one line that renews itself on a terminal,
 * otherwise a line every five seconds.
 */

#include "base/macro.h"

typedef struct Progress {
        const char *what;   /* "creating the VM"; NULL: show nothing */
        char operation[64]; /* what the daemon says that it is doing; "" when it has not said */
        bool live;          /* a terminal that can overwrite a line */
        bool shown;
        unsigned frame;
        uint64_t next_usec; /* since the start */
} Progress;

/* @what lives as long as @p; NULL shows nothing. */
void progress_begin(Progress *p, const char *what);

/* Shows what is due at @elapsed_usec since the start; @p->next_usec says when to come again. */
void progress_update(Progress *p, uint64_t elapsed_usec);

/* Shows a notice above what is in progress. */
void progress_note(Progress *p, const char *notice);

/* Leaves the line empty. */
void progress_end(Progress *p);
