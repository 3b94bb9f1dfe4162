/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-sim.h"

/* The tests of the simulated kernel: profiles, its state across processes, changes of the host, trouble to order. */

PciAddress address(const char *s) {
        PciAddress a;

        assert_ok(pci_address_parse(s, &a));
        return a;
}

Kernel *host_new(const char *profile) {
        char path[512];
        Problem problem = {};
        Kernel *k;

        (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, profile);
        if (sim_kernel_new(path, -1, &k, &problem) < 0)
                fail_msg("%s", problem.text);
        return k;
}

int vm_add_viommu(Kernel *k, Vm *vm) {
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = vm->device,
                .hwpt_id = vm->hwpt,
                .data_len = 8,
        };

        return k->ops->viommu_alloc(k, vm->iommufd, &request, &vm->viommu);
}

Vm vm_new(Kernel *k, PciAddress function, bool viommu) {
        Vm vm = { -1, -1, 0, 0, 0, {} };

        assert_ok(k->ops->iommufd_open(k, &vm.iommufd));
        assert_ok(k->ops->cdev_open(k, &function, &vm.cdev));
        assert_ok(k->ops->cdev_bind(k, vm.cdev, vm.iommufd, NULL, &vm.device));
        assert_ok(k->ops->ioas_alloc(k, vm.iommufd, &vm.ioas));
        assert_ok(k->ops->hwpt_alloc_nest_parent(k, vm.iommufd, vm.device, vm.ioas, &vm.hwpt));
        if (viommu)
                assert_ok(vm_add_viommu(k, &vm));
        return vm;
}

void vm_close(Vm *vm) {
        vm->cdev = fd_close(vm->cdev);
        vm->iommufd = fd_close(vm->iommufd);
}

void assert_nothing_left(Kernel *k) {
        SimCounters n;

        sim_get_counters(k, &n);
        assert_true(sim_counters_are_zero(&n));
}

int main(void) {
        int failed = 0;

        failed += test_sim_profile();
        failed += test_sim_state();
        failed += test_sim_host();
        failed += test_sim_trouble();
        return failed > 0 ? 1 : 0;
}
