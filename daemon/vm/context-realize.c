/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Building a context in the kernel: every step makes one thing that is wanted and not there yet. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "vm/context.h"
#include "vm/kernel-refusal.h"

#define BIND_PAUSE_MAX_NSEC 64000000 /* an eighth of a second in all */

static const char *iommu_subject(uint32_t index, char buf[static 16]) {
        (void)snprintf(buf, 16, "ivhd%u", index);
        return buf;
}

static int realize_base(Kernel *k, VmContext *ctx, Problem *p) {
        int r;

        if (ctx->iommufd < 0) {
                r = k->ops->iommufd_open(k, &ctx->iommufd);
                if (r < 0)
                        return kernel_refusal(p, STEP_IOMMUFD_OPEN, "the VM", r);

                r = k->ops->iommufd_account_process(k, ctx->iommufd);
                if (r < 0)
                        return kernel_refusal(p, STEP_ACCOUNTING, "", r);
        }

        if (ctx->handover == HANDOVER_DAEMON && ctx->ioas_id == 0) {
                r = k->ops->ioas_alloc(k, ctx->iommufd, &ctx->ioas_id);
                if (r < 0)
                        return kernel_refusal(p, STEP_IOAS_ALLOC, "the VM", r);
        }
        return 0;
}

/* One whose last holder has just let go may be closed only in a moment: the service manager closes what it kept in its own time. */
static int bind_cdev(Kernel *k, const VmContext *ctx, ContextFunction *f) {
        for (long pause_nsec = 1000000;; pause_nsec *= 2) {
                int r = k->ops->cdev_bind(k, f->cdev, ctx->iommufd,
                                          f->has_vf_token ? f->vf_token : NULL, &f->device_id);

                if ((r != -EINVAL && r != -EBUSY) || pause_nsec > BIND_PAUSE_MAX_NSEC)
                        return r;
                (void)nanosleep(&(struct timespec){ .tv_nsec = pause_nsec }, NULL);
        }
}

/* The kernel gives an id out again at once, so whatever was listed under the one of @bound has been closed by its VMM. */
static void forget_closed(VmContext *ctx, const ContextFunction *bound) {
        for (size_t i = 0; i < ctx->n_functions; i++) {
                ContextFunction *f = ctx->functions + i;

                if (f != bound && f->device_id == bound->device_id)
                        f->device_id = 0;
        }
}

static int realize_binding(Kernel *k, VmContext *ctx, ContextFunction *f, Problem *p) {
        const char *address = PCI_ADDRESS_STRING(&f->address);
        int r;

        if (f->cdev < 0) {
                r = kernel_open_cdev(k, &f->address, &f->cdev);
                if (r < 0)
                        return kernel_refusal(p, STEP_CDEV_OPEN, address, r);
        }

        if (f->device_id == 0) {
                r = bind_cdev(k, ctx, f);
                if (r < 0)
                        return kernel_refusal(p, STEP_BIND, address, r);
                forget_closed(ctx, f);

                /* A function that cannot tell is served all the same; its removal then waits for the VM's end. */
                if (f->unplug_fd >= 0)
                        (void)k->ops->cdev_notify_request(k, f->cdev, f->unplug_fd);
        }
        return 0;
}

static int realize_attachment(Kernel *k, VmContext *ctx, ContextFunction *f, Problem *p) {
        const char *address = PCI_ADDRESS_STRING(&f->address);
        uint32_t pt_id = ctx->ioas_id;
        int r;

        if (ctx->tier == TIER_HARDWARE) {
                if (ctx->hwpt_id == 0) {
                        r = k->ops->hwpt_alloc_nest_parent(k, ctx->iommufd, f->device_id,
                                                           ctx->ioas_id, &ctx->hwpt_id);
                        if (r < 0)
                                return kernel_refusal(p, STEP_NEST_PARENT, address, r);
                }
                pt_id = ctx->hwpt_id;
        }

        if (!f->attached) {
                r = k->ops->cdev_attach(k, f->cdev, pt_id);
                if (r < 0)
                        return kernel_refusal(p, STEP_ATTACH, address, r);
                f->attached = true;
        }
        return 0;
}

/* The offset that came back is worth something only if it can be mapped. */
static int check_vfmmio(Kernel *k, VmContext *ctx, const ContextViommu *v, Problem *p) {
        char subject[16];
        volatile void *page;
        int r;

        if (v->vfmmio_offset == 0)
                return problem_set(p, PROBLEM_TIER_UNAVAILABLE,
                                   "The kernel made a vIOMMU on ivhd%u without a VF MMIO page: "
                                   "nothing stands behind it.",
                                   v->host_iommu);

        r = k->ops->vfmmio_map(k, ctx->iommufd, v->vfmmio_offset, &page);
        if (r >= 0)
                r = k->ops->vfmmio_unmap(k, ctx->iommufd, v->vfmmio_offset, page);
        return r < 0 ? kernel_refusal(p, STEP_VFMMIO, iommu_subject(v->host_iommu, subject), r) : 0;
}

/* The function that a vIOMMU is allocated through: bound, behind its host IOMMU, and, if there is one, the daemon's own. 0: there is none, or
 * only one that drains, and so nobody who wants the vIOMMU. */
