/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Functions and drivers that come and go while the daemon runs, also under a VM that has them, and the memory that they pin. */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC     "0000:41:00.0"
#define DISK    "0000:42:00.0"
#define GPU     "0000:43:00.0"
#define GPU_1   "0000:43:00.1"
#define ON_HOST "0000:44:00.0"
#define IDLE    "0000:45:00.0"

/* State and VM of a function as ListFunctions has them, "idle" or "assigned UUID"; "" when it is not listed. */
static const char *listed(Fixture *f, const char *function) {
        sd_bus_message *m = ask(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000));
        const char *address, *driver, *iommu, *function_state, *uuid;
        static char found[64];
        uint32_t group;
        int32_t node;

        found[0] = '\0';
        assert_true(sd_bus_message_enter_container(m, 'a', "(sssuissa{sv})") > 0);
        while (sd_bus_message_enter_container(m, 'r', "sssuissa{sv}") > 0) {
                assert_true(sd_bus_message_read(m, "sssuiss", &address, &driver, &iommu, &group,
                                                &node, &function_state, &uuid) > 0);
                if (streq(address, function))
                        (void)snprintf(found, sizeof(found), "%s%s%s", function_state,
                                       *uuid ? " " : "", uuid);
                assert_true(sd_bus_message_skip(m, "a{sv}") >= 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
        sd_bus_message_unref(m);
        return found;
}

/* The VM's functions have become this. */
static bool has_functions(Fixture *f, const char *uuid, const char *expected) {
        _cleanup_free_ char *text = property(f, vm_path(uuid), "Vm", "Functions");

        return streq(text, expected);
}

static void simulate(Fixture *f, const char *what, const char *function) {
        run_ok(f, SIMULATION_PATH, "Simulation", what, "s", function);
}

static void set_driver(Fixture *f, const char *function, const char *driver) {
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDriver", "ss", function, driver);
}

static void test_states(void **state) {
        Fixture *f = *state;
        char expected[64];

        assert_string_equal(listed(f, NIC), "idle");
        assert_string_equal(listed(f, ON_HOST), "host");
        assert_string_equal(listed(f, "0000:99:00.0"), "");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        (void)snprintf(expected, sizeof(expected), "assigned %s", uuid_of(1));
        assert_string_equal(listed(f, NIC), expected);
        vm_destroy_ok(f, uuid_of(1));
        assert_string_equal(listed(f, NIC), "idle");
}

static void test_idle(void **state) {
        Fixture *f = *state;

        assert_property(f, NULL, "Manager", "NFunctions", "6");
        forget_signals(f);
        simulate(f, "Unplug", IDLE);
        CREATE_FAILS(f, "NoSuchFunction", uuid_of(1), .tier = "hardware", .functions = IDLE);
        (void)hear(f, "PropertiesChanged /org/aviommu1 *\"NFunctions\": 5*");
        assert_string_equal(listed(f, IDLE), "");
        run_fails(f, "NoSuchFunction", SIMULATION_PATH, "Simulation", "Unplug", "s", IDLE);

        simulate(f, "Plug", IDLE);
        run_fails(f, "NoSuchFunction", SIMULATION_PATH, "Simulation", "Plug", "s", IDLE);
        (void)hear(f, "PropertiesChanged /org/aviommu1 *\"NFunctions\": 6*");
        assert_string_equal(listed(f, IDLE), "idle");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = IDLE);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* What has been plugged a moment ago is there for the next request, whether or not the daemon has looked meanwhile. */
static void test_at_once(void **state) {
        Fixture *f = *state;

        for (int i = 0; i < 5; i++) {
                simulate(f, "Unplug", IDLE);
                CREATE_FAILS(f, "NoSuchFunction", uuid_of(1), .tier = "virtio", .functions = IDLE);
                simulate(f, "Plug", IDLE);
                CREATE(f, uuid_of(1), .tier = "virtio", .functions = IDLE);
                vm_destroy_ok(f, uuid_of(1));
        }
        assert_nothing_left(f);
}

/* Before the handover the daemon has it, and lets go. */
static void test_held(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);

        CREATE(f, uuid, .tier = "hardware", .functions = NIC " " DISK);
        forget_signals(f);
        simulate(f, "Unplug", NIC);
        wait_until(f, has_functions(f, uuid,
                                    "[(\"" DISK "\", \"ivhd0\", \"01:01.0\", \"realized\")]"));
        (void)hear(f, "VmChanged *");
        wait_until(f, streq(listed(f, NIC), ""));
        assert_int_equal(counter(f, "viommus"), 1);
        assert_int_equal(counter(f, "bound-functions"), 1);

        simulate(f, "Unplug", DISK);
        wait_until(f, has_functions(f, uuid, "[]"));
        assert_property(f, vm, "Vm", "Viommus", "[]");
        assert_property(f, vm, "Vm", "State", "\"realized\"");
        assert_int_equal(counter(f, "viommus"), 0);

        simulate(f, "Plug", NIC);
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC, 0);
        assert_int_equal(counter(f, "viommus"), 1);
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* One of a group, while an operation of that VM is in flight. */
static void test_held_busy(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        Call attach;

        CREATE(f, uuid, .tier = "hardware", .functions = GPU " " GPU_1);
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "cdev_bind", UINT64_C(200000));
        call_method(f, &attach, f->bus, vm_path(uuid), "Vm", "AttachDevice", "sa{sv}", NIC, 0);
        fixture_serve_for(f, 30000);
        simulate(f, "Unplug", GPU_1);
        call_expect(&attach, "");
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "", UINT64_C(0));
        wait_until(f, has_functions(f, uuid,
                                    "[(\"" GPU "\", \"ivhd0\", \"01:00.0\", \"realized\"), "
                                    "(\"" NIC "\", \"ivhd0\", \"01:02.0\", \"realized\")]"));
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
}

