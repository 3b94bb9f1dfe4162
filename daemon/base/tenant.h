/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names of tenants: on whose account a VM is. */

#include "base/macro.h"

#define TENANT_MAX  64 /* characters */
#define TENANT_SIZE (TENANT_MAX + 1)

/* Whether @s has 1 to TENANT_MAX characters of A-Z, a-z, 0-9, '.', '_' and '-'. */
static inline bool tenant_is_valid(const char *s) {
        static const char chars[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
        size_t n = strspn(s, chars);

        return n > 0 && n <= TENANT_MAX && !s[n];
}
