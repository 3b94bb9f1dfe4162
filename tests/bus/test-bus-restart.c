/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The daemon dies and is started again, on the kernel, the records and the descriptors that outlive it: what its callers see of that.
 */

#include "fixture.h"

#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC   "0000:01:00.0"
#define NIC2  "0000:41:00.0"
#define DISK  "0000:43:00.0"
#define MIB   UINT64_C(1048576)
#define STORE 64

static pid_t sleeper(Fixture *f, int *ret_pidfd) {
        pid_t pid = fixture_fork(f);

        if (pid == 0)
                for (;;)
                        (void)pause();
        *ret_pidfd = fixture_pidfd(pid);
        return pid;
}

static bool is_world(Fixture *f, const char *expected) {
        _cleanup_free_ char *now = world(f);

        return streq(now, expected);
}

static bool same_file(int a, int b) {
        return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

/* ---- what stays ---- */

/* One VM of each kind. */
static void create_all(Fixture *f, int pidfd, int file) {
        CREATE(f, uuid_of(1), .name = "web1", .tier = "hardware", .functions = NIC " " NIC2,
               .memory = 2 * MIB, .guest_domains = 8, .leash_pidfd = pidfd);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB, MIB,
               UINT32_C(1));
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash = "caller");
        CREATE(f, uuid_of(3), .tier = "emulated", .handover = "none", .leash = "agent");
        CREATE(f, uuid_of(4), .tier = "virtio");
}

