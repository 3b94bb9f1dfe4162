/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the objects say of themselves is what dbus/ *.xml says of them: both are read into a sorted list of lines, one for each
 * member and argument, and the lists are the same. Comments, the order of members and the annotations that sd-bus adds don't
 * count; names, types, directions, access and the order of arguments do.
 */

#include "fixture.h"

#include <stdio.h>

typedef struct Lines {
        char **items;
        size_t n;
} Lines;

static void lines_add(Lines *lines, const char *format, ...) _printf_(2, 3);

static void lines_add(Lines *lines, const char *format, ...) {
        char **grown = reallocarray(lines->items, lines->n + 1, sizeof(char *));
        va_list ap;

        assert_non_null(grown);
        lines->items = grown;
        va_start(ap, format);
        assert_true(vasprintf(lines->items + lines->n++, format, ap) >= 0);
        va_end(ap);
}

static void lines_done(Lines *lines) {
        for (size_t i = 0; i < lines->n; i++)
                free(lines->items[i]);
        free(lines->items);
        *lines = (Lines){};
}

static int line_compare(const void *a, const void *b) {
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The value of an attribute of the tag, "" without one. */
static const char *attribute(const char *tag, const char *name, char buf[static 128]) {
        char wanted[32];
        const char *p, *end;

        buf[0] = '\0';
        (void)snprintf(wanted, sizeof(wanted), " %s=\"", name);
        p = strstr(tag, wanted);
        if (p) {
                p += strlen(wanted);
                end = strchr(p, '"');
                assert_non_null(end);
                assert_true(end - p < 128);
                memcpy(buf, p, (size_t)(end - p));
                buf[end - p] = '\0';
        }
        return buf;
}

typedef struct Reader {
        const char *interface; /* the one that is wanted */
        bool inside;
        char member[192];
        unsigned n_arguments[2]; /* in, and out or of a signal */
        Lines *lines;
} Reader;

static void read_tag(Reader *reader, const char *tag) {
        char name[128], type[128], other[128];

        if (strncmp(tag, "interface ", 10) == 0)
                reader->inside = streq(attribute(tag, "name", name), reader->interface);
        if (!reader->inside)
                return;

        (void)attribute(tag, "name", name);
        (void)attribute(tag, "type", type);
        if (strncmp(tag, "/interface", 10) == 0)
                reader->inside = false;
        else if (strncmp(tag, "method ", 7) == 0 || strncmp(tag, "signal ", 7) == 0) {
                (void)snprintf(reader->member, sizeof(reader->member), "%.6s %s", tag, name);
                reader->n_arguments[0] = reader->n_arguments[1] = 0;
                lines_add(reader->lines, "%s", reader->member);
        } else if (strncmp(tag, "arg ", 4) == 0) {
                bool in = streq(attribute(tag, "direction", other), "in");

                lines_add(reader->lines, "%s: %s argument %u: %s %s", reader->member,
                          in ? "in" : "out", reader->n_arguments[!in]++, type, name);
        } else if (strncmp(tag, "property ", 9) == 0)
                lines_add(reader->lines, "property %s %s %s", name, type,
                          attribute(tag, "access", other));
}

/* The members of one interface. */
static Lines read_interface(const char *xml, const char *interface) {
        Lines lines = {};
        Reader reader = { .interface = interface, .lines = &lines };

        for (const char *p = xml; (p = strchr(p, '<')); p++) {
                char tag[512];
                const char *end;

                if (strncmp(p, "<!--", 4) == 0) {
                        p = strstr(p, "-->");
                        assert_non_null(p);
                        continue;
                }
                end = strchr(p, '>');
                assert_non_null(end);
                assert_true(end - p < (ptrdiff_t)sizeof(tag));
                memcpy(tag, p + 1, (size_t)(end - p - 1));
                tag[end - p - 1] = '\0';
                for (char *c = tag; *c; c++)
                        if (*c == '\n' || *c == '\t')
                                *c = ' ';
                read_tag(&reader, tag);
        }
        if (lines.n > 0)
                qsort(lines.items, lines.n, sizeof(char *), line_compare);
        return lines;
}

static char *read_file(const char *interface) {
        char path[512];
        char *text = NULL;
        size_t size = 0;
        ssize_t n;
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/%s.xml", INTERFACES, interface);
        file = fopen(path, "re");
        assert_non_null(file);
        n = getdelim(&text, &size, EOF, file);
        assert_true(n > 0);
        (void)fclose(file);
        return text;
}

static char *introspect(Fixture *f, const char *path) {
        sd_bus_message *m = ask(f, path, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        const char *text;
        char *copy;

        assert_true(sd_bus_message_read(m, "s", &text) > 0);
        copy = strdup(text);
        assert_non_null(copy);
        sd_bus_message_unref(m);
        return copy;
}

static void compare(Fixture *f, const char *path, const char *interface) {
        _cleanup_free_ char *file = read_file(interface), *live = introspect(f, path);
        Lines wanted = read_interface(file, interface), found = read_interface(live, interface);
        size_t i = 0, j = 0;
        bool same = wanted.n > 0;

        while (i < wanted.n || j < found.n) {
                int c = i == wanted.n  ? 1
                        : j == found.n ? -1
                                       : strcmp(wanted.items[i], found.items[j]);

                if (c != 0)
                        print_error("%s at %s: only %s: %s\n", interface, path,
                                    c < 0 ? "in the file" : "on the bus",
                                    c < 0 ? wanted.items[i] : found.items[j]);
                same &= c == 0;
                i += c <= 0;
                j += c >= 0;
        }
        lines_done(&wanted);
        lines_done(&found);
        assert_true(same);
}

static void test_manager(void **state) {
        compare(*state, ROOT_PATH, "org.aviommu1.Manager");
}

static void test_log_control(void **state) {
        compare(*state, "/org/freedesktop/LogControl1", "org.freedesktop.LogControl1");
}

static void test_simulation(void **state) {
        compare(*state, SIMULATION_PATH, "org.aviommu1.Simulation");
}

static void test_hosts(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *parent = introspect(f, ROOT_PATH "/host");

        for (unsigned i = 0; i < 8; i++) {
                char path[64], node[32];

                (void)snprintf(path, sizeof(path), ROOT_PATH "/host/ivhd%u", i);
                (void)snprintf(node, sizeof(node), "<node name=\"ivhd%u\"", i);
                assert_non_null(strstr(parent, node));
                compare(f, path, "org.aviommu1.HostIommu");
        }
        assert_null(strstr(parent, "ivhd8"));
}

static void test_vm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);

        CREATE(f, uuid, .tier = "hardware", .functions = "0000:41:00.0");
        compare(f, vm_path(uuid), "org.aviommu1.Vm");
        compare(f, viommu_path(uuid, 1), "org.aviommu1.Viommu");
        vm_destroy_ok(f, uuid);
}

