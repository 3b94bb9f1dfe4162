/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was left behind: VMs in quarantine, records set aside, functions that wait on vfio-pci for nobody, and processes
 * with /dev/iommu open past the daemon.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"

#include <strings.h>

#include "doctor/listing.h"
#include "doctor/parse.h"

static void check_quarantined(const BusFacts *b, Findings *out) {
        bool has_vm = false, has_record = false;

        if (b->quarantined_failure.exit_code != CLIENT_EXIT_OK) {
                finding_add_unanswered(out, FINDING_LEFTOVERS_VMS, "what is quarantined",
                                       &b->quarantined_failure);
                return;
        }
        for (size_t i = 0; i < b->n_quarantined; i++) {
                const BusQuarantined *q = &b->quarantined[i];

                if (streq(q->kind, "vm")) {
                        has_vm = true;
                        finding_add(out, FINDING_LEFTOVERS_VMS, LEVEL_WARNING,
                                    "The VM %s is quarantined, and charged still: %s Giving it up "
                                    "takes nothing from whoever holds it; end that first.",
                                    q->uuid, q->reason);
                } else if (streq(q->kind, "newer-record")) {
                        has_record = true;
                        finding_add(out, FINDING_LEFTOVERS_RECORDS, LEVEL_FAULT,
                                    "A newer daemon wrote the record of the VM %s, and nothing is "
                                    "granted as long as it is there: %s Install that version "
                                    "again, or give the VM up.",
                                    q->uuid, q->reason);
                } else {
                        has_record = true;
                        finding_add(out, FINDING_LEFTOVERS_RECORDS, LEVEL_WARNING,
                                    "The record of the VM %s was set aside: %s", q->uuid,
                                    q->reason);
                }
                finding_mend(out, "aviommuctl reclaim %s", q->uuid);
        }
        if (!has_vm)
                finding_add(out, FINDING_LEFTOVERS_VMS, LEVEL_FINE, "No VM is quarantined.");
        if (!has_record)
                finding_add(out, FINDING_LEFTOVERS_RECORDS, LEVEL_FINE, "No record was set aside.");
}

/* ---- functions ---- */

static bool is_overridden(const Facts *facts, const char *address) {
        for (size_t i = 0; i < facts->overrides.n; i++)
                if (streq(facts->overrides.items[i], address))
                        return true;
        return false;
}

/* What binds functions to vfio-pci at boot: driverctl by their addresses, the module by their ids. */
static bool is_meant(const Facts *facts, const BusFunction *x) {
        return is_overridden(facts, x->address) ||
               (facts->vfio_ids.error == 0 &&
                vfio_ids_have(facts->vfio_ids.data, x->vendor_id, x->device_id));
}

/* @first is one of @idle, for the command. */
static void check_idle(const Facts *facts, const Listing *idle, const char *first, Findings *out) {
        _cleanup_free_ char *names = listing_text(idle);
        PciAddress a;

        finding_add(out, FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING,
                    "On vfio-pci, and nobody has them, nor does anything bind them there at boot "
                    "(driverctl, vfio-pci.ids=): %s. A VM may have left them. The command gives "
                    "the first back to the host; `driverctl set-override` keeps one.",
                    names);
        if (*facts->libvirt.libvirt.path && pci_address_parse(first, &a) >= 0) {
                const char *full = PCI_ADDRESS_STRING(&a);

                finding_mend(out, "virsh nodedev-reattach pci_%.4s_%.2s_%.2s_%.1s", full, full + 5,
                             full + 8, full + 11);
        } else
                finding_mend(out, "driverctl unset-override %s", first);
}

