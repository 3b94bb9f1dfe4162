/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/admission.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/admission-function.h"
#include "ledger/quota.h"

void admission_done(Admission *admission) {
        context_done(&admission->additions);
        demand_set_done(&admission->demands);
}

static int check_distinct(const FunctionRequest *functions, size_t n_functions, Problem *p) {
        for (size_t i = 0; i < n_functions; i++)
                for (size_t j = 0; j < i; j++)
                        if (pci_address_equal(&functions[i].address, &functions[j].address))
                                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                                   "%s is named twice.",
                                                   PCI_ADDRESS_STRING(&functions[i].address));
        return 0;
}

int admission_complete_request(VmRequest *request, const Config *config, Problem *p) {
        if (!request->has_tier)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "The request names no tier: give \"hardware\", \"emulated\" or "
                                   "\"virtio\".");
        if (!request->has_handover) {
                request->handover = request->tier == TIER_HARDWARE ? HANDOVER_DAEMON : HANDOVER_VMM;
                request->has_handover = true;
        }
        if (request->tier == TIER_HARDWARE && request->handover == HANDOVER_NONE)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "The hardware tier needs an iommufd: handover \"none\" does not "
                                   "go with it.");
        if (request->tier != TIER_HARDWARE && request->has_guest_domains)
                return problem_set(
                        p, PROBLEM_INVALID_ARGUMENT,
                        "guest-domains belongs to the hardware tier; leave it out for tier \"%s\".",
                        vm_tier_to_string(request->tier));
        if (request->has_guest_domains &&
            (request->guest_domains == 0 || request->guest_domains > UINT16_MAX))
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "guest-domains is %u, but wants 1 to 65535.",
                                   request->guest_domains);
        if (!request->has_guest_domains)
                request->guest_domains = request->tier == TIER_HARDWARE
                                                 ? (uint32_t)config->default_guest_domains
                                                 : 0;
        if (request->prepared && request->handover != HANDOVER_VMM)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "A prepared context goes with handover \"vmm\", not \"%s\".",
                                   vm_handover_to_string(request->handover));
        if (request->leash_pidfd >= 0 && request->leash != LEASH_PIDFD)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "A leash-pidfd goes with leash \"pidfd\", not \"%s\".",
                                   leash_kind_to_string(request->leash));
        if (request->n_functions > config->max_functions_per_vm)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, request->n_functions,
                                           config->max_functions_per_vm,
                                           "Wanted %zu functions, a VM may have %" PRIu64
                                           " (MaxFunctionsPerVm=).",
                                           request->n_functions, config->max_functions_per_vm);

        return check_distinct(request->functions, request->n_functions, p);
}

static bool level_suffices(KernelLevel level, const Config *config) {
        return level == KERNEL_LEVEL_ACCELERATED ||
               (level == KERNEL_LEVEL_PLUMBING && config->allow_plumbing);
}

/* Judges the level of one host IOMMU for the hardware tier. */
static int check_level(const HostIommu *iommu, const Config *config, Problem *p) {
        if (level_suffices(iommu->level, config))
                return 0;
        if (iommu->level == KERNEL_LEVEL_UNKNOWN)
                return problem_set(p, PROBLEM_LEVEL_UNKNOWN,
                                   "What the kernel can do on %s is not known: %s Probe it with "
                                   "'aviommuctl host --probe', "
                                   "which resets one idle function behind it.",
                                   iommu->info.name, iommu->level_reason);
        if (iommu->level == KERNEL_LEVEL_PLUMBING)
                return problem_set(
                        p, PROBLEM_TIER_UNAVAILABLE,
                        "Tier \"hardware\" wants kernel level \"accelerated\" on %s, which is at "
                        "\"plumbing\": %s "
                        "Use another tier, or set AllowPlumbing=yes to build on it all the same.",
                        iommu->info.name, iommu->level_reason);
        return problem_set(p, PROBLEM_TIER_UNAVAILABLE,
                           "Tier \"hardware\" wants kernel level \"accelerated\" on %s, which is "
                           "at \"%s\": %s Use tier "
                           "\"emulated\" or \"virtio\".",
                           iommu->info.name, kernel_level_to_string(iommu->level),
                           iommu->level_reason);
}

static int check_hardware_tier(const AdmissionView *view, Problem *p) {
        size_t n;
        const HostIommu *iommus = inventory_get_iommus(view->inventory, &n);
        int r = 0;

        if (n == 0)
                return problem_set(p, PROBLEM_TIER_UNAVAILABLE,
                                   "Tier \"hardware\" wants an AMD IOMMU, this host has none that "
                                   "is switched on.");

        /* One that suffices is enough; else one that might; else the first one's reason. */
        for (size_t i = 0; i < n; i++)
                if (level_suffices(iommus[i].level, view->config))
                        return 0;
        for (size_t i = 0; i < n; i++)
                if (iommus[i].level == KERNEL_LEVEL_UNKNOWN)
                        return check_level(iommus + i, view->config, p);
        for (size_t i = 0; i < n; i++) {
                r = check_level(iommus + i, view->config, p);
                if (iommus[i].info.vendor == IOMMU_VENDOR_AMD)
                        break;
        }
        return r;
}

