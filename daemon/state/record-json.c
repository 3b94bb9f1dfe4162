/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/record-json.h"

#include <errno.h>

#include "state/vm-record.h"

static const char hex_digits[] = "0123456789abcdef";

/* ---- writing ---- */

/* How much room the widest value of a kind takes, lists apart. */
static size_t value_size_max(const JsonField *field) {
        if (field->kind == JSON_TEXT)
                return field->size * strlen("\\u001f") + strlen("\"\"");
        return MAX(strlen("\"00112233445566778899aabbccddeeff\""), strlen("18446744073709551615"));
}

static size_t count_of(const JsonField *field, const void *object) {
        assert(object); /* no list holds lists */
        return *(const size_t *)((const char *)object + field->count_offset);
}

/* How much room a struct takes at most. What a list holds is as wide as its widest item. */
static size_t size_max(const JsonTable *table, const void *object) {
        size_t size = strlen("{}");

        for (const JsonField *f = table->fields; f < table->fields + table->n_fields; f++) {
                size += strlen(f->name) + strlen("\"\":,");
                if (f->kind == JSON_LIST)
                        size += strlen("[]") +
                                count_of(f, object) * (size_max(f->items, NULL) + strlen(","));
                else
                        size += value_size_max(f);
        }
        return size;
}

static char *put(char *p, const char *s) {
        return stpcpy(p, s);
}

static char *put_number(char *p, uint64_t v) {
        char digits[20];
        size_t n = 0;

        do
                digits[n++] = (char)('0' + v % 10);
        while ((v /= 10) > 0);
        while (n > 0)
                *p++ = digits[--n];
        return p;
}

static char *put_hex(char *p, const uint8_t *bytes, size_t n) {
        for (size_t i = 0; i < n; i++) {
                *p++ = hex_digits[bytes[i] >> 4];
                *p++ = hex_digits[bytes[i] & 0xf];
        }
        return p;
}

static char *put_text(char *p, const char *s) {
        *p++ = '"';
        for (; *s; s++) {
                if ((uint8_t)*s < ' ') {
                        p = put_hex(put(p, "\\u00"), (const uint8_t *)s, 1);
                        continue;
                }
                if (*s == '"' || *s == '\\')
                        *p++ = '\\';
                *p++ = *s;
        }
        *p++ = '"';
        return p;
}

static char *put_struct(char *p, const JsonTable *table, const void *object);

static char *put_list(char *p, const JsonField *field, const void *object) {
        const char *items = *(const char *const *)((const char *)object + field->offset);
        size_t n = count_of(field, object);

        p = put(p, "[");
        for (size_t i = 0; i < n; i++) {
                p = put(p, i > 0 ? "," : "");
                p = put_struct(p, field->items, items + i * field->items->size);
        }
        return put(p, "]");
}

static char *put_value(char *p, const JsonField *field, const void *object) {
        const void *value = (const char *)object + field->offset;

        switch (field->kind) {
        case JSON_TEXT:
                return put_text(p, value);
        case JSON_BOOL:
                return put(p, *(const bool *)value ? "true" : "false");
        case JSON_U32:
                return put_number(p, *(const uint32_t *)value);
        case JSON_U64:
                return put_number(p, *(const uint64_t *)value);
        case JSON_BYTES16:
                return put(put_hex(put(p, "\""), value, 16), "\"");
        case JSON_ADDRESS:
                return put(put(put(p, "\""), PCI_ADDRESS_STRING((const PciAddress *)value)), "\"");
        case JSON_GUEST_ID:
                return put_number(p, ((const GuestDeviceId *)value)->bdf);
        default:
                return put_list(p, field, object);
        }
}

static char *put_struct(char *p, const JsonTable *table, const void *object) {
        const char *before = "{\"";

        for (const JsonField *f = table->fields; f < table->fields + table->n_fields; f++) {
                if (f->optional && !*((const char *)object + f->offset))
                        continue;
                p = put(put(put(p, before), f->name), "\":");
                p = put_value(p, f, object);
                before = ",\"";
        }
        return put(p, "}");
}

