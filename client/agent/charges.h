/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a running domain has compared with what aviommud charges for it: pure. */

#include "base/macro.h"
#include "domain/domain.h"

/* A function as in the property Functions of a VM. */
typedef struct Charged {
        PciAddress address;
        bool leaving; /* it has been detached already, and comes back when the VMM closes it */
} Charged;

typedef struct ChargePlan {
        size_t *detach; /* indexes into what is charged */
        size_t n_detach;
        size_t *attach; /* indexes into what the domain has */
        size_t n_attach;
        bool waits; /* something that it has is on its way out: to be compared again */
} ChargePlan;

/* Returns 0 or -ENOMEM; the caller gives the plan back with charge_plan_done(). */
int charge_plan(const DomainFunction *has, size_t n_has, const Charged *charged, size_t n_charged,
                ChargePlan *ret);
void charge_plan_done(ChargePlan *plan);
