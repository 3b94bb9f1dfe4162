/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Definitions: made, changed and taken back, started by hand and at boot, and all that can be wrong with one. */

#include "fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY 65534
#define NIC    "0000:01:00.0"
#define DISK   "0000:43:00.0"
#define GONE   "0000:99:00.0"
#define STORE  64

/* The file of a definition, or in "run" the record of its start. */
static const char *file_of(const Fixture *f, const char *folder, const char *kind,
                           const char *uuid) {
        static char path[160];

        (void)snprintf(path, sizeof(path), "%s/%s/%s-%s", f->folder, folder, kind,
                       strrchr(vm_path(uuid), '/') + 1);
        return path;
}

static bool is_on_file(const Fixture *f, const char *uuid) {
        return access(file_of(f, "definitions", "definition", uuid), F_OK) == 0;
}

static void write_file(const Fixture *f, const char *uuid, const char *text) {
        FILE *file = fopen(file_of(f, "definitions", "definition", uuid), "we");

        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

/* Defines a VM in tier "virtio" with one function; the warning is the caller's to free. */
static char *define_warned(Fixture *f, const char *uuid, const char *function, bool autostart) {
        return ask_text(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 3, "tier", "s",
                        "virtio", "functions", "a(sa{sv})", 1, function, 0, "autostart", "b",
                        autostart, 0);
}

static void define(Fixture *f, const char *uuid, const char *function, bool autostart) {
        char *warning = define_warned(f, uuid, function, autostart);

        assert_string_equal(warning, "\"\"");
        free(warning);
}

static void assert_definition(Fixture *f, const char *uuid, const char *expected) {
        _cleanup_free_ char *text = ask_text(f, NULL, "Manager", "GetDefinition", "s", uuid);

        assert_string_equal(text, expected);
}

/* State and reason in ListDefinitions of the only one, or of the one of that UUID. */
static void assert_state(Fixture *f, const char *uuid, const char *state, const char *reason) {
        sd_bus_message *m = ask(f, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(100));
        const char *id, *name, *is, *why;
        uint32_t uid;
        int autostart;
        bool found = false;

        assert_true(sd_bus_message_enter_container(m, 'a', "(ssubssssstas)") > 0);
        while (sd_bus_message_enter_container(m, 'r', "ssubssssstas") > 0) {
                assert_true(sd_bus_message_read(m, "ssubss", &id, &name, &uid, &autostart, &is,
                                                &why) > 0);
                if (streq(id, uuid)) {
                        found = true;
                        assert_string_equal(is, state);
                        if (!strstr(why, reason) || (!*reason && *why))
                                fail_msg("\"%s\" is not \"%s\"", why, reason);
                }
                assert_true(sd_bus_message_skip(m, "ssstas") > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
        }
        sd_bus_message_unref(m);
        if (!found)
                fail_msg("no definition of %s", uuid);
}

static void start_ok(Fixture *f, const char *uuid) {
        run_ok(f, NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 0);
}

/* The next daemon is that of another boot: no VM is left, and nothing on record. */
static void reboot(Fixture *f) {
        char command[160];

        fixture_kill_daemon(f);
        (void)snprintf(command, sizeof(command), "rm -f %s/run/*-*", f->folder);
        assert_int_equal(system(command), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
}

static bool is_there(Fixture *f, const char *uuid) {
        _cleanup_free_ char *list = ask_text(f, NULL, "Manager", "ListVms", "su", "",
                                             UINT32_C(100));

        return strstr(list, uuid);
}

/* ---- made, changed, taken back ---- */

static void test_life(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        _cleanup_free_ char *list = NULL, *none = NULL;
        struct stat st;

        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 8, "name", "s", "web1", "tier",
               "s", "hardware", "handover", "s", "daemon", "functions", "a(sa{sv})", 1, NIC, 1,
               "guest-device-id", "s", "02:00.0", "memory", "t", UINT64_C(1048576), "guest-domains",
               "u", 16, "tenant", "s", "blue", "autostart", "b", true, 0);
        assert_definition(f, uuid,
                          "{\"name\": \"web1\", \"tier\": \"hardware\", \"handover\": \"daemon\", "
                          "\"tenant\": \"blue\", \"functions\": [(\"0000:01:00.0\", "
                          "{\"guest-device-id\": \"02:00.0\"})], \"memory\": 1048576, "
                          "\"guest-domains\": 16, \"autostart\": true}");
        assert_int_equal(stat(file_of(f, "definitions", "definition", uuid), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_nothing_left(f); /* a definition takes nothing */
        list = ask_text(f, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(10));
        assert_non_null(strstr(list, "\"web1\""));
        assert_non_null(strstr(list, "true, \"inactive\", \"\", \"hardware\", \"daemon\", "
                                     "\"blue\", 1048576, [\"0000:01:00.0\"]"));

        /* One UUID, one name. */
        run_fails(f, "DefinitionExists", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 1,
                  "tier", "s", "virtio", 0);
        run_fails(f, "DefinitionExists", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(2), 2,
                  "name", "s", "web1", "tier", "s", "virtio", 0);
        assert_false(is_on_file(f, uuid_of(2)));

        run_ok(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 6, "tier", "s", "virtio",
               "handover", "s", "vmm", "name", "s", "web2", "add-functions", "a(sa{sv})", 1, DISK,
               0, "remove-functions", "as", 1, NIC, "autostart", "b", false);
        assert_definition(f, uuid,
                          "{\"name\": \"web2\", \"tier\": \"virtio\", \"handover\": \"vmm\", "
                          "\"tenant\": \"blue\", \"functions\": [(\"0000:43:00.0\", {})], "
                          "\"memory\": 1048576, \"autostart\": false}");
        run_fails(f, "NoSuchFunction", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 1,
                  "remove-functions", "as", 1, NIC);
        run_fails(f, "InvalidArgument", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 1,
                  "add-functions", "a(sa{sv})", 1, DISK, 0);

        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 1, "tier", "s", "emulated", 1,
               "replace", "b", true);
        fixture_restart(f);
        assert_definition(f, uuid, "{\"tier\": \"emulated\", \"memory\": 0, \"autostart\": false}");

        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid);
        assert_false(is_on_file(f, uuid));
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "UndefineVm", "s", uuid);
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "GetDefinition", "s", uuid);
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 0);
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 0);
        none = ask_text(f, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(10));
        assert_string_equal(none, "[], \"\"");
}

