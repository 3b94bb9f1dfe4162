/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The descriptors that the service manager has kept from the last daemon: found by the number that a record names, taken by what the
 * record is about, and let go of when nobody has taken them.
 *
 * Belongs to the recovery (core/recover.c), which runs before the loop.
 */

#include "core/manager-private.h"

typedef struct LeftFd {
        uint32_t id;
        const char *name; /* as it is in the fd store */
        int fd;           /* -1: taken */
        bool claimed;     /* it has found its place: it stays in the fd store */
} LeftFd;

/* Zero-initialize; free with left_fds_done(). */
typedef struct LeftFds {
        Manager *m;
        StoredFd *stored;
        size_t n_stored;
        LeftFd *fds; /* with a name of ours, sorted by number */
        size_t n_fds;
        size_t n_left; /* that belong to nothing */
} LeftFds;

/* Takes all that was passed to the daemon. Returns 0 or -ENOMEM. */
int left_fds_collect(LeftFds *left, Manager *m);

/* What a record calls by that number, or NULL; not what has been taken already. Somebody else may have put something into the fd store
 * under the same number: it is the one that is what it should be. */
LeftFd *left_fds_find_iommufd(const LeftFds *left, uint32_t id);
LeftFd *left_fds_find_pidfd(const LeftFds *left, uint32_t id);
LeftFd *left_fds_find_cdev(const LeftFds *left, const ContextFunction *function);

/* Takes the descriptor, which is the caller's to close; the fd store keeps its own. NULL is fine. Returns it, or -1. */
int left_fd_claim(LeftFd *fd);

/* Closes what nobody has claimed and takes it out of the fd store, but not while there is a newer version's record, which may be about
 * any of it. Returns 0 or -ENOMEM. */
int left_fds_let_go(LeftFds *left);

void left_fds_done(LeftFds *left);
