/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the configuration file: it is taken, or refused in words with the configuration as it was. */

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was taken is within bounds, and every line of it is from this file. */
static void check_policy(const Policy *policy) {
        assert(policy->n_files == 1);
        for (size_t i = 0; i < policy->n_settings; i++)
                assert(policy->settings[i].place.file == policy->files[0] &&
                       policy->settings[i].place.line > 0 && *policy->settings[i].section);
        for (size_t i = 0; i < policy->n_tenants; i++)
                assert(tenant_is_valid(policy->tenants[i].name) &&
                       policy_find_tenant(policy, policy->tenants[i].name) == policy->tenants + i);
        for (size_t i = 0; i < policy->n_excluded; i++)
                assert(policy->excluded[i].class_mask ||
                       policy_find_excluding(policy, &policy->excluded[i].last, 0));
}

static void on_report(void *userdata, bool is_warning, const char *text) {
        assert(*text);
        *(unsigned *)userdata += !is_warning;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(config_done) Config checked = {};
        unsigned n_errors = 0;
        _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
        _cleanup_(config_done) Config config = {};
        Config before;
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
        } else {
                assert(config.workers >= 1 && config.max_vms >= 1 &&
                       config.instances_per_iommu <= 65535);
                check_policy(config.policy);
        }

        /* Who wants to hear of every error comes to the same. */
        assert(config_load(path, on_report, &n_errors, &checked, NULL) == r);
        assert((n_errors > 0) == (r < 0));
        return 0;
}
