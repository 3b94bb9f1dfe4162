/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Demands, capacities, charges and receipts; the decision on amounts and its sentences; and a model test: random charges and
 * returns against a reference that is too simple to be wrong. Its seed is printed; --seed N and --steps N repeat a run.
 */

#include "unit.h"

#include <getopt.h>
#include <inttypes.h>
#include <time.h>

#include "ledger/ledger.h"
#include "ledger/quota.h"
#include "oom.h"

static uint64_t model_seed;
static uint64_t model_steps = 100000;

/* ---- demands ---- */

static void demands_are_summed(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {};

        (void)state;
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 2));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 2, 3));
        assert_ok(demand_set_add(&set, RESOURCE_TRANS_DEVIDS, 1, 4));
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 5));
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, 0)); /* nothing is no demand */
        assert_int_equal(set.n_demands, 3);
        assert_int_equal(set.demands[0].amount, 7);
        assert_int_equal(set.demands[1].amount, 3);
        assert_int_equal(set.demands[2].amount, 4);
}

static void demands_overflow(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {}, other = {};

        (void)state;
        assert_ok(demand_set_add(&set, RESOURCE_PINNED_MEMORY, 0, UINT64_MAX));
        assert_error(demand_set_add(&set, RESOURCE_PINNED_MEMORY, 0, 1), EOVERFLOW);
        assert_int_equal(set.demands[0].amount, UINT64_MAX);
        assert_ok(demand_set_add(&other, RESOURCE_INSTANCES, 0, 1));
        assert_ok(demand_set_add(&other, RESOURCE_PINNED_MEMORY, 0, 1));
        assert_error(demand_set_add_all(&set, &other), EOVERFLOW);
}

static void demands_of_another_set(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {}, other = {};

        (void)state;
        assert_ok(demand_set_add_all(&set, &other));
        assert_int_equal(set.n_demands, 0);
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, 1));
        assert_ok(demand_set_add(&other, RESOURCE_DOMAIN_IDS, 0, 2));
        assert_ok(demand_set_add(&other, RESOURCE_INSTANCES, 7, 3));
        assert_ok(demand_set_add_all(&set, &other));
        assert_int_equal(set.n_demands, 2);
        assert_int_equal(set.demands[0].amount, 3);
        assert_int_equal(set.demands[1].amount, 3);
        demand_set_done(&set);
        demand_set_done(&set); /* twice is once */
        assert_int_equal(set.n_demands, 0);
}

/* ---- names ---- */

static void names(void **state) {
        static const struct {
                ResourceKind kind;
                uint32_t scope;
                const char *name, *scope_name;
        } cases[] = {
                { RESOURCE_INSTANCES, 3, "instances", "ivhd3" },
                { RESOURCE_INSTANCES, UINT32_MAX, "instances", "ivhd4294967295" },
                { RESOURCE_TRANS_DEVIDS, 0, "trans-devids", "0000" },
                { RESOURCE_TRANS_DEVIDS, 0xabcd, "trans-devids", "abcd" },
                { RESOURCE_CONTIGUOUS_MEMORY, 1, "contiguous-memory", "node1" },
                { RESOURCE_DOMAIN_IDS, 0, "domain-ids", "host" },
                { RESOURCE_PINNED_MEMORY, 0, "pinned-memory", "host" },
        };

        (void)state;
        for_each_case(c, cases) {
                assert_string_equal(resource_kind_to_string(c->kind), c->name);
                assert_string_equal(RESOURCE_SCOPE_STRING(c->kind, c->scope), c->scope_name);
        }
        assert_aborts((void)resource_kind_to_string(_RESOURCE_KIND_MAX));
}

/* ---- the decision on amounts ---- */

