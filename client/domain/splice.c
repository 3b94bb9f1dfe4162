/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/splice.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* Where an element is, as places in the text. */
typedef struct Place {
        size_t start;       /* of "<name" */
        size_t tag_end;     /* after the ">" of the start tag */
        size_t content_end; /* of "</name"; of an empty element tag, tag_end */
        size_t end;         /* after all of it */
        size_t parent;      /* as an index; SIZE_MAX: none */
} Place;

typedef struct Splice {
        size_t at, n_removed;
        char *text;
        size_t order; /* of those at the same place */
} Splice;

struct Splicer {
        const char *text;
        size_t length;
        Place *places; /* in the order of the document; a node's _private is its index */
        size_t n_places;
        Splice *splices;
        size_t n_splices;
};

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static bool is_space(char c) {
        return is_blank(c) || c == '\r' || c == '\n';
}

/* Whether the text has @what at @at. */
static bool at(const Splicer *s, size_t position, const char *what) {
        size_t n = strlen(what);

        return s->length - position >= n && memcmp(s->text + position, what, n) == 0;
}

/* The place after the next @what from @position on, or the end of the text. */
static size_t after(const Splicer *s, size_t position, const char *what) {
        const char *p = memmem(s->text + position, s->length - position, what, strlen(what));

        return p ? (size_t)(p - s->text) + strlen(what) : s->length;
}

/* The place after the ">" of the tag at @position; one in quotes is none. */
static size_t after_tag(const Splicer *s, size_t position) {
        char quote = '\0';

        for (; position < s->length; position++) {
                char c = s->text[position];

                if (quote)
                        quote = c == quote ? '\0' : quote;
                else if (c == '"' || c == '\'')
                        quote = c;
                else if (c == '>')
                        return position + 1;
        }
        return s->length;
}

/* Finds all elements. */
static void scan(Splicer *s) {
        size_t open = SIZE_MAX, position = 0;

        for (;;) {
                const char *p = memchr(s->text + position, '<', s->length - position);

                if (!p)
                        return;
                position = (size_t)(p - s->text);
                if (at(s, position, "<!--"))
                        position = after(s, position + strlen("<!--"), "-->");
                else if (at(s, position, "<![CDATA["))
                        position = after(s, position, "]]>");
                else if (at(s, position, "<?"))
                        position = after(s, position, "?>");
                else if (at(s, position, "</")) {
                        Place *place = open == SIZE_MAX ? NULL : s->places + open;

                        if (!place) /* not with a well-formed text */
                                return;
                        place->content_end = position;
                        position = place->end = after_tag(s, position);
                        open = place->parent;
                } else {
                        size_t index = s->n_places++;
                        Place *place = s->places + index;

                        place->start = position;
                        place->parent = open;
                        position = place->tag_end = after_tag(s, position);
                        place->content_end = place->end = position;
                        if (s->text[position - 2] != '/')
                                open = index;
                }
        }
}

/* The next element in the order of the document. */
static xmlNode *next_element(xmlNode *node) {
        xmlNode *next = node->children;

        for (;;) {
                for (; next; next = next->next)
                        if (next->type == XML_ELEMENT_NODE)
                                return next;
                next = node->next;
                node = node->parent;
                if (node->type != XML_ELEMENT_NODE) /* the document: that was its root */
                        return NULL;
        }
}

/* Whether the text has the name of @node at @place. */
static bool is_at(const Splicer *s, const xmlNode *node, const Place *place) {
        const char *prefix = node->ns ? (const char *)node->ns->prefix : NULL;
        size_t position = place->start + 1;

        if (prefix) {
                if (!at(s, position, prefix) || !at(s, position + strlen(prefix), ":"))
                        return false;
                position += strlen(prefix) + 1;
        }
        return at(s, position, (const char *)node->name);
}

/* Ties the elements of the tree to their places. */
static bool tie(Splicer *s, xmlDoc *doc) {
        size_t n = 0;

        for (xmlNode *node = xmlDocGetRootElement(doc); node; node = next_element(node), n++) {
                if (n >= s->n_places || !is_at(s, node, s->places + n))
                        return false;
                node->_private = s->places + n;
        }
        return n == s->n_places;
}

