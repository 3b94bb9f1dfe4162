/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What goes to stdout: gathered, then written at once, through a pager when it is long and a person reads it. A reader
 * that has gone away is no failure.
 */

#include <stdio.h>

#include "lib/doc.h"
#include "lib/failure.h"

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonMode;

typedef struct Output {
        FILE *stream; /* gathers; NULL before output_open() */
        char *text;
        size_t size;
        JsonMode json;
        bool legend;     /* headings */
        bool may_page;   /* no --no-pager */
        bool is_tty;     /* stdout is a terminal */
        bool has_colour; /* ... that may be coloured */
        unsigned columns, rows;
        bool is_closed; /* nobody reads any more */
} Output;

/* Looks at stdout and begins. */
void output_open(Output *o);

/* Looks again at how large the terminal is. */
void output_measure(Output *o);
void output_done(Output *o);

/* Adds text; what comes from the bus has to be escaped before. */
void output_printf(Output *o, const char *format, ...) _printf_(2, 3);

/* Adds a document and a newline. */
void output_doc(Output *o, const Doc *d);

/* What has been gathered, for the caller to free; begins anew. */
char *output_take(Output *o, size_t *ret_size);

/* Writes what has been gathered, through a pager if that fits, and begins anew. Sets is_closed when the reader is gone.
 * Returns 0 or a negative errno (reterr set). */
int output_flush(Output *o, Failure *reterr);

/* The same, never through a pager: for output that goes on. */
int output_flush_line(Output *o, Failure *reterr);
