/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Object paths of VMs and vIOMMUs, to and fro. Pure. */

#include <systemd/sd-id128.h>

#include "base/macro.h"

#define BUS_VM_PATH_SIZE     sizeof("/org/aviommu1/vm/0123456789abcdef0123456789abcdef")
#define BUS_VIOMMU_PATH_SIZE (BUS_VM_PATH_SIZE + sizeof("/viommu/4294967295"))

char *bus_path_of_vm(sd_id128_t uuid, char buf[static BUS_VM_PATH_SIZE]);
char *bus_path_of_viommu(sd_id128_t uuid, uint32_t host_iommu,
                         char buf[static BUS_VIOMMU_PATH_SIZE]);

#define BUS_VM_PATH(uuid)        bus_path_of_vm((uuid), (char[BUS_VM_PATH_SIZE]){})
#define BUS_VIOMMU_PATH(uuid, n) bus_path_of_viommu((uuid), (n), (char[BUS_VIOMMU_PATH_SIZE]){})

/* Parses the path of a VM, or with @ret_host_iommu that of a vIOMMU. In the first case what follows the VM's part is left to
 * the caller: a "/" or the end. Returns 0 or -ENOENT. */
int bus_path_parse_vm(const char *path, sd_id128_t *ret_uuid, uint32_t *ret_host_iommu);

/* Whether the path is that of a VM itself, nothing below it. */
bool bus_path_is_vm(const char *path);
