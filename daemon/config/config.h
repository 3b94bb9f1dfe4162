/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The configuration of the daemon, aviommud.conf(5): [Manager] in Config itself, every other section in its Policy. Strict: what is
 * not known is an error. Daemon and client read it by the same functions.
 */

#include "base/problem.h"
#include "config/policy.h"

typedef struct Config {
        bool allow_plumbing;             /* admit the hardware tier at kernel level "plumbing" */
        bool require_tenant;             /* every VM is to name one */
        uint64_t admission_timeout_usec; /* for a VM to get its leash */
        uint64_t detach_timeout_usec;    /* for a VMM to close a function that is detached */
        uint64_t max_vms;
        uint64_t max_functions_per_vm;
        uint64_t max_mappings_per_vm;
        uint64_t max_operations_per_caller;
        uint64_t max_operations_per_vm; /* waiting behind the one in flight */
        uint64_t max_prepared_contexts;
        uint64_t max_reservations_per_user; /* of those who have none of their own; not of uid 0 */
        uint64_t max_descriptors;     /* kept for VMs, at most what the service manager keeps */
        uint64_t instances_per_iommu; /* capacity of each host IOMMU; 65535 at most */
        uint64_t contiguous_memory_per_node_percent;
        uint64_t default_guest_domains;   /* a vIOMMU */
        uint64_t domain_ids_reserved;     /* kept back for the host's own DMA domains */
        uint64_t pinned_memory_percent;   /* of the host's memory */
        uint64_t hotplug_devids_reserved; /* a segment: device ids kept back for hot plug */
        uint64_t workers;                 /* threads for kernel calls */
        /* Every other section; NULL: none. A copy of the struct borrows it: config_done() is called on one of them. */
        Policy *policy;
} Config;

/* The defaults, as documented in aviommud.conf(5); no policy. */
void config_init(Config *config);

/* Frees the policy. */
void config_done(Config *config);

/* Reads the file @path alone over @config. A missing file is -ENOENT. On a bad section, key or value: -EINVAL with reterr_problem naming
 * file and line, and @config is unchanged. */
int config_read_file(Config *config, const char *path, Problem *reterr_problem);

/* Hears of everything that is wrong, in the order of the files. A warning keeps nothing from being used. */
typedef void (*ConfigReport)(void *userdata, bool is_warning, const char *text);

/* Reads a whole configuration into *ret, which the caller frees with config_done(): the defaults, and over them, if @path is a
 * folder, the main file and the drop-ins below it (config/config-files.h), "/" being where the daemon looks; else the file @path alone.
 * With @report (may be NULL) it goes on after an error to find more. Returns 0; -EINVAL with reterr_problem, the first error; what
 * opening a file gave, with reterr_problem; -ENOENT without one if there is no @path; -ENOMEM. *ret is set on success only. */
int config_load(const char *path, ConfigReport report, void *userdata, Config *ret,
                Problem *reterr_problem);

/* Calls @found for each setting in effect: first all of [Manager], with its default where @place->file is NULL, then the other
 * sections, each whole, in the order in which they were read; a [Tenant] or [User] also by itself, with @key "". */
void config_list(const Config *config,
                 void (*found)(void *userdata, const char *section, const char *key,
                               const char *value, const ConfigPlace *place),
                 void *userdata);
