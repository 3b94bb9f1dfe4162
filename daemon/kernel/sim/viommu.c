/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "base/fd-util.h"
#include "kernel/sim/sim-internal.h"

/*
 * vIOMMUs, vDEVICEs and VF MMIO pages.
 *
 * A process that maps a page through vfmmio_map() does so through an open file description of its own, with a shared
 * lock on the page's byte: that is how a DESTROY sees mappings in all processes, and how they vanish with a process. A
 * VMM that maps the iommufd itself keeps the context alive, but does not make DESTROY busy, unlike in a real kernel.
 */

static uint64_t page_offset(uint32_t page) {
        return SIM_PAGES_OFFSET + page * (uint64_t)KERNEL_VFMMIO_SIZE;
}

/* Takes a Guest ID, a TransDevID, the tables' memory and a page; all or nothing. */
static int instance_take(SimState *st, uint32_t iommu_n, SimObject *viommu) {
        SimIommu *iommu = &st->iommus[iommu_n];
        SimSegment *segment = &st->segments[iommu->segment];
        SimNode *node = iommu->node == KERNEL_NONE ? NULL : &st->nodes[iommu->node];
        uint32_t guest_id, trans_devid, page;

        guest_id = sim_bit_lowest_clear(iommu->guest_ids, 1, iommu->guest_id_limit);
        if (guest_id == KERNEL_NONE)
                return -ENOSPC;
        trans_devid = sim_bit_highest_clear(segment->reserved, segment->trans_devids);
        if (trans_devid == KERNEL_NONE || segment->n_trans_devids >= segment->trans_devid_limit)
                return -ENOSPC;
        if (node && (node->n_instances + 1) * SIM_INSTANCE_BYTES > node->info.free_contiguous_bytes)
                return -ENOMEM;
        page = POOL_TAKE(&st->page_pool, st->pages, SIM_PAGES_MAX);
        if (page == SIM_NIL)
                return -ENOMEM;

        sim_bit_set(iommu->guest_ids, guest_id);
        iommu->n_guest_ids++;
        sim_bit_set(segment->trans_devids, trans_devid);
        segment->n_trans_devids++;
        if (node)
                node->n_instances++;
        st->contexts[viommu->context].n_pages++;
        viommu->viommu.guest_id = guest_id;
        viommu->viommu.trans_devid = trans_devid;
        viommu->viommu.page = page;
        return 0;
}

static void instance_give(SimKernel *s, SimObject *viommu) {
        SimState *st = s->state;
        SimIommu *iommu = &st->iommus[viommu->viommu.iommu];
        SimSegment *segment = &st->segments[iommu->segment];

        if (viommu->viommu.guest_id == 0)
                return;

        sim_bit_clear(iommu->guest_ids, viommu->viommu.guest_id);
        iommu->n_guest_ids--;
        sim_bit_clear(segment->trans_devids, viommu->viommu.trans_devid);
        segment->n_trans_devids--;
        if (iommu->node != KERNEL_NONE)
                st->nodes[iommu->node].n_instances--;
        st->contexts[viommu->context].n_pages--;

        /* The next one to get the page finds zeroes, and the memory goes back. */
        (void)fallocate(s->state_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        (off_t)page_offset(viommu->viommu.page), (off_t)KERNEL_VFMMIO_SIZE);
        POOL_GIVE(&st->page_pool, st->pages, viommu->viommu.page);
}

/* What the driver says to the type, before anything else is looked at. */
static int type_check(const SimIommu *iommu, uint32_t type) {
        switch (iommu->level) {
        case SIM_LEVEL_NESTING:
                return 0; /* the driver forgets to look */
        case SIM_LEVEL_PLUMBING:
        case SIM_LEVEL_ACCELERATED:
                return type == KERNEL_VIOMMU_TYPE_AMD && (iommu->info.efr & EFR_VIOMMU)
                               ? 0
                               : -EOPNOTSUPP;
        default:
                return -EOPNOTSUPP;
        }
}

static int viommu_create(SimKernel *s, uint32_t context, uint32_t iommu, uint32_t hwpt,
                         const KernelViommuRequest *request, KernelViommu *ret) {
        SimState *st = s->state;
        bool real = st->iommus[iommu].level >= SIM_LEVEL_PLUMBING;
        SimObject *viommu;
        uint32_t o;
        int r;

        r = sim_object_new(st, context, SIM_OBJECT_VIOMMU, &o);
        if (r < 0)
                return r;

        viommu = &st->objects[o];
        viommu->viommu.hwpt = hwpt;
        viommu->viommu.iommu = iommu;
        viommu->viommu.level = st->iommus[iommu].level;
        st->objects[hwpt].users++;

        if (real) {
                if (request->data_len != st->viommu_data_len)
                        r = -EINVAL;
                else
                        r = instance_take(st, iommu, viommu);
                if (r < 0) {
                        sim_object_free(s, o);
                        return r;
                }
        }

        *ret = (KernelViommu){
                .viommu_id = viommu->id,
                .vfmmio_offset = real ? page_offset(viommu->viommu.page) : 0,
        };
        return 0;
}