static uint32_t find_device(const VmContext *ctx, const ContextViommu *v) {
        uint32_t handed_over = 0;

        for (size_t i = 0; i < ctx->n_functions; i++) {
                const ContextFunction *f = ctx->functions + i;

                if (f->host_iommu != v->host_iommu || f->draining || f->device_id == 0)
                        continue;
                if (!f->handed_over)
                        return f->device_id;
                handed_over = f->device_id;
        }
        return handed_over;
}

/* A vIOMMU is allocated through a bound function behind its host IOMMU. v3 takes 8 bytes of user data; its relatives in
 * circulation take 16 and say EINVAL to 8. */
static int realize_viommu(Kernel *k, VmContext *ctx, ContextViommu *v, Problem *p) {
        KernelViommuRequest request = { .type = KERNEL_VIOMMU_TYPE_AMD,
                                        .device_id = find_device(ctx, v),
                                        .hwpt_id = ctx->hwpt_id,
                                        .data_len = 8 };
        KernelViommu viommu;
        char subject[16];
        int r;

        if (request.device_id == 0)
                return 0;

        r = k->ops->viommu_alloc(k, ctx->iommufd, &request, &viommu);
        if (r == -EINVAL) {
                request.data_len = 16;
                r = k->ops->viommu_alloc(k, ctx->iommufd, &request, &viommu);
        }
        if (r < 0)
                return kernel_refusal(p, STEP_VIOMMU_ALLOC, iommu_subject(v->host_iommu, subject),
                                      r);

        v->viommu_id = viommu.viommu_id;
        v->vfmmio_offset = viommu.vfmmio_offset;
        return check_vfmmio(k, ctx, v, p);
}

static int realize_vdevice(Kernel *k, VmContext *ctx, ContextFunction *f, Problem *p) {
        const ContextViommu *v = context_find_viommu(ctx, f->host_iommu);
        int r;

        if (!v || f->vdevice_id != 0 || f->device_id == 0) /* 0: its VMM has closed it */
                return 0;

        r = k->ops->vdevice_alloc(k, ctx->iommufd, v->viommu_id, f->device_id, f->guest_id,
                                  &f->vdevice_id);
        return r < 0 ? kernel_refusal(p, STEP_VDEVICE_ALLOC, PCI_ADDRESS_STRING(&f->address), r)
                     : 0;
}

static int check_cancelled(const atomic_bool *cancelled, Problem *p) {
        return cancelled && atomic_load(cancelled) ? kernel_refusal(p, STEP_DESTROY, "", -ECANCELED)
                                                   : 0;
}

/* Runs @step for every function that is to be there, stopping at a failure or when cancelled. */
static int for_each_function(Kernel *k, VmContext *ctx, const atomic_bool *cancelled, Problem *p,
                             int (*step)(Kernel *, VmContext *, ContextFunction *, Problem *)) {
        for (size_t i = 0; i < ctx->n_functions; i++) {
                ContextFunction *f = ctx->functions + i;
                int r;

                if (f->draining)
                        continue;
                r = check_cancelled(cancelled, p);
                if (r >= 0)
                        r = step(k, ctx, f, p);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int bind_and_attach(Kernel *k, VmContext *ctx, ContextFunction *f, Problem *p) {
        int r;

        if (f->handed_over)
                return 0;
        r = realize_binding(k, ctx, f, p);
        return r < 0 ? r : realize_attachment(k, ctx, f, p);
}

int context_realize(Kernel *k, VmContext *ctx, const atomic_bool *cancelled,
                    Problem *reterr_problem) {
        int r;

        if (ctx->handover == HANDOVER_NONE)
                return 0;

        r = realize_base(k, ctx, reterr_problem);
        if (r < 0 || ctx->handover == HANDOVER_VMM)
                return r;

        r = for_each_function(k, ctx, cancelled, reterr_problem, bind_and_attach);
        if (r < 0)
                return r;

        for (size_t i = 0; i < ctx->n_viommus; i++) {
                if (ctx->viommus[i].viommu_id != 0)
                        continue;
                r = check_cancelled(cancelled, reterr_problem);
                if (r >= 0)
                        r = realize_viommu(k, ctx, ctx->viommus + i, reterr_problem);
                if (r < 0)
                        return r;
        }

        r = for_each_function(k, ctx, cancelled, reterr_problem, realize_vdevice);
        return r < 0 ? r : check_cancelled(cancelled, reterr_problem);
}

int context_map(Kernel *k, VmContext *ctx, const KernelMapping *mapping, Problem *reterr_problem) {
        ContextMapping *m = context_find_mapping(ctx, mapping->iova, mapping->length);
        char subject[24];
        int r;

        (void)snprintf(subject, sizeof(subject), "0x%" PRIx64, mapping->iova);
        if (!m || !m->pending) {
                r = context_add_mapping(ctx, mapping->iova, mapping->length);
                if (r == -EEXIST)
                        return kernel_refusal(reterr_problem, STEP_MAP, subject, r);
                if (r < 0)
                        return r;
                m = ctx->mappings + ctx->n_mappings - 1;
        }

        r = k->ops->ioas_map_file(k, ctx->iommufd, ctx->ioas_id, mapping);
        if (r < 0) {
                *m = ctx->mappings[--ctx->n_mappings];
                return kernel_refusal(reterr_problem, STEP_MAP, subject, r);
        }

        m->pending = false;
        ctx->mapped_bytes += mapping->length;
        return 0;
}
