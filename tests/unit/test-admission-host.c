/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What of a host decides: its levels and tiers, what is left of it, and what is reported as wanting. */

#include "admission.h"

/* ---- levels and tiers ---- */

static void levels(void **state) {
        static const struct {
                KernelLevel level;
                bool plumbing;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { KERNEL_LEVEL_ACCELERATED, false, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_ACCELERATED, true, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_PLUMBING, true, PROBLEM_NONE, NULL },
                { KERNEL_LEVEL_PLUMBING, false, PROBLEM_TIER_UNAVAILABLE, "AllowPlumbing=yes" },
                { KERNEL_LEVEL_NESTING, false, PROBLEM_TIER_UNAVAILABLE, "is at \"nesting\"" },
                { KERNEL_LEVEL_NESTING, true, PROBLEM_TIER_UNAVAILABLE, "is at \"nesting\"" },
                { KERNEL_LEVEL_NONE, false, PROBLEM_TIER_UNAVAILABLE, "is at \"none\"" },
                { KERNEL_LEVEL_NONE, true, PROBLEM_TIER_UNAVAILABLE, "is at \"none\"" },
                { KERNEL_LEVEL_UNKNOWN, false, PROBLEM_LEVEL_UNKNOWN, "aviommuctl host --probe" },
                { KERNEL_LEVEL_UNKNOWN, true, PROBLEM_LEVEL_UNKNOWN, "As probed." },
        };

        (void)state;
        for_each_case(c, cases) for (VmHandover handover = HANDOVER_DAEMON;
                                     handover <= HANDOVER_VMM;
                                     handover++) for (unsigned n_functions = 0; n_functions < 2;
                                                      n_functions++) {
                const Fn fns[FNS_MAX] = { { n_functions ? "0000:41:00.0" : NULL } };
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                world_init_on(&w, standard_scan(), c->level);
                w.config.allow_plumbing = c->plumbing;
                request_init(&request, TIER_HARDWARE, handover, fns);
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->kind == PROBLEM_NONE)
                        assert_ok(r);
                else {
                        assert_error(r, problem_kind_to_errno(c->kind));
                        assert_problem(&p, c->kind, c->says);
                }
                admission_done(&a);
                vm_request_done(&request);

                /* The other tiers need no level. */
                request_init(&request, TIER_EMULATED, handover, fns);
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

/* What counts is the IOMMU that a function is behind, not the best of the host. */
static void levels_differ(void **state) {
        static const struct {
                const char *function;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "0000:41:00.0", PROBLEM_TIER_UNAVAILABLE, "on ivhd0, which is at \"nesting\"" },
                { "0000:81:00.0", PROBLEM_NONE, NULL },
                { "0001:41:00.0", PROBLEM_LEVEL_UNKNOWN, "ivhd2 is not known: Not yet." },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                world_init(&w);
                inventory_set_level(w.inventory, 0, KERNEL_LEVEL_NESTING, "Old.");
                inventory_set_level(w.inventory, 2, KERNEL_LEVEL_UNKNOWN, "Not yet.");
                request_init(&request, HW, (Fn[FNS_MAX]){ { c->function } });
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->kind == PROBLEM_NONE)
                        assert_ok(r);
                else {
                        assert_true(r < 0);
                        assert_problem(&p, c->kind, c->says);
                }
                admission_done(&a);
                vm_request_done(&request);

                /* With no function at all one good IOMMU is enough. */
                request_init(&request, HW, (Fn[FNS_MAX]){});
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

static void tiers_of_hosts(void **state) {
        static const struct {
                const char *name;
                int n_iommus;
                IommuVendor vendors[2];
                KernelLevel levels[2];
                int iommufd_error;
                VmTier tier;
                VmHandover handover;
                ProblemKind kind;
                const char *says;
        } cases[] = {
                { "no IOMMU", 0, {}, {}, 0, HW, PROBLEM_TIER_UNAVAILABLE, "none that is switched" },
                { "no IOMMU, another tier", 0, {}, {}, 0, EMU, PROBLEM_NONE, NULL },
                { "Intel's",
                  1,
                  { IOMMU_VENDOR_INTEL },
                  {},
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd0, which is at \"none\"" },
                { "Intel's and AMD's",
                  2,
                  { IOMMU_VENDOR_INTEL, IOMMU_VENDOR_AMD },
                  { KERNEL_LEVEL_NONE, KERNEL_LEVEL_NESTING },
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd1, which is at \"nesting\"" },
                { "AMD's before Intel's",
                  2,
                  { IOMMU_VENDOR_AMD, IOMMU_VENDOR_INTEL },
                  { KERNEL_LEVEL_NESTING, KERNEL_LEVEL_NONE },
                  0,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "on ivhd0, which is at \"nesting\"" },
                { "one may do",
                  2,
                  {},
                  { KERNEL_LEVEL_NESTING, KERNEL_LEVEL_UNKNOWN },
                  0,
                  HW,
                  PROBLEM_LEVEL_UNKNOWN,
                  "ivhd1 is not known" },
                { "one does",
                  2,
                  {},
                  { KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_ACCELERATED },
                  0,
                  HW,
                  PROBLEM_NONE,
                  NULL },
                { "no iommufd",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  HW,
                  PROBLEM_TIER_UNAVAILABLE,
                  "No such file or directory. The hardware tier cannot be had without it." },
                { "no iommufd, emulated",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -EACCES,
                  EMU,
                  PROBLEM_TIER_UNAVAILABLE,
                  "Handover \"vmm\" wants an iommufd, but /dev/iommu cannot be opened: Permission "
                  "denied. Ask for handover \"none\"." },
                { "no iommufd, made by the daemon",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  EMU_DAEMON,
                  PROBLEM_TIER_UNAVAILABLE,
                  "Handover \"daemon\"" },
                { "no iommufd wanted",
                  1,
                  {},
                  { KERNEL_LEVEL_NONE },
                  -ENOENT,
                  VIRTIO_NONE,
                  PROBLEM_NONE,
                  NULL },
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = host_scan_new(64 * GIB);
                Problem p = {};
                World w;
                int r;

                scan->iommufd_error = c->iommufd_error;
                for (int i = 0; i < c->n_iommus; i++)
                        host_add_iommu(scan, (uint32_t)i, i ? "0000:80:00.2" : "0000:40:00.2", 0)
                                ->vendor = c->vendors[i];
                world_init_on(&w, scan, KERNEL_LEVEL_NONE);
                for (uint32_t i = 0; i < 2; i++)
                        inventory_set_level(w.inventory, i, c->levels[i], "So.");

                r = admission_check_tier(&w.view, c->tier, c->handover, &p);
                if (c->kind == PROBLEM_NONE) {
                        if (r < 0)
                                fail_msg("%s: %s", c->name, p.text);
                } else {
                        if (r == 0)
                                fail_msg("%s: admitted", c->name);
                        assert_problem(&p, c->kind, c->says);
                }
                world_done(&w);
        }
}

static void what_wants_a_probe(void **state) {
        static const struct {
                const char *function;
                VmTier tier;
                KernelLevel level;
                bool wants;
        } cases[] = {
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, true },
                { "0000:43:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, true },
                { "0000:41:00.0", TIER_EMULATED, KERNEL_LEVEL_UNKNOWN, false },
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_ACCELERATED, false },
                { "0000:41:00.0", TIER_HARDWARE, KERNEL_LEVEL_NONE, false },
                { "0000:42:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* a bridge */
                { "0000:44:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* nvme's */
                { "0000:46:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* no node */
                { "0000:47:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* no IOMMU */
                { "0000:99:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* not there */
                { "0000:81:00.0", TIER_HARDWARE, KERNEL_LEVEL_UNKNOWN, false }, /* held */
        };

        (void)state;
        for_each_case(c, cases) {
                PciAddress a = address(c->function);
                uint32_t iommu = 77;
                World w;

                world_init_on(&w, standard_scan(), c->level);
                world_hold(&w, "0000:81:00.0", "VM other");
                if (admission_wants_probe(&w.view, c->tier, &a, &iommu) != c->wants)
                        fail_msg("%s", c->function);
                assert_int_equal(iommu, c->wants ? 0 : 77);
                world_done(&w);
        }
}

/* ---- amounts ---- */

static void amounts(void **state) {
        static const struct {
                const char *name;
                ResourceKind kind;
                uint32_t scope;
                uint64_t capacity; /* just too little */
                ProblemKind problem;
                uint64_t wanted;
        } cases[] = {
                { "instances", RESOURCE_INSTANCES, 2, 0, PROBLEM_NO_FREE_INSTANCE, 1 },
                { "TransDevIDs", RESOURCE_TRANS_DEVIDS, 0, 1, PROBLEM_NO_FREE_TRANS_DEVID, 2 },
                { "tables", RESOURCE_CONTIGUOUS_MEMORY, 0, 2 * TABLE - 1,
                  PROBLEM_NO_CONTIGUOUS_MEMORY, 2 * TABLE },
                { "domain ids", RESOURCE_DOMAIN_IDS, 0, 30, PROBLEM_NO_FREE_DOMAIN_ID, 31 },
                { "memory", RESOURCE_PINNED_MEMORY, 0, GIB - 1, PROBLEM_NO_PINNABLE_MEMORY, GIB },
        };

        (void)state;
        for_each_case(c, cases) {
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;

                world_init(&w);
                request_init(&request, HW,
                             (Fn[FNS_MAX]){
                                     { "0000:41:00.0" }, { "0000:81:00.0" }, { "0001:41:00.0" } });
                request.guest_domains = 10;
                request.memory = GIB;
                assert_ok(ledger_set_capacity(w.ledger, c->kind, c->scope, c->capacity));
                assert_error(admission_decide_vm(&w.view, &request, &a, &p), EDQUOT);
                assert_problem(&p, c->problem, "Wanted ");
                assert_int_equal(p.wanted, c->wanted);
                assert_int_equal(p.available, c->capacity);

                assert_ok(ledger_set_capacity(w.ledger, c->kind, c->scope, c->wanted));
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

/* The ledger may have it while the node has no large blocks. */
static void blocks_of_a_node(void **state) {
        static const struct {
                uint32_t node; /* of the IOMMU */
                uint64_t free;
                bool admitted;
        } cases[] = {
                { 0, 2 * TABLE, true }, { 0, TABLE, false },
                { 0, 0, false },        { 0, KERNEL_BYTES_UNKNOWN, true }, /* the kernel will say */
                { 5, 0, false }, /* a node that the scan does not know counts as the first */
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = standard_scan();
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;
                int r;

                scan->nodes[0].free_contiguous_bytes = c->free;
                scan->iommus[0].numa_node = scan->iommus[1].numa_node = c->node;
                world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
                request_init(&request, HW, (Fn[FNS_MAX]){ { "0000:41:00.0" }, { "0000:81:00.0" } });
                r = admission_decide_vm(&w.view, &request, &a, &p);
                if (c->admitted)
                        assert_ok(r);
                else {
                        assert_error(r, EDQUOT);
                        assert_problem(&p, PROBLEM_NO_CONTIGUOUS_MEMORY,
                                       "Wanted 3072 KiB of contiguous memory on NUMA node0");
                        assert_int_equal(p.available, c->free);
                }
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

static void where_charges_lie(void **state) {
        HostScan *scan = standard_scan();
        ContextViommu v;
        World w;

        (void)state;
        scan->iommus[0].numa_node = KERNEL_NONE; /* counts as the first node's */
        scan->nodes[0].node = 4;
        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        v = admission_viommu_on(inventory_find_iommu(w.inventory, 0));
        assert_true(v.host_iommu == 0 && v.segment == 0 && v.numa_node == 4 && v.viommu_id == 0 &&
                    v.vfmmio_offset == 0);
        v = admission_viommu_on(inventory_find_iommu(w.inventory, 2));
        assert_true(v.host_iommu == 2 && v.segment == 1 && v.numa_node == 1);
        world_done(&w);

        scan = standard_scan();
        scan->iommus[0].numa_node = KERNEL_NONE;
        scan->n_nodes = 0;
        world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
        v = admission_viommu_on(inventory_find_iommu(w.inventory, 0));
        assert_int_equal(v.numa_node, 0);
        world_done(&w);
}

/* The kernel takes what it needs from the nearest node when the IOMMU's has no memory. */
static void nodes_without_memory(void **state) {
        static const struct {
                uint32_t of_iommu, nearest, charged;
        } cases[] = {
                { 0, KERNEL_NONE, 1 }, /* not told which is the nearest */
                { 0, 3, 3 },
                { 3, 3, 3 },                     /* it has memory */
                { 9, 3, 1 },                     /* a node that is not listed */
                { KERNEL_NONE, KERNEL_NONE, 1 }, /* behind no node */
        };

        (void)state;
        for_each_case(c, cases) {
                HostScan *scan = standard_scan();
                Admission a = ADMISSION_NULL;
                VmRequest request;
                Problem p = {};
                World w;

                (void)host_add_node(scan, 3, 64 * GIB, 32 * GIB);
                scan->nodes[0].total_bytes = scan->nodes[0].free_contiguous_bytes = 0;
                scan->nodes[0].memory_node = c->nearest;
                scan->iommus[0].numa_node = c->of_iommu;
                world_init_on(&w, scan, KERNEL_LEVEL_ACCELERATED);
                assert_int_equal(inventory_find_iommu(w.inventory, 0)->memory_node, c->charged);
                request_init(&request, HW, (Fn[FNS_MAX]){ { "0000:41:00.0" } });
                assert_ok(admission_decide_vm(&w.view, &request, &a, &p));
                assert_demands(&a.demands,
                               (Demand[DEMAND_MAX]){ INSTANCE(0), TRANS(0, 1),
                                                     TABLES(c->charged, 1), DOMAINS(1) },
                               "on another node");
                admission_done(&a);
                vm_request_done(&request);
                world_done(&w);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(levels),
                cmocka_unit_test(levels_differ),
                cmocka_unit_test(tiers_of_hosts),
                cmocka_unit_test(what_wants_a_probe),
                cmocka_unit_test(amounts),
                cmocka_unit_test(blocks_of_a_node),
                cmocka_unit_test(where_charges_lie),
                cmocka_unit_test(nodes_without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
