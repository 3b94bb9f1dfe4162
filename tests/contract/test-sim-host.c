/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "test-sim.h"

/* Changes of the host by the control calls: functions that come and go, levels, limits. */

static bool is_readable(int fd, int msec) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        return poll(&p, 1, msec) == 1;
}

static PciFunctionInfo info_of(Kernel *k, PciAddress a) {
        _cleanup_(host_scan_freep) HostScan *s = NULL;

        assert_ok(k->ops->scan(k, &a, 1, &s));
        for (size_t i = 0; i < s->n_functions; i++)
                if (pci_address_equal(&s->functions[i].address, &a))
                        return s->functions[i];
        return (PciFunctionInfo){ .group = KERNEL_NONE, .address = { .bus = 0xff } };
}

static bool is_there(Kernel *k, PciAddress a) {
        PciFunctionInfo info = info_of(k, a);

        return pci_address_equal(&info.address, &a);
}

static PciFunctionInfo new_function(const char *a) {
        return (PciFunctionInfo){
                .address = address(a),
                .host_iommu = 0,
                .group = KERNEL_NONE,
                .numa_node = 0,
                .cdev = 99,
                .driver = "vfio-pci",
        };
}

static void plug(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciFunctionInfo fn = new_function("0000:50:00.0"), bad;
        PciAddress nic = FN_NIC;
        bool changed;
        Vm vm;
        int fd;

        (void)state;
        assert_ok(k->ops->watch(k, &fd));
        assert_ok(k->ops->watch_drain(k, &changed));
        assert_false(changed);

        assert_ok(sim_plug(k, &fn));
        assert_true(is_readable(fd, 5000));
        assert_ok(k->ops->watch_drain(k, &changed));
        assert_true(changed);
        assert_false(is_readable(fd, 0));
        assert_error(sim_plug(k, &fn), EEXIST);

        vm = vm_new(k, fn.address, true);
        vm_close(&vm);
        assert_ok(sim_unplug(k, &fn.address));
        assert_false(is_there(k, fn.address));
        assert_true(is_readable(fd, 5000));
        assert_error(sim_unplug(k, &fn.address), ENOENT);

        bad = new_function("0001:50:00.0");
        assert_error(sim_plug(k, &bad), EINVAL);
        bad = new_function("0000:50:00.1");
        bad.host_iommu = 7;
        assert_error(sim_plug(k, &bad), EINVAL);
        bad = new_function("0000:50:00.1");
        bad.n_aliases = 5;
        assert_error(sim_plug(k, &bad), EINVAL);
        bad = new_function("0000:50:00.1");
        memset(bad.driver, 'x', sizeof(bad.driver));
        assert_error(sim_plug(k, &bad), EINVAL);
        assert_int_equal(info_of(k, nic).cdev, 0); /* numbers are given out lowest first */
}

static void unplug_waits(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small"), *other = NULL;
        PciAddress nic = FN_NIC;
        Vm vm = vm_new(k, nic, true);
        int event = eventfd(0, EFD_CLOEXEC), watch, again;
        bool changed;

        (void)state;
        assert_ok(k->ops->watch(k, &watch));
        assert_ok(k->ops->cdev_notify_request(k, vm.cdev, event));
        assert_false(is_readable(event, 30));

        /* Another process would do it on a Kernel of its own. */
        assert_ok(sim_kernel_new(NULL, sim_kernel_get_state_fd(k), &other, NULL));
        assert_ok(sim_unplug(other, &nic));
        assert_true(is_readable(event, 5000));
        assert_true(is_there(k, nic));
        assert_int_equal(info_of(k, nic).cdev, KERNEL_NONE);
        assert_error(k->ops->cdev_open(k, &nic, &again), ENOENT);
        assert_error(sim_plug(k, &(PciFunctionInfo){ .address = nic,
                                                     .host_iommu = KERNEL_NONE,
                                                     .group = KERNEL_NONE }),
                     EEXIST);
        assert_ok(k->ops->watch_drain(k, &changed));

        /* Nobody calls the kernel, and yet the watcher hears of it. */
        vm.cdev = fd_close(vm.cdev);
        assert_true(is_readable(watch, 5000));
        assert_false(is_there(k, nic));
        vm_close(&vm);
        (void)close(event);
        assert_nothing_left(k);
}

