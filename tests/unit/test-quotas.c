/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Quotas and reserves: the check of rules, the rules that apply to a request, and who may name which tenant. */

#include "admission.h"

#include <sys/mman.h>

#include "core/policy-host.h"

#define HOLDINGS_MAX 8

/* ---- the check ---- */

static void rules_are_checked(void **state) {
        static const struct {
                QuotaRule rule;
                bool fits;
                uint64_t available;
                const char *says;
        } cases[] = {
                { { .limit = 4, .used = 3, .wanted = 1 }, true, 0, NULL },
                { { .limit = 4, .used = 9, .wanted = 0 }, true, 0, NULL },
                { { .limit = 0, .used = 0, .wanted = 0 }, true, 0, NULL },
                { { .limit = 0, .used = 9, .held = 2, .wanted = 2 }, true, 0, NULL },
                { { .limit = UINT64_MAX, .used = 1, .wanted = 77 }, true, 0, NULL },
                { { QUOTA_OF_TENANT, "Tenant acme", "MaxInstances", "vIOMMU instance(s)", "host",
                    false, 4, 3, 0, 2 },
                  false,
                  1,
                  "Wanted 2 vIOMMU instance(s) more for [Tenant acme], which has 3 of the 4 that "
                  "it "
                  "may have: release one of its VMs, or raise MaxInstances= in" },
                { { QUOTA_OF_USER, "User 5", "MaxVms", "VM(s)", "host", false, 1, 7, 0, 1 },
                  false,
                  0,
                  "Wanted 1 VM(s) more for [User 5], which has 7 of the 1" },
                { { QUOTA_OF_USER, "User 5", "MaxReservations", "reservation(s)", "host", false, 1,
                    1, 0, 1, "use one" },
                  false,
                  0,
                  "[User 5], which has 1 of the 1 that it may have: use one, or raise "
                  "MaxReservations=" },
                { { QUOTA_OF_EACH_USER, "Manager", "MaxReservationsPerUser", "reservation(s)",
                    "host", false, 2, 2, 0, 1, "use one", 7 },
                  false,
                  0,
                  "Wanted 1 reservation(s) more for uid 7, which has 2 of the 2 that a user may "
                  "have: use one, or raise MaxReservationsPerUser= of [Manager]" },
                { { QUOTA_OF_EACH_USER, "Manager", "MaxReservationsPerUser", "reservation(s)",
                    "host", false, 2, 2, 0, 1, NULL, 7 },
                  false,
                  0,
                  "which has 2 of the 2 that a user may have: release a VM, or raise" },
                { { QUOTA_OF_VM, "Vm", "MaxPinnedMemory", "pinned memory", "host", true, 3 * GIB,
                    2 * GIB, GIB / 2, 2 * GIB },
                  false,
                  GIB,
                  "Wanted 2048 MiB of pinned memory more for the VM, which has 2048 of the 3072 "
                  "that "
                  "a VM may have: ask for less, or raise MaxPinnedMemory= of [Vm]" },
                { { QUOTA_OF_RESERVES, "", "ReservedInstances", "vIOMMU instance(s)", "ivhd1",
                    false, 60, 59, 0, 2 },
                  false,
                  1,
                  "Wanted 2 vIOMMU instance(s) (ivhd1), 59 are in use of the 60 that are not kept "
                  "for other tenants: release a VM, or lower their ReservedInstances=" },
        };

        (void)state;
        assert_ok(quota_check(NULL, 0, NULL));
        for_each_case(c, cases) {
                const QuotaRule rules[] = { { .limit = 1, .wanted = 1 }, c->rule };
                Problem p = {};

                if (c->fits) {
                        assert_ok(quota_check(rules, 2, &p));
                        assert_false(problem_is_set(&p));
                        continue;
                }
                assert_error(quota_check(rules, 2, &p), EDQUOT);
                assert_problem(&p, PROBLEM_QUOTA_EXCEEDED, c->says);
                assert_int_equal(p.wanted, c->rule.wanted);
                assert_int_equal(p.available, c->available);
        }
}

/* ---- a world with a policy, and holdings ---- */

