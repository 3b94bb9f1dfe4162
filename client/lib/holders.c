/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "lib/directory.h"

/* A descriptor of a process. */
typedef struct ForeignFd {
        pid_t pid;
        unsigned fd;
} ForeignFd;

typedef struct ForeignFds {
        ForeignFd *items;
        size_t n;
} ForeignFds;

static const char *const kinds[] = {
        [HOLDER_DAEMON] = "daemon",   [HOLDER_SERVICE_MANAGER] = "service-manager",
        [HOLDER_GRANTED] = "granted", [HOLDER_OTHER] = "other",
        [HOLDER_UNKNOWN] = "unknown",
};

const char *holder_kind_to_string(HolderKind kind) {
        return kinds[kind];
}

HolderKind holder_decide(const Holder *holder, pid_t daemon, pid_t service_manager) {
        if (holder->pid == daemon)
                return HOLDER_DAEMON;
        if (holder->pid == service_manager)
                return HOLDER_SERVICE_MANAGER;
        if (holder->n_granted + holder->n_unclear < holder->n_open)
                return HOLDER_OTHER;
        return holder->n_unclear > 0 ? HOLDER_UNKNOWN : HOLDER_GRANTED;
}

static int number_of(const char *name, unsigned *ret) {
        unsigned n = 0;

        for (const char *p = name; *p; p++) {
                if (*p < '0' || *p > '9' || n > (UINT32_MAX - 9) / 10)
                        return -EINVAL;
                n = n * 10 + (unsigned)(*p - '0');
        }
        *ret = n;
        return *name ? 0 : -EINVAL;
}

/* Whether a descriptor is open on the node: by its name, or, in another mount namespace, by its numbers. Nothing is opened by
 * that, and no file server is asked. */
static bool is_node(int dir_fd, const char *fd, const HolderScope *scope) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(dir_fd, fd, target, sizeof(target));
        struct statx st;

        if (n == (ssize_t)strlen(scope->node) && memcmp(target, scope->node, (size_t)n) == 0)
                return true;
        return scope->device != 0 &&
               statx(dir_fd, fd, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) >= 0 &&
               S_ISCHR(st.stx_mode) &&
               makedev(st.stx_rdev_major, st.stx_rdev_minor) == scope->device;
}

/* The descriptors of @pid that are open on the node. Returns 0 or a negative errno. */
static int read_fds(const HolderScope *scope, pid_t pid, ForeignFds *ret) {
        _cleanup_(directory_closep) DIR *dir = NULL;
        const struct dirent *e;
        char path[32];
        int r;

        (void)snprintf(path, sizeof(path), "%i/fd", pid);
        r = directory_open(scope->proc_fd, path, &dir);
        while (r >= 0 && (errno = 0, e = readdir(dir))) {
                ForeignFd fd = { .pid = pid };
                ForeignFd *grown;

                if (number_of(e->d_name, &fd.fd) < 0 ||
                    !is_node(directory_fd(dir), e->d_name, scope))
                        continue;
                grown = reallocarray(ret->items, ret->n + 1, sizeof(ForeignFd));
                if (!grown)
                        r = -ENOMEM;
                else {
                        ret->items = grown;
                        grown[ret->n++] = fd;
                }
        }
        return r >= 0 && errno > 0 ? -errno : r;
}

/* 0: the same open file; 1 and 2: before and after, in an order of the kernel's own; a negative errno. */
static int compare_open_files(const ForeignFd *a, const ForeignFd *b) {
        long r = syscall(SYS_kcmp, a->pid, b->pid, KCMP_FILE, (unsigned long)a->fd,
                         (unsigned long)b->fd);

        return r < 0 ? -errno : (int)r;
}

static int compare_for_order(const void *a, const void *b) {
        int r = compare_open_files(a, b);

        return r == 1 ? -1 : r == 2 ? 1 : 0;
}

