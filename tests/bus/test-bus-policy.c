/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Quotas, reserves and tenants on the bus: what is refused, what Plan says of it, and that a restart and a reload change nothing of what
 * is held. */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#define FN_A "0000:43:00.0" /* all behind ivhd1 */
#define FN_B "0000:44:00.0"
#define FN_C "0000:45:00.0"
#define MIB  (UINT64_C(1) << 20)
#define SEC  UINT64_C(1000000)

static const char quotas[] = "MaxVms=9\n[Tenant a]\nMaxVms=2\nMaxPinnedMemory=8M\nTiers=virtio\n"
                             "[Tenant b]\nMaxFunctions=1\nMaxVms=2\n";

static void assert_contains(const char *text, const char *part) {
        if (!strstr(text, part))
                fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static char *plan(Fixture *f, const VmSpec *spec) {
        Call call;
        char *text;

        call_start(f, &call, vm_request(f->bus, "Plan", spec));
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        text = message_to_text(call.reply);
        call_done(&call);
        return text;
}

/* That a request is refused, with these words, and that Plan says the same. */
static void refused(Fixture *f, const char *error, const char *says, const VmSpec *spec) {
        _cleanup_free_ char *text = plan(f, spec), *before = world(f);

        assert_contains(text, error);
        assert_contains(text, says);
        assert_contains(text, "\"admitted\": false");
        vm_create_fails(f, error, spec);
        assert_world(f, before);
}
#define REFUSED(f, error, says, ...) refused((f), (error), (says), &(VmSpec){ __VA_ARGS__ })

static void test_quotas(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *list = NULL;
        char expected[512];

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = FN_A, .memory = 5 * MIB,
               .tenant = "a");
        assert_property(f, vm_path(uuid_of(1)), "Vm", "Tenant", "\"a\"");
        list = ask_text(f, NULL, "Manager", "ListVmDetails", "su", "", UINT32_C(10));
        (void)snprintf(expected, sizeof(expected),
                       "[(\"%s\", \"%s\", \"virtio\", \"vmm\", \"realized\", 1, \"%s\", "
                       "{\"tenant\": \"a\", \"owner-uid\": %u})], \"\"",
                       uuid_of(1), uuid_of(1), vm_path(uuid_of(1)), geteuid());
        assert_string_equal(list, expected);
        REFUSED(f, "QuotaExceeded",
                "Wanted 4 MiB of pinned memory more for [Tenant a], which has 5 of the 8",
                uuid_of(2), .tier = "virtio", .functions = FN_B, .memory = 4 * MIB, .tenant = "a");
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = FN_B, .memory = 3 * MIB,
               .tenant = "a");
        REFUSED(f, "QuotaExceeded", "MaxVms= in aviommud.conf", uuid_of(3), .tier = "virtio",
                .tenant = "a");
        REFUSED(f, "TierNotAllowed", "may not have tier", uuid_of(3), .tier = "emulated",
                .tenant = "a");
        REFUSED(f, "NoSuchTenant", "[Tenant c]", uuid_of(3), .tier = "virtio", .tenant = "c");

        /* Others are not held up by it. */
        CREATE(f, uuid_of(3), .tier = "virtio", .functions = FN_C, .memory = 64 * MIB,
               .tenant = "b");
        run_fails(f, "QuotaExceeded", vm_path(uuid_of(3)), "Vm", "AttachDevice", "sa{sv}",
                  "0000:46:00.0", 0);
        CREATE(f, uuid_of(4), .tier = "virtio", .memory = 64 * MIB);
        assert_property(f, vm_path(uuid_of(4)), "Vm", "Tenant", "\"\"");

        /* What goes is there again. */
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(2), .tier = "virtio", .functions = FN_B, .memory = 3 * MIB,
               .tenant = "a");
        run_ok(f, vm_path(uuid_of(3)), "Vm", "DetachDevice", "s", FN_C);
        run_ok(f, vm_path(uuid_of(3)), "Vm", "AttachDevice", "sa{sv}", "0000:46:00.0", 0);
        for (unsigned i = 1; i <= 4; i++)
                vm_destroy_ok(f, uuid_of(i));
        assert_nothing_left(f);
}

static sd_bus_message *create_of_token(Fixture *f, unsigned n, const char *token) {
        return message_new(f->bus, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(n), 4, "tier",
                           "s", "virtio", "handover", "s", "daemon", "reservation", "s", token,
                           "tenant", "s", "b");
}

