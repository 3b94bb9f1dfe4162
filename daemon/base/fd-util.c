/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fd-util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int fd_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                (void)close(fd);
                errno = saved;
        }
        return -1;
}

int fd_dup(int fd) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        return copy < 0 ? -errno : copy;
}

/* Reads the "Pid:" line that the kernel shows in the fdinfo of a pidfd, and of nothing else. */
static int pidfd_read_pid_field(int fd, int *ret_pid) {
        char path[sizeof("/proc/self/fdinfo/") + 3 * sizeof(int)], line[256];
        int pid, r = -EINVAL;
        FILE *f;

        if (fd < 0 || fcntl(fd, F_GETFD) < 0)
                return -EBADF;

        (void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%i", fd);
        f = fopen(path, "re");
        if (!f)
                return negative_errno();

        while (fgets(line, sizeof(line), f))
                if (sscanf(line, "Pid: %i", &pid) == 1) {
                        *ret_pid = pid;
                        r = 0;
                        break;
                }

        (void)fclose(f);
        return r;
}

/* Asks with waitid(2), which takes pidfds and nothing else (pidfd_send_signal(2) takes /proc/PID folders, too), and which, this way,
 * changes nothing, whoever's child the process is. */
int fd_verify_pidfd(int fd) {
        siginfo_t info;
        int pid;

        if (fd < 0)
                return -EBADF;
        if (waitid(P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG | WNOWAIT) >= 0 || errno == ECHILD)
                return 0;
        if (errno == EBADF)
                return fcntl(fd, F_GETFD) < 0 ? -EBADF : -EINVAL;

        return pidfd_read_pid_field(fd, &pid); /* it cannot be asked here */
}

int pidfd_has_ended(int pidfd, bool *ret_ended) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };
        int r;

        do
                r = poll(&p, 1, 0);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return negative_errno();
        if (p.revents & POLLNVAL)
                return -EBADF;

        *ret_ended = r > 0 && (p.revents & (POLLIN | POLLHUP));
        return 0;
}

int pidfd_reopen(int pidfd) {
        int pid, r, fd;
        bool ended;

        r = pidfd_get_pid(pidfd, &pid);
        if (r == -EREMOTE)
                return fd_dup(pidfd);
        if (r < 0)
                return r;

        fd = (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by itself */
        if (fd < 0)
                return errno == ESRCH ? -ESRCH : fd_dup(pidfd);

        /* If it has not ended until now, nobody else can have been given its number. */
        r = pidfd_has_ended(pidfd, &ended);
        if (r < 0 || ended) {
                fd_close(fd);
                return r < 0 ? r : -ESRCH;
        }
        return fd;
}

int pidfd_get_pid(int pidfd, int *ret_pid) {
        int pid, r;

        r = pidfd_read_pid_field(pidfd, &pid);
        if (r < 0)
                return r;
        if (pid == 0)
                return -EREMOTE;
        if (pid < 0)
                return -ESRCH;

        *ret_pid = pid;
        return 0;
}
