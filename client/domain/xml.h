/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The one door of libxml2: a document that comes from outside is read into a tree, and looked at. Nothing is fetched, no
 * entity is expanded: a document with a document type declaration is refused where the declaration begins.
 */

#include <libxml/tree.h>

#include "base/macro.h"

#define XML_QEMU_XMLNS "http://libvirt.org/schemas/domain/qemu/1.0"

/* Reads @length bytes. The caller frees *ret with xml_free(). Returns 0; -EINVAL, -E2BIG with a sentence in *reterr
 * (allocated); -ENOMEM. */
int xml_read(const char *text, size_t length, xmlDoc **ret, char **reterr);
xmlDoc *xml_free(xmlDoc *doc);
DEFINE_CLEANUP(xmlDoc, xml_free);

/* Whether @node is the element @name of the namespace @xmlns; NULL: of none. */
bool xml_is(const xmlNode *node, const char *xmlns, const char *name);

/* The first such child of @parent (NULL has none), and the next one beside @node; NULL: none. */
xmlNode *xml_child(const xmlNode *parent, const char *xmlns, const char *name);
xmlNode *xml_next(const xmlNode *node, const char *xmlns, const char *name);

#define XML_FOR_EACH(node, parent, xmlns, name)                                                    \
        for (xmlNode *node = xml_child((parent), (xmlns), (name)); node;                           \
             node = xml_next(node, (xmlns), (name)))

/* The value of an attribute that is in no namespace; lives as long as the tree. NULL: not there, or @node is NULL. */
const char *xml_attribute(const xmlNode *node, const char *name);

static inline bool xml_attribute_is(const xmlNode *node, const char *name, const char *value) {
        const char *v = xml_attribute(node, name);

        return v && streq(v, value);
}

/* A copy of an attribute; *ret is NULL where it is not there. Returns 0 or -ENOMEM. */
int xml_attribute_copy(const xmlNode *node, const char *name, char **ret);

/* The text of an element, without the white space around it. *ret is NULL where @node is. Returns 0 or -ENOMEM. */
int xml_text_copy(const xmlNode *node, char **ret);

/* Whether @node is a PCI <hostdev>, or an <interface> that is one. */
bool xml_is_function(const xmlNode *node);

#define XML_SHOWN_SIZE 96

/* What a sentence shows of a text from outside: cut, and without control characters. Returns @buf. */
char *xml_shown(const char *text, char buf[static XML_SHOWN_SIZE]);

#define XML_SHOWN(text) xml_shown((text), (char[XML_SHOWN_SIZE]){})

/* Sets *reterr to a sentence after the name and the line of @node. Returns -EINVAL, or -ENOMEM. */
int xml_refuse(char **reterr, const xmlNode *node, const char *format, ...) _printf_(3, 4);
