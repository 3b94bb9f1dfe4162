/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The scan of the real kernel table on hosts made of files. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "test-linux-tree.h"

static PciAddress address_of(const char *s) {
        PciAddress a;

        assert_int_equal(pci_address_parse(s, &a), 0);
        return a;
}

static void test_empty_host(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = tree_scan(t, NULL, 0);

        assert_int_equal(scan->iommufd_error, -ENOENT);
        assert_false(scan->has_vfio_cdev);
        assert_int_equal(scan->n_iommus, 0);
        assert_int_equal(scan->n_functions, 0);
        /* What no file told of, the system call did. */
        assert_int_equal(scan->n_nodes, 1);
        assert_true(scan->total_memory_bytes > 0);
}

static void test_devices(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        tree_put(t, "", "dev/iommu");
        tree_put(t, "", "dev/vfio/vfio");
        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->iommufd_error, 0);
        assert_true(scan->has_vfio_cdev);
}

static void test_amd(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        const HostIommuInfo *i;

        tree_add_amd(t, "ivhd10", "0003:60:00.2", "a5bf732fa2295afe:1d\n");
        tree_add_amd(t, "ivhd2", "0000:00:00.2", "29d7\n");
        tree_put(t, "1\n", "sys/bus/pci/devices/0003:60:00.2/numa_node");
        tree_put(t, "-1\n", "sys/bus/pci/devices/0000:00:00.2/numa_node");

        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_iommus, 2);
        i = &scan->iommus[0];
        assert_int_equal(i->index, 2);
        assert_string_equal(i->name, "ivhd2");
        assert_int_equal(i->vendor, IOMMU_VENDOR_AMD);
        assert_true(i->has_address);
        assert_string_equal(PCI_ADDRESS_STRING(&i->address), "0000:00:00.2");
        assert_int_equal(i->numa_node, KERNEL_NONE);
        assert_int_equal(i->efr, 0x29d7);
        assert_int_equal(i->efr2, 0);
        i = &scan->iommus[1];
        assert_int_equal(i->index, 10);
        assert_string_equal(PCI_ADDRESS_STRING(&i->address), "0003:60:00.2");
        assert_int_equal(i->numa_node, 1);
        assert_true(i->efr == UINT64_C(0xa5bf732fa2295afe));
        assert_int_equal(i->efr2, 0x1d);
        assert_true(i->efr & EFR_VIOMMU);
}

static void test_features_garbage(void **state) {
        static const char *const bad[] = {
                "",
                "\n",
                ":",
                "xyz\n",
                "29d7 :0\n",
                "29d7:\n",
                ":29d7\n",
                "-1\n",
                "29d7:0:0\n",
                " 29d7\n",
                "12345678123456781\n",
                "1:1111111111111111111111111111111111111111111111111111111111111111111111111111\n",
        };
        Tree *t = *state;

        for (size_t k = 0; k < ELEMENTSOF(bad); k++) {
                _cleanup_(host_scan_freep) HostScan *scan = NULL;

                tree_add_amd(t, "ivhd0", "0000:00:00.2", bad[k]);
                scan = tree_scan(t, NULL, 0);
                assert_int_equal(scan->n_iommus, 1);
                assert_int_equal(scan->iommus[0].efr, 0);
                assert_int_equal(scan->iommus[0].efr2, 0);
        }
}

