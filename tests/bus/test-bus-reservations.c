/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reserve, Unreserve, and the VM that takes a reservation's place; Reload. */

#include "fixture.h"

#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#define NOBODY 65534
#define NIC    "0000:01:00.0"
#define DISK   "0000:43:00.0"
#define SEC    UINT64_C(1000000)

/* Reserves NIC in tier "virtio" with 1 MiB. */
static void reserve(Fixture *f, uint64_t ttl_usec, char ret_token[static 64]) {
        sd_bus_message *m = ask(f, NULL, "Manager", "Reserve", "a{sv}t", 3, "tier", "s", "virtio",
                                "functions", "a(sa{sv})", 1, NIC, 0, "memory", "t",
                                UINT64_C(1048576), ttl_usec);
        const char *token;

        assert_true(sd_bus_message_read(m, "s", &token) > 0);
        (void)snprintf(ret_token, 64, "%s", token);
        sd_bus_message_unref(m);
}

/* That it is refused in words that match @pattern. */
static void refused(Fixture *f, const char *error, const char *pattern, sd_bus_message *m) {
        Call call;

        call_start(f, &call, m);
        call_wait(&call);
        assert_string_equal(call_error(&call), error);
        if (fnmatch(pattern, sd_bus_message_get_error(call.reply)->message, 0) != 0)
                fail_msg("not like \"%s\": %s", pattern,
                         sd_bus_message_get_error(call.reply)->message);
        call_done(&call);
}

static sd_bus_message *create_as(sd_bus *bus, const char *token, const char *function) {
        return message_new(bus, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(1), 4, "tier", "s",
                           "virtio", "functions", "a(sa{sv})", 1, function, 0, "memory", "t",
                           UINT64_C(1048576), "reservation", "s", token);
}

static sd_bus_message *create_with(Fixture *f, const char *token, const char *function) {
        return create_as(f->bus, token, function);
}

/* One of ListReservations. */
typedef struct Listed {
        char id[16], tier[16], handover[16], function[16];
        uint32_t uid;
        uint64_t left_usec, pinned;
} Listed;