/* After the handover the VMM has it: it goes when the VMM lets go, and the VM has lost it. */
static void test_handed_over(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        char expected[64];
        int iommufd, nic, disk;

        CREATE(f, uuid, .tier = "hardware", .functions = NIC " " DISK, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid, NULL);
        nic = vm_open_device(f, uuid, NIC);
        disk = vm_open_device(f, uuid, DISK);
        run_ok(f, vm, "Vm", "ConfirmContext", "");
        forget_signals(f);

        simulate(f, "Unplug", NIC);
        fixture_serve_for(f, 200000);
        (void)snprintf(expected, sizeof(expected), "assigned %s", uuid);
        assert_string_equal(listed(f, NIC), expected);

        (void)close(nic);
        (void)snprintf(expected, sizeof(expected), "lost %s", uuid);
        wait_until(f, streq(listed(f, NIC), expected));
        (void)hear(f, "VmChanged *");
        assert_property(f, vm, "Vm", "Functions",
                        "[(\"" NIC "\", \"ivhd0\", \"01:00.0\", \"lost\"), "
                        "(\"" DISK "\", \"ivhd0\", \"01:01.0\", \"bound\")]");

        /* It is the VM's still, also when it is back, until it is detached. */
        simulate(f, "Plug", NIC);
        (void)hear(f, "VmChanged *");
        CREATE_FAILS(f, "FunctionInUse", uuid_of(2), .tier = "virtio", .functions = NIC);
        run_ok(f, vm, "Vm", "DetachDevice", "s", NIC);
        assert_string_equal(listed(f, NIC), "idle");
        run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC, 0);

        (void)close(disk);
        (void)close(iommufd);
        vm_destroy_force(f, uuid);
        assert_nothing_left(f);
}

static void test_lost_detached(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        _cleanup_close_ int self = fixture_pidfd(getpid());
        int iommufd, nic;

        CREATE(f, uuid, .tier = "hardware", .functions = NIC, .leash_pidfd = self);
        iommufd = vm_open_context(f, uuid, NULL);
        nic = vm_open_device(f, uuid, NIC);
        run_ok(f, vm, "Vm", "ConfirmContext", "");
        simulate(f, "Unplug", NIC);
        (void)close(nic);
        wait_until(f, strncmp(listed(f, NIC), "lost", 4) == 0);
        run_ok(f, vm, "Vm", "DetachDevice", "s", NIC);
        assert_string_equal(listed(f, NIC), "");
        assert_property(f, vm, "Vm", "Functions", "[]");
        (void)close(iommufd);
        vm_destroy_force(f, uuid);
        assert_nothing_left(f);
}

