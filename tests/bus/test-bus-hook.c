/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * aviommu-libvirt-hook as libvirt calls it: the program itself, with a domain's XML on stdin, in the orders in which libvirt calls hooks, and with
 * what goes wrong under it.
 */

#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC   "0000:41:00.0"
#define DISK  "0000:42:00.0"
#define OTHER "0000:44:00.0" /* on the host's driver */

#define NAME "demo"
#define SEC  UINT64_C(1000000)
/* When TimeoutSec= is 1, on a machine that is busy with other things too. */
#define LIMIT_USEC (5 * SEC / 2)
#define XMLNS      "https://aviommu.org/xmlns/domain/1"
#define CONTEXT    "<iommufd enabled='yes' fdgroup='aviommu'/>"

/* ---- domains ---- */

typedef struct DomainSpec {
        const char *tier;     /* that is asked for; NULL: nothing is */
        const char *also;     /* attributes of the request */
        const char *inside;   /* elements of the request */
        const char *iommu;    /* its model; NULL: none */
        const char *function; /* a PCI hostdev; NULL: none */
        const char *extra;    /* elements of the domain */
        const char *name;     /* NULL: NAME */
        uint64_t mib;
} DomainSpec;

static void add_hostdev(FILE *out, const char *function) {
        PciAddress a = address_of(function);

        (void)fprintf(out,
                      "<hostdev mode='subsystem' type='pci' managed='yes'><source><address "
                      "domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/></source>"
                      "</hostdev>",
                      a.segment, a.bus, a.devfn >> 3, a.devfn & 7U);
}

/* As libvirt gives it, of VM uuid_of(1); free() it. */
static char *domain_xml(const DomainSpec *d) {
        size_t size;
        char *text;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        (void)fprintf(out, "<domain type='kvm' id='3'>\n<name>%s</name><uuid>%s</uuid>\n",
                      d->name ?: NAME, uuid_of(1));
        if (d->tier)
                (void)fprintf(out,
                              "<metadata><a:viommu xmlns:a='%s' tier='%s' %s>%s</a:viommu>"
                              "</metadata>\n",
                              XMLNS, d->tier, strempty(d->also), strempty(d->inside));
        (void)fprintf(out,
                      "<memory unit='MiB'>%" PRIu64 "</memory><vcpu>2</vcpu>"
                      "<os><type arch='x86_64' machine='pc-q35-10.2'>hvm</type></os>\n"
                      "<features><acpi/></features>%s<devices>",
                      d->mib ?: 256, strempty(d->extra));
        if (d->function)
                add_hostdev(out, d->function);
        if (d->iommu)
                (void)fprintf(out, "<iommu model='%s'/>", d->iommu);
        (void)fprintf(out, "</devices></domain>\n");
        assert_int_equal(fclose(out), 0);
        return text;
}

static const DomainSpec asking = { .tier = "virtio", .iommu = "virtio", .function = OTHER };
static const DomainSpec unasking = { .function = OTHER };

/* ---- the hook ---- */

typedef struct HookRun {
        pid_t pid;
        uint64_t start_usec, usec;
        int stdout_fd, stderr_fd;
        int code;
        char out[256], err[4096];
} HookRun;

static const char *file_in(const Fixture *f, const char *name) {
        static char buffers[4][160];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)];

        (void)snprintf(buffer, sizeof(*buffers), "%s/%s", f->folder, name);
        return buffer;
}

static void write_text(const char *path, const char *text) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        (void)fputs(text, file);
        assert_int_equal(fclose(file), 0);
}

/* Lines of [Libvirt] in libvirt.conf. */
static void configure(Fixture *f, const char *lines) {
        _cleanup_free_ char *text = NULL;

        assert_true(asprintf(&text, "[Libvirt]\n%s\n", lines) >= 0);
        write_text(file_in(f, "libvirt.conf"), text);
}

