/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/metrics.h"

#include <inttypes.h>

#include "lib/format.h"

/* The kinds of resources, as metrics. */
static const struct {
        const char *kind, *name, *unit; /* of org.aviommu1(5); of the metric; "": a number */
        const char *label;              /* for the scope; NULL: the host has it once */
        const char *of;                 /* in the help text */
} resource_metrics[] = {
        { "instances", "instances", "", "iommu", "vIOMMU instances of a host IOMMU" },
        { "trans-devids", "trans_devids", "", "segment", "Translated device ids of a PCI segment" },
        { "contiguous-memory", "contiguous_memory", "bytes", "node",
          "Contiguous memory of a NUMA node for vIOMMUs" },
        { "domain-ids", "domain_ids", "", NULL, "Host domain ids for guests' domains" },
        { "pinned-memory", "pinned_memory", "bytes", NULL,
          "Guest memory that is or may be pinned" },
        { "descriptors", "descriptors", "", NULL, "File descriptors kept for VMs" },
};

static const char *const tiers[] = { "hardware", "emulated", "virtio" };
static const char *const states[] = { "admitted", "realized", "bound", "draining", "quarantined" };

static void family(FILE *f, const char *name, const char *unit, const char *help) {
        (void)fprintf(f, "# TYPE %s gauge\n", name);
        if (*unit)
                (void)fprintf(f, "# UNIT %s %s\n", name, unit);
        (void)fprintf(f, "# HELP %s %s\n", name, help);
}

/* One label; @first opens the braces. Nothing in @text can end it, or steer a terminal that it is shown on. */
static void label(FILE *f, bool first, const char *name, const char *text) {
        uint32_t c;
        size_t n;

        (void)fprintf(f, "%s%s=\"", first ? "{" : ",", name);
        for (; *text; text += MAX(n, (size_t)1)) {
                n = text_read_char(text, &c);
                if (n > 0 && c == '\n')
                        (void)fputs("\\n", f);
                else if (n == 0 || !text_char_is_harmless(c))
                        (void)fputc('?', f);
                else
                        (void)fprintf(f, "%s%.*s", c == '"' || c == '\\' ? "\\" : "", (int)n, text);
        }
        (void)fputc('"', f);
}

static void value(FILE *f, uint64_t n) {
        if (n == UINT64_MAX)
                (void)fputs(" +Inf\n", f);
        else
                (void)fprintf(f, " %" PRIu64 "\n", n);
}

static void single(FILE *f, const char *name, const char *help, uint64_t n) {
        family(f, name, "", help);
        (void)fputs(name, f);
        value(f, n);
}

/* The scope as the label's value: of "node0" the number. */
static const char *scope_value(const char *name, const char *scope) {
        return streq(name, "node") && strncmp(scope, "node", 4) == 0 ? scope + 4 : scope;
}

static void resource_family(const ResourceList *l, size_t k, bool is_limit, FILE *f) {
        const char *label_name = resource_metrics[k].label, *unit = resource_metrics[k].unit;
        char name[96], help[160];

        (void)snprintf(name, sizeof(name), "aviommu_%s_%s%s%s", resource_metrics[k].name,
                       is_limit ? "limit" : "used", *unit ? "_" : "", unit);
        (void)snprintf(help, sizeof(help), "%s: %s.", resource_metrics[k].of,
                       is_limit ? "all there is to give" : "given away");
        family(f, name, unit, help);
        for (size_t i = 0; i < l->n; i++) {
                if (!streq(l->items[i].kind, resource_metrics[k].kind))
                        continue;
                (void)fputs(name, f);
                if (label_name) {
                        label(f, true, label_name, scope_value(label_name, l->items[i].scope));
                        (void)fputc('}', f);
                }
                value(f, is_limit ? l->items[i].capacity : l->items[i].used);
        }
}

static void write_hosts(const HostIommuList *l, FILE *f) {
        char text[16];

        family(f, "aviommu_host_iommu_info", "", "A host IOMMU and where it is; always 1.");
        for (size_t i = 0; i < l->n; i++) {
                const HostIommu *h = &l->items[i];

                (void)fputs("aviommu_host_iommu_info", f);
                label(f, true, "iommu", h->name);
                (void)snprintf(text, sizeof(text), "%04x", h->segment);
                label(f, false, "segment", text);
                if (h->numa_node >= 0) {
                        (void)snprintf(text, sizeof(text), "%" PRIi32, h->numa_node);
                        label(f, false, "node", text);
                }
                label(f, false, "kernel_level", strempty(h->kernel_level));
                (void)fputs("} 1\n", f);
        }
}

