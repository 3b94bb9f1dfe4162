/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/* The host as sysfs would show it. */

static int compare_iommus(const void *a, const void *b) {
        const HostIommuInfo *x = a, *y = b;

        return (x->index > y->index) - (x->index < y->index);
}

static int compare_functions(const void *a, const void *b) {
        const PciFunctionInfo *x = a, *y = b;

        return pci_address_compare(&x->address, &y->address);
}

static int compare_nodes(const void *a, const void *b) {
        const NodeInfo *x = a, *y = b;

        return (x->node > y->node) - (x->node < y->node);
}

/* Marks the functions named and the other members of their groups, as far as they are still there. */
static void select_functions(SimKernel *s, const PciAddress *only, size_t n_only,
                             uint64_t *selected) {
        SimState *st = s->state;

        for (size_t i = 0; i < n_only; i++) {
                uint32_t group, f = sim_function_find(st, &only[i]);

                if (f == SIM_NIL)
                        continue;
                sim_function_reap(s, f);
                if (!st->functions[f].in_use)
                        continue;

                sim_bit_set(selected, f);
                group = st->functions[f].info.group;
                if (group == KERNEL_NONE)
                        continue;
                for (f = st->groups[group].first_function; f != SIM_NIL;
                     f = st->functions[f].next_of_group)
                        sim_bit_set(selected, f);
        }
}

static int scan_functions(SimKernel *s, const PciAddress *only, size_t n_only, HostScan *scan) {
        uint64_t selected[SIM_FUNCTIONS_MAX / 64 + 1] = {};
        SimState *st = s->state;

        select_functions(s, only, n_only, selected);
        scan->functions = new0(PciFunctionInfo, st->function_pool.used + 1);
        if (!scan->functions)
                return -ENOMEM;

        for (uint32_t f = 1; f <= st->function_pool.high; f++) {
                PciFunctionInfo *info = scan->functions + scan->n_functions;

                if (!st->functions[f].in_use || (n_only > 0 && !sim_bit_test(selected, f)))
                        continue;
                *info = st->functions[f].info;
                if (info->cdev != KERNEL_NONE) /* the host has let go of it */
                        memset(info->host_use, 0, sizeof(info->host_use));
                scan->n_functions++;
        }

        qsort(scan->functions, scan->n_functions, sizeof(*scan->functions), compare_functions);
        return 0;
}

static int scan_iommus(SimState *st, HostScan *scan) {
        scan->iommus = new0(HostIommuInfo, st->n_iommus + 1);
        if (!scan->iommus)
                return -ENOMEM;

        for (uint32_t i = 0; i < st->n_iommus; i++)
                scan->iommus[scan->n_iommus++] = st->iommus[i].info;

        qsort(scan->iommus, scan->n_iommus, sizeof(*scan->iommus), compare_iommus);
        return 0;
}

static int scan_nodes(SimState *st, HostScan *scan) {
        scan->nodes = new0(NodeInfo, st->n_nodes + 1);
        if (!scan->nodes)
                return -ENOMEM;

        for (uint32_t i = 0; i < st->n_nodes; i++) {
                uint64_t taken = st->nodes[i].n_instances * SIM_INSTANCE_BYTES;
                NodeInfo *node = &scan->nodes[scan->n_nodes++];

                *node = st->nodes[i].info;
                node->free_contiguous_bytes -= MIN(node->free_contiguous_bytes, taken);
                node->iommu_bytes += taken;
        }

        qsort(scan->nodes, scan->n_nodes, sizeof(*scan->nodes), compare_nodes);
        return 0;
}

int sim_scan(SimKernel *s, const PciAddress *only, size_t n_only, HostScan **ret) {
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        SimState *st = s->state;
        int r;

        SIM_LOCKED(s);

        if (n_only == 0)
                (void)sim_reap_all(s);
        else
                sim_reap_some(s);

        scan = new0(HostScan, 1);
        if (!scan)
                return -ENOMEM;

        scan->iommufd_error = st->iommufd_error;
        scan->has_vfio_cdev = st->has_vfio_cdev;
        scan->total_memory_bytes = st->total_memory_bytes;
        r = scan_iommus(st, scan);
        if (r < 0)
                return r;
        r = scan_functions(s, only, n_only, scan);
        if (r < 0)
                return r;
        r = scan_nodes(st, scan);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(scan);
        return 0;
}