typedef struct Policed {
        World w;
        Holding holdings[HOLDINGS_MAX];
        Receipt *receipts[HOLDINGS_MAX];
        size_t n_holdings;
} Policed;

static void list_holdings(void *userdata, HoldingFound found, void *found_userdata) {
        const Policed *p = container_of((World *)userdata, Policed, w);

        for (size_t i = 0; i < p->n_holdings; i++)
                found(found_userdata, p->holdings + i);
}

static void policed_init(Policed *p, const char *text) {
        int fd = memfd_create("config", MFD_CLOEXEC);
        char path[64];
        Problem problem = {};

        *p = (Policed){};
        world_init(&p->w);
        p->w.view.list_holdings = list_holdings;
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        if (config_read_file(&p->w.config, path, &problem) < 0)
                fail_msg("%s", problem.text);
        fd_close(fd);
        assert_ok(capacity_update(p->w.ledger, p->w.inventory, &p->w.config));
}

static void policed_done(Policed *p) {
        for (size_t i = 0; i < HOLDINGS_MAX; i++)
                receipt_done(p->receipts[i]);
        config_done(&p->w.config);
        world_done(&p->w);
}

/* A VM of @tenant and @uid with two functions, @n instances of ivhd0 and @memory bytes. */
static void hold(Policed *p, const char *tenant, uid_t uid, uint64_t n, uint64_t memory,
                 const void *vm, bool held) {
        Demand demands[] = { { RESOURCE_INSTANCES, 0, n }, { RESOURCE_PINNED_MEMORY, 0, memory } };
        DemandSet set = { demands, 2 };

        assert_ok(ledger_charge(p->w.ledger, &set, p->receipts + p->n_holdings, NULL));
        p->holdings[p->n_holdings] = (Holding){ .tenant = tenant,
                                                .uid = uid,
                                                .vm = vm,
                                                .n_vms = 1,
                                                .n_functions = 2,
                                                .receipt = p->receipts[p->n_holdings],
                                                .held = held };
        p->n_holdings++;
}

static const QuotaRule *find_rule(const QuotaRules *rules, const char *section, const char *key) {
        for (size_t i = 0; i < rules->n_rules; i++)
                if (streq(rules->rules[i].section, section) && streq(rules->rules[i].key, key))
                        return rules->rules + i;
        return NULL;
}

#define ASSERT_RULE(rules, section, key, limit_, used_, held_, wanted_)                            \
        do {                                                                                       \
                const QuotaRule *_rule = find_rule((rules), (section), (key));                     \
                                                                                                   \
                assert_non_null(_rule);                                                            \
                assert_int_equal(_rule->limit, (limit_));                                          \
                assert_int_equal(_rule->used, (used_));                                            \
                assert_int_equal(_rule->held, (held_));                                            \
                assert_int_equal(_rule->wanted, (wanted_));                                        \
        } while (0)

static const char everything[] = "[Tenant acme]\nMaxVms=9\nMaxFunctions=9\nMaxInstances=9\n"
                                 "MaxDomainIds=9\nMaxPinnedMemory=9G\n"
                                 "[User 5]\nMaxVms=7\nMaxInstances=8\n[Vm]\nMaxInstances=3\n";