static const LedgerAccount accounts[] = {
        { RESOURCE_INSTANCES, 0, 4, 4 },
        { RESOURCE_INSTANCES, 2, 4, 1 },
        { RESOURCE_INSTANCES, 7, 4, 6 }, /* capacity fell below what is used */
        { RESOURCE_TRANS_DEVIDS, 1, 100, 98 },
        { RESOURCE_CONTIGUOUS_MEMORY, 1, 10 << 20, 9 << 20 },
        { RESOURCE_DOMAIN_IDS, 0, 1000, 990 },
        { RESOURCE_PINNED_MEMORY, 0, UINT64_C(64) << 30, UINT64_C(60) << 30 },
};

static void accounts_are_found(void **state) {
        (void)state;
        for_each_case(a, accounts) assert_ptr_equal(
                quota_find_account(accounts, ELEMENTSOF(accounts), a->kind, a->scope), a);
        for (size_t n = 0; n <= ELEMENTSOF(accounts); n++) {
                assert_null(quota_find_account(accounts, n, RESOURCE_INSTANCES, 1));
                assert_null(quota_find_account(accounts, n, RESOURCE_INSTANCES, 8));
                assert_null(quota_find_account(accounts, n, RESOURCE_TRANS_DEVIDS, 0));
                assert_null(quota_find_account(accounts, n, RESOURCE_PINNED_MEMORY, 1));
        }
}

static void amounts_fit(void **state) {
        static const Demand cases[][3] = {
                { {} },
                { { RESOURCE_INSTANCES, 2, 3 } },
                { { RESOURCE_INSTANCES, 2, 3 },
                  { RESOURCE_TRANS_DEVIDS, 1, 2 },
                  { RESOURCE_PINNED_MEMORY, 0, UINT64_C(4) << 30 } },
                { { RESOURCE_CONTIGUOUS_MEMORY, 1, 1 << 20 }, { RESOURCE_DOMAIN_IDS, 0, 10 } },
        };

        (void)state;
        for_each_case(c, cases) {
                DemandSet set = { (Demand *)*c, 0 };
                Problem p = {};

                while (set.n_demands < ELEMENTSOF(*c) && (*c)[set.n_demands].amount > 0)
                        set.n_demands++;
                assert_ok(quota_decide(accounts, ELEMENTSOF(accounts), &set, &p));
                assert_false(problem_is_set(&p));
        }
}

static void amounts_refused(void **state) {
        static const struct {
                Demand demand;
                ProblemKind kind;
                uint64_t available;
                const char *says;
        } cases[] = {
                { { RESOURCE_INSTANCES, 2, 4 },
                  PROBLEM_NO_FREE_INSTANCE,
                  3,
                  "Wanted 4 vIOMMU instance(s) on host IOMMU ivhd2, 3 of 4 are left" },
                { { RESOURCE_INSTANCES, 0, 1 }, PROBLEM_NO_FREE_INSTANCE, 0, "ivhd0, 0 of 4" },
                { { RESOURCE_INSTANCES, 7, 1 }, PROBLEM_NO_FREE_INSTANCE, 0, "ivhd7, 0 of 4" },
                { { RESOURCE_INSTANCES, 5, 1 }, PROBLEM_NO_FREE_INSTANCE, 0, "ivhd5, 0 of 0" },
                { { RESOURCE_INSTANCES, 2, UINT64_MAX },
                  PROBLEM_NO_FREE_INSTANCE,
                  3,
                  "Wanted 18446744073709551615" },
                { { RESOURCE_TRANS_DEVIDS, 1, 3 },
                  PROBLEM_NO_FREE_TRANS_DEVID,
                  2,
                  "Wanted 3 TransDevID(s) in PCI segment 0001, 2 of 100 are left" },
                { { RESOURCE_CONTIGUOUS_MEMORY, 1, 3 << 19 },
                  PROBLEM_NO_CONTIGUOUS_MEMORY,
                  1 << 20,
                  "Wanted 1536 KiB of contiguous memory on NUMA node1 for vIOMMU tables, 1024 of "
                  "10240 KiB are left" },
                { { RESOURCE_DOMAIN_IDS, 0, 11 },
                  PROBLEM_NO_FREE_DOMAIN_ID,
                  10,
                  "Wanted 11 IOMMU domain id(s), 10 of the host's 1000 are left" },
                { { RESOURCE_PINNED_MEMORY, 0, UINT64_C(5) << 30 },
                  PROBLEM_NO_PINNABLE_MEMORY,
                  UINT64_C(4) << 30,
                  "Wanted 5120 MiB of pinned memory, 4096 of 65536 MiB" },
        };

        (void)state;
        for_each_case(c, cases) {
                DemandSet set = { (Demand *)&c->demand, 1 };
                Problem p = {};

                assert_error(quota_decide(accounts, ELEMENTSOF(accounts), &set, &p), EDQUOT);
                assert_problem(&p, c->kind, c->says);
                assert_int_equal(p.wanted, c->demand.amount);
                assert_int_equal(p.available, c->available);
                assert_true(p.text[strlen(p.text) - 1] == '.');
                assert_error(quota_decide(accounts, ELEMENTSOF(accounts), &set, NULL), EDQUOT);
        }
}

