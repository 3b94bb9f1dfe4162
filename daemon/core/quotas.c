/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/quotas.h"

#include <errno.h>
#include <stdio.h>

#include "core/admission.h"

/* How each quota is counted: VMs, functions and reservations are, the others are what receipts say. */
static const struct {
        const char *what;
        ResourceKind resource; /* _RESOURCE_KIND_MAX: none */
        bool in_mib;
        const char *remedy; /* NULL: the usual one */
} kinds[_QUOTA_KIND_MAX] = {
        [QUOTA_VMS] = { "VM(s)", _RESOURCE_KIND_MAX, false },
        [QUOTA_FUNCTIONS] = { "function(s)", _RESOURCE_KIND_MAX, false },
        [QUOTA_RESERVATIONS] = { "reservation(s)", _RESOURCE_KIND_MAX, false,
                                 "use one or give one back ('aviommuctl reservations' shows "
                                 "them)" },
        [QUOTA_INSTANCES] = { "vIOMMU instance(s)", RESOURCE_INSTANCES, false },
        [QUOTA_DOMAIN_IDS] = { "IOMMU domain id(s)", RESOURCE_DOMAIN_IDS, false },
        [QUOTA_PINNED_MEMORY] = { "pinned memory", RESOURCE_PINNED_MEMORY, true },
};

/* What a tenant has of a resource that some is kept of for him. */
typedef struct Reserve {
        const PartyPolicy *tenant;
        uint64_t used;
} Reserve;

typedef struct Tally {
        uint64_t used[_QUOTA_KIND_MAX], held[_QUOTA_KIND_MAX];
} Tally;

typedef struct Count {
        const QuotaSubject *subject;
        const PartyPolicy *tenant, *user;
        Tally of_vm, of_user, of_tenant;
        const Demand *demand; /* that the reserves are looked at for */
        Reserve *reserves;
        size_t n_reserves;
} Count;

void quota_rules_done(QuotaRules *rules) {
        free(rules->rules);
        *rules = (QuotaRules){};
}

/* ---- counting ---- */

static void tally_add(Tally *tally, const Holding *h) {
        uint64_t *to = h->held ? tally->held : tally->used;

        to[QUOTA_VMS] += h->n_vms;
        to[QUOTA_FUNCTIONS] += h->n_functions;
        to[QUOTA_RESERVATIONS] += h->n_reservations;
        for (QuotaKind kind = QUOTA_INSTANCES; kind < _QUOTA_KIND_MAX; kind++)
                to[kind] += receipt_get_amount(h->receipt, kinds[kind].resource,
                                               RESOURCE_SCOPE_ANY);
}

static void count_holding(void *userdata, const Holding *h) {
        Count *count = userdata;
        const QuotaSubject *subject = count->subject;

        if (subject->vm && h->vm == subject->vm)
                tally_add(&count->of_vm, h);
        if (h->uid == subject->uid)
                tally_add(&count->of_user, h);
        if (count->tenant && streq(h->tenant, count->tenant->name))
                tally_add(&count->of_tenant, h);
}

static void count_reserve(void *userdata, const Holding *h) {
        Count *count = userdata;

        for (size_t i = 0; i < count->n_reserves && !h->held; i++)
                if (streq(h->tenant, count->reserves[i].tenant->name))
                        count->reserves[i].used += receipt_get_amount(
                                h->receipt, count->demand->kind, count->demand->scope);
}

static void list_holdings(const AdmissionView *view, HoldingFound found, Count *count) {
        if (view->list_holdings)
                view->list_holdings(view->userdata, found, count);
}

/* ---- rules ---- */

static QuotaRule *append(QuotaRules *rules) {
        QuotaRule *grown = reallocarray(rules->rules, rules->n_rules + 1, sizeof(QuotaRule));

        if (!grown)
                return NULL;
        rules->rules = grown;
        return memset(grown + rules->n_rules++, 0, sizeof(QuotaRule));
}

