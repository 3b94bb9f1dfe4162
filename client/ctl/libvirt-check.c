/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl libvirt check: would the domain start, on which tier, and what is missing? Faults keep it from starting; with warnings it
 * starts, and something is not as it should be.
 */
#include "ctl/libvirt.h"

#include <errno.h>
#include <stdarg.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

typedef enum Result {
        RESULT_FINE,
        RESULT_WARNING,
        RESULT_FAULT,
} Result;

typedef struct Check {
        char *what, *text;
        Result result;
} Check;

typedef struct Report {
        Subject subject;
        LibvirtVersions versions;
        Ability abilities[_ABILITY_MAX];
        HostParts parts;

        Check *checks;
        size_t n_checks;
        int exit_code;     /* of the first fault */
        const char *fault; /* its text */
        const char *tier;  /* on which it would start; NULL: none */
} Report;

static void report_done(Report *r) {
        for (size_t i = 0; i < r->n_checks; i++) {
                free(r->checks[i].what);
                free(r->checks[i].text);
        }
        free(r->checks);
        subject_done(&r->subject);
        libvirt_versions_done(&r->versions);
}

static const char *result_to_string(Result result) {
        static const char *const words[] = { "fine", "warning", "fault" };

        return words[result];
}

static void add(Report *r, Result result, const char *what, const char *format, ...) _printf_(4, 5);

static void add(Report *r, Result result, const char *what, const char *format, ...) {
        Check c = { .what = alloc_printf("%s", what), .result = result };
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&c.text, format, ap) < 0)
                alloc_failed();
        va_end(ap);
        r->checks = alloc_grow(r->checks, r->n_checks, sizeof(Check));
        r->checks[r->n_checks++] = c;
        if (result == RESULT_FAULT && r->exit_code == CLIENT_EXIT_OK) {
                r->exit_code = CLIENT_EXIT_FAILED;
                r->fault = c.text;
        }
}

/* A fault for which a failure of a call is the reason, and its exit code the report's. */
static void add_failure(Report *r, Result result, const char *what, const Failure *f) {
        bool is_first = r->exit_code == CLIENT_EXIT_OK;

        add(r, result, what, "%s%s%s%s", f->text, *f->name ? " [" : "", f->name,
            *f->name ? "]" : "");
        if (result == RESULT_FAULT && is_first)
                r->exit_code = f->exit_code;
}

/* ---- the domain alone ---- */

static void check_domain(Report *r) {
        const LibvirtDomain *d = &r->subject.libvirt;

        if (d->is_running && d->is_persistent)
                add(r, RESULT_FINE, "domain", "It runs; this is about its next start.");
        else
                add(r, RESULT_FINE, "domain", "%s",
                    d->is_running ? "It runs, and goes when it stops: it is not persistent."
                                  : "It is shut off.");
        if (d->is_saved)
                add(r, RESULT_WARNING, "domain",
                    "It was saved (virsh managedsave): its next start restores it with the XML "
                    "that "
                    "it had then, and this is about the start after that.");
}

static void check_request(Report *r) {
        const Subject *s = &r->subject;
        _cleanup_free_ char *asks = subject_asks(s);
        static const char *const unasked[_UNASKED_MAX] = { "counted", "ignored", "refused" };

        if (s->domain.asks)
                add(r, RESULT_FINE, "request", "It asks for %s; where nothing fits, it %s.", asks,
                    s->domain.runs_otherwise ? "runs without" : "does not start");
        else if (s->domain.n_functions == 0)
                add(r, RESULT_FINE, "request",
                    "It asks for nothing and has no PCI functions: aviommud has nothing to do with "
                    "it.");
        else
                add(r, RESULT_FINE, "request", "It asks for nothing: such domains are %s.",
                    unasked[s->config.unasked]);
}

static void check_functions(Report *r) {
        const Domain *d = &r->subject.domain;
        size_t n_iommufd = 0;

        for (size_t i = 0; i < d->n_functions; i++)
                n_iommufd += d->functions[i].iommufd;
        if (d->n_functions > 0)
                add(r, RESULT_FINE, "functions", "%zu, %zu of them on an iommufd.", d->n_functions,
                    n_iommufd);
        else if (d->asks)
                add(r, RESULT_WARNING, "functions",
                    "The domain has no PCI functions: there is nothing to translate for.");
}

/* Tiers that were wanted and that the XML is not made for. */
static void check_reasons(Report *r) {
        const DomainDecision *d = &r->subject.decision;
        Result result = d->verdict == DOMAIN_REFUSED ? RESULT_FAULT : RESULT_WARNING;

        for (size_t i = 0; i < d->n_reasons; i++) {
                const DomainReason *reason = d->reasons + i;
                _cleanup_free_ char *what = NULL;

                what = alloc_printf(
                        "%s%s", reason->tier < _DOMAIN_TIER_MAX ? "tier " : "request",
                        reason->tier < _DOMAIN_TIER_MAX ? domain_tier_to_string(reason->tier) : "");
                add(r, result, what, "%s", reason->text);
        }
}