/* The first that is short is the one that is named. */
static void the_first_short_one(void **state) {
        Demand demands[] = { { RESOURCE_INSTANCES, 2, 1 },
                             { RESOURCE_DOMAIN_IDS, 0, 99 },
                             { RESOURCE_TRANS_DEVIDS, 1, 99 } };
        DemandSet set = { demands, ELEMENTSOF(demands) };
        Problem p = {};

        (void)state;
        assert_error(quota_decide(accounts, ELEMENTSOF(accounts), &set, &p), EDQUOT);
        assert_problem(&p, PROBLEM_NO_FREE_DOMAIN_ID, "99");

        demands[0] = (Demand){ _RESOURCE_KIND_MAX, 0, 1 };
        assert_aborts((void)quota_decide(accounts, ELEMENTSOF(accounts), &set, NULL));
}

/* ---- the ledger ---- */

static Ledger *new_ledger(void) {
        Ledger *l;

        assert_ok(ledger_new(&l));
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 4));
        assert_ok(ledger_set_capacity(l, RESOURCE_DOMAIN_IDS, 0, 100));
        return l;
}

static uint64_t used(const Ledger *l, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *all = ledger_get_accounts(l, &n), *a;

        a = quota_find_account(all, n, kind, scope);
        return a ? a->used : 0;
}

static Receipt *charge(Ledger *l, uint64_t instances, uint64_t domain_ids) {
        _cleanup_(demand_set_done) DemandSet set = {};
        Receipt *receipt;

        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, instances));
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, domain_ids));
        assert_ok(ledger_charge(l, &set, &receipt, NULL));
        return receipt;
}

#define assert_used(l, instances, domain_ids)                                                      \
        do {                                                                                       \
                assert_int_equal(used(l, RESOURCE_INSTANCES, 1), (instances));                     \
                assert_int_equal(used(l, RESOURCE_DOMAIN_IDS, 0), (domain_ids));                   \
        } while (0)

static void accounts_are_sorted(void **state) {
        static const uint32_t order[] = { 5, 1, 3, 0, 4, 2 };
        _cleanup_(ledger_freep) Ledger *l = NULL;
        const LedgerAccount *all;
        size_t n;

        (void)state;
        assert_null(ledger_free(NULL));
        assert_ok(ledger_new(&l));
        (void)ledger_get_accounts(l, &n);
        assert_int_equal(n, 0);
        for_each_case(scope, order) for (ResourceKind kind = _RESOURCE_KIND_MAX; kind-- > 0;)
                assert_ok(ledger_set_capacity(l, kind, *scope, *scope * 10));

        all = ledger_get_accounts(l, &n);
        assert_int_equal(n, ELEMENTSOF(order) * _RESOURCE_KIND_MAX);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(all[i].kind, i / ELEMENTSOF(order));
                assert_int_equal(all[i].scope, i % ELEMENTSOF(order));
                assert_int_equal(all[i].capacity, all[i].scope * 10);
        }
}

