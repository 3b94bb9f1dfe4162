/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Taking a context down in the kernel's order: detach, vDEVICEs, vIOMMUs, nest parent, mappings, IOAS, cdevs, iommufd.
 *
 * A VMM that held the iommufd may have made objects of its own on it, whose ids nobody told us, and which keep ours busy.
 * iommufd ids are dense, so they are found by asking, and destroyed leaf first by trying until nothing more gives way.
 * That is done only when the VM is being taken down for good.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/fd-util.h"
#include "vm/context.h"
#include "vm/kernel-refusal.h"

#define SWEEP_GAP    UINT32_C(256)   /* this many free ids in a row are the end */
#define SWEEP_MAX    UINT32_C(65536) /* more is no VM's: something answers wrongly */
#define SWEEP_PASSES 16

/* Destroys one object; an id that is gone already (somebody else destroyed it, or a tombstone) counts as done. */
static int destroy(Kernel *k, int iommufd, uint32_t *id) {
        int r;

        if (*id == 0)
                return 0;
        r = k->ops->object_destroy(k, iommufd, *id);
        if (r < 0 && r != -ENOENT)
                return r;
        *id = 0;
        return 0;
}

int context_unrealize_viommu(Kernel *k, VmContext *ctx, ContextViommu *v, Problem *reterr_problem) {
        char subject[48];
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].host_iommu == v->host_iommu)
                        RET_GATHER(r, destroy(k, ctx->iommufd, &ctx->functions[i].vdevice_id));
        if (r >= 0)
                r = destroy(k, ctx->iommufd, &v->viommu_id);
        if (r < 0) {
                (void)snprintf(subject, sizeof(subject), "The vIOMMU on ivhd%u", v->host_iommu);
                return kernel_refusal(reterr_problem, STEP_DESTROY, subject, r);
        }
        v->vfmmio_offset = 0;
        return 0;
}

/* Whether an id is taken, or may be: only "not there" is a no. */
static bool may_exist(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t id) {
        return k->ops->object_probe(k, iommufd, kind, id) != -ENOENT;
}

/* Binds a function to a scratch iommufd, which works only when nobody else has it bound. That resets it: it has been taken
 * from the VM, so it is idle or refuses. Returns 0 free, -EBUSY held, -ENOENT when there is no node to ask through. */
static int probe_binding(Kernel *k, const ContextFunction *f) {
        _cleanup_close_ int iommufd = -1, cdev = -1;
        uint32_t device_id;
        int r;

        if (k->ops->cdev_open(k, &f->address, &cdev) < 0 || k->ops->iommufd_open(k, &iommufd) < 0)
                return -ENOENT;
        r = k->ops->cdev_bind(k, cdev, iommufd, f->has_vf_token ? f->vf_token : NULL, &device_id);
        cdev = fd_close(cdev); /* before the iommufd */
        return r < 0 ? -EBUSY : 0;
}

/* A VMM that binds by itself tells nobody the device ids, so the function itself is asked. One that has left vfio-pci cannot
 * be asked; then the number of the VMM's devices tells whether it can be among them. */
static int check_vmm_let_go(Kernel *k, const VmContext *ctx, const ContextFunction *f, Problem *p) {
        size_t n_devices = 0;
        int r;

        if (ctx->handover != HANDOVER_VMM)
                return 0;

        r = probe_binding(k, f);
        for (uint32_t id = 1, gap = 0;
             r == -ENOENT && ctx->iommufd >= 0 && gap < SWEEP_GAP && id < SWEEP_MAX; id++, gap++)
                if (may_exist(k, ctx->iommufd, KERNEL_OBJECT_ANY, id)) {
                        gap = 0;
                        n_devices += may_exist(k, ctx->iommufd, KERNEL_OBJECT_DEVICE, id);
                }
        if (r == -EBUSY || n_devices >= ctx->n_functions)
                return problem_set(p, PROBLEM_BUSY, "%s is still held by the VMM: unplug it there.",
                                   PCI_ADDRESS_STRING(&f->address));
        return 0;
}

int context_unrealize_function(Kernel *k, VmContext *ctx, ContextFunction *f,
                               Problem *reterr_problem) {
        const char *address = PCI_ADDRESS_STRING(&f->address);
        int r;

        if (ctx->handover != HANDOVER_DAEMON)
                return check_vmm_let_go(k, ctx, f, reterr_problem);

        r = destroy(k, ctx->iommufd, &f->vdevice_id);
        if (r < 0)
                return kernel_refusal(reterr_problem, STEP_DESTROY, address, r);

        if (f->cdev >= 0) {
                if (f->attached)
                        (void)k->ops->cdev_detach(k, f->cdev); /* closing detaches as well */
                f->cdev = fd_close(f->cdev);
                f->unplug_fd = fd_close(f->unplug_fd);
        }
        f->attached = false;

        /* Whether that was the last descriptor of it shows in the iommufd. */
        if (f->device_id != 0) {
                r = k->ops->object_probe(k, ctx->iommufd, KERNEL_OBJECT_DEVICE, f->device_id);
                if (r != -ENOENT)
                        return problem_set(
                                reterr_problem, PROBLEM_BUSY,
                                "%s is still held by the VMM: it has to close its VFIO descriptor.",
                                address);
        }
        f->device_id = 0;
        return 0;
}

