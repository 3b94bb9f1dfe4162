/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "contract.h"

/* Opening functions, binding them, the ownership of groups, and attaching to page tables. */

#define BASE UINT64_C(0x100000000)

static const PciAddress nowhere = { .segment = 0xfffe, .bus = 0xff, .devfn = 0xff };

static void open_errors(void **state) {
        int cdev;

        (void)state;
        assert_error(OP->cdev_open(K, &nowhere, &cdev), ENOENT);
        for (size_t i = 0; i < contract_host.scan->n_functions; i++) {
                const PciFunctionInfo *fn = &contract_host.scan->functions[i];

                if (!streq(fn->driver, "vfio-pci"))
                        assert_error(OP->cdev_open(K, &fn->address, &cdev), ENOENT);
        }
}

static void bind_twice(void **state) {
        Context c = context_bind(0);
        uint32_t device;
        int again;

        (void)state;
        assert_int_equal(fcntl(c.cdev, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        assert_error(OP->cdev_bind(K, c.cdev, c.iommufd, NULL, &device), EINVAL);

        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &again));
        assert_error(OP->cdev_bind(K, again, c.iommufd, NULL, &device), EINVAL);
        c.cdev = fd_close(c.cdev);
        assert_ok(OP->cdev_bind(K, again, c.iommufd, NULL, &device));
        (void)close(again);
        context_close(&c);
}

static void bind_from_second_iommufd(void **state) {
        Context c = context_bind(0), other = context_open();

        (void)state;
        /* That another file has it is seen before whose the group is. */
        assert_error(
                bind_to(&contract_host.functions[0], other.iommufd, &other.cdev, &other.device),
                EINVAL);
        c.cdev = fd_close(c.cdev);
        assert_ok(bind_to(&contract_host.functions[0], other.iommufd, &other.cdev, &other.device));
        context_close(&other);
        context_close(&c);
}

static void bind_bad_iommufd(void **state) {
        Context c = context_bind(0);
        int memory = memory_new(4096), cdev;
        uint32_t device;

        (void)state;
        c.cdev = fd_close(c.cdev);
        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &cdev));
        assert_error(OP->cdev_bind(K, cdev, -1, NULL, &device), EINVAL);
        assert_error(OP->cdev_bind(K, cdev, INT_MAX, NULL, &device), EBADF);
        assert_error(OP->cdev_bind(K, cdev, memory, NULL, &device), EBADFD);
        assert_error(OP->cdev_bind(K, memory, c.iommufd, NULL, &device), EBADF);
        (void)close(memory);
        (void)close(cdev);
        context_close(&c);
}

/* Neither a PF, nor a VF whose PF vfio-pci has. */
static bool knows_no_token(const PciAddress *address) {
        for (size_t i = 0; i < contract_host.scan->n_functions; i++) {
                const PciFunctionInfo *fn = &contract_host.scan->functions[i];

                if (pci_address_equal(&fn->address, address))
                        return fn->is_virtual || fn->class_code >> 8 != 0x0200;
        }
        return false;
}

static void bind_token_for_nothing(void **state) {
        static const uint8_t token[16] = { 1, 2, 3 };
        Context c = context_bind(0);
        uint32_t device;
        size_t n = 0;
        int cdev;

        (void)state;
        c.cdev = fd_close(c.cdev);
        while (n < contract_host.n_functions && !knows_no_token(&contract_host.functions[n]))
                n++;
        if (n == contract_host.n_functions) {
                context_close(&c);
                contract_skip("every idle function may be a PF, for which a token is no mistake");
        }
        assert_ok(OP->cdev_open(K, &contract_host.functions[n], &cdev));
        assert_error(OP->cdev_bind(K, cdev, c.iommufd, token, &device), EINVAL);
        assert_ok(OP->cdev_bind(K, cdev, c.iommufd, NULL, &device));
        (void)close(cdev);
        context_close(&c);
}

static int bind_with(const PciAddress *function, int iommufd, const uint8_t *token, int *ret_cdev) {
        uint32_t device;
        int cdev, r;

        r = OP->cdev_open(K, function, &cdev);
        if (r < 0)
                return r;
        r = OP->cdev_bind(K, cdev, iommufd, token, &device);
        if (r < 0)
                (void)close(cdev);
        else
                *ret_cdev = cdev;
        return r;
}

