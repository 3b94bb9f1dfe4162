/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU, libvirt, and what of aviommud belongs to them: the hook and the agent.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "lib/unit.h"
#include "lib/version.h"

#ifndef AVIOMMU_LIBVIRT_HOOK
#error "The build has to define AVIOMMU_LIBVIRT_HOOK and AVIOMMU_SBIN_DIR"
#endif

/* Reads a version. Returns false, with a line added, where there is none to read. */
static bool read_version(const Program *p, FindingId id, uint64_t *ret, Findings *out) {
        if (p->error < 0)
                finding_add(out, id, LEVEL_UNCHECKED, "%s --version gives no answer: %s", p->path,
                            strerror(-p->error));
        else if (version_parse(p->output, ret) < 0)
                finding_add(out, id, LEVEL_UNCHECKED, "%s --version does not name a version.",
                            p->path);
        else
                return true;
        return false;
}

static void check_qemu(const Program *p, Findings *out) {
        uint64_t v;

        if (!*p->path) {
                finding_add(out, FINDING_QEMU_VERSION, LEVEL_WARNING,
                            "There is no QEMU for x86 here, which makes the vIOMMUs of the tiers "
                            "emulated and virtio.");
                finding_keeps_from(out, TIERS_QEMU);
                finding_mend(out, "apt install qemu-system-x86");
                return;
        }
        if (!read_version(p, FINDING_QEMU_VERSION, &v, out))
                return;
        if (v < QEMU_WITH_DMA_REMAP) {
                finding_add(out, FINDING_QEMU_VERSION, LEVEL_WARNING,
                            "%s is %s: its amd-iommu does not remap DMA (%s and later do)%s.",
                            p->path, VERSION_STRING(v), VERSION_STRING(QEMU_WITH_DMA_REMAP),
                            v < QEMU_WITH_VIRTIO ? ", and it has no virtio-iommu for x86" : "");
                finding_keeps_from(out, v < QEMU_WITH_VIRTIO ? TIERS_QEMU : TIER_EMULATED);
                finding_mend(out, "apt install --only-upgrade qemu-system-x86");
        } else
                finding_add(out, FINDING_QEMU_VERSION, LEVEL_FINE,
                            "%s is %s: emulated and virtio. The hardware tier wants AMD's QEMU "
                            "tree or another VMM; no released QEMU has it.",
                            p->path, VERSION_STRING(v));
}

static void check_version(const Program *p, Findings *out) {
        uint64_t v;

        if (!read_version(p, FINDING_LIBVIRT_VERSION, &v, out))
                return;
        if (v >= LIBVIRT_WITH_FDGROUP) {
                finding_add(out, FINDING_LIBVIRT_VERSION, LEVEL_FINE,
                            "libvirt is %s: domains can take the daemon's iommufd.",
                            VERSION_STRING(v));
                return;
        }
        finding_add(out, FINDING_LIBVIRT_VERSION, LEVEL_WARNING,
                    "libvirt is %s: its domains cannot take the daemon's iommufd (%s and later "
                    "can), handover none alone works%s%s.",
                    VERSION_STRING(v), VERSION_STRING(LIBVIRT_WITH_FDGROUP),
                    v < LIBVIRT_WITH_AMD ? "; it cannot describe an amd-iommu" : "",
                    v < LIBVIRT_WITH_VIRTIO ? ", nor a virtio-iommu" : "");
}

static void check_hook(const LibvirtFacts *l, Findings *out) {
        if (l->hook_error == 0) {
                finding_add(out, FINDING_LIBVIRT_HOOK, LEVEL_FINE, "The hook is in place.");
                return;
        }
        if (l->is_hook_hidden) {
                finding_add_unreadable(out, FINDING_LIBVIRT_HOOK, AVIOMMU_LIBVIRT_HOOK,
                                       l->hook_error);
                return;
        }
        finding_add(out, FINDING_LIBVIRT_HOOK, LEVEL_WARNING,
                    "%s is not there, or cannot be run (%s): nobody asks the daemon whether a "
                    "domain may start. libvirt looks for hooks when it starts and when it is "
                    "reloaded.",
                    AVIOMMU_LIBVIRT_HOOK, strerror(-l->hook_error));
        /* The unit is called as the program is: libvirtd or virtqemud. */
        finding_mend(out,
                     "mkdir -p %.*s && ln -sfn %s/aviommu-libvirt-hook %s && systemctl reload %s",
                     (int)(strrchr(AVIOMMU_LIBVIRT_HOOK, '/') - AVIOMMU_LIBVIRT_HOOK),
                     AVIOMMU_LIBVIRT_HOOK, AVIOMMU_SBIN_DIR, AVIOMMU_LIBVIRT_HOOK,
                     strrchr(l->libvirt.path, '/') + 1);
}

static void check_agent(const char *state, Findings *out) {
        if (streq(state, ""))
                finding_add(out, FINDING_LIBVIRT_AGENT, LEVEL_UNCHECKED,
                            "systemd does not tell of %s.", AGENT_UNIT);
        else if (streq(state, "active"))
                finding_add(out, FINDING_LIBVIRT_AGENT, LEVEL_FINE, "The agent runs.");
        else {
                finding_add(out, FINDING_LIBVIRT_AGENT, LEVEL_WARNING,
                            "%s is %s: domains that are to take the daemon's iommufd do not "
                            "start, and domains that ended unseen stay charged.",
                            AGENT_UNIT, state);
                finding_mend(out, "systemctl enable --now %s", AGENT_UNIT);
        }
}

/* Whether there is something of aviommud that has no use but with libvirt. */
static bool is_expected(const Facts *facts) {
        const char *agent = facts->bus.agent;

        return facts->libvirt.hook_error == 0 ||
               (!streq(agent, "") && !streq(agent, "not-found") && !streq(agent, "masked"));
}

void check_libvirt(const Facts *facts, Findings *out) {
        const LibvirtFacts *l = &facts->libvirt;

        check_qemu(&l->qemu, out);
        if (!*l->libvirt.path) {
                if (is_expected(facts))
                        finding_add(out, FINDING_LIBVIRT_VERSION, LEVEL_UNCHECKED,
                                    "libvirt's daemon is not where it is looked for, but hook or "
                                    "agent are here: version, hook and agent are not checked.");
                else
                        finding_add(out, FINDING_LIBVIRT_VERSION, LEVEL_FINE,
                                    "libvirt is not here: hook and agent have nothing to do.");
                return;
        }
        check_version(&l->libvirt, out);
        check_hook(l, out);
        check_agent(facts->bus.agent, out);
}
