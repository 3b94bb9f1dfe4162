/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reserve, Unreserve, and the VM that takes a reservation's place; Reload. */

#include "fixture.h"

#include <stdio.h>

#define NIC  "0000:01:00.0"
#define DISK "0000:43:00.0"
#define SEC  UINT64_C(1000000)

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

static sd_bus_message *create_with(Fixture *f, const char *token, const char *function) {
        return message_new(f->bus, NULL, "Manager", "CreateVm", "sa{sv}", uuid_of(1), 4, "tier",
                           "s", "virtio", "functions", "a(sa{sv})", 1, function, 0, "memory", "t",
                           UINT64_C(1048576), "reservation", "s", token);
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
        run_fails(f, "NoSuchReservation", NULL, "Manager", "Unreserve", "s", token);
        vm_destroy_ok(f, uuid_of(1));
        send_fails(f, "NoSuchReservation", create_with(f, token, NIC));
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

static void write_config(Fixture *f, const char *text) {
        char path[96];
        FILE *file;

        (void)snprintf(path, sizeof(path), "%s/aviommud.conf", f->folder);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static void test_reload(void **state) {
        Fixture *f = *state;

        CREATE(f, uuid_of(1), .tier = "virtio");
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(2), .tier = "virtio");
        write_config(f, "[Manager]\nMaxVms=2\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        CREATE(f, uuid_of(2), .tier = "virtio");
        write_config(f, "[Manager]\nMaxVms=many\n");
        run_fails(f, "InvalidArgument", NULL, "Manager", "Reload", "");
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(3), .tier = "virtio");

        /* What is granted stays granted. */
        write_config(f, "[Manager]\nMaxVms=1\n");
        run_ok(f, NULL, "Manager", "Reload", "");
        assert_int_equal(vm_count(f), 2);
        vm_destroy_ok(f, uuid_of(1));
        CREATE_FAILS(f, "LimitsExceeded", uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(2));
        CREATE(f, uuid_of(3), .tier = "virtio");
        vm_destroy_ok(f, uuid_of(3));
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_used),
                BUS_TEST(test_failed),
                BUS_TEST(test_given_back),
                BUS_TEST(test_refused),
                BUS_TEST(test_reload, .config = "MaxVms=1"),
        };

        return bus_tests_run(argc, argv, tests);
}
