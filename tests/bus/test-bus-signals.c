/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the daemon tells unasked. */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"

static void test_vm(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        char expected[256];

        CREATE(f, uuid, .tier = "hardware", .functions = NIC);
        (void)snprintf(expected, sizeof(expected), "VmAdded \"%s\", \"%s\"", uuid, vm);
        (void)hear(f, expected);
        forget_signals(f);

        run_ok(f, vm, "Vm", "SetLeash", "h", self);
        (void)snprintf(expected, sizeof(expected), "VmChanged \"%s\", \"%s\"", uuid, vm);
        (void)hear(f, expected);
        (void)snprintf(expected, sizeof(expected),
                       "PropertiesChanged %s \"org.aviommu1.Vm\", {\"State\": \"bound\"*"
                       "\"Leash\": \"pidfd\", \"LeashDeadlineUSec\": 0*, \\[\\]",
                       vm);
        (void)hear(f, expected);

        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        (void)snprintf(expected, sizeof(expected),
                       "PropertiesChanged %s *\"Functions\": \\[*" NIC2 "*", vm);
        (void)hear(f, expected);
        forget_signals(f);

        vm_destroy_ok(f, uuid);
        (void)snprintf(expected, sizeof(expected), "PropertiesChanged %s *\"State\": \"draining\"*",
                       vm);
        (void)hear(f, expected);
        (void)snprintf(expected, sizeof(expected), "VmRemoved \"%s\", \"%s\", \"destroyed\"", uuid,
                       vm);
        (void)hear(f, expected);
        fixture_serve_for(f, 50000);
        assert_int_equal(count_heard(f, "Vm*"), 0); /* nothing more of a VM that is gone */
        (void)snprintf(expected, sizeof(expected), "PropertiesChanged %s *", vm);
        assert_int_equal(count_heard(f, expected), 0);
}

/* The order is that of a VM's life, and a VM that is refused has none. */
static void test_refused(void **state) {
        Fixture *f = *state;

        CREATE_FAILS(f, "NoSuchFunction", uuid_of(1), .tier = "virtio",
                     .functions = "0000:99:00.0");
        CREATE_FAILS(f, "TierUnavailable", uuid_of(1), .tier = "hardware", .functions = NIC2);
        fixture_serve_for(f, 100000);
        assert_int_equal(count_heard(f, "Vm*"), 0);
        assert_int_equal(count_heard(f, "CapacityChanged*"), 0);
}

static void test_host(void **state) {
        Fixture *f = *state;

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        (void)hear(f, "PropertiesChanged /org/aviommu1/host/ivhd1 \"org.aviommu1.HostIommu\", "
                      "{\"KernelLevel\": \"accelerated\", \"KernelLevelReason\": *");
        (void)hear(f, "PropertiesChanged /org/aviommu1 \"org.aviommu1.Manager\", "
                      "{\"KernelLevel\": \"accelerated\", \"Tiers\": *(\"hardware\", true, *");
}

#define CAPACITY_PROPERTIES                                                                        \
        "PropertiesChanged /org/aviommu1 \"org.aviommu1.Manager\", {}, "                           \
        "\\[\"Resources\", \"NVms\"*\\]"

/* The first change is told at once, many are told together, and the last is not forgotten. */
static void test_capacity(void **state) {
        Fixture *f = *state;
        uint64_t start, usec;
        size_t n;

        forget_signals(f);
        fixture_serve_for(f, 150000);
        start = now_usec();
        for (unsigned i = 0; i < 200; i++) {
                CREATE(f, uuid_of(i), .tier = "virtio", .handover = "none");
                if (i == 0) {
                        (void)hear(f, "CapacityChanged*");
                        (void)hear(f, CAPACITY_PROPERTIES);
                }
        }
        usec = now_usec() - start;
        n = count_heard(f, "CapacityChanged*");
        if (n > usec / 100000 + 1)
                fail_msg("%zu in %" PRIu64 " ms", n, usec / 1000);
        fixture_serve_for(f, 600000); /* the daemon's timers go off together with others */
        n = count_heard(f, "CapacityChanged*");
        assert_true(n >= 1);
        assert_int_equal(count_heard(f, CAPACITY_PROPERTIES), n);

        /* Quiet: nothing changes, nothing is told. */
        forget_signals(f);
        fixture_serve_for(f, 300000);
        assert_int_equal(count_heard(f, "*"), 0);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_vm),
                BUS_TEST(test_refused, .profile = "stock"),
                BUS_TEST(test_host),
                BUS_TEST(test_capacity),
        };

        return bus_tests_run(argc, argv, tests);
}
