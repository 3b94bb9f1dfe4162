/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ledger/ledger.h"

#include <errno.h>
#include <stdio.h>

#include "ledger/quota.h"

struct Ledger {
        LedgerAccount *accounts;
        size_t n_accounts;
        uint64_t generation;
};

struct Receipt {
        Ledger *ledger;
        DemandSet holds;
        bool suspended;
        bool holding;  /* while it is decided what replaces it */
        Receipt *next; /* merged into this one: a chain, so that merging needs no memory */
};

static const char *const kinds[_RESOURCE_KIND_MAX] = {
        [RESOURCE_INSTANCES] = "instances",
        [RESOURCE_TRANS_DEVIDS] = "trans-devids",
        [RESOURCE_CONTIGUOUS_MEMORY] = "contiguous-memory",
        [RESOURCE_DOMAIN_IDS] = "domain-ids",
        [RESOURCE_PINNED_MEMORY] = "pinned-memory",
        [RESOURCE_DESCRIPTORS] = "descriptors",
};

const char *resource_kind_to_string(ResourceKind kind) {
        assert(kind < _RESOURCE_KIND_MAX);
        return kinds[kind];
}

int resource_kind_from_string(const char *s, ResourceKind *ret) {
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (streq(kinds[i], s)) {
                        *ret = (ResourceKind)i;
                        return 0;
                }
        return -EINVAL;
}

char *resource_scope_format(ResourceKind kind, uint32_t scope,
                            char buf[static RESOURCE_SCOPE_STRING_SIZE]) {
        switch (kind) {
        case RESOURCE_INSTANCES:
                (void)snprintf(buf, RESOURCE_SCOPE_STRING_SIZE, "ivhd%u", scope);
                break;
        case RESOURCE_TRANS_DEVIDS:
                (void)snprintf(buf, RESOURCE_SCOPE_STRING_SIZE, "%04x", scope);
                break;
        case RESOURCE_CONTIGUOUS_MEMORY:
                (void)snprintf(buf, RESOURCE_SCOPE_STRING_SIZE, "node%u", scope);
                break;
        default:
                (void)snprintf(buf, RESOURCE_SCOPE_STRING_SIZE, "host");
        }
        return buf;
}

/* ---- demands ---- */

static Demand *demand_set_find(const DemandSet *set, ResourceKind kind, uint32_t scope) {
        for (size_t i = 0; i < set->n_demands; i++)
                if (set->demands[i].kind == kind && set->demands[i].scope == scope)
                        return set->demands + i;
        return NULL;
}

int demand_set_add(DemandSet *set, ResourceKind kind, uint32_t scope, uint64_t amount) {
        Demand *d, *grown;

        if (amount == 0)
                return 0;

        d = demand_set_find(set, kind, scope);
        if (d) {
                if (amount > UINT64_MAX - d->amount)
                        return -EOVERFLOW;
                d->amount += amount;
                return 0;
        }

        grown = reallocarray(set->demands, set->n_demands + 1, sizeof(Demand));
        if (!grown)
                return -ENOMEM;

        set->demands = grown;
        set->demands[set->n_demands++] = (Demand){ .kind = kind, .scope = scope, .amount = amount };
        return 0;
}

int demand_set_add_all(DemandSet *set, const DemandSet *other) {
        for (size_t i = 0; i < other->n_demands; i++) {
                const Demand *d = other->demands + i;
                int r;

                r = demand_set_add(set, d->kind, d->scope, d->amount);
                if (r < 0)
                        return r;
        }
        return 0;
}

uint64_t demand_set_get_amount(const DemandSet *set, ResourceKind kind, uint32_t scope) {
        uint64_t amount = 0;

        for (size_t i = 0; i < set->n_demands; i++)
                if (set->demands[i].kind == kind &&
                    (scope == RESOURCE_SCOPE_ANY || set->demands[i].scope == scope))
                        amount += set->demands[i].amount;
        return amount;
}

bool demand_set_covers(const DemandSet *set, const DemandSet *part) {
        for (size_t i = 0; i < part->n_demands; i++) {
                const Demand *d = part->demands + i;

                if (demand_set_get_amount(set, d->kind, d->scope) < d->amount)
                        return false;
        }
        return true;
}

void demand_set_done(DemandSet *set) {
        free(set->demands);
        *set = (DemandSet){};
}

