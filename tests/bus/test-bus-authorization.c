/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who may do what: root and the daemon's own user anything, anybody else what polkit says, which here is a stand-in of the test's
 * own on the private bus. Without polkit that is nothing but reading properties. Needs root, to be two users.
 */

#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define NOBODY  65534
#define NIC     "0000:01:00.0"
#define LOOK    "org.aviommu1.look"
#define OWN     "org.aviommu1.manage-own"
#define OTHERS  "org.aviommu1.manage-others"
#define CONTEXT "org.aviommu1.hand-out-contexts"
#define POLICY  "org.aviommu1.manage-policy"
#define RECLAIM "org.aviommu1.reclaim"

/* ---- polkit's stand-in ---- */

typedef enum Verdict { YES, NO, CHALLENGE, HOLD, FAIL, NONSENSE } Verdict;

typedef struct Polkit {
        Fixture *f;
        sd_bus *bus;
        Verdict verdict;
        const char *given; /* an action that is given with NO too; NULL: none */
        unsigned n_asked;
        char kind[32], subject[32], action[64];
        uint32_t flags;
        sd_bus_message *held;
} Polkit;

static int answer(sd_bus_message *m, Verdict verdict) {
        switch (verdict) {
        case YES:
                return sd_bus_reply_method_return(m, "(bba{ss})", true, false, 0);
        case NO:
                return sd_bus_reply_method_return(m, "(bba{ss})", false, false, 0);
        case CHALLENGE:
                return sd_bus_reply_method_return(m, "(bba{ss})", false, true, 0);
        case FAIL:
                return sd_bus_reply_method_errorf(m, "org.freedesktop.PolicyKit1.Error.Failed",
                                                  "polkit is not itself today.");
        default:
                return sd_bus_reply_method_return(m, "s", "yes");
        }
}

static int method_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *kind, *key, *subject, *action;
        Polkit *polkit = userdata;

        (void)error;
        if (!sd_bus_message_is_method_call(m, "org.freedesktop.PolicyKit1.Authority",
                                           "CheckAuthorization"))
                return 0;
        polkit->n_asked++;
        assert_true(sd_bus_message_enter_container(m, 'r', "sa{sv}") > 0);
        assert_true(sd_bus_message_read(m, "s", &kind) > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "{sv}") > 0);
        assert_true(sd_bus_message_read(m, "{sv}", &key, "s", &subject) > 0);
        assert_string_equal(key, "name");
        assert_true(sd_bus_message_exit_container(m) > 0);
        assert_true(sd_bus_message_exit_container(m) > 0);
        assert_true(sd_bus_message_read(m, "s", &action) > 0);
        assert_true(sd_bus_message_skip(m, "a{ss}") >= 0);
        assert_true(sd_bus_message_read(m, "u", &polkit->flags) > 0);
        (void)snprintf(polkit->kind, sizeof(polkit->kind), "%s", kind);
        (void)snprintf(polkit->subject, sizeof(polkit->subject), "%s", subject);
        (void)snprintf(polkit->action, sizeof(polkit->action), "%s", action);
        if (polkit->verdict == NO && polkit->given && streq(polkit->given, action))
                return answer(m, YES);
        if (polkit->verdict != HOLD)
                return answer(m, polkit->verdict);
        polkit->held = sd_bus_message_ref(m);
        return 1;
}

static void polkit_start(Fixture *f, Polkit *polkit, Verdict verdict) {
        *polkit = (Polkit){ .f = f, .bus = fixture_connect(f), .verdict = verdict };
        /* No vtable: that would keep it from nonsense. */
        assert_true(sd_bus_add_object(polkit->bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
                                      method_check, polkit) >= 0);
        assert_true(sd_bus_request_name(polkit->bus, "org.freedesktop.PolicyKit1", 0) >= 0);
}

static void polkit_release(Polkit *polkit, Verdict verdict) {
        assert_true(answer(polkit->held, verdict) >= 0);
        polkit->held = sd_bus_message_unref(polkit->held);
}

