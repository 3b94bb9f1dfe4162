/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which tier a domain is to run on: one row, one branch. */

#include "unit.h"

#include "domain/decide.h"

#define HARDWARE DOMAIN_TIER_HARDWARE
#define EMULATED DOMAIN_TIER_EMULATED
#define VIRTIO   DOMAIN_TIER_VIRTIO
#define NO_TIER  _DOMAIN_TIER_MAX

static DomainFunction functions[] = { { .iommufd = true }, { .iommufd = false } };

static char name[] = "web", amd[] = "amd", virtio[] = "virtio", intel[] = "intel",
            group[] = "aviommu", q35[] = "pc-q35-11.1", pc[] = "pc", i440fx[] = "pc-i440fx-9.0";

/* What its XML has. */
#define NO_IOMMU   .name = name, .acpi = true
#define AMD        NO_IOMMU, .iommu = DOMAIN_IOMMU_AMD, .iommu_model = amd
#define EMULATION  AMD, .dma_remap = true, .intremap = true
#define VIRTIO_XML NO_IOMMU, .iommu = DOMAIN_IOMMU_VIRTIO, .iommu_model = virtio
#define INTEL      NO_IOMMU, .iommu = DOMAIN_IOMMU_OTHER, .iommu_model = intel
#define EMULATION_NO_ACPI                                                                          \
        .name = name, .iommu = DOMAIN_IOMMU_AMD, .iommu_model = amd, .dma_remap = true,            \
        .intremap = true
#define VIRTIO_NO_ACPI .name = name, .iommu = DOMAIN_IOMMU_VIRTIO, .iommu_model = virtio
#define SEVERAL        NO_IOMMU, .iommu = DOMAIN_IOMMU_SEVERAL, .iommu_model = amd

#define PASSED  .functions = functions, .n_functions = 1
#define CONTEXT .iommufd = true, .fdgroup = group

/* What it asks for. */
#define AUTO            .asks = true, .is_auto = true
#define ASKS(first)     .asks = true, .tiers = { first }, .n_tiers = 1
#define ASKS_2(a, b)    .asks = true, .tiers = { a, b }, .n_tiers = 2
#define ASKS_3(a, b, c) .asks = true, .tiers = { a, b, c }, .n_tiers = 3
#define CANDIDATES(...)                                                                            \
        .candidates = { __VA_ARGS__ }, .n_candidates = ELEMENTSOF(((int[]){ __VA_ARGS__ }))
#define REASON(tier, says) { tier, says }