/* ---- accounts ---- */

int ledger_new(Ledger **ret) {
        Ledger *l = new0(Ledger, 1);

        if (!l)
                return -ENOMEM;
        *ret = l;
        return 0;
}

Ledger *ledger_free(Ledger *l) {
        if (!l)
                return NULL;

        for (size_t i = 0; i < l->n_accounts; i++)
                assert(l->accounts[i].used == 0);
        free(l->accounts);
        free(l);
        return NULL;
}

static LedgerAccount *ledger_find(Ledger *l, ResourceKind kind, uint32_t scope) {
        return (LedgerAccount *)quota_find_account(l->accounts, l->n_accounts, kind, scope);
}

int ledger_set_capacity(Ledger *l, ResourceKind kind, uint32_t scope, uint64_t capacity) {
        LedgerAccount *a = ledger_find(l, kind, scope), *grown;
        size_t at = 0;

        if (a) {
                if (a->capacity != capacity)
                        l->generation++;
                a->capacity = capacity;
                return 0;
        }

        grown = reallocarray(l->accounts, l->n_accounts + 1, sizeof(LedgerAccount));
        if (!grown)
                return -ENOMEM;
        l->accounts = grown;

        while (at < l->n_accounts &&
               (grown[at].kind < kind || (grown[at].kind == kind && grown[at].scope < scope)))
                at++;
        memmove(grown + at + 1, grown + at, (l->n_accounts - at) * sizeof(LedgerAccount));
        grown[at] = (LedgerAccount){ .kind = kind, .scope = scope, .capacity = capacity };
        l->n_accounts++;
        l->generation++;
        return 0;
}

const LedgerAccount *ledger_get_accounts(const Ledger *l, size_t *ret_n_accounts) {
        *ret_n_accounts = l->n_accounts;
        return l->accounts;
}

uint64_t ledger_get_generation(const Ledger *l) {
        return l->generation;
}

/* ---- receipts ---- */

static int receipt_new(Ledger *l, const DemandSet *holds, Receipt **ret) {
        Receipt *receipt = new0(Receipt, 1);
        int r;

        if (!receipt)
                return -ENOMEM;

        receipt->ledger = l;
        r = demand_set_add_all(&receipt->holds, holds);
        if (r < 0) {
                demand_set_done(&receipt->holds);
                free(receipt);
                return r;
        }

        *ret = receipt;
        return 0;
}

/* Books @set, whose resources all have accounts, and makes the proof of it. */
static int ledger_book(Ledger *l, const DemandSet *set, Receipt **ret) {
        Receipt *receipt;
        int r;

        r = receipt_new(l, set, &receipt);
        if (r < 0)
                return r;

        for (size_t i = 0; i < set->n_demands; i++)
                ledger_find(l, set->demands[i].kind, set->demands[i].scope)
                        ->used += set->demands[i].amount;
        l->generation++;

        *ret = receipt;
        return 0;
}

int ledger_charge(Ledger *l, const DemandSet *set, Receipt **ret, Problem *reterr_problem) {
        int r;

        r = quota_decide(l->accounts, l->n_accounts, set, reterr_problem);
        return r < 0 ? r : ledger_book(l, set, ret);
}

int ledger_restore(Ledger *l, const DemandSet *set, Receipt **ret) {
        for (size_t i = 0; i < set->n_demands; i++) {
                const Demand *d = set->demands + i;
                const LedgerAccount *a = ledger_find(l, d->kind, d->scope);

                if (a && d->amount > UINT64_MAX - a->used)
                        return -EOVERFLOW;
        }
        for (size_t i = 0; i < set->n_demands; i++) {
                const Demand *d = set->demands + i;
                int r = ledger_find(l, d->kind, d->scope)
                                ? 0
                                : ledger_set_capacity(l, d->kind, d->scope, 0);

                if (r < 0)
                        return r;
        }
        return ledger_book(l, set, ret);
}

/* Moves what a link holds into the entries that @receipt has for it already; what is left in the link is new to it. */
static void receipt_absorb(Receipt *receipt, DemandSet *from) {
        size_t n_left = 0;

        for (size_t i = 0; i < from->n_demands; i++) {
                Demand *own = NULL;

                for (Receipt *link = receipt; link && !own; link = link->next)
                        own = demand_set_find(&link->holds, from->demands[i].kind,
                                              from->demands[i].scope);
                if (own)
                        own->amount += from->demands[i].amount;
                else
                        from->demands[n_left++] = from->demands[i];
        }
        from->n_demands = n_left;
}