/* Reads a page; returns how many, with the first of them and the cursor. */
static unsigned list(Fixture *f, const char *cursor, unsigned limit, Listed *ret,
                     char ret_next[static 16]) {
        sd_bus_message *m = ask(f, NULL, "Manager", "ListReservations", "su", cursor,
                                (uint32_t)limit);
        const char *id, *tier, *handover, *function, *kind, *scope, *next;
        unsigned n = 0;

        assert_true(sd_bus_message_enter_container(m, 'a', "(sutssasa(sst))") > 0);
        while (sd_bus_message_enter_container(m, 'r', "sutssasa(sst)") > 0) {
                Listed listed = {};
                uint64_t amount;

                assert_true(sd_bus_message_read(m, "sutss", &id, &listed.uid, &listed.left_usec,
                                                &tier, &handover) > 0);
                assert_true(sd_bus_message_enter_container(m, 'a', "s") > 0);
                while (sd_bus_message_read(m, "s", &function) > 0)
                        (void)snprintf(listed.function, sizeof(listed.function), "%s", function);
                assert_true(sd_bus_message_exit_container(m) > 0);
                assert_true(sd_bus_message_enter_container(m, 'a', "(sst)") > 0);
                while (sd_bus_message_read(m, "(sst)", &kind, &scope, &amount) > 0)
                        if (streq(kind, "pinned-memory"))
                                listed.pinned = amount;
                assert_true(sd_bus_message_exit_container(m) > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
                (void)snprintf(listed.id, sizeof(listed.id), "%s", id);
                (void)snprintf(listed.tier, sizeof(listed.tier), "%s", tier);
                (void)snprintf(listed.handover, sizeof(listed.handover), "%s", handover);
                if (n++ == 0)
                        *ret = listed;
        }
        assert_true(sd_bus_message_exit_container(m) > 0);
        assert_true(sd_bus_message_read(m, "s", &next) > 0);
        (void)snprintf(ret_next, 16, "%s", next);
        sd_bus_message_unref(m);
        return n;
}

static void test_used(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        char token[64];
        Call call;

        reserve(f, 60 * SEC, token);
        assert_property(f, NULL, "Manager", "NReservations", "1");
        before = world(f);
        CREATE_FAILS(f, "FunctionInUse", uuid_of(2), .tier = "virtio", .functions = NIC);

        /* A refusal leaves it, and so does a token that is none. */
        send_fails(f, "NoSuchFunction", create_with(f, token, "0000:99:00.0"));
        send_fails(f, "NoSuchReservation", create_with(f, "00000000000000000000000000000001", NIC));
        send_fails(f, "NoSuchReservation", create_with(f, "token", NIC));
        assert_world(f, before);

        call_start(f, &call, create_with(f, token, NIC));
        call_expect(&call, "");
        assert_property(f, NULL, "Manager", "NReservations", "0");
        run_fails(f, "ReservationUsed", NULL, "Manager", "Unreserve", "s", token);
        vm_destroy_ok(f, uuid_of(1));
        send_fails(f, "ReservationUsed", create_with(f, token, NIC));
        assert_nothing_left(f);
}

/* A VM that fails in the kernel leaves the reservation as it was. */
static void test_failed(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        char token[64];
        Call call;

        reserve(f, 60 * SEC, token);
        before = world(f);
        run_ok(f, SIMULATION_PATH, "Simulation", "InjectFault", "sui", "iommufd_open", UINT32_C(1),
               INT32_C(5));
        send_fails(f, "KernelRefused", create_with(f, token, NIC));
        assert_world(f, before);
        call_start(f, &call, create_with(f, token, NIC));
        call_expect(&call, "");
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

static void test_given_back(void **state) {
        Fixture *f = *state;
        char first[64], second[64];

        reserve(f, 60 * SEC, first);
        run_ok(f, NULL, "Manager", "Unreserve", "s", first);
        assert_nothing_left(f);
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", first);
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", "");

        /* It ends by itself. */
        reserve(f, SEC, second);
        wait_until(f, ({
                           char *n = property(f, NULL, "Manager", "NReservations");
                           bool none = streq(n, "0");

                           free(n);
                           none;
                   }));
        assert_nothing_left(f);
        send_fails(f, "ReservationExpired", create_with(f, second, NIC));
        run_fails(f, "ReservationExpired", NULL, "Manager", "Unreserve", "s", second);
        CREATE(f, uuid_of(1), .tier = "virtio", .functions = NIC);
        vm_destroy_ok(f, uuid_of(1));
}

static void test_refused(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = world(f);

        run_fails(f, "InvalidArgument", NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s",
                  "virtio", SEC - 1);
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s",
                  "virtio", 86401 * SEC);
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reserve", "a{sv}t", 0, 60 * SEC);
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                  "virtio", "name", "s", "x", 60 * SEC);
        run_fails(f, "UnknownKey", NULL, "Manager", "Reserve", "a{sv}t", 1, "x", "s", "y",
                  60 * SEC);
        run_fails(f, "NoSuchFunction", NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                  "virtio", "functions", "a(sa{sv})", 1, "0000:99:00.0", 0, 60 * SEC);
        run_fails(f, "NoPinnableMemory", NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                  "virtio", "memory", "t", UINT64_MAX, 60 * SEC);
        assert_world(f, before);
}

static void test_list(void **state) {
        char token[5][64], next[16], last[16] = "";
        Fixture *f = *state;
        Listed listed;

        assert_int_equal(list(f, "", 10, &listed, next), 0);
        reserve(f, 60 * SEC, token[0]);
        assert_int_equal(list(f, "", 10, &listed, next), 1);
        assert_string_equal(next, "");
        assert_int_equal(strlen(listed.id), 12);
        assert_memory_equal(listed.id, token[0], 12);
        assert_int_equal(listed.uid, geteuid());
        assert_true(listed.left_usec > 0 && listed.left_usec <= 60 * SEC);
        assert_string_equal(listed.tier, "virtio");
        assert_string_equal(listed.handover, "vmm");
        assert_string_equal(listed.function, NIC);
        assert_int_equal(listed.pinned, 1048576);

        /* The id gives it back, and makes no VM. */
        send_fails(f, "NoSuchReservation", create_with(f, listed.id, NIC));
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", "000000000000");
        run_ok(f, NULL, "Manager", "Unreserve", "s", listed.id);
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", token[0]);
        assert_nothing_left(f);

        /* Pages, in the order of the ids. */
        for (size_t i = 0; i < ELEMENTSOF(token); i++) {
                sd_bus_message *m = ask(f, NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s",
                                        "virtio", 60 * SEC);
                const char *s;

                assert_true(sd_bus_message_read(m, "s", &s) > 0);
                (void)snprintf(token[i], sizeof(token[i]), "%s", s);
                sd_bus_message_unref(m);
        }
        for (size_t i = 0; i < ELEMENTSOF(token); i++) {
                assert_int_equal(list(f, last, 1, &listed, next), 1);
                assert_true(strcmp(listed.id, last) > 0);
                assert_string_equal(next, i + 1 < ELEMENTSOF(token) ? listed.id : "");
                (void)snprintf(last, sizeof(last), "%s", listed.id);
        }
        assert_int_equal(list(f, "", 3, &listed, next), 3);
        assert_int_equal(list(f, next, 3, &listed, next), 2);
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListReservations", "su", "", 0);
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListReservations", "su", "", 1001);
        run_fails(f, "InvalidArgument", NULL, "Manager", "ListReservations", "su", "next", 10);
        for (size_t i = 0; i < ELEMENTSOF(token); i++)
                run_ok(f, NULL, "Manager", "Unreserve", "s", token[i]);
        assert_nothing_left(f);
}

