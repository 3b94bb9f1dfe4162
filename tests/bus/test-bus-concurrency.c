/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Many at once. What is asserted is the order of answers, never how long they take: a kernel call is made slow, and whatever
 * is answered before it was not kept waiting by it.
 */

#include "fixture.h"

#include <unistd.h>

#include "base/fd-util.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define MIB  UINT64_C(1048576)
#define SLOW UINT64_C(300000)

/* Functions that are free, each in a group of its own. */
static const char *const functions[] = {
        "0000:01:00.0", "0000:41:00.0", "0001:01:00.0", "0001:41:00.0",
        "0002:01:00.0", "0002:41:00.0", "0003:01:00.0", "0003:41:00.0",
        "0000:03:00.0", "0000:43:00.0", "0001:03:00.0", "0001:43:00.0",
        "0002:03:00.0", "0002:43:00.0", "0003:03:00.0", "0003:43:00.0",
};

static void set_delay(Fixture *f, const char *op, uint64_t usec) {
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", op, usec);
}

static void create_start(Fixture *f, Call *call, sd_bus *bus, VmSpec spec) {
        if (!spec.tier)
                spec.tier = "hardware";
        call_start(f, call, vm_request(bus, "CreateVm", &spec));
}
#define CREATE_START(f, call, bus, ...) create_start((f), (call), (bus), (VmSpec){ __VA_ARGS__ })

/* One slow VM keeps nobody waiting: not a call to the daemon, not another VM. */
static void test_answers_meanwhile(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        Call create, ping, list, plan, properties, get, second;
        const char *vm = vm_path(uuid_of(1));

        set_delay(f, "ioas_alloc", SLOW);
        CREATE_START(f, &create, f->bus, .uuid = uuid_of(1), .functions = NIC);
        fixture_serve_for(f, 20000);
        call_method(f, &ping, f->bus, NULL, "org.freedesktop.DBus.Peer", "Ping", "");
        call_method(f, &list, other, NULL, "Manager", "ListVms", "su", "", UINT32_C(10));
        call_method(f, &get, other, NULL, "Manager", "GetVm", "s", uuid_of(1));
        call_method(f, &properties, f->bus, vm, "org.freedesktop.DBus.Properties", "GetAll", "s",
                    "org.aviommu1.Vm");
        call_start(f, &plan,
                   vm_request(other, "Plan", &(VmSpec){ .uuid = uuid_of(3), .tier = "virtio" }));
        CREATE_START(f, &second, other, .uuid = uuid_of(2), .tier = "virtio", .handover = "none");
        assert_null(create.reply);

        call_wait(&create);
        assert_string_equal(call_error(&create), "");
        assert_true(ping.reply && ping.order < create.order);
        assert_true(list.reply && list.order < create.order);
        assert_true(get.reply && get.order < create.order);
        assert_true(plan.reply && plan.order < create.order);
        assert_true(properties.reply && properties.order < create.order);
        assert_true(second.reply && second.order < create.order);
        call_expect(&ping, "");
        call_expect(&list, "");
        call_expect(&get, "");
        call_expect(&plan, "");
        call_expect(&properties, "");
        call_expect(&second, "");
        call_expect(&create, "");
        set_delay(f, "", 0);
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* More VMs than workers, from several callers; then all of them down again. */
static void test_many(void **state) {
        Fixture *f = *state;
        sd_bus *callers[4];
        Call calls[ELEMENTSOF(functions)];

        for (size_t i = 0; i < ELEMENTSOF(callers); i++)
                callers[i] = fixture_connect(f);
        set_delay(f, "cdev_bind", 10000);
        for (int round = 0; round < 3; round++) {
                for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                        CREATE_START(f, calls + i, callers[i % ELEMENTSOF(callers)],
                                     .uuid = uuid_of(i), .functions = functions[i]);
                for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                        call_expect(calls + i, "");
                assert_int_equal(vm_count(f), ELEMENTSOF(functions));
                assert_int_equal(counter(f, "viommus"), ELEMENTSOF(functions));
                for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                        call_method(f, calls + i, callers[(i + 1) % ELEMENTSOF(callers)],
                                    vm_path(uuid_of(i)), "Vm", "Destroy", "a{sv}", 0);
                for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                        call_expect(calls + i, "");
                assert_nothing_left(f);
        }
}

/* Operations of a VM are done and answered in the order in which they were asked for. */
static void test_order(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        _cleanup_close_ int file = memfd_of(MIB);
        Call calls[8];

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        set_delay(f, "vdevice_alloc", 60000);
        call_method(f, calls + 0, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 1, f->bus, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB,
                    UINT64_C(0), UINT32_C(1));
        call_method(f, calls + 2, f->bus, vm, "Vm", "DetachDevice", "s", NIC2);
        call_method(f, calls + 3, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 4, f->bus, vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), MIB);
        call_method(f, calls + 5, f->bus, vm, "Vm", "OpenContext", "");
        call_method(f, calls + 6, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 7, f->bus, vm, "Vm", "Destroy", "a{sv}", 0);
        fixture_serve_for(f, 20000);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_wait(calls + i);
        for (size_t i = 1; i < ELEMENTSOF(calls); i++)
                assert_true(calls[i - 1].order < calls[i].order);

        /* The destroying cancels what is before it, at the next step. */
        for (size_t i = 0; i < 7; i++)
                call_expect(calls + i, "Cancelled");
        call_expect(calls + 7, "");
        set_delay(f, "", 0);
        assert_nothing_left(f);
}

