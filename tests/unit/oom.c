/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "oom.h"

#include <stdarg.h>
#include <stdatomic.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
int __real_vasprintf(char **ret, const char *format, va_list ap) _printf_(2, 0);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **ret, const char *format, va_list ap) _printf_(2, 0);
int __wrap_asprintf(char **ret, const char *format, ...) _printf_(2, 3);

static atomic_uint_fast64_t n_calls, first, last;
static atomic_bool fired;

void oom_arm(uint64_t nth, uint64_t n_more) {
        atomic_store(&last, 0);
        atomic_store(&n_calls, 0);
        atomic_store(&fired, false);
        atomic_store(&first, nth);
        atomic_store(&last, nth + n_more - 1);
}

bool oom_disarm(void) {
        atomic_store(&last, 0);
        return atomic_load(&fired);
}

static bool fails(void) {
        uint64_t until = atomic_load(&last), n;

        if (until == 0)
                return false;
        n = atomic_fetch_add(&n_calls, 1) + 1;
        if (n < atomic_load(&first) || n > until)
                return false;
        atomic_store(&fired, true);
        return true;
}

void *__wrap_malloc(size_t size) {
        return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
        return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
        return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
        return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s) {
        return fails() ? NULL : __real_strdup(s);
}

int __wrap_vasprintf(char **ret, const char *format, va_list ap) {
        return fails() ? -1 : __real_vasprintf(ret, format, ap);
}

int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = fails() ? -1 : __real_vasprintf(ret, format, ap);
        va_end(ap);
        return r;
}
