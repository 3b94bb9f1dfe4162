/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/sim.h"

/* libFuzzer harness: a profile becomes a host that can be looked at, or is refused in words. Corpus: policy/profiles. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(kernel_freep) Kernel *k = NULL;
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        _cleanup_close_ int fd = memfd_create("profile", MFD_CLOEXEC);
        Problem problem = {};
        char path[64];

        if (fd < 0 || write(fd, data, size) != (ssize_t)size)
                return -1;

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        if (sim_kernel_new(path, -1, &k, &problem) < 0)
                assert(problem_is_set(&problem));
        else
                assert(k->ops->scan(k, NULL, 0, &s) == 0);
        return 0;
}
