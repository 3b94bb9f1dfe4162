/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "lib/failure.h"

_Noreturn void alloc_failed(void) {
        (void)fprintf(stderr, "%s: Out of memory\n", program_invocation_short_name);
        _exit(CLIENT_EXIT_FAILED);
}

char *alloc_printf(const char *format, ...) {
        char *s = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&s, format, ap);
        va_end(ap);
        if (n < 0)
                alloc_failed();
        return s;
}

void *alloc_grow(void *array, size_t n, size_t size) {
        /* Powers of two: the room is used up when @n is one. */
        if (n > 0 && (n & (n - 1)) != 0)
                return array;
        return alloc_check(reallocarray(array, n > 0 ? n * 2 : 1, size));
}
