/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Users who may have VMs, among themselves: what belongs to another takes an action more, and so do descriptors. What polkit says
 * is the test's. Needs root, to be several users.
 */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#define NOBODY  65534
#define DAEMON  1 /* another user: dbus-daemon wants one that has a name */
#define NIC     "0000:01:00.0"
#define SEC     UINT64_C(1000000)
#define LOOK    "org.aviommu1.look"
#define OWN     "org.aviommu1.manage-own"
#define OTHERS  "org.aviommu1.manage-others"
#define CONTEXT "org.aviommu1.hand-out-contexts"
#define POLICY  "org.aviommu1.manage-policy"
#define RECLAIM "org.aviommu1.reclaim"

/* The n-th way to change a VM or to get at it; NULL after the last. */
static sd_bus_message *change_of_vm(sd_bus *bus, const char *uuid, unsigned n) {
        const char *path = vm_path(uuid);

        switch (n) {
        case 0:
                return message_new(bus, path, "Vm", "AttachDevice", "sa{sv}", NIC, 0);
        case 1:
                return message_new(bus, path, "Vm", "DetachDevice", "s", NIC);
        case 2:
                return message_new(bus, path, "Vm", "CreateViommu", "s", "ivhd0");
        case 3:
                return message_new(bus, path, "Vm", "MapMemory", "htttu", STDERR_FILENO,
                                   UINT64_C(0), UINT64_C(4096), UINT64_C(0), UINT32_C(1));
        case 4:
                return message_new(bus, path, "Vm", "UnmapMemory", "tt", UINT64_C(0),
                                   UINT64_C(4096));
        case 5:
                return message_new(bus, path, "Vm", "OpenContext", "");
        case 6:
                return message_new(bus, path, "Vm", "OpenDevice", "s", NIC);
        case 7:
                return message_new(bus, path, "Vm", "ConfirmContext", "");
        case 8:
                return message_new(bus, path, "Vm", "SetLeash", "h", STDERR_FILENO);
        case 9:
                return message_new(bus, path, "Vm", "Cancel", "");
        case 10:
                return message_new(bus, path, "Vm", "Destroy", "a{sv}", 1, "force", "b", 1);
        case 11:
                return message_new(bus, viommu_path(uuid, 0), "Viommu", "Destroy", "");
        default:
                return NULL;
        }
}

/* Refused, for want of that action. */
static void expect_refused(Fixture *f, const char *action, sd_bus_message *m) {
        Call call;

        call_start(f, &call, m);
        call_wait(&call);
        assert_string_equal(call_error(&call), "AccessDenied");
        if (!strstr(sd_bus_message_get_error(call.reply)->message, action))
                fail_msg("%s", sd_bus_message_get_error(call.reply)->message);
        call_done(&call);
}

/* What belongs to somebody else takes another action, and the refusal says which. */
static void test_owner(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus *other = fixture_connect_as(f, DAEMON);
        VmSpec spec = { .uuid = uuid_of(1), .tier = "hardware", .functions = NIC };
        _cleanup_free_ char *before = NULL;
        sd_bus_message *attempt;
        const char *message;
        Call call;

        fixture_polkit_give(f, OWN " " LOOK);
        call_start(f, &call, vm_request(nobody, "CreateVm", &spec));
        call_expect(&call, "");
        before = world(f);

        for (unsigned i = 0; (attempt = change_of_vm(other, uuid_of(1), i)); i++) {
                call_start(f, &call, attempt);
                call_wait(&call);
                assert_string_equal(call_error(&call), "AccessDenied");
                message = sd_bus_message_get_error(call.reply)->message;
                if (!strstr(message, "uid 1 may not call ") ||
                    !strstr(message, " on what belongs to uid 65534, which takes " OTHERS) ||
                    !strstr(message, "aviommud-security(7)"))
                        fail_msg("%s", message);
                call_done(&call);
        }
        assert_world(f, before);

        /* With it, he may; and who may no more than that cannot make any. */
        fixture_polkit_give(f, OTHERS);
        spec.uuid = uuid_of(2);
        call_start(f, &call, vm_request(other, "CreateVm", &spec));
        call_expect(&call, "AccessDenied");
        call_method(f, &call, other, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        call_expect(&call, "");
        assert_nothing_left(f);
}

/* Descriptors take an action more, of one's own VM and of others'. */
static void test_contexts(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus *other = fixture_connect_as(f, DAEMON);
        size_t n_asked;
        Call call;

        fixture_polkit_give(f, OWN);
        call_start(
                f, &call,
                vm_request(nobody, "CreateVm",
                           &(VmSpec){ .uuid = uuid_of(1), .tier = "hardware", .functions = NIC }));
        call_expect(&call, "");
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "OpenContext", "");
        call_wait(&call);
        assert_non_null(strstr(sd_bus_message_get_error(call.reply)->message, CONTEXT));
        call_expect(&call, "AccessDenied");
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(2));
        call_expect(&call, "AccessDenied");

        /* Either without the other is not enough. */
        fixture_polkit_give(f, CONTEXT);
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "OpenDevice", "s", NIC);
        call_expect(&call, "AccessDenied");
        fixture_polkit_give(f, CONTEXT " " OWN);
        call_method(f, &call, other, vm_path(uuid_of(1)), "Vm", "OpenContext", "");
        call_expect(&call, "AccessDenied");

        n_asked = f->n_asked;
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "OpenContext", "");
        call_expect(&call, "");
        assert_int_equal(f->n_asked, n_asked + 2);
        fixture_polkit_give(f, CONTEXT " " OTHERS);
        call_method(f, &call, other, vm_path(uuid_of(1)), "Vm", "OpenDevice", "s", NIC);
        call_expect(&call, "");
        vm_destroy_force(f, uuid_of(1));
}