static void generation_tells_of_changes(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        uint64_t before = ledger_get_generation(l);
        Receipt *receipt;

        (void)state;
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 4)); /* the same */
        assert_int_equal(ledger_get_generation(l), before);
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 5));
        assert_true(ledger_get_generation(l) > before);
        before = ledger_get_generation(l);
        receipt = charge(l, 1, 1);
        assert_true(ledger_get_generation(l) > before);
        before = ledger_get_generation(l);
        receipt_done(receipt);
        assert_true(ledger_get_generation(l) > before);
}

static void all_or_nothing(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet set = {};
        Receipt *receipt = (Receipt *)&set;
        Problem p = {};

        (void)state;
        assert_ok(demand_set_add(&set, RESOURCE_INSTANCES, 1, 4));
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, 101));
        assert_error(ledger_charge(l, &set, &receipt, &p), EDQUOT);
        assert_problem(&p, PROBLEM_NO_FREE_DOMAIN_ID, "100 of the host's 100");
        assert_ptr_equal(receipt, &set);
        assert_used(l, 0, 0);
}

static void full_and_one_more(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet one = {};
        Receipt *all = charge(l, 4, 0), *more;

        (void)state;
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 1, 1));
        assert_error(ledger_charge(l, &one, &more, NULL), EDQUOT);
        assert_used(l, 4, 0);
        receipt_give_back(all, &one); /* room for exactly that one */
        assert_ok(ledger_charge(l, &one, &more, NULL));
        assert_error(ledger_charge(l, &one, &(Receipt *){ NULL }, NULL), EDQUOT);
        assert_null(receipt_done(all));
        assert_null(receipt_done(more));
        assert_used(l, 0, 0);
}

static void nothing_is_charged_for_nothing(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(receipt_donep) Receipt *receipt = charge(l, 0, 0);
        _cleanup_(demand_set_done) DemandSet holds = {};

        (void)state;
        assert_used(l, 0, 0);
        assert_ok(receipt_get_demands(receipt, &holds));
        assert_int_equal(holds.n_demands, 0);
        assert_ok(receipt_get_demands(NULL, &holds));
        assert_null(receipt_done(NULL));
}

static void amounts_of_one_resource(void **state) {
        Demand demands[] = { { RESOURCE_INSTANCES, 0, 3 },
                             { RESOURCE_INSTANCES, 1, 4 },
                             { RESOURCE_TRANS_DEVIDS, 1, 7 } };
        const DemandSet set = { demands, ELEMENTSOF(demands) };
        _cleanup_(ledger_freep) Ledger *l = NULL;
        Receipt *receipt;

        (void)state;
        assert_ok(ledger_new(&l));
        assert_ok(ledger_restore(l, &set, &receipt));
        assert_int_equal(demand_set_get_amount(&set, RESOURCE_INSTANCES, 1), 4);
        assert_int_equal(receipt_get_amount(receipt, RESOURCE_INSTANCES, 1), 4);
        assert_int_equal(receipt_get_amount(receipt, RESOURCE_INSTANCES, 2), 0);
        assert_int_equal(receipt_get_amount(receipt, RESOURCE_INSTANCES, RESOURCE_SCOPE_ANY), 7);
        assert_int_equal(receipt_get_amount(receipt, RESOURCE_DOMAIN_IDS, RESOURCE_SCOPE_ANY), 0);
        assert_int_equal(receipt_get_amount(NULL, RESOURCE_INSTANCES, RESOURCE_SCOPE_ANY), 0);
        receipt_suspend(receipt);
        assert_int_equal(receipt_get_amount(receipt, RESOURCE_INSTANCES, 0), 3);
        receipt_resume(receipt);
        receipt_done(receipt);
}