static uint64_t wanted_of(const QuotaWish *wish, QuotaKind kind) {
        switch (kind) {
        case QUOTA_VMS:
                return wish->n_vms;
        case QUOTA_FUNCTIONS:
                return wish->n_functions;
        case QUOTA_RESERVATIONS:
                return wish->n_reservations;
        default:
                return demand_set_get_amount(wish->demands, kinds[kind].resource,
                                             RESOURCE_SCOPE_ANY);
        }
}

/* @word: "Tenant", "User", "Vm" */
static int list_party(const PartyPolicy *party, QuotaParty of, const char *word, const Tally *tally,
                      const QuotaWish *wish, QuotaRules *ret) {
        for (QuotaKind kind = 0; party && kind < _QUOTA_KIND_MAX; kind++) {
                QuotaRule *rule;

                if (!limit_is_set(party->max + kind))
                        continue;
                rule = append(ret);
                if (!rule)
                        return -ENOMEM;
                rule->party = of;
                (void)snprintf(rule->section, sizeof(rule->section), "%s%s%s", word,
                               *party->name ? " " : "", party->name);
                rule->key = quota_kind_to_key(kind);
                rule->what = kinds[kind].what;
                rule->remedy = kinds[kind].remedy;
                (void)snprintf(rule->scope, sizeof(rule->scope), "host");
                rule->in_mib = kinds[kind].in_mib;
                rule->limit = party->max[kind].value;
                rule->used = tally->used[kind];
                rule->held = tally->held[kind];
                rule->wanted = wanted_of(wish, kind);
        }
        return 0;
}

/* How many reservations a user may have of whom no section says it. That is told of reservations, and to who has some. */
static int list_reservations(const AdmissionView *view, const Count *count, const QuotaWish *wish,
                             QuotaRules *ret) {
        uint64_t used = count->of_user.used[QUOTA_RESERVATIONS];
        QuotaRule *rule;

        if (count->subject->uid == 0 || (wish->n_reservations == 0 && used == 0) ||
            (count->user && limit_is_set(count->user->max + QUOTA_RESERVATIONS)))
                return 0;
        rule = append(ret);
        if (!rule)
                return -ENOMEM;
        *rule = (QuotaRule){
                .party = QUOTA_OF_EACH_USER,
                .section = "Manager",
                .key = "MaxReservationsPerUser",
                .what = kinds[QUOTA_RESERVATIONS].what,
                .remedy = kinds[QUOTA_RESERVATIONS].remedy,
                .scope = "host",
                .uid = count->subject->uid,
                .limit = view->config->max_reservations_per_user,
                .used = used,
                .held = count->of_user.held[QUOTA_RESERVATIONS],
                .wanted = wish->n_reservations,
        };
        return 0;
}

static uint64_t reserved_of(const PartyPolicy *tenant, const Demand *d) {
        const Limit *limit = d->kind == RESOURCE_DOMAIN_IDS      ? &tenant->reserved_domain_ids
                             : d->kind == RESOURCE_PINNED_MEMORY ? &tenant->reserved_pinned_memory
                                                                 : NULL;

        if (d->kind == RESOURCE_INSTANCES)
                return tenant_reserved_instances(tenant, d->scope);
        return limit && limit_is_set(limit) ? limit->value : 0;
}

