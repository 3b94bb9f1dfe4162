/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which tier a domain is to run on, and how it is handed over: pure, from its XML and the configuration. What the host and the ledger say
 * to it is the daemon's answer to CreateVm or Plan, candidate by candidate.
 */

#include "base/tenant.h"
#include "domain/config.h"
#include "domain/domain.h"

typedef enum DomainVerdict {
        DOMAIN_LEFT_ALONE, /* nothing to do with a vIOMMU: no PCI hostdev, no request; or it is to be ignored */
        DOMAIN_CANDIDATES, /* to be admitted on the first candidate that the daemon takes */
        DOMAIN_ACCOUNTED, /* it runs as it is; what it takes is counted, under the one candidate, if it can be */
        DOMAIN_REFUSED, /* it cannot run as it asks: reasons */
} DomainVerdict;

#define DOMAIN_REASON_SIZE 320

/* Why a tier was passed over: a sentence, with what to do about it. */
typedef struct DomainReason {
        DomainTier tier; /* _DOMAIN_TIER_MAX: none in particular */
        char text[DOMAIN_REASON_SIZE];
} DomainReason;

typedef struct DomainDecision {
        DomainVerdict verdict;
        DomainTier candidates[_DOMAIN_TIER_MAX]; /* in order */
        size_t n_candidates;
        DomainReason reasons[_DOMAIN_TIER_MAX]; /* of the tiers that were wanted and are none */
        size_t n_reasons;
        const char *handover; /* "vmm" or "none" */
} DomainDecision;

/* Cannot fail; *ret holds no memory. */
void domain_decide(const Domain *domain, const LibvirtConfig *config, DomainDecision *ret);

/* What becomes of a domain that runs already, and that aviommud does not know. */
typedef struct DomainLate {
        bool is_counted; /* false: it is left alone */
        DomainTier tier; /* under which; never hardware, whose contexts are made before a start */
        char tenant[TENANT_SIZE];           /* on whose account; "": nobody's */
        char objection[DOMAIN_REASON_SIZE]; /* why it should not run as it does; "": it may */
} DomainLate;

/* Cannot fail; *ret holds no memory. What it has cannot be refused any more, so that is counted, whatever is to be said of it. */
void domain_decide_late(const Domain *domain, const LibvirtConfig *config, DomainLate *ret);

/* More vCPUs than these want interrupts with ids of more than 8 bits. */
#define VCPUS_WITHOUT_X2APIC 255

/* Whether the XML has that tier, so that a guest can find and use it; if not, why, in @reason, which is written only then. */
bool domain_has_tier(const Domain *domain, DomainTier tier, char reason[static DOMAIN_REASON_SIZE]);

/* Whether it has more vCPUs than the tier virtio can have; then why that is so, in @reason. */
bool domain_has_too_many_vcpus(const Domain *domain, char reason[static DOMAIN_REASON_SIZE]);
