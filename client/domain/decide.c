/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/decide.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* What a sentence tells somebody to type for the domain: its name, if a shell takes it as it is, or its UUID. */
typedef struct DomainLabel {
        char text[65];
} DomainLabel;

static DomainLabel domain_label(const Domain *domain) {
        static const char plain[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-";
        const char *name = strempty(domain->name);
        size_t n = strspn(name, plain);
        DomainLabel label = { "DOMAIN" };

        if (n > 0 && n < sizeof(label.text) && !name[n] && *name != '-')
                (void)strcpy(label.text, name);
        else if (!sd_id128_is_null(domain->uuid))
                (void)sd_id128_to_uuid_string(domain->uuid, label.text);
        return label;
}

/* Returns false: a tier with a reason against it is none. */
static bool against(char reason[static DOMAIN_REASON_SIZE], const char *format, ...) _printf_(2, 3);

static bool against(char reason[static DOMAIN_REASON_SIZE], const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(reason, DOMAIN_REASON_SIZE, format, ap);
        va_end(ap);
        return false;
}

/* libvirt gives an <iommu> to q35 alone, among the machines for PCs. */
static bool is_i440fx(const Domain *domain) {
        const char *machine = strempty(domain->machine);

        return streq(machine, "pc") || strncmp(machine, "pc-i440fx-", strlen("pc-i440fx-")) == 0;
}

/* What has to be changed where the IOMMU is another one than that of @tier. */
static bool other_iommu(const Domain *domain, DomainTier tier,
                        char reason[static DOMAIN_REASON_SIZE]) {
        const char *name = domain_tier_to_string(tier);
        DomainLabel label = domain_label(domain);

        switch (domain->iommu) {
        case DOMAIN_IOMMU_NONE:
                return against(reason,
                               "The domain has no <iommu>. \"aviommuctl libvirt apply %s "
                               "--tier=%s\" gives it one.",
                               label.text, name);
        case DOMAIN_IOMMU_SEVERAL:
                return against(reason, "The domain has several <iommu>, and an x86 VM can have "
                                       "one. Remove all but one.");
        default:
                return against(
                        reason,
                        "The domain's <iommu> has model=\"%.32s\", which is not of this tier. "
                        "\"aviommuctl libvirt apply %s --tier=%s\" replaces it.",
                        strempty(domain->iommu_model), label.text, name);
        }
}

/* A guest finds its IOMMU in ACPI's tables. */
static bool has_acpi(const Domain *domain, DomainTier tier,
                     char reason[static DOMAIN_REASON_SIZE]) {
        DomainLabel label = domain_label(domain);

        if (domain->acpi)
                return true;
        return against(reason,
                       "The domain's <features> have no <acpi/>, without which a guest does not "
                       "find its IOMMU. \"aviommuctl libvirt apply %s --tier=%s\" adds it.",
                       label.text, domain_tier_to_string(tier));
}

bool domain_has_too_many_vcpus(const Domain *domain, char reason[static DOMAIN_REASON_SIZE]) {
        if (domain->n_vcpus <= VCPUS_WITHOUT_X2APIC)
                return false;
        (void)against(reason,
                      "The domain has %" PRIu32 " vCPUs, and over %i want interrupt remapping, "
                      "which virtio-iommu has not: take the tier emulated.",
                      domain->n_vcpus, VCPUS_WITHOUT_X2APIC);
        return true;
}

static bool has_virtio(const Domain *domain, char reason[static DOMAIN_REASON_SIZE]) {
        if (domain->iommu != DOMAIN_IOMMU_VIRTIO)
                return other_iommu(domain, DOMAIN_TIER_VIRTIO, reason);
        return has_acpi(domain, DOMAIN_TIER_VIRTIO, reason) &&
               !domain_has_too_many_vcpus(domain, reason);
}

static bool has_emulated(const Domain *domain, char reason[static DOMAIN_REASON_SIZE]) {
        DomainLabel label = domain_label(domain);

        if (domain->iommu != DOMAIN_IOMMU_AMD)
                return other_iommu(domain, DOMAIN_TIER_EMULATED, reason);
        if (domain->has_passthrough)
                return against(reason,
                               "<iommu model=\"amd\"> has passthrough=, with which the guest's "
                               "page tables do not "
                               "count, and QEMU 11 does not start. \"aviommuctl libvirt apply %s "
                               "--tier=emulated\" "
                               "removes it.",
                               label.text);
        if (!domain->dma_remap)
                return against(reason,
                               "<iommu model=\"amd\"> is without DMA remapping: QEMU's command "
                               "line lacks -global "
                               "amd-iommu.dma-remap=on. \"aviommuctl libvirt apply %s "
                               "--tier=emulated\" adds it.",
                               label.text);
        if (!domain->intremap)
                return against(reason,
                               "<iommu model=\"amd\"> is without interrupt remapping: its <driver> "
                               "lacks intremap=\"on\". \"aviommuctl libvirt apply %s "
                               "--tier=emulated\" adds it.",
                               label.text);
        if (domain->n_vcpus > VCPUS_WITHOUT_X2APIC && !domain->xtsup)
                return against(reason,
                               "The domain has %" PRIu32 " vCPUs, and over %i want xtsup=\"on\" in "
                               "the <driver> of <iommu model=\"amd\">. \"aviommuctl libvirt apply "
                               "%s --tier=emulated\" adds it.",
                               domain->n_vcpus, VCPUS_WITHOUT_X2APIC, label.text);
        return has_acpi(domain, DOMAIN_TIER_EMULATED, reason);
}

bool domain_has_tier(const Domain *domain, DomainTier tier,
                     char reason[static DOMAIN_REASON_SIZE]) {
        if (tier == DOMAIN_TIER_HARDWARE)
                return against(reason, "This tier wants a VMM that takes over AMD's hardware "
                                       "vIOMMU, and no QEMU that "
                                       "libvirt can start does: its amd-iommu is emulated. Ask for "
                                       "emulated or virtio.");
        if (is_i440fx(domain))
                return against(reason,
                               "The domain's machine is \"%.64s\", which cannot have an <iommu>; "
                               "machine=\"q35\" can.",
                               domain->machine);
        if (tier == DOMAIN_TIER_EMULATED)
                return has_emulated(domain, reason);
        return has_virtio(domain, reason);
}

/* Puts @tier with the candidates, or with the reasons. */
static void weigh(const Domain *domain, DomainTier tier, DomainDecision *d) {
        DomainReason reason = { .tier = tier };

        if (domain_has_tier(domain, tier, reason.text))
                d->candidates[d->n_candidates++] = tier;
        else
                d->reasons[d->n_reasons++] = reason;
}

/* What a domain that runs without a vIOMMU of aviommud's is counted under: the tier that it has, if it has one. */
static DomainTier tier_to_count(const Domain *domain) {
        char reason[DOMAIN_REASON_SIZE];

        return domain_has_tier(domain, DOMAIN_TIER_EMULATED, reason) ? DOMAIN_TIER_EMULATED
                                                                     : DOMAIN_TIER_VIRTIO;
}

static void account(const Domain *domain, DomainDecision *d) {
        d->verdict = DOMAIN_ACCOUNTED;
        d->candidates[0] = tier_to_count(domain);
        d->n_candidates = 1;
}

static void decide_unasked(const Domain *domain, const LibvirtConfig *config, DomainDecision *d) {
        if (domain->n_functions == 0 || config->unasked == UNASKED_IGNORE)
                return;
        if (config->unasked == UNASKED_ACCOUNT) {
                account(domain, d);
                return;
        }

        d->verdict = DOMAIN_REFUSED;
        d->n_reasons = 1;
        d->reasons[0].tier = _DOMAIN_TIER_MAX;
        (void)against(d->reasons[0].text,
                      "The domain has PCI hostdevs and asks for no vIOMMU, which Unasked=refuse in "
                      "libvirt.conf does not "
                      "allow. \"aviommuctl libvirt apply %s\" makes it ask.",
                      domain_label(domain).text);
}

void domain_decide(const Domain *domain, const LibvirtConfig *config, DomainDecision *ret) {
        DomainDecision d = {
                .verdict = DOMAIN_LEFT_ALONE,
                .handover = domain_takes_context(domain) ? "vmm" : "none",
        };

        if (!domain->asks)
                decide_unasked(domain, config, &d);
        else {
                if (domain->is_auto)
                        for (DomainTier tier = 0; tier < _DOMAIN_TIER_MAX; tier++)
                                weigh(domain, tier, &d);
                for (size_t i = 0; i < domain->n_tiers; i++)
                        weigh(domain, domain->tiers[i], &d);

                if (d.n_candidates > 0)
                        d.verdict = DOMAIN_CANDIDATES;
                else if (domain->runs_otherwise)
                        account(domain, &d);
                else
                        d.verdict = DOMAIN_REFUSED;
        }

        *ret = d;
}

void domain_decide_late(const Domain *domain, const LibvirtConfig *config, DomainLate *ret) {
        DomainLate late = { .tier = tier_to_count(domain) };
        DomainDecision d;

        domain_decide(domain, config, &d);
        late.is_counted = d.verdict != DOMAIN_LEFT_ALONE;
        (void)snprintf(late.tenant, sizeof(late.tenant), "%s", strempty(domain->tenant));
        for (size_t i = d.n_candidates; i-- > 0;)
                if (d.candidates[i] != DOMAIN_TIER_HARDWARE)
                        late.tier = d.candidates[i];
        if (d.verdict == DOMAIN_REFUSED)
                memcpy(late.objection, d.reasons[0].text, sizeof(late.objection));
        *ret = late;
}
