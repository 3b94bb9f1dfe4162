/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The device nodes, which belong to the daemon's user alone.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "doctor/parse.h"

#define OTHERS_MASK 0077U
#define MEND_NODES                                                                                 \
        "udevadm control --reload && udevadm trigger --subsystem-match=misc "                      \
        "--subsystem-match=vfio-dev"

/* SYS_UID_MAX of login.defs(5), where nobody has changed it. */
#define SYSTEM_UID_MAX 999

static void check_user(const NodeFacts *n, Findings *out) {
        if (n->users_error < 0)
                finding_add_unreadable(out, FINDING_NODES_USER, "/etc/passwd", n->users_error);
        else if (n->user < 0) {
                finding_add(out, FINDING_NODES_USER, LEVEL_FAULT,
                            "There is no user aviommu: the daemon cannot start, and nobody owns "
                            "the device nodes.");
                finding_mend(out, "systemd-sysusers");
        } else if (n->user > SYSTEM_UID_MAX)
                finding_add(out, FINDING_NODES_USER, LEVEL_FAULT,
                            "The user aviommu is somebody's account (uid %u), who owns the device "
                            "nodes and may do all that the daemon may; udev may refuse to give "
                            "him any. Give it another name, and let systemd-sysusers make the "
                            "daemon's.",
                            (unsigned)n->user);
        else
                finding_add(out, FINDING_NODES_USER, LEVEL_FINE, "The user aviommu is there.");
}

/* Whether the daemon's user owns a node. Where there is no such user, that is said, and no more. */
static bool is_owned(const NodeFacts *n, const Node *node) {
        return n->user < 0 || node->uid == (uint64_t)n->user;
}

/* Whether the module that makes /dev/iommu may be there, as far as that is known. */
static bool may_have_iommufd(const KernelFacts *k) {
        return k->config.error < 0 || !kconfig_is_one(k->config.data) ||
               kconfig_get(k->config.data, "IOMMUFD") != 'n';
}

static void check_iommu(const Facts *facts, Findings *out) {
        const NodeFacts *n = &facts->nodes;
        const Node *node = &n->iommu;

        if (node->error == -ENOENT) {
                finding_add(out, FINDING_NODES_IOMMU, LEVEL_WARNING,
                            "There is no /dev/iommu: only handover none works. The module iommufd "
                            "makes it, of a kernel with CONFIG_IOMMUFD.");
                finding_keeps_from(out, TIER_HARDWARE);
                if (may_have_iommufd(&facts->kernel))
                        finding_mend(out, MEND_MODULE, "iommufd");
        } else if (node->error < 0)
                finding_add_unreadable(out, FINDING_NODES_IOMMU, "/dev/iommu", node->error);
        else if (!is_owned(n, node)) {
                finding_add(out, FINDING_NODES_IOMMU, LEVEL_FAULT,
                            "/dev/iommu belongs to user %u, not to aviommu: the daemon cannot "
                            "open it. The rule 60-aviommu.rules of udev sets that.",
                            node->uid);
                finding_keeps_from(out, TIER_HARDWARE);
                finding_mend(out, MEND_NODES);
        } else if (node->mode & OTHERS_MASK) {
                finding_add(out, FINDING_NODES_IOMMU, LEVEL_WARNING,
                            "/dev/iommu is open to others (mode %04o): whoever opens it past the "
                            "daemon takes vIOMMUs that nobody counts.",
                            node->mode);
                finding_mend(out, "chmod 0600 /dev/iommu");
        } else
                finding_add(out, FINDING_NODES_IOMMU, LEVEL_FINE,
                            "/dev/iommu is the daemon's alone.");
}

/* How many functions are on a vfio driver, and how many of those have no node. */
static void count_bound(const BusFacts *b, size_t *ret_bound, size_t *ret_without) {
        *ret_bound = *ret_without = 0;
        for (size_t i = 0; i < b->n_functions; i++)
                if (strstr(b->functions[i].driver, "vfio")) {
                        ++*ret_bound;
                        *ret_without += streq(b->functions[i].cdev, "");
                }
}

static bool bus_tells_functions(const BusFacts *b) {
        return bus_is_reachable(b) && b->functions_failure.exit_code == CLIENT_EXIT_OK;
}

static void check_vfio(const Facts *facts, Findings *out) {
        const NodeFacts *n = &facts->nodes;
        size_t n_bound, n_without, n_wrong = 0;
        const Node *wrong = NULL;

        count_bound(&facts->bus, &n_bound, &n_without);
        if (n->vfio_error < 0 && n->vfio_error != -ENOENT) {
                finding_add_unreadable(out, FINDING_NODES_VFIO, "/dev/vfio/devices", n->vfio_error);
                return;
        }
        for (size_t i = 0; i < n->n_vfio; i++) {
                const Node *node = &n->vfio[i];

                if (node->error == 0 && (!is_owned(n, node) || (node->mode & OTHERS_MASK))) {
                        wrong = node;
                        n_wrong++;
                }
        }
        if (wrong) {
                finding_add(out, FINDING_NODES_VFIO, LEVEL_WARNING,
                            "%zu of %zu nodes in /dev/vfio/devices are not the daemon's alone "
                            "(%s: user %u, mode %04o): it cannot open them, or others can.",
                            n_wrong, n->n_vfio, wrong->name, wrong->uid, wrong->mode);
                finding_mend(out, MEND_NODES);
        } else if (n_without > 0) {
                finding_add(out, FINDING_NODES_VFIO, LEVEL_WARNING,
                            "%zu of %zu functions on vfio-pci have no node in /dev/vfio/devices: "
                            "they can be assigned with handover none alone. The kernel has to "
                            "have CONFIG_VFIO_DEVICE_CDEV.",
                            n_without, n_bound);
                finding_keeps_from(out, n_without == n_bound ? TIER_HARDWARE : 0);
        } else if (n->n_vfio > 0)
                finding_add(out, FINDING_NODES_VFIO, LEVEL_FINE,
                            "Nodes in /dev/vfio/devices: %zu, the daemon's alone.", n->n_vfio);
        else if (!bus_tells_functions(&facts->bus)) {
                finding_add(out, FINDING_NODES_VFIO, LEVEL_UNCHECKED,
                            "There is nothing in /dev/vfio/devices. Whether a function is on "
                            "vfio-pci that should be, aviommud does not tell.");
                if (facts->bus.failure.exit_code == CLIENT_EXIT_DENIED ||
                    facts->bus.functions_failure.exit_code == CLIENT_EXIT_DENIED)
                        finding_mend(out, "sudo aviommuctl doctor");
        } else
                finding_add(out, FINDING_NODES_VFIO, LEVEL_FINE,
                            "There is nothing in /dev/vfio/devices, and no function on vfio-pci "
                            "that should be.");
}

void check_nodes(const Facts *facts, Findings *out) {
        check_user(&facts->nodes, out);
        check_iommu(facts, out);
        check_vfio(facts, out);
}
