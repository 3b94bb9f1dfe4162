/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "contract.h"

/* Nest parents, vIOMMUs of each type, their user data, VF MMIO pages, vDEVICEs, and Guest IDs that run out. */

static int alloc(const Context *c, uint32_t type, uint32_t hwpt, uint32_t data_len,
                 KernelViommu *ret) {
        KernelViommuRequest request = {
                .type = type,
                .device_id = c->device,
                .hwpt_id = hwpt,
                .data_len = data_len,
        };

        return OP->viommu_alloc(K, c->iommufd, &request, ret);
}

static void nest_parent(void **state) {
        Context c = context_nest(0);
        uint32_t id;

        (void)state;
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, 4711, c.ioas, &id), ENOENT);
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.ioas, c.ioas, &id), ENOENT);
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, 4711, &id), EINVAL);
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.device, &id), EINVAL);
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.hwpt, &id), EOPNOTSUPP);
        assert_ok(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.ioas, &id));
        assert_ok(OP->object_destroy(K, c.iommufd, id));
        context_close(&c);
}

static void nest_parent_unsupported(void **state) {
        Context c = context_bind(0);

        (void)state;
        if (contract_host.nests) {
                context_close(&c);
                contract_skip("this kernel gives nest parents");
        }
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.ioas, &c.hwpt),
                     EOPNOTSUPP);
        context_close(&c);
}

static void type_none(void **state) {
        Context c = context_bind(0);

        (void)state;
        if (contract_host.any_type || contract_host.checks_type) {
                context_close(&c);
                contract_skip("this kernel allocates vIOMMUs");
        }
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, 0, contract_host.data_len, &c.viommu),
                     EOPNOTSUPP);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_BOGUS, 0, contract_host.data_len, &c.viommu),
                     EOPNOTSUPP);
        context_close(&c);
}

/* Linux 7.3-rc7: success is no sign of anything. */
static void type_any(void **state) {
        static const uint32_t types[] = { 1, 2, KERNEL_VIOMMU_TYPE_AMD, 0xdead,
                                          KERNEL_VIOMMU_TYPE_BOGUS };
        Context c = context_nest(0);
        volatile void *page;

        (void)state;
        if (!contract_host.any_type) {
                context_close(&c);
                contract_skip("this kernel looks at the type");
        }
        assert_error(alloc(&c, 0, c.hwpt, contract_host.data_len, &c.viommu), EOPNOTSUPP);
        for (size_t i = 0; i < ELEMENTSOF(types); i++) {
                assert_error(alloc(&c, types[i], 0, contract_host.data_len, &c.viommu), ENOENT);
                assert_ok(alloc(&c, types[i], c.hwpt, i % 2 ? 8 : 0, &c.viommu));
                assert_int_equal(c.viommu.vfmmio_offset, 0);
                assert_error(OP->vfmmio_map(K, c.iommufd, 0, &page), ENXIO);
                assert_error(OP->hw_queue_probe(K, c.iommufd, c.viommu.viommu_id), EOPNOTSUPP);
                assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        }
        context_close(&c);
}

static void type_checked(void **state) {
        Context c = context_nest(0);

        (void)state;
        if (!contract_host.checks_type) {
                context_close(&c);
                contract_skip("this kernel has no AMD vIOMMU");
        }
        assert_error(alloc(&c, 0, c.hwpt, contract_host.data_len, &c.viommu), EOPNOTSUPP);
        assert_error(alloc(&c, 1, c.hwpt, contract_host.data_len, &c.viommu), EOPNOTSUPP);
        assert_error(alloc(&c, 2, c.hwpt, contract_host.data_len, &c.viommu), EOPNOTSUPP);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_BOGUS, c.hwpt, contract_host.data_len, &c.viommu),
                     EOPNOTSUPP);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_BOGUS, 0, contract_host.data_len, &c.viommu),
                     EOPNOTSUPP);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, 0, contract_host.data_len, &c.viommu),
                     ENOENT);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.ioas, contract_host.data_len, &c.viommu),
                     ENOENT);
        context_close(&c);
}