/* The same without an end: all are done, in order. */
static void test_order_done(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        _cleanup_close_ int file = memfd_of(MIB);
        Call calls[7];
        static const char *const expected[] = { "", "", "", "", "", "FunctionInUse", "" };

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        set_delay(f, "vdevice_alloc", 30000);
        call_method(f, calls + 0, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 1, f->bus, vm, "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB,
                    UINT64_C(0), UINT32_C(1));
        call_method(f, calls + 2, f->bus, vm, "Vm", "DetachDevice", "s", NIC2);
        call_method(f, calls + 3, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 4, f->bus, vm, "Vm", "UnmapMemory", "tt", UINT64_C(0), MIB);
        call_method(f, calls + 5, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        call_method(f, calls + 6, f->bus, vm, "Vm", "DetachDevice", "s", NIC);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_wait(calls + i);
        for (size_t i = 1; i < ELEMENTSOF(calls); i++)
                assert_true(calls[i - 1].order < calls[i].order);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_expect(calls + i, expected[i]);
        set_delay(f, "", 0);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* ---- Cancel ---- */

static void test_cancel_create(void **state) {
        static const char *const ops[] = { "scan",        "iommufd_open", "cdev_bind",
                                           "cdev_attach", "viommu_alloc", "vdevice_alloc" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(ops); i++) {
                Call create;

                set_delay(f, ops[i], 100000);
                CREATE_START(f, &create, f->bus, .uuid = uuid_of(1), .functions = NIC " " NIC2);
                fixture_serve_for(f, 30000);
                assert_null(create.reply);
                run_ok(f, vm_path(uuid_of(1)), "Vm", "Cancel", "");
                call_expect(&create, "Cancelled");
                set_delay(f, ops[i], 0);
                assert_nothing_left(f);
                assert_int_equal(count_heard(f, "Vm*"), 0);
        }
}

static void test_cancel_attach(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        _cleanup_free_ char *before = NULL;
        Call attach, destroy;

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        before = world(f);
        set_delay(f, "cdev_attach", 100000);
        call_method(f, &attach, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        fixture_serve_for(f, 30000);
        run_ok(f, vm, "Vm", "Cancel", "");
        call_expect(&attach, "Cancelled");
        set_delay(f, "cdev_attach", 0);
        assert_world(f, before);
        run_fails(f, "WrongState", vm, "Vm", "Cancel", "");

        /* What takes down is not stopped. */
        set_delay(f, "cdev_detach", 100000);
        call_method(f, &destroy, f->bus, vm, "Vm", "Destroy", "a{sv}", 0);
        fixture_serve_for(f, 30000);
        assert_null(destroy.reply);
        run_fails(f, "WrongState", vm, "Vm", "Cancel", "");
        assert_property(f, vm, "Vm", "State", "\"draining\"");
        call_expect(&destroy, "");
        set_delay(f, "cdev_detach", 0);
        assert_nothing_left(f);
}

/* ---- limits ---- */

static void test_queue_overflow(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));
        Call calls[5], destroy;

        run_ok(f, ROOT_PATH "/host/ivhd1", "HostIommu", "Probe", "");
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        set_delay(f, "cdev_open", SLOW);
        call_method(f, calls, f->bus, vm, "Vm", "AttachDevice", "sa{sv}", NIC2, 0);
        for (size_t i = 1; i < ELEMENTSOF(calls); i++)
                call_method(f, calls + i, f->bus, vm, "Vm", "OpenContext", "");
        run_fails(f, "Busy", vm, "Vm", "OpenContext", "");
        run_fails(f, "Busy", vm, "Vm", "DetachDevice", "s", NIC);
        assert_null(calls[0].reply);

        /* Taking down is never too much. */
        call_method(f, &destroy, f->bus, vm, "Vm", "Destroy", "a{sv}", 0);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_expect(calls + i, "Cancelled");
        call_expect(&destroy, "");
        set_delay(f, "", 0);
        assert_nothing_left(f);
}

static void test_caller_limit(void **state) {
        Fixture *f = *state;
        sd_bus *greedy = fixture_connect(f);
        Call calls[4], more;

        set_delay(f, "iommufd_open", SLOW);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                CREATE_START(f, calls + i, greedy, .uuid = uuid_of(i), .tier = "virtio");
        fixture_serve_for(f, 20000);
        call_method(f, &more, greedy, NULL, "Manager", "GetVm", "s", uuid_of(1));
        call_expect(&more, "LimitsExceeded");
        call_method(f, &more, greedy, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        call_expect(&more, "LimitsExceeded");
        assert_null(calls[0].reply);
        run_ok(f, NULL, "Manager", "GetVm", "s", uuid_of(1)); /* somebody else has calls left */
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_expect(calls + i, "");
        call_method(f, &more, greedy, NULL, "Manager", "GetVm", "s", uuid_of(1));
        call_expect(&more, "");
        set_delay(f, "", 0);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                vm_destroy_ok(f, uuid_of(i));
        assert_nothing_left(f);
}

/* ---- against each other ---- */

static void test_destroy_while_creating(void **state) {
        static const char *const ops[] = { "scan", "cdev_open", "viommu_alloc", "vdevice_alloc" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(ops); i++) {
                Call create, destroy;

                set_delay(f, ops[i], 100000);
                CREATE_START(f, &create, f->bus, .uuid = uuid_of(1), .functions = NIC);
                fixture_serve_for(f, 30000);
                call_method(f, &destroy, f->bus, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
                call_expect(&create, "Cancelled");
                call_expect(&destroy, "");
                set_delay(f, ops[i], 0);
                assert_nothing_left(f);
        }
}

static void test_destroy_twice(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        Call calls[3];

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        set_delay(f, "object_destroy", 50000);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_method(f, calls + i, i == 1 ? other : f->bus, vm_path(uuid_of(1)), "Vm",
                            "Destroy", "a{sv}", 0);
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_expect(calls + i, "");
        set_delay(f, "object_destroy", 0);
        (void)hear(f, "VmRemoved*\"destroyed\"");
        fixture_serve_for(f, 20000);
        assert_int_equal(count_heard(f, "VmRemoved*"), 0); /* once */
        run_fails(f, "NoSuchVm", vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        assert_nothing_left(f);
}

/* Exactly one of those who want the same gets it. */
static void expect_one(Call *calls, size_t n, const char *error) {
        size_t n_good = 0;

        for (size_t i = 0; i < n; i++) {
                call_wait(calls + i);
                n_good += !*call_error(calls + i);
                call_expect(calls + i, *call_error(calls + i) ? error : "");
        }
        assert_int_equal(n_good, 1);
}

static void test_races(void **state) {
        Fixture *f = *state;
        sd_bus *other = fixture_connect(f);
        Call calls[6];

        set_delay(f, "scan", 10000);
        set_delay(f, "cdev_bind", 10000);

        for (size_t i = 0; i < ELEMENTSOF(calls); i++) /* one UUID */
                CREATE_START(f, calls + i, i % 2 ? other : f->bus, .uuid = uuid_of(1),
                             .functions = functions[i]);
        expect_one(calls, ELEMENTSOF(calls), "VmExists");
        vm_destroy_ok(f, uuid_of(1));

        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) /* one name */
                CREATE_START(f, calls + i, i % 2 ? other : f->bus, .uuid = uuid_of(i),
                             .name = "guest", .tier = "virtio");
        expect_one(calls, ELEMENTSOF(calls), "VmExists");
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                call_method(f, calls, f->bus, vm_path(uuid_of(i)), "Vm", "Destroy", "a{sv}", 0);
                call_wait(calls);
                call_done(calls);
        }

        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) /* one function */
                CREATE_START(f, calls + i, i % 2 ? other : f->bus, .uuid = uuid_of(i),
                             .functions = NIC2);
        expect_one(calls, ELEMENTSOF(calls), "FunctionInUse");
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                call_method(f, calls, f->bus, vm_path(uuid_of(i)), "Vm", "Destroy", "a{sv}", 0);
                call_wait(calls);
                call_done(calls);
        }
        assert_nothing_left(f);
}