int context_unmap(Kernel *k, VmContext *ctx, uint64_t iova, uint64_t length,
                  Problem *reterr_problem) {
        ContextMapping *m = context_find_mapping(ctx, iova, length);
        char subject[24];
        int r;

        (void)snprintf(subject, sizeof(subject), "0x%" PRIx64, iova);
        r = m ? k->ops->ioas_unmap(k, ctx->iommufd, ctx->ioas_id, iova, length) : -ENOENT;
        if (r < 0)
                return kernel_refusal(reterr_problem, STEP_UNMAP, subject, r);

        *m = ctx->mappings[--ctx->n_mappings];
        ctx->mapped_bytes -= length;
        return 0;
}

/* Destroys all that gives way. Returns how many objects are left. */
static size_t sweep(Kernel *k, int iommufd) {
        size_t left = 0;

        for (unsigned pass = 0; pass < SWEEP_PASSES; pass++) {
                size_t n_destroyed = 0;
                uint32_t highest = 0;

                left = 0;
                for (uint32_t id = 1; id <= highest + SWEEP_GAP && id < SWEEP_MAX; id++)
                        if (may_exist(k, iommufd, KERNEL_OBJECT_ANY, id))
                                highest = id;
                for (uint32_t id = highest; id > 0; id--) {
                        int r = k->ops->object_destroy(k, iommufd, id);

                        n_destroyed += r == 0;
                        left += r < 0 && r != -ENOENT;
                }
                if (left == 0 || n_destroyed == 0)
                        break;
        }
        return left;
}

/* The objects that are listed, in order. */
static int teardown_listed(Kernel *k, VmContext *ctx, Problem *p) {
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].cdev >= 0 && ctx->functions[i].attached) {
                        (void)k->ops->cdev_detach(k, ctx->functions[i].cdev);
                        ctx->functions[i].attached = false;
                }
        for (size_t i = 0; i < ctx->n_functions; i++)
                RET_GATHER(r, destroy(k, ctx->iommufd, &ctx->functions[i].vdevice_id));
        for (size_t i = 0; i < ctx->n_viommus; i++)
                RET_GATHER(r, context_unrealize_viommu(k, ctx, ctx->viommus + i,
                                                       problem_is_set(p) ? NULL : p));
        RET_GATHER(r, destroy(k, ctx->iommufd, &ctx->hwpt_id));
        while (ctx->n_mappings > 0) {
                const ContextMapping *m = ctx->mappings + --ctx->n_mappings;

                (void)k->ops->ioas_unmap(k, ctx->iommufd, ctx->ioas_id, m->iova, m->length);
        }
        ctx->mapped_bytes = 0;
        RET_GATHER(r, destroy(k, ctx->iommufd, &ctx->ioas_id));
        return r;
}

/* Closes the cdevs and looks whether a function is held by somebody else. */
static int release_functions(Kernel *k, VmContext *ctx, Problem *p) {
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions; i++) {
                ctx->functions[i].cdev = fd_close(ctx->functions[i].cdev);
                ctx->functions[i].unplug_fd = fd_close(ctx->functions[i].unplug_fd);
        }
        for (size_t i = 0; i < ctx->n_functions && ctx->handover == HANDOVER_DAEMON; i++)
                RET_GATHER(r, context_unrealize_function(k, ctx, ctx->functions + i,
                                                         problem_is_set(p) ? NULL : p));
        return r;
}

int context_teardown(Kernel *k, VmContext *ctx, Problem *reterr_problem) {
        Problem p = {};
        size_t left = 0;
        int r;

        if (ctx->iommufd < 0)
                return 0;

        r = teardown_listed(k, ctx, &p);
        RET_GATHER(r, release_functions(k, ctx, &p));
        if (r < 0 || ctx->shared) {
                left = sweep(k, ctx->iommufd);
                if (left == 0) {
                        /* Nothing is there any more, so nothing that is listed is either. */
                        for (size_t i = 0; i < ctx->n_functions; i++)
                                ctx->functions[i].device_id = ctx->functions[i].vdevice_id = 0;
                        for (size_t i = 0; i < ctx->n_viommus; i++)
                                ctx->viommus[i].viommu_id = 0;
                        ctx->hwpt_id = ctx->ioas_id = 0;
                }
        }

        /* Nobody else ever had a descriptor: closing ours is the end of all of it. */
        if (left > 0 && ctx->shared) {
                if (!problem_is_set(&p))
                        (void)problem_set(&p, PROBLEM_BUSY,
                                          "%zu kernel object(s) of the VM are still in use by "
                                          "another process that holds "
                                          "its functions or a VF MMIO page.",
                                          left);
                if (reterr_problem)
                        *reterr_problem = p;
                return -EBUSY;
        }

        ctx->iommufd = fd_close(ctx->iommufd);
        return 0;
}