/* ---- every method ---- */

typedef struct Gate {
        const char *action, *path, *interface, *member, *types;
} Gate;

/* Each method once, with arguments that its signature wants: the gate is before them. The VM is root's, and there is no
 * reservation or definition: the first action that is asked about. */
static const Gate gates[] = {
        { LOOK, NULL, "Manager", "Plan", "sa{sv}" },
        { LOOK, NULL, "Manager", "GetVm", "s" },
        { LOOK, NULL, "Manager", "GetVmByName", "s" },
        { LOOK, NULL, "Manager", "ListVms", "su" },
        { LOOK, NULL, "Manager", "ListVmDetails", "su" },
        { LOOK, NULL, "Manager", "ListFunctions", "su" },
        { LOOK, NULL, "Manager", "ListQuarantined", "" },
        { LOOK, NULL, "Manager", "ListReservations", "su" },
        { LOOK, NULL, "Manager", "ListDefinitions", "su" },
        { LOOK, NULL, "Manager", "GetDefinition", "s" },
        { OWN, NULL, "Manager", "DefineVm", "sa{sv}a{sv}" },
        { LOOK, NULL, "Manager", "ModifyDefinition", "sa{sv}" },
        { LOOK, NULL, "Manager", "UndefineVm", "s" },
        { LOOK, NULL, "Manager", "StartDefinition", "sa{sv}" },
        { LOOK, "vm", "Vm", "Describe", "s" },
        { OWN, NULL, "Manager", "CreateVm", "sa{sv}" },
        { CONTEXT, NULL, "Manager", "PrepareContext", "s" },
        { LOOK, NULL, "Manager", "ForgetContext", "s" },
        { OWN, NULL, "Manager", "Reserve", "a{sv}t" },
        { LOOK, NULL, "Manager", "Unreserve", "s" },
        { POLICY, NULL, "Manager", "Reload", "" },
        { OTHERS, NULL, "Manager", "ReportVms", "as" },
        { RECLAIM, NULL, "Manager", "Reclaim", "sa{sv}" },
        { POLICY, ROOT_PATH "/host/ivhd0", "HostIommu", "Probe", "" },
        { OTHERS, "vm", "Vm", "AttachDevice", "sa{sv}" },
        { OTHERS, "vm", "Vm", "DetachDevice", "s" },
        { OTHERS, "vm", "Vm", "CreateViommu", "s" },
        { OTHERS, "vm", "Vm", "MapMemory", "htttu" },
        { OTHERS, "vm", "Vm", "UnmapMemory", "tt" },
        { OTHERS, "vm", "Vm", "OpenContext", "" },
        { OTHERS, "vm", "Vm", "OpenDevice", "s" },
        { OTHERS, "vm", "Vm", "ConfirmContext", "" },
        { OTHERS, "vm", "Vm", "SetLeash", "h" },
        { OTHERS, "vm", "Vm", "Cancel", "" },
        { OTHERS, "vm", "Vm", "Destroy", "a{sv}" },
        { OTHERS, "viommu", "Viommu", "Destroy", "" },
        { POLICY, SIMULATION_PATH, "Simulation", "Plug", "s" },
        { POLICY, SIMULATION_PATH, "Simulation", "Unplug", "s" },
        { POLICY, SIMULATION_PATH, "Simulation", "SetDriver", "ss" },
        { POLICY, SIMULATION_PATH, "Simulation", "SetLimit", "st" },
        { POLICY, SIMULATION_PATH, "Simulation", "InjectFault", "sui" },
        { POLICY, SIMULATION_PATH, "Simulation", "SetDelay", "st" },
        { POLICY, SIMULATION_PATH, "Simulation", "Counters", "" },
};

