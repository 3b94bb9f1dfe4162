/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of a VM that an earlier daemon left: the decision over record, descriptors and kernel, case by case. */

#include "unit.h"

#include "core/recovery.h"

/* ---- the VM ---- */

typedef struct Case {
        const char *name;
        VmState state;
        VmHandover handover;
        bool shared;
        const char *end_reason;
        bool iommufd, base;
        LeashKind leash;
        RecoveryWitness witness;
        RecoveryVerdict verdict;
        const char *reason; /* of a release */
        const char *lost;   /* a part of the sentence */
        LeashKind leash_now;
        bool new_clock;
} Case;

#define DAEMON HANDOVER_DAEMON
#define VMM    HANDOVER_VMM
#define NONE   HANDOVER_NONE
#define THERE  true, true
#define GONE   false, false

static const Case cases[] = {
        /* Nobody was told that it was made. */
        { "made by the daemon", VM_ADMITTED, DAEMON, false, NULL, THERE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_DROP },
        { "not even begun", VM_ADMITTED, DAEMON, false, NULL, GONE, LEASH_NONE, WITNESS_MISSING,
          RECOVERY_DROP },
        { "made on a prepared context", VM_ADMITTED, VMM, true, NULL, THERE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_DROP },
        { "accounted only", VM_ADMITTED, NONE, false, NULL, GONE, LEASH_PIDFD, WITNESS_ALIVE,
          RECOVERY_DROP },

        /* It was ending. */
        { "being taken down", VM_DRAINING, DAEMON, true, VM_END_VMM_EXITED, THERE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_RELEASE, VM_END_VMM_EXITED },
        { "taken down but for the record", VM_DRAINING, DAEMON, false, VM_END_DESTROYED, GONE,
          LEASH_NONE, WITNESS_MISSING, RECOVERY_DROP },
        { "taken down, its iommufd shared and lost", VM_DRAINING, DAEMON, true, VM_END_DESTROYED,
          GONE, LEASH_NONE, WITNESS_MISSING, RECOVERY_RELEASE, VM_END_DESTROYED },
        { "quarantined", VM_QUARANTINED, VMM, true, VM_END_NO_LEASH, THERE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_RELEASE, VM_END_NO_LEASH },
        { "quarantined for no reason on record", VM_QUARANTINED, DAEMON, false, NULL, THERE,
          LEASH_NONE, WITNESS_MISSING, RECOVERY_RELEASE, VM_END_LOST },
        { "accounted only, ending", VM_DRAINING, NONE, false, VM_END_DESTROYED, GONE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_RELEASE, VM_END_DESTROYED },

        /* Its iommufd was not kept. */
        { "lost, and nobody else had it", VM_REALIZED, DAEMON, false, NULL, GONE, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_DROP, NULL, "all it had" },
        { "lost, and a VMM has it", VM_BOUND, DAEMON, true, NULL, GONE, LEASH_PIDFD, WITNESS_ALIVE,
          RECOVERY_RELEASE, VM_END_LOST, "its iommufd" },
        { "lost, and a VMM made everything", VM_BOUND, VMM, true, NULL, GONE, LEASH_PIDFD,
          WITNESS_MISSING, RECOVERY_RELEASE, VM_END_LOST, "its iommufd" },
        { "another's in its place", VM_REALIZED, DAEMON, false, NULL, true, false, LEASH_NONE,
          WITNESS_MISSING, RECOVERY_RELEASE, VM_END_LOST, "objects" },
        { "the VMM has destroyed the base", VM_BOUND, DAEMON, true, NULL, true, false, LEASH_PIDFD,
          WITNESS_ALIVE, RECOVERY_ADOPT, NULL, NULL, LEASH_PIDFD },

        /* Its leash. */
        { "the VMM lives", VM_BOUND, DAEMON, true, NULL, THERE, LEASH_PIDFD, WITNESS_ALIVE,
          RECOVERY_ADOPT, NULL, NULL, LEASH_PIDFD },
        { "the VMM has ended meanwhile", VM_BOUND, DAEMON, true, NULL, THERE, LEASH_PIDFD,
          WITNESS_ENDED, RECOVERY_RELEASE, VM_END_VMM_EXITED },
        { "the pidfd was lost", VM_BOUND, VMM, true, NULL, THERE, LEASH_PIDFD, WITNESS_MISSING,
          RECOVERY_ADOPT, NULL, "its leash", LEASH_NONE, true },
        { "a leash that was being set", VM_REALIZED, DAEMON, true, NULL, THERE, LEASH_NONE,
          WITNESS_ALIVE, RECOVERY_ADOPT, NULL, NULL, LEASH_PIDFD },
        { "no leash yet", VM_REALIZED, DAEMON, false, NULL, THERE, LEASH_NONE, WITNESS_MISSING,
          RECOVERY_ADOPT, NULL, NULL, LEASH_NONE },
        { "its caller's name", VM_BOUND, DAEMON, false, NULL, THERE, LEASH_CALLER, WITNESS_MISSING,
          RECOVERY_ADOPT, NULL, NULL, LEASH_CALLER },
        { "an agent's word", VM_BOUND, NONE, false, NULL, GONE, LEASH_AGENT, WITNESS_MISSING,
          RECOVERY_ADOPT, NULL, NULL, LEASH_AGENT },
        { "accounted only, the VMM lives", VM_BOUND, NONE, false, NULL, GONE, LEASH_PIDFD,
          WITNESS_ALIVE, RECOVERY_ADOPT, NULL, NULL, LEASH_PIDFD },
        { "accounted only, the VMM has ended", VM_BOUND, NONE, false, NULL, GONE, LEASH_PIDFD,
          WITNESS_ENDED, RECOVERY_RELEASE, VM_END_VMM_EXITED },
};

