/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "domain/domain.h"

/* The encoding is given and not looked for: no other than UTF-8 is converted.
 * Without XML_PARSE_HUGE libxml2's own limits hold: depth, length of names, amplification. */
#define OPTIONS                                                                                    \
        (XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_BIG_LINES |         \
         XML_PARSE_COMPACT | XML_PARSE_IGNORE_ENC)

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

int xml_refuse(char **reterr, const xmlNode *node, const char *format, ...) {
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

        if (asprintf(reterr, "<%s> in line %li of the domain's XML: %s",
                     XML_SHOWN((const char *)node->name), xmlGetLineNo(node), words) < 0) {
                *reterr = NULL;
                return -ENOMEM;
        }
        return -EINVAL;
}

/* A sentence about the document as a whole. Returns @error, or -ENOMEM. */
static int refuse_document(char **reterr, int error, const char *format, ...) _printf_(3, 4);

static int refuse_document(char **reterr, int error, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(reterr, format, ap);
        va_end(ap);
        if (r < 0) {
                *reterr = NULL;
                return -ENOMEM;
        }
        return error;
}

/* Where a document type declaration begins: what it would define is not even read. */
static void stop_at_doctype(void *userdata, const xmlChar *name, const xmlChar *external_id,
                            const xmlChar *system_id) {
        xmlParserCtxt *parser = userdata;

        (void)name;
        (void)external_id;
        (void)system_id;
        *(bool *)parser->_private = true;
        xmlStopParser(parser);
}

static void parser_freep(xmlParserCtxt **parser) {
        xmlFreeParserCtxt(*parser);
}

xmlDoc *xml_free(xmlDoc *doc) {
        xmlFreeDoc(doc);
        return NULL;
}

/* Whether the XML declaration of a well-formed text, if it has one, names no other encoding. */
static bool says_utf8(const char *text, size_t length) {
        static const char mark[] = "\xef\xbb\xbf", key[] = "encoding";
        static const char *const names[] = { "UTF-8", "US-ASCII", "ASCII" };
        const char *end, *p;

        if (length >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0) {
                text += strlen(mark);
                length -= strlen(mark);
        }
        if (length < strlen("<?xml ") || memcmp(text, "<?xml", strlen("<?xml")) != 0 ||
            !strchr(white_space, text[strlen("<?xml")]))
                return true;
        end = memmem(text, length, "?>", strlen("?>"));
        p = end ? memmem(text, (size_t)(end - text), key, strlen(key)) : NULL;
        if (!p)
                return true;

        p += strlen(key);
        p += strspn(p, " \t\r\n=");
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                size_t n = strlen(names[i]);

                if (strncasecmp(p + 1, names[i], n) == 0 && p[1 + n] == *p)
                        return true;
        }
        return false;
}

int xml_read(const char *text, size_t length, xmlDoc **ret, char **reterr) {
        _cleanup_(parser_freep) xmlParserCtxt *parser = NULL;
        _cleanup_(xml_freep) xmlDoc *doc = NULL;
        bool has_doctype = false;
        const xmlError *error;

        if (length > DOMAIN_XML_SIZE_MAX)
                return refuse_document(
                        reterr, -E2BIG,
                        "The domain's XML has %zu bytes; more than %zu are not read.", length,
                        DOMAIN_XML_SIZE_MAX);

        parser = xmlNewParserCtxt();
        if (!parser)
                return -ENOMEM;
        parser->_private = &has_doctype;
        parser->sax->internalSubset = stop_at_doctype;

        doc = xmlCtxtReadMemory(parser, text, (int)length, NULL, "UTF-8", OPTIONS);
        if (has_doctype)
                return refuse_document(
                        reterr, -EINVAL,
                        "The domain's XML has a document type declaration (<!DOCTYPE>), "
                        "which is not read: remove it.");
        if (!doc) {
                char message[XML_SHOWN_SIZE] = "it is not well-formed";

                error = xmlCtxtGetLastError(parser);
                if (error && error->code == XML_ERR_NO_MEMORY)
                        return -ENOMEM;
                if (!error)
                        return refuse_document(reterr, -EINVAL, "The domain's XML: %s.", message);
                if (error->message)
                        xml_shown(error->message, message);
                message[strcspn(message, "\n")] = '\0';
                for (size_t n = strlen(message); n > 0 && message[n - 1] == ' ';)
                        message[--n] = '\0';
                return refuse_document(reterr, -EINVAL, "Line %i of the domain's XML: %s.",
                                       error->line, message);
        }

        if (!says_utf8(text, length))
                return refuse_document(
                        reterr, -EINVAL,
                        "The domain's XML is not in UTF-8, and nothing else is read.");

        *ret = TAKE_PTR(doc);
        return 0;
}

bool xml_is(const xmlNode *node, const char *xmlns, const char *name) {
        if (node->type != XML_ELEMENT_NODE || !streq((const char *)node->name, name))
                return false;
        if (!xmlns)
                return !node->ns;
        return node->ns && streq((const char *)node->ns->href, xmlns);
}

static xmlNode *first_of(xmlNode *node, const char *xmlns, const char *name) {
        for (; node; node = node->next)
                if (xml_is(node, xmlns, name))
                        return node;
        return NULL;
}

xmlNode *xml_child(const xmlNode *parent, const char *xmlns, const char *name) {
        return parent ? first_of(parent->children, xmlns, name) : NULL;
}

xmlNode *xml_next(const xmlNode *node, const char *xmlns, const char *name) {
        return first_of(node->next, xmlns, name);
}

const char *xml_attribute(const xmlNode *node, const char *name) {
        if (!node)
                return NULL;
        for (const xmlAttr *a = node->properties; a; a = a->next)
                if (!a->ns && streq((const char *)a->name, name))
                        /* One piece of text: where there are no declarations, there are no entities but the five. */
                        return a->children ? strempty((const char *)a->children->content) : "";
        return NULL;
}

int xml_attribute_copy(const xmlNode *node, const char *name, char **ret) {
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

int xml_text_copy(const xmlNode *node, char **ret) {
        xmlChar *content;
        const char *start;
        char *copy;
        size_t n;

        if (!node) {
                *ret = NULL;
                return 0;
        }
        content = xmlNodeGetContent(node);
        if (!content)
                return -ENOMEM;

        start = (const char *)content + strspn((const char *)content, white_space);
        n = strlen(start);
        while (n > 0 && strchr(white_space, start[n - 1]))
                n--;
        copy = new0(char, n + 1);
        if (copy)
                memcpy(copy, start, n);
        xmlFree(content);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

bool xml_is_function(const xmlNode *node) {
        if (xml_is(node, NULL, "interface"))
                return xml_attribute_is(node, "type", "hostdev");
        return xml_is(node, NULL, "hostdev") && xml_attribute_is(node, "type", "pci") &&
               streq(xml_attribute(node, "mode") ?: "subsystem", "subsystem");
}
