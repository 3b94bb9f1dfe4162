/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the host has, as scans come in, whole or in part; and the sentences on what it lacks. */

#include "host.h"
#include "inventory/inventory.h"
#include "kernel/sim/sim.h"
#include "oom.h"
#include "unit.h"

/* Two IOMMUs, a function alone, a group of two with a bridge, one behind no IOMMU. */
static HostScan *small_host(void) {
        HostScan *scan = host_scan_new(UINT64_C(64) << 30);

        (void)host_add_iommu(scan, 0, "0000:40:00.2", 0);
        (void)host_add_iommu(scan, 7, "0001:40:00.2", 1);
        (void)host_add_function(scan, "0000:41:00.0", 0, 1, "vfio-pci");
        (void)host_add_function(scan, "0000:43:00.0", 0, 3, "vfio-pci");
        (void)host_add_function(scan, "0000:43:00.1", 0, 3, "snd_hda_intel");
        host_add_function(scan, "0000:42:00.0", 0, 3, "pcieport")->is_bridge = true;
        (void)host_add_function(scan, "0001:41:00.0", 7, 9, "vfio-pci");
        (void)host_add_function(scan, "0001:42:00.0", KERNEL_NONE, KERNEL_NONE, "nvme");
        (void)host_add_node(scan, 0, UINT64_C(32) << 30, UINT64_C(16) << 30);
        (void)host_add_node(scan, 2, UINT64_C(32) << 30, UINT64_C(8) << 30);
        return scan;
}

static Inventory *inventory_of(HostScan *scan) {
        Inventory *inv;

        assert_ok(inventory_new(&inv));
        assert_ok(inventory_apply(inv, &scan));
        assert_null(scan);
        return inv;
}

/* The addresses in an inventory, in order, in one string. */
static const char *addresses(const Inventory *inv, char *buf) {
        const HostScan *scan = inventory_get_scan(inv);

        buf[0] = '\0';
        for (size_t i = 0; i < scan->n_functions; i++)
                (void)strcat(strcat(buf, i ? " " : ""),
                             PCI_ADDRESS_STRING(&scan->functions[i].address));
        return buf;
}

static void empty(void **state) {
        _cleanup_(inventory_freep) Inventory *inv = NULL;
        PciAddress a = address("0000:41:00.0");
        size_t n = 7;

        (void)state;
        assert_null(inventory_free(NULL));
        assert_ok(inventory_new(&inv));
        assert_null(inventory_find_function(inv, &a));
        assert_null(inventory_find_iommu(inv, 0));
        assert_null(inventory_find_iommu_by_name(inv, "ivhd0"));
        assert_null(inventory_find_node(inv, 0));
        (void)inventory_get_iommus(inv, &n);
        assert_int_equal(n, 0);
        assert_int_equal(inventory_best_level(inv), KERNEL_LEVEL_NONE);
        assert_int_equal(inventory_get_scan(inv)->iommufd_error, -ENOENT);
        inventory_set_level(inv, 0, KERNEL_LEVEL_PLUMBING, "of nothing");
}

static void lookups(void **state) {
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
        const HostScan *scan = inventory_get_scan(inv);
        const HostIommu *iommus;
        PciAddress none = address("0000:41:00.1");
        size_t n;

        (void)state;
        for (size_t i = 0; i < scan->n_functions; i++)
                assert_ptr_equal(inventory_find_function(inv, &scan->functions[i].address),
                                 scan->functions + i);
        assert_null(inventory_find_function(inv, &none));
        none.segment = 9;
        assert_null(inventory_find_function(inv, &none));

        iommus = inventory_get_iommus(inv, &n);
        assert_int_equal(n, 2);
        assert_ptr_equal(inventory_find_iommu(inv, 7), iommus + 1);
        assert_ptr_equal(inventory_find_iommu_by_name(inv, "ivhd7"), iommus + 1);
        assert_null(inventory_find_iommu(inv, 1));
        assert_null(inventory_find_iommu_by_name(inv, "ivhd1"));
        assert_int_equal(inventory_find_node(inv, 2)->free_contiguous_bytes, UINT64_C(8) << 30);
        assert_null(inventory_find_node(inv, 1));
}

