/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File descriptors: closing without clobbering errno, duplicating, and telling what one is. */

#include "base/macro.h"

/* Closes @fd when it is one, keeps errno. Returns -1, so that `fd = fd_close(fd)` forgets it. */
int fd_close(int fd);

static inline void fd_closep(int *fd) {
        *fd = fd_close(*fd);
}

/* Duplicates @fd with close-on-exec, above the standard descriptors. Returns the new descriptor or a negative errno. */
int fd_dup(int fd);

/* Whether @fd is a pidfd of a process that the kernel can watch.
 * Returns 0, -EBADF (not a descriptor), -EINVAL (a descriptor of something else), or, where the kernel cannot be asked for that, what
 * reading fdinfo gave. */
int fd_verify_pidfd(int fd);

/* Whether the process behind @pidfd has ended. Returns 0 or a negative errno; the answer in @ret_ended. */
int pidfd_has_ended(int pidfd, bool *ret_ended);

/* Opens a pidfd of its own for the process behind @pidfd: another open file, where a duplicate would be the same one. A process
 * that cannot be named from here (another PID namespace), or a thread, is duplicated after all.
 * Returns the new descriptor, -ESRCH (it has ended), or a negative errno. */
int pidfd_reopen(int pidfd);

/* The process id behind @pidfd as this process' PID namespace sees it, for messages only: it is never stored or used to
 * identify. Returns 0, -ESRCH (reaped), -EREMOTE (not visible from here), or a negative errno. */
int pidfd_get_pid(int pidfd, int *ret_pid);
