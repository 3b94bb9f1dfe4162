/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/table.h"

#include <libsmartcols/libsmartcols.h>
#include <wchar.h>

#include "lib/alloc.h"
#include "lib/format.h"

/* What of a column that may be cut is still worth showing. */
#define USEFUL_WIDTH 12

typedef struct Column {
        const char *title;
        unsigned flags;
        size_t width; /* of the widest cell, or of the title */
        bool is_hidden;
} Column;

typedef struct Cell {
        char *text;   /* escaped */
        size_t width; /* on the screen */
        TableColour colour;
} Cell;

struct Table {
        Column *columns;
        size_t n_columns;
        Cell *cells; /* row by row */
        size_t n_cells;
        bool with_heading;
};

static const char *const colours[] = {
        [TABLE_PLAIN] = NULL,     [TABLE_GOOD] = "\x1b[32m",  [TABLE_ATTENTION] = "\x1b[33m",
        [TABLE_BAD] = "\x1b[31m", [TABLE_FAINT] = "\x1b[90m",
};

/* The columns that @text takes on the screen; it has been escaped. */
static size_t text_width(const char *text) {
        _cleanup_free_ wchar_t *wide = NULL;
        size_t n = text_plain_length(text);
        int width;

        if (!text[n])
                return n;
        n = mbstowcs(NULL, text, 0);
        if (n == (size_t)-1)
                return strlen(text);
        wide = alloc_check(new0(wchar_t, n + 1));
        (void)mbstowcs(wide, text, n + 1);
        width = wcswidth(wide, n);
        return width < 0 ? n : (size_t)width;
}

Table *table_new(const TableColumn *columns, size_t n_columns, bool with_heading) {
        Table *t = alloc_check(new0(Table, 1));

        t->columns = alloc_check(new0(Column, n_columns));
        t->n_columns = n_columns;
        t->with_heading = with_heading;
        for (size_t i = 0; i < n_columns; i++)
                t->columns[i] = (Column){
                        .title = columns[i].title,
                        .flags = columns[i].flags,
                };
        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;
        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t->columns);
        free(t);
        return NULL;
}

void table_add(Table *t, const char *const *cells) {
        for (size_t i = 0; i < t->n_columns; i++) {
                char *text = alloc_check(text_escape_new(strempty(cells[i])));
                Cell c = { .text = text, .width = text_width(text) };

                t->columns[i].width = MAX(t->columns[i].width, c.width);
                t->cells = alloc_grow(t->cells, t->n_cells, sizeof(Cell));
                t->cells[t->n_cells++] = c;
        }
}

