/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/recovery.h"

static RecoveryDecision release(const char *end_reason, const char *lost) {
        return (RecoveryDecision){ .verdict = RECOVERY_RELEASE,
                                   .end_reason = end_reason,
                                   .lost = lost };
}

static RecoveryDecision drop(const char *lost) {
        return (RecoveryDecision){ .verdict = RECOVERY_DROP, .lost = lost };
}

bool recovery_asks_for_binding(const VmContext *ctx, size_t i) {
        const ContextFunction *f = ctx->functions + i;

        return ctx->handover == HANDOVER_DAEMON && !ctx->confirming && !f->pending &&
               !f->draining && !f->handed_over;
}

FunctionFate recovery_decide_function(const RecoveryFacts *facts, size_t i) {
        const VmContext *ctx = facts->context;
        const ContextFunction *f = ctx->functions + i;
        const RecoveryFunction *fact = facts->functions + i;

        if (recovery_asks_for_binding(ctx, i)) {
                if (!fact->bound)
                        return FUNCTION_DETACH;
                /* What is bound without us, somebody else holds. */
                return fact->kept ? FUNCTION_KEEP : FUNCTION_HAND_OVER;
        }
        if (f->pending || f->draining)
                return FUNCTION_DETACH;
        if (ctx->handover != HANDOVER_DAEMON || f->handed_over)
                return FUNCTION_KEEP;
        /* Whoever confirmed has everything; the last daemon has not let go of all of it. */
        return FUNCTION_HAND_OVER;
}

/* Whether a function that the VM was promised is not there, with nobody yet who could have let go of it. */
static bool is_function_lost(const RecoveryFacts *facts) {
        const VmContext *ctx = facts->context;

        for (size_t i = 0; i < ctx->n_functions && !ctx->shared; i++)
                if (!ctx->functions[i].pending && !ctx->functions[i].draining &&
                    recovery_decide_function(facts, i) == FUNCTION_DETACH)
                        return true;
        return false;
}

static RecoveryDecision decide_leash(const RecoveryFacts *facts) {
        RecoveryDecision d = { .verdict = RECOVERY_ADOPT, .leash = facts->leash };

        /* A pidfd that was kept counts whatever the record says: it goes into the fd store first. */
        if (facts->witness == WITNESS_ENDED)
                return release(VM_END_VMM_EXITED, NULL);
        if (facts->witness == WITNESS_ALIVE)
                d.leash = LEASH_PIDFD;
        else if (facts->leash == LEASH_PIDFD) {
                d.leash = LEASH_NONE;
                d.lost = "its leash";
                d.new_clock = true;
        }
        return d;
}

RecoveryDecision recovery_decide(const RecoveryFacts *facts) {
        const VmContext *ctx = facts->context;
        bool in_kernel = ctx->handover != HANDOVER_NONE;

        /* Nobody was told of it, and what was opened for it goes with the last daemon, or as no record names it. */
        if (facts->state == VM_ADMITTED)
                return drop(NULL);

        if (in_kernel && !facts->iommufd && !ctx->shared)
                return drop(facts->end_reason ? NULL : "its iommufd, and with it all it had");
        if (facts->state == VM_DRAINING || facts->state == VM_QUARANTINED)
                return release(facts->end_reason ?: VM_END_LOST, NULL);
        if (in_kernel && !facts->iommufd)
                return release(VM_END_LOST, "its iommufd");
        if (in_kernel && !ctx->shared && !facts->base)
                return release(VM_END_LOST, "the objects on its iommufd");
        if (in_kernel && is_function_lost(facts))
                return release(VM_END_LOST, "a function");
        return decide_leash(facts);
}
