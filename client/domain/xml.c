/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/xml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const char white_space[] = " \t\r\n";

char *xml_shown(const char *text, char buf[static XML_SHOWN_SIZE]) {
        size_t n = strnlen(text, XML_SHOWN_SIZE);

        if (n >= XML_SHOWN_SIZE) {
                n = XML_SHOWN_SIZE - sizeof("...");
                while (n > 0 && (text[n] & 0xc0) == 0x80)
                        n--;
        }
        for (size_t i = 0; i < n; i++)
                buf[i] = text[i];
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)buf[i] < ' ' || buf[i] == 0x7f)
                        buf[i] = ' ';
        (void)strcpy(buf + n, text[n] ? "..." : "");
        return buf;
}

int xml_refuse(char **reterr, const XmlNode *node, const char *format, ...) {
        _cleanup_free_ char *words = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&words, format, ap);
        va_end(ap);
        if (r < 0) {
                words = NULL;
                return -ENOMEM;
        }

        if (asprintf(reterr, "<%s> in line %zu of the domain's XML: %s", XML_SHOWN(node->name),
                     node->line, words) < 0) {
                *reterr = NULL;
                return -ENOMEM;
        }
        return -EINVAL;
}

bool xml_is(const XmlNode *node, const char *xmlns, const char *name) {
        if (node->kind != XML_ELEMENT || !streq(node->name, name))
                return false;
        return xmlns ? node->xmlns && streq(node->xmlns, xmlns) : !node->xmlns;
}

bool xml_is_blank(const XmlNode *node) {
        return node->kind == XML_TEXT && strspn(node->text, white_space) == node->n_text;
}

static const XmlNode *first_of(const XmlNode *node, const char *xmlns, const char *name) {
        for (; node; node = node->next)
                if (xml_is(node, xmlns, name))
                        return node;
        return NULL;
}

const XmlNode *xml_child(const XmlNode *parent, const char *xmlns, const char *name) {
        return parent ? first_of(parent->children, xmlns, name) : NULL;
}

const XmlNode *xml_next(const XmlNode *node, const char *xmlns, const char *name) {
        return first_of(node->next, xmlns, name);
}

static const XmlNode *first_element(const XmlNode *node) {
        while (node && node->kind != XML_ELEMENT)
                node = node->next;
        return node;
}

const XmlNode *xml_element_before(const XmlNode *node) {
        do
                node = node->previous;
        while (node && node->kind != XML_ELEMENT);
        return node;
}

const XmlNode *xml_element_after(const XmlNode *node) {
        return first_element(node->next);
}

const XmlNode *xml_first_element(const XmlNode *parent) {
        return first_element(parent->children);
}

const char *xml_attribute(const XmlNode *node, const char *name) {
        if (!node)
                return NULL;
        for (const XmlAttribute *a = node->attributes; a; a = a->next)
                if (!a->xmlns && streq(a->name, name))
                        return a->value;
        return NULL;
}

int xml_attribute_copy(const XmlNode *node, const char *name, char **ret) {
        const char *value = xml_attribute(node, name);
        char *copy = NULL;

        if (value) {
                copy = strdup(value);
                if (!copy)
                        return -ENOMEM;
        }
        *ret = copy;
        return 0;
}

/* The next node in the order of the document, within @root. */
static const XmlNode *next_within(const XmlNode *node, const XmlNode *root) {
        if (node->children)
                return node->children;
        while (node != root && !node->next)
                node = node->parent;
        return node == root ? NULL : node->next;
}

int xml_text_copy(const XmlNode *node, char **ret) {
        size_t size = 1, n = 0, n_before;
        char *text;

        if (!node) {
                *ret = NULL;
                return 0;
        }
        for (const XmlNode *t = node; t; t = next_within(t, node))
                size += t->n_text;
        text = new0(char, size);
        if (!text)
                return -ENOMEM;
        for (const XmlNode *t = node; t; t = next_within(t, node))
                if (t->n_text > 0) {
                        memcpy(text + n, t->text, t->n_text);
                        n += t->n_text;
                }

        while (n > 0 && strchr(white_space, text[n - 1]))
                text[--n] = '\0';
        n_before = strspn(text, white_space);
        memmove(text, text + n_before, n - n_before + 1);
        *ret = text;
        return 0;
}

bool xml_is_function(const XmlNode *node) {
        if (xml_is(node, NULL, "interface"))
                return xml_attribute_is(node, "type", "hostdev");
        return xml_is(node, NULL, "hostdev") && xml_attribute_is(node, "type", "pci") &&
               streq(xml_attribute(node, "mode") ?: "subsystem", "subsystem");
}
