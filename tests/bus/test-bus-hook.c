/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * aviommu-libvirt-hook as libvirt calls it, in the orders in which libvirt calls hooks, and whose process it takes for QEMU.
 */

#include "hook-run.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

/* ---- as it should be ---- */

static void test_life(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        assert_runs(PREPARE(f, &asking));
        assert_vm(f, "Name", "\"" NAME "\"");
        assert_vm(f, "Tier", "\"virtio\"");
        assert_vm(f, "Handover", "\"none\"");
        assert_vm(f, "Leash", "\"none\"");
        assert_vm(f, "Functions", "[(\"" OTHER "\", \"ivhd0\", \"\", \"admitted\")]");
        assert_vm(f, "Charges",
                  "[(\"domain-ids\", \"host\", 2), (\"pinned-memory\", \"host\", 268435456), "
                  "(\"descriptors\", \"host\", 3)]");
        assert_runs(hook_run(f, &asking, "start", "begin", "-"));
        qemu = qemu_start(f);
        assert_runs(STARTED(f, &asking));
        assert_vm(f, "Leash", "\"pidfd\"");

        /* libvirtd was restarted. */
        assert_runs(RECONNECT(f, &asking));
        assert_vm(f, "Leash", "\"pidfd\"");

        fixture_kill(f, qemu);
        assert_runs(STOPPED(f, &asking));
        assert_runs(RELEASE(f, &asking, "destroyed"));
        assert_runs(RELEASE(f, &asking, "destroyed"));
        assert_nothing_left(f);
}

/* Killed, with hooks that come before the daemon knows. */
static void test_release_races(void **state) {
        Fixture *f = *state;

        for (int i = 0; i < 5; i++) {
                pid_t qemu;

                assert_runs(PREPARE(f, &asking));
                qemu = qemu_start(f);
                assert_runs(STARTED(f, &asking));
                (void)kill(f->daemon_pid, SIGSTOP);
                fixture_kill(f, qemu);
                {
                        HookRun run;

                        hook_begin_as(f, &run, &asking, 0, i % 2 ? "stopped" : "release", "end",
                                      "crashed");
                        usleep(20000);
                        (void)kill(f->daemon_pid, SIGCONT);
                        hook_wait(f, &run);
                        assert_runs(run);
                }
                wait_until(f, vm_count(f) == 0);
        }
        assert_nothing_left(f);
}

static void test_failed_start(void **state) {
        Fixture *f = *state;

        /* After prepare something else of the start fails. */
        assert_runs(PREPARE(f, &asking));
        assert_int_equal(vm_count(f), 1);
        assert_runs(STOPPED(f, &asking));
        assert_int_equal(vm_count(f), 0);
        assert_runs(RELEASE(f, &asking, "failed"));

        /* libvirtd dies after prepare: the next start finds what is left, and another domain by now. */
        assert_runs(PREPARE(f, &asking));
        assert_runs(PREPARE(f, &asking));
        assert_runs(PREPARE(
                f, &((DomainSpec){ .tier = "virtio", .iommu = "virtio", .function = DISK })));
        assert_int_equal(vm_count(f), 1);
        assert_vm(f, "Functions", "[(\"" DISK "\", \"ivhd0\", \"\", \"admitted\")]");
        assert_runs(RELEASE(f, &asking, "failed"));
        assert_nothing_left(f);
}

static void test_other_operations(void **state) {
        static const char *const operations[][2] = { { "attach", "begin" },
                                                     { "prepare", "end" },
                                                     { "stopped", "begin" },
                                                     { "reboot", "begin" },
                                                     { "", "" } };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(operations); i++)
                assert_runs(hook_run(f, &asking, operations[i][0], operations[i][1], "-"));
        /* Nothing to do with vIOMMUs. */
        assert_runs(PREPARE(f, &((DomainSpec){ .iommu = "virtio" })));
        assert_runs(STARTED(f, &((DomainSpec){ .iommu = "virtio" })));
        assert_runs(RELEASE(f, &((DomainSpec){ .iommu = "virtio" }), "shutdown"));
        assert_nothing_left(f);
}

