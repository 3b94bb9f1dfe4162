/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon itself, and what it says of the tiers. Where it cannot be asked, what it alone knows is said once to be
 * unchecked, here.
 */
#include "doctor/check.h"

#include "lib/alloc.h"

static void check_reachable(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;

        if (bus_is_reachable(b)) {
                finding_add(out, FINDING_DAEMON_REACHABLE, LEVEL_FINE, "aviommud %s answers.",
                            strempty(b->version));
                return;
        }
        if (b->failure.exit_code == CLIENT_EXIT_DENIED) {
                finding_add(out, FINDING_DAEMON_REACHABLE, LEVEL_UNCHECKED,
                            "You may not ask aviommud: %s. What it alone knows is not checked: "
                            "host IOMMUs, functions, groups, tiers, resources, leftovers.",
                            b->failure.text);
                finding_mend(out, "sudo aviommuctl doctor");
                return;
        }
        finding_add(out, FINDING_DAEMON_REACHABLE, LEVEL_FAULT,
                    "%s. What it alone knows is not checked: host IOMMUs, functions, groups, "
                    "tiers, resources, leftovers.",
                    b->failure.text);
        finding_keeps_from(out, TIERS_ALL);
        finding_mend(out, "%s",
                     b->failure.exit_code == CLIENT_EXIT_UNREACHABLE ? "systemctl start aviommud"
                                                                     : "systemctl status aviommud");
}

static void check_version(const Facts *facts, Findings *out) {
        const char *version = strempty(facts->bus.version);

        if (streq(version, facts->client_version)) {
                finding_add(out, FINDING_DAEMON_VERSION, LEVEL_FINE,
                            "aviommuctl and the daemon are of one version.");
                return;
        }
        finding_add(out, FINDING_DAEMON_VERSION, LEVEL_WARNING,
                    "aviommuctl is %s and the daemon that runs %s: it was not restarted after an "
                    "upgrade. A restart takes nothing from a VM.",
                    facts->client_version, version);
        finding_mend(out, "systemctl restart aviommud");
}

static void check_problems(const BusFacts *b, Findings *out) {
        _cleanup_free_ char *all = NULL;

        if (b->problems.n == 0) {
                finding_add(out, FINDING_DAEMON_PROBLEMS, LEVEL_FINE,
                            "The daemon misses nothing on this host.");
                return;
        }
        all = alloc_printf("%s", b->problems.items[0]);
        for (size_t i = 1; i < b->problems.n; i++) {
                char *longer = alloc_printf("%s %s", all, b->problems.items[i]);

                free(all);
                all = longer;
        }
        finding_add(out, FINDING_DAEMON_PROBLEMS, LEVEL_WARNING, "The daemon says: %s", all);
}

static void check_tiers(const BusFacts *b, Findings *out) {
        for (size_t i = 0; i < b->n_tiers; i++) {
                const BusTier *t = &b->tiers[i];
                unsigned tier = tier_from_string(t->name);
                FindingId id = tier == TIER_HARDWARE   ? FINDING_DAEMON_HARDWARE
                               : tier == TIER_EMULATED ? FINDING_DAEMON_EMULATED
                                                       : FINDING_DAEMON_VIRTIO;

                if (tier == 0) /* of a newer daemon */
                        continue;
                if (t->is_available) {
                        finding_add(out, id, LEVEL_FINE, "The daemon has the tier %s.", t->name);
                        continue;
                }
                finding_add(out, id, LEVEL_WARNING, "The daemon does not have the tier %s: %s",
                            t->name, t->reason);
                finding_keeps_from(out, tier);
        }
}

void check_daemon(const Facts *facts, Findings *out) {
        const BusFacts *b = &facts->bus;

        check_reachable(facts, out);
        if (!bus_is_reachable(b))
                return;
        check_version(facts, out);
        if (streq(strempty(b->kernel), "simulated"))
                finding_add(out, FINDING_DAEMON_SIMULATED, LEVEL_WARNING,
                            "The daemon arbitrates a simulated host: its IOMMUs, functions and "
                            "tiers are not this machine's.");
        check_problems(b, out);
        check_tiers(b, out);
}
