/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd-util.h"

static void signals_of_interest(sigset_t *set) {
        (void)sigemptyset(set);
        (void)sigaddset(set, SIGINT);
        (void)sigaddset(set, SIGTERM);
}

int interrupt_open(void) {
        sigset_t set;
        int fd;

        signals_of_interest(&set);
        fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
                int r = -errno;

                (void)fd_close(fd);
                return r;
        }
        return fd;
}

int interrupt_read(int fd) {
        struct signalfd_siginfo si;

        if (read(fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
                return 0;
        return (int)si.ssi_signo;
}

int interrupt_close(int fd) {
        sigset_t set;

        if (fd < 0)
                return -1;
        signals_of_interest(&set);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        return fd_close(fd);
}

_Noreturn void interrupt_die(int signo) {
        struct sigaction sa = { .sa_handler = SIG_DFL };
        sigset_t set;

        (void)sigaction(signo, &sa, NULL);
        signals_of_interest(&set);
        (void)raise(signo);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        _exit(128 + signo);
}
