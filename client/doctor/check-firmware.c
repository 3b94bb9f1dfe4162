/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processor, IVRS table, and what the host IOMMUs can by EFR, EFR2 and the VSC capability.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "doctor/listing.h"
#include "doctor/parse.h"

static void check_processor(const Facts *facts, Findings *out) {
        const Blob *b = &facts->firmware.processors;
        char vendor[32];

        if (b->error < 0)
                finding_add_unreadable(out, FINDING_FIRMWARE_PROCESSOR, "/proc/cpuinfo", b->error);
        else if (!processor_vendor(b->data, vendor, sizeof(vendor)))
                finding_add(out, FINDING_FIRMWARE_PROCESSOR, LEVEL_UNCHECKED,
                            "/proc/cpuinfo does not name the processor's vendor, as those of x86 "
                            "do: what is theirs alone is not checked.");
        else if (facts_may_be_amd(facts))
                finding_add(out, FINDING_FIRMWARE_PROCESSOR, LEVEL_FINE, "The processor is %s.",
                            vendor);
        else {
                finding_add(out, FINDING_FIRMWARE_PROCESSOR, LEVEL_WARNING,
                            "The processor is %s, and only AMD's IOMMUs have virtual instances: "
                            "the other tiers can be had.",
                            vendor);
                finding_keeps_from(out, TIER_HARDWARE);
        }
}

/* How many host IOMMUs of AMD the daemon knows; 0 too where it does not tell. */
static size_t count_amd(const BusFacts *b) {
        size_t n = 0;

        for (size_t i = 0; i < b->n_hosts; i++)
                n += streq(b->hosts[i].vendor, "amd");
        return n;
}

static void check_ivrs(const Facts *facts, Findings *out) {
        const Blob *b = &facts->firmware.ivrs;
        size_t n_amd = count_amd(&facts->bus);
        IvrsSummary s;

        if (b->error == -ENOENT) {
                bool has_others = facts->bus.n_hosts > 0;

                finding_add(out, FINDING_FIRMWARE_IVRS, has_others ? LEVEL_WARNING : LEVEL_FAULT,
                            "The firmware has no IVRS table, by which the kernel finds AMD's "
                            "IOMMUs: AMD-Vi is not there or switched off in the firmware's setup.");
                finding_keeps_from(out, has_others ? TIER_HARDWARE : TIERS_ALL);
                finding_mend(out, MEND_FIRMWARE);
        } else if (b->error < 0)
                finding_add_unreadable(out, FINDING_FIRMWARE_IVRS, "/sys/firmware/acpi/tables/IVRS",
                                       b->error);
        else if (ivrs_summarize((const uint8_t *)b->data, b->size, &s) < 0 || s.is_damaged)
                finding_add(out, FINDING_FIRMWARE_IVRS, LEVEL_WARNING,
                            "The IVRS table is damaged (its lengths or its sum are wrong): the "
                            "kernel may miss IOMMUs, and the daemon aliases of functions. Update "
                            "the firmware.");
        else if (facts->bus.n_hosts > 0 && n_amd != s.n_iommus) {
                finding_add(out, FINDING_FIRMWARE_IVRS, LEVEL_WARNING,
                            "The IVRS table describes other IOMMUs (%u) than the kernel has (%zu): "
                            "what is "
                            "behind those that it lacks cannot be assigned. The kernel's log says "
                            "why.",
                            s.n_iommus, n_amd);
                finding_mend(out, "journalctl -k --grep AMD-Vi");
        } else
                finding_add(out, FINDING_FIRMWARE_IVRS, LEVEL_FINE,
                            "IOMMUs that the IVRS table describes: %u%s.", s.n_iommus,
                            s.has_features ? "" : ", without their features");
}

static bool is_switched_off(const Facts *facts) {
        return facts_command_line_has(facts, "iommu", "off") ||
               (facts_may_be_amd(facts) && facts_command_line_has(facts, "amd_iommu", "off")) ||
               (facts_may_be_intel(facts) && facts_command_line_has(facts, "intel_iommu", "off"));
}

