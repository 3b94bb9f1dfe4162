/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The context of a VM in the kernel: one iommufd with its IOAS, nest parent, functions, vIOMMUs and vDEVICEs.
 *
 * VmContext is plain data that can be copied. What is wanted (functions, vIOMMUs) and what exists (object ids,
 * descriptors) stand side by side; an id of 0 or a descriptor of -1 means "not there". The procedures below run on a
 * worker, on a copy that nobody else touches; the event loop takes the copy over when they are done.
 *
 * Order of building: iommufd, IOAS, bind, nest parent, attach, vIOMMU, vDEVICE. Order of taking down: the reverse. Each
 * step is idempotent, so both can be repeated after a failure.
 */

#include <stdatomic.h>

#include "base/problem.h"
#include "kernel/kernel.h"
#include "vm/vm-types.h"

typedef struct ContextFunction {
        PciAddress address;
        uint32_t host_iommu; /* index, KERNEL_NONE outside handovers that need one */
        uint32_t group;
        GuestDeviceId guest_id; /* hardware tier */
        bool has_vf_token;
        uint8_t vf_token[16];
        bool managed;  /* libvirt binds it to vfio-pci */
        bool pending;  /* being attached by the operation in flight */
        bool draining; /* being detached, or detached and not shown to be gone */

        int cdev; /* the daemon's own, until ConfirmContext */
        int unplug_fd; /* eventfd that the kernel signals when the host wants the function back; goes with cdev */
        bool handed_over;
        bool attached;
        uint32_t device_id, vdevice_id;
        uint32_t stored; /* the number of cdev in the fd store, 0: it is not there */
} ContextFunction;

typedef struct ContextViommu {
        uint32_t host_iommu;
        uint32_t segment, numa_node; /* where its charges lie */
        uint32_t viommu_id;
        uint64_t vfmmio_offset;
        bool pending, draining; /* being made, being destroyed by the operation in flight */
} ContextViommu;

typedef struct ContextMapping {
        uint64_t iova, length; /* bytes */
        bool pending, draining;
} ContextMapping;

typedef struct VmContext {
        VmTier tier;
        VmHandover handover;
        bool shared; /* the iommufd has been given to somebody: there may be objects that are not listed here */
        bool confirmed;  /* ConfirmContext */
        bool confirming; /* its descriptors are being given up */
        int iommufd;
        uint32_t iommufd_stored; /* its number in the fd store, 0: it is not there */
        uint32_t ioas_id, hwpt_id;
        ContextFunction *functions;
        size_t n_functions;
        ContextViommu *viommus;
        size_t n_viommus;
        ContextMapping *mappings;
        size_t n_mappings;
        uint64_t mapped_bytes;
} VmContext;

void context_init(VmContext *ctx, VmTier tier, VmHandover handover);

/* Frees the lists. Descriptors are not closed: they belong to whichever copy is the current one. */
void context_done(VmContext *ctx);

/* Closes every descriptor in @ctx, and no more: for the last copy of a context that is given up. */
void context_close(VmContext *ctx);

/* Deep copy of the lists; descriptors and ids are the same numbers. Returns 0 or -ENOMEM. */
int context_copy(const VmContext *ctx, VmContext *ret);

int context_add_function(VmContext *ctx, const ContextFunction *function);
void context_remove_function(VmContext *ctx, size_t i);
ContextFunction *context_find_function(const VmContext *ctx, const PciAddress *address);

int context_add_viommu(VmContext *ctx, const ContextViommu *viommu);
void context_remove_viommu(VmContext *ctx, uint32_t host_iommu);
ContextViommu *context_find_viommu(const VmContext *ctx, uint32_t host_iommu);

/* Whether a vIOMMU of the daemon's has no function behind it: it is in nobody's way to be destroyed. One that a VMM makes is its own matter. */
bool context_viommu_is_unused(const VmContext *ctx, const ContextViommu *v);

/* Lists a mapping as pending. Returns 0, -EEXIST when it overlaps one that is listed, -ENOMEM. */
int context_add_mapping(VmContext *ctx, uint64_t iova, uint64_t length);
ContextMapping *context_find_mapping(const VmContext *ctx, uint64_t iova, uint64_t length);

/* What was pending is there: the operation that made it has succeeded. */
void context_settle(VmContext *ctx);

/* ---- procedures, on a worker ---- */

/* Makes whatever is wanted and not there yet. Stops between two kernel requests when *cancelled becomes true
 * (-ECANCELED). On failure what was made stays listed in @ctx for the caller to take down.
 * Returns 0 or a negative errno with reterr_problem. */
int context_realize(Kernel *k, VmContext *ctx, const atomic_bool *cancelled,
                    Problem *reterr_problem);

/* Takes a function out of the kernel: vDEVICE, attachment, descriptor. A function that has been handed over is gone
 * once its device object is; until then -EBUSY. Returns 0 when it is gone. */
int context_unrealize_function(Kernel *k, VmContext *ctx, ContextFunction *f,
                               Problem *reterr_problem);

/* Takes a vIOMMU and the vDEVICEs on it out of the kernel. */
int context_unrealize_viommu(Kernel *k, VmContext *ctx, ContextViommu *v, Problem *reterr_problem);

/* Maps one range, which may be listed as pending already, or unmaps one; the list follows. */
int context_map(Kernel *k, VmContext *ctx, const KernelMapping *mapping, Problem *reterr_problem);
int context_unmap(Kernel *k, VmContext *ctx, uint64_t iova, uint64_t length,
                  Problem *reterr_problem);

/* Destroys whatever is on the iommufd and not listed in @ctx: left by an operation that nobody saw the end of. Only for a
 * context that is not shared. Returns 0, or -EBUSY when something of it stays. */
int context_destroy_unlisted(Kernel *k, const VmContext *ctx);

/* Asks whether somebody else still holds a function of @ctx, and takes nothing from him. Closes the daemon's own cdevs, which
 * would hold them too. A context whose iommufd was lost is asked through its functions. Returns 0, or -EBUSY with reterr_problem. */
int context_check_let_go(Kernel *k, VmContext *ctx, Problem *reterr_problem);

/* Takes everything down and closes every descriptor. Goes on after a failure. Returns 0 when all is shown to be gone;
 * otherwise a negative errno with the reason, and the iommufd stays open for another try. */
int context_teardown(Kernel *k, VmContext *ctx, Problem *reterr_problem);