int admission_check_tier(const AdmissionView *view, VmTier tier, VmHandover handover, Problem *p) {
        const HostScan *scan = inventory_get_scan(view->inventory);

        if (handover != HANDOVER_NONE && scan->iommufd_error < 0)
                return problem_set(
                        p, PROBLEM_TIER_UNAVAILABLE,
                        "Handover \"%s\" wants an iommufd, but /dev/iommu cannot be opened: %s. %s",
                        vm_handover_to_string(handover), strerror(-scan->iommufd_error),
                        tier == TIER_HARDWARE ? "The hardware tier cannot be had without it."
                                              : "Ask for handover \"none\".");
        return tier == TIER_HARDWARE ? check_hardware_tier(view, p) : 0;
}

/* Whether a function or, as they would be reset with it, one of its VFs is somebody's. */
static bool is_held(const AdmissionView *view, const PciFunctionInfo *info) {
        const HostScan *scan = inventory_get_scan(view->inventory);

        for (size_t i = 0; i < scan->n_functions; i++)
                if (pci_function_is_virtual_of(scan->functions + i, info) &&
                    view->get_holder(view->userdata, &scan->functions[i].address))
                        return true;
        return view->get_holder(view->userdata, &info->address);
}

bool admission_wants_probe(const AdmissionView *view, VmTier tier, const PciAddress *function,
                           uint32_t *ret_host_iommu) {
        const PciFunctionInfo *info = inventory_find_function(view->inventory, function);
        const HostIommu *iommu = info ? inventory_find_iommu(view->inventory, info->host_iommu)
                                      : NULL;

        if (tier != TIER_HARDWARE || !iommu || iommu->level != KERNEL_LEVEL_UNKNOWN ||
            info->is_bridge || !pci_function_is_on_vfio(info) || is_held(view, info))
                return false;

        *ret_host_iommu = info->host_iommu;
        return true;
}

ContextViommu admission_viommu_on(const HostIommu *iommu) {
        return (ContextViommu){
                .host_iommu = iommu->info.index,
                .segment = iommu->info.address.segment,
                .numa_node = iommu->memory_node,
        };
}

/* Adds the vIOMMUs that the functions to be added need and @existing does not have. */
static int plan_viommus(const AdmissionView *view, const VmContext *existing, Admission *a,
                        Problem *p) {
        for (size_t i = 0; i < a->additions.n_functions; i++) {
                const ContextFunction *f = a->additions.functions + i;
                const HostIommu *iommu = inventory_find_iommu(view->inventory, f->host_iommu);
                ContextViommu v;
                int r;

                r = check_level(iommu, view->config, p);
                if (r < 0)
                        return r;
                if (context_find_viommu(existing, f->host_iommu) ||
                    context_find_viommu(&a->additions, f->host_iommu))
                        continue;

                v = admission_viommu_on(iommu);
                r = context_add_viommu(&a->additions, &v);
                if (r >= 0)
                        r = charge_for_viommu(&a->demands, &v, a->guest_domains);
                if (r < 0)
                        return r;
        }
        return 0;
}

int admission_check_contiguous(const AdmissionView *view, const DemandSet *demands, Problem *p) {
        for (size_t i = 0; i < demands->n_demands; i++) {
                const Demand *d = demands->demands + i;
                const NodeInfo *node = inventory_find_node(view->inventory, d->scope);

                /* Where it is not told, the kernel will say ENOMEM if it comes to that. */
                if (d->kind != RESOURCE_CONTIGUOUS_MEMORY || !node ||
                    node->free_contiguous_bytes == KERNEL_BYTES_UNKNOWN)
                        continue;
                if (d->amount > node->free_contiguous_bytes)
                        return problem_set_amounts(
                                p, PROBLEM_NO_CONTIGUOUS_MEMORY, d->amount,
                                node->free_contiguous_bytes,
                                "Wanted %" PRIu64 " KiB of contiguous memory on NUMA node%u for "
                                "vIOMMU tables, the node has %" PRIu64
                                " KiB free in large blocks: free or compact memory there.",
                                d->amount >> 10, d->scope, node->free_contiguous_bytes >> 10);
        }
        return 0;
}