static void on_vfio(void **state) {
        static const struct {
                uint32_t cdev;
                bool is;
        } cases[] = { { 0, true }, { 7, true }, { KERNEL_NONE, false } };

        (void)state;
        for_each_case(c, cases) {
                PciFunctionInfo f = { .cdev = c->cdev };

                assert_int_equal(pci_function_is_on_vfio(&f), c->is);
        }
}

/* vfio-pci has variants for single models, whose names only hold "vfio" somewhere. */
static void vfio_drivers(void **state) {
        static const struct {
                const char *driver;
                uint32_t cdev;
                bool has;
        } cases[] = {
                { "vfio-pci", 0, true },
                { "vfio-pci", KERNEL_NONE, true },
                { "mlx5_vfio_pci", KERNEL_NONE, true },
                { "nvgrace_gpu_vfio_pci", KERNEL_NONE, true },
                { "hisi-acc-vfio-pci", KERNEL_NONE, true },
                { "of-another-name", 3, true },
                { "mlx5_core", KERNEL_NONE, false },
                { "", KERNEL_NONE, false },
        };

        (void)state;
        for_each_case(c, cases) {
                PciFunctionInfo f = { .cdev = c->cdev };

                (void)snprintf(f.driver, sizeof(f.driver), "%s", c->driver);
                if (pci_function_has_vfio_driver(&f) != c->has)
                        fail_msg("%s", c->driver);
        }
}

/* ---- levels ---- */

static void level_is(const Inventory *inv, uint32_t index, KernelLevel level, const char *reason) {
        const HostIommu *h = inventory_find_iommu(inv, index);

        assert_int_equal(h->level, level);
        assert_contains(h->level_reason, reason);
}

static void levels_are_kept(void **state) {
        static const KernelLevel probed[] = { KERNEL_LEVEL_NONE, KERNEL_LEVEL_NESTING,
                                              KERNEL_LEVEL_PLUMBING, KERNEL_LEVEL_ACCELERATED,
                                              KERNEL_LEVEL_UNKNOWN };

        (void)state;
        for_each_case(level, probed) {
                _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
                HostScan *scan = small_host();
                uint64_t before;

                level_is(inv, 0, KERNEL_LEVEL_UNKNOWN, "Not probed yet.");
                before = inventory_get_generation(inv);
                inventory_set_level(inv, 0, *level, "as probed");
                assert_true(inventory_get_generation(inv) > before);
                level_is(inv, 0, *level, "as probed");

                before = inventory_get_generation(inv);
                (void)host_add_iommu(scan, 3, "0000:00:00.2", 0);
                assert_ok(inventory_apply(inv, &scan));
                assert_true(inventory_get_generation(inv) > before);
                level_is(inv, 0, *level, "as probed");
                scan = host_scan_copy(inventory_get_scan(inv)); /* and once more */
                assert_ok(inventory_apply(inv, &scan));
                level_is(inv, 0, *level, "as probed");
                level_is(inv, 3, KERNEL_LEVEL_UNKNOWN, "Not probed yet.");
                level_is(inv, 7, KERNEL_LEVEL_UNKNOWN, "Not probed yet.");
        }
}

/* What a scan alone can tell goes before what was probed, and has to be probed anew when it has passed. */
static void levels_end_with_iommufd(void **state) {
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
        HostScan *scan = small_host();

        (void)state;
        inventory_set_level(inv, 0, KERNEL_LEVEL_ACCELERATED, "as probed");
        scan->iommufd_error = -ENOENT;
        assert_ok(inventory_apply(inv, &scan));
        level_is(inv, 0, KERNEL_LEVEL_NONE, "no /dev/iommu");
        scan = small_host();
        assert_ok(inventory_apply(inv, &scan));
        level_is(inv, 0, KERNEL_LEVEL_UNKNOWN, "Not probed yet.");
}

/* A daemon that was short of something has learned nothing about the host. */
static void levels_outlast_trouble(void **state) {
        static const int errors[] = { -ENOMEM, -EMFILE, -ENFILE, -EINTR, -EIO };
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());

        (void)state;
        inventory_set_level(inv, 0, KERNEL_LEVEL_ACCELERATED, "as probed");
        for_each_case(error, errors) {
                HostScan *scan = small_host();

                scan->iommufd_error = *error;
                assert_ok(inventory_apply(inv, &scan));
                level_is(inv, 0, KERNEL_LEVEL_ACCELERATED, "as probed");
                assert_int_equal(inventory_get_scan(inv)->iommufd_error, 0);
        }
}

