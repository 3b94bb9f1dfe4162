/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Plain structs as one line of JSON, by tables of their members. Private to this room.
 *
 * There is one way only to write a struct: members in the table's order (an optional one not at all when it is empty), no space, numbers in
 * decimal without leading zeros. Nothing else is read, so what was read and is written again is the
 * same text, byte for byte; a member that is missing, unknown, twice there or elsewhere is an
 * error, and so is a number that does not fit. This is narrower than what a JSON library reads
 * (json-c keeps the last of two members of a name and brings large numbers into range), needs no
 * tree, and takes no memory but the lists. A list has RECORD_LIST_MAX items at most.
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"
#include "base/pci-address.h"

typedef enum JsonKind {
        JSON_TEXT,     /* char[size], ended by a 0 */
        JSON_BOOL,     /* bool */
        JSON_U32,      /* uint32_t */
        JSON_U64,      /* uint64_t */
        JSON_BYTES16,  /* uint8_t[16] or sd_id128_t: 32 lower-case hex digits */
        JSON_ADDRESS,  /* PciAddress: "SSSS:BB:DD.F" */
        JSON_GUEST_ID, /* GuestDeviceId: its number */
        JSON_LIST,     /* a pointer to @items, and a size_t that counts them */
} JsonKind;

typedef struct JsonTable JsonTable;

typedef struct JsonField {
        const char *name;
        JsonKind kind;
        size_t offset;
        size_t size; /* of the member */
        const JsonTable *items;
        size_t count_offset;
        bool optional; /* a text that is left out when it is empty; never the first of its struct */
} JsonField;

struct JsonTable {
        const JsonField *fields;
        size_t n_fields;
        size_t size; /* of the struct */
};

/* A member is called in the text what it is called in C, and its type says how it is written. */
#define JSON_KIND(type, member)                                                                    \
        _Generic(((type *)0)->member,                                                              \
                char *: JSON_TEXT,                                                                 \
                bool: JSON_BOOL,                                                                   \
                uint32_t: JSON_U32,                                                                \
                uint64_t: JSON_U64,                                                                \
                uint8_t *: JSON_BYTES16,                                                           \
                sd_id128_t: JSON_BYTES16,                                                          \
                PciAddress: JSON_ADDRESS,                                                          \
                GuestDeviceId: JSON_GUEST_ID)
#define JSON_FIELD(type, member)                                                                   \
        {                                                                                          \
                .name = #member,                                                                   \
                .kind = JSON_KIND(type, member),                                                   \
                .offset = offsetof(type, member),                                                  \
                .size = sizeof(((type *)0)->member),                                               \
        }
/* A text that records of older versions do not have. */
#define JSON_FIELD_OPTIONAL(type, member)                                                          \
        {                                                                                          \
                .name = #member,                                                                   \
                .kind = JSON_TEXT,                                                                 \
                .offset = offsetof(type, member),                                                  \
                .size = sizeof(((type *)0)->member),                                               \
                .optional = true,                                                                  \
        }
/* A list, counted by the member n_@member. */
#define JSON_FIELD_LIST(type, member, table)                                                       \
        {                                                                                          \
                .name = #member,                                                                   \
                .kind = JSON_LIST,                                                                 \
                .offset = offsetof(type, member),                                                  \
                .items = &(table),                                                                 \
                .count_offset = offsetof(type, n_##member),                                        \
        }
#define JSON_TABLE(type, of_fields)                                                                \
        { .fields = (of_fields), .n_fields = ELEMENTSOF(of_fields), .size = sizeof(type) }

/* A RecordCharge (state/vm-record.h), of which several records have a list. */
extern const JsonTable record_charge_table;

/* Writes @object, allocated, without an end of line. Lists stand in the outermost struct only.
 * Returns 0 or -ENOMEM. */
int json_format(const JsonTable *table, const void *object, char **ret);

/* Reads @length bytes into @object, which is all zero. Returns 0, -EBADMSG, -ENOMEM; after a
 * failure json_done() is still due. */
int json_parse(const JsonTable *table, const char *text, size_t length, void *object);

/* Frees the lists and zeroes the struct. */
void json_done(const JsonTable *table, void *object);