static void rules_that_apply(void **state) {
        static const char own[] = "own", other[] = "other";
        Demand wanted[] = { { RESOURCE_INSTANCES, 0, 1 },
                            { RESOURCE_INSTANCES, 1, 1 },
                            { RESOURCE_DOMAIN_IDS, 0, 5 },
                            { RESOURCE_PINNED_MEMORY, 0, GIB } };
        DemandSet set = { wanted, 4 };
        const QuotaWish wish = { 1, 3, &set };
        _cleanup_(quota_rules_done) QuotaRules of_acme = {}, of_user = {}, of_nobody = {},
                                               of_vm = {};
        Policed p;

        (void)state;
        policed_init(&p, everything);
        hold(&p, "acme", 5, 2, GIB, own, false);
        hold(&p, "acme", 6, 1, GIB, other, false);
        hold(&p, "", 5, 1, GIB, NULL, false);
        hold(&p, "acme", 5, 1, GIB, NULL, true);

        assert_ok(quotas_list(&p.w.view, &(QuotaSubject){ "acme", 6, NULL }, &wish, &of_acme));
        assert_int_equal(of_acme.n_rules, 6);
        ASSERT_RULE(&of_acme, "Tenant acme", "MaxVms", 9, 2, 1, 1);
        ASSERT_RULE(&of_acme, "Tenant acme", "MaxFunctions", 9, 4, 2, 3);
        ASSERT_RULE(&of_acme, "Tenant acme", "MaxInstances", 9, 3, 1, 2);
        ASSERT_RULE(&of_acme, "Tenant acme", "MaxDomainIds", 9, 0, 0, 5);
        ASSERT_RULE(&of_acme, "Tenant acme", "MaxPinnedMemory", 9 * GIB, 2 * GIB, GIB, GIB);
        ASSERT_RULE(&of_acme, "Vm", "MaxInstances", 3, 0, 0, 2);
        assert_true(find_rule(&of_acme, "Tenant acme", "MaxPinnedMemory")->in_mib);

        assert_ok(quotas_list(&p.w.view, &(QuotaSubject){ NULL, 5, NULL }, &wish, &of_user));
        assert_int_equal(of_user.n_rules, 3);
        ASSERT_RULE(&of_user, "User 5", "MaxVms", 7, 2, 1, 1);
        ASSERT_RULE(&of_user, "User 5", "MaxInstances", 8, 3, 1, 2);

        assert_ok(quotas_list(&p.w.view, &(QuotaSubject){ "", 9, own }, &wish, &of_vm));
        ASSERT_RULE(&of_vm, "Vm", "MaxInstances", 3, 2, 0, 2);

        p.w.view.list_holdings = NULL;
        assert_ok(quotas_list(&p.w.view, &(QuotaSubject){ "acme", 5, NULL }, &wish, &of_nobody));
        ASSERT_RULE(&of_nobody, "Tenant acme", "MaxVms", 9, 0, 0, 1);
        policed_done(&p);
}

/* A user's reservations: by his own section, by everybody's, or by [Manager]; never root's. Who has none and wants none is not
 * told of them. */
static void reservations_of_a_user(void **state) {
        static const struct {
                const char *config;
                uid_t uid;
                size_t wanted;
                const char *section, *key; /* NULL: no such rule */
                uint64_t limit, used;
        } cases[] = {
                { "", 5, 1, "Manager", "MaxReservationsPerUser", 64, 2 },
                { "MaxReservationsPerUser=7\n", 5, 0, "Manager", "MaxReservationsPerUser", 7, 2 },
                { "", 6, 1, "Manager", "MaxReservationsPerUser", 64, 0 },
                { "", 6, 0, NULL, "MaxReservationsPerUser", 0, 0 },
                { "", 0, 1, NULL, "MaxReservationsPerUser", 0, 0 },
                { "[User 5]\nMaxReservations=3\n", 5, 1, NULL, "MaxReservationsPerUser", 0, 0 },
                { "[User 5]\nMaxReservations=3\n", 5, 1, "User 5", "MaxReservations", 3, 2 },
                { "[User *]\nMaxReservations=3\n", 6, 1, "User *", "MaxReservations", 3, 0 },
                { "[User 5]\nMaxVms=3\n", 5, 1, "Manager", "MaxReservationsPerUser", 64, 2 },
                { "[Tenant a]\nMaxReservations=3\n", 6, 1, "Tenant a", "MaxReservations", 3, 2 },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(quota_rules_done) QuotaRules rules = {};
                const DemandSet nothing = {};
                const QuotaRule *rule = NULL;
                char text[128];
                Policed p;

                (void)snprintf(text, sizeof(text), "[Manager]\n%s", c->config);
                policed_init(&p, text);
                p.w.view.ret_rules = &rules;
                for (int i = 0; i < 3; i++) {
                        hold(&p, "a", 5, 0, 0, NULL, false);
                        p.holdings[i].n_reservations = i < 2; /* and a VM */
                }
                assert_ok(quotas_list(
                        &p.w.view, &(QuotaSubject){ "a", c->uid, NULL },
                        &(QuotaWish){ .demands = &nothing, .n_reservations = c->wanted }, &rules));
                for (size_t i = 0; i < rules.n_rules; i++)
                        if (streq(rules.rules[i].key, c->key))
                                rule = rules.rules + i;
                if (!c->section != !rule)
                        fail_msg("case %zu", (size_t)(c - cases));
                if (rule) {
                        assert_string_equal(rule->section, c->section);
                        ASSERT_RULE(&rules, c->section, c->key, c->limit, c->used, 0, c->wanted);
                        assert_non_null(rule->remedy);
                }
                policed_done(&p);
        }
}