/* What says that there is none is believed, also of one that has been opened. */
static void levels_end_with_the_node(void **state) {
        static const int errors[] = { -ENOENT, -ENODEV, -ENXIO, -EACCES, -EPERM };

        (void)state;
        for_each_case(error, errors) {
                _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
                HostScan *scan = small_host();

                inventory_set_level(inv, 0, KERNEL_LEVEL_ACCELERATED, "as probed");
                scan->iommufd_error = *error;
                assert_ok(inventory_apply(inv, &scan));
                level_is(inv, 0, KERNEL_LEVEL_NONE, "/dev/iommu");
        }
}

/* If it has never been opened, the reason is what there is to tell. */
static void trouble_at_first(void **state) {
        HostScan *scan = small_host();
        _cleanup_(inventory_freep) Inventory *inv = NULL;

        (void)state;
        scan->iommufd_error = -EMFILE;
        inv = inventory_of(scan);
        level_is(inv, 0, KERNEL_LEVEL_NONE, "cannot be opened: Too many open files");
        scan = small_host();
        assert_ok(inventory_apply(inv, &scan));
        level_is(inv, 0, KERNEL_LEVEL_UNKNOWN, "Not probed yet.");
}

static void best_level(void **state) {
        static const struct {
                KernelLevel first, second, best;
        } cases[] = {
                { KERNEL_LEVEL_NONE, KERNEL_LEVEL_NONE, KERNEL_LEVEL_NONE },
                { KERNEL_LEVEL_NONE, KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_UNKNOWN },
                { KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_UNKNOWN },
                { KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_NESTING, KERNEL_LEVEL_NESTING },
                { KERNEL_LEVEL_PLUMBING, KERNEL_LEVEL_NESTING, KERNEL_LEVEL_PLUMBING },
                { KERNEL_LEVEL_ACCELERATED, KERNEL_LEVEL_UNKNOWN, KERNEL_LEVEL_ACCELERATED },
                { KERNEL_LEVEL_NONE, KERNEL_LEVEL_ACCELERATED, KERNEL_LEVEL_ACCELERATED },
        };
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());

        (void)state;
        for_each_case(c, cases) {
                inventory_set_level(inv, 0, c->first, "");
                inventory_set_level(inv, 7, c->second, "");
                assert_int_equal(inventory_best_level(inv), c->best);
        }
}

/* ---- partial scans ---- */