static int text_fd(const char *text) {
        int fd = memfd_create("xml", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        return fd;
}

/* Starts a program; NULL at the end of @arguments. @uid: 0 for oneself. */
static void program_start(Fixture *f, HookRun *run, const char *program, int stdin_fd, uid_t uid,
                          char **arguments) {
        _cleanup_close_ int hook = open(program, O_PATH | O_CLOEXEC);
        char measured[192] = "LC_CTYPE=C", folder[160];

        assert_true(hook >= 0);

        if (uid != 0) {
                /* A build that measures what is reached writes where this user may not, and would complain on stderr. */
                (void)snprintf(folder, sizeof(folder), "%s", file_in(f, "measured"));
                assert_true(mkdir(folder, 0700) == 0 || errno == EEXIST);
                assert_int_equal(chown(folder, uid, (gid_t)uid), 0);
                (void)snprintf(measured, sizeof(measured), "GCOV_PREFIX=%s", folder);
        }
        *run = (HookRun){ .start_usec = now_usec(),
                          .stdout_fd = memfd_create("out", MFD_CLOEXEC),
                          .stderr_fd = memfd_create("err", MFD_CLOEXEC) };
        run->pid = fixture_fork(f);
        if (run->pid == 0) {
                (void)dup2(stdin_fd, STDIN_FILENO);
                (void)dup2(run->stdout_fd, STDOUT_FILENO);
                (void)dup2(run->stderr_fd, STDERR_FILENO);
                if (chdir("/") < 0 || (uid != 0 && (setgid(uid) < 0 || setuid(uid) < 0)))
                        _exit(126);
                /* Not execve(), which writes too in such a build. */
                (void)fexecve(hook, arguments,
                              (char *[]){ (char[]){ "LC_ALL=C" }, measured, NULL });
                _exit(127);
        }
}

static void hook_start(Fixture *f, HookRun *run, int stdin_fd, uid_t uid, char **arguments) {
        program_start(f, run, HOOK, stdin_fd, uid, arguments);
}

static void read_back(int fd, char *buf, size_t size) {
        ssize_t n = pread(fd, buf, size - 1, 0);

        assert_true(n >= 0);
        buf[n] = '\0';
        (void)close(fd);
}

/* Waits for its end. A hook that is ended by a signal is a failure of the test. */
static void hook_wait(Fixture *f, HookRun *run) {
        siginfo_t info = {};

        wait_until(f, (waitid(P_PID, (id_t)run->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                       info.si_pid == run->pid));
        run->usec = now_usec() - run->start_usec;
        if (info.si_code != CLD_EXITED)
                fail_msg("the hook was ended by signal %i", info.si_status);
        run->code = info.si_status;
        fixture_kill(f, run->pid);
        read_back(run->stdout_fd, run->out, sizeof(run->out));
        read_back(run->stderr_fd, run->err, sizeof(run->err));
        /* What is on stdout would become the domain's XML. */
        assert_string_equal(run->out, "");
}

static void hook_begin_as(Fixture *f, HookRun *run, const DomainSpec *d, uid_t uid,
                          const char *operation, const char *suboperation, const char *extra) {
        char bus[160], config[192], run_dir[192];
        _cleanup_free_ char *xml = domain_xml(d), *name = strdup(d->name ?: NAME),
                            *operation_copy = strdup(operation),
                            *suboperation_copy = strdup(suboperation), *extra_copy = strdup(extra);
        _cleanup_close_ int fd = text_fd(xml);

        (void)snprintf(bus, sizeof(bus), "--bus=%s", f->address);
        (void)snprintf(config, sizeof(config), "--config=%s", file_in(f, "libvirt.conf"));
        (void)snprintf(run_dir, sizeof(run_dir), "--run-dir=%s", f->folder);
        hook_start(f, run, fd, uid,
                   (char *[]){ (char[]){ "hook" }, bus, config, run_dir, name, operation_copy,
                               suboperation_copy, extra_copy, NULL });
}

static HookRun hook_run(Fixture *f, const DomainSpec *d, const char *operation,
                        const char *suboperation, const char *extra) {
        HookRun run;

        hook_begin_as(f, &run, d, 0, operation, suboperation, extra);
        hook_wait(f, &run);
        return run;
}

#define PREPARE(f, d)    hook_run((f), (d), "prepare", "begin", "-")
#define STARTED(f, d)    hook_run((f), (d), "started", "begin", "-")
#define RECONNECT(f, d)  hook_run((f), (d), "reconnect", "begin", "-")
#define STOPPED(f, d)    hook_run((f), (d), "stopped", "end", "-")
#define RELEASE(f, d, r) hook_run((f), (d), "release", "end", (r))

static void assert_runs(HookRun run) {
        if (run.code != 0 || *run.err)
                fail_msg("exit code %i: %s", run.code, run.err);
}

/* @pattern: as for fnmatch(3), of the whole of stderr. */
static void assert_says(HookRun run, int code, const char *pattern) {
        if (run.code != code || fnmatch(pattern, run.err, 0) != 0)
                fail_msg("exit code %i, not %i; or not like \"%s\": %s", run.code, code, pattern,
                         run.err);
}

static void assert_vm(Fixture *f, const char *name, const char *value) {
        assert_property(f, vm_path(uuid_of(1)), "Vm", name, value);
}

/* ---- QEMU ---- */

static void write_pid(Fixture *f, const char *name, const char *text) {
        _cleanup_free_ char *file = NULL;

        assert_true(asprintf(&file, "%s.pid", name) >= 0);
        write_text(file_in(f, file), text);
}

static void write_pid_of(Fixture *f, pid_t pid) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%i\n", (int)pid);
        write_pid(f, NAME, text);
}

/* A process with the arguments of QEMU, see main(). */
static pid_t qemu_with(Fixture *f, const char *name, const char *uuid) {
        char guest[64], uuid_text[64], byte;
        int fds[2];
        pid_t pid;

        (void)snprintf(guest, sizeof(guest), "guest=%s,debug-threads=on", name);
        (void)snprintf(uuid_text, sizeof(uuid_text), "%s", strempty(uuid));
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid = fixture_fork(f);
        if (pid == 0) {
                (void)execv("/proc/self/exe",
                            (char *[]){ (char[]){ "qemu-system-x86_64" }, (char[]){ "-name" },
                                        guest, uuid ? (char[]){ "-uuid" } : NULL, uuid_text,
                                        NULL });
                _exit(127);
        }
        (void)close(fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 0); /* closed by execv() */
        (void)close(fds[0]);
        return pid;
}

static pid_t qemu_start(Fixture *f) {
        pid_t pid = qemu_with(f, NAME, uuid_of(1));

        write_pid_of(f, pid);
        return pid;
}

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

        for (int i = 0; i < 2; i++) {
                assert_runs(hook_run(f, &asking, i ? "migrate" : "restore", "begin", "-"));
                assert_vm(f, "Tier", "\"virtio\"");
                assert_runs(PREPARE(f, &asking));
                assert_vm(f, "Tier", "\"virtio\"");
                assert_runs(RELEASE(f, &asking, "failed"));
                assert_nothing_left(f);
        }
        assert_int_equal(hook_run(f, &((DomainSpec){ .tier = "hardware", .function = NIC }),
                                  "migrate", "begin", "-")
                                 .code,
                         1);
}