/* A prepared context is taken over, and stays that one. */
static void test_context(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT };
        pid_t qemu;
        int iommufd = vm_prepare(f, uuid_of(1));

        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Handover", "\"vmm\"");
        assert_int_equal(counter(f, "contexts"), 1);
        assert_runs(PREPARE(f, &d)); /* libvirtd died after the first */
        assert_int_equal(counter(f, "contexts"), 1);
        fixture_serve_for(f, 50000);
        assert_int_equal(count_heard(f, "VmAdded*"), 1); /* it has never been gone */
        assert_int_equal(count_heard(f, "VmRemoved*"), 0);
        qemu = qemu_start(f);
        assert_runs(STARTED(f, &d));
        assert_vm(f, "Leash", "\"pidfd\"");
        (void)close(iommufd);
        fixture_kill(f, qemu);
        assert_runs(STOPPED(f, &d));
        assert_runs(RELEASE(f, &d, "shutdown"));
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);

        /* libvirt would give the next QEMU the used one. */
        assert_says(
                PREPARE(f, &d), 1,
                "*There is no context prepared for*\"systemctl status aviommu-libvirt-agent\"*");
        assert_nothing_left(f);

        /* So whatever may run without a vIOMMU, or without being counted, does not run on that. */
        d.also = "otherwise='run'";
        assert_says(PREPARE(f, &d), 1, "*cannot have the vIOMMU*There is no context prepared for*");
        d.inside = "<a:fallback tier='emulated'/>";
        assert_says(PREPARE(f, &d), 1, "*cannot have the vIOMMU*There is no context prepared for*");
        d = unasking;
        d.extra = CONTEXT;
        assert_says(PREPARE(f, &d), 1,
                    "Domain demo is to run on a context of aviommud's*There is no context prepared "
                    "for*\"systemctl status aviommu-libvirt-agent\"*");
        assert_nothing_left(f);
        configure(f, "Unasked=ignore");
        assert_runs(PREPARE(f, &d));
}

static int vm_function_count(Fixture *f) {
        _cleanup_free_ char *functions = property(f, vm_path(uuid_of(1)), "Vm", "Functions"),
                            *charges = property(f, vm_path(uuid_of(1)), "Vm", "Charges");
        int n = 0;

        assert_non_null(strstr(charges, "(\"pinned-memory\", \"host\", 268435456)"));
        for (const char *p = functions; (p = strstr(p, "(\"0000:")); p++)
                n++;
        return n;
}

/* An interface on a network of functions is one when libvirt has taken it, after prepare. */
static void test_function_of_network(void **state) {
        static const char *const extras[] = { NULL, CONTEXT };
        DomainSpec d = { .tier = "virtio", .iommu = "virtio" }, unasked = {};
        Fixture *f = *state;
        pid_t qemu;

        for (size_t i = 0; i < ELEMENTSOF(extras); i++)
                for (int j = 0; j < 2; j++) {
                        int iommufd = vm_prepare(f, uuid_of(1));

                        d.extra = extras[i];
                        d.function = j ? DISK : NULL;
                        d.interface = NULL;
                        assert_runs(PREPARE(f, &d));
                        d.interface = OTHER;
                        assert_runs(START(f, &d));
                        assert_runs(START(f, &d));
                        assert_vm(f, "Handover", i ? "\"vmm\"" : "\"none\"");
                        assert_int_equal(vm_function_count(f), 1 + j);
                        qemu = qemu_start(f);
                        assert_runs(STARTED(f, &d));
                        (void)close(iommufd);
                        fixture_kill(f, qemu);
                        assert_runs(RELEASE(f, &d, "shutdown"));
                        wait_until(f, vm_count(f) == 0);
                }

        /* Without a request there was nothing to count before. */
        assert_runs(PREPARE(f, &unasked));
        assert_int_equal(vm_count(f), 0);
        unasked.interface = OTHER;
        assert_runs(START(f, &unasked));
        assert_int_equal(vm_function_count(f), 1);
        assert_runs(RELEASE(f, &unasked, "failed"));
        configure(f, "Unasked=refuse");
        assert_says(START(f, &unasked), 1, "*asks for no vIOMMU*Unasked=refuse*");

        /* What cannot be had is refused then. */
        d.extra = d.function = d.interface = NULL;
        assert_runs(PREPARE(f, &d));
        d.interface = "0000:77:00.0";
        assert_says(START(f, &d), 1, "Domain demo cannot have *no PCI function 0000:77:00.0*");
        d.also = "otherwise='run'";
        assert_says(START(f, &d), 0, "Domain demo runs without *no PCI function 0000:77:00.0*");
        assert_runs(RELEASE(f, &d, "failed"));
}

