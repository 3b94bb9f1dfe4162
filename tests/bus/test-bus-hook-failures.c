/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommu-libvirt-hook when the daemon or the bus is not there or does not answer, and when what it is given is bad. */

#include "hook-run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd-util.h"

/* ---- the daemon is not there, or does not answer ---- */

static void assert_down(Fixture *f, const char *why, uint64_t usec_max) {
        char pattern[256];
        HookRun run;

        (void)snprintf(pattern, sizeof(pattern), "%s* asks for a vIOMMU*DaemonDownAsked=refuse*",
                       why);
        run = PREPARE(f, &asking);
        assert_says(run, 1, pattern);
        assert_true(run.usec < usec_max);
        (void)snprintf(pattern, sizeof(pattern), "%s*starts all the same*DaemonDownUnasked=run*",
                       why);
        run = PREPARE(f, &unasking);
        assert_says(run, 0, pattern);
        assert_true(run.usec < usec_max);

        /* Whatever libvirt kills a domain for. */
        (void)qemu_start(f);
        for (int i = 0; i < 4; i++) {
                run = i == 0   ? STARTED(f, &asking)
                      : i == 1 ? RECONNECT(f, &asking)
                      : i == 2 ? STOPPED(f, &asking)
                               : RELEASE(f, &asking, "shutdown");
                assert_says(run, 0, i < 2 ? "*aviommud*\n" : "aviommud still has *");
                assert_true(run.usec < usec_max);
        }
}

static void test_down(void **state) {
        Fixture *f = *state;

        (void)kill(f->daemon_pid, SIGTERM);
        (void)fixture_wait_daemon(f);
        assert_down(f, "aviommud cannot be reached: ", 2 * SEC);

        configure(f, "DaemonDownAsked=run\nDaemonDownUnasked=refuse");
        assert_says(PREPARE(f, &asking), 0, "*starts all the same*DaemonDownAsked=run*");
        assert_says(PREPARE(f, &unasking), 1, "*has PCI hostdevs*DaemonDownUnasked=refuse*");
        /* It does not matter to others. */
        assert_runs(PREPARE(f, &((DomainSpec){ .iommu = "virtio" })));
}

static void test_no_answer(void **state) {
        Fixture *f = *state;
        HookRun run;

        configure(f, "TimeoutSec=1");
        (void)kill(f->daemon_pid, SIGSTOP);
        assert_down(f, "No answer from aviommud within 1 s (TimeoutSec=)", LIMIT_USEC);
        /* libvirt calls it after a start that was refused, too. */
        configure(f, "TimeoutSec=60");
        run = RELEASE(f, &asking, "failed");
        assert_says(run, 0, "aviommud still has *No answer from aviommud within 3 s*");
        assert_true(run.usec < 5 * SEC);
        (void)kill(f->daemon_pid, SIGCONT);

        /* Nobody waits for what it makes of that. */
        fixture_serve_for(f, 300000);
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

/* Not even the bus: the last word is that of the clock. */
static void test_no_answer_of_bus(void **state) {
        static const char *const operations[][2] = { { "prepare", "begin" },
                                                     { "reconnect", "begin" },
                                                     { "release", "end" } };
        struct sockaddr_un path = { .sun_family = AF_UNIX };
        _cleanup_close_ int silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Fixture *f = *state;
        char address[sizeof(f->address)];

        (void)snprintf(path.sun_path, sizeof(path.sun_path), "%.80s/silent", f->folder);
        assert_int_equal(bind(silent, (struct sockaddr *)&path, sizeof(path)), 0);
        assert_int_equal(listen(silent, 16), 0);
        memcpy(address, f->address, sizeof(address));
        (void)snprintf(f->address, sizeof(f->address), "unix:path=%s", path.sun_path);

        configure(f, "TimeoutSec=1");
        (void)qemu_start(f);
        for (size_t i = 0; i < ELEMENTSOF(operations); i++)
                for (int j = 0; j < 2; j++) {
                        HookRun run = hook_run(f, j ? &asking : &unasking, operations[i][0],
                                               operations[i][1], "-");

                        assert_true(run.usec < LIMIT_USEC);
                        assert_says(run, i == 0 && j == 1, "No answer from aviommud or *bus*");
                }
        memcpy(f->address, address, sizeof(address));
}

static void test_no_bus(void **state) {
        Fixture *f = *state;
        char address[sizeof(f->address)];

        memcpy(address, f->address, sizeof(address));
        (void)snprintf(f->address, sizeof(f->address), "unix:path=/nowhere/bus");
        assert_says(PREPARE(f, &asking), 1, "No message bus at *DaemonDownAsked=refuse*");
        assert_says(PREPARE(f, &unasking), 0, "No message bus at *");
        memcpy(f->address, address, sizeof(address));
}

/* Killed while it works on what the hook waits for. */
static void test_daemon_dies(void **state) {
        Fixture *f = *state;
        HookRun run;

        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "scan", UINT64_C(300000));
        hook_begin_as(f, &run, &asking, 0, "prepare", "begin", "-");
        fixture_serve_for(f, 100000);
        fixture_kill_daemon(f);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        hook_wait(f, &run);
        /* It asks the next one, if that is there already. */
        if (run.code == 0)
                assert_int_equal(vm_count(f), 1);
        else
                assert_says(run, 1, "aviommud cannot be reached*");
        assert_runs(RELEASE(f, &asking, "failed"));
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

/* ---- bad input ---- */

/* The hook with anything on stdin. */
static HookRun run_with(Fixture *f, int stdin_fd, const char *operation, const char *suboperation) {
        char bus[160], config[192], operation_text[32], suboperation_text[32];
        HookRun run;

        (void)snprintf(bus, sizeof(bus), "--bus=%s", f->address);
        (void)snprintf(config, sizeof(config), "--config=%s", file_in(f, "libvirt.conf"));
        (void)snprintf(operation_text, sizeof(operation_text), "%s", operation);
        (void)snprintf(suboperation_text, sizeof(suboperation_text), "%s", suboperation);
        hook_start(f, &run, stdin_fd, 0,
                   (char *[]){ (char[]){ "hook" }, bus, config, (char[]){ NAME }, operation_text,
                               suboperation_text, (char[]){ "-" }, NULL });
        hook_wait(f, &run);
        return run;
}

static HookRun run_with_text(Fixture *f, const char *text, const char *operation,
                             const char *suboperation) {
        _cleanup_close_ int fd = text_fd(text);

        return run_with(f, fd, operation, suboperation);
}

static void test_bad_xml(void **state) {
        static const char *const texts[] = { "", "<domain", "<a:viommu xmlns:a='" XMLNS "'/>",
                                             XMLNS,
                                             "<domain><metadata><a:viommu xmlns:a='" XMLNS
                                             "'/></metadata></domain>" };
        Fixture *f = *state;
        _cleanup_free_ char *big = calloc(1, ((size_t)8 << 20) + 64);
        _cleanup_free_ char *before = world(f);

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                /* Only what may ask is refused. */
                assert_says(run_with_text(f, texts[i], "prepare", "begin"), i != 1,
                            "The XML of domain demo *");
                assert_int_equal(run_with_text(f, texts[i], "reconnect", "begin").code, 0);
                assert_int_equal(run_with_text(f, texts[i], "release", "end").code, 0);
                assert_says(run_with_text(f, texts[i], "start", "begin"), i != 1,
                            "The XML of domain demo *");
                assert_runs(run_with_text(f, texts[i], "attach", "begin"));
        }
        memset(big, ' ', ((size_t)8 << 20) + 1);
        assert_says(run_with_text(f, big, "prepare", "begin"), 1, "*more than 8 MiB*");
        assert_world(f, before);
}

