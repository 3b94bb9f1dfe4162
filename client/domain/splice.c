/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/splice.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct Splice {
        size_t at, n_removed;
        char *text;
        size_t order; /* of those at the same place */
} Splice;

struct Splicer {
        const char *text;
        size_t length;
        Splice *splices;
        size_t n_splices;
};

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

static bool is_space(char c) {
        return is_blank(c) || c == '\r' || c == '\n';
}

int splicer_new(const char *text, size_t length, Splicer **ret) {
        Splicer *s = new0(Splicer, 1);

        if (!s)
                return -ENOMEM;
        s->text = text;
        s->length = length;
        *ret = s;
        return 0;
}

Splicer *splicer_free(Splicer *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_splices; i++)
                free(s->splices[i].text);
        free(s->splices);
        free(s);
        return NULL;
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

static int append_lines(Splicer *s, const XmlNode *parent, const char *lines) {
        const XmlPlace *place = &parent->place;
        _cleanup_free_ char *end = NULL;
        const XmlNode *child = xml_first_element(parent);
        size_t n_outer, n_inner = 0, from, to = place->content_end;
        const char *outer = indent_of(s, place->start, &n_outer), *inner = outer, *more = "";

        /* As deep as the other children, or else two deeper than the parent. */
        if (child)
                inner = indent_of(s, child->place.start, &n_inner);
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

int splicer_append(Splicer *s, const XmlNode *parent, const char *format, ...) {
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

int splicer_insert_after(Splicer *s, const XmlNode *node, const char *format, ...) {
        const XmlPlace *place = &node->place;
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

int splicer_replace(Splicer *s, const XmlNode *node, const char *lines) {
        const XmlPlace *place = &node->place;
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

int splicer_remove(Splicer *s, const XmlNode *node) {
        const XmlPlace *place = &node->place;
        size_t start = place->start;

        while (is_blank(s->text[start - 1]))
                start--;
        if (s->text[start - 1] == '\n')
                start -= start > 1 && s->text[start - 2] == '\r' ? 2 : 1;
        else
                start = place->start;
        return splice(s, start, place->end - start, strdup(""));
}

int splicer_attribute(Splicer *s, const XmlNode *node, const char *name, const char *value) {
        const XmlPlace *place = &node->place;
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