static void test_pages(void **state) {
        const char *cursor = "", *id;
        Fixture *f = *state;
        char last[64];

        for (unsigned i = 1; i <= 5; i++)
                run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(i), 1, "tier", "s",
                       "virtio", 0);
        for (unsigned i = 1; i <= 5; i++) {
                sd_bus_message *m = ask(f, NULL, "Manager", "ListDefinitions", "su", cursor,
                                        UINT32_C(1));

                assert_true(sd_bus_message_enter_container(m, 'a', "(ssubssssstas)") > 0);
                assert_true(sd_bus_message_enter_container(m, 'r', "ssubssssstas") > 0);
                assert_true(sd_bus_message_read(m, "s", &id) > 0);
                assert_string_equal(id, uuid_of(i));
                assert_true(sd_bus_message_skip(m, "subssssstas") > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
                assert_true(sd_bus_message_read(m, "s", &cursor) > 0);
                assert_string_equal(cursor, i < 5 ? uuid_of(i) : "");
                (void)snprintf(last, sizeof(last), "%s", cursor);
                cursor = last;
                sd_bus_message_unref(m);
        }
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListDefinitions", "su", "", 0);
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListDefinitions", "su", "next", 1);
}

static void test_refused(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        static const struct Case {
                const char *error, *key, *type, *value;
        } cases[] = {
                { "UnknownKey", "leash", "s", "caller" },
                { "UnknownKey", "reservation", "s", "x" },
                { "UnknownKey", "add-functions", "s", "x" },
                { "InvalidType", "memory", "s", "4G" },
                { "InvalidType", "autostart", "s", "yes" },
                { "InvalidType", "functions", "s", NIC },
                { "InvalidArgument", "tier", "s", "fast" },
                { "InvalidArgument", "name", "s", "" },
                { "InvalidArgument", "name", "s", "a\nb" },
                { "InvalidArgument", "tenant", "s", "a b" },
                { "InvalidArgument", "handover", "s", "nobody" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                run_fails(f, cases[i].error, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 1,
                          cases[i].key, cases[i].type, cases[i].value, 0);
        run_fails(f, "InvalidArgument", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 0, 0);
        run_fails(f, "InvalidUuid", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", "x", 0, 0);
        run_fails(f, "UnknownKey", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 1, "tier", "s",
                  "virtio", 1, "force", "b", true);
        run_fails(f, "InvalidArgument", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 2, "tier",
                  "s", "virtio", "guest-domains", "u", 4, 0);
        run_fails(f, "InvalidArgument", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 2, "tier",
                  "s", "virtio", "functions", "a(sa{sv})", 2, NIC, 0, NIC, 0, 0);
        run_fails(f, "InvalidAddress", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid, 2, "tier",
                  "s", "virtio", "functions", "a(sa{sv})", 1, "01:00", 0, 0);
        assert_false(is_on_file(f, uuid));
        define(f, uuid, NIC, false);
        run_fails(f, "InvalidAddress", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 1,
                  "remove-functions", "as", 2, NIC, "x");
        run_fails(f, "UnknownKey", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 1,
                  "functions", "a(sa{sv})", 0);
        run_fails(f, "InvalidArgument", NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 1,
                  "leash", "s", "definition");
        run_fails(f, "UnknownKey", NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 1, "tier",
                  "s", "virtio");
        assert_state(f, uuid, "inactive", "");
}

/* ---- started by hand ---- */

/* The VM waits for its VMM without a clock, and goes with it; the definition stays. */
static void test_started(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        pid_t vmm = fixture_fork(f);
        int pidfd;

        if (vmm == 0)
                for (;;)
                        (void)pause();
        pidfd = fixture_pidfd(vmm);

        define(f, uuid, NIC, false);
        start_ok(f, uuid);
        assert_state(f, uuid, "active", "");
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"definition\"");
        assert_property(f, vm_path(uuid), "Vm", "LeashDeadlineUSec", "0");
        run_fails(f, "VmExists", NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 0);
        fixture_restart(f);
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"definition\"");
        assert_property(f, vm_path(uuid), "Vm", "LeashDeadlineUSec", "0");

        run_ok(f, vm_path(uuid), "Vm", "SetLeash", "h", pidfd);
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"pidfd\"");
        fixture_kill(f, vmm);
        (void)close(pidfd);
        (void)hear(f, "VmRemoved *vmm-exited*");
        assert_state(f, uuid, "inactive", "");

        /* What waits is stopped like any other, and a changed definition counts from the next start on. */
        start_ok(f, uuid);
        run_ok(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 1, "add-functions",
               "a(sa{sv})", 1, DISK, 0);
        assert_state(f, uuid, "active", "");
        vm_destroy_ok(f, uuid);
        start_ok(f, uuid);
        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid);
        assert_true(is_there(f, uuid));
        vm_destroy_ok(f, uuid);

        define(f, uuid, NIC, false);
        run_ok(f, NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 1, "leash", "s", "caller");
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"caller\"");
        vm_destroy_force(f, uuid);
        assert_clean(f);
}

