/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/table.h"

#include <libsmartcols/libsmartcols.h>
#include <wchar.h>

#include "lib/alloc.h"
#include "lib/format.h"

/* What of a column that may be cut is still worth showing. */
#define USEFUL_WIDTH 12

typedef struct Column {
        struct libscols_column *scols;
        unsigned flags;
        size_t width; /* of the widest cell, or of the title */
        bool is_hidden;
} Column;

struct Table {
        struct libscols_table *scols;
        struct libscols_line *last;
        Column *columns;
        size_t n_columns;
        bool with_heading;
};

static const char *const colours[] = {
        [TABLE_PLAIN] = NULL,     [TABLE_GOOD] = "\x1b[32m",  [TABLE_ATTENTION] = "\x1b[33m",
        [TABLE_BAD] = "\x1b[31m", [TABLE_FAINT] = "\x1b[90m",
};

/* The columns that @text takes on the screen; it has been escaped. */
static size_t text_width(const char *text) {
        size_t n = mbstowcs(NULL, text, 0);
        _cleanup_free_ wchar_t *wide = NULL;
        int width;

        if (n == (size_t)-1)
                return strlen(text);
        wide = alloc_check(new0(wchar_t, n + 1));
        (void)mbstowcs(wide, text, n + 1);
        width = wcswidth(wide, n);
        return width < 0 ? n : (size_t)width;
}

Table *table_new(const TableColumn *columns, size_t n_columns, bool with_heading) {
        Table *t = alloc_check(new0(Table, 1));

        t->scols = alloc_check(scols_new_table());
        t->columns = alloc_check(new0(Column, n_columns));
        t->n_columns = n_columns;
        t->with_heading = with_heading;
        for (size_t i = 0; i < n_columns; i++) {
                int flags = 0;

                if (columns[i].flags & TABLE_RIGHT)
                        flags |= SCOLS_FL_RIGHT;
                if (columns[i].flags & TABLE_TRUNC)
                        flags |= SCOLS_FL_TRUNC;
                if (columns[i].flags & TABLE_WRAP)
                        flags |= SCOLS_FL_WRAP;
                t->columns[i] = (Column){
                        .scols = alloc_check(
                                scols_table_new_column(t->scols, columns[i].title, 0, flags)),
                        .flags = columns[i].flags,
                        .width = text_width(columns[i].title),
                };
        }
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        scols_unref_table(t->scols);
        free(t->columns);
        free(t);
        return NULL;
}

void table_add(Table *t, const char *const *cells) {
        t->last = alloc_check(scols_table_new_line(t->scols, NULL));
        for (size_t i = 0; i < t->n_columns; i++) {
                char *text = alloc_check(text_escape_new(strempty(cells[i])));

                t->columns[i].width = MAX(t->columns[i].width, text_width(text));
                if (scols_line_refer_data(t->last, i, text) < 0)
                        alloc_failed();
        }
}

void table_colour(Table *t, size_t column, TableColour colour) {
        if (colours[colour] &&
            scols_cell_set_color(scols_line_get_cell(t->last, column), colours[colour]) < 0)
                alloc_failed();
}

const char *colour_begin(const Output *o, TableColour colour) {
        return o->has_colour ? strempty(colours[colour]) : "";
}

const char *colour_end(const Output *o, TableColour colour) {
        return o->has_colour && colours[colour] ? "\x1b[0m" : "";
}

TableColour state_colour(const char *state) {
        if (streq(state, "bound") || streq(state, "assigned"))
                return TABLE_GOOD;
        if (streq(state, "draining"))
                return TABLE_ATTENTION;
        if (streq(state, "quarantined") || streq(state, "lost"))
                return TABLE_BAD;
        if (streq(state, "released") || streq(state, "host") || streq(state, "unbound"))
                return TABLE_FAINT;
        return TABLE_PLAIN;
}

/* The least width with which the table still says something. */
static size_t useful_width(const Table *t) {
        size_t total = 0;

        for (size_t i = 0; i < t->n_columns; i++) {
                const Column *c = &t->columns[i];

                if (c->is_hidden)
                        continue;
                total += (total > 0) + (c->flags & (TABLE_TRUNC | TABLE_WRAP)
                                                ? MIN(c->width, (size_t)USEFUL_WIDTH)
                                                : c->width);
        }
        return total;
}

/* A row folded by the terminal, or cells cut to nothing, tell less than fewer columns. */
static void leave_out_columns(Table *t, size_t width) {
        static const unsigned order[] = { TABLE_EXTRA, TABLE_LESS };

        for (size_t k = 0; k < ELEMENTSOF(order); k++)
                for (size_t i = t->n_columns; i-- > 0 && useful_width(t) > width;)
                        if (t->columns[i].flags & order[k]) {
                                t->columns[i].is_hidden = true;
                                (void)scols_column_set_flags(t->columns[i].scols, SCOLS_FL_HIDDEN);
                        }
}

void table_print(Table *t, Output *o) {
        char *text = NULL;

        if (o->is_tty)
                leave_out_columns(t, o->columns);
        (void)scols_table_enable_noheadings(t->scols, !t->with_heading || !o->legend);
        (void)scols_table_enable_colors(t->scols, o->has_colour);
        /* Away from a terminal nothing is cut. */
        (void)scols_table_set_termforce(t->scols,
                                        o->is_tty ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
        (void)scols_table_set_termwidth(t->scols, o->columns);
        if (scols_print_table_to_string(t->scols, &text) < 0)
                alloc_failed();

        for (char *line = text, *end; line && *line; line = end + (*end != '\0')) {
                size_t n;

                end = strchrnul(line, '\n');
                for (n = (size_t)(end - line); n > 0 && line[n - 1] == ' '; n--)
                        ;
                output_printf(o, "%.*s\n", (int)n, line);
        }
        free(text);
}