/* What is on its way counts: while one VM is made another cannot have the same part of the quota, and a reservation that it takes counts
 * once. */
static void test_at_once(void **state) {
        static const VmSpec spec = {
                .tier = "virtio", .handover = "daemon", .memory = 5 * MIB, .tenant = "a"
        };
        Fixture *f = *state;
        VmSpec first = spec, second = spec;
        Call one, two;
        char token[64];
        const char *s;
        sd_bus_message *m;

        run_ok(f, SIMULATION_PATH, "Simulation", "SetDelay", "st", "iommufd_open",
               UINT64_C(200000));
        first.uuid = uuid_of(1);
        second.uuid = uuid_of(2);
        call_start(f, &one, vm_request(f->bus, "CreateVm", &first));
        call_start(f, &two, vm_request(f->bus, "CreateVm", &second));
        call_expect(&two, "QuotaExceeded");
        call_expect(&one, "");

        m = ask(f, NULL, "Manager", "Reserve", "a{sv}t", 3, "tier", "s", "virtio", "handover", "s",
                "daemon", "tenant", "s", "b", 600 * SEC);
        assert_true(sd_bus_message_read(m, "s", &s) > 0);
        (void)snprintf(token, sizeof(token), "%s", s);
        sd_bus_message_unref(m);
        call_start(f, &one, create_of_token(f, 2, token));
        second = (VmSpec){
                .uuid = uuid_of(3), .tier = "virtio", .handover = "daemon", .tenant = "b"
        };
        call_start(f, &two, vm_request(f->bus, "CreateVm", &second)); /* the second of two */
        call_expect(&two, "");
        call_expect(&one, "");
        for (unsigned i = 1; i <= 3; i++)
                vm_destroy_ok(f, uuid_of(i));
        assert_nothing_left(f);
}

/* Every limit that applies is told, of what is admitted and of what is not. */
static void test_plan(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *fits = NULL, *not = NULL, *early = NULL, *nobody = NULL;

        CREATE(f, uuid_of(1), .tier = "virtio", .memory = 5 * MIB, .tenant = "a");
        fits = plan(f, &(VmSpec){ uuid_of(2), .tier = "virtio", .memory = MIB, .tenant = "a" });
        assert_contains(fits, "\"admitted\": true");
        assert_contains(fits, "\"limits\": [(\"Tenant a\", \"MaxVms\", \"host\", 2, 1, 1), "
                              "(\"Tenant a\", \"MaxPinnedMemory\", \"host\", 8388608, 5242880, "
                              "1048576)]");
        not = plan(f, &(VmSpec){ uuid_of(2), .tier = "virtio", .memory = 5 * MIB, .tenant = "a" });
        assert_contains(not, "\"MaxPinnedMemory\", \"host\", 8388608, 5242880, 5242880)]");
        early = plan(f, &(VmSpec){ uuid_of(2), .tier = "virtio", .tenant = "a",
                                   .functions = "0000:99:00.0" });
        assert_contains(early, "NoSuchFunction");
        assert_contains(early, "(\"Tenant a\", \"MaxVms\", \"host\", 2, 1, 1)");
        nobody = plan(f, &(VmSpec){ uuid_of(2), .tier = "virtio" });
        assert_null(strstr(nobody, "limits"));
        vm_destroy_ok(f, uuid_of(1));
}

/* Who holds what outlives the daemon. */
static void test_restart(void **state) {
        Fixture *f = *state;
        char token[64];
        sd_bus_message *m;
        const char *s;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = FN_A, .memory = 3 * MIB, .tenant = "a",
               .leash_pidfd = fixture_pidfd(getpid()));
        m = ask(f, NULL, "Manager", "Reserve", "a{sv}t", 3, "tier", "s", "virtio", "memory", "t",
                4 * MIB, "tenant", "s", "a", 600 * SEC);
        assert_true(sd_bus_message_read(m, "s", &s) > 0);
        (void)snprintf(token, sizeof(token), "%s", s);
        sd_bus_message_unref(m);
        for (int i = 0; i < 2; i++) {
                REFUSED(f, "QuotaExceeded", "[Tenant a], which has 2 of the 2", uuid_of(2),
                        .tier = "virtio", .tenant = "a");
                assert_property(f, vm_path(uuid_of(1)), "Vm", "Tenant", "\"a\"");
                if (i == 0)
                        fixture_restart(f);
        }

        /* What is reserved can be had, and counts once. */
        m = message_new(f->bus, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(2), 4, "tier", "s",
                        "virtio", "memory", "t", 5 * MIB, "reservation", "s", token, "tenant", "s",
                        "a");
        {
                Call call;

                call_start(f, &call, m);
                call_expect(&call, "");
        }
        REFUSED(f, "QuotaExceeded", "[Tenant a], which has 2 of the 2", uuid_of(3),
                .tier = "virtio", .tenant = "a");
        vm_destroy_force(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(2));
        assert_nothing_left(f);
}

