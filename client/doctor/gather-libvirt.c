/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Versions of QEMU and libvirt, from the programs themselves: this one does not link libvirt, which takes longer to load
 * than most verbs take.
 */
#include "doctor/gather.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "lib/alloc.h"

#define RUN_TIMEOUT_USEC ((uint64_t)5000000)
#define OUTPUT_SIZE      4096

#ifndef AVIOMMU_LIBVIRT_HOOK
#error "The build has to define AVIOMMU_LIBVIRT_HOOK"
#endif

/* In the child. */
static _Noreturn void become(const char *path, int fd) {
        static const char *const environment[] = { "LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                                   NULL };
        const char *const arguments[] = { path, "--version", NULL };
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)setpgid(0, 0); /* so that all of it can be ended */
        (void)signal(SIGPIPE, SIG_DFL);
        if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0 ||
            dup2(null, STDERR_FILENO) < 0 || chdir("/") < 0)
                _exit(126);
        (void)execve(path, (char *const *)arguments, (char *const *)environment);
        _exit(127);
}

/* Reads until the end, until there is no place, or until the time is up. Returns 0 or a negative errno. */
static int take_output(int fd, char buf[static OUTPUT_SIZE]) {
        uint64_t until = now_usec() + RUN_TIMEOUT_USEC;
        size_t size = 0;

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                uint64_t now = now_usec();
                ssize_t n;

                buf[size] = '\0';
                if (size + 1 == OUTPUT_SIZE)
                        return 0;
                if (now >= until)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int)((until - now) / 1000) + 1) < 0) {
                        if (errno == EINTR)
                                continue;
                        return negative_errno();
                }
                if (!p.revents)
                        continue;
                n = read(fd, buf + size, OUTPUT_SIZE - 1 - size);
                if (n < 0 && errno != EINTR)
                        return negative_errno();
                if (n == 0)
                        return 0;
                size += (size_t)MAX(n, (ssize_t)0);
        }
}

static int run(const char *path, char buf[static OUTPUT_SIZE]) {
        _cleanup_close_ int out = -1, in = -1;
        int p[2], status = 0, r;
        pid_t pid;

        if (pipe2(p, O_CLOEXEC) < 0)
                return negative_errno();
        out = p[0];
        in = p[1];
        pid = fork();
        if (pid < 0)
                return negative_errno();
        if (pid == 0)
                become(path, in);

        in = fd_close(in);
        r = take_output(out, buf);
        /* What it has to say it has said. Before its own setpgid() the group is not there yet. */
        if (kill(-pid, SIGKILL) < 0)
                (void)kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (r < 0)
                return r;
        return WIFEXITED(status) && WEXITSTATUS(status) >= 126 ? -ENOEXEC : 0;
}

static void ask(int root_fd, const char *root, const char *const *paths, size_t n, Program *ret) {
        char output[OUTPUT_SIZE] = "";

        *ret = (Program){};
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (faccessat(root_fd, paths[i], X_OK, 0) < 0)
                        continue;
                (void)snprintf(ret->path, sizeof(ret->path), "/%s", paths[i]);
                path = alloc_printf("%s/%s", streq(root, "/") ? "" : root, paths[i]);
                ret->error = run(path, output);
                ret->output = alloc_printf("%s", output);
                return;
        }
}

static int look(int root_fd, const char *path, int mode) {
        return faccessat(root_fd, path, mode, AT_EACCESS) < 0 ? negative_errno() : 0;
}

void gather_libvirt(int root_fd, const char *root, LibvirtFacts *ret) {
        static const char *const qemu[] = { "usr/local/bin/qemu-system-x86_64",
                                            "usr/bin/qemu-system-x86_64", "usr/libexec/qemu-kvm",
                                            "usr/bin/kvm" };
        static const char *const libvirt[] = {
                "usr/local/sbin/libvirtd", "usr/local/sbin/virtqemud", "usr/sbin/libvirtd",
                "usr/sbin/virtqemud",      "usr/bin/libvirtd",         "usr/bin/virtqemud"
        };

        ask(root_fd, root, qemu, ELEMENTSOF(qemu), &ret->qemu);
        ask(root_fd, root, libvirt, ELEMENTSOF(libvirt), &ret->libvirt);
        ret->hook_error = look(root_fd, &AVIOMMU_LIBVIRT_HOOK[1], X_OK);
        ret->is_hook_hidden = look(root_fd, &AVIOMMU_LIBVIRT_HOOK[1], F_OK) == -EACCES;
}
