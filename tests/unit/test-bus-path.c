/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Object paths to and fro: what the bus may send is anything. */

#include "unit.h"

#include "bus/bus-path.h"
#include "bus/bus.h"

#define UUID    "0123456789abcdef0123456789abcdef"
#define VM_PATH "/org/aviommu1/vm/" UUID

static sd_id128_t uuid(const char *s) {
        sd_id128_t id;

        assert_ok(sd_id128_from_string(s, &id));
        return id;
}

static void formats(void **state) {
        (void)state;
        assert_string_equal(BUS_VM_PATH(uuid(UUID)), VM_PATH);
        assert_string_equal(BUS_VIOMMU_PATH(uuid(UUID), 0), VM_PATH "/viommu/0");
        assert_string_equal(BUS_VIOMMU_PATH(uuid(UUID), UINT32_MAX), VM_PATH "/viommu/4294967295");
        assert_string_equal(BUS_VM_PATH(uuid("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF")),
                            "/org/aviommu1/vm/ffffffffffffffffffffffffffffffff");
}

static void round_trip(void **state) {
        static const uint32_t indexes[] = { 0, 1, 9, 10, 255, 4294967294, UINT32_MAX };

        (void)state;
        for (unsigned i = 0; i < 64; i++) {
                sd_id128_t id, back;

                assert_ok(sd_id128_randomize(&id));
                assert_ok(bus_path_parse_vm(BUS_VM_PATH(id), &back, NULL));
                assert_true(sd_id128_equal(id, back));
                assert_true(bus_path_is_vm(BUS_VM_PATH(id)));
                for_each_case(index, indexes) {
                        uint32_t n;

                        assert_ok(bus_path_parse_vm(BUS_VIOMMU_PATH(id, *index), &back, &n));
                        assert_true(sd_id128_equal(id, back));
                        assert_int_equal(n, *index);
                        assert_false(bus_path_is_vm(BUS_VIOMMU_PATH(id, *index)));
                }
        }
}

static void no_vm(void **state) {
        static const char *const cases[] = {
                NULL,
                "",
                "/",
                "/org/aviommu1",
                "/org/aviommu1/vm",
                "/org/aviommu1/vm/",
                "/org/aviommu1/vm//",
                "/org/aviommu1/host/" UUID,
                "/org/aviommu2/vm/" UUID,
                "/org/aviommu1/vmm/" UUID,
                "org/aviommu1/vm/" UUID,
                " " VM_PATH,
                "/org/aviommu1/vm/0123456789ABCDEF0123456789ABCDEF",
                "/org/aviommu1/vm/0123456789abcdef0123456789abcde",
                "/org/aviommu1/vm/0123456789abcdef0123456789abcdeg",
                "/org/aviommu1/vm/01234567-89ab-cdef-0123-456789abcdef",
                "/org/aviommu1/vm/_123456789abcdef0123456789abcdef",
                VM_PATH "0",
                VM_PATH "_",
                VM_PATH " ",
                VM_PATH "viommu",
        };

        (void)state;
        for_each_case(c, cases) {
                sd_id128_t id = uuid("11111111111111111111111111111111");

                if (bus_path_parse_vm(*c, &id, NULL) != -ENOENT)
                        fail_msg("\"%s\" is taken", *c);
                assert_true(sd_id128_equal(id, uuid("11111111111111111111111111111111")));
        }
}

/* What follows a VM's part is for others to judge. */
static void below_a_vm(void **state) {
        static const char *const cases[] = { VM_PATH "/", VM_PATH "/viommu", VM_PATH "/viommu/x" };

        (void)state;
        for_each_case(c, cases) {
                sd_id128_t id;

                assert_ok(bus_path_parse_vm(*c, &id, NULL));
                assert_true(sd_id128_equal(id, uuid(UUID)));
                assert_false(bus_path_is_vm(*c));
        }
}

static void no_viommu(void **state) {
        static const char *const cases[] = {
                VM_PATH,
                VM_PATH "/",
                VM_PATH "/viommu",
                VM_PATH "/viommu/",
                VM_PATH "/viommus/0",
                VM_PATH "/vIommu/0",
                VM_PATH "//viommu/0",
                VM_PATH "/viommu//0",
                VM_PATH "/viommu/00",
                VM_PATH "/viommu/01",
                VM_PATH "/viommu/-1",
                VM_PATH "/viommu/+1",
                VM_PATH "/viommu/ 1",
                VM_PATH "/viommu/1 ",
                VM_PATH "/viommu/1/",
                VM_PATH "/viommu/1/2",
                VM_PATH "/viommu/0x1",
                VM_PATH "/viommu/1a",
                VM_PATH "/viommu/:",
                VM_PATH "/viommu/4294967296",
                VM_PATH "/viommu/42949672950",
                VM_PATH "/viommu/18446744073709551616",
                VM_PATH "/viommu/99999999999999999999999999999999",
                VM_PATH "0/viommu/1",
                "/org/aviommu1/vm/viommu/1",
        };

        (void)state;
        for_each_case(c, cases) {
                sd_id128_t id;
                uint32_t n = 77;

                if (bus_path_parse_vm(*c, &id, &n) != -ENOENT)
                        fail_msg("\"%s\" is taken", *c);
                assert_int_equal(n, 77);
        }
}

static void truncated(void **state) {
        static const char whole[] = VM_PATH "/viommu/7";

        (void)state;
        for (size_t length = 0; length < strlen(whole); length++) {
                _cleanup_free_ char *cut = strndup(whole, length);
                sd_id128_t id;
                uint32_t n;

                assert_error(bus_path_parse_vm(cut, &id, &n), ENOENT);
                assert_int_equal(bus_path_parse_vm(cut, &id, NULL) == 0, length >= strlen(VM_PATH));
                assert_int_equal(bus_path_is_vm(cut), length == strlen(VM_PATH));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(formats),   cmocka_unit_test(round_trip),
                cmocka_unit_test(no_vm),     cmocka_unit_test(below_a_vm),
                cmocka_unit_test(no_viommu), cmocka_unit_test(truncated),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