/* What is kept for others of what the host has; what they have counts against it. */
static void reserves(void **state) {
        static const struct {
                const char *tenant;
                uint64_t n_instances, n_ids, memory;
                const char *says; /* NULL: it fits */
        } cases[] = {
                { "", 59, 1, 1, NULL },
                { "", 60, 1, 1, "2 are in use of the 61 that are not kept" },
                { "c", 60, 1, 1, "ReservedInstances=" },
                { "a", 62, 1, 1, NULL }, /* its own three more */
                { "a", 63, 1, 1, "ReservedInstances=" },
                { "b", 59, 1, 1, NULL },
                { "b", 60, 1, 1, "ReservedInstances=" },
                { "", 1, 61338, 1, "ReservedDomainIds=" },
                { "", 1, 61337, 1, NULL },
                { "a", 1, 61338, 1, NULL },
                { "", 1, 1, 228 * GIB, "ReservedPinnedMemory=" },
                { "b", 1, 1, 228 * GIB, NULL },
        };
        Policed p;

        (void)state;
        policed_init(&p, "[Tenant a]\nReservedInstances=ivhd0:4\nReservedDomainIds=102\n"
                         "[Tenant b]\nReservedInstances=ivhd0:1 ivhd2:9\nReservedPinnedMemory=16G\n"
                         "[Tenant c]\n");
        hold(&p, "a", 0, 1, 1, NULL, false);
        hold(&p, "b", 0, 1, 1, NULL, false); /* all that is kept for it */
        hold(&p, "a", 0, 0, 1, NULL, true);
        for_each_case(c, cases) {
                Demand wanted[] = { { RESOURCE_INSTANCES, 0, c->n_instances },
                                    { RESOURCE_DOMAIN_IDS, 0, c->n_ids },
                                    { RESOURCE_PINNED_MEMORY, 0, c->memory },
                                    { RESOURCE_TRANS_DEVIDS, 0, 1 } };
                DemandSet set = { wanted, 4 };
                Problem problem = {};
                int r = quotas_decide(&p.w.view, &(QuotaSubject){ c->tenant, 0, NULL },
                                      &(QuotaWish){ 1, 1, &set }, &problem);

                if (!c->says && r < 0)
                        fail_msg("\"%s\": %s", c->tenant, problem.text);
                if (c->says) {
                        assert_error(r, EDQUOT);
                        assert_problem(&problem, PROBLEM_QUOTA_EXCEEDED, c->says);
                }
        }
        policed_done(&p);
}

/* More is kept than there is, and of an IOMMU that is none: nothing is left for others, and nothing overflows. */
static void more_kept_than_there_is(void **state) {
        Demand wanted[] = { { RESOURCE_PINNED_MEMORY, 0, 1 }, { RESOURCE_INSTANCES, 7, 1 } };
        DemandSet set = { wanted, 2 };
        _cleanup_(quota_rules_done) QuotaRules rules = {};
        Policed p;

        (void)state;
        policed_init(&p, "[Tenant a]\nReservedPinnedMemory=9T\nReservedInstances=ivhd7:1\n");
        assert_ok(quotas_list(&p.w.view, &(QuotaSubject){ "", 0, NULL }, &(QuotaWish){ 1, 0, &set },
                              &rules));
        assert_int_equal(rules.n_rules, 2);
        ASSERT_RULE(&rules, "", "ReservedPinnedMemory", 0, 0, 0, 1);
        ASSERT_RULE(&rules, "", "ReservedInstances", 0, 0, 0, 1);
        policed_done(&p);
}

