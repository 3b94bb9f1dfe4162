/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What cannot be shown to be gone, giving it up, and the reports of an agent. */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NIC    "0000:01:00.0"
#define NOBODY 65534

/* ---- quarantine ---- */

/* What a VMM holds of a VM with handover "vmm". */
typedef struct Held {
        int iommufd, cdev;
} Held;

static void let_go(Held *held) {
        held->cdev = fd_close(held->cdev);
        held->iommufd = fd_close(held->iommufd);
}

/* A VM that was taken down by force while its VMM holds on. */
static Held quarantine(Fixture *f, const char *uuid, const char *function) {
        const KernelOps *ops = f->kernel->ops;
        const PciAddress address = address_of(function);
        uint32_t device;
        Held held;

        CREATE(f, uuid, .tier = "hardware", .handover = "vmm", .functions = function);
        held.iommufd = vm_open_context(f, uuid, NULL);
        assert_int_equal(ops->cdev_open(f->kernel, &address, &held.cdev), 0);
        assert_int_equal(ops->cdev_bind(f->kernel, held.cdev, held.iommufd, NULL, &device), 0);
        run_fails(f, "Busy", vm_path(uuid), "Vm", "Destroy", "a{sv}", 1, "force", "b", true);
        assert_property(f, vm_path(uuid), "Vm", "State", "\"quarantined\"");
        return held;
}

static char *list(Fixture *f) {
        return ask_text(f, NULL, "Manager", "ListQuarantined", "");
}

static void assert_list(Fixture *f, const char *expected) {
        _cleanup_free_ char *text = list(f);

        assert_string_equal(text, expected);
}

static char *reclaim(Fixture *f, const char *uuid, bool dry_run) {
        return dry_run ? ask_text(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid, 1, "dry-run", "b",
                                  true)
                       : ask_text(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid, 0);
}

static void test_list(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *reason = NULL, *expected = NULL;
        Held held;

        assert_list(f, "[]");
        CREATE(f, uuid_of(2), .tier = "virtio");
        held = quarantine(f, uuid_of(1), NIC);
        reason = property(f, vm_path(uuid_of(1)), "Vm", "StateReason");
        assert_true(strlen(reason) > 20);
        assert_true(asprintf(&expected, "[(\"%s\", \"vm\", %s)]", uuid_of(1), reason) >= 0);
        assert_list(f, expected);

        let_go(&held);
        vm_destroy_ok(f, uuid_of(1));
        assert_list(f, "[]");
        vm_destroy_ok(f, uuid_of(2));
}

/* It is tried again by itself, and then nobody has to reclaim it. */
static void test_retry(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);

        let_go(&held);
        (void)hear(f, "VmRemoved *0001*\"destroyed\"");
        assert_nothing_left(f);
}

static void test_dry_run(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);
        _cleanup_free_ char *before = world(f), *would = NULL, *did = NULL, *charges = NULL,
                            *reason = NULL, *text = NULL;

        charges = property(f, vm_path(uuid_of(1)), "Vm", "Charges");
        reason = property(f, vm_path(uuid_of(1)), "Vm", "StateReason");
        assert_true(asprintf(&text,
                             "{\"kind\": \"vm\", \"reason\": %s, \"functions\": [\"%s\"], "
                             "\"charges\": %s}",
                             reason, NIC, charges) >= 0);
        forget_signals(f);
        would = reclaim(f, uuid_of(1), true);
        assert_string_equal(would, text);
        assert_world(f, before);
        fixture_serve_for(f, 50000);
        assert_int_equal(count_heard(f, "Vm*"), 0);

        did = reclaim(f, uuid_of(1), false);
        assert_string_equal(did, would);
        (void)hear(f, "VmRemoved *0001*\"reclaimed\"");
        let_go(&held);
        assert_nothing_left(f);
}