static void capacity_falls_below_use(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet one = {};
        Receipt *receipt = charge(l, 3, 0), *more;
        Problem p = {};

        (void)state;
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 1, 1));
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 2));
        assert_used(l, 3, 0); /* nothing is taken away */
        assert_error(ledger_charge(l, &one, &more, &p), EDQUOT);
        assert_int_equal(p.available, 0);
        receipt_give_back(receipt, &one); /* 2 of 2: still full */
        assert_error(ledger_charge(l, &one, &more, NULL), EDQUOT);
        receipt_give_back(receipt, &one);
        assert_ok(ledger_charge(l, &one, &more, NULL));
        receipt_done(more);
        receipt_done(receipt);
        assert_used(l, 0, 0);
}

static void receipts_merge(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet holds = {}, part = {};
        Receipt *a = charge(l, 1, 10), *b = charge(l, 2, 0), *c = charge(l, 0, 5),
                *none = charge(l, 0, 0);

        (void)state;
        receipt_merge(b, &c); /* a chain into a chain */
        assert_null(c);
        receipt_merge(none, &a);
        receipt_merge(none, &b);
        assert_null(b);
        assert_used(l, 3, 15);

        assert_ok(receipt_get_demands(none, &holds));
        assert_int_equal(holds.n_demands, 2);
        assert_int_equal(holds.demands[0].amount + holds.demands[1].amount, 18);

        assert_ok(demand_set_add(&part, RESOURCE_DOMAIN_IDS, 0, 12));
        assert_ok(demand_set_add(&part, RESOURCE_INSTANCES, 1, 3));
        receipt_give_back(none, &part); /* more than any one of them held */
        assert_used(l, 0, 3);
        receipt_done(none);
        assert_used(l, 0, 0);
}

/* A VM that maps and unmaps for ever does not make the daemon grow: after some time no merge keeps memory. */
static void merging_does_not_pile_up(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet one = {};
        Receipt *receipt = charge(l, 1, 1);
        struct timespec begin, end;

        (void)state;
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 1, 1));
        assert_ok(demand_set_add(&one, RESOURCE_DOMAIN_IDS, 0, 1));
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        for (unsigned i = 0; i < 200000; i++) {
                Receipt *more = charge(l, i % 2, 1), *nothing = charge(l, 0, 0);

                receipt_merge(receipt, &more);
                receipt_merge(receipt, &nothing);
                one.demands[0].amount = i % 2;
                receipt_give_back(receipt, &one);
        }
        (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        assert_used(l, 1, 1);
        receipt_done(receipt);
        /* As a chain of all of them it took minutes. */
        assert_true(end.tv_sec - begin.tv_sec < 20);
}

static void suspended_for_a_decision(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger();
        _cleanup_(demand_set_done) DemandSet four = {}, one = {};
        Receipt *held = charge(l, 3, 60), *more = charge(l, 0, 20), *instead, *none = NULL;

        (void)state;
        assert_ok(demand_set_add(&four, RESOURCE_INSTANCES, 1, 4));
        assert_ok(demand_set_add(&one, RESOURCE_INSTANCES, 1, 1));
        receipt_merge(held, &more);
        more = charge(l, 1, 0);
        receipt_suspend(held);
        assert_used(l, 1, 0);
        receipt_resume(held);
        assert_used(l, 4, 80);

        receipt_suspend(held);
        instead = charge(l, 3, 100); /* fits only in its place */
        receipt_done(held);          /* and nothing comes back twice */
        assert_used(l, 4, 100);
        receipt_done(instead);
        receipt_done(more);
        assert_used(l, 0, 0);

        /* What was granted can be had in another form when there is less than before; but no more, and nobody else gets it. */
        held = charge(l, 3, 60);
        more = charge(l, 1, 30);
        assert_ok(ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 2));
        receipt_suspend(held);
        assert_error(ledger_charge(l, &four, &instead, NULL), EDQUOT);
        instead = charge(l, 3, 60);
        receipt_decided(held);
        assert_error(ledger_charge(l, &one, &none, NULL), EDQUOT);
        receipt_done(held);
        assert_used(l, 4, 90);
        receipt_done(instead);
        receipt_done(more);

        assert_aborts({
                Receipt *r = charge(l, 1, 1);

                receipt_suspend(r);
                receipt_suspend(r);
        });
        assert_aborts(receipt_resume(charge(l, 1, 1)));
        receipt_suspend(NULL);
        receipt_resume(NULL);
}