/* Whether one of @granted, which are in order, is the same open file. Returns 1, 0, or a negative errno. */
static int is_granted(const ForeignFds *granted, const ForeignFd *fd) {
        size_t low = 0, high = granted->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int r = compare_open_files(fd, &granted->items[middle]);

                if (r < 0)
                        return r;
                if (r == 0)
                        return 1;
                if (r == 1)
                        high = middle;
                else
                        low = middle + 1;
        }
        return 0;
}

/* Whether it was closed meanwhile: the same errors come of one in the daemon that it was compared with. */
static bool is_closed(const ForeignFd *fd) {
        int r = compare_open_files(fd, fd);

        return r == -EBADF || r == -ESRCH;
}

static void read_process(int proc_fd, Holder *h) {
        _cleanup_close_ int fd = -1;
        char path[32];
        struct stat st;
        ssize_t n;

        (void)snprintf(path, sizeof(path), "%i", h->pid);
        if (fstatat(proc_fd, path, &st, 0) >= 0)
                h->uid = st.st_uid;
        (void)snprintf(path, sizeof(path), "%i/comm", h->pid);
        fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, h->command, sizeof(h->command) - 1);
        h->command[n < 0 ? 0 : n] = '\0';
        h->command[strcspn(h->command, "\n")] = '\0';
}

static int add_holder(HolderScan *s, const HolderScope *scope, pid_t pid, const ForeignFds *fds,
                      const ForeignFds *granted) {
        Holder h = { .pid = pid, .n_open = (unsigned)fds->n }, *grown;

        for (size_t i = 0; i < fds->n; i++) {
                int r = is_granted(granted, &fds->items[i]);

                if ((r == -EBADF || r == -ESRCH) && is_closed(&fds->items[i]))
                        h.n_open--;
                else if (r < 0)
                        h.n_unclear++;
                else
                        h.n_granted += (unsigned)r;
        }
        if (h.n_open == 0)
                return 0;
        read_process(scope->proc_fd, &h);
        h.kind = holder_decide(&h, scope->daemon, scope->service_manager);
        grown = reallocarray(s->items, s->n + 1, sizeof(Holder));
        if (!grown)
                return -ENOMEM;
        s->items = grown;
        grown[s->n++] = h;
        return 0;
}

static int compare_holders(const void *a, const void *b) {
        const Holder *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

static int scan_process(HolderScan *s, const HolderScope *scope, pid_t pid,
                        const ForeignFds *granted) {
        ForeignFds fds = {};
        int r;

        r = read_fds(scope, pid, &fds);
        if (r == -EACCES || r == -EPERM) {
                s->n_unread++;
                r = 0;
        } else if (r == -ENOENT || r == -ESRCH)
                r = 0;
        else if (r >= 0 && fds.n > 0)
                r = add_holder(s, scope, pid, &fds, granted);
        free(fds.items);
        return r;
}

int holders_scan(const HolderScope *scope, HolderScan *ret) {
        _cleanup_(directory_closep) DIR *proc = NULL;
        ForeignFds granted = {};
        const struct dirent *e;
        int r;

        /* Where these cannot be read, nor can be compared with them: that is said of each holder. */
        if (scope->daemon > 0)
                (void)read_fds(scope, scope->daemon, &granted);
        if (scope->service_manager > 0 && scope->service_manager != scope->daemon)
                (void)read_fds(scope, scope->service_manager, &granted);
        if (granted.n > 0)
                qsort(granted.items, granted.n, sizeof(ForeignFd), compare_for_order);

        r = directory_open(scope->proc_fd, ".", &proc);
        while (r >= 0 && proc && (e = readdir(proc))) {
                unsigned pid;

                if (number_of(e->d_name, &pid) >= 0 && pid > 0 && pid <= INT32_MAX)
                        r = scan_process(ret, scope, (pid_t)pid, &granted);
        }
        free(granted.items);
        if (ret->n > 0)
                qsort(ret->items, ret->n, sizeof(Holder), compare_holders);
        return r;
}

void holder_scan_done(HolderScan *s) {
        free(s->items);
        *s = (HolderScan){};
}
