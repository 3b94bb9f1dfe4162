/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A tiny daemon that only counts: which VM has what, and what that costs. It says of each step whether it can be had, and what it
 * changes; the real one has to agree. Plain data in memory that outlives the daemon.
 */

#include "proof/world.h"

#define MODEL_SLOTS     6 /* VMs there can be */
#define MODEL_FUNCTIONS 6 /* three behind each of two host IOMMUs */

typedef enum StepKind {
        DO_CREATE,
        DO_CREATE_RESERVED,
        DO_ATTACH,
        DO_DETACH,
        DO_VIOMMU_CREATE,
        DO_VIOMMU_DESTROY,
        DO_MAP,
        DO_UNMAP,
        DO_OPEN,
        DO_CONFIRM,
        DO_LEASH,
        DO_DESTROY,
        DO_RESERVE,
        DO_UNRESERVE,
        DO_PREPARE,
        DO_VMM_ENDS,
        DO_CALLER_LEAVES,
        DO_PLUG,
        DO_LIMIT,
        DO_RESTART,
        _STEP_KIND_MAX,
} StepKind;

/* Whatever @a and @b are, they mean something. */
typedef struct ModelStep {
        StepKind kind;
        unsigned slot, a, b;
        unsigned fault,
                nth; /* 0: none; else what goes wrong in it: a kind of fault, or the daemon dies at its nth step */
} ModelStep;

typedef struct ModelVm {
        bool exists, shared, confirmed;
        bool maybe_shared; /* the daemon died when it was to be opened */
        VmTier tier;
        VmHandover handover;
        unsigned functions; /* bits */
        unsigned viommus;   /* bits */
        unsigned
                bare; /* bits: those of them that may have lost their vDEVICEs when they were to be destroyed */
        unsigned unclear
                [2]; /* vIOMMUs that may be there, on each host IOMMU: charged as long as the VM lives */
        unsigned mapped; /* bits: ranges of RAM_BYTES */
        uint64_t memory;
        LeashKind leash;
        int vmm; /* of LEASH_PIDFD */
} ModelVm;

typedef struct Model {
        ModelVm vms[MODEL_SLOTS];
        bool prepared[MODEL_SLOTS];
        bool reserved;
        ModelVm reservation;
        bool unplugged; /* the last function is not there */
        uint64_t instances;
} Model;

void model_init(Model *m);

const char *model_slot_name(unsigned slot);
const char *model_function(unsigned i);

/* Whether the step can be had. MODEL_MAYBE: the model does not know. */
typedef enum ModelVerdict { MODEL_NO, MODEL_YES, MODEL_MAYBE } ModelVerdict;
ModelVerdict model_judge(const Model *m, const ModelStep *s);

/* What it comes to when it is had. */
void model_apply(Model *m, const ModelStep *s);

/* The daemon has died in the step, and cannot know what the VMM has got: the same as not done, but charged. False: that cannot be. */
bool model_apply_unclear(Model *m, const ModelStep *s);

/* Does it, in a daemon. Returns 0 or a negative errno. */
int model_do(World *w, const Model *m, const ModelStep *s);

/* Compares; returns NULL, or what is different. */
const char *model_compare(const World *w, const Model *m);

/* The step as a line that can be read and replayed. */
void model_print_step(const ModelStep *s, size_t i);
bool model_parse_step(const char *line, ModelStep *ret);

/* What an ATTACH says of the VM's memory. */
uint64_t model_attach_memory(const ModelVm *vm, const ModelStep *s);

/* What a CREATE or RESERVE makes. */
ModelVm model_vm_of(const ModelStep *s);
