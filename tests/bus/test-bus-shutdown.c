/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How the daemon ends, and how it does not begin: exit codes, and every caller answered. */

#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"

static void assert_exit(int status, int code) {
        if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
                fail_msg("wait status 0x%x, expected exit code %i", (unsigned)status, code);
}

/* The daemon's word, not the bus's for a callee that has gone. */
static void assert_answered(Call *call) {
        call_wait(call);
        if (*call_error(call) && !streq(call_error(call), "Cancelled"))
                fail_msg("call %u is answered with %s", call->order, call_error(call));
        call_done(call);
}

static void end_with(Fixture *f, int signal_number) {
        const char *vm = vm_path(uuid_of(1));
        Call calls[7];
        uint64_t start;

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = NIC2);
        (void)close(vm_open_context(f, uuid_of(1), NULL));
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "iommufd_open",
               UINT64_C(200000));
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "cdev_open", UINT64_C(200000));
        call_start(f, calls + 0,
                   vm_request(f->bus, "CreateVm",
                              &(VmSpec){ .uuid = uuid_of(3),
                                         .tier = "hardware",
                                         .functions = "0000:03:00.0" }));
        call_start(
                f, calls + 1,
                vm_request(f->bus, "CreateVm", &(VmSpec){ .uuid = uuid_of(4), .tier = "virtio" }));
        call_method(f, calls + 2, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", DISK, 0);
        call_method(f, calls + 3, f->bus, vm, "Vm", "OpenContext", "");
        call_method(f, calls + 4, f->bus, vm, "Vm", "DetachDevice", "s", NIC);
        call_method(f, calls + 5, f->bus, NULL, "Manager", "PrepareContext", "s", uuid_of(5));
        call_method(f, calls + 6, f->bus, vm_path(uuid_of(4)), "Vm", "Destroy", "a{sv}", 0);
        fixture_serve_for(f, 50000);
        start = now_usec();
        (void)kill(f->daemon_pid, signal_number);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                assert_answered(calls + i);
        assert_exit(fixture_wait_daemon(f), 0);
        assert_true(now_usec() - start < 5000000);
}

static void test_sigterm(void **state) {
        end_with(*state, SIGTERM);
}

static void test_sigint(void **state) {
        end_with(*state, SIGINT);
}

/* A detach that waits for its VMM waits on a timer, which doesn't keep the daemon. */
static void test_waiting_detach(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        _cleanup_close_ int self = fixture_pidfd(getpid());
        uint64_t start;
        int iommufd, cdev;
        Call call;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid_of(1), NULL);
        cdev = vm_open_device(f, uuid_of(1), NIC);
        run_ok(f, vm, "Vm", "ConfirmContext", "");
        call_method(f, &call, f->bus, vm, "Vm", "DetachDevice", "s", NIC);
        fixture_serve_for(f, 250000);
        assert_null(call.reply);
        start = now_usec();
        (void)kill(f->daemon_pid, SIGTERM);
        call_wait(&call);
        assert_true(streq(call_error(&call), "Busy") || streq(call_error(&call), "Cancelled"));
        call_done(&call);
        assert_exit(fixture_wait_daemon(f), 0);
        assert_true(now_usec() - start < 5000000);
        (void)close(cdev);
        (void)close(iommufd);
}

static void test_idle(void **state) {
        Fixture *f = *state;

        (void)kill(f->daemon_pid, SIGTERM);
        assert_exit(fixture_wait_daemon(f), 0);
}

/* Without a bus there is nothing to do: it ends as a failure, for systemd to start it again. */
static void test_bus_killed(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "caller");
        fixture_kill_bus(f);
        assert_exit(fixture_wait_daemon(f), 1);
}

/* It takes nothing from VMs that have their contexts, is quick about it, and says why in a sentence. */
static void test_bus_killed_vmm(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        SimCounters before, after;
        char path[96], line[256];
        unsigned n_lines = 0;
        int iommufd, cdev;
        uint64_t start;
        FILE *log;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid_of(1), NULL);
        cdev = vm_open_device(f, uuid_of(1), NIC);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "ConfirmContext", "");
        sim_get_counters(f->kernel, &before);
        assert_int_equal(before.viommus, 1);

        (void)snprintf(path, sizeof(path), "%s/log", f->folder);
        log = fopen(path, "re");
        assert_non_null(log);
        assert_int_equal(fseek(log, 0, SEEK_END), 0);
        start = now_usec();
        fixture_kill_bus(f);
        assert_exit(fixture_wait_daemon(f), 1);
        assert_true(now_usec() - start < 1000000);
        sim_get_counters(f->kernel, &after);
        assert_memory_equal(&before, &after, sizeof(before));
        for (; fgets(line, sizeof(line), log); n_lines++)
                assert_non_null(strstr(line, "connection to the bus"));
        assert_int_equal(n_lines, 1);
        (void)fclose(log);
        (void)close(cdev);
        (void)close(iommufd);
}

static void test_bus_killed_busy(void **state) {
        Fixture *f = *state;
        Call calls[3];

        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "iommufd_open",
               UINT64_C(200000));
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                call_start(f, calls + i,
                           vm_request(f->bus, "CreateVm",
                                      &(VmSpec){ .uuid = uuid_of(i), .tier = "virtio" }));
        fixture_serve_for(f, 50000);
        fixture_kill_bus(f);
        assert_exit(fixture_wait_daemon(f), 1);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_done(calls + i);
}

/* ---- not beginning ---- */

static int run_daemon(Fixture *f, const char *bus, const char *profile, const char *config) {
        pid_t pid = fork();
        int status;

        (void)f;
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)alarm(20);
                (void)execl(AVIOMMUD_SIM, AVIOMMUD_SIM, "--bus", bus, "--profile", profile, config,
                            NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void test_not_beginning(void **state) {
        static const char small[] = PROFILES "/small.json";
        Fixture *f = *state;
        char option[160], path[128];
        FILE *file;

        assert_exit(run_daemon(f, f->address, small, NULL), 1); /* the name is taken */
        assert_exit(run_daemon(f, "unix:path=/nonexistent", small, NULL), 1);
        assert_exit(run_daemon(f, "nonsense", small, NULL), 1);
        assert_exit(run_daemon(f, f->address, "/nonexistent.json", NULL), 1);
        assert_exit(run_daemon(f, f->address, small, "--config=/nonexistent"), 1);
        assert_exit(run_daemon(f, f->address, small, "--unknown"), 2);
        assert_exit(run_daemon(f, f->address, small, "argument"), 2);

        (void)snprintf(path, sizeof(path), "%s/bad.conf", f->folder);
        (void)snprintf(option, sizeof(option), "--config=%s", path);
        file = fopen(path, "we");
        assert_non_null(file);
        (void)fputs("[Manager]\nMaxVms=many\n", file);
        (void)fclose(file);
        assert_exit(run_daemon(f, f->address, small, option), 1);
        run_ok(f, NULL, "Manager", "ListVms", "su", "", UINT32_C(1)); /* the first is unharmed */
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_sigterm, .other_exit = true),
                BUS_TEST(test_sigint, .other_exit = true),
                BUS_TEST(test_waiting_detach, .other_exit = true),
                BUS_TEST(test_idle, .other_exit = true),
                BUS_TEST(test_bus_killed, .other_exit = true),
                BUS_TEST(test_bus_killed_vmm, .other_exit = true, .keep_log = true),
                BUS_TEST(test_bus_killed_busy, .other_exit = true),
                BUS_TEST(test_not_beginning),
        };

        return bus_tests_run(argc, argv, tests);
}