static void test_kill(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(MIB), self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL, *functions = NULL;
        size_t n;

        create_all(f, self, file);
        before = vm_appearance(f, 1, 4);
        functions = ask_text(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000));
        n = fixture_count_stored(f);
        assert_true(n >= 6);
        forget_signals(f);

        for (int i = 0; i < 3; i++) {
                _cleanup_free_ char *after = NULL, *functions_after = NULL;

                fixture_restart(f);
                after = vm_appearance(f, 1, 4);
                assert_string_equal(after, before);
                functions_after = ask_text(f, NULL, "Manager", "ListFunctions", "su", "",
                                           UINT32_C(1000));
                assert_string_equal(functions_after, functions);
                assert_int_equal(fixture_count_stored(f), n);
        }
        fixture_serve_for(f, 50000);
        assert_int_equal(count_heard(f, "VmRemoved*"), 0);
        assert_int_equal(count_heard(f, "VmAdded*"), 0);
        assert_int_equal(service_manager_get_news(f->manager).n_refused, 0);

        /* And it can be worked with as before. */
        run_ok(f, vm_path(uuid_of(1)), "Vm", "UnmapMemory", "tt", MIB, MIB);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "DetachDevice", "s", NIC2);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        (void)close(vm_open_context(f, uuid_of(1), NULL));
        (void)close(vm_open_device(f, uuid_of(1), NIC));
        for (unsigned i = 1; i <= 4; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

/* Who is told READY=1 finds the name on the bus and the VMs under it. */
static void test_ready(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(MIB), self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL, *after = NULL;
        unsigned n_ready;

        create_all(f, self, file);
        before = vm_appearance(f, 1, 4);
        n_ready = service_manager_get_news(f->manager).n_ready;
        assert_int_equal(n_ready, 1);
        fixture_kill_daemon(f);
        fixture_launch_daemon(f);
        while (service_manager_get_news(f->manager).n_ready == n_ready)
                (void)usleep(500);
        assert_true(fixture_has_owner(f));
        after = vm_appearance(f, 1, 4);
        assert_string_equal(after, before);
        for (unsigned i = 1; i <= 4; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

/* systemctl stop and start, where the descriptors are kept. */
static void test_stop(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(MIB), self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL, *after = NULL;
        size_t n;

        create_all(f, self, file);
        before = vm_appearance(f, 1, 4);
        n = fixture_count_stored(f);
        forget_signals(f);
        (void)kill(f->daemon_pid, SIGTERM);
        assert_int_equal(fixture_wait_daemon(f), 0);
        assert_int_equal(fixture_count_stored(f), n);
        assert_int_equal(service_manager_get_news(f->manager).n_stopping, 1);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        after = vm_appearance(f, 1, 4);
        assert_string_equal(after, before);
        assert_int_equal(count_heard(f, "VmRemoved*"), 0);
        for (unsigned i = 1; i <= 4; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

/* The daemon dies in the midst of a request: its caller hears so, and it is as if the request had never come. */
static void test_in_flight(void **state) {
        static const struct {
                const char *op; /* during which it dies */
                bool is_attach;
        } cases[] = {
                { "iommufd_open" }, { "hwpt_alloc_nest_parent" }, { "viommu_alloc" },
                { "vfmmio_map" },   { "vdevice_alloc" },          { "cdev_open", true },
                { "cdev_bind" },    { "cdev_bind", true },        { "cdev_attach", true },
        };
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "virtio", .handover = "daemon", .functions = DISK,
               .leash = "caller");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *before = world(f);
                Call call;

                assert_int_equal(sim_set_delay(f->kernel, cases[i].op, 200000), 0);
                if (cases[i].is_attach)
                        call_method(f, &call, f->bus, vm_path(uuid_of(1)), "Vm", "AttachDevice",
                                    "sa{sv}", NIC, 0);
                else
                        call_start(f, &call,
                                   vm_request(f->bus, "CreateVm",
                                              &(VmSpec){ .uuid = uuid_of(2),
                                                         .tier = "hardware",
                                                         .functions = NIC }));
                fixture_serve_for(f, 100000);
                if (call.reply)
                        fail_msg("%s is not waited for", cases[i].op);
                fixture_kill_daemon(f);
                call_wait(&call);
                assert_string_not_equal(call_error(&call), "");
                call_done(&call);
                assert_int_equal(sim_set_delay(f->kernel, cases[i].op, 0), 0);
                fixture_launch_daemon(f);
                fixture_await_daemon(f);
                wait_until(f, is_world(f, before));
        }
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* What the VMM was given is what the kernel still has: the same descriptors, confirmed or not. */
static void test_handed_over(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        const char *vm = vm_path(uuid_of(1));
        _cleanup_free_ char *before = NULL, *after = NULL;
        int context, device, again;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        context = vm_open_context(f, uuid_of(1), NULL);
        device = vm_open_device(f, uuid_of(1), NIC);
        fixture_restart(f);
        again = vm_open_context(f, uuid_of(1), NULL);
        assert_true(same_file(context, again));
        (void)close(again);
        again = vm_open_device(f, uuid_of(1), NIC);
        assert_true(same_file(device, again));
        (void)close(again);

        run_ok(f, vm, "Vm", "ConfirmContext", "");
        before = vm_appearance(f, 1, 1);
        fixture_restart(f);
        after = vm_appearance(f, 1, 1);
        assert_string_equal(after, before);
        assert_property(f, vm, "Vm", "Confirmed", "true");

        (void)close(device);
        (void)close(context);
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* ---- leashes ---- */

static void test_vmm_dies_meanwhile(void **state) {
        Fixture *f = *state;
        int first_fd, second_fd;
        pid_t first = sleeper(f, &first_fd), second = sleeper(f, &second_fd);

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = first_fd);
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash_pidfd = second_fd);
        (void)close(first_fd);
        (void)close(second_fd);
        fixture_kill_daemon(f);
        fixture_kill(f, first);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        (void)hear(f, "VmRemoved *0001*\"vmm-exited\"");

        /* The other one's is watched as before. */
        assert_property(f, vm_path(uuid_of(2)), "Vm", "Leash", "\"pidfd\"");
        fixture_kill(f, second);
        (void)hear(f, "VmRemoved *0002*\"vmm-exited\"");
        assert_clean(f);
}

static void test_caller_leaves_meanwhile(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f), *third = fixture_connect(f);
        sd_bus *callers[] = { other, third };
        Call call;

        for (unsigned i = 0; i < ELEMENTSOF(callers); i++) {
                call_start(f, &call,
                           vm_request(callers[i], "CreateVm",
                                      &(VmSpec){ .uuid = uuid_of(i + 1),
                                                 .tier = "virtio",
                                                 .leash = "caller" }));
                call_expect(&call, "");
        }
        fixture_kill_daemon(f);
        fixture_disconnect(f, other);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        (void)hear(f, "VmRemoved *0001*\"caller-gone\"");
        fixture_serve_for(f, 50000);
        assert_int_equal(vm_count(f), 1);
        assert_property(f, vm_path(uuid_of(2)), "Vm", "Leash", "\"caller\"");

        fixture_disconnect(f, third);
        (void)hear(f, "VmRemoved *0002*\"caller-gone\"");
        assert_clean(f);
}

/* One that waits for its leash waits no longer than before. */
static void test_clock(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *text = NULL;
        uint64_t deadline;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = DISK);
        text = property(f, vm_path(uuid_of(1)), "Vm", "LeashDeadlineUSec");
        deadline = strtoull(text, NULL, 10);
        fixture_restart(f);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "LeashDeadlineUSec", text);
        (void)hear(f, "VmRemoved *0001*\"no-leash\"");
        assert_true(now_usec() >= deadline && now_usec() < deadline + 1500000);
        assert_clean(f);
}

