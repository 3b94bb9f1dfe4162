/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/format.h"

#include <inttypes.h>
#include <langinfo.h>
#include <stdio.h>

char *format_bytes(uint64_t bytes, char buf[static FORMAT_SIZE]) {
        static const char suffixes[] = "KMGTPE";
        unsigned shift = 0;
        uint64_t whole, tenths;

        if (bytes == UINT64_MAX || bytes < 1024)
                return format_count(bytes, buf);

        while (bytes >> shift >= 1024)
                shift += 10;
        whole = bytes >> shift;
        tenths = ((bytes >> (shift - 10)) & 1023) * 10 / 1024;

        if (tenths == 0)
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 "%c", whole, suffixes[shift / 10 - 1]);
        else
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 ".%" PRIu64 "%c", whole, tenths,
                               suffixes[shift / 10 - 1]);
        return buf;
}

char *format_count(uint64_t count, char buf[static FORMAT_SIZE]) {
        if (count == UINT64_MAX)
                (void)snprintf(buf, FORMAT_SIZE, "unlimited");
        else
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64, count);
        return buf;
}

char *format_duration(uint64_t usec, char buf[static FORMAT_SIZE]) {
        uint64_t s = usec / 1000000;

        if (s < 10)
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 ".%" PRIu64 " s", s,
                               usec / 100000 % 10);
        else if (s < 60)
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 " s", s);
        else if (s < 7200)
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
        else
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIu64 " h %" PRIu64 " min", s / 3600,
                               s / 60 % 60);
        return buf;
}

size_t text_plain_length(const char *s) {
        size_t n = 0;

        while (s[n] >= ' ' && s[n] <= '~')
                n++;
        return n;
}

bool text_is_utf8(void) {
        return streq(nl_langinfo(CODESET), "UTF-8");
}

size_t text_read_char(const char *text, uint32_t *ret) {
        const unsigned char *s = (const unsigned char *)text;
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t length;
        uint32_t c;

        if (s[0] < 0x80) {
                *ret = s[0];
                return 1;
        }
        if (s[0] >= 0xc2 && s[0] <= 0xdf)
                length = 2;
        else if (s[0] >= 0xe0 && s[0] <= 0xef)
                length = 3;
        else if (s[0] >= 0xf0 && s[0] <= 0xf4)
                length = 4;
        else
                return 0;

        c = s[0] & (0x7fU >> length);
        for (size_t i = 1; i < length; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }
        if (c < smallest[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;

        *ret = c;
        return length;
}

bool text_char_is_harmless(uint32_t c) {
        return c >= 0x20 && (c < 0x7f || c > 0x9f) && /* C0, DEL, C1 */
               c != 0x61c && c != 0xfeff &&           /* Arabic letter mark, byte order mark */
               (c < 0x200b || c > 0x200f) &&          /* zero width, marks of direction */
               (c < 0x2028 || c > 0x202e) &&          /* separators, embeddings, overrides */
               (c < 0x2060 || c > 0x206f) &&          /* isolates, invisible operators */
               (c < 0xe0000 || c > 0xe007f);          /* tags */
}

char *text_escape(const char *s, char *buf, size_t size) {
        const char *p = s;
        bool utf8 = text_is_utf8();
        size_t n = 0;

        while (*p) {
                char piece[16];
                size_t length;
                uint32_t c = 0;

                length = text_read_char(p, &c);
                if (length == 0)
                        (void)snprintf(piece, sizeof(piece), "\\x%02x", (unsigned char)*p);
                else if (text_char_is_harmless(c) && (c < 0x80 || utf8)) {
                        memcpy(piece, p, length);
                        piece[length] = '\0';
                } else if (c > 0xffff)
                        (void)snprintf(piece, sizeof(piece), "\\U%08" PRIx32, c);
                else
                        (void)snprintf(piece, sizeof(piece), "\\u%04" PRIx32, c);

                /* Always leave room for the sign that something was cut. */
                if (n + strlen(piece) + sizeof("...") > size) {
                        memcpy(buf + n, "...", sizeof("..."));
                        return buf;
                }
                memcpy(buf + n, piece, strlen(piece));
                n += strlen(piece);
                p += MAX(length, (size_t)1);
        }

        buf[n] = '\0';
        return buf;
}

char *text_escape_new(const char *s) {
        size_t size = 10 * strlen(s) + sizeof("...") + 16;
        char *buf, *shrunk;

        if (!s[text_plain_length(s)])
                return strdup(s);
        buf = malloc(size);
        if (!buf)
                return NULL;
        text_escape(s, buf, size);
        shrunk = realloc(buf, strlen(buf) + 1);
        return shrunk ?: buf;
}
