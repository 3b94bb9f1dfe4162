/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the static analyzers (tests/lib/analyze) see instead of uthash: the macros that the project uses, as calls of functions
 * that they know nothing of. The real ones are hundreds of paths each, in which they get lost.
 */

#include <stddef.h>
#include <string.h>

typedef struct UT_hash_handle {
        void *tbl, *next;
} UT_hash_handle;

void *analysis_find(const void *head, const void *key, size_t length);
void analysis_add(void *head, void *item, const void *key);
void analysis_delete(void *head, void *item);
unsigned analysis_count(const void *head);

#define HASH_FIND(hh, head, key, length, out) ((out) = analysis_find((head), (key), (length)))
#define HASH_FIND_STR(head, key, out)         HASH_FIND(hh, head, key, strlen(key), out)
#define HASH_ADD_KEYPTR(hh, head, key, length, item)                                               \
        ((void)(length), analysis_add(&(head), (item), (key)))
#define HASH_ADD(hh, head, field, length, item)                                                    \
        HASH_ADD_KEYPTR(hh, head, &(item)->field, length, item)
#define HASH_ADD_STR(head, field, item)                                                            \
        HASH_ADD_KEYPTR(hh, head, (item)->field, strlen((item)->field), item)
#define HASH_DELETE(hh, head, item) analysis_delete(&(head), (item))
#define HASH_DEL(head, item)        HASH_DELETE(hh, head, item)
#define HASH_COUNT(head)            analysis_count(head)
#define HASH_ITER(hh, head, item, following)                                                       \
        for ((item) = (head), (following) = (item) ? (item)->hh.next : NULL; (item);               \
             (item) = (following), (following) = (item) ? (item)->hh.next : NULL)
