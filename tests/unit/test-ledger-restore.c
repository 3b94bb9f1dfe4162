/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a daemon that starts takes on: charges of before, whatever the host has by now; and the names under which they are kept. */

#include "ledger/ledger.h"
#include "ledger/quota.h"
#include "oom.h"
#include "unit.h"

static const LedgerAccount *account(const Ledger *l, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *all = ledger_get_accounts(l, &n);

        return quota_find_account(all, n, kind, scope);
}

static void names_and_back(void **state) {
        static const char *const others[] = { "", "instance", "instances ", "Instances", "pinned" };
        ResourceKind kind = RESOURCE_DOMAIN_IDS;

        (void)state;
        for (unsigned i = 0; i < _RESOURCE_KIND_MAX; i++) {
                assert_ok(
                        resource_kind_from_string(resource_kind_to_string((ResourceKind)i), &kind));
                assert_int_equal(kind, i);
        }
        kind = RESOURCE_DOMAIN_IDS;
        for_each_case(other, others) {
                assert_error(resource_kind_from_string(*other, &kind), EINVAL);
                assert_int_equal(kind, RESOURCE_DOMAIN_IDS);
        }
}

/* Neither a capacity that is exceeded nor an account that is missing stands in the way, but nothing is left for others. */
static void beyond_the_capacity(void **state) {
        _cleanup_(ledger_freep) Ledger *l = NULL;
        _cleanup_(demand_set_done) DemandSet set = {}, one = {};
        Receipt *restored = NULL, *charged = NULL;
        Problem p = {};

        (void)state;
        assert_ok(ledger_new(&l));
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 2));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 3));
        assert_ok(demand_set_add(&set, RESOURCE_DESCRIPTORS, 0, 7));
        assert_ok(ledger_restore(l, &set, &restored));
        assert_int_equal(account(l, RESOURCE_INSTANCES, 1)->used, 3);
        assert_int_equal(account(l, RESOURCE_INSTANCES, 1)->capacity, 2);
        assert_int_equal(account(l, RESOURCE_DESCRIPTORS, 0)->used, 7);
        assert_int_equal(account(l, RESOURCE_DESCRIPTORS, 0)->capacity, 0);

        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 1, 1));
        assert_error(ledger_charge(l, &one, &charged, &p), EDQUOT);
        assert_problem(&p, PROBLEM_NO_FREE_INSTANCE,
                       "Wanted 1 vIOMMU instance(s) on host IOMMU ivhd1, 0 of 2");
        assert_null(receipt_done(restored));
        assert_int_equal(account(l, RESOURCE_DESCRIPTORS, 0)->used, 0);
        assert_ok(ledger_charge(l, &one, &charged, &p));
        assert_null(receipt_done(charged));
}

/* What cannot be counted is not taken on, and leaves what is there as it was. */
static void beyond_all_bounds(void **state) {
        _cleanup_(ledger_freep) Ledger *l = NULL;
        _cleanup_(demand_set_done) DemandSet most = {}, little = {};
        Receipt *first = NULL, *second = NULL;

        (void)state;
        assert_ok(ledger_new(&l));
        assert_ok(demand_set_add(&most, RESOURCE_DOMAIN_IDS, 0, UINT64_MAX));
        assert_ok(demand_set_add(&little, RESOURCE_DESCRIPTORS, 0, 2));
        assert_ok(demand_set_add(&little, RESOURCE_DOMAIN_IDS, 0, 1));
        assert_ok(ledger_restore(l, &most, &first));
        assert_error(ledger_restore(l, &little, &second), EOVERFLOW);
        assert_null(second);
        assert_null(account(l, RESOURCE_DESCRIPTORS, 0));
        assert_int_equal(account(l, RESOURCE_DOMAIN_IDS, 0)->used, UINT64_MAX);
        assert_null(receipt_done(first));
        assert_ok(ledger_restore(l, &little, &second));
        assert_null(receipt_done(second));
}

static void covered(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {}, part = {};

        (void)state;
        assert_true(demand_set_covers(&set, &part));
        assert_ok(demand_set_add(&part, RESOURCE_INSTANCES, 1, 2));
        assert_false(demand_set_covers(&set, &part));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 0, 2));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 1));
        assert_false(demand_set_covers(&set, &part));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 1));
        assert_true(demand_set_covers(&set, &part));
}

static void descriptors_refused(void **state) {
        const LedgerAccount account = { RESOURCE_DESCRIPTORS, 0, 10, 8 };
        _cleanup_(demand_set_done) DemandSet set = {};
        Problem p = {};

        (void)state;
        assert_ok(demand_set_add(&set, RESOURCE_DESCRIPTORS, 0, 2));
        assert_ok(quota_decide(&account, 1, &set, &p));
        assert_false(problem_is_set(&p));
        assert_ok(demand_set_add(&set, RESOURCE_DESCRIPTORS, 0, 1));
        assert_error(quota_decide(&account, 1, &set, &p), EDQUOT);
        assert_problem(&p, PROBLEM_NO_FREE_DESCRIPTOR,
                       "Wanted to keep 3 file descriptors for the VM, 2 of 10 are left");
        assert_int_equal(p.wanted, 3);
        assert_int_equal(p.available, 2);
}

/* All of it or nothing, and no account is charged that has no receipt. */
static void without_memory(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {};
        Receipt *receipt = NULL;
        int r = -ENOMEM;

        (void)state;
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 3));
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, 5));
        OOM_SWEEP(nth, {
                _cleanup_(ledger_freep) Ledger *l = NULL;

                if (ledger_new(&l) < 0)
                        continue;
                r = ledger_restore(l, &set, &receipt);
                assert_true(r == 0 || r == -ENOMEM);
                for (size_t i = 0; i < set.n_demands; i++) {
                        const LedgerAccount *a = account(l, set.demands[i].kind,
                                                         set.demands[i].scope);

                        assert_int_equal(a ? a->used : 0, r == 0 ? set.demands[i].amount : 0);
                }
                if (r == 0)
                        receipt = receipt_done(receipt);
        });
        assert_ok(r);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_and_back),      cmocka_unit_test(beyond_the_capacity),
                cmocka_unit_test(beyond_all_bounds),   cmocka_unit_test(covered),
                cmocka_unit_test(descriptors_refused), cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