int splicer_new(const char *text, size_t length, xmlDoc *doc, Splicer **ret, char **reterr) {
        _cleanup_(splicer_freep) Splicer *s = new0(Splicer, 1);
        size_t n = 1;

        if (!s)
                return -ENOMEM;
        s->text = text;
        s->length = length;
        for (size_t i = 0; i < length; i++)
                n += text[i] == '<';
        s->places = new0(Place, n);
        if (!s->places)
                return -ENOMEM;

        scan(s);
        if (!tie(s, doc)) {
                *reterr = strdup(
                        "The elements of the domain's XML cannot be told apart; edit it by hand.");
                return *reterr ? -EINVAL : -ENOMEM;
        }
        *ret = TAKE_PTR(s);
        return 0;
}

Splicer *splicer_free(Splicer *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_splices; i++)
                free(s->splices[i].text);
        free(s->splices);
        free(s->places);
        free(s);
        return NULL;
}

static const Place *place_of(const xmlNode *node) {
        assert(node->_private);
        return node->_private;
}

/* Puts @text, which it takes over, in place of @n_removed bytes. */
static int splice(Splicer *s, size_t position, size_t n_removed, char *text) {
        Splice *more;

        if (!text)
                return -ENOMEM;
        more = reallocarray(s->splices, s->n_splices + 1, sizeof(*more));
        if (!more) {
                free(text);
                return -ENOMEM;
        }
        s->splices = more;
        s->splices[s->n_splices] = (Splice){ position, n_removed, text, s->n_splices };
        s->n_splices++;
        return 0;
}

/* The blanks before an element that is the first on its line; *ret_n is 0 for one that is not. */
static const char *indent_of(const Splicer *s, size_t position, size_t *ret_n) {
        size_t start = position;

        while (start > 0 && is_blank(s->text[start - 1]))
                start--;
        *ret_n = start > 0 && s->text[start - 1] == '\n' ? position - start : 0;
        return s->text + position - *ret_n;
}

/* Lines, each after a newline and the indent, which is made of two parts. NULL for want of memory. */
static char *indented(const char *lines, const char *indent, size_t n_indent, const char *more,
                      const char *end) {
        size_t n_lines = 1, n = 0;
        char *text;

        for (const char *p = lines; *p; p++)
                n_lines += *p == '\n';
        text = new0(char,
                    strlen(lines) + n_lines * (1 + n_indent + strlen(more)) + strlen(end) + 1);
        if (!text)
                return NULL;
        for (const char *line = lines;;) {
                size_t n_line = strcspn(line, "\n");

                text[n++] = '\n';
                memcpy(text + n, indent, n_indent);
                n += n_indent;
                memcpy(text + n, more, strlen(more));
                n += strlen(more);
                memcpy(text + n, line, n_line);
                n += n_line;
                if (!line[n_line])
                        break;
                line += n_line + 1;
        }
        memcpy(text + n, end, strlen(end));
        return text;
}

static int append_lines(Splicer *s, const xmlNode *parent, const char *lines) {
        const Place *place = place_of(parent);
        _cleanup_free_ char *end = NULL;
        const xmlNode *child = xmlFirstElementChild((xmlNode *)parent);
        size_t n_outer, n_inner = 0, from, to = place->content_end;
        const char *outer = indent_of(s, place->start, &n_outer), *inner = outer, *more = "";

        /* As deep as the other children, or else two deeper than the parent. */
        if (child)
                inner = indent_of(s, place_of(child)->start, &n_inner);
        if (n_inner == 0) {
                inner = outer;
                n_inner = n_outer;
                more = "  ";
        }

        from = to;
        if (place->end == place->tag_end) {
                /* "<name/>" gets an end tag. */
                const char *name = s->text + place->start + 1;

                from -= strlen("/>");
                while (is_space(s->text[from - 1]))
                        from--;
                if (asprintf(&end, "\n%.*s</%.*s>", (int)n_outer, outer,
                             (int)strcspn(name, "/> \t\r\n"), name) < 0) {
                        end = NULL;
                        return -ENOMEM;
                }
        } else {
                while (is_space(s->text[from - 1]))
                        from--;
                to = from;
                if (from == place->content_end &&
                    asprintf(&end, "\n%.*s", (int)n_outer, outer) < 0) {
                        end = NULL;
                        return -ENOMEM;
                }
        }

        if (to > from) {
                _cleanup_free_ char *body = indented(lines, inner, n_inner, more, end);
                char *text = NULL;

                if (!body || asprintf(&text, ">%s", body) < 0)
                        return -ENOMEM;
                return splice(s, from, to - from, text);
        }
        return splice(s, from, 0, indented(lines, inner, n_inner, more, strempty(end)));
}