static void no_policy(void **state) {
        const DemandSet nothing = {};
        QuotaRules rules = {};
        World w;

        (void)state;
        world_init(&w);
        assert_ok(quotas_list(&w.view, &(QuotaSubject){}, &(QuotaWish){ 1, 1, &nothing }, &rules));
        assert_int_equal(rules.n_rules, 0);
        assert_ok(quotas_decide(&w.view, &(QuotaSubject){}, &(QuotaWish){ 1, 1, &nothing }, NULL));
        world_done(&w);
}

static void memory_runs_out(void **state) {
        Demand wanted[] = { { RESOURCE_INSTANCES, 0, 1 }, { RESOURCE_DOMAIN_IDS, 0, 1 } };
        DemandSet set = { wanted, 2 };
        Policed p;
        int r = 0;

        (void)state;
        policed_init(&p, "[Tenant a]\nMaxVms=9\nReservedInstances=ivhd0:4\n[Tenant b]\nMaxVms=1\n"
                         "[User 5]\nMaxVms=7\n[Vm]\nMaxInstances=3\n");
        OOM_SWEEP(nth, {
                QuotaRules rules = {};

                p.w.view.ret_rules = &rules;
                r = quotas_decide(&p.w.view, &(QuotaSubject){ "b", 5, NULL },
                                  &(QuotaWish){ 1, 1, &set }, NULL);
                assert_true(r == 0 || r == -ENOMEM);
                assert_int_equal(rules.n_rules, r == 0 ? 4 : 0);
                quota_rules_done(&rules);
        });
        assert_ok(r);
        policed_done(&p);
}

/* ---- whole decisions ---- */

/* For somebody who is in the groups 20 and 21. */
static int check_tenant(const Config *config, const char *tenant, uid_t uid, VmTier tier,
                        Problem *p) {
        gid_t groups[] = { 20, 21 };
        VmRequest request = {
                .uid = uid, .groups = groups, .n_groups = ELEMENTSOF(groups), .tier = tier
        };

        (void)snprintf(request.tenant, sizeof(request.tenant), "%s", tenant);
        return admission_check_tenant(config, &request, p);
}

static void tenants(void **state) {
        static const struct {
                const char *tenant;
                uid_t uid;
                VmTier tier;
                ProblemKind kind; /* 0: fine */
                const char *says;
        } cases[] = {
                { "", 7, TIER_HARDWARE, 0, NULL },
                { "a", 7, TIER_VIRTIO, 0, NULL },
                { "a", 7, TIER_HARDWARE, PROBLEM_TIER_NOT_ALLOWED,
                  "may not have tier \"hardware\"" },
                { "a", 7, TIER_EMULATED, PROBLEM_TIER_NOT_ALLOWED, "Tiers= of [Tenant a]" },
                { "b", 5, TIER_EMULATED, 0, NULL },
                { "b", 0, TIER_HARDWARE, 0, NULL },
                { "b", 7, TIER_HARDWARE, PROBLEM_ACCESS_DENIED, "uid 7 may not act for tenant b" },
                { "g", 7, TIER_HARDWARE, 0, NULL },
                { "h", 7, TIER_HARDWARE, PROBLEM_ACCESS_DENIED, "and Groups= none of its groups" },
                { "x", 0, TIER_HARDWARE, PROBLEM_NO_SUCH_TENANT, "There is no [Tenant x]" },
        };
        Config any = {};
        Policed p;
        Problem problem = {};

        (void)state;
        policed_init(&p, "[Tenant a]\nTiers=virtio\n[Tenant b]\nUsers=5\n"
                         "[Tenant g]\nGroups=20\n[Tenant h]\nUsers=5\nGroups=22\n");
        for_each_case(c, cases) {
                int r;

                problem = (Problem){};
                r = check_tenant(&p.w.config, c->tenant, c->uid, c->tier, &problem);
                if (c->kind == 0)
                        assert_ok(r);
                else
                        assert_problem(&problem, c->kind, c->says);
        }
        p.w.config.require_tenant = true;
        assert_error(check_tenant(&p.w.config, "", 0, TIER_VIRTIO, &problem), ENOENT);
        assert_problem(&problem, PROBLEM_NO_SUCH_TENANT, "RequireTenant=yes");
        policed_done(&p);

        /* Without tenants in the configuration a name is a name. */
        assert_ok(check_tenant(&any, "x", 7, TIER_HARDWARE, NULL));
        policed_init(&p, "[Vm]\nMaxInstances=1\n");
        assert_ok(check_tenant(&p.w.config, "x", 7, TIER_HARDWARE, NULL));
        policed_done(&p);
}