/* Whoever has the PF sets the token; whoever wants a VF must know it, and while one is used, so must the PF's user. */
static void vf_token(void **state) {
        static const uint8_t token[16] = { 1, 2, 3 }, wrong[16] = { 1, 2, 4 };
        const PciAddress *vf = &contract_host.guarded, *pf = &contract_host.guard;
        Context c = context_open();
        int pf_cdev, vf_cdev;

        (void)state;
        if (!contract_host.has_guarded) {
                context_close(&c);
                contract_skip("no VF on vfio-pci whose PF is there too");
        }
        assert_error(bind_with(vf, c.iommufd, NULL, &vf_cdev), EACCES);
        assert_error(bind_with(vf, c.iommufd, wrong, &vf_cdev), EACCES);

        assert_ok(bind_with(pf, c.iommufd, token, &pf_cdev));
        (void)close(pf_cdev); /* it stays set */
        assert_error(bind_with(vf, c.iommufd, NULL, &vf_cdev), EACCES);
        assert_error(bind_with(vf, c.iommufd, wrong, &vf_cdev), EACCES);
        assert_ok(bind_with(vf, c.iommufd, token, &vf_cdev));

        assert_error(bind_with(pf, c.iommufd, NULL, &pf_cdev), EACCES);
        assert_error(bind_with(pf, c.iommufd, wrong, &pf_cdev), EACCES);
        assert_ok(bind_with(pf, c.iommufd, token, &pf_cdev));
        (void)close(pf_cdev);
        (void)close(vf_cdev);
        context_close(&c);
}

static void group_has_one_owner(void **state) {
        Context a = context_open(), b = context_open();
        uint32_t device;
        int cdev;

        (void)state;
        if (!contract_host.has_pair) {
                context_close(&a);
                context_close(&b);
                contract_skip("no group of two idle functions");
        }
        assert_ok(bind_to(&contract_host.pair[0], a.iommufd, &a.cdev, &a.device));
        assert_error(bind_to(&contract_host.pair[1], b.iommufd, &b.cdev, &b.device), EPERM);
        assert_ok(bind_to(&contract_host.pair[1], a.iommufd, &cdev, &device));
        assert_int_not_equal(device, a.device);

        a.cdev = fd_close(a.cdev); /* the other half still holds the group */
        assert_error(bind_to(&contract_host.pair[0], b.iommufd, &b.cdev, &b.device), EPERM);
        (void)close(cdev);
        assert_ok(bind_to(&contract_host.pair[0], b.iommufd, &b.cdev, &b.device));
        context_close(&a);
        context_close(&b);
}

static void group_with_host_driver(void **state) {
        Context c = context_open();

        (void)state;
        if (!contract_host.has_shared) {
                context_close(&c);
                contract_skip("no idle function beside one on a host driver");
        }
        assert_error(bind_to(&contract_host.shared, c.iommufd, &c.cdev, &c.device), EPERM);
        context_close(&c);
}

static void group_has_one_table(void **state) {
        Context c = context_open();
        uint32_t second, ioas;
        int cdev;

        (void)state;
        if (!contract_host.has_pair) {
                context_close(&c);
                contract_skip("no group of two idle functions");
        }
        assert_ok(bind_to(&contract_host.pair[0], c.iommufd, &c.cdev, &c.device));
        assert_ok(bind_to(&contract_host.pair[1], c.iommufd, &cdev, &second));
        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));
        assert_ok(OP->ioas_alloc(K, c.iommufd, &ioas));

        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        assert_error(OP->cdev_attach(K, cdev, ioas), EINVAL);
        assert_ok(OP->cdev_attach(K, cdev, c.ioas));
        assert_error(OP->object_destroy(K, c.iommufd, c.ioas), EBUSY);

        /* Replacing it for one replaces it for both. */
        assert_ok(OP->cdev_attach(K, c.cdev, ioas));
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        assert_ok(OP->cdev_detach(K, c.cdev));
        assert_error(OP->object_destroy(K, c.iommufd, ioas), EBUSY);
        assert_ok(OP->cdev_detach(K, cdev));
        assert_ok(OP->object_destroy(K, c.iommufd, ioas));
        (void)close(cdev);
        context_close(&c);
}

static void attach_errors(void **state) {
        Context c = context_bind(0);
        int unbound;

        (void)state;
        assert_error(OP->cdev_attach(K, c.cdev, 4711), ENOENT);
        assert_error(OP->cdev_attach(K, c.cdev, c.device), EINVAL);
        assert_ok(OP->cdev_detach(K, c.cdev)); /* nothing to detach is fine */

        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &unbound));
        assert_error(OP->cdev_attach(K, unbound, c.ioas), EINVAL);
        assert_error(OP->cdev_detach(K, unbound), EINVAL);
        (void)close(unbound);
        context_close(&c);
}

static void attach_makes_a_table(void **state) {
        Context c = context_bind(0);
        uint32_t hidden = MAX(c.device, c.ioas) + 1;

        (void)state;
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, hidden), ENOENT);
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, hidden));
        assert_error(OP->object_destroy(K, c.iommufd, hidden), EBUSY);
        assert_error(OP->object_destroy(K, c.iommufd, c.ioas), EBUSY);
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas)); /* to the same again */
        assert_ok(OP->cdev_detach(K, c.cdev));
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, hidden), ENOENT);
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        context_close(&c);
}

static void attach_nest_parent(void **state) {
        Context c = context_nest(0);

        (void)state;
        assert_ok(OP->cdev_attach(K, c.cdev, c.hwpt));
        assert_error(OP->object_destroy(K, c.iommufd, c.hwpt), EBUSY);
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas)); /* replaces */
        assert_ok(OP->object_destroy(K, c.iommufd, c.hwpt));
        context_close(&c);
}

