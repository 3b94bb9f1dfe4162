/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The layout of the simulated kernel's state file: what a kernel would have in its memory, in fixed tables.
 *
 * The file is mapped shared at whatever address, so there are no pointers in it: entries name each other by index, and
 * index 0 means none (SIM_NIL). Tables are sparse; a SimPool hands out their entries. After the state, from
 * SIM_PAGES_OFFSET on, come the VF MMIO pages, the only part that is meant to be mapped by others.
 *
 * All of it is guarded by @mutex (process-shared and robust). Nothing is left half done between two ops, so a process
 * may die at any time between them.
 */

#include <pthread.h>

#include "kernel/sim/sim.h"

#define SIM_STATE_MAGIC   "aviosim"
#define SIM_STATE_VERSION 1
#define SIM_NIL           UINT32_C(0)

#define SIM_CONTEXTS_MAX  16384
#define SIM_OBJECTS_MAX   262144
#define SIM_OBJECT_HASH   131072
#define SIM_MAPPINGS_MAX  65536
#define SIM_CDEVS_MAX     16384
#define SIM_FUNCTIONS_MAX 8192
#define SIM_FUNCTION_HASH 16384
#define SIM_GROUPS_MAX    16384 /* group numbers are indices, so 0 is a group here */
#define SIM_IOMMUS_MAX    32
#define SIM_SEGMENTS_MAX  32
#define SIM_NODES_MAX     16
#define SIM_PAGES_MAX     65536
#define SIM_FAULTS_MAX    16
#define SIM_OPS_MAX       32

#define SIM_INSTANCE_BYTES (UINT64_C(3) << 19) /* 1.5 MiB: device-id and domain-id tables */

/* Free entries are chained through their first member, which is also the chain of whatever list they are on when in
 * use; entries from @high on have never been used. */
typedef struct SimPool {
        uint32_t free_head, high, used;
} SimPool;

typedef enum SimObjectType {
        SIM_OBJECT_FREE,
        SIM_OBJECT_DEVICE,
        SIM_OBJECT_IOAS,
        SIM_OBJECT_HWPT,
        SIM_OBJECT_VIOMMU,
        SIM_OBJECT_VDEVICE,
        SIM_OBJECT_TOMBSTONE, /* an id that stays unusable: no object can be looked up under it */
        _SIM_OBJECT_TYPE_MAX,
} SimObjectType;

typedef struct SimObject {
        uint32_t hash_next;
        uint32_t type; /* SimObjectType */
        uint32_t context, id;
        uint32_t chain_next, chain_previous; /* objects of the context, newest first */
        uint32_t users;                      /* what keeps it from being destroyed, beyond itself */
        union {
                struct {
                        uint32_t first_mapping;
                        uint32_t n_hwpts;    /* of them the mappings are pinned once */
                        uint32_t n_attached; /* functions whose reserved regions hold here */
                } ioas;
                struct {
                        uint32_t ioas;
                        bool nest_parent;
                        bool automatic; /* made by attaching to an IOAS, gone with the last detach */
                } hwpt;
                struct {
                        uint32_t cdev, vdevice;
                        bool attached;
                } device;
                struct {
                        uint32_t hwpt, iommu, segment;
                        uint32_t guest_id; /* 0: made at level nesting, holds nothing */
                        uint32_t trans_devid;
                        uint32_t page; /* entry of pages */
                        uint32_t first_vdevice;
                        SimLevel level;
                } viommu;
                struct {
                        uint32_t viommu, device, next; /* next on the same vIOMMU */
                        GuestDeviceId guest_id;
                } vdevice;
        };
} SimObject;

typedef struct SimMapping {
        uint32_t next;
        int32_t pin_error; /* negative errno with which pinning it fails, as the file is not fit for that */
        bool is_aligned; /* to pages; otherwise no page table can take it */
        uint64_t iova, length;
} SimMapping;

typedef struct SimContext {
        uint32_t next;
        bool in_use, account_process;
        uint32_t generation; /* tells descriptors of earlier users of this slot */
        uint32_t first_object, first_cdev;
        uint32_t lowest_id; /* no id below is free */
        uint32_t n_pages;
} SimContext;

/* One open file description of a function's cdev. */
typedef struct SimCdev {
        uint32_t next;
        bool in_use;
        uint32_t generation;
        uint32_t function, next_of_function;
        uint32_t context, next_of_context; /* bound to; SIM_NIL: unbound */
        uint32_t device;                   /* its DEVICE object when bound */
} SimCdev;

