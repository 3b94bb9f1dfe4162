/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <expat.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "domain/domain.h"
#include "domain/xml.h"

#define DEPTH_MAX 256

/* Between the parts of a name that Expat hands over. A control character: none of the parts can have it. */
#define SEPARATOR '\f'

typedef struct Reader {
        XML_Parser parser;
        XmlNode *root, *open;     /* the element whose end tag is to come */
        XmlNamespace *namespaces; /* of the element that is to come */
        const XmlNode *foreign;   /* of whose content nothing is kept; NULL: none is open */
        size_t n_skipped;         /* elements of it that are open */
        size_t depth;
        int result; /* of what stopped the parser, with *reterr where it is -EINVAL */
        char **reterr;
} Reader;

static XmlNamespace *namespaces_free(XmlNamespace *list) {
        while (list) {
                XmlNamespace *next = list->next;

                free(list);
                list = next;
        }
        return NULL;
}

static void reader_done(Reader *reader) {
        if (reader->parser)
                XML_ParserFree(reader->parser);
        namespaces_free(reader->namespaces);
        xml_free(reader->root);
}

static void node_free(XmlNode *node) {
        while (node->attributes) {
                XmlAttribute *next = node->attributes->next;

                free(node->attributes);
                node->attributes = next;
        }
        namespaces_free(node->namespaces);
        free(node->text);
        free(node);
}

/* Leaf by leaf, without recursion. */
XmlNode *xml_free(XmlNode *root) {
        for (XmlNode *node = root; node;) {
                XmlNode *parent = node->parent;

                if (node->children) {
                        XmlNode *child = node->children;

                        node->children = child->next;
                        node = child;
                        continue;
                }
                node_free(node);
                node = parent;
        }
        return NULL;
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

static void stop(Reader *reader, int result) {
        reader->result = result;
        (void)XML_StopParser(reader->parser, XML_FALSE);
}

static size_t position_of(const Reader *reader) {
        return (size_t)XML_GetCurrentByteIndex(reader->parser);
}

/* The place after what the parser stands at. */
static size_t position_after(const Reader *reader) {
        return position_of(reader) + (size_t)XML_GetCurrentByteCount(reader->parser);
}

/* Takes "xmlns name prefix", "xmlns name" or "name" apart, in place. */
static void split_name(char *names, const char **ret_xmlns, const char **ret_prefix,
                       const char **ret_name) {
        char *name = strchr(names, SEPARATOR), *prefix;

        *ret_xmlns = *ret_prefix = NULL;
        *ret_name = names;
        if (!name)
                return;
        *name++ = '\0';
        *ret_xmlns = names;
        *ret_name = name;
        prefix = strchr(name, SEPARATOR);
        if (prefix) {
                *prefix++ = '\0';
                *ret_prefix = prefix;
        }
}

/* Adds a node with room for @n_more bytes behind it. NULL: no memory. */
static XmlNode *add_node(Reader *reader, XmlKind kind, size_t n_more) {
        XmlNode *node = calloc(1, sizeof(*node) + n_more), *parent = reader->open;

        if (!node)
                return NULL;
        node->kind = kind;
        node->line = (size_t)XML_GetCurrentLineNumber(reader->parser);
        node->parent = parent;
        if (!parent)
                reader->root = node;
        else {
                node->previous = parent->last_child;
                if (parent->last_child)
                        parent->last_child->next = node;
                else
                        parent->children = node;
                parent->last_child = node;
        }
        return node;
}

static int add_attribute(XmlAttribute ***end, const char *names, const char *value) {
        size_t n_names = strlen(names) + 1, n_value = strlen(value) + 1;
        XmlAttribute *a = calloc(1, sizeof(*a) + n_names + n_value);
        char *strings;

        if (!a)
                return -ENOMEM;
        strings = (char *)(a + 1);
        memcpy(strings, names, n_names);
        memcpy(strings + n_names, value, n_value);
        split_name(strings, &a->xmlns, &a->prefix, &a->name);
        a->value = strings + n_names;
        **end = a;
        *end = &a->next;
        return 0;
}

/* In <metadata> anybody may leave as much as libvirt bears. What is in another's element is kept by no one here. */
static bool is_foreign(const XmlNode *node) {
        const XmlNode *metadata = node->parent;

        return metadata && metadata->parent && !metadata->parent->parent &&
               xml_is(metadata, NULL, "metadata") &&
               (!node->xmlns || !streq(node->xmlns, DOMAIN_XMLNS));
}

static void start_element(void *userdata, const XML_Char *names, const XML_Char **attributes) {
        Reader *reader = userdata;
        size_t n_names = strlen(names) + 1;
        XmlAttribute **end;
        XmlNode *node;
        int r = 0;

        if (reader->depth == DEPTH_MAX)
                return stop(reader,
                            refuse_document(reader->reterr, -EINVAL,
                                            "Line %lu of the domain's XML: elements are nested "
                                            "deeper than %i.",
                                            XML_GetCurrentLineNumber(reader->parser), DEPTH_MAX));
        if (reader->foreign) {
                reader->depth++;
                reader->n_skipped++;
                return;
        }
        node = add_node(reader, XML_ELEMENT, n_names);
        if (!node)
                return stop(reader, -ENOMEM);
        reader->open = node;
        reader->depth++;
        memcpy(node + 1, names, n_names);
        split_name((char *)(node + 1), &node->xmlns, &node->prefix, &node->name);
        node->namespaces = TAKE_PTR(reader->namespaces);
        node->place.start = position_of(reader);
        node->place.tag_end = position_after(reader);
        if (is_foreign(node)) {
                reader->foreign = node;
                return;
        }

        end = &node->attributes;
        for (; *attributes && r >= 0; attributes += 2)
                r = add_attribute(&end, attributes[0], attributes[1]);
        if (r < 0)
                stop(reader, r);
}

static void end_element(void *userdata, const XML_Char *names) {
        Reader *reader = userdata;
        XmlNode *node = reader->open;

        (void)names;
        reader->depth--;
        if (reader->n_skipped > 0) {
                reader->n_skipped--;
                return;
        }
        if (node == reader->foreign)
                reader->foreign = NULL;
        node->place.content_end = position_of(reader);
        node->place.end = position_after(reader);
        reader->open = node->parent;
}

static void declare_namespace(void *userdata, const XML_Char *prefix, const XML_Char *xmlns) {
        Reader *reader = userdata;
        size_t n_prefix = prefix ? strlen(prefix) + 1 : 0;
        size_t n_xmlns = strlen(strempty(xmlns)) + 1;
        XmlNamespace *ns;
        char *strings;

        if (reader->foreign)
                return;
        ns = calloc(1, sizeof(*ns) + n_prefix + n_xmlns);
        if (!ns)
                return stop(reader, -ENOMEM);
        strings = (char *)(ns + 1);
        if (prefix)
                ns->prefix = memcpy(strings, prefix, n_prefix);
        ns->xmlns = memcpy(strings + n_prefix, strempty(xmlns), n_xmlns);
        ns->next = reader->namespaces;
        reader->namespaces = ns;
}

/* Comes in pieces. */
static void add_text(void *userdata, const XML_Char *text, int length) {
        Reader *reader = userdata;
        XmlNode *node = reader->open->last_child;
        size_t n = (size_t)length;

        if (reader->foreign)
                return;
        if (!node || node->kind != XML_TEXT) {
                node = add_node(reader, XML_TEXT, 0);
                if (!node)
                        return stop(reader, -ENOMEM);
        }
        if (node->n_text + n >= node->size_text) {
                size_t size = 2 * (node->n_text + n) + 1;
                char *more = realloc(node->text, size);

                if (!more)
                        return stop(reader, -ENOMEM);
                node->text = more;
                node->size_text = size;
        }
        assert(node->text);
        memcpy(node->text + node->n_text, text, n);
        node->n_text += n;
        node->text[node->n_text] = '\0';
}

/* Outside the root element they do not matter. */
static void add_other(Reader *reader) {
        if (reader->open && !reader->foreign && !add_node(reader, XML_OTHER, 0))
                stop(reader, -ENOMEM);
}

static void add_comment(void *userdata, const XML_Char *text) {
        (void)text;
        add_other(userdata);
}

static void add_instruction(void *userdata, const XML_Char *target, const XML_Char *text) {
        (void)target;
        (void)text;
        add_other(userdata);
}

/* What the document would define is of no interest. */
static void refuse_doctype(void *userdata, const XML_Char *name, const XML_Char *system_id,
                           const XML_Char *public_id, int has_internal_subset) {
        Reader *reader = userdata;

        (void)name;
        (void)system_id;
        (void)public_id;
        (void)has_internal_subset;
        stop(reader, refuse_document(reader->reterr, -EINVAL,
                                     "The domain's XML has a document type declaration "
                                     "(<!DOCTYPE>), which is not read: remove it."));
}

/* The encoding is given to the parser, which does not look for it: no other than UTF-8 is converted. */
static void check_encoding(void *userdata, const XML_Char *version, const XML_Char *encoding,
                           int standalone) {
        static const char *const names[] = { "UTF-8", "US-ASCII", "ASCII" };
        Reader *reader = userdata;

        (void)version;
        (void)standalone;
        if (!encoding)
                return;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcasecmp(encoding, names[i]) == 0)
                        return;
        stop(reader,
             refuse_document(reader->reterr, -EINVAL,
                             "The domain's XML is not in UTF-8, and nothing else is read."));
}