static void test_driver(void **state) {
        Fixture *f = *state;

        forget_signals(f);
        set_driver(f, ON_HOST, "vfio-pci");
        wait_until(f, streq(listed(f, ON_HOST), "idle"));
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = ON_HOST);
        vm_destroy_ok(f, uuid_of(1));

        set_driver(f, ON_HOST, "");
        wait_until(f, streq(listed(f, ON_HOST), "unbound"));
        CREATE_FAILS(f, "FunctionNotBound", uuid_of(1), .tier = "hardware", .functions = ON_HOST);
        set_driver(f, ON_HOST, "nvme");
        wait_until(f, streq(listed(f, ON_HOST), "host"));

        /* The administrator takes it back from a VM that has not started. */
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC " " DISK);
        set_driver(f, NIC, "mlx5_core");
        wait_until(f, streq(listed(f, NIC), "host"));
        wait_until(f, has_functions(f, uuid_of(1),
                                    "[(\"" DISK "\", \"ivhd0\", \"01:01.0\", \"realized\")]"));
        run_fails(f, "FunctionNotBound", vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", NIC,
                  0);
        run_fails(f, "NoSuchFunction", SIMULATION_PATH, "Simulation", "SetDriver", "ss",
                  "0000:99:00.0", "vfio-pci");
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* What libvirt binds by itself. */
static void test_managed(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        char expected[64];

        CREATE(f, uuid, .tier = "virtio", .handover = "none", .functions = ON_HOST ",managed");
        (void)snprintf(expected, sizeof(expected), "assigned %s", uuid);
        assert_string_equal(listed(f, ON_HOST), expected);
        set_driver(f, ON_HOST, "vfio-pci");
        fixture_serve_for(f, 150000);
        assert_string_equal(listed(f, ON_HOST), expected);
        simulate(f, "Unplug", ON_HOST);
        wait_until(f, strncmp(listed(f, ON_HOST), "lost", 4) == 0);
        vm_destroy_ok(f, uuid);
        assert_string_equal(listed(f, ON_HOST), "");
        assert_nothing_left(f);
}

static bool is_pinned(Fixture *f, const char *uuid, const char *bytes) {
        _cleanup_free_ char *text = property(f, vm_path(uuid), "Vm", "Charges"), *expected = NULL;

        assert_true(asprintf(&expected, "(\"pinned-memory\", \"host\", %s)", bytes) >= 0);
        return strstr(text, expected);
}

static void attach_with_memory(Fixture *f, const char *uuid, const char *function, uint64_t bytes) {
        run_ok(f, vm_path(uuid), "Vm", "AttachDevice", "sa{sv}", function, 1, "memory", "t", bytes);
}

/* What the VMM of a VM without functions pins with the first one. */
static void test_memory(void **state) {
        static const char *const handovers[] = { "none", "vmm" };
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *vm = vm_path(uuid);
        int self = fixture_pidfd(getpid());

        for (size_t i = 0; i < ELEMENTSOF(handovers); i++) {
                _cleanup_free_ char *before = NULL;

                CREATE(f, uuid, .tier = "virtio", .handover = handovers[i], .leash_pidfd = self);
                before = world(f);
                run_fails(f, "NoPinnableMemory", vm, "Vm", "AttachDevice", "sa{sv}", NIC, 1,
                          "memory", "t", UINT64_C(1) << 50);
                run_fails(f, "InvalidType", vm, "Vm", "AttachDevice", "sa{sv}", NIC, 1, "memory",
                          "u", UINT32_C(1));
                assert_world(f, before);

                attach_with_memory(f, uuid, NIC, UINT64_C(3) << 20);
                assert_true(is_pinned(f, uuid, "3145728"));
                attach_with_memory(f, uuid, DISK, UINT64_C(1) << 20);
                fixture_restart(f);
                assert_true(is_pinned(f, uuid, "3145728"));
                attach_with_memory(f, uuid, IDLE, UINT64_C(4) << 20);
                fixture_restart(f);
                assert_true(is_pinned(f, uuid, "4194304"));

                run_ok(f, vm, "Vm", "DetachDevice", "s", NIC);
                run_ok(f, vm, "Vm", "DetachDevice", "s", IDLE);
                assert_true(is_pinned(f, uuid, "4194304"));
                run_ok(f, vm, "Vm", "DetachDevice", "s", DISK);
                assert_world(f, before);
                fixture_restart(f);
                assert_world(f, before);
                run_ok(f, vm, "Vm", "AttachDevice", "sa{sv}", NIC, 0);
                assert_true(is_pinned(f, uuid, "4194304"));
                vm_destroy_force(f, uuid);
        }
        CREATE(f, uuid, .tier = "hardware", .functions = NIC);
        run_fails(f, "InvalidArgument", vm, "Vm", "AttachDevice", "sa{sv}", DISK, 1, "memory", "t",
                  UINT64_C(4096));
        vm_destroy_ok(f, uuid);
        assert_nothing_left(f);
        (void)close(self);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_states, .profile = "small"),
                BUS_TEST(test_idle, .profile = "small"),
                BUS_TEST(test_at_once, .profile = "small"),
                BUS_TEST(test_held, .profile = "small"),
                BUS_TEST(test_held_busy, .profile = "small"),
                BUS_TEST(test_handed_over, .profile = "small"),
                BUS_TEST(test_lost_detached, .profile = "small"),
                BUS_TEST(test_driver, .profile = "small"),
                BUS_TEST(test_managed, .profile = "small"),
                BUS_TEST(test_memory, .profile = "small", .fdstore_max = 64),
        };

        return bus_tests_run(argc, argv, tests);
}
