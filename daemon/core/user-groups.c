/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The groups of users for whom the daemon acts while they are not connected. Of who is, the bus says them. The host is asked on the event
 * loop, as for the names in a configuration, so its answers are kept for a while.
 */

#include <errno.h>
#include <time.h>

#include "config/accounts.h"
#include "core/manager-private.h"

#define KEPT_USEC UINT64_C(60000000)

static void forget(KnownGroups *known) {
        free(known->groups);
        *known = (KnownGroups){};
}

void user_groups_forget(Manager *m) {
        for (size_t i = 0; i < KNOWN_GROUPS_MAX; i++)
                forget(m->known_groups + i);
}

/* What is known of @uid, or a place for it: one that is empty, or the oldest. */
static KnownGroups *find_place(Manager *m, uid_t uid) {
        KnownGroups *place = m->known_groups;

        for (size_t i = 0; i < KNOWN_GROUPS_MAX; i++) {
                KnownGroups *known = m->known_groups + i;

                if (known->until_usec > 0 && known->uid == uid)
                        return known;
                if (known->until_usec < place->until_usec)
                        place = known;
        }
        return place;
}

static int look_up(KnownGroups *known, uid_t uid, uint64_t now) {
        int r;

        forget(known);
        r = account_get_groups(uid, &known->groups, &known->n_groups);
        if (r == -ENOMEM)
                return r;
        known->uid = uid; /* one whom the host does not know is in none */
        known->until_usec = now + KEPT_USEC;
        return 0;
}

int user_groups_complete(Manager *m, VmRequest *request) {
        const PartyPolicy *tenant = policy_find_tenant(m->config.policy, request->tenant);
        KnownGroups *known;
        uint64_t now = 0;
        int r;

        if (request->groups || request->uid == 0 || !tenant || tenant->n_groups == 0)
                return 0;
        (void)sd_event_now(m->event, CLOCK_MONOTONIC, &now);
        known = find_place(m, request->uid);
        if (known->uid != request->uid || known->until_usec <= now) {
                r = look_up(known, request->uid, now);
                if (r < 0)
                        return r;
        }
        return vm_request_set_groups(request, known->groups, known->n_groups);
}
