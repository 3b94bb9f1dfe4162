/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <stdio.h>
#include <unistd.h>

static void read_line(int root_fd, const char *path, char *ret, size_t size) {
        Blob b;

        blob_read(root_fd, path, &b);
        if (b.error == 0 && strcspn(b.data, "\n") < size)
                (void)snprintf(ret, size, "%.*s", (int)strcspn(b.data, "\n"), b.data);
        blob_done(&b);
}

/* The file beside the kernel goes before the one in it: that takes a module. */
static void read_config(int root_fd, KernelFacts *k) {
        static const struct {
                const char *before, *after;
        } places[] = { { "boot/config-", "" },
                       { "lib/modules/", "/config" },
                       { "usr/lib/modules/", "/config" } };
        int error = 0;

        for (size_t i = 0; i < ELEMENTSOF(places) && *k->release; i++) {
                char path[sizeof(k->config_path)];

                (void)snprintf(path, sizeof(path), "/%s%s%s", places[i].before, k->release,
                               places[i].after);
                blob_read(root_fd, path + 1, &k->config);
                if (k->config.error == 0) {
                        (void)snprintf(k->config_path, sizeof(k->config_path), "%s", path);
                        return;
                }
                if (k->config.error != -ENOENT)
                        error = k->config.error;
        }
        (void)snprintf(k->config_path, sizeof(k->config_path), "/proc/config.gz");
        blob_read_gzip(root_fd, "proc/config.gz", &k->config);
        if (k->config.error < 0 && error < 0)
                k->config.error = error; /* one that is there and cannot be read tells more */
}

void gather_kernel(int root_fd, KernelFacts *ret) {
        static const char *const modules[_MODULE_MAX] = { "sys/module/iommufd",
                                                          "sys/module/vfio_pci" };
        static const struct {
                const char *module, *name;
        } parameters[N_MODULE_PARAMETERS] = {
                { "iommufd", "allow_unsafe_interrupts" },
                { "vfio_iommu_type1", "allow_unsafe_interrupts" },
                { "vfio", "enable_unsafe_noiommu_mode" },
                { "vfio_pci", "disable_denylist" },
        };

        *ret = (KernelFacts){};
        read_line(root_fd, "proc/sys/kernel/osrelease", ret->release, sizeof(ret->release));
        /* It becomes part of a path. */
        if (strchr(ret->release, '/'))
                *ret->release = '\0';
        read_config(root_fd, ret);
        blob_read(root_fd, "proc/cmdline", &ret->command_line);
        for (size_t i = 0; i < _MODULE_MAX; i++)
                ret->is_loaded[i] = faccessat(root_fd, modules[i], F_OK, 0) >= 0;
        for (size_t i = 0; i < N_MODULE_PARAMETERS; i++) {
                ModuleParameter *p = &ret->parameters[i];
                char path[128];

                *p = (ModuleParameter){ .module = parameters[i].module,
                                        .name = parameters[i].name };
                (void)snprintf(path, sizeof(path), "sys/module/%s/parameters/%s", p->module,
                               p->name);
                read_line(root_fd, path, p->value, sizeof(p->value));
        }
}