static void write_tiers(const TierList *l, FILE *f) {
        family(f, "aviommu_tier_available", "", "Whether a tier can be had on this host.");
        for (size_t i = 0; i < l->n; i++) {
                (void)fputs("aviommu_tier_available", f);
                label(f, true, "tier", l->items[i].name);
                (void)fprintf(f, "} %i\n", l->items[i].is_available);
        }
}

/* All combinations, those without a VM too: what is 0 is not the same as what is missing. */
static void write_vm_counts(const VmRows *l, FILE *f) {
        family(f, "aviommu_vms", "", "VMs by tier and state.");
        for (size_t t = 0; t < ELEMENTSOF(tiers); t++)
                for (size_t s = 0; s < ELEMENTSOF(states); s++) {
                        uint64_t n = 0;

                        for (size_t i = 0; i < l->n; i++)
                                n += streq(l->items[i].tier, tiers[t]) &&
                                     streq(l->items[i].state, states[s]);
                        (void)fputs("aviommu_vms", f);
                        label(f, true, "tier", tiers[t]);
                        label(f, false, "state", states[s]);
                        (void)fprintf(f, "} %" PRIu64 "\n", n);
                }
}

static void write_states(const char *name, const char *help, const StateCount *counts, size_t n,
                         FILE *f) {
        family(f, name, "", help);
        for (size_t i = 0; i < n; i++) {
                (void)fputs(name, f);
                label(f, true, "state", counts[i].state);
                (void)fprintf(f, "} %zu\n", counts[i].n);
        }
}

static void write_vm_infos(const VmRows *l, FILE *f) {
        family(f, "aviommu_vm_info", "", "A VM and what it is; always 1.");
        for (size_t i = 0; i < l->n; i++) {
                const VmRow *v = &l->items[i];

                (void)fputs("aviommu_vm_info", f);
                label(f, true, "vm", v->uuid);
                label(f, false, "name", v->name);
                label(f, false, "tier", v->tier);
                label(f, false, "handover", v->handover);
                label(f, false, "state", v->state);
                (void)fputs("} 1\n", f);
        }
}

static void write_vm_charges(const Metrics *m, size_t k, FILE *f) {
        const char *unit = resource_metrics[k].unit, *label_name = resource_metrics[k].label;
        char name[96], help[160];

        (void)snprintf(name, sizeof(name), "aviommu_vm_%s%s%s", resource_metrics[k].name,
                       *unit ? "_" : "", unit);
        (void)snprintf(help, sizeof(help), "%s: held by a VM.", resource_metrics[k].of);
        family(f, name, unit, help);
        for (size_t i = 0; i < m->vms->n; i++)
                for (size_t j = 0; j < m->charges[i].n; j++) {
                        const Charge *c = &m->charges[i].items[j];

                        if (!streq(c->kind, resource_metrics[k].kind))
                                continue;
                        (void)fputs(name, f);
                        label(f, true, "vm", m->vms->items[i].uuid);
                        if (label_name)
                                label(f, false, label_name, scope_value(label_name, c->scope));
                        (void)fputc('}', f);
                        value(f, c->amount);
                }
}

static void write_host(const Metrics *m, FILE *f) {
        const Status *s = m->status;

        family(f, "aviommu_daemon_info", "", "The daemon's version and kernel; always 1.");
        (void)fputs("aviommu_daemon_info", f);
        label(f, true, "version", strempty(s->version));
        label(f, false, "kernel", strempty(s->kernel));
        (void)fputs("} 1\n", f);
        single(f, "aviommu_host_problems", "What the host lacks, in how many sentences.",
               s->problems.n);
        single(f, "aviommu_quarantined",
               "VMs and records that stand until an administrator gives them up; 1000 at most.",
               s->n_quarantined);
        single(f, "aviommu_reservations", "Reservations that have neither been used nor expired.",
               s->n_reservations);
        write_tiers(&s->tiers, f);
        write_hosts(m->hosts, f);
        write_states("aviommu_functions", "PCI functions of the host by state.", m->functions,
                     m->n_functions, f);
        write_states("aviommu_definitions", "Definitions of VMs by state.", m->definitions,
                     m->n_definitions, f);
        for (size_t k = 0; k < ELEMENTSOF(resource_metrics); k++) {
                resource_family(&s->resources, k, false, f);
                resource_family(&s->resources, k, true, f);
        }
}

void metrics_write(const Metrics *m, FILE *f) {
        single(f, "aviommu_up", "Whether aviommud answers.", m->status ? 1 : 0);
        if (m->status) {
                write_host(m, f);
                write_vm_counts(m->vms, f);
                if (m->charges) {
                        write_vm_infos(m->vms, f);
                        for (size_t k = 0; k < ELEMENTSOF(resource_metrics); k++)
                                write_vm_charges(m, k, f);
                }
        }
        (void)fputs("# EOF\n", f);
}