static void test_other_vendors(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        tree_add_function(t, "pci0002:00", "0002:00:01.0", "0x020000\n");
        tree_set_iommu(t, "0002:00:01.0", 1, "dmar10");
        for (unsigned k = 0; k <= 10; k += 5) {
                char target[64];

                tree_mkdir(t, "sys/devices/virtual/iommu/dmar%u/intel-iommu", k);
                (void)snprintf(target, sizeof(target), "../../devices/virtual/iommu/dmar%u", k);
                tree_link(t, target, "sys/class/iommu/dmar%u", k);
        }
        tree_link(t, "x", "sys/devices/virtual/iommu/dmar10/devices/0002:00:01.0");
        /* Two that differ only behind the part of the name that is kept. */
        tree_mkdir(t, "sys/class/iommu/smmu3.0x000000002b400000-with-a-long-name-b");
        tree_mkdir(t, "sys/class/iommu/smmu3.0x000000002b400000-with-a-long-name-a");
        tree_mkdir(t, "sys/class/iommu/smmu3.0x000000002b400000");
        tree_mkdir(t, "sys/class/iommu/ivhd"); /* AMD's names have a number */

        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_iommus, 7);
        for (uint32_t k = 0; k < 7; k++) {
                assert_int_equal(scan->iommus[k].index, k);
                assert_false(scan->iommus[k].has_address);
        }
        assert_string_equal(scan->iommus[0].name, "dmar0");
        assert_string_equal(scan->iommus[1].name, "dmar5");
        assert_string_equal(scan->iommus[2].name, "dmar10");
        assert_int_equal(scan->iommus[2].vendor, IOMMU_VENDOR_INTEL);
        assert_int_equal(scan->iommus[2].address.segment, 2);
        assert_string_equal(scan->iommus[3].name, "ivhd");
        assert_int_equal(scan->iommus[3].vendor, IOMMU_VENDOR_OTHER);
        assert_string_equal(scan->iommus[4].name, "smmu3.0x000000002b400000");
        assert_int_equal(strlen(scan->iommus[5].name), sizeof(scan->iommus[5].name) - 1);
        assert_int_equal(tree_find(scan, "0002:00:01.0")->host_iommu, 2);
}

static void test_function(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        const PciFunctionInfo *f;

        tree_add_amd(t, "ivhd1", "0000:00:00.2", "29d7:0\n");
        tree_add_function(t, "pci0000:00", "0000:00:01.1", "0x060400\n");
        tree_put(t, "16.0 GT/s PCIe\n", "sys/bus/pci/devices/0000:00:01.1/max_link_speed");
        tree_add_function(t, "pci0000:00/0000:00:01.1", "0000:01:00.0", "0x020000\n");
        tree_put(t, "16.0 GT/s PCIe\n", "sys/bus/pci/devices/0000:01:00.0/max_link_speed");
        tree_set_iommu(t, "0000:01:00.0", 14, "ivhd1");
        tree_link(t, "../../../../bus/pci/drivers/vfio-pci",
                  "sys/bus/pci/devices/0000:01:00.0/driver");
        tree_put(t, "511:3\n", "sys/bus/pci/devices/0000:01:00.0/vfio-dev/vfio3/dev");
        tree_add_function(t, "pci0000:00/0000:00:01.1", "0000:02:10.1", "0x020000\n");
        tree_link(t, "../0000:01:00.0", "sys/bus/pci/devices/0000:02:10.1/physfn");
        /* What a kernel without CONFIG_VFIO_DEVICE_CDEV has. */
        tree_mkdir(t, "sys/bus/pci/devices/0000:02:10.1/vfio-dev/vfio4");

        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_functions, 4);
        f = tree_find(scan, "0000:01:00.0");
        assert_ptr_equal(f, &scan->functions[2]); /* sorted */
        assert_false(f->is_bridge);
        assert_false(f->is_virtual);
        assert_int_equal(f->host_iommu, 1);
        assert_int_equal(f->group, 14);
        assert_string_equal(f->group_type, "DMA-FQ");
        assert_int_equal(f->numa_node, 0);
        assert_int_equal(f->cdev, 3);
        assert_string_equal(f->driver, "vfio-pci");
        assert_int_equal(f->vendor_id, 0x1022);
        assert_int_equal(f->device_id, 0x1480);
        assert_int_equal(f->class_code, 0x020000);
        assert_int_equal(f->n_aliases, 0);

        f = tree_find(scan, "0000:02:10.1");
        assert_true(f->is_virtual);
        assert_string_equal(PCI_ADDRESS_STRING(&f->physical_function), "0000:01:00.0");
        assert_int_equal(f->host_iommu, KERNEL_NONE);
        assert_int_equal(f->group, KERNEL_NONE);
        assert_string_equal(f->group_type, "");
        assert_int_equal(f->cdev, KERNEL_NONE);
        assert_string_equal(f->driver, "");

        assert_true(tree_find(scan, "0000:00:01.1")->is_bridge);
}

