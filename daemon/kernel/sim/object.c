/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/*
 * The objects of all contexts: ids, references, destruction. An object is found through one hash over (context, id),
 * and hangs on the chain of its context, so that nothing here walks all objects.
 */

static uint32_t *hash_bucket(SimState *st, uint32_t context, uint32_t id) {
        uint64_t h = ((uint64_t)context << 32 | id) * UINT64_C(0x9e3779b97f4a7c15);

        return &st->object_hash[h >> 32 & (SIM_OBJECT_HASH - 1)];
}

/* With tombstones, unlike sim_object_find(). */
static uint32_t object_at(SimState *st, uint32_t context, uint32_t id) {
        uint32_t o = *hash_bucket(st, context, id);

        while (o != SIM_NIL && (st->objects[o].context != context || st->objects[o].id != id))
                o = st->objects[o].hash_next;

        return o;
}

int sim_object_new(SimState *st, uint32_t context_n, SimObjectType type, uint32_t *ret) {
        SimContext *context = &st->contexts[context_n];
        uint32_t o, id, *bucket;
        SimObject *object;

        o = POOL_TAKE(&st->object_pool, st->objects, SIM_OBJECTS_MAX);
        if (o == SIM_NIL)
                return -ENOMEM;

        for (id = context->lowest_id; object_at(st, context_n, id) != SIM_NIL;)
                id++;
        context->lowest_id = id + 1;

        bucket = hash_bucket(st, context_n, id);
        object = &st->objects[o];
        object->hash_next = *bucket;
        object->type = type;
        object->context = context_n;
        object->id = id;
        object->chain_next = context->first_object;
        if (object->chain_next != SIM_NIL)
                st->objects[object->chain_next].chain_previous = o;
        context->first_object = o;
        *bucket = o;
        st->n_objects[type]++;

        *ret = o;
        return 0;
}

uint32_t sim_object_find(SimState *st, uint32_t context, uint32_t id) {
        uint32_t o = object_at(st, context, id);

        return o != SIM_NIL && st->objects[o].type != SIM_OBJECT_TOMBSTONE ? o : SIM_NIL;
}

uint32_t sim_object_find_type(SimState *st, uint32_t context, uint32_t id, SimObjectType type) {
        uint32_t o = object_at(st, context, id);

        return o != SIM_NIL && st->objects[o].type == type ? o : SIM_NIL;
}

static void object_unlink(SimState *st, uint32_t o) {
        SimObject *object = &st->objects[o];
        SimContext *context = &st->contexts[object->context];
        uint32_t *link = hash_bucket(st, object->context, object->id);

        while (*link != o)
                link = &st->objects[*link].hash_next;
        *link = object->hash_next;

        if (object->chain_previous != SIM_NIL)
                st->objects[object->chain_previous].chain_next = object->chain_next;
        else
                context->first_object = object->chain_next;
        if (object->chain_next != SIM_NIL)
                st->objects[object->chain_next].chain_previous = object->chain_previous;

        context->lowest_id = MIN(context->lowest_id, object->id);
}

void sim_object_free(SimKernel *s, uint32_t o) {
        SimState *st = s->state;
        SimObject *object = &st->objects[o];

        assert(object->users == 0);

        switch (object->type) {
        case SIM_OBJECT_IOAS:
                sim_ioas_release(st, object);
                break;
        case SIM_OBJECT_HWPT:
                sim_hwpt_release(st, object);
                break;
        case SIM_OBJECT_VIOMMU:
                sim_viommu_release(s, object);
                break;
        case SIM_OBJECT_VDEVICE:
                sim_vdevice_release(st, o);
                break;
        default:
                break;
        }

        st->n_objects[object->type]--;
        object_unlink(st, o);
        POOL_GIVE(&st->object_pool, st->objects, o);
}

int sim_object_destroy(SimKernel *s, int fd, uint32_t id) {
        SimState *st = s->state;
        uint32_t context, o;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;

        o = sim_object_find(st, context, id);
        if (o == SIM_NIL)
                return -ENOENT;

        /* The driver holds a reference to a device until the cdev is closed. */
        if (st->objects[o].users > 0 || st->objects[o].type == SIM_OBJECT_DEVICE)
                return -EBUSY;
        if (st->objects[o].type == SIM_OBJECT_VIOMMU && sim_viommu_is_mapped(s, &st->objects[o]))
                return -EBUSY;

        sim_object_free(s, o);
        return 0;
}

static uint32_t object_find_kind(SimState *st, uint32_t context, KernelObjectKind kind,
                                 uint32_t id) {
        switch (kind) {
        case KERNEL_OBJECT_DEVICE:
                return sim_object_find_type(st, context, id, SIM_OBJECT_DEVICE);
        case KERNEL_OBJECT_IOAS:
                return sim_object_find_type(st, context, id, SIM_OBJECT_IOAS);
        default:
                return sim_object_find(st, context, id);
        }
}

/* Takes the object away if it ended with a cdev that was closed. Asks for as little as can tell, as a daemon that starts
 * probes every object of every VM. */
static void object_reap(SimKernel *s, const SimObject *object) {
        uint32_t cdev;

        if (object->type == SIM_OBJECT_HWPT && object->hwpt.automatic) {
                sim_context_reap_cdevs(s, object->context, NULL);
                return;
        }

        if (object->type == SIM_OBJECT_DEVICE)
                cdev = object->device.cdev;
        else if (object->type == SIM_OBJECT_VDEVICE)
                cdev = s->state->objects[object->vdevice.device].device.cdev;
        else
                return; /* closing a cdev leaves it alone */

        if (!sim_descriptor_is_held(s, SIM_TAG_CDEV, cdev))
                sim_cdev_release(s, cdev);
}

int sim_object_probe(SimKernel *s, int fd, KernelObjectKind kind, uint32_t id) {
        SimState *st = s->state;
        uint32_t context, o;
        int r;

        SIM_LOCKED(s);

        r = sim_context_find(s, fd, &context);
        if (r < 0)
                return r;

        o = object_find_kind(st, context, kind, id);
        if (o == SIM_NIL)
                return -ENOENT;

        object_reap(s, &st->objects[o]);
        return object_find_kind(st, context, kind, id) == SIM_NIL ? -ENOENT : 0;
}
