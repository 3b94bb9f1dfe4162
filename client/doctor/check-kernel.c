/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel: how it was configured, booted and set, and what the daemon found that it can.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "doctor/listing.h"
#include "doctor/parse.h"

typedef struct Symbol {
        FindingId id;
        const char *name;
        FindingLevel level;
        unsigned keeps_from;
        bool (*concerns)(const Facts *facts); /* NULL: any host */
        const char *meaning;
} Symbol;

static const Symbol symbols[] = {
        { FINDING_KERNEL_IOMMUFD, "IOMMUFD", LEVEL_WARNING, TIER_HARDWARE, NULL,
          "there is no /dev/iommu, and only handover none works" },
        { FINDING_KERNEL_VFIO_PCI, "VFIO_PCI", LEVEL_FAULT, TIERS_ALL, NULL,
          "no function can be assigned to a VM" },
        { FINDING_KERNEL_VFIO_CDEV, "VFIO_DEVICE_CDEV", LEVEL_WARNING, TIER_HARDWARE, NULL,
          "there is no /dev/vfio/devices, and only handover none works" },
        { FINDING_KERNEL_AMD_IOMMU, "AMD_IOMMU", LEVEL_FAULT, TIERS_ALL, facts_may_be_amd,
          "the kernel does not drive AMD's IOMMUs" },
        { FINDING_KERNEL_AMD_IOMMUFD, "AMD_IOMMU_IOMMUFD", LEVEL_WARNING, TIER_HARDWARE,
          facts_may_be_amd, "AMD's IOMMUs do not nest for iommufd" },
        { FINDING_KERNEL_IRQ_REMAP, "IRQ_REMAP", LEVEL_FAULT, TIERS_ALL, facts_may_be_x86,
          "interrupts are not remapped, and the kernel refuses to assign functions unless "
          "allow_unsafe_interrupts is on" },
};

static void check_symbol(const KernelFacts *k, const Symbol *s, Findings *out) {
        char value = kconfig_get(k->config.data, s->name);

        if (value != 'n') {
                finding_add(out, s->id, LEVEL_FINE, "CONFIG_%s=%c", s->name, value);
                return;
        }
        finding_add(out, s->id, s->level,
                    "The kernel %s is without CONFIG_%s: %s. Boot one that has it; the command "
                    "configures one in its source.",
                    k->release, s->name, s->meaning);
        finding_keeps_from(out, s->keeps_from);
        finding_mend(out, "scripts/config --enable %s", s->name);
}

static void check_config(const Facts *facts, Findings *out) {
        const KernelFacts *k = &facts->kernel;

        if (k->config.error < 0) {
                finding_add(out, FINDING_KERNEL_CONFIG, LEVEL_UNCHECKED,
                            "Neither /boot/config-%s nor /proc/config.gz tells how the kernel was "
                            "configured (%s): its CONFIG_ symbols are not checked.",
                            *k->release ? k->release : "RELEASE", strerror(-k->config.error));
                if (k->config.error == -EACCES)
                        finding_mend(out, "sudo aviommuctl doctor");
                else
                        finding_mend(out, "modprobe configs");
                return;
        }
        if (!kconfig_is_one(k->config.data)) {
                finding_add(out, FINDING_KERNEL_CONFIG, LEVEL_UNCHECKED,
                            "%s is not the configuration of a kernel: its CONFIG_ symbols are not "
                            "checked.",
                            k->config_path);
                return;
        }
        finding_add(out, FINDING_KERNEL_CONFIG, LEVEL_FINE,
                    "%s tells how the kernel was configured.", k->config_path);
        for (size_t i = 0; i < ELEMENTSOF(symbols); i++)
                if (!symbols[i].concerns || symbols[i].concerns(facts))
                        check_symbol(k, &symbols[i], out);
}

/* ---- modules ---- */