/* An eventfd that comes after the removal began is told at once; one taken off is left alone. */
static void request_registered_late(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciAddress nic = FN_NIC;
        Vm vm = vm_new(k, nic, false);
        int early = eventfd(0, EFD_CLOEXEC), late = eventfd(0, EFD_CLOEXEC);

        (void)state;
        assert_ok(k->ops->cdev_notify_request(k, vm.cdev, early));
        assert_ok(k->ops->cdev_notify_request(k, vm.cdev, -1));
        assert_ok(sim_unplug(k, &nic));
        assert_false(is_readable(early, 50));
        assert_ok(k->ops->cdev_notify_request(k, vm.cdev, late));
        assert_true(is_readable(late, 5000));
        vm_close(&vm);
        (void)close(early);
        (void)close(late);
        assert_nothing_left(k);
}

static void driver_changes(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciAddress nic = FN_NIC, nvme = FN_HOST;
        Vm vm = vm_new(k, nic, false), other;
        int cdev;

        (void)state;
        assert_ok(sim_set_driver(k, &nvme, ""));
        assert_string_equal(info_of(k, nvme).driver, "");
        assert_ok(sim_set_driver(k, &nvme, "vfio-pci"));
        assert_int_not_equal(info_of(k, nvme).cdev, KERNEL_NONE);
        other = vm_new(k, nvme, true);
        vm_close(&other);

        assert_ok(sim_set_driver(k, &nic, "mlx5_core"));
        assert_string_equal(info_of(k, nic).driver, "vfio-pci"); /* still waiting */
        assert_error(k->ops->cdev_open(k, &nic, &cdev), ENOENT);
        vm_close(&vm);
        assert_string_equal(info_of(k, nic).driver, "mlx5_core");
        assert_error(sim_set_driver(k, &(PciAddress){ .bus = 9 }, ""), ENOENT);
        assert_error(sim_set_driver(k, &nic, "a driver's name that is far too long"), EINVAL);
        assert_nothing_left(k);
}

static void group_follows_drivers(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciAddress gpu = FN_GPU, audio = FN_AUDIO;
        uint32_t device;
        int iommufd, cdev;

        (void)state;
        assert_ok(k->ops->iommufd_open(k, &iommufd));
        assert_ok(k->ops->cdev_open(k, &gpu, &cdev));
        assert_ok(sim_set_driver(k, &audio, "snd_hda_intel"));
        assert_error(k->ops->cdev_bind(k, cdev, iommufd, NULL, &device), EPERM);
        assert_ok(sim_set_driver(k, &audio, ""));
        assert_ok(k->ops->cdev_bind(k, cdev, iommufd, NULL, &device));
        (void)close(cdev);
        (void)close(iommufd);
}

/* The first instance of a segment takes TransDevID 0xffff. */
static void trans_devid_clash(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciFunctionInfo fn = new_function("0000:ff:1f.7"), aliased = new_function("0000:51:00.0");
        Vm vm = vm_new(k, FN_NIC, true), clash;

        (void)state;
        aliased.aliases[aliased.n_aliases++] = 0xffff;
        assert_ok(sim_plug(k, &fn));
        assert_ok(sim_plug(k, &aliased));
        clash = vm_new(k, fn.address, false);
        assert_error(k->ops->cdev_attach(k, clash.cdev, clash.hwpt), EBUSY);
        vm_close(&clash);
        clash = vm_new(k, aliased.address, false);
        assert_error(k->ops->cdev_attach(k, clash.cdev, clash.hwpt), EBUSY);

        vm_close(&vm); /* which nobody notices until the attach fails */
        assert_ok(k->ops->cdev_attach(k, clash.cdev, clash.hwpt));
        vm_close(&clash);
        assert_nothing_left(k);
}

static void levels(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        Vm vm = vm_new(k, FN_NIC, true), other;

        (void)state;
        assert_ok(k->ops->hw_queue_probe(k, vm.iommufd, vm.viommu.viommu_id));
        assert_ok(sim_set_level(k, 1, SIM_LEVEL_PLUMBING));
        assert_ok(k->ops->hw_queue_probe(k, vm.iommufd, vm.viommu.viommu_id)); /* as it was made */
        assert_ok(vm_add_viommu(k, &vm));
        assert_error(k->ops->hw_queue_probe(k, vm.iommufd, vm.viommu.viommu_id), EOPNOTSUPP);

        other = vm_new(k, address("0000:01:00.0"), true); /* behind another one */
        assert_ok(k->ops->hw_queue_probe(k, other.iommufd, other.viommu.viommu_id));
        vm_close(&other);

        assert_ok(sim_set_level(k, KERNEL_NONE, SIM_LEVEL_NESTING));
        assert_ok(vm_add_viommu(k, &vm));
        assert_int_equal(vm.viommu.vfmmio_offset, 0);
        assert_ok(sim_set_level(k, KERNEL_NONE, SIM_LEVEL_NONE));
        assert_error(vm_add_viommu(k, &vm), EOPNOTSUPP);
        assert_error(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &vm.hwpt),
                     EOPNOTSUPP);
        assert_error(sim_set_level(k, 99, SIM_LEVEL_NONE), ENOENT);
        assert_error(sim_set_level(k, 0, _SIM_LEVEL_MAX), EINVAL);
        vm_close(&vm);
        assert_nothing_left(k);
}