static void test_reclaim(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);

        CREATE_FAILS(f, "FunctionInUse", uuid_of(2), .tier = "virtio", .functions = NIC);
        free(reclaim(f, uuid_of(1), false));
        (void)hear(f, "VmRemoved *0001*\"reclaimed\"");
        assert_list(f, "[]");
        assert_int_equal(vm_count(f), 0);
        run_fails(f, "NoSuchVm", vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        run_fails(f, "NoSuchVm", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);

        /* It counts as free, though somebody has it: that is what an administrator has taken upon himself. */
        assert_int_equal(counter(f, "contexts"), 1);
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = NIC);
        let_go(&held);
        assert_int_equal(counter(f, "contexts"), 1);
        CREATE(f, uuid_of(1), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* While it is tried again it is no longer quarantined, and not gone: it can be given up all the same. */
static void test_reclaim_retried(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);
        _cleanup_free_ char *would = reclaim(f, uuid_of(1), true), *did = NULL;
        Call again;

        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "object_destroy",
               UINT64_C(300000));
        call_method(f, &again, f->bus, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 1, "force",
                    "b", true);
        for (;;) {
                _cleanup_free_ char *now = property(f, vm_path(uuid_of(1)), "Vm", "State");

                if (streq(now, "\"draining\""))
                        break;
                assert_null(again.reply);
        }
        did = reclaim(f, uuid_of(1), false);
        assert_string_equal(did, would);
        call_expect(&again, "Busy");
        (void)hear(f, "VmRemoved *0001*\"reclaimed\"");
        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "", UINT64_C(0));
        let_go(&held);
        assert_nothing_left(f);
}

static void test_reclaim_refused(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);
        _cleanup_free_ char *before = NULL;

        CREATE(f, uuid_of(2), .tier = "virtio");
        before = world(f);
        run_fails(f, "WrongState", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(2), 0);
        run_fails(f, "WrongState", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(2), 1, "dry-run",
                  "b", true);
        run_fails(f, "NoSuchVm", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(3), 0);
        run_fails(f, "InvalidUuid", NULL, "Manager", "Reclaim", "sa{sv}", "web1", 0);
        run_fails(f, "UnknownKey", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 1, "dryrun",
                  "b", true);
        run_fails(f, "InvalidType", NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 1, "dry-run",
                  "s", "yes");
        assert_world(f, before);
        vm_destroy_ok(f, uuid_of(2));
        let_go(&held);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* Two who reclaim at once: one of them does it. */
static void test_reclaim_twice(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);
        Call first, second;

        call_method(f, &first, f->bus, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        call_method(f, &second, f->bus, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        call_wait(&first);
        call_wait(&second);
        assert_string_equal(call_error(&first), "");
        assert_true(streq(call_error(&second), "NoSuchVm") ||
                    streq(call_error(&second), "WrongState"));
        call_done(&first);
        call_done(&second);
        (void)hear(f, "VmRemoved *0001*\"reclaimed\"");
        assert_int_equal(count_heard(f, "VmRemoved*"), 0);
        let_go(&held);
        assert_nothing_left(f);
}

/* Whoever may look sees the list, and nobody but an administrator gives up. */
static void test_reclaim_denied(void **state) {
        Fixture *f = *state;
        Held held = quarantine(f, uuid_of(1), NIC);
        _cleanup_free_ char *before = world(f);
        sd_bus *nobody;
        Call call;

        if (geteuid() != 0) {
                let_go(&held);
                (void)fputs("SKIPPED: this test has to be several users, which takes root.\n",
                            stderr);
                skip();
        }
        fixture_polkit(f, false);
        nobody = fixture_connect_as(f, NOBODY);
        call_method(f, &call, nobody, NULL, "Manager", "ListQuarantined", "");
        call_expect(&call, "");
        call_method(f, &call, nobody, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
        call_expect(&call, "AccessDenied");
        call_method(f, &call, nobody, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 1,
                    "dry-run", "b", true);
        call_expect(&call, "AccessDenied");
        call_method(f, &call, nobody, NULL, "Manager", "ReportVms", "as", 0);
        call_expect(&call, "AccessDenied");
        assert_world(f, before);
        let_go(&held);
        vm_destroy_ok(f, uuid_of(1));
}

/* ---- reports ---- */

static void report(Fixture *f, const char *uuid) {
        if (uuid)
                run_ok(f, NULL, "Manager", "ReportVms", "as", 1, uuid);
        else
                run_ok(f, NULL, "Manager", "ReportVms", "as", 0);
}

static void test_report(void **state) {
        Fixture *f = *state;
        const char *vm = vm_path(uuid_of(1));

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "agent");
        assert_property(f, vm, "Vm", "Leash", "\"agent\"");
        assert_property(f, vm, "Vm", "LeashDeadlineUSec", "0");
        assert_property(f, vm, "Vm", "State", "\"bound\"");

        report(f, uuid_of(1));
        report(f, NULL);
        report(f, uuid_of(1)); /* the one before was a slip */
        report(f, uuid_of(9)); /* one that nobody knows */
        forget_signals(f);
        assert_property(f, vm, "Vm", "State", "\"bound\"");
        assert_int_equal(vm_count(f), 1);

        report(f, uuid_of(9));
        (void)hear(f, "VmRemoved *0001*\"agent-report\"");
        assert_nothing_left(f);
}

/* What another leash says is alive, no report touches. */
static void test_report_others(void **state) {
        Fixture *f = *state;
        int self = fixture_pidfd(getpid());

        CREATE(f, uuid_of(1), .tier = "virtio", .leash_pidfd = self);
        (void)close(self);
        CREATE(f, uuid_of(2), .tier = "virtio", .leash = "caller");
        CREATE(f, uuid_of(3), .tier = "virtio");
        for (int i = 0; i < 4; i++)
                report(f, NULL);
        fixture_serve_for(f, 50000);
        assert_int_equal(vm_count(f), 3);
        for (unsigned i = 1; i <= 3; i++)
                vm_destroy_force(f, uuid_of(i));
}

/* Another leash takes the place of the agent's, and the reports no longer matter. */
static void test_report_replaced(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());

        CREATE(f, uuid_of(1), .tier = "virtio", .leash = "agent");
        report(f, NULL);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "SetLeash", "h", self);
        report(f, NULL);
        report(f, NULL);
        fixture_serve_for(f, 50000);
        assert_int_equal(vm_count(f), 1);
        vm_destroy_force(f, uuid_of(1));
}