static void check_modules(const KernelFacts *k, Findings *out) {
        static const struct {
                const char *symbol, *name, *meaning;
                unsigned keeps_from;
        } modules[_MODULE_MAX] = {
                [MODULE_IOMMUFD] = { "IOMMUFD", "iommufd", "there is no /dev/iommu without it",
                                     TIER_HARDWARE },
                [MODULE_VFIO_PCI] = { "VFIO_PCI", "vfio_pci",
                                      "no function can be bound to it by hand", 0 },
        };
        bool is_said = false, is_known = k->config.error == 0 && kconfig_is_one(k->config.data);

        for (size_t i = 0; i < _MODULE_MAX; i++) {
                char value = is_known ? kconfig_get(k->config.data, modules[i].symbol) : 'm';

                if (value != 'm' || k->is_loaded[i])
                        continue;
                finding_add(out, FINDING_KERNEL_MODULES, LEVEL_WARNING,
                            "The module %s is not loaded: %s.", modules[i].name,
                            modules[i].meaning);
                finding_keeps_from(out, modules[i].keeps_from);
                finding_mend(out, MEND_MODULE, modules[i].name);
                is_said = true;
        }
        if (!is_said)
                finding_add(out, FINDING_KERNEL_MODULES, LEVEL_FINE,
                            "No module has to be loaded by hand.");
}

/* ---- command line and parameters ---- */

typedef struct BootWord {
        const char *name, *value; /* value NULL: the word alone, or with any value */
        FindingLevel level;
        unsigned keeps_from;
        bool (*concerns)(const Facts *facts); /* NULL: any host */
        const char *meaning;
} BootWord;

static const BootWord boot_words[] = {
        { "amd_iommu", "off", LEVEL_FAULT, TIERS_ALL, facts_may_be_amd,
          "AMD's IOMMUs are switched off" },
        { "intel_iommu", "off", LEVEL_FAULT, TIERS_ALL, facts_may_be_intel,
          "Intel's IOMMUs are switched off" },
        { "iommu", "off", LEVEL_FAULT, TIERS_ALL, NULL, "the IOMMUs are switched off" },
        { "intremap", "off", LEVEL_FAULT, TIERS_ALL, NULL,
          "interrupts are not remapped, and the kernel refuses to assign functions unless "
          "allow_unsafe_interrupts is on" },
        { "nointremap", NULL, LEVEL_FAULT, TIERS_ALL, NULL,
          "interrupts are not remapped, and the kernel refuses to assign functions unless "
          "allow_unsafe_interrupts is on" },
        { "pcie_acs_override", NULL, LEVEL_WARNING, 0, NULL,
          "groups look isolated that are not: functions in them can write to each other past the "
          "IOMMU" },
};

typedef struct BootCheck {
        const Facts *facts;
        Findings *out;
        bool is_said;
} BootCheck;

static bool boot_word_is(const BootWord *b, const char *word) {
        size_t n = strlen(b->name);

        if (b->value)
                return command_line_has(word, b->name, b->value);
        return strncmp(word, b->name, n) == 0 && (word[n] == '\0' || word[n] == '=');
}

static void check_word(const char *word, void *userdata) {
        BootCheck *c = userdata;

        for (size_t i = 0; i < ELEMENTSOF(boot_words); i++) {
                const BootWord *b = &boot_words[i];

                if (!boot_word_is(b, word) || (b->concerns && !b->concerns(c->facts)))
                        continue;
                finding_add(c->out, FINDING_KERNEL_COMMAND_LINE, b->level,
                            "The kernel was booted with \"%s\": %s. Take it out of the boot "
                            "loader's configuration and boot again.",
                            word, b->meaning);
                finding_keeps_from(c->out, b->keeps_from);
                finding_mend(c->out, MEND_COMMAND_LINE);
                c->is_said = true;
        }
}

static void check_command_line(const Facts *facts, Findings *out) {
        BootCheck c = { .facts = facts, .out = out };
        const KernelFacts *k = &facts->kernel;

        if (k->command_line.error < 0) {
                finding_add_unreadable(out, FINDING_KERNEL_COMMAND_LINE, "/proc/cmdline",
                                       k->command_line.error);
                return;
        }
        command_line_for_each(k->command_line.data, check_word, &c);
        if (!c.is_said)
                finding_add(out, FINDING_KERNEL_COMMAND_LINE, LEVEL_FINE,
                            "The kernel's command line switches nothing off that is needed.");
}