/* A function that is gone is no fault of the definition: it warns, and its start says why not. */
static void test_gone_function(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        _cleanup_free_ char *warning = define_warned(f, uuid, GONE, false), *none = NULL;

        assert_non_null(strstr(warning, GONE));
        assert_state(f, uuid, "inactive", "");
        run_fails(f, "NoSuchFunction", NULL, "Manager", "StartDefinition", "sa{sv}", uuid, 0);
        assert_state(f, uuid, "refused", GONE);
        fixture_restart(f);
        assert_state(f, uuid, "refused", GONE);

        none = ask_text(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid, 2,
                        "remove-functions", "as", 1, GONE, "add-functions", "a(sa{sv})", 1, NIC, 0);
        assert_string_equal(none, "\"\"");
        assert_state(f, uuid, "inactive", "");
        start_ok(f, uuid);
        assert_state(f, uuid, "active", "");
        vm_destroy_ok(f, uuid);
        assert_clean(f);
}

/* ---- at boot ---- */

static void assert_logged(const Fixture *f, const char *what) {
        char command[256];

        (void)snprintf(command, sizeof(command), "grep -qF '%s' %s/log", what, f->folder);
        assert_int_equal(system(command), 0);
}

static void test_boot(void **state) {
        Fixture *f = *state;

        /* The second takes what the fourth wants, and was defined before it; the third is refused, and stops nobody. */
        define(f, uuid_of(4), DISK, true);
        free(define_warned(f, uuid_of(3), GONE, true));
        define(f, uuid_of(2), NIC, true);
        define(f, uuid_of(1), NIC, true);
        define(f, uuid_of(5), NIC, false);

        /* What is defined in this boot is for the next one. */
        fixture_restart(f);
        assert_int_equal(vm_count(f), 0);

        reboot(f);
        wait_until(f,
                   vm_count(f) == 2 && access(file_of(f, "run", "started", uuid_of(1)), F_OK) == 0);
        assert_true(is_there(f, uuid_of(4)) && is_there(f, uuid_of(2)));
        assert_state(f, uuid_of(4), "active", "");
        assert_state(f, uuid_of(3), "refused", GONE);
        assert_state(f, uuid_of(2), "active", "");
        assert_state(f, uuid_of(1), "refused", NIC);
        assert_state(f, uuid_of(5), "inactive", "");
        assert_logged(f, "defined to be admitted at boot, and is refused");
        assert_property(f, vm_path(uuid_of(2)), "Vm", "Leash", "\"definition\"");

        /* Neither twice, nor again what has been taken down, nor what was refused. */
        vm_destroy_ok(f, uuid_of(2));
        fixture_restart(f);
        wait_until(f, vm_count(f) == 1); /* the third is tried again, and refused again */
        assert_state(f, uuid_of(2), "inactive", "");
        assert_state(f, uuid_of(1), "refused", NIC);
        start_ok(f, uuid_of(1));
        assert_state(f, uuid_of(1), "active", "");
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(4));

        /* In the next boot again; but not what is no longer to be, or has been made to be in this one. */
        reboot(f);
        wait_until(f,
                   vm_count(f) == 2 && access(file_of(f, "run", "started", uuid_of(1)), F_OK) == 0);
        vm_destroy_ok(f, uuid_of(2));
        vm_destroy_ok(f, uuid_of(4));
        run_ok(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid_of(2), 1, "autostart", "b",
               false);
        run_ok(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid_of(5), 1, "autostart", "b",
               true);
        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid_of(3));
        assert_int_not_equal(access(file_of(f, "run", "started", uuid_of(3)), F_OK), 0);
        fixture_restart(f);
        assert_int_equal(vm_count(f), 0);
        reboot(f);
        wait_until(f,
                   vm_count(f) == 2 && access(file_of(f, "run", "started", uuid_of(5)), F_OK) == 0);
        assert_state(f, uuid_of(1), "active", "");
        assert_state(f, uuid_of(5), "refused", NIC);
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(4));
        assert_clean(f);
}

