/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who makes the kernel objects: the VMM on an iommufd of the daemon's, nobody, or the daemon in another tier. */

#include "fixture.h"

#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define MIB  UINT64_C(1048576)

/* Descriptors of one context share a place in the simulated kernel's file. */
static bool same_context(int a, int b) {
        return lseek(a, 0, SEEK_CUR) == lseek(b, 0, SEEK_CUR);
}

static int prepare_as(Fixture *f, sd_bus *bus, const char *uuid) {
        Call call;
        int fd;

        call_method(f, &call, bus, NULL, "Manager", "PrepareContext", "s", uuid);
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        assert_true(sd_bus_message_read(call.reply, "h", &fd) > 0);
        fd = fd_dup(fd);
        assert_true(fd >= 0);
        call_done(&call);
        return fd;
}

/* ---- handover "vmm" ---- */

/* Binds and attaches a function as a VMM does. Returns its cdev. */
static int vmm_bind(Fixture *f, int iommufd, const char *function, uint32_t *ioas) {
        const KernelOps *ops = f->kernel->ops;
        const PciAddress address = address_of(function);
        uint32_t device;
        int cdev;

        assert_int_equal(ops->cdev_open(f->kernel, &address, &cdev), 0);
        assert_int_equal(ops->cdev_bind(f->kernel, cdev, iommufd, NULL, &device), 0);
        if (*ioas == 0)
                assert_int_equal(ops->ioas_alloc(f->kernel, iommufd, ioas), 0);
        assert_int_equal(ops->cdev_attach(f->kernel, cdev, *ioas), 0);
        return cdev;
}

static void test_vmm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_free_ char *ids = NULL, *charges = NULL, *before = NULL;
        _cleanup_close_ int self = fixture_pidfd(getpid()), file = memfd_of(MIB);
        int iommufd, nic, nic2;
        uint32_t ioas = 0;
        Call call;

        CREATE(f, uuid, .tier = "hardware", .handover = "vmm", .functions = NIC " " NIC2,
               .memory = MIB);
        charges = property(f, vm, "Vm", "Charges");
        assert_non_null(strstr(charges, "(\"instances\", \"ivhd1\", 1)"));
        assert_int_equal(counter(f, "contexts"), 1);
        assert_int_equal(counter(f, "open-cdevs"), 0);
        assert_property(f, viommu_path(uuid, 1), "Viommu", "ViommuId", "0");
        assert_property(f, viommu_path(uuid, 1), "Viommu", "VfMmioSize", "0");

        iommufd = vm_open_context(f, uuid, &ids);
        assert_string_equal(ids, "{}");
        run_fails(f, "WrongState", vm, "Vm", "OpenDevice", "s", NIC);
        run_fails(f, "WrongState", vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB,
                  UINT64_C(0), UINT32_C(1));
        run_fails(f, "WrongState", vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), MIB);
        run_fails(f, "WrongState", vm, "Vm", "CreateViommu", "s", "ivhd0");
        run_fails(f, "WrongState", viommu_path(uuid, 1), "Viommu", "Destroy", "");
        run_ok(f, vm, "Vm", "SetLeash", "h", self);
        run_fails(f, "WrongState", vm, "Vm", "ConfirmContext", "");
        assert_property(f, vm, "Vm", "State", "\"bound\"");
        before = world(f);

        nic = vmm_bind(f, iommufd, NIC, &ioas);
        nic2 = vmm_bind(f, iommufd, NIC2, &ioas);
        run_fails(f, "WrongState", vm, "Vm", "Destroy", "a{sv}", 0);

        /* One more, which the VMM doesn't take; and one less. */
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        run_ok(f, vm, "Vm", "DetachDevice", "s", DISK);
        call_method(f, &call, f->bus, vm, "Vm", "DetachDevice", "s", NIC2);
        fixture_serve_for(f, 150000);
        assert_null(call.reply);
        (void)close(nic2);
        call_expect(&call, "");
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);

        /* What the VMM holds cannot be taken from it by force: quarantined, charged, until it lets go. */
        run_fails(f, "Busy", vm, "Vm", "Destroy", "a{sv}", 1, "force", "b", true);
        assert_property(f, vm, "Vm", "State", "\"quarantined\"");
        run_fails(f, "WrongState", vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        run_fails(f, "WrongState", vm, "Vm", "SetLeash", "h", self);
        CREATE_FAILS(f, "FunctionInUse", uuid_of(2), .tier = "virtio", .functions = NIC);
        CREATE_FAILS(f, "VmExists", uuid, .tier = "virtio");
        (void)close(nic);
        (void)close(iommufd);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* The VMM dies with all that it held. */
static void test_vmm_dies(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        int iommufd, pidfd, fds[2];
        uint32_t ioas = 0;
        pid_t pid;
        char c;

        CREATE(f, uuid, .tier = "emulated", .functions = NIC " " DISK);
        assert_property(f, vm_path(uuid), "Vm", "Handover", "\"vmm\"");
        iommufd = vm_open_context(f, uuid, NULL);
        assert_int_equal(pipe(fds), 0);
        pid = fixture_fork(f);
        if (pid == 0) {
                (void)vmm_bind(f, iommufd, NIC, &ioas);
                (void)vmm_bind(f, iommufd, DISK, &ioas);
                (void)!write(fds[1], "x", 1);
                for (;;)
                        (void)pause();
        }
        (void)close(fds[1]);
        assert_int_equal(read(fds[0], &c, 1), 1);
        (void)close(fds[0]);
        (void)close(iommufd);
        pidfd = fixture_pidfd(pid);
        run_ok(f, vm_path(uuid), "Vm", "SetLeash", "h", pidfd);
        (void)close(pidfd);
        assert_int_equal(counter(f, "bound-functions"), 2);
        fixture_kill(f, pid);
        (void)hear(f, "VmRemoved *vmm-exited*");
        assert_nothing_left(f);
}

/* ---- PrepareContext ---- */

static void test_prepared(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        int first = prepare_as(f, f->bus, uuid), second = prepare_as(f, f->bus, uuid), third;

        assert_false(same_context(first, second));
        assert_int_equal(counter(f, "contexts"), 2); /* the first is its receiver's alone */
        (void)close(first);
        assert_int_equal(counter(f, "contexts"), 1);

        CREATE(f, uuid, .tier = "virtio", .functions = NIC);
        third = vm_open_context(f, uuid, NULL);
        assert_true(same_context(second, third));
        run_fails(f, "VmExists", NULL, "Manager", "PrepareContext", "s", uuid);
        (void)close(second);
        (void)close(third);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);

        /* Once. */
        second = prepare_as(f, f->bus, uuid);
        CREATE(f, uuid, .tier = "virtio");
        third = vm_open_context(f, uuid, NULL);
        assert_true(same_context(second, third));
        vm_destroy_ok(f, uuid);
        CREATE(f, uuid, .tier = "virtio");
        (void)close(third);
        third = vm_open_context(f, uuid, NULL);
        assert_false(same_context(second, third));
        (void)close(second);
        (void)close(third);
        vm_destroy_ok(f, uuid);

        run_fails(f, "InvalidUuid", NULL, "Manager", "PrepareContext", "s", "guest");
        assert_nothing_left(f);
}