static void vms(void **state) {
        (void)state;
        for_each_case(c, cases) {
                VmContext ctx;
                RecoveryFacts facts = { .context = &ctx,
                                        .state = c->state,
                                        .leash = c->leash,
                                        .end_reason = c->end_reason,
                                        .iommufd = c->iommufd,
                                        .base = c->base,
                                        .witness = c->witness };
                RecoveryDecision d;

                context_init(&ctx, TIER_HARDWARE, c->handover);
                ctx.shared = c->shared;
                d = recovery_decide(&facts);
                if (d.verdict != c->verdict || !!d.lost != !!c->lost ||
                    (c->lost && !strstr(d.lost, c->lost)))
                        fail_msg("%s: verdict %i, lost %s", c->name, d.verdict,
                                 d.lost ?: "nothing");
                if (c->verdict == RECOVERY_RELEASE)
                        assert_string_equal(d.end_reason, c->reason);
                if (c->verdict == RECOVERY_ADOPT &&
                    (d.leash != c->leash_now || d.new_clock != c->new_clock))
                        fail_msg("%s: leash %s", c->name, leash_kind_to_string(d.leash));
        }
}

/* ---- its functions ---- */

typedef struct FunctionCase {
        const char *name;
        VmHandover handover;
        bool confirming, pending, draining, handed_over;
        bool kept, bound;
        FunctionFate fate;
        bool lost_unshared; /* a VM that nobody has yet is not what was promised */
} FunctionCase;

static const FunctionCase function_cases[] = {
        { "as it was", DAEMON, 0, 0, 0, 0, true, true, FUNCTION_KEEP, false },
        { "kept, but off the iommufd", DAEMON, 0, 0, 0, 0, true, false, FUNCTION_DETACH, true },
        { "held by the VMM alone", DAEMON, 0, 0, 0, 0, false, true, FUNCTION_HAND_OVER, false },
        { "nowhere", DAEMON, 0, 0, 0, 0, false, false, FUNCTION_DETACH, true },
        { "handed over", DAEMON, 0, 0, 0, true, false, true, FUNCTION_KEEP, false },
        { "handed over, and closed since", DAEMON, 0, 0, 0, true, false, false, FUNCTION_KEEP,
          false },
        { "being handed over", DAEMON, true, 0, 0, 0, true, true, FUNCTION_HAND_OVER, false },
        { "being attached", DAEMON, 0, true, 0, 0, true, false, FUNCTION_DETACH, false },
        { "being detached", DAEMON, 0, 0, true, 0, false, false, FUNCTION_DETACH, false },
        { "the VMM's own", VMM, 0, 0, 0, 0, false, false, FUNCTION_KEEP, false },
        { "the VMM's own, being attached", VMM, 0, true, 0, 0, false, false, FUNCTION_DETACH,
          false },
        { "accounted only", NONE, 0, 0, 0, 0, false, false, FUNCTION_KEEP, false },
};

static void functions(void **state) {
        (void)state;
        for_each_case(c, function_cases) {
                const RecoveryFunction fact = { .kept = c->kept, .bound = c->bound };
                ContextFunction f = { .pending = c->pending,
                                      .draining = c->draining,
                                      .handed_over = c->handed_over };
                VmContext ctx = { .tier = TIER_HARDWARE,
                                  .handover = c->handover,
                                  .confirming = c->confirming,
                                  .functions = &f,
                                  .n_functions = 1 };
                RecoveryFacts facts = { .context = &ctx,
                                        .state = VM_BOUND,
                                        .leash = LEASH_CALLER,
                                        .iommufd = true,
                                        .base = true,
                                        .functions = &fact };
                FunctionFate fate = recovery_decide_function(&facts, 0);
                RecoveryDecision d;

                if (fate != c->fate)
                        fail_msg("%s: fate %i", c->name, fate);
                d = recovery_decide(&facts);
                if (d.verdict != (c->lost_unshared ? RECOVERY_RELEASE : RECOVERY_ADOPT))
                        fail_msg("%s: verdict %i for a VM that nobody has", c->name, d.verdict);
                ctx.shared = true;
                d = recovery_decide(&facts);
                if (d.verdict != RECOVERY_ADOPT)
                        fail_msg("%s: verdict %i for a VM that a VMM has", c->name, d.verdict);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(vms),
                cmocka_unit_test(functions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