/* Lists what is kept of one resource for others than the one who asks, and is not used by them. */
static int list_reserve(const AdmissionView *view, Count *count, const Demand *d, QuotaRules *ret) {
        const Policy *policy = view->config->policy;
        static const char *const keys[_RESOURCE_KIND_MAX] = {
                [RESOURCE_INSTANCES] = "ReservedInstances",
                [RESOURCE_DOMAIN_IDS] = "ReservedDomainIds",
                [RESOURCE_PINNED_MEMORY] = "ReservedPinnedMemory",
        };
        size_t n_accounts;
        const LedgerAccount *accounts = ledger_get_accounts(view->ledger, &n_accounts);
        const LedgerAccount *a = quota_find_account(accounts, n_accounts, d->kind, d->scope);
        uint64_t kept = 0, capacity = a ? a->capacity : 0;
        QuotaRule *rule;

        count->demand = d;
        count->n_reserves = 0;
        for (size_t i = 0; i < policy->n_tenants; i++)
                if (policy->tenants + i != count->tenant && reserved_of(policy->tenants + i, d) > 0)
                        count->reserves[count->n_reserves++] = (Reserve){ policy->tenants + i, 0 };
        if (count->n_reserves == 0)
                return 0;
        list_holdings(view, count_reserve, count);
        for (size_t i = 0; i < count->n_reserves; i++) {
                uint64_t reserved = reserved_of(count->reserves[i].tenant, d);

                if (reserved > count->reserves[i].used)
                        kept += reserved - count->reserves[i].used;
        }

        rule = append(ret);
        if (!rule)
                return -ENOMEM;
        rule->party = QUOTA_OF_RESERVES;
        rule->key = keys[d->kind];
        for (QuotaKind kind = QUOTA_INSTANCES; kind < _QUOTA_KIND_MAX; kind++)
                if (kinds[kind].resource == d->kind) {
                        rule->what = kinds[kind].what;
                        rule->in_mib = kinds[kind].in_mib;
                }
        (void)resource_scope_format(d->kind, d->scope, rule->scope);
        rule->limit = capacity > kept ? capacity - kept : 0;
        rule->used = a ? a->used : 0;
        rule->held = a ? a->held : 0;
        rule->wanted = d->amount;
        return 0;
}

static int list_reserves(const AdmissionView *view, Count *count, const QuotaWish *wish,
                         QuotaRules *ret) {
        _cleanup_free_ Reserve *reserves = new0(Reserve,
                                                MAX(view->config->policy->n_tenants, (size_t)1));
        int r = 0;

        if (!reserves)
                return -ENOMEM;
        count->reserves = reserves;
        for (size_t i = 0; i < wish->demands->n_demands && r >= 0; i++)
                r = list_reserve(view, count, wish->demands->demands + i, ret);
        return r;
}

int quotas_list(const AdmissionView *view, const QuotaSubject *subject, const QuotaWish *wish,
                QuotaRules *ret) {
        const Policy *policy = view->config->policy;
        _cleanup_(quota_rules_done) QuotaRules rules = {};
        Count count = { .subject = subject };
        int r;

        if (!policy && wish->n_reservations == 0 && !view->ret_rules)
                return 0;
        count.tenant = policy_find_tenant(policy, subject->tenant ?: "");
        count.user = policy_find_user(policy, subject->uid);
        if (count.tenant || count.user || subject->vm || wish->n_reservations > 0 ||
            view->ret_rules)
                list_holdings(view, count_holding, &count);

        r = policy ? list_party(&policy->vm, QUOTA_OF_VM, "Vm", &count.of_vm, wish, &rules) : 0;
        if (r >= 0)
                r = list_party(count.user, QUOTA_OF_USER, "User", &count.of_user, wish, &rules);
        if (r >= 0)
                r = list_reservations(view, &count, wish, &rules);
        if (r >= 0)
                r = list_party(count.tenant, QUOTA_OF_TENANT, "Tenant", &count.of_tenant, wish,
                               &rules);
        if (r >= 0 && policy)
                r = list_reserves(view, &count, wish, &rules);
        if (r < 0)
                return r;

        *ret = rules;
        rules = (QuotaRules){};
        return 0;
}

int quotas_decide(const AdmissionView *view, const QuotaSubject *subject, const QuotaWish *wish,
                  Problem *p) {
        _cleanup_(quota_rules_done) QuotaRules rules = {};
        int r;

        r = quotas_list(view, subject, wish, &rules);
        if (r < 0)
                return r;
        r = quota_check(rules.rules, rules.n_rules, p);
        if (view->ret_rules) {
                *view->ret_rules = rules;
                rules = (QuotaRules){};
        }
        return r;
}
