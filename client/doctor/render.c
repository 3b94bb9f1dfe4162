/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/doctor.h"

#include "lib/alloc.h"
#include "lib/table.h"

static TableColour level_colour(FindingLevel level) {
        static const TableColour colours[_LEVEL_MAX] = {
                [LEVEL_FINE] = TABLE_GOOD,
                [LEVEL_UNCHECKED] = TABLE_FAINT,
                [LEVEL_WARNING] = TABLE_ATTENTION,
                [LEVEL_FAULT] = TABLE_BAD,
        };

        return colours[level];
}

static const char *plural(size_t n) {
        return n == 1 ? "" : "s";
}

/* Cuts the first line off *s, at a space where it can; @width 0: all of it. The caller frees it. */
static char *take_line(const char **s, size_t width) {
        size_t n = strlen(*s), end;
        char *line;

        if (width == 0 || n <= width) {
                line = alloc_printf("%s", *s);
                *s += n;
                return line;
        }
        for (end = width; end > 0 && (*s)[end] != ' '; end--)
                ;
        if (end == 0) /* a word that is longer than the line */
                end = strcspn(*s, " ");
        line = alloc_printf("%.*s", (int)end, *s);
        *s += end;
        *s += strspn(*s, " ");
        return line;
}

static void print_wrapped(const char *text, Output *o) {
        do {
                _cleanup_free_ char *line = take_line(&text, o->is_tty ? o->columns : 0);

                output_printf(o, "%s\n", line);
        } while (*text);
}

static void print_end(const Findings *f, const DoctorOptions *options, Output *o) {
        size_t n_faults = findings_count(f, LEVEL_FAULT);
        size_t n_warnings = findings_count(f, LEVEL_WARNING);
        size_t n_unchecked = findings_count(f, LEVEL_UNCHECKED);
        _cleanup_free_ char *verdict = NULL, *text = NULL;

        if (options->tier != 0 && n_faults > 0)
                verdict = alloc_printf("The tier %s cannot be had on this host: ",
                                       tier_name(options->tier));
        else if (options->tier != 0)
                verdict = alloc_printf("Nothing that was seen keeps this host from the tier %s: ",
                                       tier_name(options->tier));
        text = alloc_printf("%s%zu fault%s, %zu warning%s, %zu fine, %zu unchecked.",
                            strempty(verdict), n_faults, plural(n_faults), n_warnings,
                            plural(n_warnings), findings_count(f, LEVEL_FINE), n_unchecked);
        output_printf(o, "\n");
        print_wrapped(text, o);
}

/* On a narrow terminal the names of the checks leave no place for what they say. */
#define ROOM_FOR_NAMES 60U

/* The lines of a cell, each in a row of its own but for the first, which is in that of the others. */
static void add_rows(Table *t, const char *level, TableColour colour, const char *id,
                     const char *text, size_t width) {
        bool is_first = true;

        do {
                _cleanup_free_ char *line = take_line(&text, width);

                if (id)
                        TABLE_ADD(t, is_first ? level : "", is_first ? id : "", line);
                else
                        TABLE_ADD(t, is_first ? level : "", line);
                if (is_first)
                        table_colour(t, 0, colour);
                is_first = false;
        } while (*text);
}

/* What the columns before the last take, with the spaces between them. */
static size_t width_before(const Findings *f, bool has_names) {
        size_t level = strlen("LEVEL"), id = strlen("CHECK");

        for (size_t i = 0; i < f->n; i++) {
                level = MAX(level, strlen(finding_level_to_string(f->items[i].level)));
                id = MAX(id, strlen(finding_id_to_string(f->items[i].id)));
        }
        return level + 1 + (has_names ? id + 1 : 0);
}

void findings_print(const Findings *f, const DoctorOptions *options, Output *o) {
        static const TableColumn wide[] = { { "LEVEL", 0 },
                                            { "CHECK", 0 },
                                            { "MEANING", TABLE_WRAP } };
        static const TableColumn narrow[] = { { "LEVEL", 0 }, { "MEANING", TABLE_WRAP } };
        bool has_names = !o->is_tty || o->columns >= ROOM_FOR_NAMES;
        size_t before = width_before(f, has_names), width = 0, n = 0;
        _cleanup_(table_freep) Table *t = NULL;

        t = table_new(has_names ? wide : narrow, has_names ? ELEMENTSOF(wide) : ELEMENTSOF(narrow),
                      true);
        if (o->is_tty)
                width = o->columns > before + 10 ? o->columns - before : 10;
        for (size_t i = 0; i < f->n; i++) {
                const Finding *x = &f->items[i];
                _cleanup_free_ char *command = NULL;

                if (options->quiet && x->level == LEVEL_FINE)
                        continue;
                n++;
                add_rows(t, finding_level_to_string(x->level), level_colour(x->level),
                         has_names ? finding_id_to_string(x->id) : NULL, x->text, width);
                if (!x->command)
                        continue;
                command = alloc_printf("$ %s", x->command);
                add_rows(t, "", TABLE_PLAIN, has_names ? "" : NULL, command, width);
        }
        if (n > 0)
                table_print(t, o);
        if (!options->quiet)
                print_end(f, options, o);
}

void findings_json(const Findings *f, const DoctorOptions *options, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *findings = doc_new_array();

        doc_add_string(d, "tier", options->tier != 0 ? tier_name(options->tier) : NULL);
        doc_add_number(d, "n_faults", findings_count(f, LEVEL_FAULT));
        doc_add_number(d, "n_warnings", findings_count(f, LEVEL_WARNING));
        doc_add_number(d, "n_unchecked", findings_count(f, LEVEL_UNCHECKED));
        for (size_t i = 0; i < f->n; i++) {
                const Finding *x = &f->items[i];
                Doc *one = doc_new_object(), *tiers = doc_new_array();

                doc_add_string(one, "check", finding_id_to_string(x->id));
                doc_add_string(one, "level", finding_level_to_string(x->level));
                doc_add_string(one, "text", x->text);
                doc_add_string(one, "command", x->command);
                for (unsigned tier = TIER_HARDWARE; tier <= TIER_VIRTIO; tier <<= 1)
                        if (x->keeps_from & tier)
                                doc_add_string(tiers, NULL, tier_name(tier));
                doc_add(one, "keeps_from", tiers);
                doc_add(findings, NULL, one);
        }
        doc_add(d, "findings", findings);
        output_doc(o, d);
}
