/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The admission decision on amounts and on what the administrator allows: pure, plain data in, verdict out. */

#include "ledger/ledger.h"

/* Whether @set fits into what is left of @accounts (sorted by kind and scope). A resource without an account has none.
 * Returns 0, or -EDQUOT with reterr_problem naming the first resource that is short, wanted and available. */
int quota_decide(const LedgerAccount *accounts, size_t n_accounts, const DemandSet *set,
                 Problem *reterr_problem);

/* The account of a resource, or NULL. Binary search. */
const LedgerAccount *quota_find_account(const LedgerAccount *accounts, size_t n_accounts,
                                        ResourceKind kind, uint32_t scope);

/* Whose limit it is. */
typedef enum QuotaParty {
        QUOTA_OF_VM,
        QUOTA_OF_USER,
        QUOTA_OF_EACH_USER, /* who has no limit of his own */
        QUOTA_OF_TENANT,
        QUOTA_OF_RESERVES, /* what is kept for others of what the host has */
} QuotaParty;

#define QUOTA_SECTION_SIZE 80

/* One limit that applies to a request, and how far it has come. */
typedef struct QuotaRule {
        QuotaParty party;
        char section
                [QUOTA_SECTION_SIZE]; /* of aviommud.conf(5), "Tenant acme"; of QUOTA_OF_RESERVES "" */
        const char *key;              /* in that section: "MaxInstances" */
        const char *what;             /* for a sentence: "vIOMMU instances" */
        char scope[RESOURCE_SCOPE_STRING_SIZE]; /* "host", "ivhd0" */
        bool in_mib;                            /* told in MiB, the amounts are bytes */
        uint64_t limit;
        uint64_t used; /* charged already, what is decided on apart */
        uint64_t
                held; /* by the reservation that is decided for: it can be had again, whatever the limit is now */
        uint64_t wanted;    /* more */
        const char *remedy; /* for the sentence; NULL: "release one of its VMs" */
        uid_t uid;          /* of QUOTA_OF_EACH_USER */
} QuotaRule;

/* Whether what is wanted is within every rule. Returns 0, or -EDQUOT with reterr_problem naming the first that is not. */
int quota_check(const QuotaRule *rules, size_t n_rules, Problem *reterr_problem);
