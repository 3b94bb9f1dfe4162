/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether a file can be guest memory. The kernel checks that only when a page table is there; by then it is too late. */

#include "base/problem.h"

/* A memfd, shmem or hugetlbfs file in which the range lies, opened for writing when @writable. Runs on a worker: the file may
 * be anybody's, on any file system. Returns 0 or a negative errno with reterr_problem. */
int guest_memory_check(int fd, uint64_t offset, uint64_t length, bool writable,
                       Problem *reterr_problem);
