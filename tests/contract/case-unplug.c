/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <poll.h>
#include <sys/eventfd.h>

#include "contract.h"

/* Taking a function out while somebody has it. These cases use up the function, so they run last. */

#define PATIENCE_MSEC 30000 /* a hot plug slot's button alone takes five seconds */

static bool scan_has(const PciAddress *function, uint32_t *ret_cdev) {
        _cleanup_(host_scan_freep) HostScan *s = NULL;

        assert_ok(OP->scan(K, function, 1, &s));
        for (size_t i = 0; i < s->n_functions; i++)
                if (pci_address_equal(&s->functions[i].address, function)) {
                        *ret_cdev = s->functions[i].cdev;
                        return true;
                }
        return false;
}

static void wait_readable(int fd) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        assert_int_equal(poll(&p, 1, PATIENCE_MSEC), 1);
}

/* Until the function is gone, with each notice of the kernel's. */
static void wait_gone(int watch, const PciAddress *function) {
        uint32_t cdev;

        while (scan_has(function, &cdev)) {
                bool changed;

                wait_readable(watch);
                assert_ok(OP->watch_drain(K, &changed));
        }
}

static void unplug(void **state) {
        const PciAddress *function = contract_host.simulated ? &contract_host.functions[0]
                                                             : &contract_host.unplug_function;
        int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), watch, late, cdev;
        Context c = context_open();
        uint32_t n, device;
        bool changed;

        (void)state;
        if (contract_host.n_functions == 0 ||
            (!contract_host.simulated && !contract_host.unplug_command)) {
                (void)close(event);
                context_close(&c);
                contract_skip("no function here may be unplugged (--unplug-command)");
        }
        assert_ok(OP->watch(K, &watch));
        assert_ok(OP->watch_drain(K, &changed));
        assert_ok(bind_to(function, c.iommufd, &c.cdev, &c.device));
        assert_ok(OP->cdev_notify_request(K, c.cdev, event));
        assert_ok(OP->cdev_open(K, function, &late));

        assert_ok(contract_unplug(function));
        wait_readable(event);

        /* It is still there, and its holder still has it; but nobody else can get it. */
        assert_true(scan_has(function, &n));
        assert_int_equal(n, KERNEL_NONE);
        assert_error(OP->cdev_open(K, function, &cdev), ENOENT);
        assert_error(OP->cdev_is(K, c.cdev, function), ENOENT);
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, c.device));
        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));

        /* Who had opened it in time cannot bind it any more, but keeps it there. */
        c.cdev = fd_close(c.cdev);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, c.device), ENOENT);
        assert_true(scan_has(function, &n));
        assert_error(OP->cdev_bind(K, late, c.iommufd, NULL, &device), EAGAIN);
        (void)close(late);
        wait_gone(watch, function);
        assert_error(OP->cdev_open(K, function, &cdev), ENOENT);
        (void)close(event);
        context_close(&c);
}

int contract_run_unplug(void) {
        const struct CMUnitTest unplug_cases[] = {
                contract_case(unplug),
        };

        return cmocka_run_group_tests(unplug_cases, NULL, NULL);
}