/* "Other" bridges, such as NVSwitches and NTBs, are functions like any other: vfio-pci takes them. */
static void test_bridges(void **state) {
        static const struct {
                const char *class_code;
                bool is;
        } cases[] = { { "0x060000\n", true },  { "0x060100\n", true },  { "0x060400\n", true },
                      { "0x060401\n", true },  { "0x068000\n", false }, { "0x068001\n", false },
                      { "0x058000\n", false }, { "0x020000\n", false } };
        Tree *t = *state;

        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_(host_scan_freep) HostScan *scan = NULL;

                tree_add_function(t, "pci0000:00", "0000:00:02.0", cases[k].class_code);
                scan = tree_scan(t, NULL, 0);
                assert_int_equal(scan->functions[0].is_bridge, cases[k].is);
                tree_remove(t, "sys/devices/pci0000:00/0000:00:02.0");
                tree_remove(t, "sys/bus/pci/devices/0000:00:02.0");
        }
}

static void test_only(void **state) {
        Tree *t = *state;
        PciAddress only[] = { address_of("0000:01:00.1"), address_of("0000:05:00.0"),
                              address_of("0000:01:00.1"), address_of("0000:01:00.0") };
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        tree_add_amd(t, "ivhd0", "0000:00:00.2", "29d7:0\n");
        for (unsigned k = 0; k < 4; k++) {
                char address[PCI_ADDRESS_STRING_SIZE + 8];

                (void)snprintf(address, sizeof(address), "0000:01:00.%u", k);
                tree_add_function(t, "pci0000:00", address, "0x020000\n");
                tree_set_iommu(t, address, k == 3 ? 8 : 7, "ivhd0");
        }
        /* A member that is listed and gone. */
        tree_link(t, "x", "sys/kernel/iommu_groups/7/devices/0000:01:00.7");

        scan = tree_scan(t, only, ELEMENTSOF(only));
        assert_int_equal(scan->n_functions, 3);
        for (unsigned k = 0; k < 3; k++)
                assert_int_equal(scan->functions[k].address.devfn, k);
        assert_int_equal(scan->n_iommus, 1); /* not limited */

        scan = host_scan_free(scan);
        scan = tree_scan(t, &only[1], 1);
        assert_int_equal(scan->n_functions, 0);
}

/* Nothing that is garbage counts as known, and a function with garbage stays one. */
static void test_garbage(void **state) {
        static const char *const garbage[] = { "",     "\n",   "zz\n",
                                               "0x\n", "-5\n", "99999999999999999999999\n" };
        char *large;
        Tree *t = *state;

        large = calloc(1, 100001);
        assert_non_null(large);
        memset(large, '1', 100000);

        tree_add_function(t, "pci0000:00", "0000:00:02.0", "0x020000\n");
        tree_mkdir(t, "sys/bus/pci/devices/rubbish");
        tree_mkdir(t, "sys/bus/pci/devices/0000:00:03.0x");
        tree_mkdir(t, "sys/bus/pci/devices/10000:e0:06.0"); /* a segment of more than 16 bits */
        tree_mkdir(t, "sys/devices/pci0000:00/0000:00:02.0/vfio-dev/vfio");
        tree_mkdir(t, "sys/devices/pci0000:00/0000:00:02.0/vfio-dev/vfio-1");
        tree_mkdir(t, "sys/devices/pci0000:00/0000:00:02.0/vfio-dev/vfio4294967295");
        tree_link(t, "../x/12y", "sys/bus/pci/devices/0000:00:02.0/iommu_group");
        tree_link(t, "nothing", "sys/bus/pci/devices/0000:00:02.0/iommu");
        tree_link(t, "nothing", "sys/bus/pci/devices/0000:00:02.0/physfn");
        tree_link(t, "a/driver-with-a-name-that-is-longer-than-any-field",
                  "sys/bus/pci/devices/0000:00:02.0/driver");

        for (size_t k = 0; k <= ELEMENTSOF(garbage); k++) {
                static const char *const attributes[] = { "class", "vendor", "device",
                                                          "numa_node" };
                _cleanup_(host_scan_freep) HostScan *scan = NULL;
                const PciFunctionInfo *f;

                for (size_t a = 0; a < ELEMENTSOF(attributes); a++)
                        tree_put(t, k < ELEMENTSOF(garbage) ? garbage[k] : large,
                                 "sys/bus/pci/devices/0000:00:02.0/%s", attributes[a]);
                scan = tree_scan(t, NULL, 0);
                assert_int_equal(scan->n_functions, 1);
                f = &scan->functions[0];
                assert_int_equal(f->class_code, 0);
                assert_int_equal(f->vendor_id, 0);
                assert_int_equal(f->device_id, 0);
                assert_int_equal(f->numa_node, KERNEL_NONE);
                assert_false(f->is_bridge);
                assert_false(f->is_virtual);
                assert_int_equal(f->host_iommu, KERNEL_NONE);
                assert_int_equal(f->group, KERNEL_NONE);
                assert_int_equal(f->cdev, KERNEL_NONE);
                assert_string_equal(f->driver, "driver-with-a-name-that-is-long");
        }
        free(large);
}