static void test_last_instance(void **state) {
        static const char *const same_iommu[] = { "0000:41:00.0", "0000:43:00.0", "0000:44:00.0",
                                                  "0000:45:00.0" };
        Fixture *f = *state;
        Call calls[ELEMENTSOF(same_iommu)];

        set_delay(f, "viommu_alloc", 20000);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                CREATE_START(f, calls + i, f->bus, .uuid = uuid_of(i), .functions = same_iommu[i]);
        expect_one(calls, ELEMENTSOF(calls), "NoFreeInstance");
        assert_int_equal(vm_count(f), 1);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                call_method(f, calls, f->bus, vm_path(uuid_of(i)), "Vm", "Destroy", "a{sv}", 0);
                call_wait(calls);
                call_done(calls);
        }
        assert_nothing_left(f);
}

/* Half of the callers leave while their VMs are being made, the other half afterwards. */
static void test_callers_leave(void **state) {
        Fixture *f = *state;
        sd_bus *callers[ELEMENTSOF(functions)];
        Call calls[ELEMENTSOF(functions)];

        for (size_t i = 0; i < ELEMENTSOF(callers); i++)
                callers[i] = fixture_connect(f);
        set_delay(f, "cdev_bind", 20000);
        for (unsigned i = 0; i < ELEMENTSOF(callers); i++)
                CREATE_START(f, calls + i, callers[i], .uuid = uuid_of(i),
                             .functions = functions[i], .leash = "caller");
        fixture_serve_for(f, 50000);
        for (size_t i = 0; i < ELEMENTSOF(callers); i += 2) {
                call_done(calls + i);
                fixture_disconnect(f, callers[i]);
        }
        for (size_t i = 1; i < ELEMENTSOF(callers); i += 2)
                call_expect(calls + i, "");
        wait_until(f, vm_count(f) == ELEMENTSOF(callers) / 2);
        for (size_t i = 1; i < ELEMENTSOF(callers); i += 2)
                fixture_disconnect(f, callers[i]);
        wait_until(f, vm_count(f) == 0);
        set_delay(f, "", 0);
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_answers_meanwhile),
                BUS_TEST(test_many),
                BUS_TEST(test_order),
                BUS_TEST(test_order_done),
                BUS_TEST(test_cancel_create),
                BUS_TEST(test_cancel_attach),
                BUS_TEST(test_queue_overflow, .config = "MaxOperationsPerVm=4"),
                BUS_TEST(test_caller_limit, .config = "MaxOperationsPerCaller=4"),
                BUS_TEST(test_destroy_while_creating),
                BUS_TEST(test_destroy_twice),
                BUS_TEST(test_races),
                BUS_TEST(test_last_instance, .config = "InstancesPerIommu=1"),
                BUS_TEST(test_callers_leave),
        };

        return bus_tests_run(argc, argv, tests);
}
