/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "admission.h"

/* ---- the world ---- */

static const char *get_holder(void *userdata, const PciAddress *function) {
        const World *w = userdata;

        for (size_t i = 0; i < w->n_held; i++)
                if (pci_address_equal(&w->held[i].function, function))
                        return w->held[i].holder;
        return NULL;
}

/*
 * ivhd0 and ivhd1 share segment 0 on node 0, ivhd2 has segment 1 on node 1. Behind ivhd0: functions alone, a group of two
 * behind a bridge, functions of host drivers, of none, on vfio-pci without a device node, outside groups.
 */
HostScan *standard_scan(void) {
        HostScan *scan = host_scan_new(256 * GIB);

        (void)host_add_node(scan, 0, 128 * GIB, 64 * GIB);
        (void)host_add_node(scan, 1, 128 * GIB, KERNEL_BYTES_UNKNOWN);
        (void)host_add_iommu(scan, 0, "0000:40:00.2", 0);
        (void)host_add_iommu(scan, 1, "0000:80:00.2", 0);
        (void)host_add_iommu(scan, 2, "0001:40:00.2", 1);
        (void)host_add_function(scan, "0000:41:00.0", 0, 1, "vfio-pci");
        (void)host_add_function(scan, "0000:41:00.1", 0, 2, "vfio-pci");
        host_add_function(scan, "0000:42:00.0", 0, 3, "pcieport")->is_bridge = true;
        (void)host_add_function(scan, "0000:43:00.0", 0, 3, "vfio-pci");
        (void)host_add_function(scan, "0000:43:00.1", 0, 3, "vfio-pci");
        (void)host_add_function(scan, "0000:44:00.0", 0, 4, "nvme");
        (void)host_add_function(scan, "0000:45:00.0", 0, 5, "");
        host_add_function(scan, "0000:46:00.0", 0, 6, "vfio-pci")->cdev = KERNEL_NONE;
        (void)host_add_function(scan, "0000:47:00.0", KERNEL_NONE, KERNEL_NONE, "vfio-pci");
        (void)host_add_function(scan, "0000:48:00.0", 0, KERNEL_NONE, "vfio-pci");
        (void)host_add_function(scan, "0000:49:00.0", 9, 10, "vfio-pci");
        (void)host_add_function(scan, "0000:81:00.0", 1, 7, "vfio-pci");
        (void)host_add_function(scan, "0001:41:00.0", 2, 8, "vfio-pci");
        (void)host_add_function(scan, "0001:42:00.0", 2, 11, "mlx5_core");
        return scan;
}

void world_init_on(World *w, HostScan *scan, KernelLevel level) {
        *w = (World){};
        config_init(&w->config);
        assert_ok(inventory_new(&w->inventory));
        assert_ok(inventory_apply(w->inventory, &scan));
        for (uint32_t i = 0; i < 3; i++)
                inventory_set_level(w->inventory, i, level, "As probed.");
        assert_ok(ledger_new(&w->ledger));
        assert_ok(capacity_update(w->ledger, w->inventory, &w->config));
        w->view = (AdmissionView){ .inventory = w->inventory,
                                   .ledger = w->ledger,
                                   .config = &w->config,
                                   .get_holder = get_holder,
                                   .userdata = w };
}

void world_init(World *w) {
        world_init_on(w, standard_scan(), KERNEL_LEVEL_ACCELERATED);
}

void world_done(World *w) {
        inventory_free(w->inventory);
        ledger_free(w->ledger);
}

void world_hold(World *w, const char *function, const char *holder) {
        w->held[w->n_held].function = address(function);
        w->held[w->n_held++].holder = holder;
}

/* ---- requests ---- */

void request_init(VmRequest *request, VmTier tier, VmHandover handover, const Fn *fns) {
        vm_request_init(request);
        request->tier = tier;
        request->has_tier = true;
        request->handover = handover;
        request->has_handover = true;
        for (size_t i = 0; i < FNS_MAX && fns[i].address; i++) {
                FunctionRequest f = { .address = address(fns[i].address),
                                      .managed = fns[i].managed };

                if (fns[i].guest) {
                        f.has_guest_id = true;
                        f.guest_id = guest_id(fns[i].guest);
                }
                assert_ok(vm_request_add_function(request, &f));
        }
}

void assert_demands(const DemandSet *set, const Demand *expected, const char *name) {
        size_t n = 0;

        for (; n < DEMAND_MAX && expected[n].amount > 0; n++) {
                uint64_t amount = 0;

                for (size_t i = 0; i < set->n_demands; i++)
                        if (set->demands[i].kind == expected[n].kind &&
                            set->demands[i].scope == expected[n].scope)
                                amount = set->demands[i].amount;
                if (amount != expected[n].amount)
                        fail_msg("%s: %s of %s: %lu instead of %lu", name,
                                 resource_kind_to_string(expected[n].kind),
                                 RESOURCE_SCOPE_STRING(expected[n].kind, expected[n].scope), amount,
                                 expected[n].amount);
        }
        /* Descriptors are kept for everything; what they cost is in a case of its own. */
        for (size_t i = 0; i < set->n_demands; i++)
                n += set->demands[i].kind == RESOURCE_DESCRIPTORS;
        assert_int_equal(set->n_demands, n);
}

uint64_t capacity(const World *w, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *all = ledger_get_accounts(w->ledger, &n),
                            *a = quota_find_account(all, n, kind, scope);

        return a ? a->capacity : UINT64_MAX;
}