/* A context that somebody has prepared is his: others neither replace it nor start with it. */
static void test_prepared(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus *other = fixture_connect_as(f, DAEMON);
        sd_bus *const callers[] = { other, nobody };
        Call call;

        fixture_polkit_give(f, CONTEXT " " OWN);
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_expect(&call, "");
        call_method(f, &call, other, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_wait(&call);
        assert_non_null(strstr(sd_bus_message_get_error(call.reply)->message, OTHERS));
        call_expect(&call, "AccessDenied");
        call_start(f, &call,
                   message_new(other, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(1), 1, "tier",
                               "s", "virtio"));
        call_expect(&call, "NoPreparedContext");
        for (size_t i = 0; i < ELEMENTSOF(callers); i++) {
                call_start(f, &call,
                           message_new(callers[i], NULL, "Manager", "CreateVm", "sa{sv}",
                                       uuid_of(1), 2, "tier", "s", "virtio", "prepared", "b", 1));
                call_expect(&call, i == 0 ? "NoPreparedContext" : "");
        }
        vm_destroy_ok(f, uuid_of(1));

        /* Root is trusted with all of them, and so libvirt's hook starts with what the agent has prepared. */
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(2));
        call_expect(&call, "");
        run_ok(f, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2), 2, "tier", "s", "virtio",
               "prepared", "b", 1);
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* What the rules give the agent is enough for what it does, and for no more. */
static void test_agent(void **state) {
        Fixture *f = *state;
        sd_bus *agent = fixture_connect_as(f, DAEMON);
        Call call;

        fixture_polkit_give(f, LOOK " " OWN " " OTHERS " " CONTEXT);
        call_method(f, &call, agent, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_expect(&call, "");
        /* The hook, which is root. */
        run_ok(f, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(1), 3, "tier", "s", "virtio",
               "prepared", "b", 1, "leash", "s", "agent");
        call_method(f, &call, agent, vm_path(uuid_of(1)), "Vm", "AttachDevice", "sa{sv}", NIC, 0);
        call_expect(&call, "");
        call_method(f, &call, agent, vm_path(uuid_of(1)), "Vm", "DetachDevice", "s", NIC);
        call_expect(&call, "");
        call_method(f, &call, agent, NULL, "Manager", "ReportVms", "as", 1, uuid_of(1));
        call_expect(&call, "");

        /* A domain that runs without being counted. */
        call_method(f, &call, agent, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2), 3, "tier",
                    "s", "virtio", "handover", "s", "none", "leash", "s", "agent");
        call_expect(&call, "");
        vm_destroy_force(f, uuid_of(2));

        expect_refused(f, POLICY, message_new(agent, NULL, "Manager", "Reload", ""));
        expect_refused(f, POLICY,
                       message_new(agent, ROOT_PATH "/host/ivhd0", "HostIommu", "Probe", ""));
        expect_refused(f, RECLAIM,
                       message_new(agent, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0));
        for (unsigned i = 0; i < 2; i++) {
                call_method(f, &call, agent, NULL, "Manager", "ReportVms", "as", 0);
                call_expect(&call, "");
        }
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_owner),
                BUS_TEST(test_contexts),
                BUS_TEST(test_prepared),
                BUS_TEST(test_agent),
        };

        if (geteuid() != 0) {
                (void)fputs("SKIPPED: this test has to be several users, which takes root.\n",
                            stderr);
                return 77;
        }
        return bus_tests_run(argc, argv, tests);
}
