/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI functions that could be assigned: their drivers, their groups, and their interrupts.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "doctor/listing.h"
#include "doctor/parse.h"
#include "lib/alloc.h"

#define NO_GROUP UINT32_MAX

static bool is_on_vfio(const BusFunction *x) {
        return strstr(x->driver, "vfio") != NULL;
}

static void check_bound(const BusFacts *b, Findings *out) {
        size_t n = 0;

        for (size_t i = 0; i < b->n_functions; i++)
                n += is_on_vfio(&b->functions[i]);
        if (n > 0) {
                finding_add(out, FINDING_FUNCTIONS_BOUND, LEVEL_FINE,
                            "Functions on vfio-pci: %zu of %zu.", n, b->n_functions);
                return;
        }
        if (b->n_functions == 0) {
                finding_add(out, FINDING_FUNCTIONS_BOUND, LEVEL_WARNING,
                            "The host has no PCI function that could be assigned.");
                return;
        }
        finding_add(out, FINDING_FUNCTIONS_BOUND, LEVEL_WARNING,
                    "None of %zu functions is on vfio-pci: only VMs whose functions libvirt binds "
                    "can be admitted, and what the kernel can is not found out. `aviommuctl "
                    "functions` lists the addresses.",
                    b->n_functions);
        finding_mend(out, "driverctl set-override SSSS:BB:DD.F vfio-pci");
}

/* ---- groups ---- */

typedef struct Group {
        size_t n, n_host, n_vfio; /* functions; on drivers of the host, and of VFIO */
        Listing members;
} Group;

static void group_count(const BusFacts *b, const BusFunction *first, Group *ret) {
        *ret = (Group){};
        for (const BusFunction *x = first; x < b->functions + b->n_functions; x++)
                if (x->group == first->group) {
                        listing_add(&ret->members, x->address);
                        ret->n++;
                        ret->n_vfio += is_on_vfio(x);
                        ret->n_host += !is_on_vfio(x) && !streq(x->driver, "");
                }
}

static bool is_first_of_group(const BusFacts *b, const BusFunction *x) {
        for (const BusFunction *y = b->functions; y < x; y++)
                if (y->group == x->group)
                        return false;
        return true;
}

/* Groups of which the same is to be said, as "10 (0000:41:00.0, 0000:41:00.1)". */
typedef struct Groups {
        size_t n_shared;      /* with more than one function */
        Listing whole, mixed; /* of those: on vfio alone; on drivers of the host too */
} Groups;

static void groups_done(Groups *g) {
        listing_done(&g->whole);
        listing_done(&g->mixed);
}

static void groups_sort(const BusFacts *b, Groups *ret) {
        for (size_t i = 0; i < b->n_functions; i++) {
                _cleanup_free_ char *members = NULL, *text = NULL;
                const BusFunction *x = &b->functions[i];
                Group g;

                if (x->group == NO_GROUP || !is_first_of_group(b, x))
                        continue;
                group_count(b, x, &g);
                members = listing_text(&g.members);
                text = alloc_printf("%u (%s)", x->group, members);
                listing_done(&g.members);
                ret->n_shared += g.n > 1;
                if (g.n > 1 && g.n_vfio > 0)
                        listing_add(g.n_host > 0 ? &ret->mixed : &ret->whole, text);
        }
}

static void check_groups(const BusFacts *b, Findings *out) {
        _cleanup_(groups_done) Groups g = {};
        _cleanup_free_ char *whole = NULL, *mixed = NULL;

        groups_sort(b, &g);
        whole = listing_text(&g.whole);
        mixed = listing_text(&g.mixed);
        if (g.mixed.n > 0) {
                finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING,
                            "Not isolated within, and with functions both on vfio-pci and on "
                            "drivers of the host, so that the kernel assigns none of them: group "
                            "%s. Bind the others too, or none.",
                            mixed);
                finding_mend(out, "aviommuctl functions");
        }
        if (g.whole.n > 0)
                finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING,
                            "Not isolated within, so that its functions go to one VM, all "
                            "together: group %s. Another slot may be isolated (PCIe ACS).",
                            whole);
        if (g.mixed.n > 0 || g.whole.n > 0)
                return;
        if (g.n_shared > 0)
                finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_FINE,
                            "Groups that are not isolated within: %zu, and no function of theirs "
                            "is on vfio-pci.",
                            g.n_shared);
        else
                finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_FINE,
                            "Every function is isolated from the others.");
}

/* ---- interrupts ---- */

static bool allows_unsafe(const KernelFacts *k) {
        for (size_t i = 0; i < ELEMENTSOF(k->parameters); i++)
                if (k->parameters[i].module &&
                    streq(k->parameters[i].name, "allow_unsafe_interrupts") &&
                    streq(k->parameters[i].value, "Y"))
                        return true;
        return false;
}

static void check_interrupts(const Facts *facts, Findings *out) {
        bool is_allowed = allows_unsafe(&facts->kernel);

        if (facts->interrupts.error < 0)
                finding_add_unreadable(out, FINDING_INTERRUPTS_REMAPPING, "/proc/interrupts",
                                       facts->interrupts.error);
        else if (interrupts_are_remapped(facts->interrupts.data))
                finding_add(out, FINDING_INTERRUPTS_REMAPPING, LEVEL_FINE,
                            "Interrupts are remapped.");
        else if (is_allowed)
                finding_add(out, FINDING_INTERRUPTS_REMAPPING, LEVEL_WARNING,
                            "Interrupts are not remapped, and allow_unsafe_interrupts lets "
                            "functions be assigned all the same: a guest can raise any interrupt "
                            "of the host.");
        else {
                finding_add(out, FINDING_INTERRUPTS_REMAPPING, LEVEL_FAULT,
                            "Interrupts are not remapped: the kernel refuses to assign functions "
                            "(EPERM). The IOMMU is switched off, in the firmware's setup or on "
                            "the kernel's command line.");
                finding_keeps_from(out, TIERS_ALL);
        }
        if (facts->interrupts.error == 0 && !interrupts_are_remapped(facts->interrupts.data))
                finding_mend(out, MEND_FIRMWARE);
}

void check_functions(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;

        if (b->functions_failure.exit_code != CLIENT_EXIT_OK)
                finding_add_unanswered(out, FINDING_FUNCTIONS_BOUND, "the functions and groups",
                                       &b->functions_failure);
        else if (bus_is_reachable(b)) {
                check_bound(b, out);
                check_groups(b, out);
        }
        if (facts_may_be_x86(facts)) /* the chips of others have other names */
                check_interrupts(facts, out);
}