/* The agent has to say it twice, to the same daemon. */
static void test_agent(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "virtio", .leash = "agent");
        run_ok(f, NULL, "Manager", "ReportVms", "as", 0);
        fixture_restart(f);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Leash", "\"agent\"");
        run_ok(f, NULL, "Manager", "ReportVms", "as", 0);
        fixture_serve_for(f, 50000);
        assert_int_equal(vm_count(f), 1);
        run_ok(f, NULL, "Manager", "ReportVms", "as", 0);
        (void)hear(f, "VmRemoved *0001*\"agent-report\"");
        assert_clean(f);
}

/* ---- what is not a VM yet ---- */

static void test_prepared(void **state) {
        Fixture *f = *state;
        int first = vm_prepare(f, uuid_of(1)), second = vm_prepare(f, uuid_of(2)), got;
        sd_bus *other = fixture_connect(f);
        Call call;

        call_method(f, &call, other, NULL, "Manager", "PrepareContext", "s", uuid_of(3));
        call_expect(&call, "");
        assert_int_equal(fixture_count_stored(f), 3);
        fixture_kill_daemon(f);
        fixture_disconnect(f, other);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f,
                   fixture_count_stored(f) == 2); /* of the third nobody is left who could use it */

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = DISK);
        got = vm_open_context(f, uuid_of(1), NULL);
        assert_true(same_file(first, got));
        (void)close(got);

        /* Once it is the VM's, it is that after a restart too. */
        fixture_restart(f);
        got = vm_open_context(f, uuid_of(1), NULL);
        assert_true(same_file(first, got));
        (void)close(got);
        (void)close(first);
        vm_destroy_ok(f, uuid_of(1));

        CREATE(f, uuid_of(2), .tier = "virtio");
        got = vm_open_context(f, uuid_of(2), NULL);
        assert_true(same_file(second, got));
        (void)close(got);
        (void)close(second);
        vm_destroy_ok(f, uuid_of(2));
        assert_clean(f);
}

/* A name of a bus that has started again is another's, whoever has it now. */
static void test_other_bus(void **state) {
        Fixture *f = *state;
        size_t kept, stored;

        CREATE(f, uuid_of(2), .name = "agents", .tier = "virtio", .leash = "agent");
        kept = fixture_count_stored(f);
        CREATE(f, uuid_of(1), .name = "callers", .tier = "virtio", .leash = "caller");
        (void)close(vm_prepare(f, uuid_of(3)));
        stored = fixture_count_stored(f);
        assert_true(stored > kept);
        fixture_restart(f); /* on the same bus nothing changes */
        assert_int_equal(fixture_count_stored(f), stored);
        assert_int_equal(vm_count(f), 2);

        fixture_kill_daemon(f);
        fixture_restart_bus(f);
        for (int i = 0; i < 20; i++) /* one of these has the old name */
                (void)fixture_connect(f);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, vm_count(f) == 1);
        run_ok(f, NULL, "Manager", "GetVmByName", "s", "agents");
        wait_until(f, fixture_count_stored(f) == kept);

        CREATE(f, uuid_of(1), .name = "callers", .tier = "virtio", .leash = "caller");
        fixture_restart(f); /* and this bus is known */
        assert_int_equal(vm_count(f), 2);
        vm_destroy_force(f, uuid_of(1));
        vm_destroy_force(f, uuid_of(2));
        assert_clean(f);
}