/* A prepared context is taken over, and stays that one. */
static void test_context(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "virtio", .iommu = "virtio", .function = OTHER, .extra = CONTEXT };
        pid_t qemu;
        int iommufd = vm_prepare(f, uuid_of(1));

        assert_runs(hook_run(f, &d, "restore", "begin", "-"));
        assert_vm(f, "Handover", "\"vmm\"");
        assert_int_equal(counter(f, "contexts"), 1);
        assert_runs(PREPARE(f, &d));
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

/* ---- refusals ---- */

static void test_refused_by_xml(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        assert_says(
                PREPARE(f, &((DomainSpec){ .tier = "emulated", .iommu = "amd", .function = NIC })),
                1, "Domain demo cannot have the vIOMMU that it asks for:\nemulated: *remap*\n");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "auto", .function = NIC })), 1,
                    "Domain demo *:\nhardware: *\nemulated: *\nvirtio: *\n");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "best", .function = NIC })), 1,
                    "The XML of domain demo *best*");
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "virtio",
                                               .iommu = "virtio",
                                               .function = NIC,
                                               .inside = "<a:function address='0000:99:00.0' "
                                                         "guest-device-id='01:00.0'/>" })),
                    1, "The XML of domain demo *0000:99:00.0*");
        assert_world(f, before);
}

static void test_refused_by_daemon(void **state) {
        static const DomainSpec absent = { .tier = "virtio",
                                           .iommu = "virtio",
                                           .function = "0000:77:00.0" },
                                half = { .tier = "virtio",
                                         .iommu = "virtio",
                                         .function = "0000:43:00.0" },
                                big = { .tier = "virtio",
                                        .iommu = "virtio",
                                        .function = NIC,
                                        .mib = UINT64_C(1) << 40 };
        static const DomainSpec *const specs[] = { &absent, &half, &big };
        static const char *const words[] = { "*:\nvirtio: *no PCI function 0000:77:00.0*",
                                             "*:\nvirtio: *group 3 with 0000:43:00.1*",
                                             "*:\nvirtio: Wanted *pinned*" };
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        for (size_t i = 0; i < ELEMENTSOF(specs); i++) {
                assert_says(PREPARE(f, specs[i]), 1, words[i]);
                /* libvirt calls these then. */
                assert_runs(STOPPED(f, specs[i]));
                assert_runs(RELEASE(f, specs[i], "failed"));
        }
        assert_world(f, before);
}

