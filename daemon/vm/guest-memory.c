/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/guest-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

int guest_memory_check(int fd, uint64_t offset, uint64_t length, bool writable, Problem *p) {
        struct statfs fs;
        struct stat st;
        int flags;

        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (flags & O_PATH))
                return problem_set(p, PROBLEM_NOT_MAPPABLE,
                                   "The descriptor is no file that can be mapped: it wants a "
                                   "memfd, shmem or hugetlbfs file.");
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if ((unsigned long)fs.f_type != TMPFS_MAGIC && (unsigned long)fs.f_type != HUGETLBFS_MAGIC)
                return problem_set(p, PROBLEM_NOT_MAPPABLE,
                                   "The file is on a disk or the like: it wants a memfd, shmem or "
                                   "hugetlbfs file.");
        if (writable && (flags & O_ACCMODE) != O_RDWR)
                return problem_set(p, PROBLEM_NOT_MAPPABLE,
                                   "The file is not open for reading and writing, which a writable "
                                   "mapping needs.");
        if (offset > (uint64_t)st.st_size || length > (uint64_t)st.st_size - offset)
                return problem_set_amounts(
                        p, PROBLEM_NOT_MAPPABLE, offset + length, (uint64_t)st.st_size,
                        "The file has %" PRIu64 " bytes, the range wants %" PRIu64
                        " from offset %" PRIu64 ".",
                        (uint64_t)st.st_size, length, offset);
        return 0;
}
