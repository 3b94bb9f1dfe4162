/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Edits of an XML text by place: the bytes between them stay as they are, which no writer of trees can promise. The tree says what is to
 * be done, the places of its elements in the text say where. Only for a text that xml_read() has taken: well-formed, without declarations.
 */

#include "domain/xml.h"

typedef struct Splicer Splicer;

/* Begins with @text, which has to stay, as has the tree that xml_read() made of it. Returns 0 or -ENOMEM. */
int splicer_new(const char *text, size_t length, Splicer **ret);
Splicer *splicer_free(Splicer *s);
DEFINE_CLEANUP(Splicer, splicer_free);

/* Each plans an edit of the text. They count from the text as it was; no two may be about the same bytes. 0 or -ENOMEM. */

/* A new last child of @parent, on a line of its own: @format is its text, where "\n" begins a line in the same depth. */
int splicer_append(Splicer *s, const XmlNode *parent, const char *format, ...) _printf_(3, 4);

/* The same as the next sibling of @node. */
int splicer_insert_after(Splicer *s, const XmlNode *node, const char *format, ...) _printf_(3, 4);

/* In place of an element, with all that is in it. */
int splicer_replace(Splicer *s, const XmlNode *node, const char *text);

/* Removes an element, and its line where it has one of its own. */
int splicer_remove(Splicer *s, const XmlNode *node);

/* Gives an attribute a value (plain: nothing in it needs an escape), or with NULL removes it. @name as it is in the text. */
int splicer_attribute(Splicer *s, const XmlNode *node, const char *name, const char *value);

/* The text with all of it done, NUL-terminated, and the caller's. Returns 0 or -ENOMEM. */
int splicer_finish(Splicer *s, char **ret);
