/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Walking directories below the root that is looked at. */

#include <dirent.h>
#include <fcntl.h>

#include "base/fd-util.h"

/* Opens @path below @dir_fd. Returns 0 or a negative errno. */
static inline int directory_open(int dir_fd, const char *path, DIR **ret) {
        int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return negative_errno();
        *ret = fdopendir(fd);
        if (!*ret) {
                int r = negative_errno();

                (void)fd_close(fd);
                return r;
        }
        return 0;
}

/* Its descriptor, which stays its own. */
static inline int directory_fd(DIR *d) {
        int fd = dirfd(d);

        assert(fd >= 0); /* an open one has one */
        return fd;
}

static inline void directory_closep(DIR **d) {
        if (*d)
                (void)closedir(*d);
}
