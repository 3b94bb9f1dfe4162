/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-path.h"

#include <errno.h>
#include <stdio.h>

#include "bus/bus.h"

static const char vm_prefix[] = BUS_PATH_VM "/";
static const char viommu_prefix[] = "/viommu/";

char *bus_path_of_vm(sd_id128_t uuid, char buf[static BUS_VM_PATH_SIZE]) {
        (void)snprintf(buf, BUS_VM_PATH_SIZE, "%s%s", vm_prefix, SD_ID128_TO_STRING(uuid));
        return buf;
}

char *bus_path_of_viommu(sd_id128_t uuid, uint32_t host_iommu,
                         char buf[static BUS_VIOMMU_PATH_SIZE]) {
        (void)snprintf(buf, BUS_VIOMMU_PATH_SIZE, "%s%s%s%u", vm_prefix, SD_ID128_TO_STRING(uuid),
                       viommu_prefix, host_iommu);
        return buf;
}

/* A plain decimal number without leading zeros, to the end of the string. */
static int parse_index(const char *s, uint32_t *ret) {
        uint32_t v = 0;

        if (!*s || (s[0] == '0' && s[1]))
                return -ENOENT;
        for (; *s; s++)
                if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, UINT32_C(10), &v) ||
                    __builtin_add_overflow(v, (uint32_t)(*s - '0'), &v))
                        return -ENOENT;
        *ret = v;
        return 0;
}

int bus_path_parse_vm(const char *path, sd_id128_t *ret_uuid, uint32_t *ret_host_iommu) {
        char digits[33] = "";
        const char *rest;

        if (!path || strncmp(path, vm_prefix, sizeof(vm_prefix) - 1) != 0)
                return -ENOENT;
        path += sizeof(vm_prefix) - 1;
        if (strspn(path, "0123456789abcdef") != 32 || (path[32] != '\0' && path[32] != '/'))
                return -ENOENT;
        memcpy(digits, path, 32);
        if (sd_id128_from_string(digits, ret_uuid) < 0)
                return -ENOENT;
        if (!ret_host_iommu)
                return 0;

        rest = path + 32;
        if (strncmp(rest, viommu_prefix, sizeof(viommu_prefix) - 1) != 0)
                return -ENOENT;
        return parse_index(rest + sizeof(viommu_prefix) - 1, ret_host_iommu);
}

bool bus_path_is_vm(const char *path) {
        return strlen(path) == BUS_VM_PATH_SIZE - 1;
}