int splicer_append(Splicer *s, const xmlNode *parent, const char *format, ...) {
        _cleanup_free_ char *lines = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&lines, format, ap);
        va_end(ap);
        if (r < 0) {
                lines = NULL;
                return -ENOMEM;
        }
        return append_lines(s, parent, lines);
}

int splicer_insert_after(Splicer *s, const xmlNode *node, const char *format, ...) {
        const Place *place = place_of(node);
        _cleanup_free_ char *lines = NULL;
        const char *indent;
        size_t n_indent;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&lines, format, ap);
        va_end(ap);
        if (r < 0) {
                lines = NULL;
                return -ENOMEM;
        }
        indent = indent_of(s, place->start, &n_indent);
        return splice(s, place->end, 0, indented(lines, indent, n_indent, "", ""));
}

int splicer_replace(Splicer *s, const xmlNode *node, const char *lines) {
        const Place *place = place_of(node);
        _cleanup_free_ char *text = NULL;
        const char *indent;
        size_t n_indent;

        indent = indent_of(s, place->start, &n_indent);
        text = indented(lines, indent, n_indent, "", "");
        if (!text)
                return -ENOMEM;
        /* The first line begins where the element does. */
        return splice(s, place->start, place->end - place->start, strdup(text + 1 + n_indent));
}

int splicer_remove(Splicer *s, const xmlNode *node) {
        const Place *place = place_of(node);
        size_t start = place->start;

        while (is_blank(s->text[start - 1]))
                start--;
        if (s->text[start - 1] == '\n')
                start -= start > 1 && s->text[start - 2] == '\r' ? 2 : 1;
        else
                start = place->start;
        return splice(s, start, place->end - start, strdup(""));
}

int splicer_attribute(Splicer *s, const xmlNode *node, const char *name, const char *value) {
        const Place *place = place_of(node);
        size_t p = place->start + 1, end;
        char quote = '\'', *text = NULL;

        while (!is_space(s->text[p]) && s->text[p] != '/' && s->text[p] != '>')
                p++;
        for (end = p;;) {
                size_t before = end, start, n, value_start;

                p = end;
                while (is_space(s->text[p]))
                        p++;
                if (s->text[p] == '/' || s->text[p] == '>')
                        break;
                start = p;
                while (!is_space(s->text[p]) && s->text[p] != '=')
                        p++;
                n = p - start;
                while (s->text[p] != '"' && s->text[p] != '\'')
                        p++;
                quote = s->text[p];
                value_start = ++p;
                while (s->text[p] != quote)
                        p++;
                end = p + 1;

                if (n != strlen(name) || memcmp(s->text + start, name, n) != 0)
                        continue;
                if (value)
                        return splice(s, value_start, p - value_start, strdup(value));
                return splice(s, before, end - before, strdup(""));
        }

        if (!value)
                return 0;
        if (asprintf(&text, " %s=%c%s%c", name, quote, value, quote) < 0)
                return -ENOMEM;
        return splice(s, end, 0, text);
}

static int splice_compare(const void *a, const void *b) {
        const Splice *x = a, *y = b;

        if (x->at != y->at)
                return x->at < y->at ? -1 : 1;
        return (x->order > y->order) - (x->order < y->order);
}

int splicer_finish(Splicer *s, char **ret) {
        size_t size = s->length + 1, from = 0, n = 0;
        char *text;

        for (size_t i = 0; i < s->n_splices; i++)
                size += strlen(s->splices[i].text);
        text = new0(char, size);
        if (!text)
                return -ENOMEM;

        if (s->n_splices > 0)
                qsort(s->splices, s->n_splices, sizeof(*s->splices), splice_compare);
        for (size_t i = 0; i < s->n_splices; i++) {
                const Splice *splice = s->splices + i;

                assert(splice->at >= from);
                memcpy(text + n, s->text + from, splice->at - from);
                n += splice->at - from;
                memcpy(text + n, splice->text, strlen(splice->text));
                n += strlen(splice->text);
                from = splice->at + splice->n_removed;
        }
        memcpy(text + n, s->text + from, s->length - from);
        *ret = text;
        return 0;
}
