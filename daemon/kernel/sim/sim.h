/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The simulated kernel: a host in memory behind KernelOps, for aviommud-sim, tests and benchmarks. It is never linked
 * into aviommud.
 *
 * Its whole state is one file (a memfd, or whatever the caller gives), which outlives the process as a kernel does.
 * Any number of processes may open the same state at once: each makes a Kernel of its own on it. The iommufd and cdev
 * descriptors are descriptors of that file, so they can be duplicated, sent, stored and inherited; when the last
 * duplicate and the last mapping are gone, what hung on them is taken back at the next call that can notice.
 *
 * Two things belong to a process and not to the state: the hook, and eventfds given to cdev_notify_request (register
 * them again after a restart; the real kernel keeps them until the cdev closes).
 *
 * Control calls take a Kernel made by sim_kernel_new() and nothing else, are thread-safe, and return 0 or a negative
 * errno: -ENOENT when the function, IOMMU, segment, node or op that they name does not exist.
 */

#include "base/problem.h"
#include "kernel/kernel.h"

/* ---- life ---- */

/* Opens the state behind @state_fd, or makes a new one.
 * @profile: path of a JSON profile (policy/profiles/README.md); read only when the state is new, may be NULL otherwise.
 * @state_fd: stays the caller's. -1: a new memfd. An empty file (size 0) becomes a new state, and so does one that an
 *   earlier boot of this machine left behind, for kernels do not survive a reboot.
 * Returns 0, -EINVAL (the profile or the state is no good; reterr_problem set), -ENOMEM, or what opening gave. */
int sim_kernel_new(const char *profile, int state_fd, Kernel **ret, Problem *reterr_problem);

/* The state's descriptor: the Kernel's, duplicate it to keep or pass it on. */
int sim_kernel_get_state_fd(Kernel *k);

/* ---- the host changes ---- */

/* Adds a function as hot plug does. @fn: as a scan would show it. Its group is @fn->group, or one of its own when that
 * is KERNEL_NONE; @fn->cdev is ignored. -EEXIST: the address is taken; -EINVAL: fields that cannot be; -ENOSPC. */
int sim_plug(Kernel *k, const PciFunctionInfo *fn);

/* Takes a function out. While a cdev of it is open, its holder is asked to close it (cdev_notify_request), no new cdev
 * can be opened, and the function stays in the scan, without a cdev number, until the last one is closed. */
int sim_unplug(Kernel *k, const PciAddress *function);

/* Binds @driver ("" for none). Leaving vfio-pci waits for open cdevs in the same way as sim_unplug(). */
int sim_set_driver(Kernel *k, const PciAddress *function, const char *driver);

/* Sets the VF token of a PF, without which the VFs of a PF on vfio-pci cannot be bound; NULL: a random one, which
 * nobody knows, as after vfio-pci has taken the PF. */
int sim_set_vf_token(Kernel *k, const PciAddress *function, const uint8_t token[16]);

/* What the kernel and hardware behind a host IOMMU can do; SIM_LEVEL_NONE, _NESTING and so on are the kernel levels of
 * the design. */
typedef enum SimLevel {
        SIM_LEVEL_NONE,    /* no nest parents, no vIOMMU */
        SIM_LEVEL_NESTING, /* Linux 7.3-rc7: VIOMMU_ALLOC succeeds for any type and means nothing */
        SIM_LEVEL_PLUMBING,    /* the v3 series */
        SIM_LEVEL_ACCELERATED, /* and hw queues */
        _SIM_LEVEL_MAX,
} SimLevel;

/* @iommu: HostIommuInfo.index, or KERNEL_NONE for all. What exists keeps the level it was made at. */
int sim_set_level(Kernel *k, uint32_t iommu, SimLevel level);

/* Whether /dev/iommu can be opened: 0, or the errno (positive) that iommufd_open() and scans then give. */
int sim_set_iommufd_error(Kernel *k, int error);

typedef enum SimLimit {
        SIM_LIMIT_GUEST_IDS,        /* per host IOMMU: highest Guest ID, at most 65535 */
        SIM_LIMIT_TRANS_DEVIDS,     /* per segment: how many may be out at once, at most 65536 */
        SIM_LIMIT_CONTIGUOUS_BYTES, /* per node: memory free in large blocks when no instance exists */
        SIM_LIMIT_HOST_DOMAIN_IDS, /* the host: domain ids for all HWPTs together */
        SIM_LIMIT_PINNED_BYTES,    /* the host: RLIMIT_MEMLOCK, for all mappings together */
        SIM_LIMIT_VIOMMU_DATA_LEN, /* the host: the one length of user data that is taken, 8 or 16 */
        _SIM_LIMIT_MAX,
} SimLimit;

/* @scope: index of the host IOMMU, segment or node; KERNEL_NONE for all of them, and for limits of the whole host.
 * A limit below what is in use stops new grants and takes nothing away. -EINVAL: out of range. */
int sim_set_limit(Kernel *k, SimLimit limit, uint32_t scope, uint64_t value);

/* ---- trouble to order ---- */

/* Ops are named like the members of KernelOps. NULL means any op but free, watch and watch_drain. */

/* The @nth matching call from now (1: the next) in any process fails with -@error, without doing anything. One-shot;
 * several may wait, up to 16 (-ENOSPC). */
int sim_inject_fault(Kernel *k, const char *op, uint64_t nth, int error);

/* Forgets all faults that have not fired yet. */
int sim_clear_faults(Kernel *k);

/* Every further call of @op takes @usec longer; 0 ends that. Others may call meanwhile. */
int sim_set_delay(Kernel *k, const char *op, uint64_t usec);

/* Called before and after each op of this Kernel, outside all locks; it may not return (_exit). NULL for none. The
 * caller sees to it that no op runs while it is changed. */
typedef void (*SimHook)(void *userdata, const char *op, bool before);
void sim_set_hook(Kernel *k, SimHook hook, void *userdata);

/* ---- looking ---- */

/* How often @op has been called on this state, by all processes, faults included. */
int sim_count_calls(Kernel *k, const char *op, uint64_t *ret);

/* What is in use, after everything that can be taken back has been. All members are zero once every descriptor and
 * mapping is closed. */
typedef struct SimCounters {
        uint64_t contexts, open_cdevs, bound_functions;
        uint64_t ioas, devices, hwpts, viommus, vdevices, tombstones;
        uint64_t guest_ids, trans_devids, host_domain_ids, contiguous_bytes, vf_pages;
        uint64_t mappings, mapped_bytes, pinned_bytes;
} SimCounters;

void sim_get_counters(Kernel *k, SimCounters *ret);

static inline bool sim_counters_are_zero(const SimCounters *c) {
        return memcmp(c, &(SimCounters){}, sizeof(*c)) == 0;
}
