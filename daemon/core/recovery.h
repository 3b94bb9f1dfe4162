/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What becomes of a VM that an earlier daemon has left: a pure decision over its record, the descriptors that were kept, and what the
 * kernel says of its objects. core/recover.c gathers these and carries the verdict out.
 */

#include "vm/context.h"
#include "vm/vm-state.h"

typedef enum RecoveryVerdict {
        RECOVERY_ADOPT,   /* it goes on as it was */
        RECOVERY_RELEASE, /* it is taken down; what cannot be shown to be gone ends in quarantine */
        RECOVERY_DROP,    /* nothing of it is left anywhere: the record goes */
        _RECOVERY_VERDICT_MAX,
} RecoveryVerdict;

/* The process that a stored pidfd stands for. */
typedef enum RecoveryWitness {
        WITNESS_MISSING, /* no pidfd was kept */
        WITNESS_ALIVE,
        WITNESS_ENDED,
} RecoveryWitness;

typedef struct RecoveryFunction {
        bool kept;  /* its descriptor was */
        bool bound; /* it is on the VM's iommufd; where recovery_asks_for_binding() only */
} RecoveryFunction;

typedef struct RecoveryFacts {
        const VmContext *context; /* as the record has it, without descriptors */
        VmState state;
        LeashKind leash;
        const char *end_reason; /* NULL: it was not ending */
        bool iommufd;           /* was kept */
        bool base;              /* the IOAS, and the nest parent if it had one, exist on it */
        RecoveryWitness witness;
        const RecoveryFunction *functions; /* one for each of the context's */
} RecoveryFacts;

typedef enum FunctionFate {
        FUNCTION_KEEP,
        FUNCTION_HAND_OVER, /* the VMM has it; what was kept of it is let go */
        FUNCTION_DETACH,
} FunctionFate;

typedef struct RecoveryDecision {
        RecoveryVerdict verdict;
        const char *end_reason; /* RECOVERY_RELEASE: a word of VmRemoved */
        const char *lost;       /* what was lost, half a sentence for the log; NULL: nothing */
        LeashKind leash;        /* RECOVERY_ADOPT: what it hangs on now */
        bool new_clock; /* RECOVERY_ADOPT: its leash was lost, it gets the time of a new VM to get another */
} RecoveryDecision;

RecoveryDecision recovery_decide(const RecoveryFacts *facts);

/* Whether it makes a difference to function @i if it is still bound: not where the VMM has it, which may do with it what it likes. */
bool recovery_asks_for_binding(const VmContext *ctx, size_t i);

/* What becomes of function @i of a VM that is adopted. */
FunctionFate recovery_decide_function(const RecoveryFacts *facts, size_t i);
