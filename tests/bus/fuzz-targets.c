/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can be called: read from the introspection of the daemon that runs, and the keys of dictionaries from the manual. */

#include "fuzz.h"

#include <stdio.h>

#define PATHS_MAX 256

static char *copy(const char *s, size_t n) {
        char *c = strndup(s, n);

        assert_non_null(c);
        return c;
}

static void add_word(Fuzz *z, const char *s, size_t n) {
        char **grown = reallocarray(z->words, z->n_words + 1, sizeof(char *));

        assert_non_null(grown);
        z->words = grown;
        z->words[z->n_words++] = copy(s, n);
}

/* ---- the manual ---- */

static void add_key(Fuzz *z, const char *name, size_t name_length, const char *type,
                    size_t type_length) {
        FuzzKey *grown = reallocarray(z->keys, z->n_keys + 1, sizeof(FuzzKey));
        char *to;

        assert_non_null(grown);
        z->keys = grown;
        z->keys[z->n_keys] = (FuzzKey){ .name = copy(name, name_length),
                                        .type = copy(type, type_length) };
        to = z->keys[z->n_keys].name;
        for (const char *from = to; *from; from++)
                if (*from != '\\')
                        *to++ = *from;
        *to = '\0';
        if (fuzz_type_length(z->keys[z->n_keys].type) == strlen(z->keys[z->n_keys].type))
                z->n_keys++;
        else {
                free(z->keys[z->n_keys].name);
                free(z->keys[z->n_keys].type);
        }
}

/* ".BR name " (type)"", and ".B name" with "(type)" in the line that follows. */
void fuzz_read_manual(Fuzz *z) {
        char line[512], before[512] = "";
        FILE *file = fopen(MANUAL, "re");

        assert_non_null(file);
        while (fgets(line, sizeof(line), file)) {
                const char *type = strstr(line, "\" ("), *end;

                if (strncmp(line, ".BR ", 4) == 0 && type) {
                        const char *name = line + 4, *name_end = strchr(name, ' ');

                        type += 3;
                        end = strpbrk(type, "\",");
                        if (name_end < type && end && end > type && end[-1] == ')')
                                add_key(z, name, (size_t)(name_end - name), type,
                                        (size_t)(end - 1 - type));
                } else if (line[0] == '(' && strncmp(before, ".B ", 3) == 0) {
                        end = strpbrk(line, ",.\n");
                        if (end && end[-1] == ')')
                                add_key(z, before + 3, strcspn(before + 3, "\n"), line + 1,
                                        (size_t)(end - line - 2));
                }
                (void)snprintf(before, sizeof(before), "%s", line);
        }
        (void)fclose(file);
        if (z->n_keys < 15)
                fail_msg("found only %zu keys in the manual", z->n_keys);
}

/* ---- introspection ---- */

/* The value of an attribute in the tag that begins at @tag; its length in *ret_length. NULL: it has none. */
static const char *attribute(const char *tag, const char *name, size_t *ret_length) {
        const char *end = strchr(tag, '>'), *at;
        char pattern[32];

        (void)snprintf(pattern, sizeof(pattern), " %s=\"", name);
        at = strstr(tag, pattern);
        if (!at || !end || at > end)
                return NULL;
        at += strlen(pattern);
        *ret_length = strcspn(at, "\"");
        return at;
}

static bool begins(const char *s, const char *with) {
        return strncmp(s, with, strlen(with)) == 0;
}

static FuzzMethod *add_method(Fuzz *z, const char *path, const char *interface, const char *member,
                              size_t member_length) {
        FuzzMethod *grown = reallocarray(z->methods, z->n_methods + 1, sizeof(FuzzMethod));

        assert_non_null(grown);
        z->methods = grown;
        z->methods[z->n_methods] = (FuzzMethod){ .path = copy(path, strlen(path)),
                                                 .interface = copy(interface, strlen(interface)),
                                                 .member = copy(member, member_length) };
        return z->methods + z->n_methods++;
}

static void add_argument(FuzzMethod *method, const char *tag) {
        size_t direction_length, type_length, name_length = 0;
        const char *direction = attribute(tag, "direction", &direction_length);
        const char *type = attribute(tag, "type", &type_length);
        const char *name = attribute(tag, "name", &name_length);

        assert_non_null(type);
        if (direction && !begins(direction, "in\""))
                return;
        assert_true(method->n_arguments < FUZZ_ARGUMENTS_MAX);
        method->arguments[method->n_arguments++] = (FuzzArgument){
                .name = copy(name ?: "", name_length), .type = copy(type, type_length)
        };
}