static void test_long_link(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        char target[4000];

        memset(target, 'x', sizeof(target));
        target[sizeof(target) - 1] = 0;
        tree_add_function(t, "pci0000:00", "0000:00:02.0", "0x020000\n");
        tree_link(t, target, "sys/bus/pci/devices/0000:00:02.0/driver");
        tree_link(t, target, "sys/bus/pci/devices/0000:00:02.0/iommu_group");
        scan = tree_scan(t, NULL, 0);
        assert_string_equal(scan->functions[0].driver, "");
        assert_int_equal(scan->functions[0].group, KERNEL_NONE);
}

static void test_vanished(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        tree_add_amd(t, "ivhd0", "0000:00:00.2", "29d7:0\n");
        tree_add_function(t, "pci0000:00", "0000:00:02.0", "0x020000\n");
        tree_add_function(t, "pci0000:00", "0000:00:03.0", "0x020000\n");
        tree_remove(t, "sys/devices/pci0000:00/0000:00:02.0");       /* the link dangles */
        tree_remove(t, "sys/devices/pci0000:00/0000:00:03.0/class"); /* half gone */
        tree_link(t, "../../devices/gone", "sys/class/iommu/ivhd1");

        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_functions, 1); /* the IOMMU's own */
        assert_int_equal(scan->n_iommus, 2);
        assert_int_equal(scan->iommus[1].index, 1);
        assert_false(scan->iommus[1].has_address);
        assert_int_equal(scan->iommus[1].efr, 0);
}

typedef struct Churn {
        Tree *tree;
        atomic_bool stop;
} Churn;

static void *churn(void *userdata) {
        Churn *c = userdata;
        char from[TREE_PATH_MAX], to[TREE_PATH_MAX];

        (void)snprintf(from, sizeof(from), "%s/sys/devices/pci0000:00/0000:00:08.0", c->tree->root);
        (void)snprintf(to, sizeof(to), "%s/elsewhere", c->tree->root);
        while (!atomic_load(&c->stop))
                if (rename(from, to) < 0 || rename(to, from) < 0)
                        return c; /* tells that it failed */
        return NULL;
}

/* A function that comes and goes all the time. Two threads scan, as the workers and the loop may. */
static void *scan_many(void *userdata) {
        Tree *t = userdata;

        for (unsigned k = 0; k < 300; k++) {
                _cleanup_(host_scan_freep) HostScan *scan = NULL;

                if (t->kernel->ops->scan(t->kernel, NULL, 0, &scan) < 0)
                        return t;
                if (scan->n_functions != 15 && scan->n_functions != 16)
                        return t;
                for (size_t i = 1; i < scan->n_functions; i++)
                        if (pci_address_compare(&scan->functions[i - 1].address,
                                                &scan->functions[i].address) >= 0)
                                return t;
        }
        return NULL;
}