static void check_parameters(const KernelFacts *k, Findings *out) {
        bool is_said = false;

        /* All of them are switches that take protection away. */
        for (size_t i = 0; i < ELEMENTSOF(k->parameters); i++) {
                const ModuleParameter *p = &k->parameters[i];

                if (!p->module || !streq(p->value, "Y"))
                        continue;
                finding_add(out, FINDING_KERNEL_PARAMETERS, LEVEL_WARNING,
                            "The parameter %s of the module %s is on: %s.", p->name, p->module,
                            streq(p->name, "allow_unsafe_interrupts")
                                    ? "functions are assigned also where their interrupts are not "
                                      "remapped, and a guest can raise any interrupt of the host"
                            : streq(p->name, "enable_unsafe_noiommu_mode")
                                    ? "functions can be opened without an IOMMU, and write to all "
                                      "memory"
                                    : "functions are assigned that are known to break the host");
                finding_mend(out, "echo N > /sys/module/%s/parameters/%s", p->module, p->name);
                is_said = true;
        }
        if (!is_said)
                finding_add(out, FINDING_KERNEL_PARAMETERS, LEVEL_FINE,
                            "No module parameter takes protection away.");
}

/* ---- the kernel level ---- */

/* Whether the same is known of both: a reason may have the IOMMU's own name in it. */
static bool is_same(const BusHost *a, const BusHost *b) {
        const char *s = a->kernel_level_reason, *t = b->kernel_level_reason;
        size_t n = strlen(a->name), m = strlen(b->name);

        if (!streq(a->kernel_level, b->kernel_level))
                return false;
        while (*s && *t)
                if (strncmp(s, a->name, n) == 0 && strncmp(t, b->name, m) == 0) {
                        s += n;
                        t += m;
                } else if (*s++ != *t++)
                        return false;
        return *s == *t;
}

/* The names of the host IOMMUs that are like @h; NULL when one before it is too. The caller
 * frees it. */
static char *names_of_same(const BusFacts *b, const BusHost *h) {
        _cleanup_(listing_done) Listing l = {};

        for (const BusHost *x = b->hosts; x < b->hosts + b->n_hosts; x++) {
                if (!is_same(x, h))
                        continue;
                if (x < h)
                        return NULL;
                listing_add(&l, x->name);
        }
        return listing_text(&l);
}

static bool has_hardware_tier(const BusFacts *b) {
        for (size_t i = 0; i < b->n_tiers; i++)
                if (streq(b->tiers[i].name, "hardware"))
                        return b->tiers[i].is_available;
        return false;
}

static void check_level_of(const BusFacts *b, const BusHost *h, Findings *out) {
        _cleanup_free_ char *names = names_of_same(b, h);
        bool is_plumbing = streq(h->kernel_level, "plumbing");

        if (!names)
                return;
        if (streq(h->kernel_level, "unknown")) {
                finding_add(out, FINDING_KERNEL_LEVEL, LEVEL_UNCHECKED,
                            "What the kernel can on %s is not known: %s The command finds it out; "
                            "it resets an idle function.",
                            names, h->kernel_level_reason);
                if (strchr(names, ',')) /* all at once */
                        finding_mend(out, "aviommuctl host --probe");
                else
                        finding_mend(out, "aviommuctl host %s --probe", h->name);
        } else if (streq(h->kernel_level, "accelerated") || (is_plumbing && has_hardware_tier(b)))
                finding_add(out, FINDING_KERNEL_LEVEL, LEVEL_FINE, "%s: %s. %s", names,
                            h->kernel_level, h->kernel_level_reason);
        else {
                finding_add(out, FINDING_KERNEL_LEVEL, LEVEL_WARNING,
                            "%s: %s. %s The hardware tier wants accelerated%s.", names,
                            h->kernel_level, h->kernel_level_reason,
                            is_plumbing ? ", or AllowPlumbing=yes in aviommud.conf" : "");
                finding_keeps_from(out, TIER_HARDWARE);
                if (is_plumbing)
                        finding_mend(out, "editor /etc/aviommu/aviommud.conf && systemctl reload "
                                          "aviommud");
        }
}

void check_kernel(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;

        check_config(facts, out);
        check_modules(&facts->kernel, out);
        check_command_line(facts, out);
        check_parameters(&facts->kernel, out);
        for (size_t i = 0; i < b->n_hosts; i++)
                check_level_of(b, &b->hosts[i], out);
}