int admission_check_tenant(const Config *config, const VmRequest *request, Problem *p) {
        static const unsigned bits[_TIER_MAX] = { [TIER_HARDWARE] = TIER_BIT_HARDWARE,
                                                  [TIER_EMULATED] = TIER_BIT_EMULATED,
                                                  [TIER_VIRTIO] = TIER_BIT_VIRTIO };
        const char *tenant = request->tenant;
        const PartyPolicy *t = policy_find_tenant(config->policy, tenant);

        if (!*tenant)
                return config->require_tenant
                               ? problem_set(p, PROBLEM_NO_SUCH_TENANT,
                                             "The request names no tenant, and RequireTenant=yes "
                                             "in aviommud.conf(5) wants one: give \"tenant\".")
                               : 0;
        /* Where there are no tenants in the configuration, a name is a name. */
        if (!t)
                return config->policy && config->policy->n_tenants > 0
                               ? problem_set(p, PROBLEM_NO_SUCH_TENANT,
                                             "There is no [Tenant %s] in aviommud.conf(5); "
                                             "'aviommuctl policy show' lists those there are.",
                                             tenant)
                               : 0;
        if (!tenant_may_be_used_by(t, request->uid, request->groups, request->n_groups))
                return problem_set(p, PROBLEM_ACCESS_DENIED,
                                   "uid %u may not act for tenant %s: Users= of [Tenant %s] in "
                                   "aviommud.conf(5) does not name it, and Groups= none of its "
                                   "groups.",
                                   request->uid, tenant, tenant);
        if (t->tiers && !(t->tiers & bits[request->tier]))
                return problem_set(p, PROBLEM_TIER_NOT_ALLOWED,
                                   "Tenant %s may not have tier \"%s\": use another, or add it to "
                                   "Tiers= of [Tenant %s] in aviommud.conf(5).",
                                   tenant, vm_tier_to_string(request->tier), tenant);
        return 0;
}

static int decide_amounts(const AdmissionView *view, const QuotaSubject *subject, size_t n_vms,
                          size_t n_reservations, Admission *a, Problem *p) {
        size_t n_accounts;
        const LedgerAccount *accounts = ledger_get_accounts(view->ledger, &n_accounts);
        int r;

        for (size_t i = 0; i < a->additions.n_functions; i++) {
                r = charge_for_function(&a->demands, a->additions.tier);
                if (r < 0)
                        return r;
        }
        r = quotas_decide(
                view, subject,
                &(QuotaWish){ n_vms, a->additions.n_functions, &a->demands, n_reservations }, p);
        if (r >= 0)
                r = quota_decide(accounts, n_accounts, &a->demands, p);
        return r < 0 ? r : admission_check_contiguous(view, &a->demands, p);
}

int admission_decide_vm(const AdmissionView *view, const VmRequest *request, Admission *ret,
                        Problem *p) {
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        const QuotaSubject subject = { .tenant = request->tenant, .uid = request->uid };
        Problem tier_problem = {};
        VmContext nothing;
        int r;

        r = admission_check_tenant(view->config, request, p);
        if (r < 0)
                return r;
        a.guest_domains = request->guest_domains;
        context_init(&a.additions, request->tier, request->handover);
        context_init(&nothing, request->tier, request->handover);

        /* Whether an IOMMU that nobody has asked yet would do is said of the functions behind it. */
        r = admission_check_tier(view, request->tier, request->handover, &tier_problem);
        if (r < 0 && !(tier_problem.kind == PROBLEM_LEVEL_UNKNOWN && request->n_functions > 0)) {
                if (p)
                        *p = tier_problem;
                return r;
        }

        r = admission_plan_functions(view, &nothing, request->functions, request->n_functions,
                                     &a.additions, p);
        if (r >= 0 && request->tier == TIER_HARDWARE)
                r = plan_viommus(view, &nothing, &a, p);
        if (r >= 0)
                r = charge_for_vm(&a.demands, request->memory);
        if (r >= 0)
                r = decide_amounts(view, &subject, 1, request->for_later, &a, p);
        if (r < 0)
                return r;

        *ret = a;
        a = ADMISSION_NULL;
        return 0;
}

int admission_check_number(const Config *config, size_t n_functions, size_t n_more, Problem *p) {
        uint64_t limit = config->max_functions_per_vm;

        if (n_functions + n_more <= limit)
                return 0;
        return problem_set_amounts(
                p, PROBLEM_LIMITS_EXCEEDED, n_functions + n_more, limit,
                "The VM has %zu functions and wants %zu more, but may have %" PRIu64
                " (MaxFunctionsPerVm=).",
                n_functions, n_more, limit);
}

int admission_decide_functions(const AdmissionView *view, const VmContext *context,
                               uint32_t guest_domains, const FunctionRequest *functions,
                               size_t n_functions, uint64_t memory_bytes, Admission *ret,
                               Problem *p) {
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        int r;

        a.guest_domains = guest_domains;
        context_init(&a.additions, context->tier, context->handover);
        r = admission_check_number(view->config, context->n_functions, n_functions, p);
        if (r < 0)
                return r;
        r = check_distinct(functions, n_functions, p);
        if (r >= 0)
                r = admission_plan_functions(view, context, functions, n_functions, &a.additions,
                                             p);
        if (r >= 0 && context->tier == TIER_HARDWARE)
                r = plan_viommus(view, context, &a, p);
        if (r >= 0)
                r = charge_for_memory(&a.demands, memory_bytes);
        if (r >= 0)
                r = decide_amounts(view, &view->subject, 0, 0, &a, p);
        if (r < 0)
                return r;

        *ret = a;
        a = ADMISSION_NULL;
        return 0;
}
