/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The steps of the model, done in a daemon. */

#include <errno.h>

#include "core/manager-private.h"
#include "proof/model.h"

/* A name for each function of the mask, and the end. */
static void list_functions(unsigned mask, const char *ret[static MODEL_FUNCTIONS + 1]) {
        size_t n = 0;

        for (unsigned i = 0; i < MODEL_FUNCTIONS; i++)
                if (mask & 1U << i)
                        ret[n++] = model_function(i);
        ret[n] = NULL;
}

static int create(World *w, const char *name, const ModelVm *vm, const char *token) {
        const char *functions[MODEL_FUNCTIONS + 1];

        list_functions(vm->functions, functions);
        return do_create(w, &(CreateArgs){ .name = name,
                                           .tier = vm->tier,
                                           .handover = vm->handover,
                                           .functions = functions,
                                           .vmm = vm->vmm + 1,
                                           .leash_caller = vm->leash == LEASH_CALLER,
                                           .memory = vm->memory,
                                           .token = token });
}

static int reserve(World *w, const char *name, const ModelVm *vm) {
        const char *functions[MODEL_FUNCTIONS + 1];

        list_functions(vm->functions, functions);
        return do_reserve(w, &(CreateArgs){ .name = name,
                                            .tier = vm->tier,
                                            .handover = vm->handover,
                                            .functions = functions,
                                            .memory = vm->memory });
}

static int plug(World *w, const Model *m) {
        const char *name = model_function(MODEL_FUNCTIONS - 1);
        const PciFunctionInfo info = { .address = fn(name),
                                       .host_iommu = 1,
                                       .group = KERNEL_NONE,
                                       .numa_node = 1,
                                       .driver = "vfio-pci",
                                       .vendor_id = 0x8086,
                                       .device_id = 0x1533,
                                       .class_code = 0x020000 };
        Model after = *m;

        model_apply(&after, &(ModelStep){ .kind = DO_PLUG });
        if (after.unplugged == m->unplugged)
                return 0;
        if (after.unplugged)
                (void)sim_unplug(w->kernel, &info.address);
        else
                (void)sim_plug(w->kernel, &info);
        return 0;
}

static int limit(World *w, const ModelStep *s) {
        Config config = w->manager->config;

        config.instances_per_iommu = 2 + s->a % 3;
        return manager_set_config(w->manager, &config);
}

int model_do(World *w, const Model *m, const ModelStep *s) {
        const char *name = model_slot_name(s->slot), *function = model_function(s->a);
        uint64_t iova = s->a % 4 * RAM_BYTES;
        bool exists = daemon_vm(w, name);
        ModelVm new = model_vm_of(s);

        if (streq(function, FN_PAIR_0))
                function = FN_B;
        switch (s->kind) {
        case DO_CREATE:
                return create(w, name, &new, NULL);
        case DO_CREATE_RESERVED:
                return m->reserved ? create(w, name, &m->reservation, w->shared->token) : -ENOENT;
        case DO_RESERVE:
                return m->reserved ? -EEXIST : reserve(w, name, &new);
        case DO_UNRESERVE:
                return m->reserved ? do_unreserve(w) : -ENOENT;
        case DO_PREPARE:
                return do_prepare(w, name);
        case DO_VMM_ENDS:
                if (!w->shared->vmm_ended[s->a % VMMS])
                        vmm_kill(w, (int)(s->a % VMMS));
                return 0;
        case DO_CALLER_LEAVES:
                manager_name_vanished(w->manager, CALLER);
                return 0;
        case DO_PLUG:
                return plug(w, m);
        case DO_LIMIT:
                return limit(w, s);
        case DO_RESTART:
                return 0;
        default:
                break;
        }

        if (!exists)
                return -ENOENT;
        /* What it was confirmed to have, no VMM here has: nobody could tell when it is closed. */
        if (s->kind == DO_DETACH && m->vms[s->slot % MODEL_SLOTS].confirmed)
                return -EPERM;
        switch (s->kind) {
        case DO_ATTACH:
                return do_attach(w, name, FNS(function),
                                 model_attach_memory(m->vms + s->slot % MODEL_SLOTS, s));
        case DO_DETACH:
                return do_detach(w, name, function);
        case DO_VIOMMU_CREATE:
                return do_viommu_create(w, name, s->a % 2);
        case DO_VIOMMU_DESTROY:
                return do_viommu_destroy(w, name, s->a % 2);
        case DO_MAP:
                return do_map(w, name, iova, RAM_BYTES);
        case DO_UNMAP:
                return do_unmap(w, name, iova, RAM_BYTES);
        case DO_OPEN:
                return do_open(w, name, NULL, m->vms[s->slot % MODEL_SLOTS].vmm);
        case DO_CONFIRM:
                return do_confirm(w, name);
        case DO_LEASH:
                return do_leash(w, name, (int)(s->a % VMMS));
        default:
                return do_destroy(w, name, s->a % 2);
        }
}