static void test_vanishing(void **state) {
        Tree *t = *state;
        Churn c = { .tree = t };
        pthread_t churner, scanners[2];
        void *failed, *any = NULL;

        for (unsigned k = 0; k < 16; k++) {
                char address[PCI_ADDRESS_STRING_SIZE + 8];

                (void)snprintf(address, sizeof(address), "0000:00:%02x.0", k);
                tree_add_function(t, "pci0000:00", address, "0x020000\n");
                tree_set_iommu(t, address, k, NULL);
        }
        assert_int_equal(pthread_create(&churner, NULL, churn, &c), 0);
        for (size_t k = 0; k < ELEMENTSOF(scanners); k++)
                assert_int_equal(pthread_create(&scanners[k], NULL, scan_many, t), 0);
        for (size_t k = 0; k < ELEMENTSOF(scanners); k++) {
                assert_int_equal(pthread_join(scanners[k], &failed), 0);
                any = any ?: failed;
        }
        atomic_store(&c.stop, true);
        assert_int_equal(pthread_join(churner, &failed), 0);
        assert_null(failed);
        assert_null(any);
}

static void test_nodes(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

        tree_put(t, "\nNode 1 MemTotal:        1000 kB\nNode 1 MemFree:          500 kB\n",
                 "sys/devices/system/node/node1/meminfo");
        tree_put(t,
                 "nr_free_pages 12\nother_nr_iommu_pages 9\nnr_iommu_pages_more 9\nnr_iommu_pages "
                 "384\nnr_sec_iommu_pages 5\n",
                 "sys/devices/system/node/node1/vmstat");
        tree_put(t, "Node 0 MemTotal:  2000 kB\n", "sys/devices/system/node/node0/meminfo");
        tree_put(t, "nr_sec_page_table_pages 7\n", "sys/devices/system/node/node0/vmstat");
        tree_mkdir(t, "sys/devices/system/node/node12"); /* without memory */
        tree_mkdir(t, "sys/devices/system/node/power");
        tree_put(t,
                 "Node 0, zone      DMA      1      1      0      0      0      0      0      0    "
                 "  1      1      3 \n"
                 "Node 0, zone    DMA32      9      9      9      9      9      9      9      9    "
                 "  0      0      0 \n"
                 "Node 1, zone   Normal      5      4      3      2      1      0      0      0    "
                 "  2      0      1 \n"
                 "Node 1, zone  Movable      5      4      3      2      1      0      0      0    "
                 "500    500    500 \n"
                 "Node 7, zone   Normal      5      4      3      2      1      0      0      0    "
                 "  2      0      1 \n"
                 "Node 1, zone\nNode x, zone y 1 2 3\n\nrubbish\n",
                 "proc/buddyinfo");

        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_nodes, 3);
        assert_int_equal(scan->nodes[0].node, 0);
        assert_int_equal(scan->nodes[0].total_bytes, 2000 * 1024);
        assert_int_equal(scan->nodes[0].free_contiguous_bytes, (256 + 512 + 3 * 1024) * page);
        assert_int_equal(scan->nodes[0].iommu_bytes, 0);
        assert_int_equal(scan->nodes[1].node, 1);
        assert_int_equal(scan->nodes[1].free_contiguous_bytes, (2 * 256 + 1024) * page);
        assert_int_equal(scan->nodes[1].iommu_bytes, 384 * page);
        assert_int_equal(scan->nodes[2].node, 12);
        assert_int_equal(scan->nodes[2].total_bytes, 0);
        assert_int_equal(scan->total_memory_bytes, 3000 * 1024);
}

static void test_nodes_sorted(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        for (unsigned k = 0; k < 40; k++)
                tree_mkdir(t, "sys/devices/system/node/node%u", k * 7 % 40);
        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_nodes, 40);
        for (uint32_t k = 0; k < 40; k++)
                assert_int_equal(scan->nodes[k].node, k);
}