static void limits_of_instances(void **state) {
        static const struct {
                SimLimit limit;
                uint32_t scope;
                uint64_t value;
                int error;
        } limits[] = {
                { SIM_LIMIT_GUEST_IDS, 1, 2, ENOSPC },
                { SIM_LIMIT_TRANS_DEVIDS, 0, 2, ENOSPC },
                { SIM_LIMIT_CONTIGUOUS_BYTES, 0, 7 << 19, ENOMEM },
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(limits); i++) {
                _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
                Vm vm = vm_new(k, FN_NIC, true), other;

                assert_ok(sim_set_limit(k, limits[i].limit, limits[i].scope, limits[i].value));
                assert_ok(vm_add_viommu(k, &vm));
                assert_int_equal(vm_add_viommu(k, &vm), -limits[i].error);
                other = vm_new(k, address("0002:01:00.0"), true); /* elsewhere there is plenty */
                vm_close(&other);
                vm_close(&vm);
                assert_nothing_left(k);
        }
}

static void limit_of_domain_ids(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Vm vm = vm_new(k, FN_NIC, false);
        uint32_t id;

        (void)state;
        assert_ok(sim_set_limit(k, SIM_LIMIT_HOST_DOMAIN_IDS, KERNEL_NONE, 2));
        assert_ok(k->ops->cdev_attach(k, vm.cdev, vm.ioas)); /* takes one, as each page table */
        assert_error(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &id),
                     ENOSPC);
        assert_ok(k->ops->cdev_attach(k, vm.cdev, vm.hwpt));
        assert_ok(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &id));
        vm_close(&vm);
        assert_nothing_left(k);
}

static void limit_of_pinned_memory(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        _cleanup_close_ int ram = memfd_create("ram", MFD_CLOEXEC);
        KernelMapping m = { .fd = ram, .length = 1 << 20, .iova = 0 };
        Vm vm = vm_new(k, FN_NIC, false);
        SimCounters n;
        uint32_t id;

        (void)state;
        assert_int_equal(ftruncate(ram, 4 << 20), 0);
        assert_ok(sim_set_limit(k, SIM_LIMIT_PINNED_BYTES, KERNEL_NONE, 2 << 20));
        for (m.iova = 0; m.iova < 2 << 20; m.iova += m.length)
                assert_ok(k->ops->ioas_map_file(k, vm.iommufd, vm.ioas, &m));
        assert_error(k->ops->ioas_map_file(k, vm.iommufd, vm.ioas, &m), ENOMEM);
        sim_get_counters(k, &n);
        assert_int_equal(n.pinned_bytes, 2 << 20);
        assert_int_equal(n.mappings, 2);

        /* A second page table pins nothing more; without any, mapping is free and the next one pays. */
        assert_ok(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &id));
        assert_ok(k->ops->object_destroy(k, vm.iommufd, id));
        assert_ok(k->ops->object_destroy(k, vm.iommufd, vm.hwpt));
        assert_ok(k->ops->ioas_map_file(k, vm.iommufd, vm.ioas, &m));
        sim_get_counters(k, &n);
        assert_int_equal(n.pinned_bytes, 0);
        assert_int_equal(n.mapped_bytes, 3 << 20);
        assert_error(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &id),
                     ENOMEM);
        vm_close(&vm);
        assert_nothing_left(k);
}

static void limits_refused(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");

        (void)state;
        assert_error(sim_set_limit(k, SIM_LIMIT_GUEST_IDS, 9, 1), ENOENT);
        assert_error(sim_set_limit(k, SIM_LIMIT_TRANS_DEVIDS, 9, 1), ENOENT);
        assert_error(sim_set_limit(k, SIM_LIMIT_CONTIGUOUS_BYTES, 9, 1), ENOENT);
        assert_error(sim_set_limit(k, SIM_LIMIT_GUEST_IDS, 0, 65536), EINVAL);
        assert_error(sim_set_limit(k, SIM_LIMIT_VIOMMU_DATA_LEN, 0, 12), EINVAL);
        assert_error(sim_set_limit(k, _SIM_LIMIT_MAX, 0, 1), EINVAL);
}

