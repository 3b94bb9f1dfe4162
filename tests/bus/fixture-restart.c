/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What tests of restarts have in common. */

#include "fixture.h"

#include <stdio.h>

#include "base/fd-util.h"

void fixture_restart(Fixture *f) {
        fixture_kill_daemon(f);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
}

void fixture_write_config(Fixture *f, const char *text) {
        char path[96];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/aviommud.conf", f->folder);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

size_t fixture_count_stored(Fixture *f) {
        size_t n;

        (void)service_manager_list(f->manager, &n);
        return n;
}

void assert_clean(Fixture *f) {
        assert_nothing_left(f);
        assert_int_equal(fixture_count_stored(f), 0);
}

char *vm_appearance(Fixture *f, unsigned from, unsigned to) {
        char *text = world(f);

        for (unsigned i = from; i <= to; i++) {
                _cleanup_free_ char *before = text, *vm = NULL;

                vm = ask_text(f, vm_path(uuid_of(i)), "org.freedesktop.DBus.Properties", "GetAll",
                              "s", "org.aviommu1.Vm");
                assert_true(asprintf(&text, "%s\n%s", before, vm) >= 0);
        }
        return text;
}

int vm_prepare(Fixture *f, const char *uuid) {
        sd_bus_message *m = ask(f, NULL, "Manager", "PrepareContext", "s", uuid);
        int fd;

        assert_true(sd_bus_message_read(m, "h", &fd) > 0);
        fd = fd_dup(fd);
        assert_true(fd >= 0);
        sd_bus_message_unref(m);
        return fd;
}
