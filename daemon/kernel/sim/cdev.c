/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>

#include "kernel/sim/sim-internal.h"

/* VFIO character devices: opening, binding to an iommufd, closing. */

#define VFIO_DRIVER "vfio-pci"

int sim_cdev_open(SimKernel *s, const PciAddress *address, int *ret_fd) {
        SimState *st = s->state;
        SimCdev *cdev;
        uint32_t f, c;
        int r;

        SIM_LOCKED(s);

        f = sim_function_find(st, address);
        if (f == SIM_NIL || st->functions[f].info.cdev == KERNEL_NONE)
                return -ENOENT;
        c = POOL_TAKE(&st->cdev_pool, st->cdevs, SIM_CDEVS_MAX);
        if (c == SIM_NIL)
                return -ENOMEM;

        cdev = &st->cdevs[c];
        cdev->generation = ++st->last_generation & UINT32_C(0xffffff);
        r = sim_descriptor_new(s, SIM_TAG_CDEV, c, cdev->generation, ret_fd);
        if (r < 0) {
                POOL_GIVE(&st->cdev_pool, st->cdevs, c);
                return r;
        }

        cdev->in_use = true;
        cdev->function = f;
        cdev->next_of_function = st->functions[f].first_cdev;
        st->functions[f].first_cdev = c;
        return 0;
}

int sim_cdev_get(SimKernel *s, int fd, uint32_t *ret) {
        uint32_t c, generation;
        int r;

        r = sim_descriptor_identify(s, fd, SIM_TAG_CDEV, &c, &generation);
        if (r < 0)
                return r;
        if (c == SIM_NIL || c > SIM_CDEVS_MAX || !s->state->cdevs[c].in_use ||
            s->state->cdevs[c].generation != generation)
                return -EBADF;

        *ret = c;
        return 0;
}

void sim_function_reap(SimKernel *s, uint32_t f) {
        SimState *st = s->state;

        for (uint32_t next, c = st->functions[f].first_cdev; c != SIM_NIL; c = next) {
                next = st->cdevs[c].next_of_function;
                if (!sim_descriptor_is_held(s, SIM_TAG_CDEV, c))
                        sim_cdev_release(s, c);
        }
}

/* Looks at the VFs of a PF. */
static void count_virtual(SimState *st, const SimFunction *pf, size_t *ret_n, size_t *ret_n_bound) {
        *ret_n = *ret_n_bound = 0;
        for (uint32_t f = 1; f <= st->function_pool.high; f++) {
                const SimFunction *fn = &st->functions[f];

                if (!fn->in_use || !fn->info.is_virtual ||
                    !pci_address_equal(&fn->info.physical_function, &pf->info.address))
                        continue;
                (*ret_n)++;
                *ret_n_bound += fn->bound_cdev != SIM_NIL;
        }
}

static bool vf_token_matches(const SimFunction *pf, const uint8_t *token) {
        return token && pf->has_vf_token && memcmp(pf->vf_token, token, 16) == 0;
}

/* The PF's token guards its VFs while vfio-pci has it: whoever holds the PF could otherwise tamper with them. And it
 * guards a PF whose VFs are in use against those who don't know it. */
static int vf_token_check(SimState *st, const SimFunction *fn, const uint8_t *token) {
        const SimFunction *pf;
        size_t n, n_bound;
        uint32_t f;

        if (!fn->info.is_virtual) {
                count_virtual(st, fn, &n, &n_bound);
                if (n_bound > 0)
                        return vf_token_matches(fn, token) ? 0 : -EACCES;
                return n == 0 && token ? -EINVAL : 0;
        }

        f = sim_function_find(st, &fn->info.physical_function);
        pf = f == SIM_NIL ? NULL : &st->functions[f];
        if (!pf || !streq(pf->info.driver, VFIO_DRIVER))
                return token ? -EINVAL : 0;

        return vf_token_matches(pf, token) ? 0 : -EACCES;
}

static bool driver_owns_dma(const SimFunction *fn) {
        static const char *const harmless[] = { "", VFIO_DRIVER, "pci-stub", "pcieport" };

        for (size_t i = 0; i < ELEMENTSOF(harmless); i++)
                if (streq(fn->info.driver, harmless[i]))
                        return false;

        return true;
}

/* Whether @context may have the DMA of the group. Every function of it that is bound, or that a host driver uses, is
 * an owner; there can be only one. */
static int group_check(SimKernel *s, const SimFunction *fn, uint32_t context) {
        SimState *st = s->state;
        SimGroup *group;

        if (fn->info.group == KERNEL_NONE)
                return -ENODEV;

        group = &st->groups[fn->info.group];
        for (uint32_t next, f = group->first_function; f != SIM_NIL; f = next) {
                next = st->functions[f].next_of_group;
                sim_function_reap(s, f);
        }
        if (group->n_bound > 0)
                return group->owner == context ? 0 : -EPERM;

        for (uint32_t f = group->first_function; f != SIM_NIL; f = st->functions[f].next_of_group)
                if (driver_owns_dma(&st->functions[f]))
                        return -EPERM;

        return 0;
}

