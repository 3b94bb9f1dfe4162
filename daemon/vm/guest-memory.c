/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/guest-memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

int guest_memory_check(int fd, uint64_t offset, uint64_t length, bool writable, Problem *p) {
        struct stat st;
        int flags;

        flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        if (flags & O_PATH)
                return problem_set(p, PROBLEM_NOT_MAPPABLE,
                                   "The descriptor only names a file, and cannot be mapped: open "
                                   "it for reading and writing.");
        /* Every file of shmem (a memfd, on any tmpfs) and of hugetlbfs answers, and no other: no file system is asked before that, which
         * might be a process that does not answer. */
        if (fcntl(fd, F_GET_SEALS) < 0)
                return problem_set(p, PROBLEM_NOT_MAPPABLE,
                                   "The descriptor is no file of memory: it wants a memfd, shmem "
                                   "or hugetlbfs file.");
        if (fstat(fd, &st) < 0)
                return -errno;
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