/* A limit below what is in use takes nothing away; a configuration with an error changes nothing. */
static void test_reload(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        Call call;

        CREATE(f, uuid_of(1), .tier = "virtio", .memory = 5 * MIB, .tenant = "a");
        CREATE(f, uuid_of(2), .tier = "virtio", .memory = 3 * MIB, .tenant = "a");
        before = world(f);

        call_method(f, &call, f->bus, NULL, "Manager", "Reload", "");
        call_expect(&call, "");
        fixture_write_config(f, "[Tenant a]\nMaxVms=7\n[Tenant b]\nNo=1\n");
        call_method(f, &call, f->bus, NULL, "Manager", "Reload", "");
        call_wait(&call);
        assert_string_equal(call_error(&call), "InvalidArgument");
        assert_contains(sd_bus_message_get_error(call.reply)->message,
                        "aviommud.conf:4: Unknown key \"No\" in [Tenant]");
        call_done(&call);
        fixture_write_config(f, "[Tenant a]\nMaxInstances=1\nReservedInstances=ivhd0:2\n");
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reload", "");
        REFUSED(f, "QuotaExceeded", "which has 2 of the 2", uuid_of(3), .tier = "virtio",
                .tenant = "a");

        fixture_write_config(f, "[Tenant a]\nMaxVms=1\nMaxPinnedMemory=1M\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        assert_world(f, before);
        vm_destroy_ok(f, uuid_of(1));
        REFUSED(f, "QuotaExceeded", "which has 1 of the 1", uuid_of(3), .tier = "virtio",
                .tenant = "a");
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(3), .tier = "virtio", .memory = MIB, .tenant = "a");
        fixture_write_config(f, "");
        run_ok(f, NULL, "Manager", "Reload", "");
        CREATE(f, uuid_of(1), .tier = "virtio", .memory = MIB, .tenant = "a-name-like-any-other");
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

/* What is kept for a tenant is nobody else's, before it is used and after. */
static void test_reserves(void **state) {
        Fixture *f = *state;

        /* ivhd1 has two instances, one of them for "a". */
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = FN_A);
        REFUSED(f, "QuotaExceeded", "1 are in use of the 1 that are not kept", uuid_of(2),
                .tier = "hardware", .functions = FN_B);
        REFUSED(f, "QuotaExceeded", "ReservedInstances=", uuid_of(2), .tier = "hardware",
                .functions = FN_B, .tenant = "b");
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = FN_B, .tenant = "a");
        REFUSED(f, "NoFreeInstance", "0 of 2 are left", uuid_of(3), .tier = "hardware",
                .functions = FN_C, .tenant = "a");
        vm_destroy_ok(f, uuid_of(2));
        REFUSED(f, "QuotaExceeded", "ReservedInstances=", uuid_of(2), .tier = "hardware",
                .functions = FN_B);

        /* One that is taken away for a while cannot be taken by another way either. */
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = FN_B, .tenant = "a");
        run_ok(f, viommu_path(uuid_of(1), 1), "Viommu", "Destroy", "");
        run_ok(f, vm_path(uuid_of(1)), "Vm", "CreateViommu", "s", "ivhd1");
        run_ok(f, viommu_path(uuid_of(1), 1), "Viommu", "Destroy", "");
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(3), .tier = "hardware", .functions = FN_C);
        run_fails(f, "QuotaExceeded", vm_path(uuid_of(1)), "Vm", "CreateViommu", "s", "ivhd1");
        vm_destroy_ok(f, uuid_of(1));
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