/* ---- libvirt and QEMU ---- */

static void check_ability(Report *r, AbilityKind kind, const char *what) {
        const Ability *a = r->abilities + kind;

        if (a->verdict == VERDICT_YES)
                return;
        add(r, a->verdict == VERDICT_NO ? RESULT_FAULT : RESULT_WARNING, "libvirt", "%s %s", what,
            a->reason);
}

static void check_libvirt(Report *r) {
        const Domain *d = &r->subject.domain;
        size_t n_before = r->n_checks;
        bool has_iommufd = d->iommufd;

        for (size_t i = 0; i < d->n_functions; i++)
                has_iommufd |= d->functions[i].iommufd;
        if (d->iommu == DOMAIN_IOMMU_VIRTIO)
                check_ability(r, ABILITY_VIRTIO, "<iommu model='virtio'> cannot be had:");
        if (d->iommu == DOMAIN_IOMMU_AMD)
                check_ability(r, ABILITY_AMD, "<iommu model='amd'> cannot be had:");
        if (d->iommu == DOMAIN_IOMMU_AMD && d->dma_remap)
                check_ability(r, ABILITY_DMA_REMAP, "amd-iommu.dma-remap=on cannot be had:");
        if (has_iommufd)
                check_ability(r, ABILITY_IOMMUFD, "Functions cannot be on an iommufd:");
        if (has_iommufd && d->fdgroup)
                check_ability(r, ABILITY_FDGROUP, "<iommufd fdgroup=> cannot be had:");
        if (r->n_checks == n_before)
                add(r, RESULT_FINE, "libvirt", "libvirt %s, %s %s",
                    VERSION_STRING(r->versions.libvirt), r->versions.hypervisor,
                    VERSION_STRING(r->versions.version));
}

/* ---- hook, agent, handover ---- */

static void check_hook(Report *r) {
        add(r, r->parts.hook == VERDICT_YES ? RESULT_FINE : RESULT_WARNING, "hook", "%s%s",
            r->parts.hook_text,
            r->parts.hook == VERDICT_NO ? ": nobody asks aviommud whether the domain may start"
                                        : "");
}

static void check_handover(Report *r) {
        const Domain *d = &r->subject.domain;

        if (domain_takes_context(d)) {
                if (r->parts.agent == VERDICT_YES)
                        add(r, RESULT_FINE, "handover",
                            "vmm: QEMU gets an iommufd of aviommud's; %s", r->parts.agent_text);
                else
                        add(r, r->parts.agent == VERDICT_NO ? RESULT_FAULT : RESULT_WARNING,
                            "handover",
                            "QEMU is to get an iommufd of aviommud's, and %s: without it the "
                            "domain does not start.",
                            r->parts.agent_text);
        } else if (d->n_functions > 0 && d->iommufd)
                add(r, RESULT_WARNING, "handover",
                    "none: libvirt opens an iommufd of its own for it. With "
                    "<iommufd fdgroup='" DOMAIN_FDGROUP "'> it gets aviommud's.");
        else if (d->n_functions > 0)
                add(r, RESULT_FINE, "handover", "none: VFIO groups, which aviommud only counts.");
}

/* ---- the daemon ---- */

static void check_down(Ctl *ctl, Report *r) {
        const LibvirtConfig *c = &r->subject.config;
        bool refuses = r->subject.domain.asks ? c->down_refuses_asked : c->down_refuses_unasked;

        add_failure(r, refuses ? RESULT_FAULT : RESULT_WARNING, "daemon", &ctl->failure);
}

/* It is there already: of the domain as it runs, or left of an earlier run. */
static void check_existing(Report *r) {
        if (r->subject.libvirt.is_running)
                add(r, RESULT_FINE, "daemon",
                    "aviommud has the VM as it runs: `aviommuctl show %s`.",
                    r->subject.libvirt.uuid);
        else
                add(r, RESULT_WARNING, "daemon",
                    "aviommud still has a VM of an earlier run: `aviommuctl show %s`.",
                    r->subject.libvirt.uuid);
}

