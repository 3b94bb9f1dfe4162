/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What vmm.c shows to world.c alone. */

#include "proof/world.h"

#include <sys/pidfd.h>

/* Bring up one VMM, and end and reap it: in the parent. */
void vmm_start(World *w, int vmm);
void vmm_reap(World *w, int vmm);

static inline int pidfd_of(pid_t pid) {
        int fd = pidfd_open(pid, 0);

        assert(fd >= 0);
        return fd;
}
