/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which kind of word is due on a command line: from the table of verbs alone. The texts of --help are what is read: "VM...",
 * "create|destroy", "[LENGTH [OFFSET]]", and the choices at the end of an option's help.
 */
#include "ctl/complete.h"

#include <ctype.h>

typedef struct Options {
        const CtlOption *items;
        size_t n;
} Options;

/* The options that may stand here: everybody's, the program's, and the verb's. */
static size_t options_here(const Program *program, const Verb *verb, Options ret[static 3]) {
        size_t n = 0;

        ret[n].items = program_global_options(&ret[n].n);
        n++;
        ret[n++] = (Options){ program->options, program->n_options };
        if (verb)
                ret[n++] = (Options){ verb->options, verb->n_options };
        return n;
}

static const CtlOption *option_find(const Program *program, const Verb *verb, const char *word,
                                    size_t size) {
        Options lists[3];
        size_t n = options_here(program, verb, lists);

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < lists[i].n; k++) {
                        const char *name = lists[i].items[k].name;

                        if (size > 0 && strlen(name) == size && strncmp(name, word, size) == 0)
                                return &lists[i].items[k];
                }
        return NULL;
}

static const Verb *find_verb(const Program *program, const char *name) {
        for (const Verb *v = program->verbs; v->name; v++)
                if (streq(v->name, name))
                        return v;
        return NULL;
}

static size_t name_size(const char *s) {
        size_t n = 0;

        while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == '|' || s[n] == '-')
                n++;
        return n;
}

static void set_value(Completion *c, const char *text) {
        c->kind = COMPLETION_VALUE;
        c->value = text;
        c->value_size = name_size(text);
        c->is_more = text[c->value_size] == '=';
}

/* The @k-th word of "VM [FUNCTION...]", without brackets; the last, when it may be repeated. */
static void set_argument(Completion *c, const char *arguments, size_t k) {
        const char *last = NULL;

        for (const char *p = strempty(arguments); *p; p += strcspn(p, " "), p += strspn(p, " ")) {
                last = p + strspn(p, "[");
                if (k == 0)
                        break;
                k--;
                if (!memmem(p, strcspn(p, " "), "...", 3))
                        last = NULL;
        }
        if (last && strncmp(last, "--", 2) != 0)
                set_value(c, last);
}

static bool has_command(const Verb *verb) {
        return verb && strstr(strempty(verb->arguments), "-- ");
}

void completion_find(const Program *program, size_t n, char *const *words,
                     void (*take)(void *userdata, int id, const char *argument), void *userdata,
                     Completion *ret) {
        bool only_arguments = false;
        size_t n_arguments = 0;
        const CtlOption *option;
        const char *last;

        assert(n > 0);
        last = words[n - 1];
        *ret = (Completion){ .typed = last };

        for (size_t i = 0; i + 1 < n; i++) {
                const char *w = words[i], *equals;

                if (!only_arguments && streq(w, "--")) {
                        if (has_command(ret->verb)) {
                                ret->kind = COMPLETION_COMMAND;
                                ret->index = i + 1;
                                return;
                        }
                        only_arguments = true;
                } else if (!only_arguments && strncmp(w, "--", 2) == 0) {
                        equals = strchrnul(w, '=');
                        option = option_find(program, ret->verb, w + 2, (size_t)(equals - w) - 2);
                        if (!option || !option->argument)
                                continue;
                        if (!*equals && ++i == n - 1) {
                                ret->of = option;
                                set_value(ret, option->argument);
                                return;
                        }
                        if (take)
                                take(userdata, option->id, *equals ? equals + 1 : words[i]);
                } else if (!only_arguments && w[0] == '-') {
                        continue;
                } else if (ret->verb) {
                        n_arguments++;
                } else {
                        ret->verb = find_verb(program, w);
                        if (!ret->verb)
                                return;
                        if (ret->verb->program) {
                                ret->kind = COMPLETION_PROGRAM;
                                ret->index = i;
                                return;
                        }
                }
        }

        if (!only_arguments && strncmp(last, "--", 2) == 0 && strchr(last, '=')) {
                ret->prefix = strcspn(last, "=") + 1;
                ret->typed = last + ret->prefix;
                ret->of = option_find(program, ret->verb, last + 2, ret->prefix - 3);
                if (ret->of && ret->of->argument)
                        set_value(ret, ret->of->argument);
        } else if (!only_arguments && last[0] == '-') {
                ret->kind = COMPLETION_OPTION;
        } else if (!ret->verb) {
                ret->kind = COMPLETION_VERB;
        } else {
                set_argument(ret, ret->verb->arguments, n_arguments);
        }
}