static PciFunctionInfo find_function(Fixture *f, const char *function) {
        const PciAddress address = address_of(function);
        PciFunctionInfo info;
        HostScan *scan;

        assert_int_equal(f->kernel->ops->scan(f->kernel, &address, 1, &scan), 0);
        assert_true(scan->n_functions > 0);
        info = scan->functions[0];
        host_scan_free(scan);
        assert_true(pci_address_equal(&info.address, &address));
        return info;
}

static bool is_refused_for(Fixture *f, const char *uuid, const char *part) {
        _cleanup_free_ char *list = ask_text(f, NULL, "Manager", "ListDefinitions", "su", "",
                                             UINT32_C(100));
        const char *row = strstr(list, uuid);

        return row && strstr(row, part);
}

/* VFs are made and drivers bound by others, who may come later than the daemon. What another VM takes is no such thing. */
static void test_late_functions(void **state) {
        Fixture *f = *state;
        const char *vf = uuid_of(1), *unbound = uuid_of(2), *taken = uuid_of(3);
        const PciAddress disk = address_of(DISK);
        PciFunctionInfo nic;

        define(f, vf, NIC, true);
        define(f, unbound, DISK, true);
        define(f, taken, NIC, true);
        nic = find_function(f, NIC);
        run_ok(f, SIMULATION_PATH, "Simulation", "Unplug", "s", NIC);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDriver", "ss", DISK, "nvme");
        reboot(f);
        wait_until(f, access(file_of(f, "run", "started", taken), F_OK) == 0);
        assert_state(f, vf, "refused", NIC);
        assert_state(f, unbound, "refused", DISK);
        assert_state(f, taken, "refused", "no PCI function");

        assert_int_equal(sim_plug(f->kernel, &nic), 0);
        wait_until(f, vm_count(f) == 1);
        assert_state(f, vf, "active", "");
        wait_until(f, is_refused_for(f, taken, vf));
        assert_state(f, unbound, "refused", DISK);

        /* Also while there was no daemon. */
        fixture_kill_daemon(f);
        assert_int_equal(sim_set_driver(f->kernel, &disk, "vfio-pci"), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, vm_count(f) == 2);
        assert_state(f, unbound, "active", "");

        /* Nor is what has been taken down made again, nor what was refused for another's sake. */
        vm_destroy_ok(f, vf);
        vm_destroy_ok(f, unbound);
        run_ok(f, SIMULATION_PATH, "Simulation", "Unplug", "s", DISK);
        run_ok(f, SIMULATION_PATH, "Simulation", "Plug", "s", DISK);
        fixture_restart(f);
        fixture_serve_for(f, UINT64_C(500000));
        assert_int_equal(vm_count(f), 0);
        assert_state(f, vf, "inactive", "");
        assert_state(f, taken, "refused", vf);
        assert_clean(f);
}