/* Plan counts with a reservation, and leaves it. */
static void test_planned(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        sd_bus_message *m;
        char token[64];

        reserve(f, 60 * SEC, token);
        before = world(f);
        for (unsigned with = 0; with < 2; with++) {
                char *text;

                m = ask(f, NULL, "Manager", "Plan", "sa{sv}", uuid_of(1), 3, "tier", "s", "virtio",
                        "functions", "a(sa{sv})", 1, NIC, 0, with ? "reservation" : "name", "s",
                        with ? token : "x");
                text = message_to_text(m);
                assert_non_null(strstr(text, with ? "\"admitted\": true" : "FunctionInUse"));
                free(text);
                sd_bus_message_unref(m);
        }
        assert_world(f, before);
        run_ok(f, NULL, "Manager", "Unreserve", "s", token);
}

/* Who knows the token of another's uses it not, and gives it not back either; here polkit lets him only look. */
static void test_another_user(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        char token[64], next[16];
        Listed listed;
        sd_bus *nobody;
        Call call;

        if (geteuid() != 0)
                skip();
        nobody = fixture_connect_as(f, NOBODY);
        reserve(f, 60 * SEC, token);
        before = world(f);
        fixture_polkit(f, false);
        call_start(f, &call, create_as(nobody, token, NIC));
        call_expect(&call, "AccessDenied");
        call_method(f, &call, nobody, NULL, "Manager", "Unreserve", "s", token);
        call_wait(&call);
        assert_non_null(strstr(sd_bus_message_get_error(call.reply)->message, "uid 0, which"));
        call_expect(&call, "AccessDenied");
        call_method(f, &call, nobody, NULL, "Manager", "ListReservations", "su", "", 10);
        call_expect(&call, "");
        assert_world(f, before);
        assert_int_equal(list(f, "", 10, &listed, next), 1);
        run_ok(f, NULL, "Manager", "Unreserve", "s", token);
        assert_nothing_left(f);

        /* Whoever may make VMs has a token of his own, which even root does not use. */
        fixture_polkit_give(f, "org.aviommu1.manage-own");
        call_method(f, &call, nobody, NULL, "Manager", "Reserve", "a{sv}t", 2, "tier", "s",
                    "virtio", "functions", "a(sa{sv})", 1, NIC, 0, 60 * SEC);
        call_wait(&call);
        {
                const char *s;

                assert_true(sd_bus_message_read(call.reply, "s", &s) > 0);
                (void)snprintf(token, sizeof(token), "%s", s);
        }
        call_expect(&call, "");
        send_fails(f, "NotYourReservation", create_with(f, token, NIC));
        assert_int_equal(list(f, "", 10, &listed, next), 1);
        assert_int_equal(listed.uid, NOBODY);
        call_method(f, &call, nobody, NULL, "Manager", "Unreserve", "s", token);
        call_expect(&call, "");
        send_fails(f, "NotYourReservation", create_with(f, token, NIC));
        assert_nothing_left(f);
}