static void check_bound(const Facts *facts, Findings *out) {
        _cleanup_(listing_done) Listing idle = {};
        const BusFacts *b = &facts->bus;
        const char *first = NULL;
        bool has_lost = false;
        size_t n_meant = 0;

        if (b->functions_failure.exit_code != CLIENT_EXIT_OK)
                return; /* said where the functions are looked at */
        for (size_t i = 0; i < b->n_functions; i++) {
                const BusFunction *x = &b->functions[i];

                if (streq(x->state, "lost")) {
                        has_lost = true;
                        finding_add(out, FINDING_LEFTOVERS_FUNCTIONS, LEVEL_WARNING,
                                    "%s is gone from the host, and the VM %s has it still.",
                                    x->address, x->uuid);
                        finding_mend(out, "aviommuctl detach %s %s", x->uuid, x->address);
                } else if (streq(x->state, "idle") && is_meant(facts, x))
                        n_meant++;
                else if (streq(x->state, "idle")) {
                        first = first ?: x->address;
                        listing_add(&idle, x->address);
                }
        }
        if (first)
                check_idle(facts, &idle, first, out);
        else if (!has_lost)
                finding_add(out, FINDING_LEFTOVERS_FUNCTIONS, LEVEL_FINE,
                            "Functions that wait on vfio-pci for a VM: %zu, as they are meant to.",
                            n_meant);
}

/* ---- holders of /dev/iommu ---- */

static bool is_of_vm(const BusFacts *b, const FoundHolder *h) {
        for (size_t i = 0; i < b->n_vms; i++)
                if (strcasecmp(b->vms[i], h->uuid) == 0)
                        return true;
        return false;
}

/* systemd keeps the daemon's descriptors for it, agent and libvirt carry them to QEMU. */
static bool is_carrier(const BusFacts *b, const Holder *h) {
        static const char *const names[] = { "aviommud", "aviommu-libvirt", "libvirtd", "virtqemud",
                                             "aviommuctl" };

        if (h->pid == HOLDERS_SERVICE_MANAGER || (b->pid != 0 && (uint32_t)h->pid == b->pid))
                return true;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(h->command, names[i]))
                        return true;
        return false;
}

static void check_holders(const Facts *facts, Findings *out) {
        const HolderFacts *h = &facts->holders;
        const BusFacts *b = &facts->bus;
        bool is_known = bus_is_reachable(b) && b->vms_failure.exit_code == CLIENT_EXIT_OK;
        bool is_said = false;

        if (h->error < 0) {
                finding_add_unreadable(out, FINDING_LEFTOVERS_HOLDERS, "/proc", h->error);
                return;
        }
        for (size_t i = 0; i < h->n; i++) {
                const FoundHolder *x = &h->items[i];
                const Holder *p = &x->holder;

                if (p->kind == HOLDER_GRANTED || is_carrier(b, p) || is_of_vm(b, x))
                        continue;
                is_said = true;
                finding_add(out, FINDING_LEFTOVERS_HOLDERS, LEVEL_WARNING,
                            "Process %i (%s) has /dev/iommu open%s: it can take vIOMMUs that "
                            "nobody counts.%s",
                            p->pid, p->command,
                            !is_known  ? ", and which VMs there are is not known"
                            : *x->uuid ? ", for a VM that the daemon does not know"
                                       : ", and its command line names no VM of the daemon's",
                            p->kind == HOLDER_UNKNOWN
                                    ? " (Or it has it from the daemon: only root may compare.)"
                                    : "");
                finding_mend(out, "ps -fp %i", p->pid);
        }
        if (h->n_hidden > 0) {
                finding_add(out, FINDING_LEFTOVERS_HOLDERS, LEVEL_UNCHECKED,
                            "Only root may see what %zu other processes have open.", h->n_hidden);
                finding_mend(out, "sudo aviommuctl doctor");
        } else if (!is_said)
                finding_add(out, FINDING_LEFTOVERS_HOLDERS, LEVEL_FINE,
                            "Nobody has /dev/iommu open past the daemon.");
}

void check_leftovers(const Facts *facts, Findings *out) {
        if (bus_is_reachable(&facts->bus)) {
                check_quarantined(&facts->bus, out);
                check_bound(facts, out);
        }
        check_holders(facts, out);
}
