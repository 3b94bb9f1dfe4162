/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * JSON documents. Keys are snake_case and stay; "version" is raised when one changes its meaning. Numbers are integers
 * and exact over all 64 bits.
 */

#include "base/macro.h"

/* An object or array. What is added to another belongs to it; the outermost is given back with doc_free(). */
typedef struct json_object Doc;

/* {"version": 1} */
Doc *doc_new(void);
Doc *doc_new_object(void);
Doc *doc_new_array(void);
void doc_free(Doc *d);
DEFINE_CLEANUP(Doc, doc_free);

/* @key is NULL for an element of an array; else one that @d has not got yet, in memory that outlives @d, such as a literal.
 * NULL strings become null. */
void doc_add(Doc *d, const char *key, Doc *child);
void doc_add_string(Doc *d, const char *key, const char *s);
void doc_add_strings(Doc *d, const char *key, const char *const *items, size_t n);
void doc_add_bool(Doc *d, const char *key, bool b);
void doc_add_number(Doc *d, const char *key, uint64_t n);
void doc_add_signed(Doc *d, const char *key, int64_t n);
void doc_add_null(Doc *d, const char *key);

/* The text, without a newline at its end; the caller frees it. Nothing in it can steer a terminal. */
char *doc_format(const Doc *d, bool pretty);
