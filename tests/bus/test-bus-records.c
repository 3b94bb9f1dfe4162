/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Records and a service manager that are no good: newer, damaged, full, read-only, stalled. */

#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define NIC   "0000:01:00.0"
#define NIC2  "0000:41:00.0"
#define DISK  "0000:43:00.0"
#define STORE 64

static void record_path(const Fixture *f, const char *name, const char *uuid,
                        char ret[static 160]) {
        (void)snprintf(ret, 160, "%s/run/%s-%s", f->folder, name, strrchr(vm_path(uuid), '/') + 1);
}

#define NEWER "aviommu-record 4 and what version 4 says\n"

static void write_record(const Fixture *f, const char *name, const char *uuid, const char *text) {
        char path[160];
        FILE *file;

        record_path(f, name, uuid, path);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void assert_reclaimed(Fixture *f, const char *uuid, const char *kind) {
        _cleanup_free_ char *list = ask_text(f, NULL, "Manager", "ListQuarantined", ""),
                            *would = NULL, *again = NULL, *did = NULL;
        char head[96];

        (void)snprintf(head, sizeof(head), "[(\"%s\", \"%s\", ", uuid, kind);
        assert_memory_equal(list, head, strlen(head));
        would = ask_text(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid, 1, "dry-run", "b", true);
        again = ask_text(f, NULL, "Manager", "ListQuarantined", "");
        assert_string_equal(again, list);
        did = ask_text(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid, 0);
        assert_string_equal(did, would);
        free(again);
        again = ask_text(f, NULL, "Manager", "ListQuarantined", "");
        assert_string_equal(again, "[]");
}

static void test_newer(void **state) {
        Fixture *f = *state;
        char path[160], aside[160];

        CREATE(f, uuid_of(1), .tier = "virtio", .leash = "caller");
        fixture_kill_daemon(f);
        record_path(f, "vm", uuid_of(2), path);
        write_record(f, "vm", uuid_of(2), NEWER);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        /* Nothing is granted on top of it; what was granted goes on, and back. */
        CREATE_FAILS(f, "NewerRecord", uuid_of(3), .tier = "virtio");
        run_fails(f, "NewerRecord", NULL, "Manager", "PrepareContext", "s", uuid_of(3));
        run_fails(f, "NewerRecord", NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s", "virtio",
                  UINT64_C(1000000));
        run_fails(f, "NewerRecord", vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        vm_destroy_force(f, uuid_of(1));
        fixture_restart(f);
        CREATE_FAILS(f, "NewerRecord", uuid_of(3), .tier = "virtio");

        assert_int_equal(access(path, F_OK), 0);
        assert_reclaimed(f, uuid_of(2), "newer-record");
        run_fails(f, "NoSuchVm", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(2), 0);
        assert_int_equal(access(path, F_OK), -1);
        record_path(f, "damaged/vm", uuid_of(2), aside);
        assert_int_equal(access(aside, F_OK), 0);
        CREATE(f, uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(3));
        assert_clean(f);
}

/* What was kept for it goes with it: nobody knows what to do with it. */
static void test_newer_prepared(void **state) {
        Fixture *f = *state;
        int prepared = vm_prepare(f, uuid_of(1));

        fixture_kill_daemon(f);
        write_record(f, "prepared", uuid_of(1), NEWER);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        assert_int_equal(fixture_count_stored(f), 1);
        assert_reclaimed(f, uuid_of(1), "newer-record");
        (void)close(prepared);
        assert_clean(f);
}

/* A bit of a record flips: that VM is let go, all others go on. */
static void test_damaged(void **state) {
        Fixture *f = *state;
        char path[160], aside[160], c;
        _cleanup_free_ char *before = NULL, *after = NULL;
        int fd;

        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash = "caller");
        before = vm_appearance(f, 2, 2);
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "caller");
        fixture_kill_daemon(f);
        record_path(f, "vm", uuid_of(1), path);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &c, 1, 150), 1);
        c ^= 1;
        assert_int_equal(pwrite(fd, &c, 1, 150), 1);
        (void)close(fd);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        wait_until(f, fixture_count_stored(f) == 1);
        after = vm_appearance(f, 2, 2);
        assert_string_equal(after, before);
        run_fails(f, "NoSuchVm", vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        record_path(f, "damaged/vm", uuid_of(1), aside);
        assert_int_equal(access(aside, F_OK), 0);
        CREATE(f, uuid_of(3), .tier = "hardware", .functions = NIC);
        vm_destroy_ok(f, uuid_of(3));
        assert_reclaimed(f, uuid_of(1), "damaged-record");
        vm_destroy_force(f, uuid_of(2));
        assert_clean(f);
}

