/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ledger/quota.h"

#include <inttypes.h>

static int refuse(const Demand *d, uint64_t capacity, uint64_t available, Problem *reterr_problem) {
        const char *scope = RESOURCE_SCOPE_STRING(d->kind, d->scope);

        switch (d->kind) {
        case RESOURCE_INSTANCES:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_FREE_INSTANCE, d->amount, available,
                        "Wanted %" PRIu64 " vIOMMU instance(s) on host IOMMU %s, %" PRIu64
                        " of %" PRIu64 " are left; release a VM with functions behind %s, or use "
                        "functions behind another host IOMMU.",
                        d->amount, scope, available, capacity, scope);
        case RESOURCE_TRANS_DEVIDS:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_FREE_TRANS_DEVID, d->amount, available,
                        "Wanted %" PRIu64 " TransDevID(s) in PCI segment %s, %" PRIu64
                        " of %" PRIu64 " are left; release a VM with functions in that segment.",
                        d->amount, scope, available, capacity);
        case RESOURCE_CONTIGUOUS_MEMORY:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_CONTIGUOUS_MEMORY, d->amount, available,
                        "Wanted %" PRIu64 " KiB of contiguous memory on NUMA %s for vIOMMU tables, "
                        "%" PRIu64 " of %" PRIu64 " KiB are left; release a VM there, or raise "
                        "ContiguousMemoryPerNodePercent=.",
                        d->amount >> 10, scope, available >> 10, capacity >> 10);
        case RESOURCE_DOMAIN_IDS:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_FREE_DOMAIN_ID, d->amount, available,
                        "Wanted %" PRIu64 " IOMMU domain id(s), %" PRIu64 " of the host's %" PRIu64
                        " are left; ask for fewer guest-domains, or release a VM.",
                        d->amount, available, capacity);
        case RESOURCE_PINNED_MEMORY:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_PINNABLE_MEMORY, d->amount, available,
                        "Wanted %" PRIu64 " MiB of pinned memory, %" PRIu64 " of %" PRIu64
                        " MiB that the host may pin are left; ask for less, or release a VM.",
                        d->amount >> 20, available >> 20, capacity >> 20);
        case RESOURCE_DESCRIPTORS:
                return problem_set_amounts(
                        reterr_problem, PROBLEM_NO_FREE_DESCRIPTOR, d->amount, available,
                        "Wanted to keep %" PRIu64 " file descriptors for the VM, %" PRIu64
                        " of %" PRIu64 " are left; release a VM, or raise "
                        "FileDescriptorStoreMax= and LimitNOFILE= of the service.",
                        d->amount, available, capacity);
        case _RESOURCE_KIND_MAX:
                abort();
        }
        abort(); /* none of them */
}

const LedgerAccount *quota_find_account(const LedgerAccount *accounts, size_t n_accounts,
                                        ResourceKind kind, uint32_t scope) {
        size_t low = 0, high = n_accounts;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const LedgerAccount *a = accounts + middle;

                if (a->kind == kind && a->scope == scope)
                        return a;
                if (a->kind < kind || (a->kind == kind && a->scope < scope))
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

int quota_decide(const LedgerAccount *accounts, size_t n_accounts, const DemandSet *set,
                 Problem *reterr_problem) {
        for (size_t i = 0; i < set->n_demands; i++) {
                const Demand *d = set->demands + i;
                const LedgerAccount *a = quota_find_account(accounts, n_accounts, d->kind,
                                                            d->scope);
                uint64_t capacity = a ? a->capacity : 0, used = a ? a->used : 0;
                uint64_t available = capacity > used ? capacity - used : 0;

                if (a)
                        available = MAX(available, a->held);
                if (d->amount > available)
                        return refuse(d, capacity, available, reterr_problem);
        }
        return 0;
}

/* ---- what the administrator allows ---- */

static int refuse_rule(const QuotaRule *rule, uint64_t available, Problem *p) {
        unsigned shift = rule->in_mib ? 20 : 0;
        const char *unit = rule->in_mib ? "MiB of " : "";
        uint64_t wanted = rule->wanted >> shift, used = rule->used >> shift,
                 limit = rule->limit >> shift;

        switch (rule->party) {
        case QUOTA_OF_VM:
                return problem_set_amounts(
                        p, PROBLEM_QUOTA_EXCEEDED, rule->wanted, available,
                        "Wanted %" PRIu64 " %s%s more for the VM, which has %" PRIu64
                        " of the %" PRIu64 " that a VM may have: ask for less, or raise %s= of "
                        "[%s] in aviommud.conf(5).",
                        wanted, unit, rule->what, used, limit, rule->key, rule->section);
        case QUOTA_OF_RESERVES:
                return problem_set_amounts(
                        p, PROBLEM_QUOTA_EXCEEDED, rule->wanted, available,
                        "Wanted %" PRIu64 " %s%s (%s), %" PRIu64 " are in use of the %" PRIu64
                        " that are not kept for other tenants: release a VM, or lower their %s= in "
                        "aviommud.conf(5).",
                        wanted, unit, rule->what, rule->scope, used, limit, rule->key);
        case QUOTA_OF_EACH_USER:
                return problem_set_amounts(
                        p, PROBLEM_QUOTA_EXCEEDED, rule->wanted, available,
                        "Wanted %" PRIu64 " %s%s more for uid %u, which has %" PRIu64
                        " of the %" PRIu64 " that a user may have: %s, or raise %s= of [%s] in "
                        "aviommud.conf(5).",
                        wanted, unit, rule->what, rule->uid, used, limit,
                        rule->remedy ?: "release a VM", rule->key, rule->section);
        default:
                return problem_set_amounts(
                        p, PROBLEM_QUOTA_EXCEEDED, rule->wanted, available,
                        "Wanted %" PRIu64 " %s%s more for [%s], which has %" PRIu64
                        " of the %" PRIu64 " that it may have: %s, or raise %s= in "
                        "aviommud.conf(5).",
                        wanted, unit, rule->what, rule->section, used, limit,
                        rule->remedy ?: "release one of its VMs", rule->key);
        }
}

int quota_check(const QuotaRule *rules, size_t n_rules, Problem *reterr_problem) {
        for (size_t i = 0; i < n_rules; i++) {
                const QuotaRule *rule = rules + i;
                uint64_t available = rule->limit > rule->used ? rule->limit - rule->used : 0;

                available = MAX(available, rule->held);
                if (rule->wanted > available)
                        return refuse_rule(rule, available, reterr_problem);
        }
        return 0;
}