/* A new VM is decided on with all of its rules, and they are told also when it is refused. */
static void a_vm_is_decided_on(void **state) {
        static const Fn fns[FNS_MAX] = { { "0000:41:00.0" }, { "0000:81:00.0" } };
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        QuotaRules rules = {};
        VmRequest request;
        Problem problem = {};
        Policed p;

        (void)state;
        policed_init(&p, "[Tenant acme]\nMaxInstances=3\nMaxVms=1\n");
        request_init(&request, HW, fns);
        (void)strcpy(request.tenant, "acme");
        p.w.view.ret_rules = &rules;
        assert_ok(admission_decide_vm(&p.w.view, &request, &a, &problem));
        ASSERT_RULE(&rules, "Tenant acme", "MaxInstances", 3, 0, 0, 2);
        quota_rules_done(&rules);
        admission_done(&a);
        a = ADMISSION_NULL;

        hold(&p, "acme", 0, 2, 1, NULL, false);
        assert_error(admission_decide_vm(&p.w.view, &request, &a, &problem), EDQUOT);
        assert_problem(&problem, PROBLEM_QUOTA_EXCEEDED, "MaxVms=");
        ASSERT_RULE(&rules, "Tenant acme", "MaxInstances", 3, 2, 0, 2);
        quota_rules_done(&rules);
        (void)strcpy(request.tenant, "nobody");
        assert_error(admission_decide_vm(&p.w.view, &request, &a, &problem), ENOENT);
        vm_request_done(&request);
        policed_done(&p);
}

/* More functions for a VM count as its tenant's. */
static void functions_are_decided_on(void **state) {
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        const FunctionRequest more = { .address = address("0000:41:00.0") };
        VmContext context;
        Problem problem = {};
        Policed p;

        (void)state;
        policed_init(&p, "[Tenant acme]\nMaxFunctions=2\n");
        context_init(&context, EMU);
        hold(&p, "acme", 0, 1, 1, &p, false);
        p.w.view.subject = (QuotaSubject){ "acme", 0, &p };
        assert_error(admission_decide_functions(&p.w.view, &context, 0, &more, 1, 0, &a, &problem),
                     EDQUOT);
        assert_problem(&problem, PROBLEM_QUOTA_EXCEEDED,
                       "Wanted 1 function(s) more for [Tenant acme], which has 2 of the 2");
        context_done(&context);
        policed_done(&p);
}

static void functions_that_nobody_gets(void **state) {
        static const Fn excluded[FNS_MAX] = { { "0000:41:00.0" } };
        static const Fn of_host[FNS_MAX] = { { "0001:42:00.0", .managed = true } };
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        HostScan *scan = standard_scan();
        VmRequest request;
        Problem problem = {};
        Policed p;

        (void)state;
        policed_init(&p, "[Functions]\nExclude=0000:41:00.0\n");
        for (size_t i = 0; i < scan->n_functions; i++)
                if (streq(scan->functions[i].driver, "mlx5_core"))
                        (void)strcpy(scan->functions[i].host_use, "eth0 is up and has an address");
        assert_ok(inventory_apply(p.w.inventory, &scan));

        request_init(&request, EMU, excluded);
        assert_error(admission_decide_vm(&p.w.view, &request, &a, &problem), EACCES);
        assert_problem(&problem, PROBLEM_FUNCTION_EXCLUDED, "Exclude= of [Functions] names it (");
        assert_contains(problem.text, ":2)");
        vm_request_done(&request);
        request_init(&request, EMU, of_host);
        assert_error(admission_decide_vm(&p.w.view, &request, &a, &problem), EBUSY);
        assert_problem(&problem, PROBLEM_FUNCTION_IN_USE,
                       "in use by this host (eth0 is up and has an address)");
        vm_request_done(&request);
        policed_done(&p);
}