static const struct Case {
        const char *what;
        Domain domain;
        Unasked unasked;
        DomainVerdict verdict;
        DomainTier candidates[_DOMAIN_TIER_MAX];
        size_t n_candidates;
        struct {
                DomainTier tier;
                const char *says;
        } reasons[_DOMAIN_TIER_MAX]; /* those that have words */
        const char *handover;
} cases[] = {
        /* nothing is asked */
        { "nothing", { NO_IOMMU }, UNASKED_ACCOUNT, DOMAIN_LEFT_ALONE },
        { "nothing, and it would be refused", { NO_IOMMU }, UNASKED_REFUSE, DOMAIN_LEFT_ALONE },
        { "an IOMMU and no function", { EMULATION }, UNASKED_ACCOUNT, DOMAIN_LEFT_ALONE },
        { "ignored", { EMULATION, PASSED }, UNASKED_IGNORE, DOMAIN_LEFT_ALONE },
        { "accounted",
          { NO_IOMMU, PASSED },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO) },
        { "accounted as it is, emulated",
          { EMULATION, PASSED },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(EMULATED) },
        { "accounted as it is, virtio",
          { VIRTIO_XML, PASSED },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO) },
        { "accounted with half an IOMMU",
          { AMD, PASSED },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO) },
        { "accounted with another's",
          { INTEL, PASSED },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO) },
        { "accounted with the agent's context",
          { NO_IOMMU, PASSED, CONTEXT },
          UNASKED_ACCOUNT,
          DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO),
          .handover = "vmm" },
        { "has to ask",
          { EMULATION, PASSED },
          UNASKED_REFUSE,
          DOMAIN_REFUSED,
          .reasons = { REASON(NO_TIER, "\"aviommuctl libvirt apply web\"") } },

        /* auto */
        { "auto, emulated",
          { EMULATION, PASSED, AUTO },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED),
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(VIRTIO, "model=\"amd\"") } },
        { "auto, virtio",
          { VIRTIO_XML, PASSED, AUTO },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO),
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(EMULATED, "model=\"virtio\"") } },
        { "auto, none",
          { NO_IOMMU, PASSED, AUTO },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(EMULATED, "has no <iommu>"),
                       REASON(VIRTIO, "has no <iommu>") } },
        { "auto, none, without a function",
          { NO_IOMMU, AUTO },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(EMULATED, "apply web --tier=emulated"),
                       REASON(VIRTIO, "apply web --tier=virtio") } },
        { "auto, or else run",
          { NO_IOMMU, PASSED, AUTO, .runs_otherwise = true },
          .verdict = DOMAIN_ACCOUNTED,
          CANDIDATES(VIRTIO),
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(EMULATED, "has no <iommu>"),
                       REASON(VIRTIO, "has no <iommu>") } },
        { "auto, and what is not asked for does not matter",
          { VIRTIO_XML, AUTO },
          UNASKED_REFUSE,
          DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO),
          .reasons = { REASON(HARDWARE, ""), REASON(EMULATED, "") } },

        /* by name */
        { "emulated",
          { EMULATION, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
        { "emulated, on q35, without a function",
          { EMULATION, .machine = q35, ASKS(EMULATED) },
          UNASKED_IGNORE,
          DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
        { "virtio",
          { VIRTIO_XML, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO) },
        { "hardware",
          { EMULATION, PASSED, ASKS(HARDWARE) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(HARDWARE, "Ask for emulated or virtio.") } },
        { "hardware, or else run",
          { EMULATION, PASSED, ASKS(HARDWARE), .runs_otherwise = true },
          .verdict = DOMAIN_ACCOUNTED,
          CANDIDATES(EMULATED),
          .reasons = { REASON(HARDWARE, "no QEMU") } },
        { "emulated, with no <iommu>",
          { NO_IOMMU, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "has no <iommu>") } },
        { "emulated, with virtio",
          { VIRTIO_XML, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "model=\"virtio\", which is not of this tier") } },
        { "virtio, with amd",
          { EMULATION, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "model=\"amd\", which is not of this tier") } },
        { "virtio, with intel",
          { INTEL, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "model=\"intel\"") } },
        { "emulated, with several",
          { SEVERAL, PASSED, .dma_remap = true, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "several <iommu>") } },
        { "virtio, with several",
          { SEVERAL, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "several <iommu>") } },
        { "emulated, without dma-remap",
          { AMD, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "amd-iommu.dma-remap=on") } },
        { "emulated, with passthrough=",
          { EMULATION, .has_passthrough = true, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "has passthrough=") } },
        { "emulated, without interrupt remapping",
          { AMD, .dma_remap = true, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "lacks intremap=\"on\"") } },
        { "emulated, without ACPI",
          { EMULATION_NO_ACPI, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "no <acpi/>") } },
        { "emulated, with many vCPUs",
          { EMULATION, .n_vcpus = 256, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "has 256 vCPUs, and over 255 want xtsup=\"on\"") } },
        { "emulated, with as many as there can be",
          { EMULATION, .n_vcpus = 255, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
        { "emulated, with many vCPUs and xtsup",
          { EMULATION, .n_vcpus = 256, .xtsup = true, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
        { "virtio, with many vCPUs",
          { VIRTIO_XML, .n_vcpus = 256, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "take the tier emulated") } },
        { "virtio, with as many as there can be",
          { VIRTIO_XML, .n_vcpus = 255, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO) },
        { "virtio, without ACPI",
          { VIRTIO_NO_ACPI, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "no <acpi/>") } },
        { "emulated, on i440FX",
          { EMULATION, .machine = i440fx, PASSED, ASKS(EMULATED) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(EMULATED, "machine is \"pc-i440fx-9.0\"") } },
        { "virtio, on pc",
          { VIRTIO_XML, .machine = pc, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "machine is \"pc\"") } },
        { "virtio, on q35",
          { VIRTIO_XML, .machine = q35, PASSED, ASKS(VIRTIO) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO) },

        /* with fallbacks */
        { "the first fallback",
          { VIRTIO_XML, PASSED, ASKS_2(EMULATED, VIRTIO) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(VIRTIO),
          .reasons = { REASON(EMULATED, "model=\"virtio\"") } },
        { "the second fallback",
          { EMULATION, PASSED, ASKS_3(HARDWARE, VIRTIO, EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED),
          .reasons = { REASON(HARDWARE, "no QEMU"), REASON(VIRTIO, "model=\"amd\"") } },
        { "no fallback",
          { NO_IOMMU, PASSED, ASKS_3(VIRTIO, EMULATED, HARDWARE) },
          .verdict = DOMAIN_REFUSED,
          .reasons = { REASON(VIRTIO, "no <iommu>"), REASON(EMULATED, "no <iommu>"),
                       REASON(HARDWARE, "no QEMU") } },

        /* handover */
        { "the agent's context",
          { EMULATION, PASSED, CONTEXT, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED),
          .handover = "vmm" },
        { "an iommufd of libvirt's",
          { EMULATION, PASSED, .iommufd = true, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
        { "one function on a group",
          { EMULATION, .functions = functions, .n_functions = 2, CONTEXT, ASKS(EMULATED) },
          .verdict = DOMAIN_CANDIDATES,
          CANDIDATES(EMULATED) },
};

static void decisions(void **state) {
        (void)state;
        for_each_case(c, cases) {
                LibvirtConfig config;
                DomainDecision d;
                size_t n = 0;

                libvirt_config_init(&config);
                config.unasked = c->unasked;
                memset(&d, 0x5a, sizeof(d));
                domain_decide(&c->domain, &config, &d);

                if (d.verdict != c->verdict || d.n_candidates != c->n_candidates ||
                    !streq(d.handover, c->handover ?: "none"))
                        fail_msg("%s: verdict %i, %zu candidates, handover %s", c->what,
                                 (int)d.verdict, d.n_candidates, d.handover);
                for (size_t i = 0; i < c->n_candidates; i++)
                        if (d.candidates[i] != c->candidates[i])
                                fail_msg("%s: candidate %zu is %i", c->what, i,
                                         (int)d.candidates[i]);
                while (n < ELEMENTSOF(c->reasons) && c->reasons[n].says)
                        n++;
                if (d.n_reasons != n)
                        fail_msg("%s: %zu reasons", c->what, d.n_reasons);
                for (size_t i = 0; i < n; i++) {
                        if (d.reasons[i].tier != c->reasons[i].tier)
                                fail_msg("%s: reason %zu is of %i", c->what, i,
                                         (int)d.reasons[i].tier);
                        assert_contains(d.reasons[i].text, c->reasons[i].says);
                }
        }
}

/* A reason is a whole sentence, however long the names in it are. */
static void reasons_are_whole(void **state) {
        char long_name[1000] = "", long_model[1000] = "", long_machine[1000] = "pc-i440fx-";
        LibvirtConfig config;
        Domain domain = { .name = long_name, .machine = long_machine, .iommu_model = long_model };
        DomainDecision d;

        (void)state;
        libvirt_config_init(&config);
        config.unasked = UNASKED_REFUSE;
        memset(long_name, 'n', 64);
        memset(long_model, 'm', sizeof(long_model) - 1);
        memset(long_machine + strlen(long_machine), 'c', 900);
        for (unsigned round = 0; round < 2; round++, long_machine[0] = 'q')
                for (int iommu = 0; iommu <= DOMAIN_IOMMU_SEVERAL; iommu++)
                        for (unsigned more = 0; more < 64; more++) {
                                domain.iommu = (DomainIommu)iommu;
                                domain.has_passthrough = more & 1;
                                domain.asks = domain.is_auto = more & 2;
                                domain.acpi = more & 4;
                                domain.dma_remap = more & 8;
                                domain.intremap = more & 16;
                                domain.n_vcpus = more & 32 ? UINT32_MAX : 1;
                                domain.functions = functions;
                                domain.n_functions = 1;
                                domain_decide(&domain, &config, &d);
                                for (size_t i = 0; i < d.n_reasons; i++) {
                                        size_t n = strlen(d.reasons[i].text);

                                        if (n == 0 || d.reasons[i].text[n - 1] != '.')
                                                fail_msg("cut: %s", d.reasons[i].text);
                                }
                        }
}

/* What is to be typed can be typed: no name that a shell would take apart. */
static void labels(void **state) {
        static const struct {
                const char *name, *uuid, *label;
        } labels_of[] = {
                { "web-1.example_org+x", NULL, "apply web-1.example_org+x --tier" },
                { "web 1", "00112233445566778899aabbccddeeff",
                  "apply 00112233-4455-6677-8899-aabbccddeeff --tier" },
                { "$(reboot)", NULL, "apply DOMAIN --tier" },
                { "-x", NULL, "apply DOMAIN --tier" },
                { "", NULL, "apply DOMAIN --tier" },
                { NULL, NULL, "apply DOMAIN --tier" },
                { "n234567890123456789012345678901234567890123456789012345678901234",
                  "00112233445566778899aabbccddeeff",
                  "apply n234567890123456789012345678901234567890123456789012345678901234 --tier" },
                { "n2345678901234567890123456789012345678901234567890123456789012345",
                  "00112233445566778899aabbccddeeff",
                  "apply 00112233-4455-6677-8899-aabbccddeeff --tier" },
        };

        (void)state;
        for_each_case(l, labels_of) {
                Domain domain = { .name = (char *)l->name };
                char reason[DOMAIN_REASON_SIZE] = "";

                if (l->uuid)
                        assert_ok(sd_id128_from_string(l->uuid, &domain.uuid));
                assert_false(domain_has_tier(&domain, DOMAIN_TIER_VIRTIO, reason));
                assert_contains(reason, l->label);
        }
}

/* Those that run already are counted, and never as what they cannot be. */
static void late(void **state) {
        static char acme[] = "acme";
        static const struct {
                const char *what;
                Domain domain;
                Unasked unasked;
                bool is_counted;
                DomainTier tier;
                const char *objection; /* NULL: none */
        } lates[] = {
                { "unasked", { NO_IOMMU, PASSED }, UNASKED_ACCOUNT, true, VIRTIO, NULL },
                { "emulated", { EMULATION, PASSED }, UNASKED_ACCOUNT, true, EMULATED, NULL },
                { "ignored", { EMULATION, PASSED }, UNASKED_IGNORE, false, EMULATED, NULL },
                { "refused",
                  { EMULATION, PASSED },
                  UNASKED_REFUSE,
                  true,
                  EMULATED,
                  "Unasked=refuse" },
                { "nothing", { NO_IOMMU }, UNASKED_ACCOUNT, false, VIRTIO, NULL },
                { "asking", { EMULATION, PASSED, AUTO }, UNASKED_IGNORE, true, EMULATED, NULL },
                { "asking, of a tenant",
                  { EMULATION, PASSED, AUTO, .tenant = acme },
                  UNASKED_ACCOUNT,
                  true,
                  EMULATED,
                  NULL },
                { "asking, virtio",
                  { VIRTIO_XML, PASSED, ASKS_2(EMULATED, VIRTIO) },
                  UNASKED_REFUSE,
                  true,
                  VIRTIO,
                  NULL },
                { "asking in vain",
                  { NO_IOMMU, PASSED, ASKS(EMULATED) },
                  UNASKED_ACCOUNT,
                  true,
                  VIRTIO,
                  "has no <iommu>" },
                { "asking for hardware",
                  { EMULATION, PASSED, ASKS(HARDWARE) },
                  UNASKED_ACCOUNT,
                  true,
                  EMULATED,
                  "hardware" },
                { "asking in vain, and it may",
                  { NO_IOMMU, PASSED, ASKS(EMULATED), .runs_otherwise = true },
                  UNASKED_ACCOUNT,
                  true,
                  VIRTIO,
                  NULL },
        };

        (void)state;
        for_each_case(l, lates) {
                LibvirtConfig config = { .unasked = l->unasked };
                DomainLate d;

                domain_decide_late(&l->domain, &config, &d);
                if (d.is_counted != l->is_counted || d.tier != l->tier)
                        fail_msg("%s: %i %s", l->what, d.is_counted, domain_tier_to_string(d.tier));
                assert_string_equal(d.tenant, strempty(l->domain.tenant));
                if (l->objection)
                        assert_contains(d.objection, l->objection);
                else
                        assert_string_equal(d.objection, "");
        }
}

static void no_reason_without_need(void **state) {
        const Domain domain = { VIRTIO_XML };
        char reason[DOMAIN_REASON_SIZE] = "untouched";

        (void)state;
        assert_true(domain_has_tier(&domain, DOMAIN_TIER_VIRTIO, reason));
        assert_string_equal(reason, "untouched");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(decisions),
                cmocka_unit_test(reasons_are_whole),
                cmocka_unit_test(labels),
                cmocka_unit_test(late),
                cmocka_unit_test(no_reason_without_need),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
