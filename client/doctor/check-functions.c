/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * PCI functions that could be assigned: their drivers, their groups, and their interrupts.
 */
#include "doctor/check.h"

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

/* The functions of the group of @first, as words; counts those on a host's driver and on vfio. */
static char *group_members(const BusFacts *b, const BusFunction *first, size_t *ret_n,
                           size_t *ret_host, size_t *ret_vfio) {
        char *names = alloc_printf("%s", "");

        *ret_n = *ret_host = *ret_vfio = 0;
        for (const BusFunction *x = first; x < b->functions + b->n_functions; x++) {
                char *longer;

                if (x->group != first->group)
                        continue;
                longer = alloc_printf("%s%s%s", names, *ret_n > 0 ? ", " : "", x->address);
                free(names);
                names = longer;
                ++*ret_n;
                *ret_vfio += is_on_vfio(x);
                *ret_host += !is_on_vfio(x) && !streq(x->driver, "");
        }
        return names;
}

static bool is_first_of_group(const BusFacts *b, const BusFunction *x) {
        for (const BusFunction *y = b->functions; y < x; y++)
                if (y->group == x->group)
                        return false;
        return true;
}

static void check_groups(const BusFacts *b, Findings *out) {
        size_t n_shared = 0;
        bool is_said = false;

        for (const BusFunction *x = b->functions; x < b->functions + b->n_functions; x++) {
                _cleanup_free_ char *names = NULL;
                size_t n, n_host, n_vfio;

                if (x->group == NO_GROUP || !is_first_of_group(b, x))
                        continue;
                names = group_members(b, x, &n, &n_host, &n_vfio);
                n_shared += n > 1;
                if (n < 2 || n_vfio == 0)
                        continue;
                is_said = true;
                if (n_host > 0) {
                        finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_FAULT,
                                    "Group %u is not isolated within (%s), and has functions both "
                                    "on vfio-pci and on drivers of the host: the kernel assigns "
                                    "none of them. Bind the others too, or none.",
                                    x->group, names);
                        finding_mend(out, "aviommuctl functions");
                } else
                        finding_add(out, FINDING_FUNCTIONS_GROUPS, LEVEL_WARNING,
                                    "Group %u is not isolated within (%s): its functions go to "
                                    "one VM, all together. Another slot may be isolated (PCIe "
                                    "ACS).",
                                    x->group, names);
        }
        if (is_said)
                return;
        if (n_shared > 0)
                finding_add(
                        out, FINDING_FUNCTIONS_GROUPS, LEVEL_FINE,
                        "Groups that are not isolated within: %zu, and no function of theirs is on "
                        "vfio-pci.",
                        n_shared);
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
        check_interrupts(facts, out);
}