static void test_report_refused(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());

        CREATE(f, uuid_of(1), .tier = "virtio", .leash = "agent");
        for (int i = 0; i < 3; i++) {
                run_fails(f, "InvalidUuid", NULL, "Manager", "ReportVms", "as", 1, "web1");
                run_fails(f, "InvalidUuid", NULL, "Manager", "ReportVms", "as", 2, uuid_of(2), "");
        }
        fixture_serve_for(f, 50000);
        assert_int_equal(vm_count(f), 1);
        CREATE_FAILS(f, "InvalidArgument", uuid_of(2), .tier = "virtio", .leash = "agent",
                     .leash_pidfd = self);
        CREATE_FAILS(f, "InvalidArgument", uuid_of(2), .tier = "virtio", .leash = "agents");
        vm_destroy_force(f, uuid_of(1));
        assert_nothing_left(f);
}

/* A report of a host with as many VMs as MaxVms= allows. */
static void test_report_large(void **state) {
        Fixture *f = *state;
        sd_bus_message *m = message_new(f->bus, NULL, "Manager", "ReportVms", "");
        Call call;

        CREATE(f, uuid_of(1), .tier = "virtio", .leash = "agent");
        assert_true(sd_bus_message_open_container(m, 'a', "s") >= 0);
        for (unsigned i = 0; i < 16384; i++)
                assert_true(sd_bus_message_append(m, "s", uuid_of(i)) >= 0);
        assert_true(sd_bus_message_close_container(m) >= 0);
        call_start(f, &call, m);
        call_expect(&call, "");
        vm_destroy_force(f, uuid_of(1));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_list),
                BUS_TEST(test_retry),
                BUS_TEST(test_dry_run),
                BUS_TEST(test_reclaim),
                BUS_TEST(test_reclaim_retried),
                BUS_TEST(test_reclaim_refused),
                BUS_TEST(test_reclaim_twice),
                BUS_TEST(test_reclaim_denied),
                BUS_TEST(test_report),
                BUS_TEST(test_report_others),
                BUS_TEST(test_report_replaced),
                BUS_TEST(test_report_refused),
                BUS_TEST(test_report_large),
        };

        return bus_tests_run(argc, argv, tests);
}