/* A level is found out again: a record of it that says nothing is no matter for the administrator. */
static void test_bad_level(void **state) {
        static const char record[] = "level", ivhd0[] = "00000000-0000-0000-0000-000000000000",
                          ivhd7[] = "07000000-0000-0000-0000-000000000000";
        static const char iommu[] = ROOT_PATH "/host/ivhd0";
        Fixture *f = *state;
        char path[160], other[160];

        run_ok(f, iommu, "HostIommu", "Probe", "");
        record_path(f, record, ivhd0, path);
        record_path(f, record, ivhd7, other);
        assert_int_equal(access(path, F_OK), 0);
        for (int i = 0; i < 3; i++) {
                fixture_kill_daemon(f);
                if (i == 0)
                        write_record(f, record, ivhd0, "no record\n");
                else if (i == 1)
                        write_record(f, record, ivhd0, NEWER);
                else /* another's, of an IOMMU that is not there */
                        assert_int_equal(rename(path, other), 0);
                fixture_launch_daemon(f);
                fixture_await_daemon(f);
                assert_int_equal(access(path, F_OK), -1);
                assert_int_equal(access(other, F_OK), -1);
                assert_property(f, iommu, "HostIommu", "KernelLevel", "\"unknown\"");
                CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
                vm_destroy_ok(f, uuid_of(1));
                assert_property(f, iommu, "HostIommu", "KernelLevel", "\"accelerated\"");
        }
        assert_clean(f);
}

