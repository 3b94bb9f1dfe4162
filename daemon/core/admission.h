/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The admission decision: whether a VM, or more functions for a VM, can be had, and what exactly that takes. Pure: it reads
 * inventory, ledger and configuration, and changes nothing. CreateVm, AttachDevice and Plan all come here.
 */

#include "core/charges.h"
#include "core/quotas.h"
#include "core/request.h"

typedef struct AdmissionView {
        const Inventory *inventory;
        const Ledger *ledger;
        const Config *config;
        /* Who holds a function, in words that end a sentence ("VM demo", "reservation 0a1b2c3d4e5f of uid 7, ..."), or NULL. They hold
         * until the next call. */
        const char *(*get_holder)(void *userdata, const PciAddress *function);
        /* Names all that is held on anybody's account; NULL: nothing is. */
        void (*list_holdings)(void *userdata, HoldingFound found, void *found_userdata);
        void *userdata;
        QuotaSubject
                subject; /* for admission_decide_functions() and quotas_decide(); of a new VM the request says it */
        QuotaRules *
                ret_rules; /* gets the rules that were looked at, empty before; NULL: nobody wants to know */
} AdmissionView;

/* What is to be added to a VM's context, and its price. Free with admission_done(). */
typedef struct Admission {
        VmContext additions; /* functions and vIOMMUs only, nothing of it in the kernel */
        DemandSet demands;
        uint32_t guest_domains; /* per vIOMMU, as decided */
} Admission;

/* Nothing admitted: what an Admission is before and after. */
#define ADMISSION_NULL ((Admission){ .additions = { .iommufd = -1 } })

void admission_done(Admission *admission);

/* Fills in what the request leaves out (handover), and refuses what contradicts itself. Looks at the request alone.
 * Returns 0 or -EINVAL with reterr_problem. */
int admission_complete_request(VmRequest *request, const Config *config, Problem *reterr_problem);

/* Whether the configuration lets who asks (user and groups) have a VM of the request's tier on account of its tenant: 0, or a negative
 * errno with the reason. */
int admission_check_tenant(const Config *config, const VmRequest *request, Problem *reterr_problem);

/* Decides on a new VM. Returns 0, a negative errno with reterr_problem, or -ENOMEM. */
int admission_decide_vm(const AdmissionView *view, const VmRequest *request, Admission *ret,
                        Problem *reterr_problem);

/* Whether a VM that has @n_functions may have @n_more, as far as their number goes. Returns 0 or a negative errno with reterr_problem. */
int admission_check_number(const Config *config, size_t n_functions, size_t n_more,
                           Problem *reterr_problem);

/* Decides on more functions for a VM that has @context, and on @memory_bytes more that they pin. */
int admission_decide_functions(const AdmissionView *view, const VmContext *context,
                               uint32_t guest_domains, const FunctionRequest *functions,
                               size_t n_functions, uint64_t memory_bytes, Admission *ret,
                               Problem *reterr_problem);

/* Whether a tier can be had on this host at all: 0, or a negative errno with the reason. */
int admission_check_tier(const AdmissionView *view, VmTier tier, VmHandover handover,
                         Problem *reterr_problem);

/* Whether the tier's level on that host IOMMU has to be probed before a decision can be made. */
bool admission_wants_probe(const AdmissionView *view, VmTier tier, const PciAddress *function,
                           uint32_t *ret_host_iommu);

/* The vIOMMU that a VM would have on a host IOMMU, with where its charges lie. */
ContextViommu admission_viommu_on(const HostIommu *iommu);

/* Whether the node has free blocks enough for @n_viommus more, as the last scan saw it. */
int admission_check_contiguous(const AdmissionView *view, const DemandSet *demands,
                               Problem *reterr_problem);