/* Whose memory a node's allocations come from: its own, or that of the nearest that has some. */
static void test_nodes_without_memory(void **state) {
        static const struct {
                const char *distance;
                uint32_t nearest;
        } cases[] = {
                { "32 32 10 12\n", 5 },
                { "12 32 10 32\n", 0 },
                { "12 12 10 12\n", 0 },
                { "32 11 10 12\n", 5 }, /* the second has none either */
                { "32 32 10\n", KERNEL_NONE },
                { "32 32 10 12 12\n", KERNEL_NONE },
                { "32 x 10 12\n", KERNEL_NONE },
                { "", KERNEL_NONE },
        };
        Tree *t = *state;

        tree_put(t, "Node 0 MemTotal:  2000 kB\n", "sys/devices/system/node/node0/meminfo");
        tree_put(t, "Node 2 MemTotal:     0 kB\n", "sys/devices/system/node/node2/meminfo");
        tree_put(t, "Node 4 MemTotal:     0 kB\n", "sys/devices/system/node/node4/meminfo");
        tree_put(t, "Node 5 MemTotal:  2000 kB\n", "sys/devices/system/node/node5/meminfo");
        for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
                _cleanup_(host_scan_freep) HostScan *scan = NULL;

                tree_put(t, cases[k].distance, "sys/devices/system/node/node4/distance");
                scan = tree_scan(t, NULL, 0);
                assert_int_equal(scan->n_nodes, 4);
                assert_int_equal(scan->nodes[0].memory_node, 0);
                assert_int_equal(scan->nodes[1].memory_node, KERNEL_NONE); /* not told */
                assert_int_equal(scan->nodes[2].memory_node, cases[k].nearest);
                assert_int_equal(scan->nodes[3].memory_node, 5);
        }
}

static void test_no_numa(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

        tree_put(t, "MemTotal:        4096 kB\nMemFree: 1 kB\n", "proc/meminfo");
        tree_put(t, "nr_iommu_pages 3\n", "proc/vmstat");
        tree_put(t, "Node 0, zone Normal 0 0 0 0 0 0 0 0 0 0 1\n", "proc/buddyinfo");
        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_nodes, 1);
        assert_int_equal(scan->nodes[0].node, 0);
        assert_int_equal(scan->nodes[0].total_bytes, 4096 * 1024);
        assert_int_equal(scan->nodes[0].free_contiguous_bytes, 1024 * page);
        assert_int_equal(scan->nodes[0].iommu_bytes, 3 * page);
        assert_int_equal(scan->total_memory_bytes, 4096 * 1024);
}

static void test_memory_garbage(void **state) {
        Tree *t = *state;
        _cleanup_(host_scan_freep) HostScan *scan = NULL;

        tree_put(t, "Node 0 MemTotal: many kB\n", "sys/devices/system/node/node0/meminfo");
        tree_put(t, "nr_iommu_pages\nnr_iommu_pages -\n", "sys/devices/system/node/node0/vmstat");
        tree_put(t,
                 "Node 0, zone Normal 0 0 0 0 0 0 0 0 18446744073709551615 1 1\n"
                 "Node 0, zone Normal 0 0 0 0 0 0 0 0 99999999999999999999999999999 0 0\n",
                 "proc/buddyinfo");
        scan = tree_scan(t, NULL, 0);
        assert_int_equal(scan->n_nodes, 1);
        assert_int_equal(scan->nodes[0].total_bytes, 0);
        assert_int_equal(scan->nodes[0].iommu_bytes, 0);
        assert_int_equal(scan->nodes[0].free_contiguous_bytes, 0);
}

static void test_cdev_open(void **state) {
        Tree *t = *state;
        PciAddress a = address_of("0000:00:02.0");
        const KernelOps *ops = t->kernel->ops;
        int fd = -7;

        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        tree_add_function(t, "pci0000:00", "0000:00:02.0", "0x020000\n");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        tree_put(t, "garbage\n", "sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio5/dev");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        tree_put(t, "1:3\n", "sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio5/dev");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        /* A node that is not the one meant is not opened for the caller: a file, then another device. */
        tree_put(t, "", "dev/vfio/devices/vfio5");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        tree_put(t, "0:0\n", "sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio5/dev");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        tree_put(t, "1:3\n", "sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio5/dev");
        tree_link(t, "/dev/zero", "dev/vfio/devices/vfio5");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), -ENOENT);
        assert_int_equal(fd, -7);
        tree_link(t, "/dev/null", "dev/vfio/devices/vfio5");
        assert_int_equal(ops->cdev_open(t->kernel, &a, &fd), 0);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(close(fd), 0);
}