typedef enum SimRemoval {
        SIM_REMOVAL_NONE,
        SIM_REMOVAL_UNPLUG,
        SIM_REMOVAL_DRIVER, /* to next_driver */
} SimRemoval;

typedef struct SimFunction {
        uint32_t hash_next;
        bool in_use;
        PciFunctionInfo info; /* .group is an index of groups */
        uint32_t iommu;       /* entry of iommus, or KERNEL_NONE */
        uint32_t next_of_group;
        uint32_t first_cdev; /* open ones */
        uint32_t bound_cdev;
        bool ids_reserved; /* its requester ids are no longer given out as TransDevIDs */
        SimRemoval removal;
        char next_driver[sizeof(((PciFunctionInfo *)0)->driver)];
        bool has_vf_token;
        uint8_t vf_token[16];
} SimFunction;

typedef struct SimGroup {
        uint32_t first_function;
        uint32_t owner;      /* context that has claimed DMA */
        uint32_t n_bound;    /* functions that hold that claim */
        uint32_t hwpt;       /* that the group is attached to */
        uint32_t n_attached; /* functions of it that are */
} SimGroup;

typedef struct SimIommu {
        HostIommuInfo info;
        SimLevel level;
        uint32_t segment, node; /* entries of segments and nodes; node may be KERNEL_NONE */
        uint32_t guest_id_limit, n_guest_ids;
        uint64_t guest_ids[65536 / 64];
} SimIommu;

typedef struct SimSegment {
        uint16_t segment;
        uint32_t trans_devid_limit, n_trans_devids;
        uint64_t reserved[65536 / 64], trans_devids[65536 / 64];
} SimSegment;

typedef struct SimNode {
        NodeInfo info; /* as it is with no instance */
        uint64_t n_instances;
} SimNode;

typedef struct SimFault {
        bool any_op;
        uint32_t op;
        uint64_t countdown; /* 0: no fault here */
        int error;
} SimFault;

typedef struct SimState {
        char magic[8];
        uint32_t version;
        uint32_t size; /* of this struct */
        char boot_id[40];
        pthread_mutex_t mutex;
        bool torn; /* a process died inside an op: the state may be unsound */

        uint32_t wake_seq;   /* futex: something below has changed */
        uint32_t change_seq; /* the host has changed: watchers are to rescan */
        uint32_t n_removals; /* functions that wait for their cdevs to be closed */
        uint32_t last_generation;
        uint32_t next_reaped;      /* the context whose turn it was last */
        uint32_t first_free_group; /* where automatic group numbers start */
        uint32_t n_bound_functions;

        int32_t iommufd_error; /* negative errno of opening /dev/iommu, or 0 */
        bool has_vfio_cdev;
        uint64_t total_memory_bytes;
        uint32_t viommu_data_len;
        uint64_t host_domain_id_limit, n_host_domain_ids;
        uint64_t pinned_limit, pinned_bytes, mapped_bytes;

        uint64_t calls[SIM_OPS_MAX], delay_usec[SIM_OPS_MAX];
        SimFault faults[SIM_FAULTS_MAX];

        uint32_t n_iommus, n_segments, n_nodes;
        SimIommu iommus[SIM_IOMMUS_MAX];
        SimSegment segments[SIM_SEGMENTS_MAX];
        SimNode nodes[SIM_NODES_MAX];

        uint32_t n_objects[_SIM_OBJECT_TYPE_MAX];
        SimPool context_pool, object_pool, mapping_pool, cdev_pool, function_pool, page_pool;
        uint64_t cdev_numbers[SIM_FUNCTIONS_MAX / 64];
        uint32_t function_hash[SIM_FUNCTION_HASH];
        uint32_t object_hash[SIM_OBJECT_HASH];
        uint32_t pages[SIM_PAGES_MAX +
                       1]; /* only the pool's chain: the pages themselves come later */
        SimGroup groups[SIM_GROUPS_MAX];
        SimFunction functions[SIM_FUNCTIONS_MAX + 1];
        SimContext contexts[SIM_CONTEXTS_MAX + 1];
        SimCdev cdevs[SIM_CDEVS_MAX + 1];
        SimMapping mappings[SIM_MAPPINGS_MAX + 1];
        SimObject objects[SIM_OBJECTS_MAX + 1];
} SimState;

#define SIM_PAGES_OFFSET (UINT64_C(1) << 27)
#define SIM_FILE_SIZE    (SIM_PAGES_OFFSET + (SIM_PAGES_MAX + UINT64_C(1)) * KERNEL_VFMMIO_SIZE)

static_assert(sizeof(SimState) <= SIM_PAGES_OFFSET, "the state must end before the VF MMIO pages");
