/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/problem.h"

#include <errno.h>
#include <stdio.h>

static const struct {
        const char *name;
        int error;
} kinds[_PROBLEM_KIND_MAX] = {
#define X(kind, kind_name, kind_error) [kind] = { kind_name, kind_error },
        PROBLEM_KINDS(X)
#undef X
};

const char *problem_kind_to_name(ProblemKind kind) {
        assert(kind > PROBLEM_NONE && kind < _PROBLEM_KIND_MAX);
        return kinds[kind].name;
}

int problem_kind_to_errno(ProblemKind kind) {
        assert(kind > PROBLEM_NONE && kind < _PROBLEM_KIND_MAX);
        return kinds[kind].error;
}

/* The length of the UTF-8 character at @s, 0 when there is none. */
static size_t utf8_length(const unsigned char *s) {
        size_t n = s[0] < 0x80   ? 1
                   : s[0] < 0xc2 ? 0
                   : s[0] < 0xe0 ? 2
                   : s[0] < 0xf0 ? 3
                   : s[0] < 0xf5 ? 4
                                 : 0;

        for (size_t i = 1; i < n; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
            (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
                return 0;
        return n;
}

/* D-Bus carries no text that is not UTF-8, and whatever is cut may have been cut in the middle of a character. */
static void utf8_mend(char *text) {
        for (char *s = text; *s;) {
                size_t n = utf8_length((const unsigned char *)s);

                if (n == 0)
                        *s = '?';
                s += MAX(n, (size_t)1);
        }
}

static int problem_setv(Problem *p, ProblemKind kind, uint64_t wanted, uint64_t available,
                        const char *format, va_list ap) _printf_(5, 0);

static int problem_setv(Problem *p, ProblemKind kind, uint64_t wanted, uint64_t available,
                        const char *format, va_list ap) {
        if (p) {
                p->kind = kind;
                p->wanted = wanted;
                p->available = available;
                (void)vsnprintf(p->text, sizeof(p->text), format, ap);
                utf8_mend(p->text);
        }
        return -problem_kind_to_errno(kind);
}

int problem_set(Problem *p, ProblemKind kind, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = problem_setv(p, kind, 0, 0, format, ap);
        va_end(ap);
        return r;
}

int problem_set_amounts(Problem *p, ProblemKind kind, uint64_t wanted, uint64_t available,
                        const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = problem_setv(p, kind, wanted, available, format, ap);
        va_end(ap);
        return r;
}