/* What is asked about a domain beforehand, by a user. @how: an option; NULL: none */
static void assert_asked(Fixture *f, const DomainSpec *d, uid_t uid, const char *how,
                         const char *expected) {
        _cleanup_free_ char *xml = domain_xml(d), *address = strdup(f->address),
                            *option = how ? strdup(how) : NULL;
        _cleanup_close_ int fd = text_fd(xml);
        HookRun run;

        program_start(f, &run, ASK_PLAN, fd, uid,
                      (char *[]){ (char[]){ "ask-plan" }, address, option, NULL });
        hook_wait(f, &run);
        assert_says(run, 0, expected);
}

/* What was unplugged from a domain that is not persistent is in its request still. */
static void test_transient_asked(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio",
                         .inside = "<a:function address='" NIC "' guest-device-id='01:00.0'/>",
                         .iommu = "virtio",
                         .function = DISK };

        assert_asked(f, &d, 0, "--transient", "none");
        assert_asked(f, &d, 0, NULL, "unreadable: *" NIC " is no PCI <hostdev> of this domain.");
        d.tier = "fastest";
        assert_asked(f, &d, 0, "--transient", "unreadable: *fastest*");
        assert_nothing_left(f);
}

/* libvirtd dies after prepare, and the domain is another's when it starts: what was admitted then is not what it asks for. */
static void test_context_of_tenant(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT };

        (void)close(vm_prepare(f, uuid_of(1)));
        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Tenant", "\"\"");
        d.also = "tenant='acme'";
        assert_says(PREPARE(f, &d), 1, "*There is no context prepared for*");
        assert_nothing_left(f);
        (void)close(vm_prepare(f, uuid_of(1)));
        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Tenant", "\"acme\"");
        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Tenant", "\"acme\"");
        assert_runs(RELEASE(f, &d, "failed"));
        assert_nothing_left(f);
}

/* "aviommuctl libvirt check" says what the hook would be told, whoever asks. */
static void test_context_asked(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT };
        uid_t uids[] = { 0, 65534 };
        int iommufd;

        if (geteuid() != 0)
                skip();
        fixture_polkit(f, false);
        for (size_t i = 0; i < ELEMENTSOF(uids); i++)
                assert_asked(f, &d, uids[i], NULL, "NoPreparedContext");
        iommufd = vm_prepare(f, uuid_of(1));
        for (size_t i = 0; i < ELEMENTSOF(uids); i++)
                assert_asked(f, &d, uids[i], NULL, "vmm");
        assert_asked(f, &d, 65534, "--users", "NoPreparedContext");
        d.function = "0000:77:00.0";
        for (size_t i = 0; i < ELEMENTSOF(uids); i++)
                assert_asked(f, &d, uids[i], NULL, "NoSuchFunction");
        d.function = OTHER;

        /* Without one of aviommud's it does not matter. */
        d.extra = NULL;
        assert_asked(f, &d, 65534, NULL, "none");
        d.extra = CONTEXT;
        assert_runs(PREPARE(f, &d));
        assert_asked(f, &d, 65534, NULL, "VmExists");
        assert_runs(RELEASE(f, &d, "failed"));
        (void)close(iommufd);
        assert_nothing_left(f);
}