/* Appends something of each type. */
static sd_bus_message *gate_message(sd_bus *bus, const Gate *gate) {
        const char *path = gate->path;
        sd_bus_message *m;

        if (path && streq(path, "vm"))
                path = vm_path(uuid_of(1));
        else if (path && streq(path, "viommu"))
                path = viommu_path(uuid_of(1), 0);
        m = message_new(bus, path, gate->interface, gate->member, "");
        for (const char *t = gate->types; *t; t++)
                if (strncmp(t, "a{sv}", 5) == 0) {
                        assert_true(sd_bus_message_append(m, "a{sv}", 0) >= 0);
                        t += 4;
                } else if (strncmp(t, "as", 2) == 0) {
                        assert_true(sd_bus_message_append(m, "as", 0) >= 0);
                        t++;
                } else if (*t == 's')
                        assert_true(sd_bus_message_append(m, "s", "") >= 0);
                else if (*t == 'h')
                        assert_true(sd_bus_message_append(m, "h", STDERR_FILENO) >= 0);
                else if (*t == 't')
                        assert_true(sd_bus_message_append(m, "t", UINT64_C(0)) >= 0);
                else
                        assert_true(sd_bus_message_append_basic(m, *t, &(uint32_t){ 0 }) >= 0);
        return m;
}

static void test_without_polkit(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        _cleanup_free_ char *before = NULL;
        static const char *const readable[] = { "Manager", "HostIommu", "Vm", "Viommu" };
        const char *paths[] = { ROOT_PATH, ROOT_PATH "/host/ivhd0", vm_path(uuid_of(1)),
                                viommu_path(uuid_of(1), 0) };
        Call call;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        before = world(f);
        for (size_t i = 0; i < ELEMENTSOF(gates); i++) {
                call_start(f, &call, gate_message(nobody, gates + i));
                call_wait(&call);
                if (!streq(call_error(&call), "AccessDenied"))
                        print_error("%s.%s\n", gates[i].interface, gates[i].member);
                call_expect(&call, "AccessDenied");
        }
        assert_world(f, before);

        /* Properties and introspection are for everybody. */
        for (size_t i = 0; i < ELEMENTSOF(readable); i++) {
                char interface[64];

                (void)snprintf(interface, sizeof(interface), "org.aviommu1.%s", readable[i]);
                call_method(f, &call, nobody, paths[i], "org.freedesktop.DBus.Properties", "GetAll",
                            "s", interface);
                call_expect(&call, "");
                call_method(f, &call, nobody, paths[i], "org.freedesktop.DBus.Introspectable",
                            "Introspect", "");
                call_expect(&call, "");
        }
        call_method(f, &call, nobody, ROOT_PATH "/host", "org.freedesktop.DBus.ObjectManager",
                    "GetManagedObjects", "");
        call_expect(&call, "");
        call_method(f, &call, nobody, ROOT_PATH, "org.freedesktop.DBus.Peer", "Ping", "");
        call_expect(&call, "");
        vm_destroy_ok(f, uuid_of(1));
}

/* The list above is all there is: a method that is new has a gate too, and a line there. */
static void test_list_is_whole(void **state) {
        static const char *const interfaces[] = { "Manager", "HostIommu", "Vm", "Viommu",
                                                  "Simulation" };
        const char *paths[] = { ROOT_PATH, ROOT_PATH "/host/ivhd0", vm_path(uuid_of(1)),
                                viommu_path(uuid_of(1), 0), SIMULATION_PATH };
        Fixture *f = *state;
        size_t n = 0;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
                sd_bus_message *m = ask(f, paths[i], "org.freedesktop.DBus.Introspectable",
                                        "Introspect", "");
                const char *text, *end;
                char interface[96];

                assert_true(sd_bus_message_read(m, "s", &text) > 0);
                (void)snprintf(interface, sizeof(interface), "<interface name=\"org.aviommu1.%s\"",
                               interfaces[i]);
                text = strstr(text, interface);
                assert_non_null(text);
                end = strstr(text, "</interface>");
                while ((text = strstr(text, "<method name=\"")) && text < end) {
                        bool known = false;

                        text += strlen("<method name=\"");
                        for (size_t j = 0; j < ELEMENTSOF(gates); j++)
                                known |= streq(gates[j].interface, interfaces[i]) &&
                                         strncmp(text, gates[j].member, strlen(gates[j].member)) ==
                                                 0 &&
                                         text[strlen(gates[j].member)] == '"';
                        if (!known)
                                fail_msg("%s has a method without a gate here: %.24s",
                                         interfaces[i], text);
                        n++;
                }
                sd_bus_message_unref(m);
        }
        assert_int_equal(n, ELEMENTSOF(gates));
        vm_destroy_ok(f, uuid_of(1));
}