/* What a probe has found need not be found again: no function is reset for it, and where none is idle it could not be. */
static void test_levels(void **state) {
        static const char *const iommus[] = { ROOT_PATH "/host/ivhd0", ROOT_PATH "/host/ivhd1" };
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL, *after = NULL;

        run_ok(f, iommus[1], "HostIommu", "Probe", "");
        before = property(f, iommus[1], "HostIommu", "KernelLevelReason");
        fixture_restart(f);
        assert_property(f, iommus[0], "HostIommu", "KernelLevel", "\"unknown\"");
        assert_property(f, iommus[1], "HostIommu", "KernelLevel", "\"accelerated\"");
        after = property(f, iommus[1], "HostIommu", "KernelLevelReason");
        assert_string_equal(after, before);
        assert_clean(f);
}

static char *reserve(Fixture *f, const char *function, uint64_t ttl_usec) {
        sd_bus_message *m = message_new(f->bus, NULL, "Manager", "Reserve", "");
        const char *token;
        char *copy;
        Call call;

        assert_true(sd_bus_message_append(m, "a{sv}t", 2, "tier", "s", "virtio", "functions",
                                          "a(sa{sv})", 1, function, 0, ttl_usec) >= 0);
        call_start(f, &call, m);
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        assert_true(sd_bus_message_read(call.reply, "s", &token) > 0);
        copy = strdup(token);
        assert_non_null(copy);
        call_done(&call);
        return copy;
}

static void test_reservation(void **state) {
        Fixture *f = *state;
        uint64_t end = now_usec() + 2000000;
        _cleanup_free_ char *soon = reserve(f, NIC, 2000000), *late = reserve(f, DISK, 60000000),
                            *before = world(f), *list = NULL, *soon_id = NULL, *late_id = NULL;
        sd_bus_message *m;
        const char *path;
        Call call;

        fixture_restart(f);
        assert_world(f, before);
        assert_property(f, NULL, "Manager", "NReservations", "2");
        CREATE_FAILS(f, "FunctionInUse", uuid_of(1), .tier = "virtio", .functions = DISK);
        list = ask_text(f, NULL, "Manager", "ListReservations", "su", "", 10);
        soon_id = strndup(soon, 12);
        late_id = strndup(late, 12);
        assert_true(strstr(list, soon_id) && strstr(list, late_id));
        assert_true(strstr(list, NIC) && strstr(list, DISK));
        assert_false(strstr(list, soon) || strstr(list, late)); /* no token */

        /* The one with little time has no more of it than before. */
        for (;;) {
                _cleanup_free_ char *n = property(f, NULL, "Manager", "NReservations");

                if (streq(n, "1"))
                        break;
                assert_true(now_usec() < end + 1500000);
                fixture_serve_for(f, 20000);
        }
        assert_true(now_usec() >= end);
        run_fails(f, "ReservationExpired", NULL, "Manager", "Unreserve", "s", soon);

        m = message_new(f->bus, NULL, "Manager", "CreateVm", "s", uuid_of(1));
        assert_true(sd_bus_message_append(m, "a{sv}", 3, "tier", "s", "virtio", "functions",
                                          "a(sa{sv})", 1, DISK, 0, "reservation", "s", late) >= 0);
        call_start(f, &call, m);
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        assert_true(sd_bus_message_read(call.reply, "o", &path) > 0);
        call_done(&call);
        assert_property(f, NULL, "Manager", "NReservations", "0");
        run_fails(f, "ReservationUsed", NULL, "Manager", "Unreserve", "s", late);
        fixture_restart(f);
        assert_property(f, NULL, "Manager", "NReservations", "0");
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", late);
        assert_int_equal(vm_count(f), 1);
        vm_destroy_ok(f, uuid_of(1));
        assert_clean(f);
}

