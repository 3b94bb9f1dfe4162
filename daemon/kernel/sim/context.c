/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/*
 * iommufds and their lives. A context ends when its descriptor, every bound cdev and every mapping of its VF MMIO pages
 * are gone, as the iommufd file does in a kernel: each of these holds a reference to it.
 */

int sim_iommufd_open(SimKernel *s, int *ret_fd) {
        SimState *st = s->state;
        SimContext *context;
        uint32_t n;
        int r;

        SIM_LOCKED(s);

        if (st->iommufd_error < 0)
                return st->iommufd_error;

        n = POOL_TAKE(&st->context_pool, st->contexts, SIM_CONTEXTS_MAX);
        if (n == SIM_NIL)
                return -ENOMEM;

        context = &st->contexts[n];
        context->generation = ++st->last_generation & UINT32_C(0xffffff);
        context->lowest_id = 1;
        r = sim_descriptor_new(s, SIM_TAG_CONTEXT, n, context->generation, ret_fd);
        if (r < 0) {
                POOL_GIVE(&st->context_pool, st->contexts, n);
                return r;
        }

        context->in_use = true;
        return 0;
}

int sim_iommufd_account_process(SimKernel *s, int fd) {
        SimContext *context;
        uint32_t n;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &n);
        if (r < 0)
                return r;

        context = &s->state->contexts[n];
        if (context->first_object != SIM_NIL)
                return -EBUSY;

        context->account_process = true;
        return 0;
}

static bool is_held(SimKernel *s, SimTag tag, uint32_t entry, const uint64_t *snapshot) {
        if (snapshot && sim_bit_test(snapshot, entry))
                return true;

        return sim_descriptor_is_held(s, tag, entry);
}

void sim_context_reap_cdevs(SimKernel *s, uint32_t n, const SimHeld *held) {
        SimState *st = s->state;

        for (uint32_t next, c = st->contexts[n].first_cdev; c != SIM_NIL; c = next) {
                next = st->cdevs[c].next_of_context;
                if (!is_held(s, SIM_TAG_CDEV, c, held ? held->cdevs : NULL))
                        sim_cdev_release(s, c);
        }
}

int sim_context_find(SimKernel *s, int fd, uint32_t *ret) {
        uint32_t n, generation;
        const SimContext *context;
        int r;

        r = sim_descriptor_identify(s, fd, SIM_TAG_CONTEXT, &n, &generation);
        if (r < 0)
                return r;
        if (n == SIM_NIL || n > SIM_CONTEXTS_MAX)
                return -EBADF;

        context = &s->state->contexts[n];
        if (!context->in_use || context->generation != generation)
                return -EBADF;

        *ret = n;
        return 0;
}

int sim_context_get(SimKernel *s, int fd, uint32_t *ret) {
        int r;

        r = sim_context_find(s, fd, ret);
        if (r < 0)
                return r;

        sim_context_reap_cdevs(s, *ret, NULL);
        return 0;
}

/* Destroys what is left, leaves first. */
static void context_release(SimKernel *s, uint32_t n) {
        SimState *st = s->state;
        SimContext *context = &st->contexts[n];

        while (context->first_object != SIM_NIL) {
                size_t destroyed = 0;

                for (uint32_t next, o = context->first_object; o != SIM_NIL; o = next) {
                        next = st->objects[o].chain_next;
                        if (st->objects[o].users == 0) {
                                sim_object_free(s, o);
                                destroyed++;
                        }
                }
                assert(destroyed > 0);
        }

        assert(context->first_cdev == SIM_NIL && context->n_pages == 0);
        POOL_GIVE(&st->context_pool, st->contexts, n);
}

static bool context_is_mapped(SimKernel *s, const SimContext *context) {
        SimState *st = s->state;

        if (context->n_pages == 0)
                return false;

        for (uint32_t o = context->first_object; o != SIM_NIL; o = st->objects[o].chain_next)
                if (st->objects[o].type == SIM_OBJECT_VIOMMU &&
                    sim_viommu_is_mapped(s, &st->objects[o]))
                        return true;

        return false;
}

void sim_context_reap(SimKernel *s, uint32_t n, const SimHeld *held) {
        SimContext *context = &s->state->contexts[n];

        sim_context_reap_cdevs(s, n, held);

        /* A context with a bound function is there, whoever else has it; asking is only worth it without one. */
        if (context->first_cdev == SIM_NIL &&
            !is_held(s, SIM_TAG_CONTEXT, n, held ? held->contexts : NULL) &&
            !context_is_mapped(s, context))
                context_release(s, n);
}

size_t sim_reap_all(SimKernel *s) {
        SimState *st = s->state;
        uint32_t before = st->context_pool.used + st->cdev_pool.used;
        _cleanup_free_ SimHeld *held = NULL;

        if (before > 64)
                held = sim_held_snapshot(s);

        for (uint32_t c = 1; c <= st->cdev_pool.high; c++)
                if (st->cdevs[c].in_use && st->cdevs[c].context == SIM_NIL &&
                    !is_held(s, SIM_TAG_CDEV, c, held ? held->cdevs : NULL))
                        sim_cdev_release(s, c);

        for (uint32_t n = 1; n <= st->context_pool.high; n++)
                if (st->contexts[n].in_use)
                        sim_context_reap(s, n, held);

        return before - (st->context_pool.used + st->cdev_pool.used);
}

#define FEW       256
#define A_HANDFUL 32

/* Whether somebody may soon be refused memory that is there. */
static bool is_scarce(const SimState *st) {
        for (uint32_t i = 0; i < st->n_nodes; i++)
                if (st->nodes[i].info.free_contiguous_bytes <
                    (st->nodes[i].n_instances + 2 * FEW) * SIM_INSTANCE_BYTES)
                        return true;

        return false;
}

void sim_reap_some(SimKernel *s) {
        SimState *st = s->state;

        if (st->context_pool.used + st->cdev_pool.used <= FEW || is_scarce(st)) {
                (void)sim_reap_all(s);
                return;
        }

        for (size_t i = 0; i < A_HANDFUL && st->context_pool.high > 0; i++) {
                st->next_reaped = st->next_reaped % st->context_pool.high + 1;
                if (st->contexts[st->next_reaped].in_use)
                        sim_context_reap(s, st->next_reaped, NULL);
        }
}