/* A VM that came after the damaged record of the same UUID is not what is given up. */
static void test_damaged_and_new(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL, *after = NULL;
        char path[160];

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = DISK, .leash = "caller");
        fixture_kill_daemon(f);
        record_path(f, "vm", uuid_of(1), path);
        assert_int_equal(truncate(path, 100), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, fixture_count_stored(f) == 0);

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "caller");
        before = vm_appearance(f, 1, 1);
        assert_reclaimed(f, uuid_of(1), "damaged-record");
        fixture_restart(f);
        after = vm_appearance(f, 1, 1);
        assert_string_equal(after, before);
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* The service manager is not to be had: what is quarantined stays that, or is gone as a whole. */
static void test_reclaim_stalled(void **state) {
        Fixture *f = *state;
        const PciAddress address = address_of(NIC);
        _cleanup_free_ char *before = NULL;
        uint32_t device_id;
        int context, device;
        Call call;

        CREATE(f, uuid_of(1), .tier = "hardware", .handover = "vmm", .functions = NIC);
        context = vm_open_context(f, uuid_of(1), NULL);
        assert_int_equal(f->kernel->ops->cdev_open(f->kernel, &address, &device), 0);
        assert_int_equal(f->kernel->ops->cdev_bind(f->kernel, device, context, NULL, &device_id),
                         0);
        run_fails(f, "Busy", vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 1, "force", "b", true);

        before = world(f);
        service_manager_stall(f->manager, true);
        call_method(f, &call, f->bus, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        call_wait(&call);
        assert_string_not_equal(call_error(&call), "");
        call_done(&call);
        service_manager_stall(f->manager, false);
        assert_int_equal(vm_count(f), 1);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "State", "\"quarantined\"");
        assert_world(f, before);

        run_ok(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        (void)close(device);
        (void)close(context);
        assert_clean(f);
}

/* ---- no room for records ---- */

static void fill(const char *path) {
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        char page[4096] = "x";

        assert_true(fd >= 0);
        while (write(fd, page, sizeof(page)) > 0)
                ;
        assert_int_equal(errno, ENOSPC);
        (void)close(fd);
}

static void test_no_room(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        char run[96], filler[128];

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                (void)fputs("SKIPPED: this test has to mount a file system of its own.\n", stderr);
                skip();
        }
        (void)snprintf(run, sizeof(run), "%s/run", f->folder);
        (void)snprintf(filler, sizeof(filler), "%s/filler", run);
        fixture_kill_daemon(f);
        assert_int_equal(mount("tmpfs", run, "tmpfs", 0, "size=64k,mode=0700"), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "caller");
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash = "caller");
        before = world(f);
        fill(filler);
        CREATE_FAILS(f, "StorageFailed", uuid_of(3), .tier = "hardware", .functions = NIC2);
        run_fails(f, "StorageFailed", NULL, "Manager", "PrepareContext", "s", uuid_of(3));
        run_fails(f, "StorageFailed", NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s",
                  "virtio", UINT64_C(1000000));
        run_fails(f, "StorageFailed", vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        assert_world(f, before);
        vm_destroy_force(f, uuid_of(1));
        assert_int_equal(vm_count(f), 1);
        assert_int_equal(unlink(filler), 0);

        /* The same where nothing can be written, and nothing be removed. */
        assert_int_equal(mount(NULL, run, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
        CREATE_FAILS(f, "StorageFailed", uuid_of(3), .tier = "hardware", .functions = NIC2);
        vm_destroy_force(f, uuid_of(2));
        assert_clean(f);
        assert_int_equal(mount(NULL, run, NULL, MS_REMOUNT, NULL), 0);
        fixture_restart(f);
        assert_clean(f);
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK);
        vm_destroy_ok(f, uuid_of(2));

        fixture_kill_daemon(f);
        assert_int_equal(umount(run), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
}

/* What keeps it from starting keeps the next one, too: it says so, and waits before it ends, unless it is told to. What is kept stays. */
static void test_cannot_start(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL, *after = NULL;
        char run[96], aside[96];
        int status;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = DISK, .leash = "caller");
        before = vm_appearance(f, 1, 1);
        fixture_kill_daemon(f);
        (void)snprintf(run, sizeof(run), "%s/run", f->folder);
        (void)snprintf(aside, sizeof(aside), "%s/aside", f->folder);
        assert_int_equal(rename(run, aside), 0);
        fixture_launch_daemon(f);
        wait_until(f, strstr(service_manager_get_news(f->manager).status, "Cannot start (No such"));
        (void)kill(f->daemon_pid, SIGTERM);
        status = fixture_wait_daemon(f);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);

        assert_int_equal(rename(aside, run), 0);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        after = vm_appearance(f, 1, 1);
        assert_string_equal(after, before);
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* The service manager keeps no more: refused before anything is done. */
static void test_store_full(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;

        CREATE(f, uuid_of(1), .tier = "virtio", .handover = "daemon", .functions = DISK,
               .leash = "caller");
        before = world(f);
        CREATE_FAILS(f, "NoFreeDescriptor", uuid_of(2), .tier = "hardware", .functions = NIC);
        assert_world(f, before);
        assert_int_equal(service_manager_get_news(f->manager).n_refused, 0);
        vm_destroy_force(f, uuid_of(1));
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC);
        vm_destroy_ok(f, uuid_of(2));
        assert_clean(f);
}

#define RESTART_TEST(test, ...) BUS_TEST(test, .fdstore_max = STORE, ##__VA_ARGS__)

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                RESTART_TEST(test_newer),
                RESTART_TEST(test_newer_prepared),
                RESTART_TEST(test_damaged),
                RESTART_TEST(test_bad_level),
                RESTART_TEST(test_damaged_and_new),
                RESTART_TEST(test_reclaim_stalled),
                RESTART_TEST(test_no_room),
                RESTART_TEST(test_cannot_start),
                BUS_TEST(test_store_full, .fdstore_max = 5),
        };

        return bus_tests_run(argc, argv, tests);
}
