/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is left of what vIOMMUs and VMs take: memory that may be locked, contiguous memory, and the other resources.
 */
#include "doctor/check.h"

#include "doctor/check-common.h"
#include "doctor/parse.h"
#include "lib/format.h"

#define INSTANCE_BYTES (UINT64_C(3) * 512 * 1024) /* of contiguous memory */
#define FEW_INSTANCES  16U

static void check_lock(const Facts *facts, Findings *out) {
        const Blob *b = &facts->daemon_limits;
        uint64_t bytes;

        if (b->error < 0) {
                if (b->error == -ENODATA)
                        finding_add(out, FINDING_MEMORY_LOCK, LEVEL_UNCHECKED,
                                    "Which process the daemon is cannot be told, so neither how "
                                    "much memory it may lock.");
                else
                        finding_add_unreadable(out, FINDING_MEMORY_LOCK,
                                               "/proc/PID/limits of the daemon", b->error);
        } else if (limits_get_memlock(b->data, &bytes) < 0)
                finding_add(out, FINDING_MEMORY_LOCK, LEVEL_UNCHECKED,
                            "/proc/PID/limits of the daemon does not tell how much memory it may "
                            "lock.");
        else if (bytes == UINT64_MAX)
                finding_add(out, FINDING_MEMORY_LOCK, LEVEL_FINE,
                            "The daemon may lock memory without a limit; the ledger has its own.");
        else {
                finding_add(out, FINDING_MEMORY_LOCK, LEVEL_WARNING,
                            "The daemon may lock %s of memory, and pins that of VMs whose context "
                            "it makes: mapping more fails. Give it LimitMEMLOCK=infinity.",
                            FORMAT_BYTES(bytes));
                finding_mend(out, "systemctl edit aviommud");
        }
}

static uint64_t left_of(const Resource *x) {
        return x->used >= x->capacity ? 0 : x->capacity - x->used;
}

static bool is_contiguous(const Resource *x) {
        return streq(x->kind, "contiguous-memory");
}

static void check_contiguous(const BusFacts *b, Findings *out) {
        size_t n = 0, n_short = 0, n_none = 0;

        for (size_t i = 0; i < b->resources.n; i++)
                if (is_contiguous(&b->resources.items[i])) {
                        n++;
                        n_none += left_of(&b->resources.items[i]) < INSTANCE_BYTES;
                }
        for (size_t i = 0; i < b->resources.n; i++) {
                const Resource *x = &b->resources.items[i];
                uint64_t n_instances = left_of(x) / INSTANCE_BYTES;

                if (!is_contiguous(x) || n_instances >= FEW_INSTANCES)
                        continue;
                n_short++;
                finding_add(out, FINDING_MEMORY_CONTIGUOUS, LEVEL_WARNING,
                            "%s has contiguous memory for %s more vIOMMUs (%s; each takes 1.5M). "
                            "Compacting may join what is free.",
                            x->scope, FORMAT_COUNT(n_instances), FORMAT_BYTES(left_of(x)));
                /* A node that has some is enough for a vIOMMU. */
                finding_keeps_from(out, n_none == n ? TIER_HARDWARE : 0);
                finding_mend(out, "echo 1 > /proc/sys/vm/compact_memory");
        }
        if (n > 0 && n_short == 0)
                finding_add(out, FINDING_MEMORY_CONTIGUOUS, LEVEL_FINE,
                            "Every node has contiguous memory for vIOMMUs.");
}

/* The tiers that cannot be had without a resource. */
static unsigned tiers_of(const char *kind) {
        return streq(kind, "pinned-memory") || streq(kind, "descriptors") ? TIERS_ALL
                                                                          : TIER_HARDWARE;
}

static void check_left(const BusFacts *b, Findings *out) {
        size_t n = 0, n_gone = 0;

        for (size_t i = 0; i < b->resources.n; i++) {
                const Resource *x = &b->resources.items[i];

                if (is_contiguous(x))
                        continue;
                n++;
                if (x->capacity == 0 || left_of(x) > 0) /* none of it was ever there */
                        continue;
                n_gone++;
                finding_add(out, FINDING_RESOURCES_LEFT, LEVEL_WARNING,
                            "Nothing is left of %s of %s (%s of %s in use): VMs that want some "
                            "are refused until others give it back.",
                            x->kind, x->scope, FORMAT_COUNT(x->used), FORMAT_COUNT(x->capacity));
                finding_keeps_from(out, streq(x->scope, "host") ? tiers_of(x->kind) : 0);
                finding_mend(out, "aviommuctl list");
        }
        if (n > 0 && n_gone == 0)
                finding_add(out, FINDING_RESOURCES_LEFT, LEVEL_FINE,
                            "Something is left of every resource.");
}

void check_memory(const Facts *facts, Findings *out) {
        if (!bus_is_reachable(&facts->bus))
                return;
        check_lock(facts, out);
        check_contiguous(&facts->bus, out);
        check_left(&facts->bus, out);
}