static void what_is_not_held_cannot_come_back(void **state) {
        _cleanup_(ledger_freep) Ledger *l = new_ledger(), *other = new_ledger();
        _cleanup_(demand_set_done) DemandSet two = {};
        _cleanup_(receipt_donep) Receipt *one = charge(l, 1, 1);

        (void)state;
        assert_ok(demand_set_add(&two, RESOURCE_INSTANCES, 1, 2));
        assert_aborts(receipt_give_back(one, &two));
        assert_aborts(ledger_free(l)); /* it is not balanced */
        assert_aborts({
                Receipt *foreign = charge(other, 1, 1);

                receipt_merge(one, &foreign);
        });
}

static void want_of_memory(void **state) {
        _cleanup_(demand_set_done) DemandSet set = {};
        Ledger *l = NULL;
        int r;

        (void)state;
        OOM_SWEEP(nth, r = ledger_new(&l); if (r < 0) assert_error(r, ENOMEM));

        OOM_SWEEP(nth, {
                r = ledger_set_capacity(l, RESOURCE_INSTANCES, 1, 4);
                if (r < 0)
                        assert_error(r, ENOMEM);
        });
        assert_ok(ledger_set_capacity(l, RESOURCE_DOMAIN_IDS, 0, 100));

        OOM_SWEEP(nth, {
                r = demand_set_add(&set, RESOURCE_INSTANCES, 1, 1);
                if (r < 0)
                        assert_error(r, ENOMEM);
        });
        assert_int_equal(set.n_demands, 1);
        assert_int_equal(set.demands[0].amount, 1);
        assert_ok(demand_set_add(&set, RESOURCE_DOMAIN_IDS, 0, 5));

        OOM_SWEEP(nth, {
                _cleanup_(demand_set_done) DemandSet copy = {};

                r = demand_set_add_all(&copy, &set);
                if (r < 0)
                        assert_error(r, ENOMEM);
        });

        OOM_SWEEP(nth, {
                Receipt *receipt = NULL;

                r = ledger_charge(l, &set, &receipt, NULL);
                if (r < 0) {
                        assert_error(r, ENOMEM);
                        assert_null(receipt);
                        assert_used(l, 0, 0);
                }
                receipt_done(receipt);
        });

        OOM_SWEEP(nth, {
                _cleanup_(receipt_donep) Receipt *receipt = NULL;
                _cleanup_(demand_set_done) DemandSet copy = {};

                if (ledger_charge(l, &set, &receipt, NULL) >= 0) {
                        r = receipt_get_demands(receipt, &copy);
                        if (r < 0)
                                assert_error(r, ENOMEM);
                }
        });
        assert_used(l, 0, 0);
        ledger_free(l);
}

/* ---- the model ---- */

#define MODEL_RECEIPTS 12
#define MODEL_SCOPES   3

typedef struct Model {
        uint64_t capacity[_RESOURCE_KIND_MAX][MODEL_SCOPES];
        uint64_t holds[MODEL_RECEIPTS][_RESOURCE_KIND_MAX][MODEL_SCOPES];
        bool known[_RESOURCE_KIND_MAX][MODEL_SCOPES];
        Receipt *receipts[MODEL_RECEIPTS];
        Ledger *ledger;
        uint64_t random;
} Model;

/* xorshift64*: the same everywhere. */
static uint64_t model_random(Model *m, uint64_t below) {
        m->random ^= m->random >> 12;
        m->random ^= m->random << 25;
        m->random ^= m->random >> 27;
        return (m->random * UINT64_C(0x2545f4914f6cdd1d) >> 16) % below;
}

