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
#include <time.h>

#include "base/fd-util.h"
#include "vm/context.h"
#include "vm/kernel-refusal.h"

/* The kernel gives out the lowest free id, so whoever wants objects behind a gap has to make as many as the gap is wide and
 * free them again: each takes 0.3 KiB of memory that is charged to him, all up to SWEEP_MAX 18 MiB. To ask for so many ids
 * takes some 0.1 s, and is done only where the kernel does not say that nothing is there. */
#define SWEEP_GAP    UINT32_C(256)   /* this many free ids in a row may be the end */
#define SWEEP_MAX    UINT32_C(65536) /* the end in any case */
#define SWEEP_PASSES 16

#define CLOSE_PAUSE_MAX_NSEC 128000000 /* a quarter of a second in all */

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

/* Whether a failure is for want of something of the daemon's own, and says nothing of what was asked for. */
static bool is_trouble(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EINTR || r == -EIO;
}

/* Binds a function, which works only when nobody else has it bound. That resets it: it has been taken from the VM, so it is
 * idle or refuses. It is bound to the VM's iommufd, whose the rest of its group may be still, or where that was lost to a
 * scratch one. Returns 0 free, -EBUSY held, or it could not be asked now, -ENOENT when there is no node to ask
 * through. */
static int probe_binding(Kernel *k, const VmContext *ctx, const ContextFunction *f) {
        _cleanup_close_ int scratch = -1, cdev = -1;
        uint32_t device_id;
        int r;

        r = k->ops->cdev_open(k, &f->address, &cdev);
        if (r >= 0 && ctx->iommufd < 0)
                r = k->ops->iommufd_open(k, &scratch);
        if (r < 0)
                return is_trouble(r) ? -EBUSY : -ENOENT;
        r = k->ops->cdev_bind(k, cdev, ctx->iommufd >= 0 ? ctx->iommufd : scratch,
                              f->has_vf_token ? f->vf_token : NULL, &device_id);
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

        r = probe_binding(k, ctx, f);
        for (uint32_t id = 1, gap = 0;
             r == -ENOENT && ctx->iommufd >= 0 && gap < SWEEP_GAP && id < SWEEP_MAX; id++, gap++)
                if (may_exist(k, ctx->iommufd, KERNEL_OBJECT_DEVICE, id)) {
                        gap = 0;
                        n_devices++;
                } else if (may_exist(k, ctx->iommufd, KERNEL_OBJECT_ANY, id))
                        gap = 0;
        if (r == -EBUSY || n_devices >= ctx->n_functions)
                return problem_set(p, PROBLEM_BUSY, "%s is still held by the VMM: unplug it there.",
                                   PCI_ADDRESS_STRING(&f->address));
        return 0;
}

/* Closes the daemon's descriptors of a function. Returns whether there were any. */
static bool close_function(ContextFunction *f) {
        bool was_open = f->cdev >= 0;

        f->cdev = fd_close(f->cdev);
        f->unplug_fd = fd_close(f->unplug_fd);
        return was_open;
}

/* Whether a function is bound to the iommufd still. One that was closed this moment gets a while: the service manager closes what it kept
 * in its own time, also after it has said that it has. */
