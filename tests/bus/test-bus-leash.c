/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a VM's life hangs on, and what becomes of it when that ends. */

#include "fixture.h"

#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC "0000:01:00.0"

/* A process to hang a VM on. */
static pid_t sleeper(Fixture *f, int *ret_pidfd) {
        pid_t pid = fixture_fork(f);

        if (pid == 0)
                for (;;)
                        (void)pause();
        *ret_pidfd = fixture_pidfd(pid);
        return pid;
}

static void test_none_in_time(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        uint64_t before = now_usec(), deadline;
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int self = fixture_pidfd(getpid());

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none");
        text = property(f, vm, "Vm", "LeashDeadlineUSec");
        deadline = strtoull(text, NULL, 10);
        assert_true(deadline >= before + 1000000 && deadline <= now_usec() + 1000000);

        run_ok(f, vm_path(uuid_of(2)), "Vm", "SetLeash", "h", self);
        (void)hear(f, "VmRemoved *0001*\"no-leash\"");
        assert_true(now_usec() >= deadline);
        run_fails(f, "NoSuchVm", vm, "Vm", "SetLeash", "h", self);

        /* The other one has one, so its clock has stopped. */
        fixture_serve_for(f, 300000);
        assert_property(f, vm_path(uuid_of(2)), "Vm", "State", "\"bound\"");
        vm_destroy_force(f, uuid_of(2));
        assert_nothing_left(f);
}

static void test_caller(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        Call call;

        call_start(f, &call,
                   vm_request(other, "CreateVm",
                              &(VmSpec){ .uuid = uuid_of(1),
                                         .tier = "hardware",
                                         .functions = NIC,
                                         .leash = "caller" }));
        call_expect(&call, "");
        assert_property(f, vm_path(uuid_of(1)), "Vm", "State", "\"bound\"");
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Leash", "\"caller\"");
        fixture_disconnect(f, other);
        (void)hear(f, "VmRemoved *\"caller-gone\"");
        assert_nothing_left(f);
}

static void test_given_at_once(void **state) {
        Fixture *f = *state;
        int pidfd;
        pid_t pid = sleeper(f, &pidfd);

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = pidfd);
        (void)close(pidfd);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "State", "\"bound\"");
        assert_property(f, vm_path(uuid_of(1)), "Vm", "LeashDeadlineUSec", "0");
        vm_destroy_ok(f, uuid_of(1)); /* nobody has its context yet */
        pidfd = fixture_pidfd(pid);
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = pidfd);
        (void)close(pidfd);
        fixture_kill(f, pid);
        (void)hear(f, "VmRemoved *\"vmm-exited\"");
        assert_nothing_left(f);
}

static void test_replaced(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        int first_fd, second_fd;
        pid_t first = sleeper(f, &first_fd), second = sleeper(f, &second_fd);
        const char *vm = vm_path(uuid_of(1));
        Call call;

        call_start(
                f, &call,
                vm_request(other, "CreateVm",
                           &(VmSpec){ .uuid = uuid_of(1), .tier = "virtio", .leash = "caller" }));
        call_expect(&call, "");
        run_ok(f, vm, "Vm", "SetLeash", "h", first_fd);
        fixture_disconnect(f, other);
        run_ok(f, vm, "Vm", "SetLeash", "h", second_fd);
        fixture_kill(f, first);
        (void)close(first_fd);
        fixture_serve_for(f, 50000);
        assert_property(f, vm, "Vm", "State", "\"bound\"");
        assert_int_equal(count_heard(f, "VmRemoved*"), 0);

        fixture_kill(f, second);
        (void)close(second_fd);
        (void)hear(f, "VmRemoved *\"vmm-exited\"");
        assert_nothing_left(f);
}