int json_format(const JsonTable *table, const void *object, char **ret) {
        char *text = malloc(size_max(table, object) + 1);

        if (!text)
                return -ENOMEM;

        *put_struct(text, table, object) = '\0';
        *ret = text;
        return 0;
}

/* ---- reading ---- */

/* What goes wrong first stays in @error, and then nothing more is there to read: no step has to
 * look whether the one before it went well. */
typedef struct Reader {
        const char *at, *end;
        int error;
} Reader;

static void reader_fail(Reader *reader, int error) {
        if (reader->error == 0)
                reader->error = error;
        reader->at = reader->end;
}

/* The next byte; 0, which stands nowhere in JSON, at the end. */
static char peek(const Reader *reader) {
        return reader->at < reader->end ? *reader->at : '\0';
}

/* Steps over @c if it comes next. */
static bool accept(Reader *reader, char c) {
        if (peek(reader) != c)
                return false;
        reader->at++;
        return true;
}

static void expect(Reader *reader, const char *s) {
        size_t n = strlen(s);

        if ((size_t)(reader->end - reader->at) < n || memcmp(reader->at, s, n) != 0) {
                reader_fail(reader, -EBADMSG);
                return;
        }
        reader->at += n;
}

static uint64_t read_number(Reader *reader, uint64_t max) {
        const char *start = reader->at;
        uint64_t v = 0;

        for (; peek(reader) >= '0' && peek(reader) <= '9'; reader->at++) {
                uint64_t digit = (uint64_t)(*reader->at - '0');

                if (v > max / 10 || digit > max - v * 10) {
                        reader_fail(reader, -EBADMSG);
                        return 0;
                }
                v = v * 10 + digit;
        }
        if (reader->at == start || (*start == '0' && reader->at > start + 1))
                reader_fail(reader, -EBADMSG);
        return v;
}

/* Exactly @n lower-case digits, of a value up to @max. */
static unsigned read_hex(Reader *reader, size_t n, unsigned max) {
        unsigned v = 0;

        for (size_t i = 0; i < n; i++) {
                const char *digit = memchr(hex_digits, peek(reader), 16);

                if (!digit) {
                        reader_fail(reader, -EBADMSG);
                        return 0;
                }
                reader->at++;
                v = v << 4 | (unsigned)(digit - hex_digits);
        }
        if (v > max)
                reader_fail(reader, -EBADMSG);
        return v;
}

static void read_bytes(Reader *reader, uint8_t *ret, size_t n) {
        expect(reader, "\"");
        for (size_t i = 0; i < n; i++)
                ret[i] = (uint8_t)read_hex(reader, 2, 0xff);
        expect(reader, "\"");
}

/* What stands after a backslash; 0 if it is not what put_text() writes. */
static char read_escape(Reader *reader) {
        unsigned v;

        if (accept(reader, '"'))
                return '"';
        if (accept(reader, '\\'))
                return '\\';
        expect(reader, "u00");
        v = read_hex(reader, 2, ' ' - 1);
        return (char)v;
}

static void read_text(Reader *reader, char *ret, size_t size) {
        size_t n = 0;

        expect(reader, "\"");
        while (!accept(reader, '"')) {
                char c = peek(reader);

                if (accept(reader, '\\'))
                        c = read_escape(reader);
                else if ((uint8_t)c >= ' ')
                        reader->at++;
                else
                        c = '\0';
                if (c == '\0' || n == size - 1) {
                        reader_fail(reader, -EBADMSG);
                        return;
                }
                ret[n++] = c;
        }
}

static bool read_bool(Reader *reader) {
        if (peek(reader) == 't') {
                expect(reader, "true");
                return true;
        }
        expect(reader, "false");
        return false;
}

