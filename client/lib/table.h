/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Tables for people. Cells may hold anything: what could steer a terminal is made visible. */

#include "lib/output.h"

typedef enum TableFlags {
        TABLE_RIGHT = 1 << 0, /* numbers */
        TABLE_TRUNC = 1 << 1, /* may be cut when the terminal is narrow */
        TABLE_WRAP = 1 << 2,  /* may go on in the next line */
        TABLE_EXTRA = 1
                      << 3,  /* left out when the terminal is narrow: these first, from the right */
        TABLE_LESS = 1 << 4, /* ... and then these */
} TableFlags;

typedef struct TableColumn {
        const char *title;
        unsigned flags;
} TableColumn;

typedef enum TableColour {
        TABLE_PLAIN,
        TABLE_GOOD,
        TABLE_ATTENTION,
        TABLE_BAD,
        TABLE_FAINT,
} TableColour;

typedef struct Table Table;

/* @with_heading: whether the columns' titles are shown (when there is a legend). */
Table *table_new(const TableColumn *columns, size_t n_columns, bool with_heading);
Table *table_free(Table *t);
DEFINE_CLEANUP(Table, table_free);

/* One row; @cells has as many as there are columns, NULL is an empty one. */
void table_add(Table *t, const char *const *cells);
#define TABLE_ADD(t, ...) table_add((t), (const char *const[]){ __VA_ARGS__ })

/* Colours a cell of the row added last. */
void table_colour(Table *t, size_t column, TableColour colour);

/* What begins and ends a text of this colour outside tables; "" where there are no colours. */
const char *colour_begin(const Output *o, TableColour colour);
const char *colour_end(const Output *o, TableColour colour);

/* The colour for a state of a VM, vIOMMU or function. */
TableColour state_colour(const char *state);

/* On a terminal as wide as that: columns are left out, then cells cut. Elsewhere everything is there in full. */
void table_print(Table *t, Output *o);

/* "-" for what is empty, so that columns can be told apart by programs too. */
static inline const char *cell_or_dash(const char *s) {
        return s && *s ? s : "-";
}