static void partial(void **state) {
        static const char all[] = "0000:41:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 "
                                  "0001:41:00.0 0001:42:00.0";
        static const struct {
                const char *name;
                const char *only[3];
                struct {
                        const char *address;
                        uint32_t group;
                } seen[4];
                const char *result;
        } cases[] = {
                { "asked for nothing", {}, {}, all },
                { "the same again", { "0000:41:00.0" }, { { "0000:41:00.0", 1 } }, all },
                { "gone",
                  { "0000:41:00.0" },
                  {},
                  "0000:42:00.0 0000:43:00.0 0000:43:00.1 0001:41:00.0 0001:42:00.0" },
                { "never there", { "0000:99:00.0" }, {}, all },
                { "new, first",
                  { "0000:01:00.0" },
                  { { "0000:01:00.0", 20 } },
                  "0000:01:00.0 0000:41:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 0001:41:00.0 "
                  "0001:42:00.0" },
                { "new, in the middle",
                  { "0000:44:00.0" },
                  { { "0000:44:00.0", 20 } },
                  "0000:41:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 0000:44:00.0 0001:41:00.0 "
                  "0001:42:00.0" },
                { "new, last",
                  { "ffff:ff:1f.7" },
                  { { "ffff:ff:1f.7", 20 } },
                  "0000:41:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 0001:41:00.0 0001:42:00.0 "
                  "ffff:ff:1f.7" },
                { "its group with it",
                  { "0000:43:00.0" },
                  { { "0000:42:00.0", 3 }, { "0000:43:00.0", 3 }, { "0000:43:00.1", 3 } },
                  all },
                { "a new member",
                  { "0000:43:00.0" },
                  { { "0000:42:00.0", 3 },
                    { "0000:43:00.0", 3 },
                    { "0000:43:00.1", 3 },
                    { "0000:43:00.2", 3 } },
                  "0000:41:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 0000:43:00.2 0001:41:00.0 "
                  "0001:42:00.0" },
                { "a member gone",
                  { "0000:43:00.0" },
                  { { "0000:42:00.0", 3 }, { "0000:43:00.0", 3 } },
                  "0000:41:00.0 0000:42:00.0 0000:43:00.0 0001:41:00.0 0001:42:00.0" },
                { "in no group", { "0001:42:00.0" }, { { "0001:42:00.0", KERNEL_NONE } }, all },
                { "several, some gone",
                  { "0001:41:00.0", "0000:41:00.0", "0000:01:00.0" },
                  { { "0000:01:00.0", 20 }, { "0001:41:00.0", 9 } },
                  "0000:01:00.0 0000:42:00.0 0000:43:00.0 0000:43:00.1 0001:41:00.0 "
                  "0001:42:00.0" },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
                _cleanup_(host_scan_freep) HostScan *scan = host_scan_new(0);
                PciAddress only[ELEMENTSOF(c->only)];
                uint64_t before = inventory_get_generation(inv);
                char text[256];
                size_t n = 0;

                for (; n < ELEMENTSOF(c->only) && c->only[n]; n++)
                        only[n] = address(c->only[n]);
                for (size_t i = 0; i < ELEMENTSOF(c->seen) && c->seen[i].address; i++)
                        (void)host_add_function(scan, c->seen[i].address, 0, c->seen[i].group,
                                                "seen-anew");

                assert_ok(inventory_apply_partial(inv, only, n, scan));
                if (!streq(addresses(inv, text), c->result))
                        fail_msg("%s: %s", c->name, text);
                assert_true(inventory_get_generation(inv) > before);
                for (size_t i = 0; i < ELEMENTSOF(c->seen) && c->seen[i].address; i++) {
                        PciAddress a = address(c->seen[i].address);

                        assert_string_equal(inventory_find_function(inv, &a)->driver, "seen-anew");
                }
        }
}

static void partial_refreshes_nodes(void **state) {
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(small_host());
        _cleanup_(host_scan_freep) HostScan *scan = host_scan_new(0);

        (void)state;
        (void)host_add_node(scan, 1, 1, 1); /* not known: left out */
        (void)host_add_node(scan, 2, UINT64_C(32) << 30, 4096);
        assert_ok(inventory_apply_partial(inv, NULL, 0, scan));
        assert_int_equal(inventory_find_node(inv, 2)->free_contiguous_bytes, 4096);
        assert_int_equal(inventory_find_node(inv, 0)->free_contiguous_bytes, UINT64_C(16) << 30);
        assert_null(inventory_find_node(inv, 1));
}

static void partial_of_an_empty_host(void **state) {
        _cleanup_(inventory_freep) Inventory *inv = NULL;
        _cleanup_(host_scan_freep) HostScan *scan = host_scan_new(0);
        PciAddress a = address("0000:41:00.0");

        (void)state;
        assert_ok(inventory_new(&inv));
        assert_ok(inventory_apply_partial(inv, &a, 1, scan));
        assert_int_equal(inventory_get_scan(inv)->n_functions, 0);
}

static void want_of_memory(void **state) {
        Inventory *inv = NULL;
        HostScan *scan = small_host();
        char **problems = NULL, text[256];
        uint64_t generation;
        int r;

        (void)state;
        OOM_SWEEP(nth, {
                r = inventory_new(&inv);
                assert_true(r == -ENOMEM || r == 0);
        });
        OOM_SWEEP(nth, {
                if (scan) {
                        r = inventory_apply(inv, &scan);
                        assert_true(r == 0 ? !scan : r == -ENOMEM && scan);
                }
        });

        scan = small_host();
        host_remove_function(scan, "0000:43:00.1");
        generation = inventory_get_generation(inv);
        OOM_SWEEP(nth, {
                r = inventory_apply_partial(inv, NULL, 0, scan);
                if (r < 0) {
                        assert_error(r, ENOMEM);
                        assert_int_equal(inventory_get_generation(inv), generation);
                        assert_int_equal(inventory_get_scan(inv)->n_functions, 6);
                }
        });
        assert_contains(addresses(inv, text), "0000:43:00.0 0001:41:00.0");
        host_scan_free(scan);

        scan = host_scan_new(0);
        scan->iommufd_error = -EACCES;
        scan->has_vfio_cdev = false;
        assert_ok(inventory_apply(inv, &scan));
        OOM_SWEEP(nth, {
                r = inventory_describe_problems(inv, &problems);
                assert_true(r == -ENOMEM || r == 0);
                if (r == 0)
                        problems = inventory_problems_free(problems);
        });
        inventory_free(inv);
}

