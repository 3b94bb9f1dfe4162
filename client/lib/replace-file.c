/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/replace-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd-util.h"

/* The mode for a file at @path. Its owner may have put anything there: only what a regular file may be is taken over. */
static mode_t wanted_mode(const char *path) {
        struct stat st;
        mode_t mask;

        if (lstat(path, &st) >= 0 && S_ISREG(st.st_mode))
                return st.st_mode & 0777;
        mask = umask(0);
        (void)umask(mask);
        return 0666 & ~mask;
}

/* A file is replaced, and another's link instead of what it shows to. A device or a pipe would be gone for everybody, and so would a
 * link as /dev/stdout is one, whatever a descriptor of ours may be. */
static bool is_replaceable(const char *path) {
        char target[sizeof("/proc/")] = "";
        struct stat st;

        if (lstat(path, &st) < 0 || S_ISREG(st.st_mode))
                return true; /* what keeps us from looking at it keeps us from writing, too */
        if (!S_ISLNK(st.st_mode))
                return false;
        if (readlink(path, target, sizeof(target) - 1) < 0 || streq(target, "/proc/"))
                return false;
        return stat(path, &st) < 0 || S_ISREG(st.st_mode);
}

static int fill(int fd, const char *text, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, text, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                text += n;
                size -= (size_t)n;
        }
        return 0;
}

int replace_file(const char *path, const char *text, size_t size, Failure *reterr) {
        _cleanup_free_ char *temporary = NULL;
        int fd, r = 0;

        if (!is_replaceable(path))
                return failure_set(reterr, CLIENT_EXIT_FAILED, -EINVAL,
                                   "A file is replaced, not written to: for anything else write to "
                                   "stdout and redirect it.",
                                   "Cannot write %s: It is not a regular file", path);
        /* Collectors read what ends as @path does: this does not. */
        if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
                return failure_set(reterr, CLIENT_EXIT_FAILED, -ENOMEM, NULL, "Not enough memory");
        fd = mkostemp(temporary, O_CLOEXEC);
        if (fd < 0)
                return failure_set(reterr, CLIENT_EXIT_FAILED, -errno,
                                   "The new file is made in the same folder: it has to be there, "
                                   "and yours to write to.",
                                   "Cannot make a file beside %s: %s", path, strerror(errno));

        r = fill(fd, text, size);
        if (r >= 0 && fchmod(fd, wanted_mode(path)) < 0)
                r = -errno;
        if (close(fd) < 0 && r >= 0)
                r = -errno;
        if (r >= 0 && rename(temporary, path) < 0)
                r = -errno;
        if (r >= 0)
                return 0;
        (void)unlink(temporary);
        return failure_set(reterr, CLIENT_EXIT_FAILED, r,
                           "What was there is as it was: see whether the disk is full (`df`).",
                           "Cannot write %s: %s", path, strerror(-r));
}
