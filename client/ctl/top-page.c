/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/top.h"

#include <inttypes.h>

#include "ctl/render.h"
#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

/* One bar is at least so wide, with what is said beside it; more of them stand side by side. */
#define BAR_COLUMNS 50
/* A bar that is shorter says nothing. */
#define BAR_MIN 3
/* Shares from which on a bar is coloured: the second is where the alert rules begin. */
#define ATTENTION_PERMILLE 750
#define BAD_PERMILLE       900

static unsigned permille_of(uint64_t amount, uint64_t capacity) {
        if (capacity == UINT64_MAX || amount == 0)
                return 0;
        if (amount >= capacity)
                return 1000;
        return (unsigned)((unsigned __int128)amount * 1000 / capacity);
}

unsigned top_permille(const ResourceList *accounts, const Charge *charge) {
        for (size_t i = 0; i < accounts->n; i++)
                if (streq(accounts->items[i].kind, charge->kind) &&
                    streq(accounts->items[i].scope, charge->scope))
                        return permille_of(charge->amount, accounts->items[i].capacity);
        return 0;
}

static int compare_vms(const void *a, const void *b) {
        const TopVm *x = a, *y = b;

        if (x->permille != y->permille)
                return x->permille > y->permille ? -1 : 1;
        return strcmp(x->row->uuid, y->row->uuid);
}

void top_sort(TopPage *page) {
        for (size_t i = 0; i < page->n_vms; i++) {
                TopVm *vm = &page->vms[i];

                vm->permille = 0;
                for (size_t k = 0; k < vm->charges->n; k++)
                        vm->permille = MAX(vm->permille, top_permille(&page->status->resources,
                                                                      &vm->charges->items[k]));
        }
        if (page->n_vms > 0)
                qsort(page->vms, page->n_vms, sizeof(TopVm), compare_vms);
}

/* ---- lines ---- */

/* A line of text, no wider than the terminal; it has been escaped. */
static void print_line(Output *o, TableColour colour, const char *text) {
        size_t left = o->is_tty ? o->columns : SIZE_MAX;
        const char *end = text;
        uint32_t c;

        for (; *end && left > 0; left--)
                end += MAX(text_read_char(end, &c), (size_t)1);
        output_printf(o, "%s%.*s%s\n", colour_begin(o, colour), (int)(end - text), text,
                      colour_end(o, colour));
}

static unsigned print_head(const TopPage *page, Output *o) {
        const Status *s = page->status;
        _cleanup_free_ char *failure = alloc_check(text_escape_new(strempty(page->failure)));
        _cleanup_free_ char *head = NULL, *trouble = NULL;

        if (!s) {
                head = alloc_printf("%s  aviommud", page->when);
                print_line(o, TABLE_PLAIN, head);
                print_line(o, TABLE_BAD, failure);
                return 2;
        }
        head = alloc_printf("%s  %u VM%s, %u reservation%s, %s, aviommud %s", page->when, s->n_vms,
                            s->n_vms == 1 ? "" : "s", s->n_reservations,
                            s->n_reservations == 1 ? "" : "s", strempty(s->kernel_level),
                            strempty(s->version));
        print_line(o, TABLE_PLAIN, head);
        if (*failure)
                print_line(o, TABLE_ATTENTION, failure);
        else if (s->n_quarantined > 0) {
                trouble = alloc_printf("%zu quarantined, see `aviommuctl reclaim`",
                                       s->n_quarantined);
                print_line(o, TABLE_BAD, trouble);
        } else if (s->problems.n > 0) {
                trouble = alloc_printf("The host lacks %zu thing%s, see `aviommuctl status`",
                                       s->problems.n, s->problems.n == 1 ? "" : "s");
                print_line(o, TABLE_ATTENTION, trouble);
        } else
                return 1;
        return 2;
}

/* ---- bars ---- */

typedef struct Bars {
        const Resource **items;
        size_t n, n_idle, n_more; /* shown; left out: those with nothing in use, and others */
        bool is_narrow;
        unsigned across;             /* side by side */
        unsigned label, amount, bar; /* columns of each */
} Bars;

/* What the kinds are called where there is little room, as in the heading of the VMs. */
static const char *short_kind(const char *kind) {
        static const struct {
                const char *kind, *name;
        } names[] = {
                { "instances", "inst" },       { "trans-devids", "devids" },
                { "domain-ids", "domains" },   { "contiguous-memory", "contig" },
                { "pinned-memory", "pinned" },
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(names[i].kind, kind))
                        return names[i].name;
        return kind;
}

