/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The ledger: what the host has of each limited resource, what is charged, and who holds the proof.
 *
 * A charge is all or nothing over any number of resources and yields a Receipt. A receipt is given back once, in whole
 * or in parts. The ledger counts commitments: under the v3 uAPI
 * nobody in user space chooses or sees a Guest ID or TransDevID.
 *
 * Invariants: an account's `used` is the sum over all living receipts; ledger_free() asserts that every unit came back.
 * Capacity may fall below what is used; then nothing is taken away and nothing more is granted.
 */

#include "base/problem.h"

typedef enum ResourceKind {
        RESOURCE_INSTANCES,         /* per host IOMMU: Guest ID with its VF MMIO page */
        RESOURCE_TRANS_DEVIDS,      /* per PCI segment */
        RESOURCE_CONTIGUOUS_MEMORY, /* per NUMA node, bytes */
        RESOURCE_DOMAIN_IDS,        /* host */
        RESOURCE_PINNED_MEMORY,     /* host, bytes */
        RESOURCE_DESCRIPTORS,       /* host: file descriptors that the daemon keeps for VMs */
        _RESOURCE_KIND_MAX,
} ResourceKind;

const char *resource_kind_to_string(ResourceKind kind);

/* Returns 0 or -EINVAL. */
int resource_kind_from_string(const char *s, ResourceKind *ret);

/* "ivhd3", "0000", "node1" or "host". Returns @buf. */
#define RESOURCE_SCOPE_STRING_SIZE 24
char *resource_scope_format(ResourceKind kind, uint32_t scope,
                            char buf[static RESOURCE_SCOPE_STRING_SIZE]);
#define RESOURCE_SCOPE_STRING(kind, scope)                                                         \
        resource_scope_format((kind), (scope), (char[RESOURCE_SCOPE_STRING_SIZE]){})

/* An amount of one resource: what a request demands, or what a receipt holds. */
typedef struct Demand {
        ResourceKind kind;
        uint32_t scope; /* host IOMMU index, segment, node; 0 for the host's */
        uint64_t amount;
} Demand;

/* A set of demands, at most one per resource. Zero-initialize; free with demand_set_done(). */
typedef struct DemandSet {
        Demand *demands;
        size_t n_demands;
} DemandSet;

/* Adds to the set; amounts of the same resource are summed. Returns 0, -ENOMEM, -EOVERFLOW. */
int demand_set_add(DemandSet *set, ResourceKind kind, uint32_t scope, uint64_t amount);
int demand_set_add_all(DemandSet *set, const DemandSet *other);
void demand_set_done(DemandSet *set);

/* Whether all of @part is in @set. */
bool demand_set_covers(const DemandSet *set, const DemandSet *part);

/* What the host has and what is granted of one resource. */
typedef struct LedgerAccount {
        ResourceKind kind;
        uint32_t scope;
        uint64_t capacity;
        uint64_t used;
        uint64_t
                held; /* of a suspended receipt: it was granted, so it can be had again whatever the capacity is now */
} LedgerAccount;

typedef struct Ledger Ledger;
typedef struct Receipt Receipt;

int ledger_new(Ledger **ret);
Ledger *ledger_free(Ledger *l);
DEFINE_CLEANUP(Ledger, ledger_free);

/* Sets a capacity, making the account if need be. Returns 0 or -ENOMEM. */
int ledger_set_capacity(Ledger *l, ResourceKind kind, uint32_t scope, uint64_t capacity);

/* All accounts, sorted by kind and scope; the ledger's own. */
const LedgerAccount *ledger_get_accounts(const Ledger *l, size_t *ret_n_accounts);

/* Grows with every change of any account: cheap to compare. */
uint64_t ledger_get_generation(const Ledger *l);

/* Charges the whole set or nothing. Receipt: the caller owns it and gives it back with receipt_done().
 * Returns 0, -EDQUOT (reterr_problem set), -ENOMEM. */
int ledger_charge(Ledger *l, const DemandSet *set, Receipt **ret, Problem *reterr_problem);

/* Charges what was granted before, whatever is left of it: a daemon that starts takes on what is there. *set may name resources
 * that have no capacity (any more). Returns 0, -ENOMEM, or -EOVERFLOW: with what is charged already it is more than can be counted. */
int ledger_restore(Ledger *l, const DemandSet *set, Receipt **ret);

/* Adds everything of *other to @receipt; *other is NULL afterwards. Both are of the same ledger. Cannot fail. */
void receipt_merge(Receipt *receipt, Receipt **other);

/* Gives back @part of @receipt, which must hold all of it (asserted). Cannot fail. */
void receipt_give_back(Receipt *receipt, const DemandSet *part);

/* Puts what a receipt holds back into the accounts, so that a decision can count on it, also where a capacity has fallen below what is used.
 * receipt_decided() ends that: before it nothing may be charged but what replaces the receipt. Then it is resumed, or given back
 * as it is. Cannot fail. */
void receipt_suspend(Receipt *receipt);
void receipt_decided(Receipt *receipt);
void receipt_resume(Receipt *receipt);

/* Gives a receipt back; NULL is fine. Returns NULL. */
Receipt *receipt_done(Receipt *receipt);
DEFINE_CLEANUP(Receipt, receipt_done);

/* Adds what @receipt holds to @set. Returns 0 or -ENOMEM. */
int receipt_get_demands(const Receipt *receipt, DemandSet *set);

/* How much of one resource @receipt (NULL: nothing) holds, also while it is suspended. RESOURCE_SCOPE_ANY: of all scopes together. */
#define RESOURCE_SCOPE_ANY UINT32_MAX
uint64_t receipt_get_amount(const Receipt *receipt, ResourceKind kind, uint32_t scope);

/* The same of a set. */
uint64_t demand_set_get_amount(const DemandSet *set, ResourceKind kind, uint32_t scope);
