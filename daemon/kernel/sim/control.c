/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/* What tests, demonstrations and the simulated daemon do to the host from outside: the host changes, and looking. */

int sim_kernel_get_state_fd(Kernel *k) {
        return sim_kernel(k)->state_fd;
}

int sim_plug(Kernel *k, const PciFunctionInfo *fn) {
        SimKernel *s = sim_kernel(k);
        int r;

        SIM_LOCKED(s);

        r = sim_function_add(s->state, fn, NULL);
        if (r < 0)
                return r;

        sim_wake(s->state, true);
        return 0;
}

/* Begins to take a function from vfio-pci; it goes on at once when no cdev is open. */
static void removal_begin(SimKernel *s, uint32_t f, SimRemoval removal) {
        SimState *st = s->state;
        SimFunction *fn = &st->functions[f];

        if (fn->removal == SIM_REMOVAL_NONE)
                st->n_removals++;
        if (fn->removal != SIM_REMOVAL_UNPLUG) /* which a new driver would not stop */
                fn->removal = removal;

        if (fn->info.cdev != KERNEL_NONE)
                sim_bit_clear(st->cdev_numbers, fn->info.cdev);
        fn->info.cdev = KERNEL_NONE;

        sim_function_reap(s, f);
        if (fn->in_use && fn->removal != SIM_REMOVAL_NONE && fn->first_cdev == SIM_NIL)
                sim_function_settle(st, f);
        sim_wake(st, true);
}

int sim_unplug(Kernel *k, const PciAddress *function) {
        SimKernel *s = sim_kernel(k);
        uint32_t f;

        SIM_LOCKED(s);

        f = sim_function_find(s->state, function);
        if (f == SIM_NIL)
                return -ENOENT;

        removal_begin(s, f, SIM_REMOVAL_UNPLUG);
        return 0;
}

int sim_set_driver(Kernel *k, const PciAddress *function, const char *driver) {
        SimKernel *s = sim_kernel(k);
        SimFunction *fn;
        uint32_t f;

        SIM_LOCKED(s);

        f = sim_function_find(s->state, function);
        if (f == SIM_NIL)
                return -ENOENT;
        fn = &s->state->functions[f];
        if (strlen(driver) >= sizeof(fn->next_driver))
                return -EINVAL;

        memset(fn->next_driver, 0, sizeof(fn->next_driver));
        memcpy(fn->next_driver, driver, strlen(driver));
        if (!streq(fn->info.driver, driver))
                removal_begin(s, f, SIM_REMOVAL_DRIVER);
        return 0;
}

int sim_set_vf_token(Kernel *k, const PciAddress *function, const uint8_t token[16]) {
        SimKernel *s = sim_kernel(k);
        SimFunction *fn;
        uint32_t f;

        SIM_LOCKED(s);

        f = sim_function_find(s->state, function);
        if (f == SIM_NIL)
                return -ENOENT;

        fn = &s->state->functions[f];
        fn->has_vf_token = token != NULL;
        if (token)
                memcpy(fn->vf_token, token, sizeof(fn->vf_token));
        return 0;
}

int sim_set_level(Kernel *k, uint32_t iommu, SimLevel level) {
        SimKernel *s = sim_kernel(k);
        SimState *st = s->state;
        int r = -ENOENT;

        if (level >= _SIM_LEVEL_MAX)
                return -EINVAL;

        SIM_LOCKED(s);

        for (uint32_t i = 0; i < st->n_iommus; i++)
                if (iommu == KERNEL_NONE || st->iommus[i].info.index == iommu) {
                        st->iommus[i].level = level;
                        r = 0;
                }

        return r;
}

int sim_set_iommufd_error(Kernel *k, int error) {
        SimKernel *s = sim_kernel(k);

        if (error < 0)
                return -EINVAL;

        SIM_LOCKED(s);

        s->state->iommufd_error = -error;
        sim_wake(s->state, true);
        return 0;
}