static void user_data_of_sixteen(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Vm vm = vm_new(k, FN_NIC, true);
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = vm.device,
                .hwpt_id = vm.hwpt,
                .data_len = 16,
        };

        (void)state;
        assert_error(k->ops->viommu_alloc(k, vm.iommufd, &request, &vm.viommu), EINVAL);
        assert_ok(sim_set_limit(k, SIM_LIMIT_VIOMMU_DATA_LEN, KERNEL_NONE, 16));
        assert_ok(k->ops->viommu_alloc(k, vm.iommufd, &request, &vm.viommu));
        assert_error(vm_add_viommu(k, &vm), EINVAL); /* and no shorter one */
        vm_close(&vm);
}

static void nodes_show_instances(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        _cleanup_(host_scan_freep) HostScan *before = NULL, *after = NULL;
        Vm vm;

        (void)state;
        assert_ok(k->ops->scan(k, NULL, 0, &before));
        vm = vm_new(k, FN_NIC, true);
        assert_ok(k->ops->scan(k, NULL, 0, &after));
        assert_int_equal(before->nodes[0].free_contiguous_bytes -
                                 after->nodes[0].free_contiguous_bytes,
                         3 << 19);
        assert_int_equal(after->nodes[0].iommu_bytes - before->nodes[0].iommu_bytes, 384 * 4096);
        vm_close(&vm);
}

static void iommufd_goes(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        int fd;

        (void)state;
        assert_ok(sim_set_iommufd_error(k, EACCES));
        assert_error(k->ops->iommufd_open(k, &fd), EACCES);
        assert_ok(k->ops->scan(k, NULL, 0, &s));
        assert_int_equal(s->iommufd_error, -EACCES);
        assert_ok(sim_set_iommufd_error(k, 0));
        assert_ok(k->ops->iommufd_open(k, &fd));
        (void)close(fd);
        assert_error(sim_set_iommufd_error(k, -1), EINVAL);
}

static void vf_tokens(void **state) {
        static const uint8_t token[16] = { 7 };
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        PciAddress pf = address("0000:51:00.0"), vf = address("0000:51:00.1");
        int iommufd, cdev;
        uint32_t device;

        (void)state;
        assert_ok(k->ops->iommufd_open(k, &iommufd));
        assert_ok(k->ops->cdev_open(k, &vf, &cdev));
        assert_error(k->ops->cdev_bind(k, cdev, iommufd, token, &device), EACCES);
        assert_ok(sim_set_vf_token(k, &pf, token));
        assert_ok(k->ops->cdev_bind(k, cdev, iommufd, token, &device));
        (void)close(cdev);

        assert_ok(sim_set_vf_token(k, &pf, NULL));
        assert_ok(k->ops->cdev_open(k, &vf, &cdev));
        assert_error(k->ops->cdev_bind(k, cdev, iommufd, token, &device), EACCES);

        /* Once the PF has left vfio-pci, nobody asks, and a token is a mistake. */
        assert_ok(sim_set_driver(k, &pf, "mlx5_core"));
        assert_error(k->ops->cdev_bind(k, cdev, iommufd, token, &device), EINVAL);
        assert_ok(k->ops->cdev_bind(k, cdev, iommufd, NULL, &device));
        (void)close(cdev);
        (void)close(iommufd);
        assert_error(sim_set_vf_token(k, &(PciAddress){ .bus = 9 }, token), ENOENT);
        assert_nothing_left(k);
}

int test_sim_host(void) {
        const struct CMUnitTest host[] = {
                cmocka_unit_test(plug),
                cmocka_unit_test(unplug_waits),
                cmocka_unit_test(request_registered_late),
                cmocka_unit_test(driver_changes),
                cmocka_unit_test(group_follows_drivers),
                cmocka_unit_test(trans_devid_clash),
                cmocka_unit_test(levels),
                cmocka_unit_test(limits_of_instances),
                cmocka_unit_test(limit_of_domain_ids),
                cmocka_unit_test(limit_of_pinned_memory),
                cmocka_unit_test(limits_refused),
                cmocka_unit_test(user_data_of_sixteen),
                cmocka_unit_test(nodes_show_instances),
                cmocka_unit_test(iommufd_goes),
                cmocka_unit_test(vf_tokens),
        };

        return cmocka_run_group_tests(host, NULL, NULL);
}
