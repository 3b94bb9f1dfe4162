/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/fd-name.h"

#include <errno.h>

static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

#define BASE UINT32_C(36)

char *fd_name_format(uint32_t id, char buf[static FD_NAME_SIZE]) {
        char *p = buf;

        assert(id > 0 && id <= FD_ID_MAX);

        if (id >= BASE * BASE)
                *p++ = digits[id / (BASE * BASE)];
        if (id >= BASE)
                *p++ = digits[id / BASE % BASE];
        *p++ = digits[id % BASE];
        *p = '\0';
        return buf;
}

int fd_name_parse(const char *s, uint32_t *ret) {
        uint32_t id = 0;
        size_t n = strlen(s);

        if (n == 0 || n >= FD_NAME_SIZE || s[0] == '0')
                return -EINVAL;
        for (; *s; s++) {
                const char *digit = strchr(digits, *s);

                if (!digit)
                        return -EINVAL;
                id = id * BASE + (uint32_t)(digit - digits);
        }
        *ret = id;
        return 0;
}