/* Whether the kernel drives Intel's IOMMUs without a word on its command line. With the second symbol, which is Debian's,
 * all but that of the graphics. */
static bool is_on_by_default(const KernelFacts *k) {
        return k->config.error == 0 &&
               (kconfig_get(k->config.data, "INTEL_IOMMU_DEFAULT_ON") == 'y' ||
                kconfig_get(k->config.data, "INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF") == 'y');
}

static bool may_want_word(const Facts *facts) {
        return facts_may_be_intel(facts) && !facts_may_be_amd(facts) &&
               facts->kernel.command_line.error == 0 &&
               !facts_command_line_has(facts, "intel_iommu", "on") &&
               !is_on_by_default(&facts->kernel);
}

static void check_no_iommus(const Facts *facts, Findings *out) {
        bool is_off = is_switched_off(facts), wants_word = !is_off && may_want_word(facts);

        finding_add(out, FINDING_FIRMWARE_IOMMUS, LEVEL_FAULT,
                    "The kernel drives no IOMMU: no function can be assigned to a VM. %s",
                    is_off       ? "It was told not to, on its command line."
                    : wants_word ? "Some kernels do so only when booted with intel_iommu=on; "
                                   "otherwise switch VT-d on in the firmware's setup."
                                 : "Switch the IOMMU (AMD-Vi, VT-d) on in the firmware's setup.");
        finding_keeps_from(out, TIERS_ALL);
        finding_mend(out, is_off || wants_word ? MEND_COMMAND_LINE : MEND_FIRMWARE);
}

static void check_iommus(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;

        if (b->hosts_failure.exit_code != CLIENT_EXIT_OK)
                finding_add_unanswered(out, FINDING_FIRMWARE_IOMMUS, "the host IOMMUs",
                                       &b->hosts_failure);
        else if (b->n_hosts == 0)
                check_no_iommus(facts, out);
        else
                finding_add(out, FINDING_FIRMWARE_IOMMUS, LEVEL_FINE,
                            "Host IOMMUs: %zu, of AMD: %zu.", b->n_hosts, count_amd(b));
}

static bool has_feature(const BusHost *h, const char *feature) {
        for (size_t i = 0; i < h->features.n; i++)
                if (streq(h->features.items[i], feature))
                        return true;
        return false;
}

static void check_nesting(const BusHost *h, Findings *out) {
        bool gt = has_feature(h, "gt"), gio = has_feature(h, "gio"),
             gcr3trp = has_feature(h, "gcr3trp");

        if (gt && gio && gcr3trp) {
                finding_add(out, FINDING_FIRMWARE_NESTING, LEVEL_FINE,
                            "The IOMMUs can nest (EFR GTSup and GIOSup, EFR2 GCR3TRPMode).");
                return;
        }
        finding_add(out, FINDING_FIRMWARE_NESTING, LEVEL_WARNING,
                    "The IOMMUs cannot nest: EFR and EFR2 lack%s%s%s. Nothing but other hardware "
                    "changes that.",
                    gt ? "" : " GTSup", gio ? "" : " GIOSup", gcr3trp ? "" : " GCR3TRPMode");
        finding_keeps_from(out, TIER_HARDWARE);
}

static void check_viommu(const BusHost *h, Findings *out) {
        if (has_feature(h, "viommu")) {
                finding_add(out, FINDING_FIRMWARE_VIOMMU, LEVEL_FINE,
                            "The IOMMUs have virtual instances (EFR bit 55).");
                return;
        }
        finding_add(out, FINDING_FIRMWARE_VIOMMU, LEVEL_WARNING,
                    "The IOMMUs have no virtual instances: EFR bit 55 is not set. The firmware "
                    "may have it switched off; otherwise only other hardware changes that.");
        finding_keeps_from(out, TIER_HARDWARE);
        finding_mend(out, MEND_FIRMWARE);
}

