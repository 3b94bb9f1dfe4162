/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Allocation for the parts of a client that only make output: a command that cannot get a few bytes has nothing better
 * to do than to say so and leave. What a long-running client shares (connection, failures, parsing) does not use these.
 */

#include <stdio.h>

#include "base/macro.h"

/* Says so on stderr and exits with 1. */
_Noreturn void alloc_failed(void);

/* @p, unless it is NULL. */
static inline void *alloc_check(void *p) {
        if (!p)
                alloc_failed();
        return p;
}

/* printf() into a new string; never NULL. */
char *alloc_printf(const char *format, ...) _printf_(1, 2);

/* Makes room for one more element: returns @array, perhaps moved, with place for @n + 1 elements of @size bytes. */
void *alloc_grow(void *array, size_t n, size_t size);