int sim_viommu_alloc(SimKernel *s, int fd, const KernelViommuRequest *request, KernelViommu *ret) {
        SimState *st = s->state;
        uint32_t context, device, hwpt;
        const SimFunction *fn;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        if (request->type == 0)
                return -EOPNOTSUPP;
        device = sim_object_find_type(st, context, request->device_id, SIM_OBJECT_DEVICE);
        if (device == SIM_NIL)
                return -ENOENT;

        fn = &st->functions[st->cdevs[st->objects[device].device.cdev].function];
        r = fn->iommu == KERNEL_NONE ? -EOPNOTSUPP
                                     : type_check(&st->iommus[fn->iommu], request->type);
        if (r < 0)
                return r;

        hwpt = sim_object_find_type(st, context, request->hwpt_id, SIM_OBJECT_HWPT);
        if (hwpt == SIM_NIL)
                return -ENOENT;
        if (!st->objects[hwpt].hwpt.nest_parent)
                return -EINVAL;

        return viommu_create(s, context, fn->iommu, hwpt, request, ret);
}

void sim_viommu_release(SimKernel *s, SimObject *viommu) {
        instance_give(s, viommu);
        s->state->objects[viommu->viommu.hwpt].users--;
}

int sim_hw_queue_probe(SimKernel *s, int fd, uint32_t viommu_id) {
        uint32_t context, viommu;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        viommu = sim_object_find_type(s->state, context, viommu_id, SIM_OBJECT_VIOMMU);
        if (viommu == SIM_NIL)
                return -ENOENT;

        return s->state->objects[viommu].viommu.level == SIM_LEVEL_ACCELERATED ? 0 : -EOPNOTSUPP;
}

int sim_vdevice_alloc(SimKernel *s, int fd, uint32_t viommu_id, uint32_t device_id,
                      GuestDeviceId guest_id, uint32_t *ret) {
        SimState *st = s->state;
        uint32_t context, viommu, device, o;
        const SimFunction *fn;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        viommu = sim_object_find_type(st, context, viommu_id, SIM_OBJECT_VIOMMU);
        device = sim_object_find_type(st, context, device_id, SIM_OBJECT_DEVICE);
        if (viommu == SIM_NIL || device == SIM_NIL)
                return -ENOENT;

        fn = &st->functions[st->cdevs[st->objects[device].device.cdev].function];
        if (fn->iommu != st->objects[viommu].viommu.iommu)
                return -EINVAL;
        if (st->objects[device].device.vdevice != SIM_NIL)
                return -EEXIST;
        for (o = st->objects[viommu].viommu.first_vdevice; o != SIM_NIL;
             o = st->objects[o].vdevice.next)
                if (st->objects[o].vdevice.guest_id.bdf == guest_id.bdf)
                        return -EEXIST;

        r = sim_object_new(st, context, SIM_OBJECT_VDEVICE, &o);
        if (r < 0)
                return r;

        st->objects[o].vdevice.viommu = viommu;
        st->objects[o].vdevice.device = device;
        st->objects[o].vdevice.guest_id = guest_id;
        st->objects[o].vdevice.next = st->objects[viommu].viommu.first_vdevice;
        st->objects[viommu].viommu.first_vdevice = o;
        st->objects[viommu].users++;
        st->objects[device].device.vdevice = o;
        *ret = st->objects[o].id;
        return 0;
}

void sim_vdevice_release(SimState *st, uint32_t o) {
        SimObject *vdevice = &st->objects[o], *viommu = &st->objects[vdevice->vdevice.viommu];
        uint32_t *link = &viommu->viommu.first_vdevice;

        while (*link != o)
                link = &st->objects[*link].vdevice.next;
        *link = vdevice->vdevice.next;

        viommu->users--;
        st->objects[vdevice->vdevice.device].device.vdevice = SIM_NIL;
}

bool sim_viommu_is_mapped(SimKernel *s, const SimObject *viommu) {
        return viommu->viommu.guest_id != 0 &&
               sim_descriptor_is_held(s, SIM_TAG_PAGE, viommu->viommu.page);
}

/* The page behind an mmap offset of this context, or SIM_NIL: another's offsets are no use here. */
static uint32_t page_find(SimState *st, uint32_t context, uint64_t offset) {
        for (uint32_t o = st->contexts[context].first_object; o != SIM_NIL;
             o = st->objects[o].chain_next)
                if (st->objects[o].type == SIM_OBJECT_VIOMMU &&
                    st->objects[o].viommu.guest_id != 0 &&
                    page_offset(st->objects[o].viommu.page) == offset)
                        return st->objects[o].viommu.page;

        return SIM_NIL;
}

int sim_vfmmio_map(SimKernel *s, int fd, uint64_t offset, volatile void **ret_page) {
        _cleanup_close_ int holder = -1;
        uint32_t context, page;
        void *p;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        if (offset % KERNEL_VFMMIO_SIZE != 0)
                return -EINVAL;
        page = page_find(s->state, context, offset);
        if (page == SIM_NIL)
                return -ENXIO;

        r = sim_descriptor_new(s, SIM_TAG_PAGE, page, 0, &holder);
        if (r < 0)
                return r;
        p = mmap(NULL, KERNEL_VFMMIO_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, holder,
                 (off_t)offset);
        if (p == MAP_FAILED)
                return -errno;

        *ret_page = p;
        return 0;
}

int sim_vfmmio_unmap(SimKernel *s, int fd, uint64_t offset, volatile void *page) {
        (void)s, (void)fd, (void)offset;

        return munmap((void *)page, KERNEL_VFMMIO_SIZE) < 0 ? -errno : 0;
}