/* The daemon dies while it starts them: the next one goes on where it was. */
static void test_boot_cut_short(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i <= 3; i++)
                run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(i), 2, "tier", "s",
                       "virtio", "autostart", "b", true, 0);
        reboot(f);
        wait_until(f, access(file_of(f, "run", "started", uuid_of(3)), F_OK) == 0);
        fixture_kill_daemon(f);
        /* As if it had not come to the third, and not yet written of the second that it is there. */
        assert_int_equal(unlink(file_of(f, "run", "started", uuid_of(3))), 0);
        assert_int_equal(unlink(file_of(f, "run", "vm", uuid_of(3))), 0);
        assert_int_equal(unlink(file_of(f, "run", "started", uuid_of(2))), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, access(file_of(f, "run", "started", uuid_of(3)), F_OK) == 0);
        for (unsigned i = 1; i <= 3; i++)
                assert_state(f, uuid_of(i), "active", "");
        assert_int_equal(vm_count(f), 3);
        for (unsigned i = 1; i <= 3; i++)
                vm_destroy_ok(f, uuid_of(i));
        assert_clean(f);
}

/* The service counts as started when they are there. */
static void test_ready(void **state) {
        Fixture *f = *state;
        unsigned before;

        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(1), 2, "tier", "s", "virtio",
               "autostart", "b", true, 0);
        before = service_manager_get_news(f->manager).n_ready;
        reboot(f);
        wait_until(f, service_manager_get_news(f->manager).n_ready == before + 1);
        assert_state(f, uuid_of(1), "active", "");
        vm_destroy_ok(f, uuid_of(1));
}

/* ---- files that are no good ---- */

static void flip(const Fixture *f, const char *uuid, off_t at) {
        int fd = open(file_of(f, "definitions", "definition", uuid), O_RDWR | O_CLOEXEC);
        char c;

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &c, 1, at), 1);
        c ^= 1;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
        (void)close(fd);
}

