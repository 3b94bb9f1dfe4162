/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Contexts of all shapes that VMs have, on the simulated kernel. */

#include "kernel/sim/sim.h"
#include "unit.h"
#include "vm/context.h"

#define RAM_BYTES  (UINT64_C(4) << 20)
#define SHAPE_FNS  6
#define MAIN_FN    "0000:01:00.0" /* alone in its group, behind ivhd0 */
#define OTHER_FN   "0000:03:00.0" /* likewise */
#define HW_SHAPE   TIER_HARDWARE, HANDOVER_DAEMON, { "0000:41:00.0" }
#define GUARDED_FN "0000:51:00.1" /* a VF whose PF is on vfio-pci */

extern const uint8_t guard_token[16]; /* of GUARDED_FN */

Kernel *host_new(const char *profile);

/* A memfd of RAM_BYTES, the caller's. */
int ram_new(void);
void assert_nothing_left(Kernel *k, const char *when, unsigned n);

typedef struct Shape {
        const char *name;
        VmTier tier;
        VmHandover handover;
        const char *functions[SHAPE_FNS];
} Shape;

#define N_SHAPES 9
extern const Shape shapes[N_SHAPES];

/* The context that a VM of this shape is to have; nothing of it is built. */
void context_of(Kernel *k, const Shape *shape, VmContext *ctx);

/* All of RAM; its descriptor is to be filled in. */
extern const KernelMapping mapping;

/*
 * Everything that is done to a context in its life, in this order; stops at what fails first.
 * The function that is taken out and the vIOMMU are the last of their kind.
 */
int live(Kernel *k, VmContext *ctx, int ram, const atomic_bool *cancelled, Problem *p);
void assert_built(Kernel *k, const VmContext *ctx);

/* A context of @shape that is built, and a VMM has. */
VmContext shared_context(Kernel *k, const Shape *shape);
