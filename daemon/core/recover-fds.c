/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/recover-fds.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fd-util.h"
#include "state/fd-name.h"

static int left_fd_compare(const void *a, const void *b) {
        const LeftFd *x = a, *y = b;

        return (x->id > y->id) - (x->id < y->id);
}

int left_fds_collect(LeftFds *left, Manager *m) {
        left->m = m;
        if (m->fdstore)
                fdstore_take(m->fdstore, &left->stored, &left->n_stored);
        left->fds = new0(LeftFd, MAX(left->n_stored, (size_t)1));
        if (!left->fds)
                return -ENOMEM;
        for (size_t i = 0; i < left->n_stored; i++) {
                LeftFd *fd = left->fds + left->n_fds;

                if (fd_name_parse(left->stored[i].name, &fd->id) < 0)
                        continue;
                fd->name = left->stored[i].name;
                fd->fd = TAKE_FD(left->stored[i].fd);
                left->n_fds++;
        }
        qsort(left->fds, left->n_fds, sizeof(LeftFd), left_fd_compare);
        return 0;
}

/* ---- finding ---- */

/* Only what the kernel says of a file that is something else tells that it is: an error that says nothing decides nothing. */
static bool is_iommufd(Kernel *k, int fd) {
        int r = k->ops->object_probe(k, fd, KERNEL_OBJECT_IOAS, UINT32_MAX);

        return r != -ENOTTY && r != -EBADF && r != -EINVAL;
}

static bool is_pidfd(Kernel *k, int fd) {
        (void)k;
        return fd_verify_pidfd(fd) >= 0;
}

/* The first of those that have the same number as @fd. */
static LeftFd *first_of_number(const LeftFds *left, LeftFd *fd) {
        while (fd > left->fds && fd[-1].id == fd->id)
                fd--;
        return fd;
}

/* The first of that number, or NULL. */
static LeftFd *find_number(const LeftFds *left, uint32_t id) {
        const LeftFd wanted = { .id = id };
        LeftFd *fd = bsearch(&wanted, left->fds, left->n_fds, sizeof(LeftFd), left_fd_compare);

        return fd ? first_of_number(left, fd) : NULL;
}

static LeftFd *find(const LeftFds *left, uint32_t id, bool (*is_right)(Kernel *k, int fd)) {
        const LeftFd *end = left->fds + left->n_fds;

        for (LeftFd *fd = find_number(left, id); fd && fd < end && fd->id == id; fd++)
                if (fd->fd >= 0 && is_right(left->m->kernel, fd->fd))
                        return fd;
        return NULL;
}

LeftFd *left_fds_find_iommufd(const LeftFds *left, uint32_t id) {
        return find(left, id, is_iommufd);
}

LeftFd *left_fds_find_pidfd(const LeftFds *left, uint32_t id) {
        return find(left, id, is_pidfd);
}

/* One that is the function's for certain before one that may be, as its function is leaving the host. */
LeftFd *left_fds_find_cdev(const LeftFds *left, const ContextFunction *function) {
        const LeftFd *end = left->fds + left->n_fds;
        Kernel *k = left->m->kernel;
        LeftFd *maybe = NULL;

        for (LeftFd *fd = find_number(left, function->stored);
             fd && fd < end && fd->id == function->stored; fd++) {
                int r = fd->fd >= 0 ? k->ops->cdev_is(k, fd->fd, &function->address) : -EBADF;

                if (r >= 0)
                        return fd;
                if (r != -EBADF && r != -EXDEV && !maybe)
                        maybe = fd;
        }
        return maybe;
}

int left_fd_claim(LeftFd *fd) {
        if (!fd)
                return -1;
        fd->claimed = true;
        return TAKE_FD(fd->fd);
}

/* ---- what is left over ---- */

static bool has_newer(const Manager *m) {
        for (size_t i = 0; i < m->n_kept; i++)
                if (m->kept[i].verdict == RECORD_NEWER)
                        return true;
        return false;
}

/* A newer version's record may be about any of them: then they are kept until it is given up. */
static int keep_name(Manager *m, const char *name) {
        char **grown = reallocarray(m->kept_names, m->n_kept_names + 1, sizeof(char *));

        if (!grown)
                return -ENOMEM;
        m->kept_names = grown;
        grown[m->n_kept_names] = strdup(name);
        return grown[m->n_kept_names++] ? 0 : -ENOMEM;
}

/* A descriptor that nobody has claimed. */
static int drop_name(LeftFds *left, const char *name) {
        int r;

        left->n_left++;
        if (has_newer(left->m))
                return keep_name(left->m, name);
        r = fdstore_remove(left->m->fdstore, name);
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_DESCRIPTORS_KEPT, NULL,
                          "The service manager may keep a descriptor: %s", strerror(-r));
        return 0;
}

/* Whether one of those with the same number has found its place: what is removed by its name goes with all others of that name. */
static bool is_number_claimed(const LeftFds *left, LeftFd *fd) {
        const LeftFd *end = left->fds + left->n_fds, *l;
        uint32_t id = fd->id;

        for (l = first_of_number(left, fd); l < end && l->id == id; l++)
                if (l->claimed)
                        return true;
        return false;
}

static int drop_unclaimed(LeftFds *left) {
        size_t n_strangers = 0;
        int r = 0;

        for (size_t i = 0; i < left->n_fds; i++)
                left->fds[i].fd = fd_close(left->fds[i].fd);
        for (size_t i = 0; i < left->n_fds && r >= 0; i++)
                if (left->fds[i].claimed)
                        continue;
                else if (is_number_claimed(left, left->fds + i))
                        n_strangers++;
                else
                        r = drop_name(left, left->fds[i].name);
        if (n_strangers > 0)
                log_event(
                        LOG_WARNING, MESSAGE_DESCRIPTORS_KEPT, NULL,
                        "%zu descriptor(s) that are not the daemon's are in the fd store under the "
                        "names of its own: each stays there until its namesake goes.",
                        n_strangers);
        for (size_t i = 0; i < left->n_stored && r >= 0; i++)
                if (left->stored[i].fd >= 0) { /* no name of ours */
                        left->stored[i].fd = fd_close(left->stored[i].fd);
                        r = drop_name(left, left->stored[i].name);
                }
        return r;
}

int left_fds_let_go(LeftFds *left) {
        int r = drop_unclaimed(left);

        if (r < 0 || left->n_left == 0)
                return r;
        if (has_newer(left->m)) {
                log_event(LOG_WARNING, MESSAGE_DESCRIPTORS_KEPT, NULL,
                          "%zu descriptor(s) may belong to the newer aviommud's records, they are "
                          "kept.",
                          left->n_left);
                return 0;
        }

        log_msg(LOG_INFO, "Let go of %zu descriptor(s) that belong to nothing.", left->n_left);
        r = fdstore_barrier(left->m->fdstore);
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_DESCRIPTORS_KEPT, NULL,
                          "The service manager may keep some of them: %s", strerror(-r));
        return 0;
}

void left_fds_done(LeftFds *left) {
        for (size_t i = 0; left->fds && i < left->n_fds; i++)
                fd_close(left->fds[i].fd);
        free(left->fds);
        stored_fds_free(left->stored, left->n_stored);
        *left = (LeftFds){};
}