static int bind_check(SimKernel *s, uint32_t c, int iommufd, const uint8_t *vf_token,
                      uint32_t *ret_context) {
        SimState *st = s->state;
        const SimCdev *cdev = &st->cdevs[c];
        const SimFunction *fn = &st->functions[cdev->function];
        int r;

        if (iommufd < 0 || cdev->context != SIM_NIL)
                return -EINVAL;
        r = vf_token_check(st, fn, vf_token);
        if (r < 0)
                return r;
        r = sim_context_get(s, iommufd, ret_context);
        if (r < 0) /* here the kernel tells a file of another kind from none */
                return fcntl(iommufd, F_GETFD) < 0 ? -EBADF : -EBADFD;

        sim_function_reap(s, cdev->function);
        if (fn->bound_cdev != SIM_NIL)
                return -EINVAL;

        r = group_check(s, fn, *ret_context);
        if (r < 0)
                return r;

        /* Opening a function resets it, and whoever removes it has it locked against that. */
        return fn->removal == SIM_REMOVAL_NONE ? 0 : -EAGAIN;
}

static void vf_token_take(SimFunction *fn, const uint8_t *token) {
        if (!token || fn->info.is_virtual)
                return;

        memcpy(fn->vf_token, token, sizeof(fn->vf_token));
        fn->has_vf_token = true;
}

int sim_cdev_bind(SimKernel *s, int fd, int iommufd, const uint8_t *vf_token, uint32_t *ret) {
        SimState *st = s->state;
        uint32_t c, context, device;
        SimFunction *fn;
        SimGroup *group;
        int r;

        SIM_LOCKED(s);

        r = sim_cdev_get(s, fd, &c);
        if (r < 0)
                return r;
        r = bind_check(s, c, iommufd, vf_token, &context);
        if (r < 0)
                return r;
        r = sim_object_new(st, context, SIM_OBJECT_DEVICE, &device);
        if (r < 0)
                return r;

        st->objects[device].device.cdev = c;
        st->cdevs[c].context = context;
        st->cdevs[c].device = device;
        st->cdevs[c].next_of_context = st->contexts[context].first_cdev;
        st->contexts[context].first_cdev = c;

        fn = &st->functions[st->cdevs[c].function];
        fn->bound_cdev = c;
        vf_token_take(fn, vf_token);
        group = &st->groups[fn->info.group];
        group->owner = context;
        group->n_bound++;
        st->n_bound_functions++;

        *ret = st->objects[device].id;
        return 0;
}

/* The id of a vDEVICE that is destroyed from below stays taken until its context ends. */
static void vdevice_bury(SimState *st, uint32_t o) {
        SimObject *vdevice = &st->objects[o];

        sim_vdevice_release(st, o);
        st->n_objects[SIM_OBJECT_VDEVICE]--;
        st->n_objects[SIM_OBJECT_TOMBSTONE]++;
        vdevice->type = SIM_OBJECT_TOMBSTONE;
}

static void cdev_unbind(SimKernel *s, uint32_t c) {
        SimState *st = s->state;
        SimCdev *cdev = &st->cdevs[c];
        SimObject *device = &st->objects[cdev->device];
        SimFunction *fn = &st->functions[cdev->function];
        uint32_t *link = &st->contexts[cdev->context].first_cdev;

        sim_device_detach(s, device);
        if (device->device.vdevice != SIM_NIL)
                vdevice_bury(st, device->device.vdevice);

        while (*link != c)
                link = &st->cdevs[*link].next_of_context;
        *link = cdev->next_of_context;

        fn->bound_cdev = SIM_NIL;
        if (--st->groups[fn->info.group].n_bound == 0)
                st->groups[fn->info.group].owner = SIM_NIL;
        st->n_bound_functions--;
        sim_object_free(s, cdev->device);
}

void sim_cdev_release(SimKernel *s, uint32_t c) {
        SimState *st = s->state;
        SimCdev *cdev = &st->cdevs[c];
        uint32_t f = cdev->function, *link = &st->functions[f].first_cdev;

        if (cdev->context != SIM_NIL)
                cdev_unbind(s, c);

        while (*link != c)
                link = &st->cdevs[*link].next_of_function;
        *link = cdev->next_of_function;
        POOL_GIVE(&st->cdev_pool, st->cdevs, c);

        if (st->functions[f].first_cdev == SIM_NIL)
                sim_function_settle(st, f);
}

int sim_cdev_notify_request(SimKernel *s, int fd, int eventfd) {
        uint32_t c, generation;

        {
                int r;

                SIM_LOCKED(s);

                r = sim_cdev_get(s, fd, &c);
                if (r < 0)
                        return r;
                if (s->state->cdevs[c].context == SIM_NIL)
                        return -EINVAL;
                generation = s->state->cdevs[c].generation;
        }

        return sim_watcher_register(s, c, generation, eventfd);
}

/* A function that is being removed has no cdev's number any more. */
static bool has_number(const SimState *st, uint32_t f) {
        return f != SIM_NIL && st->functions[f].info.cdev != KERNEL_NONE;
}

int sim_cdev_is(SimKernel *s, int fd, const PciAddress *function) {
        SimState *st = s->state;
        uint32_t c, f;
        int r;

        SIM_LOCKED(s);

        r = sim_cdev_get(s, fd, &c);
        if (r < 0)
                return r;
        f = st->cdevs[c].function;
        if (has_number(st, f))
                return pci_address_equal(&st->functions[f].info.address, function) ? 0 : -EXDEV;
        return has_number(st, sim_function_find(st, function)) ? -EXDEV : -ENOENT;
}
