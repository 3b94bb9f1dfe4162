/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a tenant, a user and a VM may have, and what is kept for others: the rules that apply to a request, out of the configuration and
 * what everybody holds. Nothing is counted twice: who holds what is told by the receipts themselves, so a restart changes nothing.
 * Pure.
 */

#include "ledger/quota.h"

typedef struct AdmissionView AdmissionView;

/* On whose account something is. */
typedef struct QuotaSubject {
        const char *tenant; /* "" or NULL: none */
        uid_t uid;
        const void *vm; /* that is to get more; NULL: a new one */
} QuotaSubject;

/* What is wanted, more than there is. */
typedef struct QuotaWish {
        size_t n_vms, n_functions;
        const DemandSet *demands;
        size_t n_reservations; /* it is to be kept for later */
} QuotaWish;

/* A part of what somebody holds. */
typedef struct Holding {
        const char *tenant;
        uid_t uid;
        const void *vm; /* NULL: of a reservation */
        size_t n_vms, n_functions, n_reservations;
        const Receipt *receipt; /* NULL: nothing */
        bool held; /* by the reservation that is decided for: not used, but to be had */
} Holding;

typedef void (*HoldingFound)(void *userdata, const Holding *holding);

/* Zero-initialize; free with quota_rules_done(). */
typedef struct QuotaRules {
        QuotaRule *rules;
        size_t n_rules;
} QuotaRules;

void quota_rules_done(QuotaRules *rules);

/* Lists every rule that applies. Returns 0 or -ENOMEM. */
int quotas_list(const AdmissionView *view, const QuotaSubject *subject, const QuotaWish *wish,
                QuotaRules *ret);

/* Decides by them, and leaves them at view->ret_rules. Returns 0, -EDQUOT with reterr_problem, -ENOMEM. */
int quotas_decide(const AdmissionView *view, const QuotaSubject *subject, const QuotaWish *wish,
                  Problem *reterr_problem);