static char *format_label(const Bars *bars, const Resource *x) {
        _cleanup_free_ char *text = alloc_printf("%s %s", strempty(x->scope),
                                                 bars->is_narrow ? short_kind(strempty(x->kind))
                                                                 : strempty(x->kind));

        return alloc_check(text_escape_new(text));
}

static char *format_used(const Resource *x) {
        char used[FORMAT_SIZE], capacity[FORMAT_SIZE];

        return alloc_printf(
                "%s/%s", format_amount(x->kind, x->used, used),
                x->capacity == UINT64_MAX ? "-" : format_amount(x->kind, x->capacity, capacity));
}

/* The fullest first, else in their order. */
static int compare_bars(const void *a, const void *b) {
        const Resource *x = *(const Resource *const *)a, *y = *(const Resource *const *)b;
        unsigned p = permille_of(x->used, x->capacity), q = permille_of(y->used, y->capacity);

        return p != q ? (p > q ? -1 : 1) : (x > y) - (x < y);
}

/* Where not all of them fit, those with nothing in use are left out, and then the emptiest. */
static void bars_choose(const TopPage *page, unsigned n_lines, Bars *bars) {
        const ResourceList *l = &page->status->resources;
        bool all = page->rows == 0 || (l->n + bars->across - 1) / bars->across + 6 <= page->rows;
        size_t left, most;

        bars->items = alloc_check(new0(const Resource *, MAX(l->n, (size_t)1)));
        for (size_t i = 0; i < l->n; i++)
                if (all || l->items[i].used > 0)
                        bars->items[bars->n++] = &l->items[i];
                else
                        bars->n_idle++;
        if (all)
                return;
        n_lines += page->n_vms > 0; /* that there are VMs is said in any case */
        left = page->rows > n_lines ? page->rows - n_lines : 0;
        if ((bars->n + bars->across - 1) / bars->across + (bars->n_idle > 0) <= left)
                return;
        qsort(bars->items, bars->n, sizeof(*bars->items), compare_bars);
        most = left > 0 ? (left - 1) * bars->across
                        : 0; /* the last line says that there are more */
        bars->n_more = bars->n - MIN(bars->n, most);
        bars->n -= bars->n_more;
        if (left == 0) /* nor for that */
                bars->n_more = bars->n_idle = 0;
}

/* The text before the bar, the one after it, and what is left for the bar. */
static void bars_measure(Bars *bars, unsigned columns) {
        unsigned width = columns / bars->across - (bars->across > 1), used;

        for (size_t i = 0; i < bars->n; i++) {
                _cleanup_free_ char *label = format_label(bars, bars->items[i]),
                                    *amount = format_used(bars->items[i]);

                bars->label = MAX(bars->label, (unsigned)strlen(label));
                bars->amount = MAX(bars->amount, (unsigned)strlen(amount));
        }
        used = bars->label + 1 + 2 + 1 + bars->amount;
        bars->bar = width >= used + BAR_MIN ? width - used : 0;
}

static void print_bar(const Bars *bars, const Resource *x, bool is_last, Output *o) {
        _cleanup_free_ char *label = format_label(bars, x), *amount = format_used(x);
        unsigned permille = permille_of(x->used, x->capacity), filled;
        TableColour colour = permille >= BAD_PERMILLE         ? TABLE_BAD
                             : permille >= ATTENTION_PERMILLE ? TABLE_ATTENTION
                                                              : TABLE_GOOD;

        output_printf(o, "%-*s ", (int)bars->label, label);
        if (bars->bar > 0) {
                filled = permille * bars->bar / 1000;
                if (x->used > 0) /* and if it is ever so little */
                        filled = MAX(filled, 1U);
                output_printf(o, "[%s", colour_begin(o, colour));
                for (unsigned i = 0; i < bars->bar; i++)
                        output_printf(o, "%s", i < filled ? "#" : " ");
                output_printf(o, "%s] ", colour_end(o, colour));
        }
        output_printf(o, "%*s%s", (int)bars->amount, amount, is_last ? "\n" : "  ");
}

/* Below what has @n_head lines. Returns how many it has written. */
static unsigned print_bars(const TopPage *page, unsigned n_head, Output *o) {
        Bars bars = { .is_narrow = o->columns < BAR_COLUMNS };
        unsigned n_lines;

        bars.across = MAX(o->columns / BAR_COLUMNS, 1U);
        bars_choose(page, n_head, &bars);
        bars_measure(&bars, o->columns);
        for (size_t i = 0; i < bars.n; i++)
                print_bar(&bars, bars.items[i], i + 1 == bars.n || (i + 1) % bars.across == 0, o);
        n_lines = (unsigned)((bars.n + bars.across - 1) / bars.across);
        if (bars.n_more > 0 || bars.n_idle > 0) {
                _cleanup_free_ char *text = bars.n_more > 0
                                                    ? alloc_printf("and %zu more resources",
                                                                   bars.n_more + bars.n_idle)
                                                    : alloc_printf(
                                                              "and %zu of which nothing is in use",
                                                              bars.n_idle);

                print_line(o, TABLE_FAINT, text);
                n_lines++;
        }
        free(bars.items);
        return n_lines;
}