/* Nobody gets it then. */
static void test_forgotten(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        int prepared = prepare_as(f, f->bus, uuid);

        run_fails(f, "InvalidUuid", NULL, "Manager", "ForgetContext", "s", "guest");
        run_fails(f, "NoPreparedContext", NULL, "Manager", "ForgetContext", "s", uuid_of(2));
        run_ok(f, NULL, "Manager", "ForgetContext", "s", uuid);
        run_fails(f, "NoPreparedContext", NULL, "Manager", "ForgetContext", "s", uuid);
        run_fails(f, "NoPreparedContext", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier",
                  "s", "virtio", "prepared", "b", 1);
        (void)close(prepared);
        assert_nothing_left(f);

        /* That of a VM is not concerned. */
        prepared = prepare_as(f, f->bus, uuid);
        CREATE(f, uuid, .tier = "virtio");
        run_fails(f, "NoPreparedContext", NULL, "Manager", "ForgetContext", "s", uuid);
        (void)close(prepared);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* A VM that is refused leaves the prepared context as it was. */
static void test_prepared_refused(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        int prepared = prepare_as(f, f->bus, uuid), got;

        CREATE_FAILS(f, "NoSuchFunction", uuid, .tier = "virtio", .functions = "0000:99:00.0");
        CREATE(f, uuid, .tier = "virtio", .functions = NIC);
        got = vm_open_context(f, uuid, NULL);
        assert_true(same_context(prepared, got));
        (void)close(got);
        (void)close(prepared);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* Whoever says that the VMM has a prepared context gets that one or nothing. */
static void test_prepared_wanted(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *error;
        int fd, got;

        for (int start = 0; start < 2; start++) {
                fd = prepare_as(f, f->bus, uuid);
                run_ok(f, NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2, "tier", "s", "virtio",
                       "prepared", "b", true);
                got = vm_open_context(f, uuid, NULL);
                assert_true(same_context(fd, got));
                (void)close(got);
                (void)close(fd);
                vm_destroy_ok(f, uuid);
                for (int again = 0; again < 2; again++) {
                        _cleanup_free_ char *plan = ask_text(f, NULL, "Manager", "Plan", "sa{sv}",
                                                             uuid, 2, "tier", "s", "virtio",
                                                             "prepared", "b", true);

                        run_fails(f, "NoPreparedContext", NULL, "Manager", "CreateVm", "sa{sv}",
                                  uuid, 2, "tier", "s", "virtio", "prepared", "b", true);
                        error = strstr(plan, "org.aviommu1.Error.NoPreparedContext");
                        assert_non_null(error);
                }
        }
        run_fails(f, "InvalidArgument", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 3, "tier", "s",
                  "virtio", "handover", "s", "none", "prepared", "b", true);
        assert_nothing_left(f);
}

static void test_prepared_gone(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        int fd = prepare_as(f, other, uuid_of(1));
        Call first, second;

        (void)close(fd);
        assert_int_equal(counter(f, "contexts"), 1);
        fixture_disconnect(f, other);
        wait_until(f, counter(f, "contexts") == 0);

        /* Asked for anew while it is being made. */
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "iommufd_open",
               UINT64_C(200000));
        call_method(f, &first, f->bus, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_method(f, &second, f->bus, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_expect(&first, "");
        call_expect(&second, "Busy");
        assert_int_equal(counter(f, "contexts"), 1);

        /* And its caller leaves while it is being made. */
        other = fixture_connect(f);
        call_method(f, &first, other, NULL, "Manager", "PrepareContext", "s", uuid_of(2));
        fixture_serve_for(f, 50000);
        call_done(&first);
        fixture_disconnect(f, other);
        fixture_serve_for(f, 300000);
        assert_int_equal(counter(f, "contexts"), 1);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "", UINT64_C(0));
}

static void test_prepared_limit(void **state) {
        Fixture *f = *state;
        int fd;

        (void)close(prepare_as(f, f->bus, uuid_of(1)));
        (void)close(prepare_as(f, f->bus, uuid_of(2)));
        run_fails(f, "LimitsExceeded", NULL, "Manager", "PrepareContext", "s", uuid_of(3));
        (void)close(prepare_as(f, f->bus, uuid_of(2)));
        CREATE(f, uuid_of(1), .tier = "emulated");
        fd = prepare_as(f, f->bus, uuid_of(3));
        assert_true(fd >= 0);
        (void)close(fd);
        vm_destroy_ok(f, uuid_of(1));
}

/* ---- handover "none", and "daemon" for other tiers ---- */

static void test_none(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_free_ char *before = NULL;

        CREATE(f, uuid, .tier = "virtio", .handover = "none",
               .functions = NIC " 0000:07:00.0,managed", .memory = MIB, .leash = "caller");
        assert_int_equal(counter(f, "contexts"), 0);
        assert_property(f, vm, "Vm", "Charges",
                        "[(\"domain-ids\", \"host\", 3), (\"pinned-memory\", \"host\", 1048576), "
                        "(\"descriptors\", \"host\", 4)]");
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"\", \"bound\"), "
                        "(\"0000:07:00.0\", \"ivhd0\", \"\", \"bound\")]");
        assert_property(f, vm, "Vm", "Viommus", "[]");
        before = world(f);
        run_fails(f, "WrongState", vm, "Vm", "OpenContext", "");
        run_fails(f, "WrongState", vm, "Vm", "OpenDevice", "s", NIC);
        run_fails(f, "WrongState", vm, "Vm", "ConfirmContext", "");
        run_fails(f, "WrongState", vm, "Vm", "CreateViommu", "s", "ivhd0");
        run_fails(f, "WrongState", vm, "Vm", "Cancel", "");
        run_fails(f, "WrongState", vm, "Vm", "Destroy", "a{sv}", 0);
        assert_world(f, before);

        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", "0000:08:00.0", 1, "managed", "b", true);
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        run_ok(f, vm, "Vm", "DetachDevice", "s", "0000:08:00.0");
        run_ok(f, vm, "Vm", "DetachDevice", "s", DISK);
        assert_world(f, before);
        vm_destroy_force(f, uuid);
        assert_nothing_left(f);
}

static void test_daemon_emulated(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int file = memfd_of(MIB);

        CREATE(f, uuid, .tier = "emulated", .handover = "daemon", .functions = NIC " " DISK);
        assert_int_equal(counter(f, "bound-functions"), 2);
        assert_int_equal(counter(f, "viommus"), 0);
        assert_property(f, vm, "Vm", "Charges",
                        "[(\"domain-ids\", \"host\", 3), (\"descriptors\", \"host\", 4)]");
        run_ok(f, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB, UINT64_C(0), UINT32_C(1));
        assert_int_equal(counter(f, "pinned-bytes"), MIB);
        run_fails(f, "WrongState", vm, "Vm", "CreateViommu", "s", "ivhd0");
        run_ok(f, vm, "Vm", "DetachDevice", "s", DISK);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_vmm),
                BUS_TEST(test_vmm_dies),
                BUS_TEST(test_prepared),
                BUS_TEST(test_forgotten),
                BUS_TEST(test_prepared_refused),
                BUS_TEST(test_prepared_wanted),
                BUS_TEST(test_prepared_gone),
                BUS_TEST(test_prepared_limit, .config = "MaxPreparedContexts=2"),
                BUS_TEST(test_none),
                BUS_TEST(test_daemon_emulated),
        };

        return bus_tests_run(argc, argv, tests);
}