/* Which action each method asks for, and of whom. */
static void test_actions(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        const char *name;
        Polkit polkit;
        Call call;

        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        polkit_start(f, &polkit, NO);
        assert_true(sd_bus_get_unique_name(nobody, &name) >= 0);
        for (size_t i = 0; i < ELEMENTSOF(gates); i++) {
                call_start(f, &call, gate_message(nobody, gates + i));
                call_expect(&call, "AccessDenied");
                assert_string_equal(polkit.action, gates[i].action);
                assert_string_equal(polkit.kind, "system-bus-name");
                assert_string_equal(polkit.subject, name);
                assert_int_equal(polkit.flags, 0);
                assert_int_equal(polkit.n_asked, i + 1);
        }

        /* Root is not asked about. */
        run_ok(f, NULL, "Manager", "GetVm", "s", uuid_of(1));
        vm_destroy_ok(f, uuid_of(1));
        assert_int_equal(polkit.n_asked, ELEMENTSOF(gates));
}

static void test_yes(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        polkit_start(f, &polkit, YES);
        call_start(
                f, &call,
                vm_request(nobody, "CreateVm",
                           &(VmSpec){ .uuid = uuid_of(1), .tier = "hardware", .functions = NIC }));
        call_expect(&call, "");
        assert_string_equal(polkit.action, OWN);
        assert_property(f, vm_path(uuid_of(1)), "Vm", "OwnerUid", "65534");
        call_method(f, &call, nobody, NULL, "Manager", "GetVm", "s", uuid_of(1));
        call_expect(&call, "");
        assert_string_equal(polkit.action, LOOK);

        /* It is asked each time: what is remembered is who calls, not what he may. */
        polkit.verdict = NO;
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        call_expect(&call, "AccessDenied");
        polkit.verdict = YES;
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        call_expect(&call, "");
        assert_nothing_left(f);
}