static void read_address(Reader *reader, PciAddress *ret) {
        unsigned device;

        expect(reader, "\"");
        ret->segment = (uint16_t)read_hex(reader, 4, UINT16_MAX);
        expect(reader, ":");
        ret->bus = (uint8_t)read_hex(reader, 2, UINT8_MAX);
        expect(reader, ":");
        device = read_hex(reader, 2, 0x1f);
        expect(reader, ".");
        ret->devfn = (uint8_t)(device << 3 | read_hex(reader, 1, 7));
        expect(reader, "\"");
}

static void read_struct(Reader *reader, const JsonTable *table, void *object);

/* Makes room for one item more, zeroed, and counts it. NULL: the reader has failed. */
static void *list_append(Reader *reader, const JsonField *field, void *object) {
        char **items = (char **)((char *)object + field->offset);
        size_t *n = (size_t *)((char *)object + field->count_offset), size = field->items->size;

        if (*n == RECORD_LIST_MAX) {
                reader_fail(reader, -EBADMSG);
                return NULL;
        }
        /* It has room for a power of two of them: at each of these it is full. */
        if ((*n & (*n - 1)) == 0) {
                char *grown = reallocarray(*items, *n > 0 ? *n * 2 : 1, size);

                if (!grown) {
                        reader_fail(reader, -ENOMEM);
                        return NULL;
                }
                *items = grown;
        }
        return memset(*items + (*n)++ * size, 0, size);
}

static void read_list(Reader *reader, const JsonField *field, void *object) {
        expect(reader, "[");
        if (accept(reader, ']'))
                return;
        do {
                void *item = list_append(reader, field, object);

                if (!item)
                        return;
                read_struct(reader, field->items, item);
        } while (accept(reader, ','));
        expect(reader, "]");
}

static void read_value(Reader *reader, const JsonField *field, void *object) {
        void *value = (char *)object + field->offset;

        switch (field->kind) {
        case JSON_TEXT:
                read_text(reader, value, field->size);
                break;
        case JSON_BOOL:
                *(bool *)value = read_bool(reader);
                break;
        case JSON_U32:
                *(uint32_t *)value = (uint32_t)read_number(reader, UINT32_MAX);
                break;
        case JSON_U64:
                *(uint64_t *)value = read_number(reader, UINT64_MAX);
                break;
        case JSON_BYTES16:
                read_bytes(reader, value, 16);
                break;
        case JSON_ADDRESS:
                read_address(reader, value);
                break;
        case JSON_GUEST_ID:
                ((GuestDeviceId *)value)->bdf = (uint16_t)read_number(reader, UINT16_MAX);
                break;
        default:
                read_list(reader, field, object);
        }
}

/* Whether this member comes next. */
static bool is_next(const Reader *reader, const JsonField *field) {
        const char *name = reader->at + strlen(",\"");
        size_t left = (size_t)(reader->end - reader->at), n = strlen(field->name);

        return left > n + strlen(",\"\":") && memcmp(reader->at, ",\"", 2) == 0 &&
               memcmp(name, field->name, n) == 0 && name[n] == '"';
}

static void read_struct(Reader *reader, const JsonTable *table, void *object) {
        const char *before = "{\"";

        for (const JsonField *f = table->fields; f < table->fields + table->n_fields; f++) {
                if (f->optional && !is_next(reader, f))
                        continue;
                expect(reader, before);
                expect(reader, f->name);
                expect(reader, "\":");
                read_value(reader, f, object);
                if (f->optional && !*((char *)object + f->offset)) /* it would be left out */
                        reader_fail(reader, -EBADMSG);
                before = ",\"";
        }
        expect(reader, "}");
}

int json_parse(const JsonTable *table, const char *text, size_t length, void *object) {
        Reader reader = { .at = text, .end = text + length };

        read_struct(&reader, table, object);
        if (reader.at < reader.end)
                reader_fail(&reader, -EBADMSG);
        return reader.error;
}

void json_done(const JsonTable *table, void *object) {
        for (const JsonField *f = table->fields; f < table->fields + table->n_fields; f++)
                if (f->kind == JSON_LIST)
                        free(*(void **)((char *)object + f->offset));
        memset(object, 0, table->size);
}