static void test_unreadable(void **state) {
        Fixture *f = *state;

        define(f, uuid_of(1), NIC, true);
        define(f, uuid_of(2), DISK, true);
        define(f, uuid_of(3), DISK, false);
        flip(f, uuid_of(1), 150);
        write_file(f, uuid_of(3), "aviommu-record 9 and what version 9 says\n");
        write_file(f, uuid_of(4), "");
        reboot(f);
        wait_until(f, vm_count(f) == 1);
        assert_state(f, uuid_of(1), "damaged", "");
        assert_state(f, uuid_of(2), "active", "");
        assert_state(f, uuid_of(3), "newer", "");
        assert_state(f, uuid_of(4), "damaged", "");
        assert_logged(f, "is damaged: define it again");
        vm_destroy_ok(f, uuid_of(2));

        /* Nothing is done with it that would lose it, but what says so. */
        run_fails(f, "DefinitionDamaged", NULL, "Manager", "GetDefinition", "s", uuid_of(1));
        run_fails(f, "DefinitionDamaged", NULL, "Manager", "StartDefinition", "sa{sv}", uuid_of(1),
                  0);
        run_fails(f, "DefinitionDamaged", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid_of(1),
                  0);
        run_fails(f, "DefinitionExists", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(1), 1,
                  "tier", "s", "virtio", 0);
        run_fails(f, "NewerRecord", NULL, "Manager", "GetDefinition", "s", uuid_of(3));
        run_fails(f, "NewerRecord", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(3), 1,
                  "tier", "s", "virtio", 1, "replace", "b", true);
        assert_true(is_on_file(f, uuid_of(3)));
        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(1), 1, "tier", "s", "virtio",
               1, "replace", "b", true);
        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid_of(3));
        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid_of(4));
        fixture_restart(f);
        assert_state(f, uuid_of(1), "inactive", "");
        assert_false(is_on_file(f, uuid_of(3)) || is_on_file(f, uuid_of(4)));
        assert_clean(f);
}

/* Writes until nothing more goes in. */
static void fill(const Fixture *f) {
        static const char zeros[4096];
        char path[160];
        int fd;

        (void)snprintf(path, sizeof(path), "%s/definitions/full", f->folder);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                ;
        (void)close(fd);
}

/* A full /var: what cannot be written is refused, and what was there stays. */
static void test_no_room(void **state) {
        Fixture *f = *state;
        char folder[128];

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                (void)fputs("SKIPPED: this test has to mount a file system of its own.\n", stderr);
                skip();
        }
        (void)snprintf(folder, sizeof(folder), "%s/definitions", f->folder);
        fixture_kill_daemon(f);
        assert_int_equal(mount("tmpfs", folder, "tmpfs", 0, "size=64k,mode=0700"), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        define(f, uuid_of(1), NIC, false);
        fill(f);
        run_fails(f, "StorageFailed", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(2), 1,
                  "tier", "s", "virtio", 0);
        run_fails(f, "StorageFailed", NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid_of(1), 1,
                  "autostart", "b", true);
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "GetDefinition", "s", uuid_of(2));
        assert_definition(f, uuid_of(1),
                          "{\"tier\": \"virtio\", \"functions\": [(\"0000:01:00.0\", {})], "
                          "\"memory\": 0, \"autostart\": false}");
        start_ok(f, uuid_of(1));
        fixture_restart(f);
        assert_state(f, uuid_of(1), "active", "");
        vm_destroy_ok(f, uuid_of(1));

        /* Taking one back makes room. */
        run_ok(f, NULL, "Manager", "UndefineVm", "s", uuid_of(1));
        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(2), 1, "tier", "s", "virtio",
               0);
        fixture_kill_daemon(f);
        assert_int_equal(umount2(folder, MNT_DETACH), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
}

static void test_no_folder(void **state) {
        _cleanup_free_ char *none = NULL;
        Fixture *f = *state;

        run_fails(f, "StorageFailed", NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(1), 1,
                  "tier", "s", "virtio", 0);
        run_fails(f, "NoSuchDefinition", NULL, "Manager", "UndefineVm", "s", uuid_of(1));
        none = ask_text(f, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(10));
        assert_string_equal(none, "[], \"\"");
}

/* ---- many at once, and other users ---- */

/* A change that waits for the disk keeps others from the same definition, not from others. */
static void test_at_once(void **state) {
        Fixture *f = *state;
        unsigned n_done = 0;
        Call calls[8];

        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_start(f, calls + i,
                           message_new(f->bus, NULL, "Manager", "DefineVm", "sa{sv}a{sv}",
                                       uuid_of(1 + i / 4), 1, "tier", "s", "virtio", 1, "replace",
                                       "b", true));
        for (size_t i = 0; i < ELEMENTSOF(calls); i++) {
                const char *error;

                call_wait(calls + i);
                error = call_error(calls + i);
                n_done += streq(error, "");
                assert_true(streq(error, "") || streq(error, "Busy"));
                call_done(calls + i);
        }
        assert_true(n_done >= 2);
        assert_state(f, uuid_of(1), "inactive", "");
        assert_state(f, uuid_of(2), "inactive", "");
}