/* On whose account the domain is, and what that lets it have: a tier that the tenant may not have gives way to the next one. */
static void test_tenant(void **state) {
        Fixture *f = *state;
        DomainSpec d = {
                .tier = "virtio", .iommu = "virtio", .function = NIC, .also = "tenant='acme'"
        };

        assert_runs(PREPARE(f, &d));
        assert_vm(f, "Tenant", "\"acme\"");
        assert_runs(RELEASE(f, &d, "failed"));
        d.also = "tenant='nobody'";
        assert_says(PREPARE(f, &d), 1, "*virtio: There is no *Tenant nobody*");
        d.also = "tenant='small'";
        assert_says(PREPARE(f, &d), 1, "*virtio: Wanted 256 MiB of pinned memory more for *small*");
        assert_nothing_left(f);
}

/* What is asked for as second best. */
static void test_fallback(void **state) {
        Fixture *f = *state;
        DomainSpec d = { .tier = "emulated",
                         .inside = "<a:fallback tier='virtio'/>",
                         .iommu = "virtio",
                         .function = NIC };

        assert_says(PREPARE(f, &d), 0,
                    "Domain demo is admitted on the tier virtio, for these were passed over:\n"
                    "emulated: *is not of this tier*\n");
        assert_vm(f, "Tier", "\"virtio\"");
        assert_runs(RELEASE(f, &d, "failed"));

        d.tier = "auto";
        d.inside = NULL;
        assert_says(PREPARE(f, &d), 0,
                    "*passed over:\nhardware: *\nemulated: *is not of this tier*\n");
        assert_runs(RELEASE(f, &d, "failed"));
        d.tier = "virtio";
        assert_runs(PREPARE(f, &d));
        assert_runs(RELEASE(f, &d, "failed"));
        assert_nothing_left(f);
}

static void test_otherwise_run(void **state) {
        Fixture *f = *state;
        DomainSpec without = { .tier = "emulated", .also = "otherwise='run'", .function = NIC },
                   absent = { .tier = "virtio",
                              .also = "otherwise='run'",
                              .iommu = "virtio",
                              .function = "0000:77:00.0" };

        /* It is counted at least. */
        assert_says(PREPARE(f, &without), 0,
                    "Domain demo runs without the vIOMMU that it would like:\nemulated: *");
        assert_vm(f, "Handover", "\"none\"");
        assert_runs(RELEASE(f, &without, "failed"));

        assert_says(PREPARE(f, &absent), 0,
                    "Domain demo runs without the vIOMMU that it would like:\nvirtio: *");
        assert_nothing_left(f);
}

static void test_unasked(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        assert_runs(PREPARE(f, &unasking));
        assert_vm(f, "Tier", "\"virtio\"");
        assert_vm(f, "Handover", "\"none\"");
        assert_runs(RELEASE(f, &unasking, "failed"));

        /* What cannot be counted runs. */
        assert_says(PREPARE(f, &((DomainSpec){ .function = "0000:77:00.0" })), 0,
                    "Domain demo runs without being accounted for:\nvirtio: *");

        configure(f, "Unasked=ignore");
        assert_runs(PREPARE(f, &unasking));
        assert_int_equal(vm_count(f), 0);
        configure(f, "Unasked=refuse");
        assert_says(PREPARE(f, &unasking), 1, "*asks for no vIOMMU*Unasked=refuse*");
        assert_runs(PREPARE(f, &((DomainSpec){ .iommu = "virtio" })));
        assert_world(f, before);
}

/* Somebody else's VM of that UUID is alive: neither a start nor what libvirt says when that has failed touches it. */
static void test_alive(void **state) {
        Fixture *f = *state;
        pid_t qemu = qemu_start(f);
        int pidfd = fixture_pidfd(qemu);

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash_pidfd = pidfd);
        (void)close(pidfd);
        assert_says(PREPARE(f, &asking), 1, "*runs already*a process that is alive*");
        assert_runs(STOPPED(f, &asking));
        assert_says(RELEASE(f, &asking, "failed"), 0, "aviommud still has the VM *pidfd*");
        assert_says(RELEASE(f, &asking, "destroyed"), 0, "aviommud still has the VM *pidfd*");
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 0);

        /* Of the agent's VMs libvirt has the last word, but not by a start that failed. */
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent",
               .handover = "none");
        assert_says(RELEASE(f, &asking, "failed"), 0, "aviommud still has the VM *agent*");
        assert_int_equal(vm_count(f), 1);
        assert_runs(RELEASE(f, &asking, "shutdown"));
        assert_nothing_left(f);
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent");
        assert_says(PREPARE(f, &asking), 1, "*runs already*the agent*");
        vm_destroy_force(f, uuid_of(1));
}

