/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/version.h"

#include <inttypes.h>
#include <stdio.h>

char *version_format(uint64_t version, char buf[static VERSION_STRING_SIZE]) {
        if (version == 0)
                (void)snprintf(buf, VERSION_STRING_SIZE, "-");
        else
                (void)snprintf(buf, VERSION_STRING_SIZE, "%" PRIu64 ".%" PRIu64 ".%" PRIu64,
                               version / 1000000 % 10000, version / 1000 % 1000, version % 1000);
        return buf;
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* A number below 1000; moves *s behind it. */
static bool take_number(const char **s, uint64_t *ret) {
        uint64_t n = 0;
        const char *p = *s;

        for (; is_digit(*p); p++) {
                n = n * 10 + (uint64_t)(*p - '0');
                if (n >= 1000)
                        return false;
        }
        if (p == *s)
                return false;
        *s = p;
        *ret = n;
        return true;
}

static int parse_word(const char *s, uint64_t *ret) {
        uint64_t major, minor, micro = 0;

        if (!take_number(&s, &major) || *s++ != '.' || !take_number(&s, &minor))
                return -EINVAL;
        if (s[0] == '.' && is_digit(s[1])) {
                s++;
                if (!take_number(&s, &micro))
                        return -EINVAL;
        }
        *ret = VERSION(major, minor) + micro;
        return 0;
}

int version_parse(const char *text, uint64_t *ret) {
        bool is_start = true;

        for (const char *s = text; *s; s++) {
                if (is_start && is_digit(*s) && parse_word(s, ret) >= 0)
                        return 0;
                is_start = *s == ' ' || *s == '\t' || *s == '\n' || *s == '(';
        }
        return -EINVAL;
}