static void call_as(Fixture *f, sd_bus *bus, const char *error, const char *member,
                    const char *uuid) {
        sd_bus_message *m;
        Call call;

        m = streq(member, "DefineVm")
                    ? message_new(bus, NULL, "Manager", member, "sa{sv}a{sv}", uuid, 1, "tier", "s",
                                  "virtio", 1, "replace", "b", true)
            : streq(member, "UndefineVm") || streq(member, "GetDefinition")
                    ? message_new(bus, NULL, "Manager", member, "s", uuid)
                    : message_new(bus, NULL, "Manager", member, "sa{sv}", uuid, 0);
        call_start(f, &call, m);
        call_expect(&call, error);
}

static void test_another_user(void **state) {
        static const char *const members[] = { "DefineVm", "ModifyDefinition", "StartDefinition",
                                               "GetDefinition", "UndefineVm" };
        _cleanup_free_ char *owner = NULL;
        Fixture *f = *state;
        sd_bus *nobody;
        Call call;

        if (geteuid() != 0)
                skip();
        nobody = fixture_connect_as(f, NOBODY);
        define(f, uuid_of(1), NIC, false);
        fixture_polkit(f, false);
        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                call_as(f, nobody, "AccessDenied", members[i], uuid_of(1));
        call_as(f, nobody, "AccessDenied", "DefineVm", uuid_of(2));
        call_as(f, nobody, "NoSuchDefinition", "GetDefinition", uuid_of(2));
        call_method(f, &call, nobody, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(10));
        call_expect(&call, "");

        /* Who may have VMs of his own may define his own, and nothing of another's. */
        fixture_polkit_give(f, "org.aviommu1.manage-own");
        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                call_as(f, nobody, "AccessDenied", members[i], uuid_of(1));
        call_as(f, nobody, "", "DefineVm", uuid_of(2));
        call_as(f, nobody, "", "ModifyDefinition", uuid_of(2));
        call_as(f, nobody, "", "GetDefinition", uuid_of(2));

        /* Whoever starts it, the VM is its owner's; whoever defines it anew, it stays his. */
        run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(2), 1, "tier", "s", "virtio",
               1, "replace", "b", true);
        run_ok(f, NULL, "Manager", "ModifyDefinition", "sa{sv}", uuid_of(2), 0);
        start_ok(f, uuid_of(2));
        owner = property(f, vm_path(uuid_of(2)), "Vm", "OwnerUid");
        assert_string_equal(owner, "65534");
        vm_destroy_ok(f, uuid_of(2));
        call_as(f, nobody, "", "StartDefinition", uuid_of(2));
        vm_destroy_ok(f, uuid_of(2));
        call_as(f, nobody, "", "UndefineVm", uuid_of(2));
        assert_state(f, uuid_of(1), "inactive", "");
}

#define DEFINITION_TEST(function)                                                                  \
        BUS_TEST(function, .fdstore_max = STORE, .definitions = true, .keep_log = true,            \
                 .config = "[Tenant blue]\n")

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                DEFINITION_TEST(test_life),
                DEFINITION_TEST(test_pages),
                DEFINITION_TEST(test_refused),
                DEFINITION_TEST(test_started),
                DEFINITION_TEST(test_gone_function),
                DEFINITION_TEST(test_boot),
                DEFINITION_TEST(test_late_functions),
                DEFINITION_TEST(test_boot_cut_short),
                DEFINITION_TEST(test_ready),
                DEFINITION_TEST(test_unreadable),
                BUS_TEST(test_no_folder),
                DEFINITION_TEST(test_at_once),
                DEFINITION_TEST(test_another_user),
                DEFINITION_TEST(test_no_room), /* last: it changes the mounts */
        };

        return bus_tests_run(argc, argv, tests);
}