static void bad_names(void **state) {
        Context c = context_nest(0);
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = 4711,
                .hwpt_id = c.hwpt,
                .data_len = contract_host.data_len,
        };

        (void)state;
        assert_error(OP->viommu_alloc(K, c.iommufd, &request, &c.viommu), ENOENT);
        request.device_id = c.ioas;
        assert_error(OP->viommu_alloc(K, c.iommufd, &request, &c.viommu), ENOENT);
        assert_error(OP->hw_queue_probe(K, c.iommufd, 4711), ENOENT);
        context_close(&c);
}

/* A table that the kernel made by itself is no nest parent. */
static void not_a_nest_parent(void **state) {
        Context c = context_bind(0);
        uint32_t hidden = MAX(c.device, c.ioas) + 1;

        (void)state;
        if (!contract_host.checks_type && !contract_host.any_type) {
                context_close(&c);
                contract_skip("this kernel allocates no vIOMMU");
        }
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, hidden, contract_host.data_len, &c.viommu),
                     EINVAL);
        context_close(&c);
}

static void user_data(void **state) {
        Context c = context_viommu_real(0);
        KernelViommu other = {};
        int r;

        (void)state;
        assert_int_not_equal(c.viommu.vfmmio_offset, 0);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, 0, &other), EINVAL);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, 4, &other), EINVAL);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, 24, &other), EINVAL);

        /* Of the two lengths that trees have been seen with, a kernel takes one, or both. */
        r = alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, 24 - contract_host.data_len, &other);
        if (r == 0)
                assert_int_not_equal(other.vfmmio_offset, 0);
        else
                assert_int_equal(r, -EINVAL);
        context_close(&c);
}

static void vfmmio(void **state) {
        Context c = context_viommu_real(0);
        volatile void *page, *other;

        (void)state;
        assert_error(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset + (1 << 20), &page),
                     ENXIO);
        assert_error(OP->vfmmio_map(K, c.iommufd, 0, &page), ENXIO);
        assert_error(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset + 1, &page), EINVAL);

        assert_ok(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset, &page));
        ((volatile uint32_t *)page)[1023] = 0x12345678;
        assert_ok(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset, &other));
        assert_int_equal(((volatile uint32_t *)other)[1023], 0x12345678);

        assert_error(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id), EBUSY);
        assert_ok(OP->vfmmio_unmap(K, c.iommufd, c.viommu.vfmmio_offset, page));
        assert_error(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id), EBUSY);
        assert_ok(OP->vfmmio_unmap(K, c.iommufd, c.viommu.vfmmio_offset, other));
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        assert_error(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset, &page), ENXIO);
        context_close(&c);
}

static void vfmmio_is_per_context(void **state) {
        Context a = context_viommu_real(0), b;
        volatile void *page;

        (void)state;
        if (contract_host.n_functions < 2) {
                context_close(&a);
                contract_skip("only one idle function");
        }
        b = context_open();
        assert_error(OP->vfmmio_map(K, b.iommufd, a.viommu.vfmmio_offset, &page), ENXIO);
        context_close(&b);
        context_close(&a);
}

static void hw_queues(void **state) {
        Context c = context_viommu_real(0);

        (void)state;
        if (contract_host.has_hw_queues)
                assert_ok(OP->hw_queue_probe(K, c.iommufd, c.viommu.viommu_id));
        else
                assert_error(OP->hw_queue_probe(K, c.iommufd, c.viommu.viommu_id), EOPNOTSUPP);
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id)); /* nothing was left */
        context_close(&c);
}

static void vdevice_names(void **state) {
        Context c = context_viommu(0);
        const GuestDeviceId guest = { 0x0010 };
        uint32_t id;

        (void)state;
        assert_error(OP->vdevice_alloc(K, c.iommufd, 4711, c.device, guest, &id), ENOENT);
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.hwpt, c.device, guest, &id), ENOENT);
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, 4711, guest, &id), ENOENT);
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.ioas, guest, &id),
                     ENOENT);
        context_close(&c);
}