static void test_dead(void **state) {
        Fixture *f = *state;
        int reaped_fd, zombie_fd;
        pid_t reaped = sleeper(f, &reaped_fd), zombie = fixture_fork(f);
        const char *vm = vm_path(uuid_of(1));
        _cleanup_free_ char *before = NULL;

        if (zombie == 0)
                _exit(0);
        zombie_fd = fixture_pidfd(zombie);
        assert_int_equal(waitid(P_PID, (id_t)zombie, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
        fixture_kill(f, reaped);

        CREATE(f, uuid_of(1), .tier = "virtio");
        before = world(f);
        run_fails(f, "VmmGone", vm, "Vm", "SetLeash", "h", reaped_fd);
        run_fails(f, "VmmGone", vm, "Vm", "SetLeash", "h", zombie_fd);
        CREATE_FAILS(f, "VmmGone", uuid_of(2), .tier = "virtio", .leash_pidfd = reaped_fd);
        CREATE_FAILS(f, "VmmGone", uuid_of(2), .tier = "virtio", .leash_pidfd = zombie_fd);
        assert_property(f, vm, "Vm", "Leash", "\"none\"");
        assert_world(f, before);

        (void)close(reaped_fd);
        (void)close(zombie_fd);
        fixture_kill(f, zombie);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* The refusal names those that there are. */
static void assert_unknown_leash(Fixture *f) {
        Call call;

        call_start(f, &call,
                   message_new(f->bus, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2), 2, "tier",
                               "s", "virtio", "leash", "s", "dog"));
        call_wait(&call);
        assert_string_equal(call_error(&call), "InvalidArgument");
        assert_non_null(strstr(sd_bus_message_get_error(call.reply)->message,
                               "there are \"pidfd\", \"caller\" and \"agent\""));
        call_done(&call);
}

static void test_no_pidfd(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(4096), event = eventfd(0, EFD_CLOEXEC);
        _cleanup_free_ char *before = NULL;
        const char *vm = vm_path(uuid_of(1));

        CREATE(f, uuid_of(1), .tier = "virtio");
        before = world(f);
        run_fails(f, "NotAPidfd", vm, "Vm", "SetLeash", "h", file);
        run_fails(f, "NotAPidfd", vm, "Vm", "SetLeash", "h", event);
        CREATE_FAILS(f, "NotAPidfd", uuid_of(2), .tier = "virtio", .leash_pidfd = file);
        CREATE_FAILS(f, "NotAPidfd", uuid_of(2), .tier = "virtio", .leash_pidfd = event);
        CREATE_FAILS(f, "InvalidArgument", uuid_of(2), .tier = "virtio", .leash = "caller",
                     .leash_pidfd = event);
        CREATE_FAILS(f, "InvalidArgument", uuid_of(2), .tier = "virtio", .leash = "agent",
                     .leash_pidfd = event);
        assert_unknown_leash(f);
        assert_world(f, before);
        vm_destroy_ok(f, uuid_of(1));
}

/* ---- while it is being made ---- */

static void set_delay(Fixture *f, const char *op, uint64_t usec) {
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", op, usec);
}

/* The caller leaves while the kernel works on its VM. */
static void test_caller_vanishes(void **state) {
        static const char *const ops[] = { "scan", "cdev_bind", "iommufd_open", "vdevice_alloc",
                                           "vfmmio_map" };
        static const char *const leashes[] = { "caller", "pidfd" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(ops); i++)
                for (size_t j = 0; j < ELEMENTSOF(leashes); j++) {
                        sd_bus *other = fixture_connect(f);
                        Call call;

                        set_delay(f, ops[i], 150000);
                        call_start(f, &call,
                                   vm_request(other, "CreateVm",
                                              &(VmSpec){ .uuid = uuid_of(1),
                                                         .tier = "hardware",
                                                         .functions = NIC,
                                                         .leash = leashes[j] }));
                        fixture_serve_for(f, 30000);
                        assert_null(call.reply);
                        call_done(&call);
                        fixture_disconnect(f, other);
                        wait_until(f, vm_count(f) == 0);
                        set_delay(f, ops[i], 0);
                        assert_nothing_left(f);
                        assert_int_equal(count_heard(f, "Vm*"), 0);
                }
}

/* And the VMM dies then. */
static void test_vmm_dies_early(void **state) {
        Fixture *f = *state;
        int pidfd;
        pid_t pid = sleeper(f, &pidfd);
        Call call;

        set_delay(f, "vdevice_alloc", 100000);
        call_start(f, &call,
                   vm_request(f->bus, "CreateVm",
                              &(VmSpec){ .uuid = uuid_of(1),
                                         .tier = "hardware",
                                         .functions = NIC,
                                         .leash_pidfd = pidfd }));
        fixture_serve_for(f, 30000);
        fixture_kill(f, pid);
        (void)close(pidfd);
        call_expect(&call, "VmmGone");
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
        assert_int_equal(count_heard(f, "Vm*"), 0);
        set_delay(f, "", 0);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_none_in_time, .config = "AdmissionTimeoutSec=1"),
                BUS_TEST(test_caller),
                BUS_TEST(test_given_at_once),
                BUS_TEST(test_replaced),
                BUS_TEST(test_dead),
                BUS_TEST(test_no_pidfd),
                BUS_TEST(test_caller_vanishes),
                BUS_TEST(test_vmm_dies_early),
        };

        return bus_tests_run(argc, argv, tests);
}