static void test_reload(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "virtio");
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(2), .tier = "virtio");
        fixture_write_config(f, "[Manager]\nMaxVms=2\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        CREATE(f, uuid_of(2), .tier = "virtio");
        fixture_write_config(f, "[Manager]\nMaxVms=many\n");
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reload", "");
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(3), .tier = "virtio");

        /* What is granted stays granted. */
        fixture_write_config(f, "[Manager]\nMaxVms=1\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        assert_int_equal(vm_count(f), 2);
        vm_destroy_ok(f, uuid_of(1));
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

/* Who is refused what somebody has reserved hears whose it is and what to do; nothing of the token beyond its id. */
static void test_in_the_way(void **state) {
        Fixture *f = *state;
        char token[64], pattern[256];

        reserve(f, 600 * SEC, token);
        (void)snprintf(pattern, sizeof(pattern),
                       NIC " belongs to reservation %.12s of uid %u, which expires in 10 min: wait "
                           "for that, make the VM with its token, or give it back with "
                           "'aviommuctl unreserve %.12s'.",
                       token, geteuid(), token);
        refused(f, "FunctionInUse", pattern,
                vm_request(f->bus, "CreateVm",
                           &(VmSpec){ uuid_of(2), .tier = "virtio", .functions = NIC }));
        run_ok(f, NULL, "Manager", "Unreserve", "s", token);

        reserve(f, 100 * SEC, token);
        (void)snprintf(pattern, sizeof(pattern), "* expires in [0-9]* s: *");
        refused(f, "FunctionInUse", pattern,
                vm_request(f->bus, "CreateVm",
                           &(VmSpec){ uuid_of(2), .tier = "virtio", .functions = NIC }));
        run_ok(f, NULL, "Manager", "Unreserve", "s", token);
        assert_nothing_left(f);
}

static sd_bus_message *reserve_nothing(sd_bus *bus) {
        return message_new(bus, NULL, "Manager", "Reserve", "a{sv}t", 1, "tier", "s", "virtio",
                           60 * SEC);
}

/* A user has so many at once; root has any number. One that is used, given back or expired counts no more. */
static void test_quota(void **state) {
        Fixture *f = *state;
        _cleanup_free_ char *text = NULL;
        sd_bus *nobody;
        char token[64];
        const char *s;
        Call call;

        if (geteuid() != 0) {
                print_message("Only root can be somebody else\n");
                skip();
        }
        fixture_polkit_give(f, "org.aviommu1.manage-own");
        nobody = fixture_connect_as(f, NOBODY);
        for (unsigned i = 0; i < 2; i++) {
                call_start(f, &call, reserve_nothing(nobody));
                call_wait(&call);
                assert_string_equal(call_error(&call), "");
                assert_true(sd_bus_message_read(call.reply, "s", &s) > 0);
                (void)snprintf(token, sizeof(token), "%s", s);
                call_done(&call);
        }
        refused(f, "QuotaExceeded",
                "Wanted 1 reservation(s) more for uid 65534, which has 2 of the 2 that a user may "
                "have: use one or give one back (*), or raise MaxReservationsPerUser= of "
                "?Manager? in aviommud.conf(5).",
                reserve_nothing(nobody));
        call_start(f, &call, vm_request(nobody, "Plan", &(VmSpec){ uuid_of(1), .tier = "virtio" }));
        call_wait(&call);
        text = message_to_text(call.reply);
        assert_non_null(
                strstr(text, "(\"Manager\", \"MaxReservationsPerUser\", \"host\", 2, 2, 0)"));
        call_done(&call);
        for (unsigned i = 0; i < 3; i++) {
                call_start(f, &call, reserve_nothing(f->bus));
                call_expect(&call, "");
        }

        /* Using one is not reserving one, and makes room. */
        call_start(f, &call,
                   message_new(nobody, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(1), 2, "tier",
                               "s", "virtio", "reservation", "s", token));
        call_expect(&call, "");
        call_start(f, &call, reserve_nothing(nobody));
        call_expect(&call, "");
        refused(f, "QuotaExceeded", "*", reserve_nothing(nobody));

        /* His own section counts before that. */
        fixture_write_config(f, "[User 65534]\nMaxReservations=3\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        call_start(f, &call, reserve_nothing(nobody));
        call_expect(&call, "");
        refused(f, "QuotaExceeded", "* for ?User 65534?, which has 3 of the 3 *MaxReservations=*",
                reserve_nothing(nobody));
        vm_destroy_ok(f, uuid_of(1));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_used),
                BUS_TEST(test_failed),
                BUS_TEST(test_given_back),
                BUS_TEST(test_refused),
                BUS_TEST(test_list),
                BUS_TEST(test_planned),
                BUS_TEST(test_another_user),
                BUS_TEST(test_reload, .config = "MaxVms=1"),
                BUS_TEST(test_in_the_way),
                BUS_TEST(test_quota, .config = "MaxReservationsPerUser=2"),
        };

        return bus_tests_run(argc, argv, tests);
}