static int limit_scoped(SimState *st, SimLimit limit, uint32_t scope, uint64_t value) {
        int r = -ENOENT;

        switch (limit) {
        case SIM_LIMIT_GUEST_IDS:
                for (uint32_t i = 0; i < st->n_iommus; i++)
                        if (scope == KERNEL_NONE || st->iommus[i].info.index == scope) {
                                st->iommus[i].guest_id_limit = (uint32_t)value;
                                r = 0;
                        }
                break;
        case SIM_LIMIT_TRANS_DEVIDS:
                for (uint32_t i = 0; i < st->n_segments; i++)
                        if (scope == KERNEL_NONE || st->segments[i].segment == scope) {
                                st->segments[i].trans_devid_limit = (uint32_t)value;
                                r = 0;
                        }
                break;
        case SIM_LIMIT_CONTIGUOUS_BYTES:
                for (uint32_t i = 0; i < st->n_nodes; i++)
                        if (scope == KERNEL_NONE || st->nodes[i].info.node == scope) {
                                st->nodes[i].info.free_contiguous_bytes = value;
                                r = 0;
                        }
                break;
        default:
                return -EINVAL;
        }

        return r;
}

int sim_set_limit(Kernel *k, SimLimit limit, uint32_t scope, uint64_t value) {
        static const uint64_t highest[_SIM_LIMIT_MAX] = {
                [SIM_LIMIT_GUEST_IDS] = 65535,
                [SIM_LIMIT_TRANS_DEVIDS] = 65536,
                [SIM_LIMIT_CONTIGUOUS_BYTES] = UINT64_MAX,
                [SIM_LIMIT_HOST_DOMAIN_IDS] = 65535,
                [SIM_LIMIT_PINNED_BYTES] = UINT64_MAX,
                [SIM_LIMIT_VIOMMU_DATA_LEN] = 16,
        };
        SimKernel *s = sim_kernel(k);

        if (limit >= _SIM_LIMIT_MAX || value > highest[limit])
                return -EINVAL;

        SIM_LOCKED(s);

        switch (limit) {
        case SIM_LIMIT_HOST_DOMAIN_IDS:
                s->state->host_domain_id_limit = value;
                return 0;
        case SIM_LIMIT_PINNED_BYTES:
                s->state->pinned_limit = value;
                return 0;
        case SIM_LIMIT_VIOMMU_DATA_LEN:
                if (value != 8 && value != 16)
                        return -EINVAL;
                s->state->viommu_data_len = (uint32_t)value;
                return 0;
        default:
                return limit_scoped(s->state, limit, scope, value);
        }
}

void sim_get_counters(Kernel *k, SimCounters *ret) {
        SimKernel *s = sim_kernel(k);
        SimState *st = s->state;

        SIM_LOCKED(s);

        (void)sim_reap_all(s);

        *ret = (SimCounters){
                .contexts = st->context_pool.used,
                .open_cdevs = st->cdev_pool.used,
                .bound_functions = st->n_bound_functions,
                .ioas = st->n_objects[SIM_OBJECT_IOAS],
                .devices = st->n_objects[SIM_OBJECT_DEVICE],
                .hwpts = st->n_objects[SIM_OBJECT_HWPT],
                .viommus = st->n_objects[SIM_OBJECT_VIOMMU],
                .vdevices = st->n_objects[SIM_OBJECT_VDEVICE],
                .tombstones = st->n_objects[SIM_OBJECT_TOMBSTONE],
                .host_domain_ids = st->n_host_domain_ids,
                .vf_pages = st->page_pool.used,
                .mappings = st->mapping_pool.used,
                .mapped_bytes = st->mapped_bytes,
                .pinned_bytes = st->pinned_bytes,
        };
        for (uint32_t i = 0; i < st->n_iommus; i++)
                ret->guest_ids += st->iommus[i].n_guest_ids;
        for (uint32_t i = 0; i < st->n_segments; i++)
                ret->trans_devids += st->segments[i].n_trans_devids;
        for (uint32_t i = 0; i < st->n_nodes; i++)
                ret->contiguous_bytes += st->nodes[i].n_instances * SIM_INSTANCE_BYTES;
}