/* What is no object has no interface of ours. */
static void test_nothing(void **state) {
        static const char *const paths[] = { ROOT_PATH "/host/ivhd8", ROOT_PATH "/vm",
                                             ROOT_PATH "/x", ROOT_PATH "/vm/viommu/1", "/" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                Call call;

                call_method(f, &call, f->bus, paths[i], "org.freedesktop.DBus.Introspectable",
                            "Introspect", "");
                call_wait(&call);
                if (!*call_error(&call)) {
                        const char *text;

                        assert_true(sd_bus_message_read(call.reply, "s", &text) > 0);
                        assert_null(strstr(text, "\"org.aviommu1."));
                }
                call_done(&call);
        }
}

static void test_managed_objects(void **state) {
        Fixture *f = *state;
        sd_bus_message *m = ask(f, ROOT_PATH "/host", "org.freedesktop.DBus.ObjectManager",
                                "GetManagedObjects", "");
        unsigned n = 0;
        const char *path;

        assert_true(sd_bus_message_enter_container(m, 'a', "{oa{sa{sv}}}") > 0);
        while (sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}") > 0) {
                char expected[64];

                assert_true(sd_bus_message_read(m, "o", &path) > 0);
                (void)snprintf(expected, sizeof(expected), ROOT_PATH "/host/ivhd%u", n++);
                assert_string_equal(path, expected);
                assert_true(sd_bus_message_skip(m, "a{sa{sv}}") >= 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
        sd_bus_message_unref(m);
        assert_int_equal(n, 8);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_manager),     BUS_TEST(test_simulation),
                BUS_TEST(test_hosts),       BUS_TEST(test_vm),
                BUS_TEST(test_nothing),     BUS_TEST(test_managed_objects),
                BUS_TEST(test_log_control),
        };

        return bus_tests_run(argc, argv, tests);
}