static VscState space_state(const IommuSpace *s) {
        return vsc_find((const uint8_t *)s->config.data, s->config.size);
}

static void check_vsc_state(VscState state, const char *names, Findings *out) {
        switch (state) {
        case VSC_PRESENT:
                finding_add(out, FINDING_FIRMWARE_VSC, LEVEL_FINE,
                            "VF MMIO is switched on (VSC capability) on %s.", names);
                return;
        case VSC_HIDDEN:
                finding_add(out, FINDING_FIRMWARE_VSC, LEVEL_UNCHECKED,
                            "Only root may read as much of the PCI configuration space of %s as "
                            "to see the VSC capability.",
                            names);
                finding_mend(out, "sudo aviommuctl doctor");
                return;
        case VSC_DISABLED:
                finding_add(out, FINDING_FIRMWARE_VSC, LEVEL_WARNING,
                            "VF MMIO is switched off (VSC capability) on %s: the firmware has to "
                            "give it address space before the kernel can make vIOMMUs. Switch it "
                            "on in the firmware's setup, or update the firmware.",
                            names);
                break;
        case VSC_ABSENT:
                finding_add(out, FINDING_FIRMWARE_VSC, LEVEL_WARNING,
                            "There is no VSC capability, where VF MMIO would be told of, on %s: "
                            "the kernel cannot make vIOMMUs. Update the firmware.",
                            names);
                break;
        }
        finding_keeps_from(out, TIER_HARDWARE);
        finding_mend(out, MEND_FIRMWARE);
}

static void check_vsc(const FirmwareFacts *f, Findings *out) {
        static const VscState states[] = { VSC_PRESENT, VSC_HIDDEN, VSC_DISABLED, VSC_ABSENT };
        _cleanup_(listing_done) Listing unread = {};
        int error = 0;

        for (size_t k = 0; k < ELEMENTSOF(states); k++) {
                _cleanup_(listing_done) Listing l = {};
                _cleanup_free_ char *names = NULL;

                for (size_t i = 0; i < f->n_spaces; i++)
                        if (f->spaces[i].config.error == 0 &&
                            space_state(&f->spaces[i]) == states[k])
                                listing_add(&l, f->spaces[i].name);
                names = listing_text(&l);
                if (l.n > 0)
                        check_vsc_state(states[k], names, out);
        }
        for (size_t i = 0; i < f->n_spaces; i++)
                if (f->spaces[i].config.error < 0) {
                        error = f->spaces[i].config.error;
                        listing_add(&unread, f->spaces[i].name);
                }
        if (unread.n > 0) {
                _cleanup_free_ char *names = listing_text(&unread);

                finding_add(out, FINDING_FIRMWARE_VSC, LEVEL_UNCHECKED,
                            "The PCI configuration space of %s cannot be read: %s", names,
                            strerror(-error));
        }
}

/* EFR and EFR2 are the same for all of them. */
static const BusHost *first_amd(const BusFacts *b) {
        for (size_t i = 0; i < b->n_hosts; i++)
                if (streq(b->hosts[i].vendor, "amd"))
                        return &b->hosts[i];
        return NULL;
}

void check_firmware(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;
        const BusHost *amd = first_amd(b);

        check_processor(facts, out);
        if (facts_may_be_amd(facts))
                check_ivrs(facts, out);
        if (!bus_is_reachable(b))
                return;
        check_iommus(facts, out);
        if (!amd)
                return;
        if (amd->efr == 0) {
                finding_add(out, FINDING_FIRMWARE_NESTING, LEVEL_UNCHECKED,
                            "The kernel does not tell EFR and EFR2 of %s.", amd->name);
                return;
        }
        check_nesting(amd, out);
        check_viommu(amd, out);
        /* Without virtual instances there is nothing that it could speak of. */
        if (has_feature(amd, "viommu"))
                check_vsc(&facts->firmware, out);
}
