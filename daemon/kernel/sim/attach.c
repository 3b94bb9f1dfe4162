/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/*
 * Attaching functions to page tables. The functions of a group share one: the first attach decides which, and replacing
 * it for one replaces it for all.
 */

static SimFunction *device_function(SimState *st, const SimObject *device) {
        return &st->functions[st->cdevs[device->device.cdev].function];
}

/* The automatic HWPT of the IOAS, a new one if there is none. */
static int automatic_hwpt(SimKernel *s, uint32_t ioas, uint32_t *ret) {
        SimState *st = s->state;

        for (uint32_t o = st->contexts[st->objects[ioas].context].first_object; o != SIM_NIL;
             o = st->objects[o].chain_next)
                if (st->objects[o].type == SIM_OBJECT_HWPT && st->objects[o].hwpt.automatic &&
                    st->objects[o].hwpt.ioas == ioas) {
                        *ret = o;
                        return 0;
                }

        return sim_hwpt_new(s, ioas, false, ret);
}

/* Automatic HWPTs live as long as something is attached. */
static void hwpt_settle(SimKernel *s, uint32_t hwpt) {
        if (s->state->objects[hwpt].hwpt.automatic && s->state->objects[hwpt].users == 0)
                sim_object_free(s, hwpt);
}

/* Puts @n functions on or off the HWPT. */
static void hwpt_count(SimState *st, uint32_t hwpt, uint32_t n, bool attach) {
        SimObject *o = &st->objects[hwpt], *ioas = &st->objects[o->hwpt.ioas];

        if (attach) {
                o->users += n;
                ioas->ioas.n_attached += n;
        } else {
                assert(o->users >= n && ioas->ioas.n_attached >= n);
                o->users -= n;
                ioas->ioas.n_attached -= n;
        }
}

void sim_device_detach(SimKernel *s, SimObject *device) {
        SimState *st = s->state;
        SimGroup *group;
        uint32_t hwpt;

        if (!device->device.attached)
                return;

        group = &st->groups[device_function(st, device)->info.group];
        hwpt = group->hwpt;
        device->device.attached = false;
        if (--group->n_attached == 0)
                group->hwpt = SIM_NIL;

        hwpt_count(st, hwpt, 1, false);
        hwpt_settle(s, hwpt);
}

static int attach_hwpt(SimKernel *s, SimObject *device, uint32_t hwpt) {
        SimState *st = s->state;
        SimFunction *fn = device_function(st, device);
        SimGroup *group = &st->groups[fn->info.group];
        int r;

        if (!device->device.attached && group->hwpt != SIM_NIL && group->hwpt != hwpt)
                return -EINVAL;
        r = sim_ioas_check_reserved(st, &st->objects[st->objects[hwpt].hwpt.ioas], fn);
        if (r < 0)
                return r;
        r = sim_function_reserve_ids(st, fn);
        if (r < 0)
                return r;

        if (!device->device.attached) {
                device->device.attached = true;
                group->n_attached++;
                group->hwpt = hwpt;
                hwpt_count(st, hwpt, 1, true);
        } else if (group->hwpt != hwpt) {
                uint32_t old = group->hwpt;

                hwpt_count(st, hwpt, group->n_attached, true);
                hwpt_count(st, old, group->n_attached, false);
                group->hwpt = hwpt;
                hwpt_settle(s, old);
        }

        return 0;
}

int sim_cdev_attach(SimKernel *s, int fd, uint32_t pt_id) {
        SimState *st = s->state;
        uint32_t c, o, hwpt;
        int r;

        SIM_LOCKED(s);

        r = sim_cdev_get(s, fd, &c);
        if (r < 0)
                return r;
        if (st->cdevs[c].context == SIM_NIL)
                return -EINVAL;
        sim_context_reap(s, st->cdevs[c].context, NULL);

        o = hwpt = sim_object_find(st, st->cdevs[c].context, pt_id);
        if (o == SIM_NIL)
                return -ENOENT;

        switch (st->objects[o].type) {
        case SIM_OBJECT_HWPT:
                break;
        case SIM_OBJECT_IOAS:
                r = automatic_hwpt(s, o, &hwpt);
                if (r < 0)
                        return r;
                break;
        default:
                return -EINVAL;
        }

        r = attach_hwpt(s, &st->objects[st->cdevs[c].device], hwpt);
        if (r < 0)
                hwpt_settle(s, hwpt);
        return r;
}

int sim_cdev_detach(SimKernel *s, int fd) {
        uint32_t c;
        int r;

        SIM_LOCKED(s);

        r = sim_cdev_get(s, fd, &c);
        if (r < 0)
                return r;
        if (s->state->cdevs[c].context == SIM_NIL)
                return -EINVAL;

        sim_device_detach(s, &s->state->objects[s->state->cdevs[c].device]);
        return 0;
}