/* The daemon was away when it started, on what had been prepared for that: the next start does not get it, too. */
static void test_context_used_unseen(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT };
        int iommufd = vm_prepare(f, uuid_of(1));
        pid_t qemu = qemu_start(f);

        (void)close(iommufd);
        assert_runs(STARTED(f, &d));
        assert_vm(f, "Handover", "\"none\"");
        assert_int_equal(counter(f, "contexts"), 0);
        fixture_kill(f, qemu);
        assert_runs(RELEASE(f, &d, "shutdown"));
        wait_until(f, vm_count(f) == 0);
        assert_says(PREPARE(f, &d), 1, "*There is no context prepared for*");
        assert_nothing_left(f);
}

static void test_two_at_once(void **state) {
        Fixture *f = *state;

        for (int i = 0; i < 5; i++) {
                HookRun runs[3];

                /* The first is still at it when the others come. */
                run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "scan",
                       (uint64_t)(i * 40000));
                for (size_t j = 0; j < ELEMENTSOF(runs); j++)
                        hook_begin_as(f, runs + j, &asking, 0, "prepare", "begin", "-");
                for (size_t j = 0; j < ELEMENTSOF(runs); j++) {
                        hook_wait(f, runs + j);
                        assert_runs(runs[j]);
                }
                assert_int_equal(vm_count(f), 1);
                assert_runs(RELEASE(f, &asking, "failed"));
                assert_nothing_left(f);
        }
}

/* ---- whose process it is ---- */

static void test_pid_files(void **state) {
        Fixture *f = *state;
        pid_t other, ended;

        assert_runs(PREPARE(f, &asking));
        assert_says(STARTED(f, &asking), 0, "*not found*demo.pid is not there*");

        static const char *const texts[] = {
                "", "\n", "x", "-1", "0", "12 13", "99999999999999", "0x10", "1\n2\n"
        };
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                write_pid(f, NAME, texts[i]);
                assert_says(STARTED(f, &asking), 0, "*demo.pid has no process id in it*");
        }

        write_pid_of(f, getpid());
        assert_says(STARTED(f, &asking), 0, "*is not the domain's QEMU*");
        assert_says(RECONNECT(f, &asking), 0, "*is not the domain's QEMU*");

        /* Another domain's, though it has this one's name. */
        other = qemu_with(f, NAME, uuid_of(2));
        write_pid_of(f, other);
        assert_says(STARTED(f, &asking), 0, "*is not the domain's QEMU*");

        /* Ended, and not even reaped; then reaped. */
        ended = fixture_fork(f);
        if (ended == 0)
                _exit(0);
        assert_int_equal(waitid(P_PID, (id_t)ended, &(siginfo_t){}, WEXITED | WNOWAIT), 0);
        write_pid_of(f, ended);
        assert_says(STARTED(f, &asking), 0, "*has ended*");
        fixture_kill(f, ended);
        assert_says(STARTED(f, &asking), 0, "*has ended*");

        /* A folder, and a pipe that nobody writes to. */
        assert_int_equal(unlink(file_in(f, NAME ".pid")), 0);
        assert_int_equal(mkfifo(file_in(f, NAME ".pid"), 0600), 0);
        assert_says(STARTED(f, &asking), 0, "*has no process id in it*");
        assert_int_equal(unlink(file_in(f, NAME ".pid")), 0);

        assert_vm(f, "Leash", "\"none\"");

        /* QEMU without a UUID goes by its name. */
        other = qemu_with(f, NAME "2", NULL);
        write_pid_of(f, other);
        assert_says(STARTED(f, &asking), 0, "*is not the domain's QEMU*");
        other = qemu_with(f, NAME, NULL);
        write_pid_of(f, other);
        assert_runs(STARTED(f, &asking));
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, other);
        wait_until(f, vm_count(f) == 0);
}

