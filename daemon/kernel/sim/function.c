/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/* The host's PCI functions: who is there, under which driver, in which group, and which requester ids they take. */

#define VFIO_DRIVER "vfio-pci"

static uint32_t *hash_bucket(SimState *st, const PciAddress *a) {
        uint64_t h = ((uint64_t)a->segment << 16 | pci_address_bdf(a)) *
                     UINT64_C(0x9e3779b97f4a7c15);

        return &st->function_hash[h >> 32 & (SIM_FUNCTION_HASH - 1)];
}

uint32_t sim_function_find(SimState *st, const PciAddress *address) {
        uint32_t f = *hash_bucket(st, address);

        while (f != SIM_NIL && !pci_address_equal(&st->functions[f].info.address, address))
                f = st->functions[f].hash_next;

        return f;
}

SimIommu *sim_iommu_find(SimState *st, uint32_t index) {
        for (uint32_t i = 0; i < st->n_iommus; i++)
                if (st->iommus[i].info.index == index)
                        return &st->iommus[i];

        return NULL;
}

SimSegment *sim_segment_get(SimState *st, uint16_t number) {
        SimSegment *segment;

        for (uint32_t i = 0; i < st->n_segments; i++)
                if (st->segments[i].segment == number)
                        return &st->segments[i];

        if (st->n_segments >= SIM_SEGMENTS_MAX)
                return NULL;

        segment = &st->segments[st->n_segments++];
        segment->segment = number;
        segment->trans_devid_limit = 65536;
        return segment;
}

/* The kernel takes a function's ids when a domain is attached to it, the first time when it appears, and never gives
 * them back. -EBUSY: one of them is out as a TransDevID. */
int sim_function_reserve_ids(SimState *st, SimFunction *fn) {
        SimSegment *segment;

        if (fn->ids_reserved || fn->iommu == KERNEL_NONE ||
            st->iommus[fn->iommu].info.vendor != IOMMU_VENDOR_AMD)
                return 0;

        segment = &st->segments[st->iommus[fn->iommu].segment];
        if (sim_bit_test(segment->trans_devids, pci_address_bdf(&fn->info.address)))
                return -EBUSY;
        for (size_t i = 0; i < fn->info.n_aliases; i++)
                if (sim_bit_test(segment->trans_devids, fn->info.aliases[i]))
                        return -EBUSY;

        sim_bit_set(segment->reserved, pci_address_bdf(&fn->info.address));
        for (size_t i = 0; i < fn->info.n_aliases; i++)
                sim_bit_set(segment->reserved, fn->info.aliases[i]);
        fn->ids_reserved = true;
        return 0;
}

void sim_function_set_driver(SimState *st, SimFunction *fn, const char *driver) {
        bool was_vfio = streq(fn->info.driver, VFIO_DRIVER), is_vfio = streq(driver, VFIO_DRIVER);

        if (was_vfio && !is_vfio) {
                if (fn->info.cdev != KERNEL_NONE)
                        sim_bit_clear(st->cdev_numbers, fn->info.cdev);
                fn->info.cdev = KERNEL_NONE;
                fn->has_vf_token = false;
        }
        if (is_vfio && fn->info.cdev == KERNEL_NONE && st->has_vfio_cdev) {
                fn->info.cdev = sim_bit_lowest_clear(st->cdev_numbers, 0, SIM_FUNCTIONS_MAX - 1);
                assert(fn->info.cdev != KERNEL_NONE);
                sim_bit_set(st->cdev_numbers, fn->info.cdev);
        }

        memset(fn->info.driver, 0, sizeof(fn->info.driver));
        memcpy(fn->info.driver, driver, MIN(strlen(driver), sizeof(fn->info.driver) - 1));
}

static int group_find_free(SimState *st, uint32_t *ret) {
        for (uint32_t g = st->first_free_group; g < SIM_GROUPS_MAX; g++)
                if (st->groups[g].first_function == SIM_NIL) {
                        *ret = g;
                        return 0;
                }

        return -ENOSPC;
}

static int info_check(SimState *st, const PciFunctionInfo *info) {
        if (info->n_aliases > PCI_FUNCTION_ALIASES_MAX)
                return -EINVAL;
        if (info->host_iommu != KERNEL_NONE) {
                const SimIommu *iommu = sim_iommu_find(st, info->host_iommu);

                if (!iommu || iommu->info.address.segment != info->address.segment)
                        return -EINVAL;
        }
        if (info->group != KERNEL_NONE &&
            (info->group >= SIM_GROUPS_MAX || info->host_iommu == KERNEL_NONE))
                return -EINVAL;
        if (!memchr(info->driver, '\0', sizeof(info->driver)) ||
            !memchr(info->group_type, '\0', sizeof(info->group_type)))
                return -EINVAL;

        return sim_function_find(st, &info->address) != SIM_NIL ? -EEXIST : 0;
}

int sim_function_add(SimState *st, const PciFunctionInfo *info, uint32_t *ret) {
        uint32_t f, group = info->group, *bucket;
        SimFunction *fn;
        int r;

        r = info_check(st, info);
        if (r < 0)
                return r;
        if (group == KERNEL_NONE && info->host_iommu != KERNEL_NONE) {
                r = group_find_free(st, &group);
                if (r < 0)
                        return r;
        }
        f = POOL_TAKE(&st->function_pool, st->functions, SIM_FUNCTIONS_MAX);
        if (f == SIM_NIL)
                return -ENOSPC;

        fn = &st->functions[f];
        fn->in_use = true;
        fn->info = *info;
        fn->info.cdev = KERNEL_NONE;
        fn->info.group = group;
        fn->iommu = KERNEL_NONE;
        if (info->host_iommu != KERNEL_NONE)
                fn->iommu = (uint32_t)(sim_iommu_find(st, info->host_iommu) - st->iommus);
        if (group != KERNEL_NONE) {
                fn->next_of_group = st->groups[group].first_function;
                st->groups[group].first_function = f;
        }

        bucket = hash_bucket(st, &info->address);
        fn->hash_next = *bucket;
        *bucket = f;

        memset(fn->info.driver, 0, sizeof(fn->info.driver));
        sim_function_set_driver(st, fn, info->driver);
        (void)sim_function_reserve_ids(st, fn); /* if it fails, a later attach will */
        if (ret)
                *ret = f;
        return 0;
}

static void function_remove(SimState *st, uint32_t f) {
        SimFunction *fn = &st->functions[f];
        uint32_t *link;

        assert(fn->first_cdev == SIM_NIL && fn->bound_cdev == SIM_NIL);

        sim_function_set_driver(st, fn, "");
        for (link = hash_bucket(st, &fn->info.address); *link != f;)
                link = &st->functions[*link].hash_next;
        *link = fn->hash_next;

        if (fn->info.group != KERNEL_NONE) {
                for (link = &st->groups[fn->info.group].first_function; *link != f;)
                        link = &st->functions[*link].next_of_group;
                *link = fn->next_of_group;
        }

        POOL_GIVE(&st->function_pool, st->functions, f);
}

void sim_function_settle(SimState *st, uint32_t f) {
        SimFunction *fn = &st->functions[f];
        SimRemoval removal = fn->removal;

        assert(fn->first_cdev == SIM_NIL);
        if (removal == SIM_REMOVAL_NONE)
                return;

        fn->removal = SIM_REMOVAL_NONE;
        st->n_removals--;
        if (removal == SIM_REMOVAL_UNPLUG)
                function_remove(st, f);
        else
                sim_function_set_driver(st, fn, fn->next_driver);

        sim_wake(st, true);
}
