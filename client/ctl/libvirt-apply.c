/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl libvirt apply: gives a domain what a tier wants in its XML.
 */
#include "ctl/libvirt.h"

#include <errno.h>

#include "domain/edit.h"
#include "lib/alloc.h"
#include "lib/format.h"

typedef struct Apply {
        Subject subject;
        LibvirtVersions versions;
        Ability abilities[_ABILITY_MAX];
        HostParts parts;
        DomainTier tier;
        FdgroupEdit fdgroup;
        char *xml;  /* to be defined: with secrets */
        char *diff; /* without */
        DomainChanges changes;
} Apply;

static void apply_done(Apply *a) {
        subject_done(&a->subject);
        libvirt_versions_done(&a->versions);
        free(a->xml);
        free(a->diff);
        domain_changes_done(&a->changes);
}

/* ---- what is wanted ---- */

/* What the domain asks for or has, or else what this libvirt and QEMU can. */
static DomainTier choose_tier(const Apply *a) {
        const Domain *d = &a->subject.domain;
        char reason[DOMAIN_REASON_SIZE];

        for (size_t i = 0; i < d->n_tiers; i++)
                if (d->tiers[i] != DOMAIN_TIER_HARDWARE)
                        return d->tiers[i];
        for (DomainTier tier = DOMAIN_TIER_EMULATED; tier < _DOMAIN_TIER_MAX; tier++)
                if (domain_has_tier(d, tier, reason))
                        return tier;
        if (d->iommu == DOMAIN_IOMMU_VIRTIO && !domain_has_too_many_vcpus(d, reason))
                return DOMAIN_TIER_VIRTIO;
        return a->abilities[ABILITY_AMD].verdict == VERDICT_YES &&
                               a->abilities[ABILITY_DMA_REMAP].verdict == VERDICT_YES
                       ? DOMAIN_TIER_EMULATED
                       : DOMAIN_TIER_VIRTIO;
}

/* A domain whose iommufd nobody associates does not start: only where there is an agent, if nobody says otherwise. */
static int choose_fdgroup(Ctl *ctl, Apply *a) {
        const Ability *ability = a->abilities + ABILITY_FDGROUP;

        if (!ctl->iommufd) {
                if (ability->verdict == VERDICT_YES && a->parts.agent == VERDICT_YES &&
                    a->subject.domain.n_functions > 0)
                        a->fdgroup = FDGROUP_ADD;
                return 0;
        }
        a->fdgroup = streq(ctl->iommufd, "yes") ? FDGROUP_ADD : FDGROUP_REMOVE;
        if (a->fdgroup == FDGROUP_ADD && ability->verdict == VERDICT_NO)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EOPNOTSUPP,
                                   "Without --iommufd=yes the domain keeps VFIO groups.",
                                   "<iommufd fdgroup=> cannot be had: %s", ability->reason);
        return 0;
}

static int check_abilities(Ctl *ctl, const Apply *a) {
        static const AbilityKind emulated[] = { ABILITY_AMD, ABILITY_DMA_REMAP },
                                 virtio[] = { ABILITY_VIRTIO };
        const AbilityKind *wanted = a->tier == DOMAIN_TIER_EMULATED ? emulated : virtio;
        size_t n = a->tier == DOMAIN_TIER_EMULATED ? ELEMENTSOF(emulated) : ELEMENTSOF(virtio);

        for (size_t i = 0; i < n; i++)
                if (a->abilities[wanted[i]].verdict == VERDICT_NO)
                        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EOPNOTSUPP,
                                           "`aviommuctl libvirt status` shows what can be had.",
                                           "The tier %s wants %s, which cannot be had: %s",
                                           domain_tier_to_string(a->tier),
                                           ability_to_string(wanted[i]),
                                           a->abilities[wanted[i]].reason);
        return 0;
}

/* ---- doing it ---- */

static int apply_to(Ctl *ctl, const Apply *a, const char *xml, char **ret, DomainChanges *changes) {
        _cleanup_free_ char *error = NULL;
        int r;

        r = domain_apply(xml, strlen(xml), a->tier, a->fdgroup, ret, changes, &error);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL, "%s",
                                   error ?: strerror(-r));
        return 0;
}

/* The domain goes back to libvirt with its secrets; what is shown has none. */
static int make_changes(Ctl *ctl, Libvirt *lv, Apply *a) {
        _cleanup_free_ char *whole = NULL, *shown = NULL;
        DomainChanges again = {};
        int r;

        r = apply_to(ctl, a, a->subject.libvirt.xml, &shown, &a->changes);
        if (r < 0)
                return r;
        a->diff = diff_texts(a->subject.libvirt.xml, shown);
        if (ctl->is_dry_run || a->changes.n == 0)
                return 0;

        r = libvirt_get_whole_xml(ctl, lv, &a->subject.libvirt, &whole);
        if (r >= 0)
                r = apply_to(ctl, a, whole, &a->xml, &again);
        domain_changes_done(&again);
        return r < 0 ? r : libvirt_define(ctl, lv, a->xml);
}

