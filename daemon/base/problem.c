/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/problem.h"

#include <errno.h>
#include <stdio.h>

#include "base/utf8.h"

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