/* Running domains that the daemon does not know: it came later, or the start took too long. */
static void test_late(void **state) {
        static const char *const operations[] = { "started", "reconnect" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(operations); i++)
                for (int j = 0; j < 2; j++) {
                        const DomainSpec *d = j ? &asking : &unasking;
                        pid_t qemu = qemu_start(f);

                        assert_runs(hook_run(f, d, operations[i], "begin", "-"));
                        assert_vm(f, "Leash", "\"pidfd\"");
                        assert_vm(f, "Handover", "\"none\"");
                        fixture_kill(f, qemu);
                        wait_until(f, vm_count(f) == 0);
                }
        configure(f, "Unasked=ignore");
        (void)qemu_start(f);
        assert_runs(RECONNECT(f, &unasking));
        assert_nothing_left(f);
}

/* It should not run, and does: what it has is counted all the same. */
static void test_late_and_refused(void **state) {
        static const DomainSpec lacking = { .tier = "virtio", .function = OTHER },
                                bad = { .tier = "fastest", .function = OTHER };
        static const struct {
                const DomainSpec *d;
                const char *says;
        } cases[] = {
                { &unasking, "Domain demo should not run as it does: *Unasked=refuse*" },
                { &lacking, "Domain demo should not run as it does: *has no <iommu>*" },
                { &bad, "The request of domain demo is not taken: *fastest*" },
        };
        Fixture *f = *state;

        configure(f, "Unasked=refuse");
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                pid_t qemu = qemu_start(f);

                assert_says(RECONNECT(f, cases[i].d), 0, cases[i].says);
                assert_vm(f, "Leash", "\"pidfd\"");
                assert_vm(f, "Charges",
                          "[(\"domain-ids\", \"host\", 2), (\"pinned-memory\", \"host\", "
                          "268435456), (\"descriptors\", \"host\", 3)]");
                fixture_kill(f, qemu);
                wait_until(f, vm_count(f) == 0);
        }
}

/* ---- a user's libvirtd ---- */

static void test_user(void **state) {
        static const char *const operations[][2] = { { "prepare", "begin" },
                                                     { "started", "begin" },
                                                     { "reconnect", "begin" },
                                                     { "stopped", "end" },
                                                     { "release", "end" } };
        Fixture *f = *state;
        HookRun run;

        if (geteuid() != 0)
                skip();
        fixture_polkit(f, false);
        (void)qemu_start(f);
        for (int i = 0; i < 2; i++) {
                for (size_t j = 0; j < ELEMENTSOF(operations); j++) {
                        hook_begin_as(f, &run, &unasking, 65534, operations[j][0], operations[j][1],
                                      "-");
                        hook_wait(f, &run);
                        assert_runs(run);
                }
                hook_begin_as(f, &run, &asking, 65534, "prepare", "begin", "-");
                hook_wait(f, &run);
                assert_says(run, 1, "Domain demo asks for a vIOMMU, and uid 65534 may not *");
                /* Then without a way to the bus at all. */
                assert_int_equal(chmod(file_in(f, "bus"), 0700), 0);
        }
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_life, .profile = "small"),
                BUS_TEST(test_release_races, .profile = "small"),
                BUS_TEST(test_failed_start, .profile = "small"),
                BUS_TEST(test_other_operations, .profile = "small"),
                BUS_TEST(test_context, .profile = "small"),
                BUS_TEST(test_function_of_network, .profile = "small"),
                BUS_TEST(test_context_of_tenant, .profile = "small"),
                BUS_TEST(test_context_asked, .profile = "small"),
                BUS_TEST(test_transient_asked, .profile = "small"),
                BUS_TEST(test_context_used_unseen, .profile = "small"),
                BUS_TEST(test_two_at_once, .profile = "small"),
                BUS_TEST(test_pid_files, .profile = "small"),
                BUS_TEST(test_late, .profile = "small"),
                BUS_TEST(test_late_and_refused, .profile = "small"),
                BUS_TEST(test_user, .profile = "small"),
        };

        hook_be_qemu(argc, argv);
        return bus_tests_run(argc, argv, tests);
}