static bool is_bound(Kernel *k, const VmContext *ctx, const ContextFunction *f, bool just_closed) {
        for (long pause_nsec = 1000000;; pause_nsec *= 2) {
                if (f->device_id == 0 ||
                    !may_exist(k, ctx->iommufd, KERNEL_OBJECT_DEVICE, f->device_id))
                        return false;
                if (!just_closed || pause_nsec > CLOSE_PAUSE_MAX_NSEC)
                        return true;
                (void)nanosleep(&(struct timespec){ .tv_nsec = pause_nsec }, NULL);
        }
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

        if (f->cdev >= 0 && f->attached)
                (void)k->ops->cdev_detach(k, f->cdev); /* closing detaches as well */
        f->attached = false;

        /* Whether ours was the last descriptor of it shows in the iommufd. */
        if (is_bound(k, ctx, f, close_function(f)))
                return problem_set(
                        reterr_problem, PROBLEM_BUSY,
                        "%s is still held by the VMM: it has to close its VFIO descriptor.",
                        address);
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

/* Whether the kernel says that not a single object is there. It does not where ids have become unusable (the vDEVICE of a
 * function whose cdev was closed), though nothing is under them. */
static bool is_empty(Kernel *k, int iommufd) {
        return k->ops->iommufd_account_process(k, iommufd) >= 0;
}

static bool is_listed(const VmContext *ctx, uint32_t id) {
        if (id == ctx->ioas_id || id == ctx->hwpt_id)
                return true;
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (id == ctx->functions[i].device_id || id == ctx->functions[i].vdevice_id)
                        return true;
        for (size_t i = 0; i < ctx->n_viommus; i++)
                if (id == ctx->viommus[i].viommu_id)
                        return true;
        return false;
}

/* Whether an object that does not give way may be the page table that the kernel makes of itself for functions that are attached to the IOAS: it
 * goes with the last of them, and nobody lists it. In the hardware tier all are attached to the nest parent. */
static bool may_be_automatic(Kernel *k, const VmContext *ctx, uint32_t id) {
        bool has_attached = false;

        for (size_t i = 0; i < ctx->n_functions; i++)
                has_attached |= ctx->functions[i].attached;
        return has_attached && ctx->tier != TIER_HARDWARE &&
               !may_exist(k, ctx->iommufd, KERNEL_OBJECT_DEVICE, id);
}

/* Whether the object @id, whose destruction answered @r, is a leftover. */
static bool is_left(Kernel *k, const VmContext *except, uint32_t id, int r) {
        if (r == -EBUSY && except && may_be_automatic(k, except, id))
                return false;
        return r < 0 && r != -ENOENT;
}

/* Whether the kernel tells of every object that it is there. Until 6.13 it does not, and an object shows only when it is to be destroyed. */
static bool tells_of_all(Kernel *k, int iommufd) {
        uint32_t id;
        bool tells;

        if (k->ops->ioas_alloc(k, iommufd, &id) < 0)
                return false;
        tells = may_exist(k, iommufd, KERNEL_OBJECT_ANY, id);
        (void)k->ops->object_destroy(k, iommufd, id); /* or with the others */
        return tells;
}

/* Destroys all that gives way, but what @except lists (NULL: nothing is excepted). Returns how many objects are left. */
static size_t sweep(Kernel *k, int iommufd, const VmContext *except) {
        /* What is excepted is the daemon's own, and nobody else has been there to leave gaps. */
        uint32_t gap = SWEEP_GAP, widest = except ? SWEEP_GAP : SWEEP_MAX;
        bool tells = tells_of_all(k, iommufd);
        size_t left = 0;

        for (unsigned pass = 0; pass < SWEEP_PASSES; pass++) {
                size_t n_destroyed = 0;
                uint32_t highest = 0;

                left = 0;
                for (uint32_t id = 1; id <= highest + gap && id < SWEEP_MAX; id++) {
                        int r = -EBUSY;

                        if (tells)
                                r = may_exist(k, iommufd, KERNEL_OBJECT_ANY, id) ? -EBUSY : -ENOENT;
                        else if (!except || !is_listed(except, id))
                                r = k->ops->object_destroy(k, iommufd, id);
                        n_destroyed += r == 0;
                        if (r != -ENOENT)
                                highest = id;
                }
                for (uint32_t id = highest; id > 0; id--) {
                        int r;

                        if (except && is_listed(except, id))
                                continue;
                        r = k->ops->object_destroy(k, iommufd, id);
                        n_destroyed += r == 0;
                        left += is_left(k, except, id, r);
                }
                if (left == 0 && (gap == widest || is_empty(k, iommufd)))
                        break;
                if (left > 0 && n_destroyed > 0)
                        continue;
                if (gap == widest)
                        break;
                gap = widest; /* what is in the way may be far behind the others */
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

/* Takes the functions out and looks whether one is held by somebody else. */
static int release_functions(Kernel *k, VmContext *ctx, Problem *p) {
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions && ctx->handover == HANDOVER_DAEMON; i++) {
                RET_GATHER(r, context_unrealize_function(k, ctx, ctx->functions + i,
                                                         problem_is_set(p) ? NULL : p));
                (void)close_function(ctx->functions + i); /* whatever was in the way */
        }
        return r;
}

int context_destroy_unlisted(Kernel *k, const VmContext *ctx) {
        assert(!ctx->shared);

        /* A function that has just been closed may be on it for a moment (is_bound()). */
        for (long pause_nsec = 1000000; sweep(k, ctx->iommufd, ctx) > 0; pause_nsec *= 2) {
                if (pause_nsec > CLOSE_PAUSE_MAX_NSEC)
                        return -EBUSY;
                (void)nanosleep(&(struct timespec){ .tv_nsec = pause_nsec }, NULL);
        }
        return 0;
}

/* Whether somebody else holds a function; the daemon closes its own. */
static bool is_held(Kernel *k, const VmContext *ctx, ContextFunction *f) {
        bool just_closed = close_function(f);

        if (ctx->handover == HANDOVER_DAEMON && ctx->iommufd >= 0)
                return is_bound(k, ctx, f, just_closed);
        return probe_binding(k, ctx, f) == -EBUSY;
}

int context_check_let_go(Kernel *k, VmContext *ctx, Problem *reterr_problem) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (is_held(k, ctx, ctx->functions + i))
                        return problem_set(reterr_problem, PROBLEM_BUSY,
                                           "Something that nobody here watches holds %s: the VM "
                                           "may be running. End its VMM, "
                                           "or close its VFIO descriptors.",
                                           PCI_ADDRESS_STRING(&ctx->functions[i].address));
        if (ctx->iommufd < 0 && ctx->n_functions == 0)
                return problem_set(reterr_problem, PROBLEM_BUSY,
                                   "Its iommufd was lost, and it has no function that could be "
                                   "asked whether the VM is running.");
        return 0;
}

/* Whether there is something that has not been found. Ids become unusable by vDEVICEs alone, so without those the kernel's word counts. */
static bool is_hiding(Kernel *k, const VmContext *ctx) {
        return ctx->tier != TIER_HARDWARE &&
               k->ops->iommufd_account_process(k, ctx->iommufd) == -EBUSY;
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
                left = sweep(k, ctx->iommufd, NULL);
                if (left == 0 && is_hiding(k, ctx))
                        left = 1; /* or more */
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
        ctx->shared = false;
        return 0;
}