static void test_cdev_is(void **state) {
        Tree *t = *state;
        const PciAddress a = address_of("0000:00:02.0"), b = address_of("0000:00:03.0");
        const KernelOps *ops = t->kernel->ops;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC), file = open("/", O_RDONLY | O_CLOEXEC);

        assert_true(null >= 0 && file >= 0);
        assert_int_equal(ops->cdev_is(t->kernel, -1, &a), -EBADF);
        assert_int_equal(ops->cdev_is(t->kernel, file, &a), -EBADF);
        tree_link(t, "../../devices/virtual/mem/null", "sys/dev/char/1:3");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -EBADF);
        tree_link(t, "../../devices/pci0000:00/0000:00:02.0/vfio-dev/null", "sys/dev/char/1:3");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -EBADF);
        tree_link(t, "../../devices/pci0000:00/0000:00:02.0/other/vfio5", "sys/dev/char/1:3");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -EBADF);
        tree_link(t, "../../devices/pci0000:00/0000:00:02.0/vfio-dev/vfio5", "sys/dev/char/1:3");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), 0);
        assert_int_equal(ops->cdev_is(t->kernel, null, &b), -EXDEV);

        /* It is being removed: not that of one which is there. */
        tree_remove(t, "sys/dev/char/1:3");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -ENOENT);
        tree_add_function(t, "pci0000:00", "0000:00:02.0", "0x020000\n");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -ENOENT);
        tree_put(t, "511:5\n", "sys/bus/pci/devices/0000:00:02.0/vfio-dev/vfio5/dev");
        assert_int_equal(ops->cdev_is(t->kernel, null, &a), -EXDEV);
        assert_int_equal(close(null), 0);
        assert_int_equal(close(file), 0);
}

/* A descriptor of something else is told apart from a kernel that is too old. */
static void test_no_iommufd(void **state) {
        Tree *t = *state;
        const KernelOps *ops = t->kernel->ops;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        uint32_t id = 77;

        assert_true(fd >= 0);
        assert_int_equal(ops->iommufd_account_process(t->kernel, fd), -EBADF);
        assert_int_equal(ops->ioas_alloc(t->kernel, fd, &id), -EBADF);
        assert_int_equal(ops->ioas_alloc(t->kernel, -1, &id), -EBADF);
        assert_int_equal(ops->object_probe(t->kernel, fd, KERNEL_OBJECT_ANY, 1), -EBADF);
        assert_int_equal(ops->object_probe(t->kernel, fd, KERNEL_OBJECT_IOAS, 1), -EBADF);
        assert_int_equal(ops->object_probe(t->kernel, fd, KERNEL_OBJECT_DEVICE, 1), -EBADF);
        assert_int_equal(ops->hw_queue_probe(t->kernel, fd, 1), -EBADF);
        assert_int_equal(ops->cdev_bind(t->kernel, fd, fd, NULL, &id), -EBADF);
        assert_int_equal(ops->cdev_notify_request(t->kernel, fd, -1), -EBADF);
        assert_int_equal(id, 77);
        assert_int_equal(close(fd), 0);
}

/* What arrives is the real host's, so only the ways of the descriptor are looked at. */
static void test_watch(void **state) {
        Tree *t = *state;
        int first, second, r;
        bool changed;

        r = t->kernel->ops->watch(t->kernel, &first);
        if (r == -EPERM || r == -EACCES || r == -EAFNOSUPPORT || r == -EPROTONOSUPPORT) {
                print_message("no netlink here: %s\n", strerror(-r));
                skip();
        }
        assert_int_equal(r, 0);
        assert_int_equal(t->kernel->ops->watch(t->kernel, &second), 0);
        assert_int_equal(first, second);
        assert_int_equal(t->kernel->ops->watch_drain(t->kernel, &changed), 0);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_empty_host),
                TEST(test_devices),
                TEST(test_amd),
                TEST(test_features_garbage),
                TEST(test_other_vendors),
                TEST(test_function),
                TEST(test_bridges),
                TEST(test_only),
                TEST(test_garbage),
                TEST(test_long_link),
                TEST(test_vanished),
                TEST(test_vanishing),
                TEST(test_nodes),
                TEST(test_nodes_sorted),
                TEST(test_nodes_without_memory),
                TEST(test_no_numa),
                TEST(test_memory_garbage),
                TEST(test_cdev_open),
                TEST(test_cdev_is),
                TEST(test_no_iommufd),
                TEST(test_watch),
        };
#undef TEST

        return cmocka_run_group_tests(tests, NULL, NULL);
}
