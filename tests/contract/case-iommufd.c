/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

#include "contract.h"

/* The iommufd itself, object ids, and what a scan must make sense of. */

static void open_is_close_on_exec(void **state) {
        Context c = context_open();

        (void)state;
        assert_int_equal(fcntl(c.iommufd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        context_close(&c);
}

static void account_process(void **state) {
        Context c = context_open();
        int r;

        (void)state;
        r = OP->iommufd_account_process(K, c.iommufd);
        if (r == -EPERM) {
                context_close(&c);
                contract_skip("CAP_SYS_RESOURCE is missing");
        }
        assert_ok(r);
        assert_ok(OP->iommufd_account_process(K, c.iommufd)); /* the same again is no change */

        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));
        assert_error(OP->iommufd_account_process(K, c.iommufd), EBUSY);
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        assert_ok(OP->iommufd_account_process(K, c.iommufd)); /* empty again */
        context_close(&c);
}

static void not_an_iommufd(void **state) {
        int other = memory_new(4096);
        uint32_t id;

        (void)state;
        assert_error(OP->ioas_alloc(K, other, &id), EBADF);
        assert_error(OP->iommufd_account_process(K, other), EBADF);
        assert_error(OP->object_destroy(K, other, 1), EBADF);
        assert_error(OP->ioas_alloc(K, -1, &id), EBADF);
        (void)fd_close(other);
}

static void ids_are_dense_and_reused(void **state) {
        Context c = context_open();
        uint32_t a, b, again;

        (void)state;
        assert_ok(OP->ioas_alloc(K, c.iommufd, &a));
        assert_ok(OP->ioas_alloc(K, c.iommufd, &b));
        assert_int_equal(a, 1);
        assert_int_equal(b, 2);

        assert_ok(OP->object_destroy(K, c.iommufd, a));
        assert_error(OP->object_destroy(K, c.iommufd, a), ENOENT);
        assert_ok(OP->ioas_alloc(K, c.iommufd, &again));
        assert_int_equal(again, a);
        context_close(&c);
}

static void ids_are_per_context(void **state) {
        Context a = context_open(), b = context_open();

        (void)state;
        assert_ok(OP->ioas_alloc(K, a.iommufd, &a.ioas));
        assert_error(OP->object_probe(K, b.iommufd, KERNEL_OBJECT_IOAS, a.ioas), ENOENT);
        assert_ok(OP->ioas_alloc(K, b.iommufd, &b.ioas));
        assert_int_equal(a.ioas, b.ioas);
        context_close(&a);
        assert_ok(OP->object_probe(K, b.iommufd, KERNEL_OBJECT_IOAS, b.ioas));
        context_close(&b);
}

static void duplicates_are_the_same(void **state) {
        Context c = context_open();
        int copy = fd_dup(c.iommufd);

        (void)state;
        assert_true(copy >= 0);
        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));
        (void)close(c.iommufd);
        c.iommufd = copy;
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_IOAS, c.ioas));
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        context_close(&c);
}

static void probe_tells_kinds(void **state) {
        Context c = context_bind(0);

        (void)state;
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, c.device));
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_IOAS, c.ioas));
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, c.device));
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, c.ioas));
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, c.ioas), ENOENT);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_IOAS, c.device), ENOENT);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, 4711), ENOENT);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, 4711), ENOENT);
        context_close(&c);
}

static void scan_is_sorted_and_whole(void **state) {
        const HostScan *s = contract_host.scan;

        (void)state;
        for (size_t i = 1; i < s->n_functions; i++)
                assert_true(pci_address_compare(&s->functions[i - 1].address,
                                                &s->functions[i].address) < 0);
        for (size_t i = 1; i < s->n_iommus; i++)
                assert_true(s->iommus[i - 1].index < s->iommus[i].index);
        for (size_t i = 1; i < s->n_nodes; i++)
                assert_true(s->nodes[i - 1].node < s->nodes[i].node);
        assert_true(s->total_memory_bytes > 0);
}

static void scan_only_some(void **state) {
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        PciAddress wanted[2] = { { .segment = 0xfffe, .bus = 0xff, .devfn = 0xff } };

        (void)state;
        if (!contract_host.has_pair)
                contract_skip("no group of two idle functions");

        wanted[1] = contract_host.pair[0];
        assert_ok(OP->scan(K, wanted, 2, &s));
        assert_true(s->n_functions >= 2); /* the other member comes along, a bridge may */
        for (size_t i = 0; i < s->n_functions; i++)
                assert_int_equal(s->functions[i].group, s->functions[0].group);
        assert_int_equal(s->n_iommus, contract_host.scan->n_iommus);
}

static void scan_of_none_there(void **state) {
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        PciAddress wanted = { .segment = 0xfffe, .bus = 0xff, .devfn = 0xff };

        (void)state;
        assert_ok(OP->scan(K, &wanted, 1, &s));
        assert_int_equal(s->n_functions, 0);
}

int contract_run_iommufd(void) {
        const struct CMUnitTest iommufd[] = {
                contract_case(open_is_close_on_exec), contract_case(account_process),
                contract_case(not_an_iommufd),        contract_case(ids_are_dense_and_reused),
                contract_case(ids_are_per_context),   contract_case(duplicates_are_the_same),
                contract_case(probe_tells_kinds),     contract_case(scan_is_sorted_and_whole),
                contract_case(scan_only_some),        contract_case(scan_of_none_there),
        };

        return cmocka_run_group_tests(iommufd, NULL, NULL);
}