bool completion_next_choice(const char *help, const char **pos, const char **ret,
                            size_t *ret_size) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyz-";
        const char *p = *pos;

        if (!p) {
                const char *colon = strstr(help, ": ");
                size_t n = 0;

                /* All of it has to be such a list. */
                p = colon ? colon + 2 : help;
                for (const char *q = p; *q; n++) {
                        q += strspn(q, letters);
                        if (!*q)
                                break;
                        if (strncmp(q, ", ", 2) == 0)
                                q += 2;
                        else if (strncmp(q, " or ", 4) == 0 && !strchr(q + 4, ' '))
                                q += 4;
                        else
                                return false;
                }
                if (n == 0)
                        return false;
        }

        *ret_size = strspn(p, letters);
        if (*ret_size == 0)
                return false;
        *ret = p;
        p += *ret_size;
        *pos = p + (*p == ',' ? 2 : *p ? 4 : 0);
        return true;
}

CompletionSource completion_source(const char *name, size_t size, bool is_option) {
        static const struct {
                const char *name;
                CompletionSource of_argument, of_option;
        } sources[] = {
                { "VM", SOURCE_VMS, SOURCE_VMS },
                { "DEFINITION", SOURCE_DEFINITIONS, SOURCE_DEFINITIONS },
                { "FUNCTION", SOURCE_FUNCTIONS, SOURCE_FUNCTIONS },
                { "ADDRESS", SOURCE_FUNCTIONS, SOURCE_NONE }, /* an option's is that of a bus */
                { "IVHD", SOURCE_IOMMUS, SOURCE_IOMMUS },
                { "UUID", SOURCE_NEW, SOURCE_NONE },
                { "FILE", SOURCE_FILES, SOURCE_FILES },
                { "FOLDER", SOURCE_FILES, SOURCE_FILES },
                { "PATH", SOURCE_FILES, SOURCE_FILES },
                { "DOMAIN", SOURCE_PROGRAM, SOURCE_PROGRAM },
                /* What only the user knows, or what the help of the option lists. */
                { "FORMAT", SOURCE_NONE, SOURCE_NONE },
                { "IOVA", SOURCE_NONE, SOURCE_NONE },
                { "LENGTH", SOURCE_NONE, SOURCE_NONE },
                { "MODE", SOURCE_NONE, SOURCE_NONE },
                { "N", SOURCE_NONE, SOURCE_NONE },
                { "NAME", SOURCE_NONE, SOURCE_NONE },
                { "OFFSET", SOURCE_NONE, SOURCE_NONE },
                { "PID", SOURCE_NONE, SOURCE_NONE },
                { "SECONDS", SOURCE_NONE, SOURCE_NONE },
                { "SIZE", SOURCE_NONE, SOURCE_NONE },
                { "TIER", SOURCE_NONE, SOURCE_NONE },
                { "TOKEN", SOURCE_NONE, SOURCE_NONE }, /* a secret of its holder's */
                { "URI", SOURCE_NONE, SOURCE_NONE },
                { "WHO", SOURCE_NONE, SOURCE_NONE },
        };

        for (size_t i = 0; i < ELEMENTSOF(sources); i++)
                if (strlen(sources[i].name) == size && strncmp(sources[i].name, name, size) == 0)
                        return is_option ? sources[i].of_option : sources[i].of_argument;
        return SOURCE_UNKNOWN;
}