/* ---- what the host lacks ---- */

static void assert_problems(const Inventory *inv, const char *const *expected, size_t n_expected) {
        char **problems;
        size_t n = 0;

        assert_ok(inventory_describe_problems(inv, &problems));
        for (; problems[n]; n++) {
                if (n >= n_expected)
                        fail_msg("Too much: %s", problems[n]);
                assert_contains(problems[n], expected[n]);
                assert_true(problems[n][strlen(problems[n]) - 1] == '.');
        }
        if (n < n_expected)
                fail_msg("Nothing says: %s", expected[n]);
        assert_null(inventory_problems_free(problems));
        assert_null(inventory_problems_free(NULL));
}

static void problems_of_profiles(void **state) {
        static const struct {
                const char *profile;
                const char *says[4];
        } cases[] = {
                { "small", {} },
                { "epyc-2p", {} },
                { "stock", {} },
                { "plumbing", {} },
                { "intel", { "are not AMD's" } },
                { "no-functions", { "No PCI function is on vfio-pci" } },
                { "no-iommu", { "no IOMMU that is switched on", "No PCI function is on vfio" } },
                { "no-iommufd", { "There is no /dev/iommu", "There is no /dev/vfio" } },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(kernel_freep) Kernel *k = NULL;
                _cleanup_(inventory_freep) Inventory *inv = NULL;
                HostScan *scan = NULL;
                char path[512];
                size_t n = 0;

                (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, c->profile);
                assert_ok(sim_kernel_new(path, -1, &k, NULL));
                assert_ok(k->ops->scan(k, NULL, 0, &scan));
                inv = inventory_of(scan);
                while (n < ELEMENTSOF(c->says) && c->says[n])
                        n++;
                assert_problems(inv, c->says, n);
        }
}

static void problems_of_other_hosts(void **state) {
        HostScan *scan = small_host();
        _cleanup_(inventory_freep) Inventory *inv = inventory_of(host_scan_copy(scan));

        (void)state;
        assert_problems(inv, NULL, 0);

        scan->iommufd_error = -EACCES;
        inventory_free(inv);
        inv = inventory_of(host_scan_copy(scan));
        assert_problems(inv, (const char *[]){ "cannot be opened (Permission denied)" }, 1);

        scan->iommufd_error = -EPERM;
        inventory_free(inv);
        inv = inventory_of(host_scan_copy(scan));
        assert_problems(inv, (const char *[]){ "Restart aviommud.service" }, 1);

        /* One AMD IOMMU among others is enough. */
        scan->iommufd_error = 0;
        scan->iommus[0].vendor = IOMMU_VENDOR_INTEL;
        inventory_free(inv);
        inv = inventory_of(host_scan_copy(scan));
        assert_problems(inv, NULL, 0);

        scan->iommus[1].vendor = IOMMU_VENDOR_OTHER;
        inventory_free(inv);
        inv = inventory_of(scan);
        assert_problems(inv, (const char *[]){ "(ivhd0 and so on) are not AMD's" }, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(empty),
                cmocka_unit_test(lookups),
                cmocka_unit_test(on_vfio),
                cmocka_unit_test(vfio_drivers),
                cmocka_unit_test(levels_are_kept),
                cmocka_unit_test(levels_end_with_iommufd),
                cmocka_unit_test(levels_outlast_trouble),
                cmocka_unit_test(levels_end_with_the_node),
                cmocka_unit_test(trouble_at_first),
                cmocka_unit_test(best_level),
                cmocka_unit_test(partial),
                cmocka_unit_test(partial_refreshes_nodes),
                cmocka_unit_test(partial_of_an_empty_host),
                cmocka_unit_test(want_of_memory),
                cmocka_unit_test(problems_of_profiles),
                cmocka_unit_test(problems_of_other_hosts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
