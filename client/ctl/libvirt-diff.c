/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "ctl/libvirt.h"
#include "lib/alloc.h"

#define CONTEXT 3

/* Cells of the table of common subsequences; with more, the middle is shown as replaced as a whole. */
#define CELLS_MAX ((size_t)16 << 20)

typedef struct Lines {
        const char **items;
        size_t *lengths;
        size_t n;
} Lines;

static void lines_split(const char *text, Lines *ret) {
        *ret = (Lines){};
        while (*text) {
                size_t n = (size_t)(strchrnul(text, '\n') - text);

                ret->items = alloc_grow(ret->items, ret->n, sizeof(char *));
                ret->lengths = alloc_grow(ret->lengths, ret->n, sizeof(size_t));
                ret->items[ret->n] = text;
                ret->lengths[ret->n++] = n;
                text += n + (text[n] == '\n');
        }
}

static void lines_done(Lines *l) {
        free(l->items);
        free(l->lengths);
}

static bool lines_equal(const Lines *a, size_t i, const Lines *b, size_t j) {
        return a->lengths[i] == b->lengths[j] &&
               memcmp(a->items[i], b->items[j], a->lengths[i]) == 0;
}

/* A line of the result: ' ' common, '-' of the text before, '+' of the text after. */
typedef struct Step {
        char kind;
        const char *text;
        size_t length;
} Step;

typedef struct Steps {
        Step *items;
        size_t n;
} Steps;

static void add_step(Steps *s, char kind, const Lines *l, size_t i) {
        s->items = alloc_grow(s->items, s->n, sizeof(Step));
        s->items[s->n++] = (Step){ kind, l->items[i], l->lengths[i] };
}

/* How long the longest common subsequence of a's lines from i to @a_end and b's from j to @b_end is, for all i and j. NULL: too much. */
static uint32_t *common_lengths(const Lines *a, size_t a_begin, size_t a_end, const Lines *b,
                                size_t b_begin, size_t b_end) {
        size_t rows = a_end - a_begin, columns = b_end - b_begin;
        uint32_t *t;

        if ((rows + 1) > CELLS_MAX / (columns + 1))
                return NULL;
        t = alloc_check(calloc((rows + 1) * (columns + 1), sizeof(uint32_t)));
        for (size_t i = rows; i-- > 0;)
                for (size_t j = columns; j-- > 0;) {
                        uint32_t *here = t + i * (columns + 1) + j, *below = here + columns + 1;

                        *here = lines_equal(a, a_begin + i, b, b_begin + j)
                                        ? below[1] + 1
                                        : MAX(below[0], here[1]);
                }
        return t;
}

static void compare(const Lines *a, const Lines *b, Steps *ret) {
        size_t i = 0, j, a_end = a->n, b_end = b->n, begin, columns;
        _cleanup_free_ uint32_t *t = NULL;

        while (i < a->n && i < b->n && lines_equal(a, i, b, i))
                add_step(ret, ' ', a, i++);
        j = begin = i;
        while (a_end > i && b_end > j && lines_equal(a, a_end - 1, b, b_end - 1)) {
                a_end--;
                b_end--;
        }

        t = common_lengths(a, begin, a_end, b, begin, b_end);
        columns = b_end - begin;
        while (i < a_end || j < b_end) {
                const uint32_t *here = t ? t + (i - begin) * (columns + 1) + (j - begin) : NULL;

                if (t && i < a_end && j < b_end && lines_equal(a, i, b, j)) {
                        add_step(ret, ' ', a, i++);
                        j++;
                } else if (i < a_end && (j == b_end || !t || here[columns + 1] >= here[1]))
                        add_step(ret, '-', a, i++);
                else
                        add_step(ret, '+', b, j++);
        }
        while (i < a->n)
                add_step(ret, ' ', a, i++);
}

/* Whether a line is within @CONTEXT lines of one that changes. */
static bool is_near(const Steps *s, size_t i) {
        size_t begin = i > CONTEXT ? i - CONTEXT : 0, end = MIN(i + CONTEXT + 1, s->n);

        for (size_t k = begin; k < end; k++)
                if (s->items[k].kind != ' ')
                        return true;
        return false;
}

/* Writes a hunk that begins at @i. Returns where it ends. */
static size_t put_hunk(FILE *f, const Steps *s, size_t i, size_t *line_before, size_t *line_after) {
        size_t end = i, before = 0, after = 0;

        for (; end < s->n && is_near(s, end); end++) {
                before += s->items[end].kind != '+';
                after += s->items[end].kind != '-';
        }
        /* Of no lines, those after which they would be. */
        (void)fprintf(f, "@@ -%zu,%zu +%zu,%zu @@\n", *line_before - (before == 0), before,
                      *line_after - (after == 0), after);
        for (; i < end; i++)
                (void)fprintf(f, "%c%.*s\n", s->items[i].kind, (int)s->items[i].length,
                              s->items[i].text);
        *line_before += before;
        *line_after += after;
        return end;
}

char *diff_texts(const char *before, const char *after) {
        size_t size, line_before = 1, line_after = 1, i = 0;
        char *text = NULL;
        Steps steps = {};
        Lines a, b;
        FILE *f;

        lines_split(before, &a);
        lines_split(after, &b);
        compare(&a, &b, &steps);

        f = alloc_check(open_memstream(&text, &size));
        while (i < steps.n)
                if (is_near(&steps, i))
                        i = put_hunk(f, &steps, i, &line_before, &line_after);
                else {
                        line_before++;
                        line_after++;
                        i++;
                }
        if (fclose(f) != 0)
                alloc_failed();

        free(steps.items);
        lines_done(&a);
        lines_done(&b);
        return text;
}
