/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading JSON documents by a table of the keys they may have. Strict: a key that is not known and a value of another type are
 * each refused with a sentence that names the key. Of two members of a name the last one counts. What is read lives as long as the
 * document.
 */

#include "lib/doc.h"
#include "lib/failure.h"

#define DOC_SIZE_MAX ((size_t)1 << 20) /* bytes of text */

typedef enum DocType {
        DOC_STRING, /* const char *, not empty, without a 0 in it */
        DOC_BOOL,   /* bool */
        DOC_NUMBER, /* uint64_t */
        DOC_ARRAY,  /* const Doc * */
} DocType;

typedef struct DocField {
        const char *name;
        DocType type;
        size_t offset; /* in the struct that is read into */
} DocField;

/* Reads @size bytes, called @name in refusals (a file's name). Returns 0 with an object, which the caller frees, or -EINVAL (reterr
 * set): no JSON, no object, or more behind it. */
int doc_parse(const char *name, const char *text, size_t size, Doc **ret, Failure *reterr);

/* Reads the object @d, called @where in refusals, into @object; what is not in it stays as it is. Returns 0 or -EINVAL (reterr set). */
int doc_read(const Doc *d, const char *where, const DocField *fields, size_t n_fields, void *object,
             Failure *reterr);

/* Whether an object has that key. */
bool doc_has(const Doc *d, const char *name);

/* How many elements an array has, and one of them if it is an object, else NULL. */
size_t doc_length(const Doc *array);
const Doc *doc_get_object(const Doc *array, size_t i);

/* Refuses what can only be seen from further away: "WHERE: SENTENCE". Returns -EINVAL. */
int doc_refuse(Failure *reterr, const char *where, const char *format, ...) _printf_(3, 4);
