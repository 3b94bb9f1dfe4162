/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook-run.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

/* ---- domains ---- */

static void add_hostdev(FILE *out, const char *element, const char *attributes,
                        const char *function) {
        PciAddress a = address_of(function);

        (void)fprintf(out,
                      "<%s %s managed='yes'><source><address type='pci' "
                      "domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/></source></%s>",
                      element, attributes, a.segment, a.bus, a.devfn >> 3, a.devfn & 7U, element);
}

char *domain_xml(const DomainSpec *d) {
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
                add_hostdev(out, "hostdev", "mode='subsystem' type='pci'", d->function);
        if (d->interface)
                add_hostdev(out, "interface", "type='hostdev'", d->interface);
        if (d->iommu)
                (void)fprintf(out, "<iommu model='%s'/>", d->iommu);
        (void)fprintf(out, "</devices></domain>\n");
        assert_int_equal(fclose(out), 0);
        return text;
}

const DomainSpec asking = { .tier = "virtio", .iommu = "virtio", .function = OTHER };
const DomainSpec unasking = { .function = OTHER };

/* ---- the hook ---- */

const char *file_in(const Fixture *f, const char *name) {
        static char buffers[4][160];
        static unsigned next;
        char *buffer = buffers[next++ % ELEMENTSOF(buffers)];

        (void)snprintf(buffer, sizeof(*buffers), "%s/%s", f->folder, name);
        return buffer;
}

void write_text(const char *path, const char *text) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        (void)fputs(text, file);
        assert_int_equal(fclose(file), 0);
}

void configure(Fixture *f, const char *lines) {
        _cleanup_free_ char *text = NULL;

        assert_true(asprintf(&text, "[Libvirt]\n%s\n", lines) >= 0);
        write_text(file_in(f, "libvirt.conf"), text);
}

int text_fd(const char *text) {
        int fd = memfd_create("xml", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        return fd;
}

void program_start(Fixture *f, HookRun *run, const char *program, int stdin_fd, uid_t uid,
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

void hook_start(Fixture *f, HookRun *run, int stdin_fd, uid_t uid, char **arguments) {
        program_start(f, run, HOOK, stdin_fd, uid, arguments);
}

static void read_back(int fd, char *buf, size_t size) {
        ssize_t n = pread(fd, buf, size - 1, 0);

        assert_true(n >= 0);
        buf[n] = '\0';
        (void)close(fd);
}

void hook_wait(Fixture *f, HookRun *run) {
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

void hook_begin_as(Fixture *f, HookRun *run, const DomainSpec *d, uid_t uid, const char *operation,
                   const char *suboperation, const char *extra) {
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

HookRun hook_run(Fixture *f, const DomainSpec *d, const char *operation, const char *suboperation,
                 const char *extra) {
        HookRun run;

        hook_begin_as(f, &run, d, 0, operation, suboperation, extra);
        hook_wait(f, &run);
        return run;
}

void assert_runs(HookRun run) {
        if (run.code != 0 || *run.err)
                fail_msg("exit code %i: %s", run.code, run.err);
}

void assert_says(HookRun run, int code, const char *pattern) {
        if (run.code != code || fnmatch(pattern, run.err, 0) != 0)
                fail_msg("exit code %i, not %i; or not like \"%s\": %s", run.code, code, pattern,
                         run.err);
}

void assert_vm(Fixture *f, const char *name, const char *value) {
        assert_property(f, vm_path(uuid_of(1)), "Vm", name, value);
}

/* ---- QEMU ---- */

void write_pid(Fixture *f, const char *name, const char *text) {
        _cleanup_free_ char *file = NULL;

        assert_true(asprintf(&file, "%s.pid", name) >= 0);
        write_text(file_in(f, file), text);
}

void write_pid_of(Fixture *f, pid_t pid) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%i\n", (int)pid);
        write_pid(f, NAME, text);
}

pid_t qemu_with(Fixture *f, const char *name, const char *uuid) {
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

pid_t qemu_start(Fixture *f) {
        pid_t pid = qemu_with(f, NAME, uuid_of(1));

        write_pid_of(f, pid);
        return pid;
}

void hook_be_qemu(int argc, char **argv) {
        if (argc > 1 && streq(argv[1], "-name"))
                for (;;)
                        (void)pause(); /* until it is killed */
}