static void test_challenge(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus_message *m;
        Polkit polkit;
        Call call;

        polkit_start(f, &polkit, CHALLENGE);
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        call_wait(&call);
        assert_non_null(strstr(sd_bus_message_get_error(call.reply)->message, "interactive"));
        call_expect(&call, "AccessDenied");
        assert_int_equal(polkit.flags, 0);

        /* With the flag polkit may ask the user, who says yes. */
        polkit.verdict = YES;
        m = message_new(nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        assert_true(sd_bus_message_set_allow_interactive_authorization(m, true) >= 0);
        call_start(f, &call, m);
        call_expect(&call, "");
        assert_int_equal(polkit.flags, 1);
}

static void test_broken(void **state) {
        static const Verdict verdicts[] = { FAIL, NONSENSE };
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        for (size_t i = 0; i < ELEMENTSOF(verdicts); i++) {
                polkit_start(f, &polkit, verdicts[i]);
                call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
                call_expect(&call, "AccessDenied");
                fixture_disconnect(f, polkit.bus);
        }

        /* It dies with the question. */
        polkit_start(f, &polkit, HOLD);
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        wait_until(f, polkit.held);
        polkit.held = sd_bus_message_unref(polkit.held);
        fixture_disconnect(f, polkit.bus);
        call_expect(&call, "AccessDenied");
        assert_nothing_left(f);
}

/* The caller has left when the answer comes. */
static void test_vanished(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        polkit_start(f, &polkit, HOLD);
        call_start(f, &call,
                   vm_request(nobody, "CreateVm",
                              &(VmSpec){ .uuid = uuid_of(1),
                                         .tier = "hardware",
                                         .functions = NIC,
                                         .leash = "caller" }));
        wait_until(f, polkit.held);
        call_done(&call);
        fixture_disconnect(f, nobody);
        fixture_serve_for(f, 50000);
        polkit_release(&polkit, YES);
        fixture_serve_for(f, 200000);
        wait_until(f, vm_count(f) == 0);
        assert_nothing_left(f);
        assert_int_equal(count_heard(f, "Vm*"), 0);
}

/* While one waits for polkit the others are served, and what it asked about may be gone when it may. */
static void test_meanwhile(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        CREATE(f, uuid_of(1), .tier = "virtio");
        polkit_start(f, &polkit, HOLD);
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        wait_until(f, polkit.held);
        vm_destroy_ok(f, uuid_of(1));
        polkit_release(&polkit, YES);
        call_expect(&call, "NoSuchVm");
        assert_nothing_left(f);
}

/* While polkit is asked about one's own VM, it goes, and another's comes in its place. */
static void test_changed_hands(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        polkit_start(f, &polkit, YES);
        call_start(
                f, &call,
                vm_request(nobody, "CreateVm", &(VmSpec){ .uuid = uuid_of(1), .tier = "virtio" }));
        call_expect(&call, "");
        polkit.verdict = HOLD;
        call_method(f, &call, nobody, vm_path(uuid_of(1)), "Vm", "Destroy", "a{sv}", 0);
        wait_until(f, polkit.held);
        assert_string_equal(polkit.action, OWN);
        vm_destroy_ok(f, uuid_of(1));
        CREATE(f, uuid_of(1), .tier = "virtio");
        polkit_release(&polkit, YES);
        call_expect(&call, "Busy");
        assert_int_equal(vm_count(f), 1);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* The second question may ask the user too, and may be where it ends. */
static void test_interactive(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus_message *m;
        Polkit polkit;
        Call call;

        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC);
        polkit_start(f, &polkit, NO);
        polkit.given = OTHERS;
        m = message_new(nobody, vm_path(uuid_of(1)), "Vm", "OpenContext", "");
        assert_true(sd_bus_message_set_allow_interactive_authorization(m, true) >= 0);
        call_start(f, &call, m);
        call_expect(&call, "AccessDenied");
        assert_string_equal(polkit.action, CONTEXT);
        assert_int_equal(polkit.flags, 1);
        assert_int_equal(polkit.n_asked, 2);
        vm_destroy_ok(f, uuid_of(1));
}

/* The daemon ends while polkit thinks. */
static void test_shutdown(void **state) {
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        Polkit polkit;
        Call call;

        polkit_start(f, &polkit, HOLD);
        call_method(f, &call, nobody, NULL, "Manager", "PrepareContext", "s", uuid_of(1));
        wait_until(f, polkit.held);
        (void)kill(f->daemon_pid, SIGTERM);
        call_expect(&call, "Cancelled");
        assert_int_equal(fixture_wait_daemon(f), 0);
        polkit_release(&polkit, YES);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_without_polkit),
                BUS_TEST(test_list_is_whole),
                BUS_TEST(test_actions),
                BUS_TEST(test_yes),
                BUS_TEST(test_changed_hands),
                BUS_TEST(test_interactive),
                BUS_TEST(test_challenge),
                BUS_TEST(test_broken),
                BUS_TEST(test_vanished),
                BUS_TEST(test_meanwhile),
                BUS_TEST(test_shutdown, .other_exit = true),
        };

        if (geteuid() != 0) {
                (void)fputs("SKIPPED: this test has to be several users, which takes root.\n",
                            stderr);
                return 77;
        }
        return bus_tests_run(argc, argv, tests);
}