static uint64_t model_used(const Model *m, ResourceKind kind, uint32_t scope) {
        uint64_t sum = 0;

        for (size_t i = 0; i < MODEL_RECEIPTS; i++)
                sum += m->holds[i][kind][scope];
        return sum;
}

static void model_capacity(Model *m) {
        ResourceKind kind = (ResourceKind)model_random(m, _RESOURCE_KIND_MAX);
        uint32_t scope = (uint32_t)model_random(m, MODEL_SCOPES);

        m->capacity[kind][scope] = model_random(m, 40);
        m->known[kind][scope] = true;
        assert_ok(ledger_set_capacity(m->ledger, kind, scope, m->capacity[kind][scope]));
}

static void model_charge(Model *m, size_t i) {
        _cleanup_(demand_set_done) DemandSet set = {};
        uint64_t wanted[_RESOURCE_KIND_MAX][MODEL_SCOPES] = {};
        bool fits = true;
        int r;

        if (m->receipts[i])
                return;
        for (uint64_t n = model_random(m, 5); n > 0; n--) {
                ResourceKind kind = (ResourceKind)model_random(m, _RESOURCE_KIND_MAX);
                uint32_t scope = (uint32_t)model_random(m, MODEL_SCOPES);
                uint64_t amount = model_random(m, 9);

                wanted[kind][scope] += amount;
                assert_ok(demand_set_add(&set, kind, scope, amount));
        }
        for (ResourceKind kind = 0; kind < _RESOURCE_KIND_MAX; kind++)
                for (uint32_t scope = 0; scope < MODEL_SCOPES; scope++)
                        if (wanted[kind][scope] > 0)
                                fits &= model_used(m, kind, scope) + wanted[kind][scope] <=
                                        m->capacity[kind][scope];

        r = ledger_charge(m->ledger, &set, &m->receipts[i], NULL);
        assert_int_equal(r, fits ? 0 : -EDQUOT);
        if (fits)
                memcpy(m->holds[i], wanted, sizeof(wanted));
}

static void model_merge(Model *m, size_t i, size_t j) {
        if (i == j || !m->receipts[i] || !m->receipts[j])
                return;
        receipt_merge(m->receipts[i], &m->receipts[j]);
        for (ResourceKind kind = 0; kind < _RESOURCE_KIND_MAX; kind++)
                for (uint32_t scope = 0; scope < MODEL_SCOPES; scope++)
                        m->holds[i][kind][scope] += m->holds[j][kind][scope];
        memset(m->holds[j], 0, sizeof(m->holds[j]));
}

static void model_give_back(Model *m, size_t i) {
        _cleanup_(demand_set_done) DemandSet part = {};

        if (!m->receipts[i])
                return;
        for (ResourceKind kind = 0; kind < _RESOURCE_KIND_MAX; kind++)
                for (uint32_t scope = 0; scope < MODEL_SCOPES; scope++) {
                        uint64_t n = model_random(m, m->holds[i][kind][scope] + 1);

                        assert_ok(demand_set_add(&part, kind, scope, n));
                        m->holds[i][kind][scope] -= n;
                }
        receipt_give_back(m->receipts[i], &part);
}

static void model_done(Model *m, size_t i) {
        m->receipts[i] = receipt_done(m->receipts[i]);
        memset(m->holds[i], 0, sizeof(m->holds[i]));
}

static void model_compare(const Model *m, size_t suspended) {
        size_t n, n_known = 0;
        const LedgerAccount *all = ledger_get_accounts(m->ledger, &n);

        for (ResourceKind kind = 0; kind < _RESOURCE_KIND_MAX; kind++)
                for (uint32_t scope = 0; scope < MODEL_SCOPES; scope++) {
                        const LedgerAccount *a = quota_find_account(all, n, kind, scope);
                        uint64_t want = model_used(m, kind, scope), held = 0;

                        n_known += m->known[kind][scope];
                        assert_int_equal(!!a, m->known[kind][scope]);
                        if (suspended < MODEL_RECEIPTS)
                                held = m->holds[suspended][kind][scope];
                        if (!a)
                                continue;
                        assert_int_equal(a->capacity, m->capacity[kind][scope]);
                        assert_int_equal(a->used, want - held);
                        assert_int_equal(a->held, held);
                }
        assert_int_equal(n, n_known);
}

