/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is logged can be changed while the daemon runs, by root. */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#define NOBODY     65534
#define PATH       "/org/freedesktop/LogControl1"
#define INTERFACE  "org.freedesktop.LogControl1"
#define PROPERTIES "org.freedesktop.DBus.Properties"

static void set(Fixture *f, const char *name, const char *value) {
        run_ok(f, PATH, PROPERTIES, "Set", "ssv", INTERFACE, name, "s", value);
}

static void set_fails(Fixture *f, const char *name, const char *value) {
        run_fails(f, "InvalidArgument", PATH, PROPERTIES, "Set", "ssv", INTERFACE, name, "s",
                  value);
}

/* Whether the daemon has logged a line with @text in it. */
static bool is_logged(const Fixture *f, const char *text) {
        char path[96], *all = NULL;
        size_t size = 0;
        bool found;
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/log", f->folder);
        file = fopen(path, "re");
        assert_non_null(file);
        found = getdelim(&all, &size, EOF, file) > 0 && strstr(all, text);
        (void)fclose(file);
        free(all);
        return found;
}

static void test_read(void **state) {
        Fixture *f = *state;

        assert_property(f, PATH, INTERFACE, "LogLevel", "\"info\"");
        assert_property(f, PATH, INTERFACE, "LogTarget", "\"auto\"");
        assert_property(f, PATH, INTERFACE, "SyslogIdentifier", "\"aviommud-sim\"");
}

static void test_level(void **state) {
        Fixture *f = *state;

        run_fails(f, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "before");
        set(f, "LogLevel", "debug");
        assert_property(f, PATH, INTERFACE, "LogLevel", "\"debug\"");
        run_fails(f, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "meanwhile");
        set(f, "LogTarget", "null");
        assert_property(f, PATH, INTERFACE, "LogTarget", "\"null\"");
        run_fails(f, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "unseen");
        set(f, "LogTarget", "console");
        set(f, "LogLevel", "warning");
        run_fails(f, "NoSuchVm", NULL, "Manager", "GetVmByName", "s", "after");

        assert_false(is_logged(f, "before"));
        assert_true(is_logged(f, "GetVmByName of /org/aviommu1 by :1."));
        assert_true(is_logged(f, "meanwhile"));
        assert_false(is_logged(f, "unseen"));
        assert_false(is_logged(f, "after"));
}

static void test_bad(void **state) {
        Fixture *f = *state;

        set_fails(f, "LogLevel", "verbose");
        set_fails(f, "LogLevel", "");
        set_fails(f, "LogLevel", "7");
        set_fails(f, "LogTarget", "syslog");
        set_fails(f, "SyslogIdentifier", "other");
        set_fails(f, "Nothing", "info");
        run_fails(f, "InvalidArgument", PATH, PROPERTIES, "Set", "ssv", INTERFACE, "LogLevel", "u",
                  UINT32_C(7));
        run_fails(f, "InvalidArgument", PATH, PROPERTIES, "Set", "ssv", "org.aviommu1.Manager",
                  "LogLevel", "s", "debug");
        run_fails(f, "InvalidArgument", PATH, PROPERTIES, "Set", "s", INTERFACE);
        test_read(state);
}

static void test_others(void **state) {
        Fixture *f = *state;
        sd_bus *nobody;

        if (geteuid() != 0)
                skip();
        fixture_polkit(f, false); /* anybody may look */
        nobody = fixture_connect_as(f, NOBODY);
        send_fails(f, "AccessDenied",
                   message_new(nobody, PATH, PROPERTIES, "Set", "ssv", INTERFACE, "LogLevel", "s",
                               "debug"));
        test_read(state);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_read),
                BUS_TEST(test_level, .keep_log = true),
                BUS_TEST(test_bad),
                BUS_TEST(test_others),
        };

        return bus_tests_run(argc, argv, tests);
}
