/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/doc-read.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>

#define DEPTH_MAX 8

int doc_refuse(Failure *reterr, const char *where, const char *format, ...) {
        static const char next[] =
                "`aviommuctl definition DEFINITION -j` writes one that is right.";
        char sentence[512];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(sentence, sizeof(sentence), format, ap);
        va_end(ap);
        return failure_set(reterr, CLIENT_EXIT_USAGE, -EINVAL, next, "%.256s: %s", where, sentence);
}

/* Parses all of @text, with the 0 behind its @size bytes as an end. *ret_error: in words, NULL for none. */
static Doc *parse(const char *text, size_t size, const char **ret_error, size_t *ret_end) {
        struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
        enum json_tokener_error error;
        Doc *d;

        *ret_error = "there is not enough memory";
        *ret_end = 0;
        if (!tokener)
                return NULL;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        d = json_tokener_parse_ex(tokener, text, (int)size + 1);
        error = json_tokener_get_error(tokener);
        *ret_end = json_tokener_get_parse_end(tokener);
        json_tokener_free(tokener);

        *ret_error = NULL;
        if (error != json_tokener_success)
                *ret_error = json_tokener_error_desc(error);
        else if (*ret_end < size && strspn(text + *ret_end, " \t\r\n") < size - *ret_end)
                *ret_error = "there is more behind its end";
        return d;
}

int doc_parse(const char *name, const char *text, size_t size, Doc **ret, Failure *reterr) {
        _cleanup_(doc_freep) Doc *d = NULL;
        size_t end, line = 1;
        const char *error;

        assert(text[size] == '\0');
        if (size > DOC_SIZE_MAX)
                return doc_refuse(reterr, name, "It is longer than %zu KiB.", DOC_SIZE_MAX / 1024);
        d = parse(text, size, &error, &end);
        if (error) {
                for (size_t i = 0; i < MIN(end, size); i++)
                        line += text[i] == '\n';
                return doc_refuse(reterr, name, "This is no JSON: %s in line %zu.", error, line);
        }
        if (!json_object_is_type(d, json_type_object))
                return doc_refuse(reterr, name, "This is no JSON object ({...}).");
        *ret = TAKE_PTR(d);
        return 0;
}

static int refuse_type(Failure *reterr, const char *where, const DocField *field) {
        static const char *const wanted[] = {
                [DOC_STRING] = "a text that is not empty",
                [DOC_BOOL] = "true or false",
                [DOC_NUMBER] = "a whole number, 0 or more",
                [DOC_ARRAY] = "a list ([...])",
        };

        return doc_refuse(reterr, where, "\"%s\" wants %s.", field->name, wanted[field->type]);
}

static bool read_string(json_object *value, const char **ret) {
        const char *s = json_object_get_string(value);

        if (!json_object_is_type(value, json_type_string) || !*s ||
            strlen(s) != (size_t)json_object_get_string_len(value))
                return false;
        *ret = s;
        return true;
}

/* What is too large is brought into range by the library: the largest is none. */
static bool read_number(json_object *value, uint64_t *ret) {
        if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0 ||
            json_object_get_uint64(value) == UINT64_MAX)
                return false;
        *ret = json_object_get_uint64(value);
        return true;
}

static bool read_value(json_object *value, DocType type, void *ret) {
        switch (type) {
        case DOC_STRING:
                return read_string(value, ret);
        case DOC_BOOL:
                *(bool *)ret = json_object_get_boolean(value);
                return json_object_is_type(value, json_type_boolean);
        case DOC_NUMBER:
                return read_number(value, ret);
        default:
                *(const Doc **)ret = value;
                return json_object_is_type(value, json_type_array);
        }
}

static int refuse_key(Failure *reterr, const char *where, const char *key, const DocField *fields,
                      size_t n_fields) {
        char known[256] = "";
        size_t length = 0;

        for (size_t i = 0; i < n_fields && length < sizeof(known); i++)
                length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s",
                                           i > 0 ? ", " : "", fields[i].name);
        return doc_refuse(reterr, where, "There is no key \"%.64s\" here; there are %s.", key,
                          known);
}

int doc_read(const Doc *d, const char *where, const DocField *fields, size_t n_fields, void *object,
             Failure *reterr) {
        json_object_object_foreach((Doc *)d, key, value) {
                const DocField *field = fields;

                while (field < fields + n_fields && !streq(field->name, key))
                        field++;
                if (field == fields + n_fields)
                        return refuse_key(reterr, where, key, fields, n_fields);
                if (!read_value(value, field->type, (char *)object + field->offset))
                        return refuse_type(reterr, where, field);
        }
        return 0;
}

bool doc_has(const Doc *d, const char *name) {
        return json_object_object_get_ex(d, name, NULL);
}

size_t doc_length(const Doc *array) {
        return array ? json_object_array_length(array) : 0;
}

const Doc *doc_get_object(const Doc *array, size_t i) {
        const Doc *d = json_object_array_get_idx(array, i);

        return json_object_is_type(d, json_type_object) ? d : NULL;
}