static void model_holds(const Model *m, size_t i) {
        _cleanup_(demand_set_done) DemandSet holds = {};
        uint64_t sum = 0, want = 0;

        if (!m->receipts[i])
                return;
        assert_ok(receipt_get_demands(m->receipts[i], &holds));
        for (size_t j = 0; j < holds.n_demands; j++) {
                const Demand *d = holds.demands + j;

                assert_int_equal(d->amount, m->holds[i][d->kind][d->scope]);
                sum += d->amount;
        }
        for (ResourceKind kind = 0; kind < _RESOURCE_KIND_MAX; kind++)
                for (uint32_t scope = 0; scope < MODEL_SCOPES; scope++)
                        want += m->holds[i][kind][scope];
        assert_int_equal(sum, want);
}

static void model_step(Model *m) {
        size_t i = model_random(m, MODEL_RECEIPTS), j = model_random(m, MODEL_RECEIPTS);

        switch (model_random(m, 12)) {
        case 0:
                model_capacity(m);
                break;
        case 1:
        case 2:
                model_done(m, i);
                break;
        case 3:
                model_merge(m, i, j);
                break;
        case 4:
        case 5:
                model_give_back(m, i);
                break;
        case 6:
                receipt_suspend(m->receipts[i]);
                model_compare(m, m->receipts[i] ? i : MODEL_RECEIPTS);
                receipt_resume(m->receipts[i]);
                break;
        default:
                model_charge(m, i);
        }
        model_holds(m, j);
        model_compare(m, MODEL_RECEIPTS);
}

static void model(void **state) {
        Model m = { .random = model_seed };

        (void)state;
        print_message("model: --seed %" PRIu64 " --steps %" PRIu64 "\n", model_seed, model_steps);
        assert_ok(ledger_new(&m.ledger));
        for (uint64_t step = 0; step < model_steps; step++)
                model_step(&m);
        for (size_t i = 0; i < MODEL_RECEIPTS; i++)
                model_done(&m, i);
        model_compare(&m, MODEL_RECEIPTS);
        ledger_free(m.ledger);
}

int main(int argc, char **argv) {
        static const struct option options[] = { { "seed", required_argument, NULL, 's' },
                                                 { "steps", required_argument, NULL, 'n' },
                                                 {} };
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(demands_are_summed),
                cmocka_unit_test(demands_overflow),
                cmocka_unit_test(demands_of_another_set),
                cmocka_unit_test(names),
                cmocka_unit_test(amounts_of_one_resource),
                cmocka_unit_test(accounts_are_found),
                cmocka_unit_test(amounts_fit),
                cmocka_unit_test(amounts_refused),
                cmocka_unit_test(the_first_short_one),
                cmocka_unit_test(accounts_are_sorted),
                cmocka_unit_test(generation_tells_of_changes),
                cmocka_unit_test(all_or_nothing),
                cmocka_unit_test(full_and_one_more),
                cmocka_unit_test(nothing_is_charged_for_nothing),
                cmocka_unit_test(capacity_falls_below_use),
                cmocka_unit_test(receipts_merge),
                cmocka_unit_test(merging_does_not_pile_up),
                cmocka_unit_test(suspended_for_a_decision),
                cmocka_unit_test(what_is_not_held_cannot_come_back),
                cmocka_unit_test(want_of_memory),
                cmocka_unit_test(model),
        };
        int c;

        model_seed = (uint64_t)time(NULL) * UINT64_C(0x9e3779b97f4a7c15) | 1;
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 's')
                        model_seed = strtoull(optarg, NULL, 10);
                else if (c == 'n')
                        model_steps = strtoull(optarg, NULL, 10);
                else
                        return 2;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