/* ---- capacities, and a host that lacks what the configuration is about ---- */

static void capacities(void **state) {
        Policed p;
        uint64_t before;

        (void)state;
        policed_init(&p, "[Vm]\n");
        before = capacity(&p.w, RESOURCE_TRANS_DEVIDS, 0);
        assert_int_equal(capacity(&p.w, RESOURCE_INSTANCES, 1), 64);
        policed_done(&p);
        policed_init(&p, "[HostIommu ivhd1]\nInstances=3\n[HostIommu ivhd0]\n"
                         "[Node 1]\nContiguousMemoryPercent=50\n"
                         "[Segment 0000]\nHotplugDevIdsReserved=0\nHotplugBuses=60-6f\n"
                         "[Segment 0001]\nHotplugBuses=00-ff\n");
        assert_int_equal(capacity(&p.w, RESOURCE_INSTANCES, 0), 64);
        assert_int_equal(capacity(&p.w, RESOURCE_INSTANCES, 1), 3);
        assert_int_equal(capacity(&p.w, RESOURCE_CONTIGUOUS_MEMORY, 1), 128 * GIB / 100 * 50);
        assert_int_equal(capacity(&p.w, RESOURCE_CONTIGUOUS_MEMORY, 0), 128 * GIB / 100 * 5);
        assert_int_equal(capacity(&p.w, RESOURCE_TRANS_DEVIDS, 0), before + 256 - 16 * 256);
        assert_int_equal(capacity(&p.w, RESOURCE_TRANS_DEVIDS, 1), 0);
        policed_done(&p);
}

static void on_problem(void *userdata, const char *text) {
        (void)strcat(strcat(userdata, text), "\n");
}

static void host_problems(void **state) {
        char said[4096] = "";
        Config none = {};
        Policed p;

        (void)state;
        policed_init(&p,
                     "[HostIommu ivhd0]\nInstances=1\n[HostIommu ivhd9]\nInstances=1\n"
                     "[HostIommu ivhd8]\n[Node 1]\nContiguousMemoryPercent=1\n"
                     "[Node 7]\nContiguousMemoryPercent=1\n[Node 8]\n"
                     "[Segment 0001]\nHotplugDevIdsReserved=1\n"
                     "[Segment 00ff]\nHotplugDevIdsReserved=1\n[Segment 00fe]\n"
                     "[Tenant a]\nReservedInstances=ivhd0:1 ivhd9:1\nReservedPinnedMemory=200G\n"
                     "[Tenant b]\nReservedPinnedMemory=100G\n[Tenant c]\n");
        policy_check_host(&p.w.config, p.w.inventory, p.w.ledger, on_problem, said);
        assert_contains(said, ":4: This host has no AMD IOMMU ivhd9.\n");
        assert_contains(said, ":9: This host has no NUMA node 7.\n");
        assert_contains(said, ":14: This host has no IOMMU in PCI segment 00ff.\n");
        assert_contains(said, ":17: This host has no AMD IOMMU ivhd9 of which to keep");
        assert_contains(said, ":20: With ReservedPinnedMemory= of [Tenant b], 307200 MiB are kept");
        {
                size_t n = 0;

                for (const char *c = said; *c; c++)
                        n += *c == '\n';
                assert_int_equal(n, 5);
        }
        policed_done(&p);

        said[0] = '\0';
        world_init(&p.w);
        policy_check_host(&none, p.w.inventory, p.w.ledger, on_problem, said);
        assert_string_equal(said, "");
        world_done(&p.w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rules_are_checked),
                cmocka_unit_test(rules_that_apply),
                cmocka_unit_test(reservations_of_a_user),
                cmocka_unit_test(reserves),
                cmocka_unit_test(more_kept_than_there_is),
                cmocka_unit_test(no_policy),
                cmocka_unit_test(memory_runs_out),
                cmocka_unit_test(tenants),
                cmocka_unit_test(a_vm_is_decided_on),
                cmocka_unit_test(functions_are_decided_on),
                cmocka_unit_test(functions_that_nobody_gets),
                cmocka_unit_test(capacities),
                cmocka_unit_test(host_problems),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