/* ---- VMs ---- */

static uint64_t sum(const ChargeList *l, const char *kind) {
        uint64_t n = 0;

        for (size_t i = 0; i < l->n; i++)
                n += streq(l->items[i].kind, kind) ? l->items[i].amount : 0;
        return n;
}

/* The host IOMMUs on which it has an instance. */
static char *format_iommus(const ChargeList *l) {
        char *all = alloc_printf("%s", "");

        for (size_t i = 0; i < l->n; i++)
                if (streq(l->items[i].kind, "instances")) {
                        char *longer = alloc_printf("%s%s%s", all, *all ? " " : "",
                                                    l->items[i].scope);

                        free(all);
                        all = longer;
                }
        return all;
}

static void add_vm(Table *t, const TopVm *vm) {
        _cleanup_free_ char *iommus = format_iommus(vm->charges);
        char share[16];

        (void)snprintf(share, sizeof(share), "%u.%u%%", vm->permille / 10, vm->permille % 10);
        TABLE_ADD(t, *vm->row->name ? vm->row->name : vm->row->uuid, vm->row->tier, vm->row->state,
                  share, FORMAT_COUNT(sum(vm->charges, "instances")),
                  FORMAT_COUNT(sum(vm->charges, "trans-devids")),
                  FORMAT_COUNT(sum(vm->charges, "domain-ids")),
                  FORMAT_BYTES(sum(vm->charges, "contiguous-memory")),
                  FORMAT_BYTES(sum(vm->charges, "pinned-memory")), cell_or_dash(iommus));
        table_colour(t, 2, state_colour(vm->row->state));
}

static void print_vms(const TopPage *page, unsigned n_lines, Output *o) {
        static const TableColumn columns[] = {
                { "VM", TABLE_TRUNC },
                { "TIER", TABLE_TRUNC | TABLE_EXTRA },
                { "STATE", TABLE_TRUNC | TABLE_LESS },
                { "MOST", TABLE_RIGHT },
                { "INST", TABLE_RIGHT },
                { "DEVIDS", TABLE_RIGHT | TABLE_LESS },
                { "DOMAINS", TABLE_RIGHT | TABLE_EXTRA },
                { "CONTIG", TABLE_RIGHT | TABLE_EXTRA },
                { "PINNED", TABLE_RIGHT },
                { "ON", TABLE_TRUNC | TABLE_EXTRA },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);
        size_t n = page->n_vms, left;

        if (n == 0)
                return;
        /* The empty line, the heading, and perhaps what says that there are more. */
        if (page->rows > 0) {
                left = page->rows > n_lines + 2 ? page->rows - n_lines - 2 : 0;
                if (n > left || page->n_vms_left > 0)
                        n = left > 0 ? MIN(n, left - 1) : 0;
        }
        for (size_t i = 0; i < n; i++)
                add_vm(t, &page->vms[i]);
        if (n > 0) {
                output_printf(o, "\n");
                table_print(t, o);
        }
        left = page->n_vms - n + page->n_vms_left;
        if (left > 0 && (page->rows == 0 || n_lines < page->rows)) {
                _cleanup_free_ char *text = alloc_printf("and %zu more", left);

                print_line(o, TABLE_FAINT, text);
        }
}

void top_print(const TopPage *page, Output *o) {
        unsigned n_lines = print_head(page, o);

        if (!page->status)
                return;
        n_lines += print_bars(page, n_lines, o);
        print_vms(page, n_lines, o);
}

void top_json(const TopPage *page, uint64_t time_usec, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *vms = doc_new_array();

        doc_add_number(d, "time_usec", time_usec);
        doc_add(d, "resources", resources_to_doc(&page->status->resources));
        for (size_t i = 0; i < page->n_vms; i++) {
                const TopVm *vm = &page->vms[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "uuid", vm->row->uuid);
                doc_add_string(x, "name", vm->row->name);
                doc_add_string(x, "tier", vm->row->tier);
                doc_add_string(x, "state", vm->row->state);
                doc_add_number(x, "permille", vm->permille);
                doc_add(x, "charges", charges_to_doc(vm->charges));
                doc_add(vms, NULL, x);
        }
        doc_add(d, "vms", vms);
        doc_add_number(d, "n_vms_left_out", page->n_vms_left);
        output_doc(o, d);
}