static Receipt *receipt_free_link(Receipt *link) {
        Receipt *next = link->next;

        demand_set_done(&link->holds);
        free(link);
        return next;
}

/* The chain is as long as there are different resources, however often something is merged and given back. */
void receipt_merge(Receipt *receipt, Receipt **other) {
        Receipt *link = TAKE_PTR(*other), *last = receipt;

        while (last->next)
                last = last->next;
        while (link) {
                assert(link->ledger == receipt->ledger);
                assert(link->suspended == receipt->suspended && link->holding == receipt->holding);
                receipt_absorb(receipt, &link->holds);
                if (link->holds.n_demands == 0)
                        link = receipt_free_link(link);
                else {
                        last = last->next = link;
                        link = TAKE_PTR(last->next);
                }
        }
}

/* Gives back up to @amount of what one link holds. Returns how much that was. */
static uint64_t receipt_link_give_back(Receipt *link, const Demand *wanted, uint64_t amount) {
        Demand *d = demand_set_find(&link->holds, wanted->kind, wanted->scope);
        uint64_t n = d ? MIN(d->amount, amount) : 0;
        LedgerAccount *a;

        if (n == 0)
                return 0;

        a = ledger_find(link->ledger, d->kind, d->scope);
        assert(a && a->used >= n);
        a->used -= n;
        d->amount -= n;
        link->ledger->generation++;
        return n;
}

void receipt_give_back(Receipt *receipt, const DemandSet *part) {
        for (size_t i = 0; i < part->n_demands; i++) {
                uint64_t rest = part->demands[i].amount;

                for (Receipt *link = receipt; link && rest > 0; link = link->next)
                        rest -= receipt_link_give_back(link, part->demands + i, rest);
                assert(rest == 0);
        }
}

void receipt_suspend(Receipt *receipt) {
        for (; receipt; receipt = receipt->next) {
                assert(!receipt->suspended);
                for (size_t i = 0; i < receipt->holds.n_demands; i++) {
                        const Demand *d = receipt->holds.demands + i;
                        LedgerAccount *a = ledger_find(receipt->ledger, d->kind, d->scope);

                        a->used -= d->amount;
                        a->held += d->amount;
                }
                receipt->suspended = receipt->holding = true;
        }
}

void receipt_decided(Receipt *receipt) {
        for (; receipt; receipt = receipt->next) {
                for (size_t i = 0; i < receipt->holds.n_demands && receipt->holding; i++) {
                        const Demand *d = receipt->holds.demands + i;

                        ledger_find(receipt->ledger, d->kind, d->scope)->held -= d->amount;
                }
                receipt->holding = false;
        }
}

void receipt_resume(Receipt *receipt) {
        receipt_decided(receipt);
        for (; receipt; receipt = receipt->next) {
                assert(receipt->suspended);
                for (size_t i = 0; i < receipt->holds.n_demands; i++) {
                        const Demand *d = receipt->holds.demands + i;

                        ledger_find(receipt->ledger, d->kind, d->scope)->used += d->amount;
                }
                receipt->suspended = false;
        }
}

Receipt *receipt_done(Receipt *receipt) {
        receipt_decided(receipt);
        while (receipt) {
                Receipt *link = receipt;

                for (size_t i = 0; i < link->holds.n_demands && !link->suspended; i++)
                        (void)receipt_link_give_back(link, link->holds.demands + i,
                                                     link->holds.demands[i].amount);
                receipt = receipt_free_link(link);
        }
        return NULL;
}

int receipt_get_demands(const Receipt *receipt, DemandSet *set) {
        for (; receipt; receipt = receipt->next) {
                int r = demand_set_add_all(set, &receipt->holds);

                if (r < 0)
                        return r;
        }
        return 0;
}

uint64_t receipt_get_amount(const Receipt *receipt, ResourceKind kind, uint32_t scope) {
        uint64_t amount = 0;

        for (; receipt; receipt = receipt->next)
                amount += demand_set_get_amount(&receipt->holds, kind, scope);
        return amount;
}
