/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/doc.h"

#include <json-c/json.h>

#include "lib/alloc.h"
#include "lib/format.h"

#define DOC_VERSION 1

Doc *doc_new_object(void) {
        return alloc_check(json_object_new_object());
}

Doc *doc_new_array(void) {
        return alloc_check(json_object_new_array());
}

Doc *doc_new(void) {
        Doc *d = doc_new_object();

        doc_add_number(d, "version", DOC_VERSION);
        return d;
}

void doc_free(Doc *d) {
        (void)json_object_put(d);
}

void doc_add(Doc *d, const char *key, Doc *child) {
        int r;

        if (key)
                r = json_object_object_add_ex(d, key, child,
                                              JSON_C_OBJECT_ADD_KEY_IS_NEW |
                                                      JSON_C_OBJECT_ADD_CONSTANT_KEY);
        else
                r = json_object_array_add(d, child);
        if (r < 0)
                alloc_failed();
}

void doc_add_string(Doc *d, const char *key, const char *s) {
        doc_add(d, key, s ? alloc_check(json_object_new_string(s)) : NULL);
}

void doc_add_strings(Doc *d, const char *key, const char *const *items, size_t n) {
        Doc *array = doc_new_array();

        for (size_t i = 0; i < n; i++)
                doc_add_string(array, NULL, items[i]);
        doc_add(d, key, array);
}

void doc_add_bool(Doc *d, const char *key, bool b) {
        doc_add(d, key, alloc_check(json_object_new_boolean(b)));
}

void doc_add_number(Doc *d, const char *key, uint64_t n) {
        doc_add(d, key, alloc_check(json_object_new_uint64(n)));
}

void doc_add_signed(Doc *d, const char *key, int64_t n) {
        doc_add(d, key, alloc_check(json_object_new_int64(n)));
}

void doc_add_null(Doc *d, const char *key) {
        doc_add(d, key, NULL);
}

/* json-c escapes C0 in strings, and what is left of it is our own newlines. The rest that could steer or deceive a
 * terminal occurs in strings only. */
static char *escape_rest(const char *s) {
        char *out = alloc_check(malloc(6 * strlen(s) + 1)), *o = out;

        for (;;) {
                size_t length = text_plain_length(s);
                uint32_t c;

                o = mempcpy(o, s, length);
                s += length;
                if (!*s)
                        break;
                length = text_read_char(s, &c);
                if (length == 0 || c < 0x20 || text_char_is_harmless(c)) {
                        length = MAX(length, (size_t)1);
                        memcpy(o, s, length);
                        o += length;
                } else if (c > 0xffff)
                        o += sprintf(o, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
                                     0xdc00 + ((c - 0x10000) & 0x3ff));
                else
                        o += sprintf(o, "\\u%04x", c);
                s += length;
        }
        *o = '\0';
        return out;
}

char *doc_format(const Doc *d, bool pretty) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        flags |= pretty ? JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED
                        : JSON_C_TO_STRING_PLAIN;
        return escape_rest(alloc_check((char *)json_object_to_json_string_ext((Doc *)d, flags)));
}
