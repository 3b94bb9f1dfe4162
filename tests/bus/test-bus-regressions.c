/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What was wrong once, one test each: probes that found out less than they seemed to, and functions that counted as let go
 * while the VMM had them.
 */

#include "fixture.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC   "0000:01:00.0"
#define NIC2  "0000:41:00.0"
#define TOKEN "00112233-4455-6677-8899-aabbccddeeff"

/* The probe cannot bind a VF without its token; the answer is about the level, not the token. */
static void test_token_cold(void **state) {
        Fixture *f = *state;

        CREATE_FAILS(f, "VfTokenRequired", uuid_of(1), .tier = "hardware",
                     .functions = "0000:51:00.1");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = "0000:51:00.1,token=" TOKEN);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* A probe on a full node takes "no instance was free to look further" for kernel level "plumbing", and keeps that. */
static void test_level_on_full_node(void **state) {
        Fixture *f = *state;

        run_ok(f, SIMULATION_PATH, "Simulation", "SetLimit", "st", "contiguous",
               3 * (UINT64_C(1) << 19));
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        CREATE_FAILS(f, "NoContiguousMemory", uuid_of(2), .tier = "hardware", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(1));
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC2);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* A kernel call that fails once, during the first probe, is taken for what the kernel can do. */
static void test_first_probe(void **state) {
        /* one host IOMMU for each probe: what is known of one stays known */
        static const struct {
                const char *op;
                unsigned nth;
                const char *function;
        } cases[] = {
                { "hw_queue_probe", 1, "0001:01:00.0" },
        };
        Fixture *f = *state;
        size_t n_wrong = 0;

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const VmSpec spec = { .uuid = uuid_of(1),
                                      .tier = "hardware",
                                      .functions = cases[i].function };

                assert_int_equal(sim_inject_fault(f->kernel, cases[i].op, cases[i].nth, EIO), 0);
                for (int tries = 0; tries < 2; tries++) {
                        Call call;

                        call_start(f, &call, vm_request(f->bus, "CreateVm", &spec));
                        call_wait(&call);
                        if (!*call_error(&call))
                                vm_destroy_ok(f, spec.uuid);
                        else if (tries > 0) {
                                print_error("after %s: %s\n", cases[i].op, call_error(&call));
                                n_wrong++;
                        }
                        call_done(&call);
                        assert_int_equal(sim_clear_faults(f->kernel), 0);
                }
        }
        assert_int_equal(n_wrong, 0);
}

/* Cancelled while the host is looked at, an attach skips the probe and is then refused for what that would have told. */
static void test_cancel_cold(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        Call attach;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "scan", UINT64_C(150000));
        call_method(f, &attach, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        fixture_serve_for(f, 50000);
        run_ok(f, vm, "Vm", "Cancel", "");
        call_expect(&attach, "Cancelled");
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "", UINT64_C(0));
        vm_destroy_ok(f, uuid_of(1));
}

/* Of a VMM's devices only the number is known: with one function not bound yet, another counts as let go while it is bound. */
static void test_vmm_half_bound(void **state) {
        Fixture *f = *state;
        const KernelOps *ops = f->kernel->ops;
        const PciAddress address = address_of(NIC);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        uint32_t device;
        int iommufd, cdev;

        CREATE(f, uuid_of(1), .tier = "hardware", .handover = "vmm", .functions = NIC " " NIC2,
               .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid_of(1), NULL);
        assert_int_equal(ops->cdev_open(f->kernel, &address, &cdev), 0);
        assert_int_equal(ops->cdev_bind(f->kernel, cdev, iommufd, NULL, &device), 0);
        run_fails(f, "Busy", vm_path(uuid_of(1)), "Vm", "DetachDevice", "s", NIC);
        (void)close(cdev);
        (void)close(iommufd);
        vm_destroy_force(f, uuid_of(1));
        assert_nothing_left(f);
}

/* A probe of an id that fails with something else than "not there" counts as "not there". */
static void test_vmm_probe_fails(void **state) {
        Fixture *f = *state;
        const KernelOps *ops = f->kernel->ops;
        const PciAddress address = address_of(NIC);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        uint32_t device;
        int iommufd, cdev;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid_of(1), NULL);
        assert_int_equal(ops->cdev_open(f->kernel, &address, &cdev), 0);
        assert_int_equal(ops->cdev_bind(f->kernel, cdev, iommufd, NULL, &device), 0);
        assert_int_equal(sim_inject_fault(f->kernel, "object_probe", 1, EIO), 0);
        run_fails(f, "Busy", vm_path(uuid_of(1)), "Vm", "DetachDevice", "s", NIC);
        (void)close(cdev);
        (void)close(iommufd);
        vm_destroy_force(f, uuid_of(1));
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_token_cold),
                BUS_TEST(test_level_on_full_node),
                BUS_TEST(test_first_probe),
                BUS_TEST(test_cancel_cold),
                BUS_TEST(test_vmm_half_bound, .config = "DetachTimeoutSec=1"),
                BUS_TEST(test_vmm_probe_fails, .config = "DetachTimeoutSec=1"),
        };

        return bus_tests_run(argc, argv, tests);
}