/* It expires while no daemon is there. */
static void test_reservation_expires(void **state) {
        Fixture *f = *state;
        uint64_t end = now_usec() + 1000000;
        _cleanup_free_ char *token = reserve(f, NIC, 1000000);

        fixture_kill_daemon(f);
        while (now_usec() <= end)
                fixture_serve_for(f, 20000);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        run_fails(f, "ReservationExpired", NULL, "Manager", "Unreserve", "s", token);
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC);
        vm_destroy_ok(f, uuid_of(1));
        assert_clean(f);
}

/* ---- what is lost ---- */

/* As after systemctl stop where systemd keeps nothing then: what nobody holds is gone, what a VMM holds is not. */
static void test_lost(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        _cleanup_free_ char *charges = NULL, *list = NULL;
        int context, device;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        context = vm_open_context(f, uuid_of(1), NULL);
        device = vm_open_device(f, uuid_of(1), NIC);
        charges = property(f, vm_path(uuid_of(1)), "Vm", "Charges");
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK);
        fixture_kill_daemon(f);
        service_manager_clear(f->manager);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        wait_until(f, vm_count(f) == 1);
        for (;;) {
                _cleanup_free_ char *now = property(f, vm_path(uuid_of(1)), "Vm", "State");

                if (streq(now, "\"quarantined\""))
                        break;
                fixture_serve_for(f, 10000);
        }
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Charges", charges);
        list = ask_text(f, NULL, "Manager", "ListQuarantined", "");
        assert_non_null(strstr(list, uuid_of(1)));
        CREATE_FAILS(f, "FunctionInUse", uuid_of(3), .tier = "virtio", .functions = NIC);

        (void)close(device);
        (void)close(context);
        (void)hear(f, "VmRemoved *0001*\"lost\""); /* by itself, at the next try */
        assert_clean(f);
}