/* Asks for each candidate until one is admitted. */
static void check_daemon(Ctl *ctl, Report *r) {
        const DomainDecision *d = &r->subject.decision;
        bool may_go_on = d->verdict == DOMAIN_ACCOUNTED || r->subject.domain.runs_otherwise;

        for (size_t i = 0; i < d->n_candidates; i++) {
                const char *tier = domain_tier_to_string(d->candidates[i]);
                _cleanup_free_ char *what = alloc_printf("tier %s", tier);
                bool is_last = i + 1 == d->n_candidates;
                _cleanup_(plan_done) Plan p = {};

                if (subject_plan(ctl, &r->subject, d->candidates[i], &p) < 0) {
                        check_down(ctl, r);
                        return;
                }
                if (p.is_admitted || streq(plan_error(&p), "VmExists")) {
                        r->tier = d->verdict == DOMAIN_ACCOUNTED ? NULL : tier;
                        if (p.is_admitted)
                                add(r, RESULT_FINE, what, "aviommud %s, handover %s.",
                                    r->tier ? "admits it" : "counts it under that", p.handover);
                        else
                                check_existing(r);
                        return;
                }
                (void)plan_refused(ctl, &p, r->subject.libvirt.uuid);
                /* libvirt would give QEMU what it has, on whatever tier: the hook refuses that in any case. */
                if (streq(plan_error(&p), "NoPreparedContext")) {
                        add_failure(r, RESULT_FAULT, "handover", &ctl->failure);
                        return;
                }
                add_failure(r, is_last && !may_go_on ? RESULT_FAULT : RESULT_WARNING, what,
                            &ctl->failure);
        }
}

/* ---- showing ---- */

static TableColour result_colour(Result result) {
        return result == RESULT_FINE      ? TABLE_GOOD
               : result == RESULT_WARNING ? TABLE_ATTENTION
                                          : TABLE_BAD;
}

static void report_print(const Report *r, Output *o) {
        static const TableColumn columns[] = { { "CHECK", 0 },
                                               { "RESULT", 0 },
                                               { "MEANING", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);
        _cleanup_free_ char *name = alloc_check(text_escape_new(r->subject.libvirt.name));

        for (size_t i = 0; i < r->n_checks; i++) {
                const Check *c = r->checks + i;

                TABLE_ADD(t, c->what, result_to_string(c->result), c->text);
                table_colour(t, 1, result_colour(c->result));
        }
        table_print(t, o);
        if (r->exit_code == CLIENT_EXIT_OK && r->tier)
                output_printf(o, "\n%s would start, on the tier %s.\n", name, r->tier);
        else if (r->exit_code == CLIENT_EXIT_OK)
                output_printf(o, "\n%s would start, without a vIOMMU of aviommud's.\n", name);
}

static void report_json(const Report *r, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *checks = doc_new_array();

        doc_add_string(d, "uuid", r->subject.libvirt.uuid);
        doc_add_string(d, "name", r->subject.libvirt.name);
        doc_add_bool(d, "would_start", r->exit_code == CLIENT_EXIT_OK);
        doc_add_string(d, "tier", r->exit_code == CLIENT_EXIT_OK ? r->tier : NULL);
        for (size_t i = 0; i < r->n_checks; i++) {
                Doc *c = doc_new_object();

                doc_add_string(c, "check", r->checks[i].what);
                doc_add_string(c, "result", result_to_string(r->checks[i].result));
                doc_add_string(c, "text", r->checks[i].text);
                doc_add(checks, NULL, c);
        }
        doc_add(d, "checks", checks);
        output_doc(o, d);
}

static void report_make(Ctl *ctl, Report *r) {
        check_domain(r);
        if (r->subject.unreadable) {
                add(r, RESULT_FAULT, "request", "%s", r->subject.unreadable);
                return;
        }
        check_request(r);
        check_functions(r);
        if (r->subject.decision.verdict == DOMAIN_LEFT_ALONE)
                return;
        check_reasons(r);
        check_libvirt(r);
        check_hook(r);
        check_handover(r);
        check_daemon(ctl, r);
}

int verb_libvirt_check(Ctl *ctl, int argc, char **argv) {
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        _cleanup_(report_done) Report report = {};
        _cleanup_free_ char *capabilities = NULL;
        int r;

        (void)argc;

        r = libvirt_open(ctl, false, &lv);
        if (r >= 0)
                r = subject_get(ctl, lv, argv[0], &report.subject);
        if (r >= 0)
                r = libvirt_get_versions(ctl, lv, &report.versions);
        if (r < 0)
                return r;
        capabilities = libvirt_get_capabilities(lv);
        abilities_find(&report.versions, capabilities, report.abilities);
        host_parts_find(ctl, &report.versions, &report.parts);
        report_make(ctl, &report);

        if (ctl->out.json != JSON_OFF)
                report_json(&report, &ctl->out);
        else
                report_print(&report, &ctl->out);
        if (report.exit_code == CLIENT_EXIT_OK)
                return 0;
        return failure_set(&ctl->failure, report.exit_code, -EIO, NULL, "%s would not start: %s",
                           report.subject.libvirt.name, report.fault);
}
