/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/utf8.h"

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

void utf8_mend(char *text) {
        for (char *s = text; *s;) {
                size_t n = utf8_length((const unsigned char *)s);

                if (n == 0)
                        *s = '?';
                s += MAX(n, (size_t)1);
        }
}
