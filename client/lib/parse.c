/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/parse.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>

static int digit_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static bool is_dash_place(size_t i) {
        return i == 8 || i == 13 || i == 18 || i == 23;
}

int uuid_parse(const char *s, char ret[static UUID_STRING_SIZE]) {
        char uuid[UUID_STRING_SIZE] = "";
        bool dashes;

        dashes = strlen(s) == UUID_STRING_SIZE - 1;
        if (!dashes && strlen(s) != UUID_STRING_SIZE - 5)
                return -EINVAL;

        for (size_t i = 0; i < UUID_STRING_SIZE - 1; i++) {
                if (is_dash_place(i)) {
                        if (dashes && *s++ != '-')
                                return -EINVAL;
                        uuid[i] = '-';
                } else {
                        int v = digit_value(*s++);

                        if (v < 0)
                                return -EINVAL;
                        uuid[i] = "0123456789abcdef"[v];
                }
        }

        memcpy(ret, uuid, UUID_STRING_SIZE);
        return 0;
}

int uuid_random(char ret[static UUID_STRING_SIZE]) {
        uint8_t b[16];
        size_t n = 0;

        if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
                return -EIO;
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;

        for (size_t i = 0; i < sizeof(b); i++) {
                if (is_dash_place(n))
                        ret[n++] = '-';
                ret[n++] = "0123456789abcdef"[b[i] >> 4];
                ret[n++] = "0123456789abcdef"[b[i] & 0xf];
        }
        ret[n] = '\0';
        return 0;
}

/* Reads digits from *@s on and leaves it after them. */
static int digits_read(const char **s, unsigned base, uint64_t *ret) {
        uint64_t value = 0;
        size_t n = 0;

        for (;; (*s)++, n++) {
                int v = digit_value(**s);

                if (v < 0 || (unsigned)v >= base)
                        break;
                if (__builtin_mul_overflow(value, (uint64_t)base, &value) ||
                    __builtin_add_overflow(value, (uint64_t)v, &value))
                        return -ERANGE;
        }
        if (n == 0)
                return -EINVAL;

        *ret = value;
        return 0;
}

static int number_read(const char **s, uint64_t *ret) {
        if ((*s)[0] == '0' && ((*s)[1] == 'x' || (*s)[1] == 'X')) {
                *s += 2;
                return digits_read(s, 16, ret);
        }
        return digits_read(s, 10, ret);
}

int number_parse(const char *s, uint64_t *ret) {
        uint64_t value;
        int r;

        r = number_read(&s, &value);
        if (r < 0)
                return r;
        if (*s)
                return -EINVAL;

        *ret = value;
        return 0;
}

int size_parse(const char *s, uint64_t *ret_bytes) {
        static const char suffixes[] = "KMGT";
        unsigned shift = 0;
        uint64_t value;
        int r;

        r = number_read(&s, &value);
        if (r < 0)
                return r;

        if (*s) {
                const char *suffix = strchr(suffixes, *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s);

                if (suffix) {
                        shift = 10 * (unsigned)(suffix - suffixes + 1);
                        s++;
                        if (strcasecmp(s, "ib") == 0)
                                s += 2;
                }
                if (*s == 'B')
                        s++;
                if (*s)
                        return -EINVAL;
        }
        if (shift > 0 && value > UINT64_MAX >> shift)
                return -ERANGE;

        *ret_bytes = value << shift;
        return 0;
}

int seconds_parse(const char *s, uint64_t *ret_usec) {
        uint64_t value, usec = 0, unit = 100000;
        int r;

        r = digits_read(&s, 10, &value);
        if (r < 0)
                return r;
        if (*s == '.') {
                s++;
                if (!*s)
                        return -EINVAL;
                for (; *s >= '0' && *s <= '9'; s++, unit /= 10)
                        usec += (uint64_t)(*s - '0') * unit;
        }
        if (*s)
                return -EINVAL;
        if (value > UINT64_MAX / 1000000 - 1)
                return -ERANGE;

        *ret_usec = value * 1000000 + usec;
        return 0;
}

int host_iommu_parse(const char *s, unsigned *ret_index) {
        uint64_t value;
        int r;

        if (strncmp(s, "ivhd", 4) != 0)
                return -EINVAL;
        s += 4;
        if (s[0] == '0' && s[1] != '\0')
                return -EINVAL;
        r = number_parse(s, &value);
        if (r < 0 || value > UINT16_MAX)
                return -EINVAL;

        *ret_index = (unsigned)value;
        return 0;
}