/* An old libvirt leaves out what it does not know, and says nothing. */
static int verify(Ctl *ctl, Libvirt *lv, const Apply *a) {
        _cleanup_(subject_done) Subject now = {};
        char reason[DOMAIN_REASON_SIZE] = "";
        int r;

        r = subject_get(ctl, lv, a->subject.libvirt.uuid, &now);
        if (r < 0)
                return r;
        if (now.unreadable || !domain_has_tier(&now.domain, a->tier, reason))
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EIO, NULL,
                                   "libvirt %s has taken the XML, and left out what the tier %s "
                                   "wants: %s",
                                   VERSION_STRING(a->versions.libvirt),
                                   domain_tier_to_string(a->tier), now.unreadable ?: reason);
        if (a->fdgroup == FDGROUP_ADD && now.domain.n_functions > 0 &&
            !domain_takes_context(&now.domain))
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EIO, NULL,
                                   "libvirt %s has taken the XML without its <iommufd fdgroup=>",
                                   VERSION_STRING(a->versions.libvirt));
        return 0;
}

/* ---- showing ---- */

static void show_json(Ctl *ctl, const Apply *a) {
        _cleanup_(doc_freep) Doc *d = doc_new();

        if (!ctl->is_dry_run)
                doc_add_string(d, "done", ctl->verb);
        doc_add_string(d, "uuid", a->subject.libvirt.uuid);
        doc_add_string(d, "name", a->subject.libvirt.name);
        doc_add_string(d, "tier", domain_tier_to_string(a->tier));
        doc_add_bool(d, "iommufd", a->fdgroup == FDGROUP_ADD);
        doc_add_bool(d, "dry_run", ctl->is_dry_run);
        doc_add_bool(d, "running", a->subject.libvirt.is_running);
        doc_add_bool(d, "saved", a->subject.libvirt.is_saved);
        doc_add_strings(d, "changes", (const char *const *)a->changes.sentences, a->changes.n);
        doc_add_string(d, "diff", a->diff);
        output_doc(&ctl->out, d);
}

static void show_line(Output *o, const char *line, size_t n) {
        _cleanup_free_ char *copy = alloc_check(strndup(line, n)), *shown = NULL;

        shown = alloc_check(text_escape_new(copy));
        if (o->has_colour && (*line == '-' || *line == '+'))
                output_printf(o, "\x1b[%sm%s\x1b[0m\n", *line == '-' ? "31" : "32", shown);
        else
                output_printf(o, "%s\n", shown);
}

static void show_text(Ctl *ctl, const Apply *a) {
        _cleanup_free_ char *name = alloc_check(text_escape_new(a->subject.libvirt.name));
        Output *o = &ctl->out;

        if (a->changes.n == 0) {
                if (!ctl->quiet)
                        output_printf(o, "%s is made for the tier %s already.\n", name,
                                      domain_tier_to_string(a->tier));
                return;
        }
        if (ctl->quiet && !ctl->is_dry_run)
                return;
        output_printf(o, "%s %s for the tier %s:\n", ctl->is_dry_run ? "Would change" : "Changed",
                      name, domain_tier_to_string(a->tier));
        for (size_t i = 0; i < a->changes.n; i++) {
                _cleanup_free_ char *sentence = NULL;

                sentence = alloc_check(text_escape_new(a->changes.sentences[i]));
                output_printf(o, "  %s\n", sentence);
        }
        output_printf(o, "\n");
        for (const char *line = a->diff; *line;) {
                size_t n = (size_t)(strchrnul(line, '\n') - line);

                show_line(o, line, n);
                line += n + (line[n] == '\n');
        }
        if (a->subject.libvirt.is_running)
                ctl_notice(ctl, "The domain runs: this counts from its next start.");
        if (a->subject.libvirt.is_saved)
                ctl_notice(ctl,
                           "The domain was saved (virsh managedsave): its next start restores it "
                           "as it was then, with the XML that it had. This counts from the start "
                           "after that, or from the next after `virsh managedsave-remove`.");
}

int verb_libvirt_apply(Ctl *ctl, int argc, char **argv) {
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        _cleanup_free_ char *capabilities = NULL;
        _cleanup_(apply_done) Apply a = {};
        int r;

        (void)argc;

        if (ctl->request.tier && domain_tier_from_string(ctl->request.tier, &a.tier) < 0)
                return ctl_usage(ctl, "\"%s\" is neither emulated nor virtio", ctl->request.tier);
        if (ctl->iommufd && !streq(ctl->iommufd, "yes") && !streq(ctl->iommufd, "no"))
                return ctl_usage(ctl, "\"%s\" is neither yes nor no", ctl->iommufd);

        r = libvirt_open(ctl, !ctl->is_dry_run, &lv);
        if (r >= 0)
                r = subject_get(ctl, lv, argv[0], &a.subject);
        if (r >= 0)
                r = libvirt_get_versions(ctl, lv, &a.versions);
        if (r < 0)
                return r;
        if (!a.subject.libvirt.is_persistent)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -EINVAL,
                                   "Change the XML with which it is created.",
                                   "The domain %s is not persistent: it has no next start",
                                   a.subject.libvirt.name);
        capabilities = libvirt_get_capabilities(lv);
        abilities_find(&a.versions, capabilities, a.abilities);
        host_parts_find(ctl, &a.versions, &a.parts);

        if (!ctl->request.tier)
                a.tier = choose_tier(&a);
        r = choose_fdgroup(ctl, &a);
        if (r >= 0 && a.tier != DOMAIN_TIER_HARDWARE)
                r = check_abilities(ctl, &a);
        if (r >= 0)
                r = make_changes(ctl, lv, &a);
        if (r >= 0 && !ctl->is_dry_run && a.changes.n > 0)
                r = verify(ctl, lv, &a);
        if (r < 0)
                return r;

        if (ctl->out.json != JSON_OFF)
                show_json(ctl, &a);
        else
                show_text(ctl, &a);
        return 0;
}