/* Memory beyond the request is mapped only as far as the VM's quota goes. */
static void test_vm_quota(void **state) {
        Fixture *f = *state;
        int file = memfd_of(8 * MIB);

        CREATE(f, uuid_of(1), .tier = "emulated", .handover = "daemon", .functions = FN_A,
               .memory = 2 * MIB);
        run_ok(f, vm_path(uuid_of(1)), "Vm", "MapMemory", "htttu", file, UINT64_C(0), 3 * MIB,
               UINT64_C(0), UINT32_C(1));
        run_fails(f, "QuotaExceeded", vm_path(uuid_of(1)), "Vm", "MapMemory", "htttu", file,
                  UINT64_C(0), 2 * MIB, 4 * MIB, UINT32_C(1));
        run_ok(f, vm_path(uuid_of(1)), "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB, 4 * MIB,
               UINT32_C(1));
        REFUSED(f, "QuotaExceeded", "of the 4 that a VM may have", uuid_of(2), .tier = "virtio",
                .memory = 5 * MIB);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

static void test_names(void **state) {
        static const char *const bad[] = { "", "a b", "a/b", "[a]", "\xc3\xa4" };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                CREATE_FAILS(f, "InvalidArgument", uuid_of(1), .tier = "virtio", .tenant = bad[i]);
        REFUSED(f, "NoSuchTenant", "RequireTenant=yes", uuid_of(1), .tier = "virtio");
        run_fails(f, "NoSuchTenant", NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s", "virtio",
                  60 * SEC);
        CREATE(f, uuid_of(1), .tier = "virtio", .tenant = "any");
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

static void called(Fixture *f, sd_bus *bus, const char *error, const char *uuid,
                   const char *tenant) {
        const VmSpec spec = { .uuid = uuid, .tier = "virtio", .tenant = tenant };
        Call call;

        call_start(f, &call, vm_request(bus, "CreateVm", &spec));
        call_wait(&call);
        assert_string_equal(call_error(&call), error);
        if (*error)
                assert_contains(sd_bus_message_get_error(call.reply)->message, "Groups=");
        call_done(&call);
}

/* Who may act for a tenant by a group of his has it from the bus: it is the one that he connected with. */
static void test_groups(void **state) {
        Fixture *f = *state;
        sd_bus *member, *other, *named;
        sd_bus_message *m;

        if (geteuid() != 0) {
                print_message("Only root can be somebody else\n");
                skip();
        }
        fixture_polkit_give(f, "org.aviommu1.manage-own");
        member = fixture_connect_in(f, 65534, 4242);
        other = fixture_connect_in(f, 65534, 4243);
        named = fixture_connect_in(f, 1,
                                   4243); /* a uid of every host, or dbus-daemon has none of it */

        called(f, member, "", uuid_of(1), "crew");
        called(f, member, "", uuid_of(2), "crew"); /* now that he is known */
        called(f, other, "AccessDenied", uuid_of(3), "crew");
        called(f, named, "", uuid_of(3), "crew");
        called(f, f->bus, "", uuid_of(4), "crew"); /* root */
        send_fails(f, "AccessDenied",
                   message_new(other, NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                               "virtio", "tenant", "s", "crew", 60 * SEC));
        {
                Call call;

                m = message_new(member, NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                                "virtio", "tenant", "s", "crew", 60 * SEC);
                call_start(f, &call, m);
                call_expect(&call, "");
                call_start(f, &call,
                           vm_request(other, "Plan",
                                      &(VmSpec){ uuid_of(5), .tier = "virtio", .tenant = "crew" }));
                call_wait(&call);
                {
                        _cleanup_free_ char *text = message_to_text(call.reply);

                        assert_contains(text, "\"admitted\": false");
                        assert_contains(text, "AccessDenied");
                }
                call_done(&call);
        }

        /* A reload changes it for who is there already. */
        fixture_write_config(f, "[Tenant crew]\nGroups=4243\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        called(f, member, "AccessDenied", uuid_of(5), "crew");
        called(f, other, "", uuid_of(5), "crew");
        for (unsigned i = 1; i <= 5; i++)
                vm_destroy_ok(f, uuid_of(i));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_quotas, .config = quotas),
                BUS_TEST(test_at_once, .config = quotas),
                BUS_TEST(test_plan, .config = quotas),
                BUS_TEST(test_restart, .config = quotas, .fdstore_max = 64),
                BUS_TEST(test_reload, .config = quotas),
                BUS_TEST(test_reserves, .config = "[HostIommu ivhd1]\nInstances=2\n"
                                                  "[Tenant a]\nReservedInstances=ivhd1:1\n"
                                                  "[Tenant b]\n"),
                BUS_TEST(test_vm_quota, .config = "[Vm]\nMaxPinnedMemory=4M\n"),
                BUS_TEST(test_names, .config = "RequireTenant=yes"),
                BUS_TEST(test_groups, .config = "[Tenant crew]\nUsers=1\nGroups=4242\n"),
        };

        return bus_tests_run(argc, argv, tests);
}