/* Adds the methods that @xml has, and to @children its nodes. */
static void read_xml(Fuzz *z, const char *path, const char *xml, char **children, size_t *n,
                     bool with_simulation) {
        char interface[96] = "";
        FuzzMethod *method = NULL;

        for (const char *tag = xml; (tag = strchr(tag, '<')); tag++) {
                size_t length = 0;
                const char *name = attribute(tag, "name", &length);

                if (begins(tag, "<interface ") && name) {
                        (void)snprintf(interface, sizeof(interface), "%.*s", (int)length, name);
                        add_word(z, name, length);
                        method = NULL;
                } else if (begins(tag, "<method ") && name) {
                        method = NULL;
                        if (with_simulation || !streq(interface, "org.aviommu1.Simulation"))
                                method = add_method(z, path, interface, name, length);
                } else if (begins(tag, "<property ") && name)
                        add_word(z, name, length);
                else if (begins(tag, "<signal "))
                        method = NULL;
                else if (begins(tag, "<arg ") && method)
                        add_argument(method, tag);
                else if (begins(tag, "<node ") && name && *n < PATHS_MAX &&
                         asprintf(children + *n, "%s/%.*s", streq(path, "/") ? "" : path,
                                  (int)length, name) > 0)
                        ++*n;
        }
}

static void read_object(Fuzz *z, const char *path, char **children, size_t *n,
                        bool with_simulation) {
        sd_bus_message *reply;
        const char *xml;

        reply = ask(z->f, path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        assert_true(sd_bus_message_read(reply, "s", &xml) > 0);
        read_xml(z, path, xml, children, n, with_simulation);
        sd_bus_message_unref(reply);
}

/* Words of a list's first column, and of a second one. */
static void read_vms(Fuzz *z, char **paths, size_t *n) {
        sd_bus_message *m = ask(z->f, NULL, "Manager", "ListVms", "su", "", UINT32_C(8));
        const char *uuid, *name, *path, *unused;
        uint32_t number;

        assert_true(sd_bus_message_enter_container(m, 'a', "(sssssuo)") > 0);
        while (sd_bus_message_read(m, "(sssssuo)", &uuid, &name, &unused, &unused, &unused, &number,
                                   &path) > 0) {
                add_word(z, uuid, strlen(uuid));
                add_word(z, name, strlen(name));
                if (*n < PATHS_MAX)
                        paths[(*n)++] = copy(path, strlen(path));
        }
        sd_bus_message_unref(m);
}

static void read_viommus(Fuzz *z, const char *vm, char **paths, size_t *n) {
        sd_bus_message *m;
        const char *path;

        m = ask(z->f, vm, "org.freedesktop.DBus.Properties", "Get", "ss", "org.aviommu1.Vm",
                "Viommus");
        assert_true(sd_bus_message_enter_container(m, 'v', "ao") > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "o") > 0);
        while (sd_bus_message_read(m, "o", &path) > 0)
                if (*n < PATHS_MAX)
                        paths[(*n)++] = copy(path, strlen(path));
        sd_bus_message_unref(m);
}

static void read_functions(Fuzz *z) {
        sd_bus_message *m = ask(z->f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(40));
        const char *address;

        assert_true(sd_bus_message_enter_container(m, 'a', "(sssuissa{sv})") > 0);
        while (sd_bus_message_enter_container(m, 'r', "sssuissa{sv}") > 0) {
                assert_true(sd_bus_message_read(m, "s", &address) > 0);
                add_word(z, address, strlen(address));
                assert_true(sd_bus_message_skip(m, "ssuissa{sv}") > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
        }
        sd_bus_message_unref(m);
}

void fuzz_read_targets(Fuzz *z, bool with_simulation) {
        char *paths[PATHS_MAX + 1] = { copy("/", 1) };
        size_t n = 1, n_vms;

        fuzz_forget_targets(z);
        for (size_t i = 0; i < n; i++)
                read_object(z, paths[i], paths, &n, with_simulation);
        n_vms = n;
        read_vms(z, paths, &n);
        for (size_t i = n_vms, end = n; i < end; i++)
                read_viommus(z, paths[i], paths, &n);
        for (size_t i = n_vms, none = PATHS_MAX; i < n; i++)
                read_object(z, paths[i], NULL, &none, with_simulation);
        read_functions(z);
        for (size_t i = 0; i < n; i++) {
                add_word(z, paths[i], strlen(paths[i]));
                free(paths[i]);
        }
        for (size_t i = 0; i < z->n_methods; i++)
                add_word(z, z->methods[i].member, strlen(z->methods[i].member));
}

void fuzz_forget_targets(Fuzz *z) {
        for (size_t i = 0; i < z->n_methods; i++) {
                FuzzMethod *method = z->methods + i;

                for (size_t j = 0; j < method->n_arguments; j++) {
                        free(method->arguments[j].name);
                        free(method->arguments[j].type);
                }
                free(method->path);
                free(method->interface);
                free(method->member);
        }
        for (size_t i = 0; i < z->n_words; i++)
                free(z->words[i]);
        z->n_methods = z->n_words = 0;
}

void fuzz_done(Fuzz *z) {
        fuzz_forget_targets(z);
        for (size_t i = 0; i < z->n_keys; i++) {
                free(z->keys[i].name);
                free(z->keys[i].type);
        }
        free(z->keys);
        free(z->methods);
        free(z->words);
}
