/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a host's capacities are and what things cost; and decisions for which there is no memory. */

#include "admission.h"

static void capacities(void **state) {
        World w;

        (void)state;
        world_init(&w);
        for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(capacity(&w, RESOURCE_INSTANCES, i), 64);
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 3), UINT64_MAX);
        /* id 0, two IOMMUs, 13 functions of segment 0; id 0, one IOMMU, two functions of segment 1 */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 1 - 2 - 12 - 256);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), 65536 - 1 - 1 - 2 - 256);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 0), 128 * GIB / 100 * 5);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 1), 128 * GIB / 100 * 5);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 65535 - 4096);
        assert_int_equal(capacity(&w, RESOURCE_PINNED_MEMORY, 0), 256 * GIB / 100 * 90);

        w.config = (Config){ .instances_per_iommu = 0,
                             .contiguous_memory_per_node_percent = 100,
                             .domain_ids_reserved = 65535,
                             .pinned_memory_percent = 0,
                             .hotplug_devids_reserved = 0 };
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 0), 0);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 15);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 0), 128 * GIB / 100 * 100);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 0);
        assert_int_equal(capacity(&w, RESOURCE_PINNED_MEMORY, 0), 0);
        world_done(&w);
}

/* Whatever has an id of the segment counts, and counts once. */
static void trans_devids(void **state) {
        HostScan *scan = host_scan_new(0);
        PciFunctionInfo *f;
        World w;

        (void)state;
        (void)host_add_iommu(scan, 0, "0000:40:00.2", 0);
        (void)host_add_iommu(scan, 1, "0000:80:00.2", 0);
        host_add_iommu(scan, 2, "0000:c0:00.2", 0)->has_address = false; /* only its segment */
        host_add_iommu(scan, 3, "0005:40:00.2", 0)->vendor = IOMMU_VENDOR_INTEL;

        /* A function that is also listed, as some kernels do, an alias of its own id, of another's, of nobody's, of 0. */
        (void)host_add_function(scan, "0000:40:00.2", 0, 1, "");
        f = host_add_function(scan, "0000:41:00.0", 0, 2, "");
        f->n_aliases = 4;
        f->aliases[0] = 0x4100;
        f->aliases[1] = 0x4101;
        f->aliases[2] = 0x4208;
        f->aliases[3] = 0;
        (void)host_add_function(scan, "0000:41:00.1", 0, 3, "");
        /* An alias is the same id in another segment, but not the same thing. */
        f = host_add_function(scan, "0001:41:00.0", KERNEL_NONE, 4, "");
        f->n_aliases = 1;
        f->aliases[0] = 0x5555;
        (void)host_add_function(scan, "0000:00:00.0", 0, 5, ""); /* id 0 is never given out */

        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        /* 0, 4002, 8002, 4100, 4101, 4208 */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 65536 - 6 - 256);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), UINT64_MAX); /* no IOMMU there */
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 5), UINT64_MAX); /* none of AMD's */
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 3), UINT64_MAX);

        w.config.hotplug_devids_reserved = 65535;
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 0);
        w.config.hotplug_devids_reserved = 65529;
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 0), 1);
        world_done(&w);
}

/* What has gone keeps its account, with nothing in it, for somebody may still be charged there. */
static void what_has_gone(void **state) {
        HostScan *scan = host_scan_new(GIB);
        _cleanup_(demand_set_done) DemandSet one = {};
        Receipt *receipt;
        World w;

        (void)state;
        world_init(&w);
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 2, 1));
        assert_ok(ledger_charge(w.ledger, &one, &receipt, NULL));
        assert_ok(inventory_apply(w.inventory, &scan));
        assert_ok(capacity_update(w.ledger, w.inventory, &w.config));
        for (uint32_t i = 0; i < 3; i++)
                assert_int_equal(capacity(&w, RESOURCE_INSTANCES, i), 0);
        assert_int_equal(capacity(&w, RESOURCE_TRANS_DEVIDS, 1), 0);
        assert_int_equal(capacity(&w, RESOURCE_CONTIGUOUS_MEMORY, 1), 0);
        assert_int_equal(capacity(&w, RESOURCE_DOMAIN_IDS, 0), 65535 - 4096);
        receipt_done(receipt);
        world_done(&w);
}