static void test_endless_stdin(void **state) {
        Fixture *f = *state;
        HookRun run;
        int fds[2];

        configure(f, "TimeoutSec=1");
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        run = run_with(f, fds[0], "prepare", "begin");
        assert_says(run, 1, "The XML of domain demo cannot be read from stdin*");
        assert_true(run.usec < LIMIT_USEC);
        run = run_with(f, fds[0], "reconnect", "begin");
        assert_int_equal(run.code, 0);
        assert_true(run.usec < LIMIT_USEC);
        /* Where there is nothing to do, nobody waits for it. */
        assert_runs(run_with(f, fds[0], "attach", "begin"));
        (void)close(fds[0]);
        (void)close(fds[1]);
}

static void test_bad_config(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        configure(f, "Unaskd=account");
        assert_says(PREPARE(f, &asking), 1, "*libvirt.conf*2*Unaskd*");
        assert_int_equal(vm_count(f), 0);
        /* Those who do not ask go by the defaults. */
        assert_says(PREPARE(f, &unasking), 0, "*libvirt.conf*2*Unaskd*");
        assert_vm(f, "Handover", "\"none\"");
        qemu = qemu_start(f);
        assert_says(STARTED(f, &unasking), 0, "*libvirt.conf*2*Unaskd*");
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 0);
}

static void test_usage(void **state) {
        Fixture *f = *state;
        HookRun run;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        hook_start(f, &run, fd, 0, (char *[]){ (char[]){ "hook" }, NULL });
        hook_wait(f, &run);
        assert_says(run, 2, "usage: *");
        hook_start(f, &run, fd, 0,
                   (char *[]){ (char[]){ "hook" }, (char[]){ "--bogus" }, (char[]){ NAME },
                               (char[]){ "prepare" }, (char[]){ "begin" }, (char[]){ "-" }, NULL });
        hook_wait(f, &run);
        assert_says(run, 2, "*usage: *");
        (void)close(fd);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_down, .profile = "small", .other_exit = true),
                BUS_TEST(test_no_answer, .profile = "small"),
                BUS_TEST(test_no_answer_of_bus, .profile = "small"),
                BUS_TEST(test_no_bus, .profile = "small"),
                BUS_TEST(test_daemon_dies, .profile = "small", .fdstore_max = 64),
                BUS_TEST(test_bad_xml, .profile = "small"),
                BUS_TEST(test_endless_stdin, .profile = "small"),
                BUS_TEST(test_bad_config, .profile = "small"),
                BUS_TEST(test_usage, .profile = "small"),
        };

        hook_be_qemu(argc, argv);
        return bus_tests_run(argc, argv, tests);
}
