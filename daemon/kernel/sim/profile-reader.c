/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/sim/profile-reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

int profile_refuse(ProfileReader *reader, const char *format, ...) {
        char text[384];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        (void)problem_set(reader->problem, PROBLEM_INVALID_ARGUMENT, "%s: %s", reader->file, text);
        return -EINVAL;
}

static int refuse_value(ProfileReader *reader, const char *where, const char *key,
                        const char *wanted) {
        return profile_refuse(reader, "\"%s\" of %s must be %s.", key, where, wanted);
}

static int refuse_key(ProfileReader *reader, const char *where, const char *key,
                      const ProfileKey *keys, size_t n_keys) {
        char allowed[256] = "";

        for (size_t i = 0; i < n_keys; i++) {
                size_t used = strlen(allowed);

                (void)snprintf(allowed + used, sizeof(allowed) - used, "%s%s", used > 0 ? ", " : "",
                               keys[i].name);
        }

        (void)problem_set(reader->problem, PROBLEM_UNKNOWN_KEY,
                          "%s: %s has an unknown key \"%.64s\"; allowed are: %s.", reader->file,
                          where, key, allowed);
        return -EINVAL;
}

static int number_parse(json_object *value, uint64_t *ret) {
        const char *s;
        char *end;

        if (json_object_is_type(value, json_type_int)) {
                if (json_object_get_int64(value) < 0)
                        return -EINVAL;
                *ret = json_object_get_uint64(value);
                return 0;
        }
        if (!json_object_is_type(value, json_type_string))
                return -EINVAL;

        s = json_object_get_string(value);
        if (s[0] != '0' || s[1] != 'x' || strspn(s + 2, "0123456789abcdefABCDEF") == 0)
                return -EINVAL;

        errno = 0;
        *ret = strtoull(s + 2, &end, 16);
        return errno == 0 && *end == '\0' ? 0 : -EINVAL;
}

static int read_number(ProfileReader *reader, json_object *value, const char *where,
                       const ProfileKey *key, uint64_t *ret) {
        char wanted[96];
        uint64_t n;

        if (number_parse(value, &n) < 0 || n > key->max) {
                (void)snprintf(wanted, sizeof(wanted),
                               "a number from 0 to %" PRIu64 ", or one like \"0x1f\"", key->max);
                return refuse_value(reader, where, key->name, wanted);
        }

        *ret = n;
        return 0;
}

static int read_string(ProfileReader *reader, json_object *value, const char *where,
                       const ProfileKey *key, const char **ret) {
        char wanted[64];
        const char *s;

        s = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
        if (!s || strlen(s) > key->max || strlen(s) != (size_t)json_object_get_string_len(value)) {
                (void)snprintf(wanted, sizeof(wanted), "a string of at most %" PRIu64 " bytes",
                               key->max);
                return refuse_value(reader, where, key->name, wanted);
        }

        *ret = s;
        return 0;
}

static int uuid_parse(const char *s, uint8_t ret[static 16]) {
        static const char digits[] = "0123456789abcdef";

        if (strlen(s) != 36)
                return -EINVAL;
        for (size_t i = 0, n = 0; i < 36; i++) {
                const char *digit;

                if (i == 8 || i == 13 || i == 18 || i == 23) {
                        if (s[i] != '-')
                                return -EINVAL;
                        continue;
                }
                digit = strchr(digits, s[i]);
                if (!digit)
                        return -EINVAL;
                ret[n / 2] = (uint8_t)(ret[n / 2] << 4 | (digit - digits));
                n++;
        }

        return 0;
}

static const char *string_of(json_object *value) {
        return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

int profile_read_value(ProfileReader *reader, json_object *value, const char *where,
                       const ProfileKey *key, void *ret) {
        switch (key->type) {
        case PROFILE_NUMBER:
                return read_number(reader, value, where, key, ret);
        case PROFILE_STRING:
                return read_string(reader, value, where, key, ret);
        case PROFILE_BOOL:
                if (!json_object_is_type(value, json_type_boolean))
                        return refuse_value(reader, where, key->name, "true or false");
                *(bool *)ret = json_object_get_boolean(value);
                return 0;
        case PROFILE_ADDRESS:
                if (pci_address_parse(string_of(value), ret) < 0)
                        return refuse_value(reader, where, key->name,
                                            "a PCI address like \"0000:41:00.0\"");
                return 0;
        case PROFILE_UUID:
                if (uuid_parse(string_of(value), ret) < 0)
                        return refuse_value(reader, where, key->name,
                                            "a UUID in lower case, with hyphens");
                return 0;
        case PROFILE_OBJECT:
                if (!json_object_is_type(value, json_type_object))
                        return refuse_value(reader, where, key->name, "an object");
                *(json_object **)ret = value;
                return 0;
        case PROFILE_ARRAY:
                if (!json_object_is_type(value, json_type_array))
                        return refuse_value(reader, where, key->name, "an array");
                *(json_object **)ret = value;
                return 0;
        }

        return -EINVAL;
}

int profile_read(ProfileReader *reader, json_object *object, const char *where,
                 const ProfileKey *keys, size_t n_keys, void *ret) {
        if (!json_object_is_type(object, json_type_object))
                return profile_refuse(reader, "%s must be an object.", where);

        json_object_object_foreach(object, name, value) {
                size_t i = 0;
                int r;

                while (i < n_keys && !streq(keys[i].name, name))
                        i++;
                if (i == n_keys)
                        return refuse_key(reader, where, name, keys, n_keys);

                r = profile_read_value(reader, value, where, &keys[i],
                                       (char *)ret + keys[i].offset);
                if (r < 0)
                        return r;
        }

        for (size_t i = 0; i < n_keys; i++)
                if (keys[i].required && !json_object_object_get_ex(object, keys[i].name, NULL))
                        return profile_refuse(reader, "%s lacks \"%s\".", where, keys[i].name);

        return 0;
}