/* What is taken and what is given back are the same. */
static void prices(void **state) {
        const ContextViommu v = { .host_iommu = 3, .segment = 1, .numa_node = 2 };
        _cleanup_(demand_set_done) DemandSet set = {};

        (void)state;
        assert_ok(charge_for_vm(&set, 0));
        assert_demands(&set, (Demand[DEMAND_MAX]){ DOMAINS(1) }, "a VM");
        assert_ok(charge_for_viommu(&set, &v, 7));
        assert_ok(charge_for_function(&set, TIER_HARDWARE));
        assert_ok(charge_for_function(&set, TIER_EMULATED));
        assert_ok(charge_for_function(&set, TIER_VIRTIO));
        assert_demands(&set,
                       (Demand[DEMAND_MAX]){ DOMAINS(10), INSTANCE(3), TRANS(1, 1), TABLES(2, 1) },
                       "all");
        for (size_t i = 0; i < set.n_demands; i++)
                if (set.demands[i].kind == RESOURCE_DESCRIPTORS)
                        assert_int_equal(set.demands[i].amount, 2 + 3);
        assert_int_equal(VIOMMU_TABLE_BYTES, 1536 << 10);
}

/* ---- want of memory ---- */

static void want_of_memory(void **state) {
        Admission a = ADMISSION_NULL;
        VmRequest request;
        VmContext ctx;
        Problem p = {};
        World w;
        int r;

        (void)state;
        world_init(&w);
        request_init(&request, HW,
                     (Fn[FNS_MAX]){ { "0000:41:00.0" }, { "0000:81:00.0" }, { "0001:41:00.0" } });
        request.memory = GIB;
        request.guest_domains = 5;
        OOM_SWEEP(nth, {
                r = admission_decide_vm(&w.view, &request, &a, &p);
                assert_true(r == 0 || r == -ENOMEM);
                assert_false(problem_is_set(&p));
                if (r < 0)
                        assert_null(a.additions.functions);
        });
        assert_int_equal(a.additions.n_functions, 3);
        admission_done(&a);

        for (VmTier tier = TIER_HARDWARE; tier <= TIER_EMULATED; tier++) {
                context_init(&ctx, tier, HANDOVER_DAEMON);
                OOM_SWEEP(nth, {
                        r = admission_decide_functions(&w.view, &ctx, 5, request.functions,
                                                       request.n_functions, 0, &a, &p);
                        assert_true(r == 0 || r == -ENOMEM);
                        if (r < 0)
                                assert_null(a.additions.functions);
                });
                admission_done(&a);
        }

        OOM_SWEEP(nth, {
                r = capacity_update(w.ledger, w.inventory, &w.config);
                assert_true(r == 0 || r == -ENOMEM);
                assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 0), 64); /* or what was stays */
        });
        assert_int_equal(capacity(&w, RESOURCE_INSTANCES, 2), 64);

        OOM_SWEEP(nth, {
                Ledger *l = NULL;

                if (ledger_new(&l) >= 0) {
                        r = capacity_update(l, w.inventory, &w.config);
                        assert_true(r == 0 || r == -ENOMEM);
                }
                ledger_free(l);
        });

        OOM_SWEEP(nth, {
                VmRequest other;

                vm_request_init(&other);
                r = vm_request_add_function(&other, request.functions);
                assert_true(r == -ENOMEM || other.n_functions == 1);
                vm_request_done(&other);
        });
        vm_request_done(&request);
        world_done(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(capacities),     cmocka_unit_test(trans_devids),
                cmocka_unit_test(what_has_gone),  cmocka_unit_test(prices),
                cmocka_unit_test(want_of_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