static int parse(Reader *reader, const char *text, size_t length) {
        XML_Parser parser = reader->parser;

        XML_SetUserData(parser, reader);
        XML_SetReturnNSTriplet(parser, 1);
        XML_SetElementHandler(parser, start_element, end_element);
        XML_SetStartNamespaceDeclHandler(parser, declare_namespace);
        XML_SetCharacterDataHandler(parser, add_text);
        XML_SetCommentHandler(parser, add_comment);
        XML_SetProcessingInstructionHandler(parser, add_instruction);
        XML_SetStartDoctypeDeclHandler(parser, refuse_doctype);
        XML_SetXmlDeclHandler(parser, check_encoding);

        if (XML_Parse(parser, text, (int)length, 1) == XML_STATUS_OK)
                return 0;
        if (reader->result < 0)
                return reader->result;
        if (XML_GetErrorCode(parser) == XML_ERROR_NO_MEMORY)
                return -ENOMEM;
        return refuse_document(reader->reterr, -EINVAL, "Line %lu of the domain's XML: %s.",
                               XML_GetCurrentLineNumber(parser),
                               XML_ErrorString(XML_GetErrorCode(parser)));
}

int xml_read(const char *text, size_t length, XmlNode **ret, char **reterr) {
        _cleanup_(reader_done) Reader reader = { .reterr = reterr };
        int r;

        if (length > DOMAIN_XML_SIZE_MAX)
                return refuse_document(
                        reterr, -E2BIG,
                        "The domain's XML has %zu bytes; more than %zu are not read.", length,
                        DOMAIN_XML_SIZE_MAX);

        reader.parser = XML_ParserCreateNS("UTF-8", SEPARATOR);
        if (!reader.parser)
                return -ENOMEM;
        r = parse(&reader, text, length);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(reader.root);
        return 0;
}
