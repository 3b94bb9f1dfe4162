/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hosts for tests of deciders: a scan put together piece by piece, without any kernel. */

#include "kernel/kernel.h"

#define HOST_EFR  (EFR_GT | EFR_GIO | EFR_VIOMMU)
#define HOST_EFR2 EFR2_GCR3TRP_MODE

/* A host with nothing but /dev/iommu, /dev/vfio and @total_bytes of memory. */
HostScan *host_scan_new(uint64_t total_bytes);

/* Add one of each; what comes back can be changed. All keep the arrays sorted; the pointer holds until the next is added. */
HostIommuInfo *host_add_iommu(HostScan *scan, uint32_t index, const char *address, uint32_t node);
PciFunctionInfo *host_add_function(HostScan *scan, const char *address, uint32_t iommu,
                                   uint32_t group, const char *driver);
NodeInfo *host_add_node(HostScan *scan, uint32_t node, uint64_t total, uint64_t free_contiguous);

HostScan *host_scan_copy(const HostScan *scan);

/* Takes a function out. */
void host_remove_function(HostScan *scan, const char *address);