/* What is quarantined is that after a restart too, until it is let go of or given up. */
static void test_quarantined(void **state) {
        Fixture *f = *state;
        static const char *const functions[] = { NIC, DISK };
        _cleanup_free_ char *list = NULL, *charges = NULL;
        int contexts[2], devices[2];

        for (unsigned i = 0; i < 2; i++) {
                const PciAddress address = address_of(functions[i]);
                uint32_t id;

                CREATE(f, uuid_of(i), .tier = "hardware", .handover = "vmm",
                       .functions = functions[i]);
                contexts[i] = vm_open_context(f, uuid_of(i), NULL);
                assert_int_equal(f->kernel->ops->cdev_open(f->kernel, &address, devices + i), 0);
                assert_int_equal(
                        f->kernel->ops->cdev_bind(f->kernel, devices[i], contexts[i], NULL, &id),
                        0);
                run_fails(f, "Busy", vm_path(uuid_of(i)), "Vm", "Destroy", "a{sv}", 1, "force", "b",
                          true);
        }
        list = ask_text(f, NULL, "Manager", "ListQuarantined", "");
        charges = property(f, vm_path(uuid_of(1)), "Vm", "Charges");
        fixture_restart(f);
        for (;;) {
                _cleanup_free_ char *now = ask_text(f, NULL, "Manager", "ListQuarantined", "");

                if (streq(now, list))
                        break;
                fixture_serve_for(f, 10000);
        }
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Charges", charges);

        run_ok(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        fixture_restart(f);
        assert_int_equal(vm_count(f), 1);
        for (unsigned i = 0; i < 2; i++) {
                (void)close(devices[i]);
                (void)close(contexts[i]);
        }
        vm_destroy_ok(f, uuid_of(0));
        assert_clean(f);
}

/* Only the leash is lost: the VM gets the time of a new one to find another. */
static void test_leash_lost(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        bool dropped = false;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = DISK, .leash_pidfd = self);
        fixture_kill_daemon(f);
        for (char name[] = "1"; *name <= '9' && !dropped; ++*name) {
                int fd = service_manager_find(f->manager, name);

                dropped = fd >= 0 && fd_verify_pidfd(fd) == 0 &&
                          service_manager_drop(f->manager, name);
        }
        assert_true(dropped);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Leash", "\"none\"");
        run_ok(f, vm_path(uuid_of(1)), "Vm", "SetLeash", "h", self);
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* The number of a leash that is lost is given to others: it is not the VM's any more, which would take theirs out of the fd store. */
static void test_lost_number(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL, *after = NULL;

        CREATE(f, uuid_of(1), .tier = "emulated", .handover = "none", .leash_pidfd = self);
        assert_true(service_manager_find(f->manager, "1") >= 0);
        fixture_kill_daemon(f);
        service_manager_clear(f->manager);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Leash", "\"none\"");

        CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash = "caller");
        assert_int_equal(fixture_count_stored(f), 1);
        assert_true(service_manager_find(f->manager, "1") >= 0);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "SetLeash", "h", self);
        fixture_serve_for(f, 50000);
        assert_int_equal(fixture_count_stored(f), 2);
        before = vm_appearance(f, 1, 2);
        fixture_restart(f);
        after = vm_appearance(f, 1, 2);
        assert_string_equal(after, before);
        for (unsigned i = 1; i <= 2; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

/* Somebody puts something else into the fd store, under every number that there is, and under names that are none: what is the VMs' own is
 * found all the same, and found again. */
static void test_strangers(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(MIB), self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL;
        char names[16][8];
        size_t n;

        create_all(f, self, file);
        before = vm_appearance(f, 1, 4);
        n = fixture_count_stored(f);
        assert_true(n <= ELEMENTSOF(names));
        for (size_t i = 0; i < n; i++)
                (void)snprintf(names[i], sizeof(names[i]), "%.7s",
                               service_manager_list(f->manager, &(size_t){ 0 })[i].name);
        fixture_kill_daemon(f);
        for (size_t i = 0; i < 2 * n; i++) {
                _cleanup_close_ int stranger = memfd_of(MIB);

                service_manager_insert(f->manager, names[i % n], stranger);
        }
        service_manager_insert(f->manager, "stranger", file);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);

        for (unsigned i = 0; i < 3; i++) {
                _cleanup_free_ char *after = vm_appearance(f, 1, 4);

                assert_string_equal(after, before);
                assert_true(service_manager_find(f->manager, "stranger") < 0);
                fixture_restart(f);
        }
        (void)close(vm_open_context(f, uuid_of(1), NULL));
        (void)close(vm_open_device(f, uuid_of(1), NIC));
        for (unsigned i = 1; i <= 4; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

#define RESTART_TEST(test, ...) BUS_TEST(test, .fdstore_max = STORE, ##__VA_ARGS__)

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                RESTART_TEST(test_kill),
                RESTART_TEST(test_ready),
                RESTART_TEST(test_stop),
                RESTART_TEST(test_in_flight),
                RESTART_TEST(test_handed_over),
                RESTART_TEST(test_vmm_dies_meanwhile),
                RESTART_TEST(test_caller_leaves_meanwhile),
                RESTART_TEST(test_clock, .config = "AdmissionTimeoutSec=2"),
                RESTART_TEST(test_agent),
                RESTART_TEST(test_prepared),
                RESTART_TEST(test_other_bus),
                RESTART_TEST(test_levels),
                RESTART_TEST(test_reservation),
                RESTART_TEST(test_reservation_expires),
                RESTART_TEST(test_lost),
                RESTART_TEST(test_quarantined),
                RESTART_TEST(test_leash_lost),
                RESTART_TEST(test_lost_number),
                RESTART_TEST(test_strangers),
        };

        return bus_tests_run(argc, argv, tests);
}
