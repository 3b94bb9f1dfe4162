/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's configuration: one section [Manager] of an ini file, strict: what is not known is an error. */

#include "base/problem.h"

typedef struct Config {
        bool allow_plumbing;             /* admit the hardware tier at kernel level "plumbing" */
        uint64_t admission_timeout_usec; /* for a VM to get its leash */
        uint64_t detach_timeout_usec;    /* for a VMM to close a function that is detached */
        uint64_t max_vms;
        uint64_t max_functions_per_vm;
        uint64_t max_mappings_per_vm;
        uint64_t max_operations_per_caller;
        uint64_t max_operations_per_vm; /* waiting behind the one in flight */
        uint64_t max_prepared_contexts;
        uint64_t max_descriptors;     /* kept for VMs, at most what the service manager keeps */
        uint64_t instances_per_iommu; /* capacity of each host IOMMU; 65535 at most */
        uint64_t contiguous_memory_per_node_percent;
        uint64_t default_guest_domains;   /* a vIOMMU */
        uint64_t domain_ids_reserved;     /* kept back for the host's own DMA domains */
        uint64_t pinned_memory_percent;   /* of the host's memory */
        uint64_t hotplug_devids_reserved; /* a segment: device ids kept back for hot plug */
        uint64_t workers;                 /* threads for kernel calls */
} Config;

/* The defaults, as documented in aviommud.conf(5). */
void config_init(Config *config);

/* Reads @path over @config. A missing file is -ENOENT. On a bad key or value: -EINVAL with reterr_problem naming file and
 * line, and @config is unchanged. */
int config_read_file(Config *config, const char *path, Problem *reterr_problem);