static void reserved_regions(void **state) {
        const KernelMapping msi = { .length = 4096, .iova = UINT64_C(0xfee00000), .fd = -1 };
        Context c = context_bind(0);
        KernelMapping m = msi;

        (void)state;
        c.ram = m.fd = memory_new(CONTRACT_RAM_BYTES);
        assert_ok(OP->ioas_map_file(K, c.iommufd, c.ioas, &m));
        assert_error(OP->cdev_attach(K, c.cdev, c.ioas), EADDRINUSE);
        assert_ok(OP->ioas_unmap(K, c.iommufd, c.ioas, m.iova, m.length));

        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        assert_error(OP->ioas_map_file(K, c.iommufd, c.ioas, &m), EINVAL);
        m.iova = UINT64_C(0xfee00000) - 4096;
        m.length = 8192;
        assert_error(OP->ioas_map_file(K, c.iommufd, c.ioas, &m), EINVAL);
        m.length = 4096;
        assert_ok(OP->ioas_map_file(K, c.iommufd, c.ioas, &m));

        /* Reserved only while something is attached. */
        assert_ok(OP->cdev_detach(K, c.cdev));
        m.iova = msi.iova;
        assert_ok(OP->ioas_map_file(K, c.iommufd, c.ioas, &m));
        context_close(&c);
}

static void reserved_hypertransport(void **state) {
        Context c = context_bind(0);
        KernelMapping m = { .length = 4096, .iova = UINT64_C(0xfd00000000) };

        (void)state;
        if (contract_host.scan->iommus[0].vendor != IOMMU_VENDOR_AMD ||
            (contract_host.scan->iommus[0].efr2 & (1 << 11))) {
                context_close(&c);
                contract_skip("this host has no HyperTransport hole");
        }
        c.ram = m.fd = memory_new(CONTRACT_RAM_BYTES);
        assert_ok(OP->ioas_map_file(K, c.iommufd, c.ioas, &m));
        assert_error(OP->cdev_attach(K, c.cdev, c.ioas), EADDRINUSE);
        assert_ok(OP->ioas_unmap(K, c.iommufd, c.ioas, m.iova, m.length));
        m.iova -= 4096;
        assert_ok(OP->ioas_map_file(K, c.iommufd, c.ioas, &m));
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        context_close(&c);
}

static void notify_request(void **state) {
        Context c = context_bind(0);
        int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), unbound;
        struct pollfd p = { .fd = event, .events = POLLIN };

        (void)state;
        assert_ok(OP->cdev_notify_request(K, c.cdev, event));
        assert_int_equal(poll(&p, 1, 50), 0); /* nobody wants it back */
        assert_ok(OP->cdev_notify_request(K, c.cdev, event));
        assert_ok(OP->cdev_notify_request(K, c.cdev, -1));
        assert_ok(OP->cdev_notify_request(K, c.cdev, -1));

        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &unbound));
        assert_error(OP->cdev_notify_request(K, unbound, event), EINVAL);
        (void)close(unbound);
        (void)close(event);
        context_close(&c);
}

static void whose_it_is(void **state) {
        Context c = context_bind(0);
        int unbound, null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)state;
        assert_ok(OP->cdev_is(K, c.cdev, &contract_host.functions[0]));
        assert_error(OP->cdev_is(K, c.cdev, &nowhere), EXDEV);
        for (size_t i = 1; i < contract_host.n_functions; i++)
                assert_error(OP->cdev_is(K, c.cdev, contract_host.functions + i), EXDEV);
        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &unbound));
        assert_ok(OP->cdev_is(K, unbound, &contract_host.functions[0]));
        (void)close(unbound);

        assert_error(OP->cdev_is(K, c.iommufd, &contract_host.functions[0]), EBADF);
        assert_error(OP->cdev_is(K, null, &contract_host.functions[0]), EBADF);
        assert_error(OP->cdev_is(K, -1, &contract_host.functions[0]), EBADF);
        (void)close(null);
        context_close(&c);
}

int contract_run_vfio(void) {
        const struct CMUnitTest vfio[] = {
                contract_case(open_errors),
                contract_case(bind_twice),
                contract_case(bind_from_second_iommufd),
                contract_case(bind_bad_iommufd),
                contract_case(bind_token_for_nothing),
                contract_case(vf_token),
                contract_case(group_has_one_owner),
                contract_case(group_with_host_driver),
                contract_case(group_has_one_table),
                contract_case(attach_errors),
                contract_case(attach_makes_a_table),
                contract_case(attach_nest_parent),
                contract_case(reserved_regions),
                contract_case(reserved_hypertransport),
                contract_case(notify_request),
                contract_case(whose_it_is),
        };

        return cmocka_run_group_tests(vfio, NULL, NULL);
}
