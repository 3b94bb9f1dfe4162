/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Which VM or reservation holds which PCI function. A function has one holder at most. */

#include <errno.h>

#include "core/manager-private.h"

_Static_assert(sizeof(PciAddress) == 4, "hashed as bytes: it may have no padding");

Claim *claims_find(const Manager *m, const PciAddress *function) {
        Claim *claim;

        HASH_FIND(hh, m->claims, function, sizeof(*function), claim);
        return claim;
}

static int claim_new(Manager *m, Vm *vm, Reservation *reservation, const PciAddress *function) {
        Claim *claim;

        assert(!claims_find(m, function));

        claim = new0(Claim, 1);
        if (!claim)
                return -ENOMEM;
        claim->function = *function;
        claim->vm = vm;
        claim->reservation = reservation;
        HASH_ADD(hh, m->claims, function, sizeof(claim->function), claim);
        if (!claim->hh.tbl) {
                free(claim);
                return -ENOMEM;
        }
        return 0;
}

/* What a reservation held is its own again. */
static void claim_drop(Manager *m, Claim *claim) {
        if (claim->vm && claim->reservation)
                claim->vm = NULL;
        else
                claims_remove(m, &claim->function);
}

int claims_add_one(Manager *m, Vm *vm, const PciAddress *function) {
        Claim *claim = claims_find(m, function);

        if (!claim)
                return claim_new(m, vm, NULL, function);
        assert(vm && !claim->vm && claim->reservation && claim->reservation == m->deciding_for);
        claim->vm = vm;
        return 0;
}

void claims_remove_one(Manager *m, const PciAddress *function) {
        Claim *claim = claims_find(m, function);

        if (claim)
                claim_drop(m, claim);
}

int claims_add(Manager *m, Vm *vm, Reservation *reservation, const VmContext *ctx) {
        for (size_t i = 0; i < ctx->n_functions; i++) {
                Claim *claim = claims_find(m, &ctx->functions[i].address);
                int r = 0;

                if (claim) {
                        assert(vm && !claim->vm && claim->reservation &&
                               claim->reservation == reservation);
                        claim->vm = vm;
                } else
                        r = claim_new(m, vm, vm ? NULL : reservation, &ctx->functions[i].address);
                if (r < 0) {
                        while (i-- > 0)
                                claim_drop(m, claims_find(m, &ctx->functions[i].address));
                        return r;
                }
        }
        return 0;
}

void claims_remove(Manager *m, const PciAddress *function) {
        Claim *claim = claims_find(m, function);

        if (!claim)
                return;
        HASH_DEL(m->claims, claim);
        free(claim);
}

void claims_remove_all(Manager *m, const VmContext *ctx) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                claims_remove_one(m, &ctx->functions[i].address);
}
