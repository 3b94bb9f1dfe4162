/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <expat.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "domain/domain.h"
#include "domain/xml.h"

/* Of what is kept; two sentences name them. A name is looked up in what all the elements around it declare. */
#define DEPTH_MAX      256
#define NAMESPACES_MAX 64

#define XML_XMLNS "http://www.w3.org/XML/1998/namespace"

typedef struct Reader {
        XML_Parser parser;
        XmlNode *root, *open;   /* the element whose end tag is to come */
        const XmlNode *request; /* in <metadata>; NULL: none is open */
        const XmlNode *foreign; /* of whose content nothing is kept; NULL: none is open */
        size_t n_skipped;       /* elements of it that are open */
        size_t depth, n_namespaces;
        int result; /* of what stopped the parser, with *reterr where it is -EINVAL */
        char **reterr;
} Reader;

static void reader_done(Reader *reader) {
        if (reader->parser)
                XML_ParserFree(reader->parser);
        xml_free(reader->root);
}

static XmlNamespace *namespaces_around(const XmlNode *node) {
        return node->parent ? node->parent->namespaces : NULL;
}

static void node_free(XmlNode *node) {
        while (node->attributes) {
                XmlAttribute *next = node->attributes->next;

                free(node->attributes);
                node->attributes = next;
        }
        for (XmlNamespace *ns = node->namespaces, *next; ns && ns != namespaces_around(node);
             ns = next) {
                next = ns->next;
                free(ns);
        }
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

static int refuse_line(Reader *reader, const char *what) {
        return refuse_document(reader->reterr, -EINVAL, "Line %lu of the domain's XML: %s.",
                               XML_GetCurrentLineNumber(reader->parser), what);
}

static size_t position_of(const Reader *reader) {
        return (size_t)XML_GetCurrentByteIndex(reader->parser);
}

/* The place after what the parser stands at. */
static size_t position_after(const Reader *reader) {
        return position_of(reader) + (size_t)XML_GetCurrentByteCount(reader->parser);
}

/* Takes "prefix:name" apart, in place. Of more colons the first one counts, as it does for libvirt's parser. */
static void split_name(char *text, const char **ret_prefix, const char **ret_name) {
        char *colon = strchr(text, ':');

        *ret_prefix = NULL;
        *ret_name = text;
        if (!colon || colon == text || !colon[1])
                return;
        *colon = '\0';
        *ret_prefix = text;
        *ret_name = colon + 1;
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

/* "xmlns" and "xmlns:prefix"; *ret_prefix is NULL for the first. */
static bool is_declaration(const char *name, const char **ret_prefix) {
        size_t n = strlen("xmlns");

        if (strncmp(name, "xmlns", n) != 0 || (name[n] && name[n] != ':'))
                return false;
        *ret_prefix = name[n] ? name + n + 1 : NULL;
        return true;
}

/* Returns how many there are, or -ENOMEM. */
static int add_namespaces(XmlNode *node, const XML_Char **attributes) {
        int n = 0;

        node->namespaces = namespaces_around(node);
        for (const char *prefix; *attributes; attributes += 2) {
                size_t n_prefix, n_xmlns = strlen(attributes[1]) + 1;
                XmlNamespace *ns;
                char *strings;

                if (!is_declaration(attributes[0], &prefix))
                        continue;
                n_prefix = prefix ? strlen(prefix) + 1 : 0;
                ns = calloc(1, sizeof(*ns) + n_prefix + n_xmlns);
                if (!ns)
                        return -ENOMEM;
                strings = (char *)(ns + 1);
                if (prefix)
                        ns->prefix = memcpy(strings, prefix, n_prefix);
                ns->xmlns = memcpy(strings + n_prefix, attributes[1], n_xmlns);
                ns->next = node->namespaces;
                node->namespaces = ns;
                n++;
        }
        return n;
}

/* What @prefix stands for in @node; NULL: nothing. */
static const char *find_namespace(const XmlNode *node, const char *prefix) {
        if (prefix && streq(prefix, "xml"))
                return XML_XMLNS;
        for (const XmlNamespace *ns = node->namespaces; ns; ns = ns->next)
                if (prefix ? ns->prefix && streq(ns->prefix, prefix) : !ns->prefix)
                        return *ns->xmlns ? ns->xmlns : NULL;
        return NULL;
}

static int add_attributes(XmlNode *node, const XML_Char **attributes) {
        XmlAttribute **end = &node->attributes;

        for (const char *prefix; *attributes; attributes += 2) {
                size_t n_name = strlen(attributes[0]) + 1, n_value = strlen(attributes[1]) + 1;
                XmlAttribute *a;
                char *strings;

                if (is_declaration(attributes[0], &prefix))
                        continue;
                a = calloc(1, sizeof(*a) + n_name + n_value);
                if (!a)
                        return -ENOMEM;
                strings = (char *)(a + 1);
                a->value = memcpy(strings + n_name, attributes[1], n_value);
                split_name(memcpy(strings, attributes[0], n_name), &a->prefix, &a->name);
                if (a->prefix)
                        a->xmlns = strempty(find_namespace(node, a->prefix));
                *end = a;
                end = &a->next;
        }
        return 0;
}

/* In <metadata> anybody may leave as much as libvirt bears, in names that are bound to nothing, too. What is in another's element is kept by
 * no one here; nor what is too deep in a request for anything to be right there. */
static bool is_in_metadata(const XmlNode *node) {
        const XmlNode *metadata = node->parent;

        return metadata && metadata->parent && !metadata->parent->parent &&
               xml_is(metadata, NULL, "metadata");
}

/* Its name, its attributes and whether its content is kept. */
static int read_tag(Reader *reader, XmlNode *node, char *name, const XML_Char **attributes) {
        int n, r;

        n = add_namespaces(node, attributes);
        if (n < 0)
                return n;
        split_name(name, &node->prefix, &node->name);
        node->xmlns = find_namespace(node, node->prefix);
        if (node->prefix && !node->xmlns) {
                if (!reader->request)
                        return refuse_line(reader, "unbound prefix");
                name[strlen(name)] = ':';
                node->name = TAKE_PTR(node->prefix);
        }

        if (reader->request ? node->parent->parent == reader->request
                            : is_in_metadata(node) && !streq(strempty(node->xmlns), DOMAIN_XMLNS)) {
                reader->foreign = node;
                return 0;
        }
        reader->n_namespaces += (size_t)n;
        if (reader->n_namespaces > NAMESPACES_MAX)
                return refuse_line(reader, "more namespaces than 64 are declared");
        r = add_attributes(node, attributes);
        if (r >= 0 && !reader->request && is_in_metadata(node))
                reader->request = node;
        return r;
}

static void start_element(void *userdata, const XML_Char *name, const XML_Char **attributes) {
        Reader *reader = userdata;
        size_t n_name = strlen(name) + 1;
        XmlNode *node;
        int r;

        if (reader->foreign) {
                reader->n_skipped++;
                return;
        }
        if (reader->depth == DEPTH_MAX)
                return stop(reader, refuse_line(reader, "elements are nested deeper than 256"));
        node = add_node(reader, XML_ELEMENT, n_name);
        if (!node)
                return stop(reader, -ENOMEM);
        reader->open = node;
        reader->depth++;
        node->place.start = position_of(reader);
        node->place.tag_end = position_after(reader);
        r = read_tag(reader, node, memcpy(node + 1, name, n_name), attributes);
        if (r < 0)
                stop(reader, r);
}

static void end_element(void *userdata, const XML_Char *name) {
        Reader *reader = userdata;
        XmlNode *node = reader->open;

        (void)name;
        if (reader->result < 0) /* of "<name/>", where its begin has stopped the parser */
                return;
        if (reader->n_skipped > 0) {
                reader->n_skipped--;
                return;
        }
        reader->depth--;
        if (node == reader->foreign)
                reader->foreign = NULL;
        if (node == reader->request)
                reader->request = NULL;
        node->place.content_end = position_of(reader);
        node->place.end = position_after(reader);
        reader->open = node->parent;
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
        XML_SetElementHandler(parser, start_element, end_element);
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
        return refuse_line(reader, XML_ErrorString(XML_GetErrorCode(parser)));
}

int xml_read(const char *text, size_t length, XmlNode **ret, char **reterr) {
        _cleanup_(reader_done) Reader reader = { .reterr = reterr };
        int r;

        if (length > DOMAIN_XML_SIZE_MAX)
                return refuse_document(
                        reterr, -E2BIG,
                        "The domain's XML has %zu bytes; more than %zu are not read.", length,
                        DOMAIN_XML_SIZE_MAX);

        /* Without namespaces: a name that is bound to nothing would be an error wherever it is. */
        reader.parser = XML_ParserCreate("UTF-8");
        if (!reader.parser)
                return -ENOMEM;
        r = parse(&reader, text, length);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(reader.root);
        return 0;
}
