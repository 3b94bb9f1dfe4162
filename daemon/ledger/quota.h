/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The admission decision on amounts: pure, plain data in, verdict out. */

#include "ledger/ledger.h"

/* Whether @set fits into what is left of @accounts (sorted by kind and scope). A resource without an account has none.
 * Returns 0, or -EDQUOT with reterr_problem naming the first resource that is short, wanted and available. */
int quota_decide(const LedgerAccount *accounts, size_t n_accounts, const DemandSet *set,
                 Problem *reterr_problem);

/* The account of a resource, or NULL. Binary search. */
const LedgerAccount *quota_find_account(const LedgerAccount *accounts, size_t n_accounts,
                                        ResourceKind kind, uint32_t scope);