void table_colour(Table *t, size_t column, TableColour colour) {
        assert(t->n_cells >= t->n_columns && column < t->n_columns);
        t->cells[t->n_cells - t->n_columns + column].colour = colour;
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

/* The width of what is shown; @most: that much of a column that may be cut or folded. */
static size_t shown_width(const Table *t, size_t most) {
        size_t total = 0;

        for (size_t i = 0; i < t->n_columns; i++) {
                const Column *c = &t->columns[i];

                if (c->is_hidden)
                        continue;
                total += (total > 0) +
                         (c->flags & (TABLE_TRUNC | TABLE_WRAP) ? MIN(c->width, most) : c->width);
        }
        return total;
}

/* A row folded by the terminal, or cells cut to nothing, tell less than fewer columns. */
static void leave_out_columns(Table *t, size_t width) {
        static const unsigned order[] = { TABLE_EXTRA, TABLE_LESS };

        for (size_t k = 0; k < ELEMENTSOF(order); k++)
                for (size_t i = t->n_columns; i-- > 0 && shown_width(t, USEFUL_WIDTH) > width;)
                        if (t->columns[i].flags & order[k])
                                t->columns[i].is_hidden = true;
}

/* ---- a table that there is room for ---- */

static void add_spaces(Output *o, size_t n) {
        output_printf(o, "%*s", (int)n, "");
}

/* @cells: of one row. Nothing follows the last text. */
static void print_row(const Table *t, const Cell *cells, Output *o) {
        size_t due = 0; /* spaces, once there is something to come */

        for (size_t i = 0; i < t->n_columns; i++) {
                size_t room = t->columns[i].width - cells[i].width;

                if (t->columns[i].is_hidden)
                        continue;
                if (t->columns[i].flags & TABLE_RIGHT)
                        due += room;
                if (*cells[i].text) {
                        add_spaces(o, due);
                        output_printf(o, "%s%s%s", colour_begin(o, cells[i].colour), cells[i].text,
                                      colour_end(o, cells[i].colour));
                        due = 0;
                }
                if (!(t->columns[i].flags & TABLE_RIGHT))
                        due += room;
                due++;
        }
        output_printf(o, "\n");
}

static void print_whole(const Table *t, bool with_heading, Output *o) {
        _cleanup_free_ Cell *titles = NULL;

        if (with_heading) {
                titles = alloc_check(new0(Cell, t->n_columns));
                for (size_t i = 0; i < t->n_columns; i++)
                        titles[i] = (Cell){ .text = (char *)t->columns[i].title,
                                            .width = text_width(t->columns[i].title) };
                print_row(t, titles, o);
        }
        for (size_t i = 0; i < t->n_cells; i += t->n_columns)
                print_row(t, t->cells + i, o);
}

/* ---- one that there is not ---- */

static struct libscols_table *to_scols(const Table *t) {
        struct libscols_table *s = alloc_check(scols_new_table());
        struct libscols_line *line = NULL;

        for (size_t i = 0; i < t->n_columns; i++) {
                const Column *c = &t->columns[i];
                int flags = 0;

                if (c->flags & TABLE_RIGHT)
                        flags |= SCOLS_FL_RIGHT;
                if (c->flags & TABLE_TRUNC)
                        flags |= SCOLS_FL_TRUNC;
                if (c->flags & TABLE_WRAP)
                        flags |= SCOLS_FL_WRAP;
                if (c->is_hidden)
                        flags = SCOLS_FL_HIDDEN;
                (void)alloc_check(scols_table_new_column(s, c->title, 0, flags));
        }
        for (size_t i = 0; i < t->n_cells; i++) {
                const Cell *c = &t->cells[i];
                size_t column = i % t->n_columns;

                if (column == 0)
                        line = alloc_check(scols_table_new_line(s, NULL));
                if (scols_line_set_data(line, column, c->text) < 0 ||
                    (colours[c->colour] && scols_cell_set_color(scols_line_get_cell(line, column),
                                                                colours[c->colour]) < 0))
                        alloc_failed();
        }
        return s;
}

static void print_cut(const Table *t, bool with_heading, Output *o) {
        struct libscols_table *s = to_scols(t);
        char *text = NULL;

        (void)scols_table_enable_noheadings(s, !with_heading);
        (void)scols_table_enable_colors(s, o->has_colour);
        (void)scols_table_set_termforce(s, SCOLS_TERMFORCE_ALWAYS);
        (void)scols_table_set_termwidth(s, o->columns);
        if (scols_print_table_to_string(s, &text) < 0)
                alloc_failed();
        scols_unref_table(s);

        for (char *line = text, *end; line && *line; line = end + (*end != '\0')) {
                size_t n;

                end = strchrnul(line, '\n');
                for (n = (size_t)(end - line); n > 0 && line[n - 1] == ' '; n--)
                        ;
                output_printf(o, "%.*s\n", (int)n, line);
        }
        free(text);
}

void table_print(Table *t, Output *o) {
        bool with_heading = t->with_heading && o->legend;

        if (t->n_cells == 0)
                return;
        for (size_t i = 0; with_heading && i < t->n_columns; i++)
                t->columns[i].width = MAX(t->columns[i].width, text_width(t->columns[i].title));
        if (o->is_tty)
                leave_out_columns(t, o->columns);
        /* Away from a terminal nothing is cut, however long. */
        if (!o->is_tty || shown_width(t, SIZE_MAX) <= o->columns)
                print_whole(t, with_heading, o);
        else
                print_cut(t, with_heading, o);
}