/* What stands on a vIOMMU is no nest parent, whatever it is. */
static void nest_parent_on_viommu(void **state) {
        Context c = context_viommu(0);
        uint32_t id, device;
        int cdev;

        (void)state;
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.viommu.viommu_id, &id),
                     EOPNOTSUPP);
        if (contract_host.has_elsewhere) {
                assert_ok(bind_to(&contract_host.elsewhere, c.iommufd, &cdev, &device));
                assert_error(
                        OP->hwpt_alloc_nest_parent(K, c.iommufd, device, c.viommu.viommu_id, &id),
                        EINVAL);
                (void)close(cdev);
        }
        context_close(&c);
}

static void vdevice_duplicates(void **state) {
        Context c = context_viommu(0);
        const GuestDeviceId guest = { 0x0010 }, other = { 0xffff };
        uint32_t first, second, device;
        int cdev;

        (void)state;
        if (contract_host.n_functions < 2) {
                context_close(&c);
                contract_skip("only one idle function");
        }
        assert_ok(bind_to(&contract_host.functions[1], c.iommufd, &cdev, &device));
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device, guest, &first));
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device, other, &second),
                     EEXIST);
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, device, guest, &second),
                     EEXIST);
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, device, other, &second));
        assert_ok(OP->object_destroy(K, c.iommufd, first));
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device, guest, &first));
        (void)close(cdev);
        context_close(&c);
}

static void vdevice_other_iommu(void **state) {
        Context c = context_viommu(0);
        uint32_t id, device;
        int cdev;

        (void)state;
        if (!contract_host.has_elsewhere) {
                context_close(&c);
                contract_skip("no idle function behind another host IOMMU");
        }
        assert_ok(bind_to(&contract_host.elsewhere, c.iommufd, &cdev, &device));
        assert_error(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, device,
                                       (GuestDeviceId){ 8 }, &id),
                     EINVAL);
        (void)close(cdev);
        context_close(&c);
}

/* One nest parent may serve functions behind several host IOMMUs. */
static void nest_parent_is_shareable(void **state) {
        Context c = context_nest(0);
        uint32_t device;
        int cdev;

        (void)state;
        if (!contract_host.has_elsewhere) {
                context_close(&c);
                contract_skip("no idle function behind another host IOMMU");
        }
        assert_ok(bind_to(&contract_host.elsewhere, c.iommufd, &cdev, &device));
        assert_ok(OP->cdev_attach(K, c.cdev, c.hwpt));
        assert_ok(OP->cdev_attach(K, cdev, c.hwpt));
        (void)close(cdev);
        context_close(&c);
}

static void guest_ids_run_out(void **state) {
        Context c = context_viommu_real(0);
        KernelViommu more;
        uint32_t last = c.viommu.viommu_id;

        (void)state;
        if (contract_host.max_guest_ids == 0) {
                context_close(&c);
                contract_skip("nobody said how many Guest IDs there are (--max-guest-ids)");
        }
        for (uint32_t i = 1; i < contract_host.max_guest_ids; i++) {
                assert_ok(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, contract_host.data_len, &more));
                last = more.viommu_id;
        }
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, contract_host.data_len, &more),
                     ENOSPC);
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, contract_host.data_len, &more),
                     ENOSPC);

        assert_ok(OP->object_destroy(K, c.iommufd, last));
        assert_ok(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, contract_host.data_len, &more));
        assert_error(alloc(&c, KERNEL_VIOMMU_TYPE_AMD, c.hwpt, contract_host.data_len, &more),
                     ENOSPC);

        context_close(&c); /* and all come back */
        c = context_viommu_real(0);
        context_close(&c);
}

int contract_run_viommu(void) {
        const struct CMUnitTest viommu[] = {
                contract_case(nest_parent),
                contract_case(nest_parent_unsupported),
                contract_case(type_none),
                contract_case(type_any),
                contract_case(type_checked),
                contract_case(bad_names),
                contract_case(not_a_nest_parent),
                contract_case(user_data),
                contract_case(vfmmio),
                contract_case(vfmmio_is_per_context),
                contract_case(hw_queues),
                contract_case(nest_parent_on_viommu),
                contract_case(vdevice_names),
                contract_case(vdevice_duplicates),
                contract_case(vdevice_other_iommu),
                contract_case(nest_parent_is_shareable),
                contract_case(guest_ids_run_out),
        };

        return cmocka_run_group_tests(viommu, NULL, NULL);
}
