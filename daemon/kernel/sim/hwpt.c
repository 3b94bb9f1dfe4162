/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/* Page tables: nest parents, and those that the kernel makes of itself when a function is attached to an IOAS. */

int sim_hwpt_new(SimKernel *s, uint32_t ioas, bool nest_parent, uint32_t *ret) {
        SimState *st = s->state;
        uint32_t o;
        int r;

        if (st->n_host_domain_ids >= st->host_domain_id_limit)
                return -ENOSPC;

        r = sim_ioas_pin(st, &st->objects[ioas]);
        if (r < 0)
                return r;
        r = sim_object_new(st, st->objects[ioas].context, SIM_OBJECT_HWPT, &o);
        if (r < 0) {
                sim_ioas_unpin(st, &st->objects[ioas]);
                return r;
        }

        st->objects[o].hwpt.ioas = ioas;
        st->objects[o].hwpt.nest_parent = nest_parent;
        st->objects[o].hwpt.automatic = !nest_parent;
        st->objects[ioas].users++;
        st->n_host_domain_ids++;

        *ret = o;
        return 0;
}

void sim_hwpt_release(SimState *st, SimObject *hwpt) {
        sim_ioas_unpin(st, &st->objects[hwpt->hwpt.ioas]);
        st->objects[hwpt->hwpt.ioas].users--;
        st->n_host_domain_ids--;
}

static bool nesting_works(const SimIommu *iommu) {
        return iommu->level != SIM_LEVEL_NONE && iommu->info.vendor == IOMMU_VENDOR_AMD &&
               (iommu->info.efr & EFR_GT) && (iommu->info.efr & EFR_GIO) &&
               (iommu->info.efr2 & EFR2_GCR3TRP_MODE);
}

int sim_hwpt_alloc_nest_parent(SimKernel *s, int fd, uint32_t device_id, uint32_t ioas_id,
                               uint32_t *ret) {
        SimState *st = s->state;
        uint32_t context, device, parent, o;
        const SimFunction *fn;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        device = sim_object_find_type(st, context, device_id, SIM_OBJECT_DEVICE);
        if (device == SIM_NIL)
                return -ENOENT;
        parent = sim_object_find(st, context, ioas_id);
        if (parent == SIM_NIL)
                return -EINVAL; /* unlike everywhere else */

        fn = &st->functions[st->cdevs[st->objects[device].device.cdev].function];
        switch (st->objects[parent].type) {
        case SIM_OBJECT_IOAS:
                break;
        case SIM_OBJECT_HWPT: /* would be a nested one, which is no nest parent */
                return -EOPNOTSUPP;
        case SIM_OBJECT_VIOMMU:
                return st->objects[parent].viommu.iommu == fn->iommu ? -EOPNOTSUPP : -EINVAL;
        default:
                return -EINVAL;
        }

        if (fn->iommu == KERNEL_NONE || !nesting_works(&st->iommus[fn->iommu]))
                return -EOPNOTSUPP;

        r = sim_hwpt_new(s, parent, true, &o);
        if (r < 0)
                return r;

        *ret = st->objects[o].id;
        return 0;
}
