/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The one door of Expat: a document that comes from outside is read into a tree, and looked at. Nothing is fetched, no
 * entity is expanded: a document with a document type declaration is refused where the declaration begins.
 */

#include "base/macro.h"

#define XML_QEMU_XMLNS "http://libvirt.org/schemas/domain/qemu/1.0"

typedef struct XmlAttribute {
        const char *xmlns, *prefix,
                *name; /* xmlns and prefix are NULL for none; xmlns is "" for a prefix that is bound to nothing */
        const char *value;
        struct XmlAttribute *next;
} XmlAttribute;

/* A namespace that an element declares; the prefix is NULL for the default one, the name "" where none holds from here on. */
typedef struct XmlNamespace {
        const char *prefix, *xmlns;
        struct XmlNamespace *next;
} XmlNamespace;

typedef enum XmlKind {
        XML_ELEMENT,
        XML_TEXT,  /* CDATA sections are text */
        XML_OTHER, /* a comment or an instruction */
} XmlKind;

/* Where an element is in the text, in bytes from its beginning. */
typedef struct XmlPlace {
        size_t start;       /* of "<name" */
        size_t tag_end;     /* after the ">" of the start tag */
        size_t content_end; /* of "</name"; of an empty element tag, tag_end */
        size_t end;         /* after all of it */
} XmlPlace;

typedef struct XmlNode XmlNode;
struct XmlNode {
        XmlKind kind;
        XmlNode *parent, *children, *last_child, *previous, *next;
        size_t line;

        /* of an element */
        const char *xmlns, *prefix, *name; /* xmlns and prefix are NULL for none */
        XmlAttribute *attributes;          /* in the order of the text */
        XmlNamespace *namespaces;          /* its own, then those of the elements around it */
        XmlPlace place;

        /* of a text */
        char *text; /* NUL-terminated */
        size_t n_text, size_text;
};

/* Reads @length bytes. Of an element in the root's <metadata> that is not of DOMAIN_XMLNS neither attributes nor content are in the tree,
 * nor of one that is more than two elements deep in one that is. In a request a name whose prefix is bound to nothing is one without a
 * prefix, of no namespace; elsewhere it is refused.
 * *ret is the root element, which the caller frees with xml_free(). Returns 0; -EINVAL, -E2BIG with a sentence
 * in *reterr (allocated); -ENOMEM. */
int xml_read(const char *text, size_t length, XmlNode **ret, char **reterr);
XmlNode *xml_free(XmlNode *root);
DEFINE_CLEANUP(XmlNode, xml_free);

/* Whether @node is the element @name of the namespace @xmlns; NULL: of none. */
bool xml_is(const XmlNode *node, const char *xmlns, const char *name);

/* Whether @node is a text of nothing but white space. */
bool xml_is_blank(const XmlNode *node);

/* The first such child of @parent (NULL has none), and the next one beside @node; NULL: none. */
const XmlNode *xml_child(const XmlNode *parent, const char *xmlns, const char *name);
const XmlNode *xml_next(const XmlNode *node, const char *xmlns, const char *name);

#define XML_FOR_EACH(node, parent, xmlns, name)                                                    \
        for (const XmlNode *node = xml_child((parent), (xmlns), (name)); node;                     \
             node = xml_next(node, (xmlns), (name)))

/* The elements beside @node, and the first in @parent, whatever their names are; NULL: none. */
const XmlNode *xml_element_before(const XmlNode *node);
const XmlNode *xml_element_after(const XmlNode *node);
const XmlNode *xml_first_element(const XmlNode *parent);

/* The value of an attribute that is in no namespace; lives as long as the tree. NULL: not there, or @node is NULL. */
const char *xml_attribute(const XmlNode *node, const char *name);

static inline bool xml_attribute_is(const XmlNode *node, const char *name, const char *value) {
        const char *v = xml_attribute(node, name);

        return v && streq(v, value);
}

/* A copy of an attribute; *ret is NULL where it is not there. Returns 0 or -ENOMEM. */
int xml_attribute_copy(const XmlNode *node, const char *name, char **ret);

/* The text of an element and of what is in it, without the white space around it. *ret is NULL where @node is. Returns 0 or -ENOMEM. */
int xml_text_copy(const XmlNode *node, char **ret);

/* Whether @node is a PCI <hostdev>, or an <interface> that is one. */
bool xml_is_function(const XmlNode *node);

#define XML_SHOWN_SIZE 96

/* What a sentence shows of a text from outside: cut, and without control characters. Returns @buf. */
char *xml_shown(const char *text, char buf[static XML_SHOWN_SIZE]);

#define XML_SHOWN(text) xml_shown((text), (char[XML_SHOWN_SIZE]){})

/* Sets *reterr to a sentence after the name and the line of @node. Returns -EINVAL, or -ENOMEM. */
int xml_refuse(char **reterr, const XmlNode *node, const char *format, ...) _printf_(3, 4);
