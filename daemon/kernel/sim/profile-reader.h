/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading JSON objects by a table of the keys they may have. Strict: an unknown key, a missing one, a wrong type and a
 * number out of range are each refused with a sentence that names the file, the object, the key and what is allowed.
 */

#include <json-c/json.h>

#include "base/pci-address.h"
#include "base/problem.h"

typedef enum ProfileType {
        PROFILE_NUMBER,  /* uint64_t, at most .max; as a JSON number or a string like "0x1f" */
        PROFILE_BOOL,    /* bool */
        PROFILE_STRING,  /* const char *, of the JSON object, at most .max bytes */
        PROFILE_ADDRESS, /* PciAddress */
        PROFILE_UUID,    /* uint8_t[16] */
        PROFILE_OBJECT,  /* json_object *, of the JSON object */
        PROFILE_ARRAY,   /* the same */
} ProfileType;

typedef struct ProfileKey {
        const char *name;
        ProfileType type;
        size_t offset; /* in what is read into */
        uint64_t max;
        bool required;
} ProfileKey;

typedef struct ProfileReader {
        const char *file;
        Problem *problem; /* may be NULL */
} ProfileReader;

/* Reads @object, called @where in refusals, into @ret, which holds the defaults. Returns 0 or -EINVAL. */
int profile_read(ProfileReader *reader, json_object *object, const char *where,
                 const ProfileKey *keys, size_t n_keys, void *ret);

/* Reads one value, of the element @key of @where. */
int profile_read_value(ProfileReader *reader, json_object *value, const char *where,
                       const ProfileKey *key, void *ret);

/* Refuses what can only be seen from further away: a sentence after the file's name. Returns -EINVAL. */
int profile_refuse(ProfileReader *reader, const char *format, ...) _printf_(2, 3);