/* What the agent has counted of a running domain: the hook knows better, at any time. */
static void test_counted_by_agent(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        /* Its end was not heard of yet. */
        CREATE(f, uuid_of(1), .tier = "emulated", .functions = NIC, .leash = "agent",
               .handover = "none");
        if (geteuid() == 0) {
                assert_runs(PREPARE(f, &unasking));
                assert_vm(f, "Leash", "\"none\"");
                assert_vm(f, "Tier", "\"virtio\"");
                assert_runs(RELEASE(f, &unasking, "failed"));
        } else {
                assert_says(PREPARE(f, &unasking), 0, "*runs already*the agent*");
                vm_destroy_force(f, uuid_of(1));
        }
        assert_nothing_left(f);

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash = "agent",
               .handover = "none");
        qemu = qemu_start(f);
        assert_runs(RECONNECT(f, &unasking));
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

/* Another has it, who has nothing to do with the domain. */
static void test_name_taken(void **state) {
        Fixture *f = *state;
        pid_t qemu;

        CREATE(f, uuid_of(2), .tier = "virtio", .name = NAME);
        assert_runs(PREPARE(f, &asking));
        assert_vm(f, "Name", "\"5ca1ab1e-0000-4000-8000-000000000001\"");
        assert_runs(RELEASE(f, &asking, "failed"));
        assert_runs(PREPARE(f, &unasking));
        assert_int_equal(vm_count(f), 2);
        assert_runs(RELEASE(f, &unasking, "failed"));

        qemu = qemu_start(f);
        assert_runs(STARTED(f, &asking)); /* late */
        assert_vm(f, "Leash", "\"pidfd\"");
        fixture_kill(f, qemu);
        wait_until(f, vm_count(f) == 1);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* libvirt allows them, the daemon does not, and an option must not come of one. */
static void test_odd_names(void **state) {
        static const char *const names[] = { "--help", "--config=/nowhere", " blank", "größe" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                DomainSpec d = asking;

                d.name = names[i];
                assert_runs(PREPARE(f, &d));
                assert_int_equal(vm_count(f), 1);
                assert_runs(RELEASE(f, &d, "failed"));
        }
        assert_nothing_left(f);

        /* What is not from libvirt shows as it is, unless it could steer a terminal. */
        assert_says(PREPARE(f, &((DomainSpec){ .tier = "emulated",
                                               .function = NIC,
                                               .name = "größe\xc2\x9bm" })),
                    1, "Domain größe\\\\u009bm cannot*");
}

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
                assert_runs(run_with_text(f, texts[i], "start", "begin"));
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
        assert_runs(run_with(f, fds[0], "start", "begin"));
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
                BUS_TEST(test_context_of_tenant, .profile = "small"),
                BUS_TEST(test_context_asked, .profile = "small"),
                BUS_TEST(test_transient_asked, .profile = "small"),
                BUS_TEST(test_context_used_unseen, .profile = "small"),
                BUS_TEST(test_two_at_once, .profile = "small"),
                BUS_TEST(test_refused_by_xml, .profile = "small"),
                BUS_TEST(test_refused_by_daemon, .profile = "small"),
                BUS_TEST(test_tenant,
                         .config = "[Tenant acme]\n[Tenant small]\nMaxPinnedMemory=1M\n"),
                BUS_TEST(test_fallback, .profile = "small"),
                BUS_TEST(test_otherwise_run, .profile = "small"),
                BUS_TEST(test_unasked, .profile = "small"),
                BUS_TEST(test_alive, .profile = "small"),
                BUS_TEST(test_counted_by_agent, .profile = "small"),
                BUS_TEST(test_name_taken, .profile = "small"),
                BUS_TEST(test_odd_names, .profile = "small"),
                BUS_TEST(test_down, .profile = "small", .other_exit = true),
                BUS_TEST(test_no_answer, .profile = "small"),
                BUS_TEST(test_no_answer_of_bus, .profile = "small"),
                BUS_TEST(test_no_bus, .profile = "small"),
                BUS_TEST(test_daemon_dies, .profile = "small", .fdstore_max = 64),
                BUS_TEST(test_pid_files, .profile = "small"),
                BUS_TEST(test_late, .profile = "small"),
                BUS_TEST(test_bad_xml, .profile = "small"),
                BUS_TEST(test_endless_stdin, .profile = "small"),
                BUS_TEST(test_bad_config, .profile = "small"),
                BUS_TEST(test_usage, .profile = "small"),
                BUS_TEST(test_user, .profile = "small"),
        };

        /* As QEMU of a test: until it is killed. */
        if (argc > 1 && streq(argv[1], "-name"))
                for (;;)
                        (void)pause();

        return bus_tests_run(argc, argv, tests);
}
