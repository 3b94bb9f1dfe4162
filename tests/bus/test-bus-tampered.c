/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Records and stored descriptors that are whole, and wrong: somebody with the daemon's own rights has written them anew, or put them in
 * another's place. The daemon neither dies of them nor takes one VM's for another's.
 */

#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "state/record.h"

#define NIC   "0000:01:00.0"
#define NIC2  "0000:41:00.0"
#define DISK  "0000:43:00.0"
#define MIB   UINT64_C(1048576)
#define STORE 64

static void record_path(const Fixture *f, const char *uuid, char ret[static 160]) {
        (void)snprintf(ret, 160, "%s/run/vm-%s", f->folder, strrchr(vm_path(uuid), '/') + 1);
}

/* Puts @new in place of the first @old in the record of a VM, and seals it again. */
static void rewrite_record(const Fixture *f, const char *uuid, const char *old, const char *new) {
        _cleanup_free_ char *body = NULL, *sealed = NULL;
        char path[160], text[16384];
        const char *found, *at;
        sd_id128_t boot;
        size_t n, length;
        FILE *file;

        assert_int_equal(sd_id128_get_boot(&boot), 0);
        record_path(f, uuid, path);
        file = fopen(path, "re");
        assert_non_null(file);
        n = fread(text, 1, sizeof(text) - 1, file);
        assert_int_equal(fclose(file), 0);
        text[n] = '\0';
        assert_int_equal(record_open(text, n, boot, &found, &length), RECORD_GOOD);

        at = strstr(found, old);
        if (!at)
                fail_msg("no %s in %s", old, found);
        assert_true(asprintf(&body, "%.*s%s%.*s", (int)(at - found), found, new,
                             (int)(length - (size_t)(at - found) - strlen(old)),
                             at + strlen(old)) >= 0);
        assert_int_equal(record_seal(boot, body, &sealed, &n), 0);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_int_equal(fwrite(sealed, 1, n, file), n);
        assert_int_equal(fclose(file), 0);
}

static void start_again(Fixture *f) {
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
}

/* Several name the same pidfd as their leash: the end of the one that has it takes nothing from another. */
static void test_one_leash(void **state) {
        Fixture *f = *state;
        _cleanup_close_ int self = fixture_pidfd(getpid());
        _cleanup_free_ char *before = NULL, *after = NULL;

        for (unsigned i = 1; i <= 4; i++)
                CREATE(f, uuid_of(i), .tier = "emulated", .handover = "none", .leash_pidfd = self);
        fixture_kill_daemon(f);
        for (unsigned i = 1; i <= 4; i++) {
                char old[32];

                (void)snprintf(old, sizeof(old), "\"leash_stored\":%u,", i);
                rewrite_record(f, uuid_of(i), old, "\"leash_stored\":1,");
                if (i > 1) /* tmpfs lists the youngest first */
                        rewrite_record(f, uuid_of(i), "\"bound\"", "\"draining\"");
        }
        start_again(f);

        wait_until(f, vm_count(f) == 1);
        before = vm_appearance(f, 1, 1);
        fixture_restart(f);
        after = vm_appearance(f, 1, 1);
        assert_string_equal(after, before);
        vm_destroy_force(f, uuid_of(1));
        assert_clean(f);
}

/* A record that says less than what its VM gives back piece by piece is damaged, and the daemon goes on. */
static void test_not_charged(void **state) {
        static const char *const charges[][2] = {
                { "\"descriptors\",\"scope\":0,\"amount\":3",
                  "\"descriptors\",\"scope\":0,\"amount\":0" },
                { "\"instances\",\"scope\":0,\"amount\":1",
                  "\"instances\",\"scope\":1,\"amount\":1" },
                { "\"pinned-memory\",\"scope\":0", "\"pinned-memory\",\"scope\":1" },
        };
        Fixture *f = *state;
        _cleanup_close_ int file = memfd_of(MIB);
        char path[160];

        for (size_t i = 0; i < ELEMENTSOF(charges); i++) {
                CREATE(f, uuid_of(2), .tier = "virtio", .functions = DISK, .leash = "caller");
                CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC, .leash = "caller");
                run_ok(f, vm_path(uuid_of(1)), "Vm", "MapMemory", "htttu", file, UINT64_C(0), MIB,
                       MIB, UINT32_C(1));
                fixture_kill_daemon(f);
                rewrite_record(f, uuid_of(1), charges[i][0], charges[i][1]);
                rewrite_record(f, uuid_of(1), "\"draining\":false", "\"draining\":true");
                start_again(f);

                wait_until(f, vm_count(f) == 1);
                record_path(f, uuid_of(1), path);
                assert_int_equal(access(path, F_OK), -1);
                run_ok(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(1), 0);
                vm_destroy_force(f, uuid_of(2));
                assert_clean(f);
        }
}

/* Nor can be charged more than can be counted. */
static void test_too_much(void **state) {
        Fixture *f = *state;

        for (unsigned i = 1; i <= 2; i++)
                CREATE(f, uuid_of(i), .tier = "virtio", .leash = "caller");
        fixture_kill_daemon(f);
        for (unsigned i = 1; i <= 2; i++) {
                char many[16384] = "\"charges\":[";

                /* The most that one entry may say is 2^56. */
                for (unsigned n = 0; n < 128; n++)
                        (void)strcat(many, "{\"resource\":\"domain-ids\",\"scope\":0,"
                                           "\"amount\":72057594037927936},");
                rewrite_record(f, uuid_of(i), "\"charges\":[", many);
        }
        start_again(f);
        assert_int_equal(vm_count(f), 1);
        for (unsigned i = 1; i <= 2; i++) {
                char path[160];

                record_path(f, uuid_of(i), path);
                if (access(path, F_OK) == 0)
                        vm_destroy_force(f, uuid_of(i));
                else
                        run_ok(f, NULL, "Manager", "Reclaim", "sa{sv}", uuid_of(i), 0);
        }
        assert_clean(f);
}

/* Functions of two VMs whose numbers have been swapped: neither gets the other's, and the end of the one takes nothing from the other. */
static void test_swapped(void **state) {
        static const char *const functions[] = { NIC, NIC2 };
        Fixture *f = *state;

        for (unsigned i = 0; i < 2; i++)
                CREATE(f, uuid_of(i), .tier = "hardware", .functions = functions[i],
                       .leash = "caller");
        (void)close(vm_open_context(f, uuid_of(0), NULL));
        fixture_kill_daemon(f);
        /* VM 0 has the numbers 1 (iommufd) and 2, VM 1 has 3 and 4. */
        assert_true(service_manager_rename(f->manager, "2", "5"));
        assert_true(service_manager_rename(f->manager, "4", "2"));
        assert_true(service_manager_rename(f->manager, "5", "4"));
        start_again(f);

        for (unsigned i = 0; i < 2; i++)
                run_fails(f, "WrongState", vm_path(uuid_of(i)), "Vm", "OpenDevice", "s",
                          functions[i]);
        assert_int_equal(counter(f, "bound-functions"), 0);
        for (unsigned i = 0; i < 2; i++)
                vm_destroy_force(f, uuid_of(i));
        assert_clean(f);
}

#define TAMPERED_TEST(test) BUS_TEST(test, .fdstore_max = STORE)

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                TAMPERED_TEST(test_one_leash),
                TAMPERED_TEST(test_not_charged),
                TAMPERED_TEST(test_too_much),
                TAMPERED_TEST(test_swapped),
        };

        return bus_tests_run(argc, argv, tests);
}
