/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the configuration file: it is taken, or refused in words with the configuration as it was. */

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
        Config before, config;
        Problem p = {};
        char path[64];
        int r;

        if (fd < 0 || write(fd, data, size) != (ssize_t)size)
                return -1;

        config_init(&before);
        memcpy(&config, &before, sizeof(config));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        r = config_read_file(&config, path, &p);
        if (r < 0) {
                assert(r == -EINVAL && problem_is_set(&p));
                assert(memcmp(&config, &before, sizeof(config)) == 0);
        } else
                assert(config.workers >= 1 && config.max_vms >= 1 &&
                       config.instances_per_iommu <= 65535);
        return 0;
}
