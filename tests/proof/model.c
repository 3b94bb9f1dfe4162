/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof/model.h"

#include <stdio.h>

#include "base/fd-util.h"

static const char *const kind_names[_STEP_KIND_MAX] = {
        "create",  "create-reserved", "attach",  "detach",   "viommu-create", "viommu-destroy",
        "map",     "unmap",           "open",    "confirm",  "leash",         "destroy",
        "reserve", "unreserve",       "prepare", "vmm-ends", "caller-leaves", "plug",
        "limit",   "restart",
};

static const char *const functions[MODEL_FUNCTIONS] = { FN_A, FN_B, FN_PAIR_0, FN_C, FN_D, FN_F };

void model_init(Model *m) {
        *m = (Model){ .instances = 4 };
}

const char *model_slot_name(unsigned slot) {
        static const char *const names[MODEL_SLOTS] = { "v0", "v1", "v2", "v3", "v4", "v5" };

        return names[slot % MODEL_SLOTS];
}

const char *model_function(unsigned i) {
        return functions[i % MODEL_FUNCTIONS];
}

/* ---- what things are and cost ---- */

static unsigned iommu_of(unsigned function) {
        return function >= MODEL_FUNCTIONS / 2;
}

static unsigned iommus_of(unsigned mask) {
        unsigned iommus = 0;

        for (unsigned i = 0; i < MODEL_FUNCTIONS; i++)
                if (mask & 1U << i)
                        iommus |= 1U << iommu_of(i);
        return iommus;
}

ModelVm model_vm_of(const ModelStep *s) {
        ModelVm vm = { .exists = true, .memory = s->b % 3 * RAM_BYTES };

        switch (s->a % 4) {
        case 0:
        case 1:
                vm.tier = TIER_HARDWARE;
                vm.handover = HANDOVER_DAEMON;
                break;
        case 2:
                vm.tier = TIER_EMULATED;
                vm.handover = HANDOVER_VMM;
                break;
        default:
                vm.tier = TIER_EMULATED;
                vm.handover = HANDOVER_NONE;
        }
        vm.functions = s->a / 4 % (1U << MODEL_FUNCTIONS) & ~(1U << 2);
        if (vm.functions == 0)
                vm.functions = 1;
        if (vm.tier == TIER_HARDWARE)
                vm.viommus = iommus_of(vm.functions);
        vm.vmm = -1;
        if (s->b / 3 % 4 < VMMS) {
                vm.leash = LEASH_PIDFD;
                vm.vmm = (int)(s->b / 3 % 4);
        } else if (s->b / 12 % 2)
                vm.leash = LEASH_CALLER;
        return vm;
}

static unsigned held(const Model *m) {
        unsigned mask = m->reserved ? m->reservation.functions : 0;

        for (unsigned i = 0; i < MODEL_SLOTS; i++)
                mask |= m->vms[i].exists ? m->vms[i].functions : 0;
        return mask | (m->unplugged ? 1U << (MODEL_FUNCTIONS - 1) : 0);
}

static uint64_t n_instances(const Model *m, unsigned iommu) {
        uint64_t n = m->reserved && m->reservation.viommus & 1U << iommu;

        for (unsigned i = 0; i < MODEL_SLOTS; i++)
                if (m->vms[i].exists)
                        n += m->vms[i].unclear[iommu] + (m->vms[i].viommus >> iommu & 1);
        return n;
}

static bool has_room(const Model *m, unsigned viommus) {
        for (unsigned i = 0; i < 2; i++)
                if (viommus & 1U << i && n_instances(m, i) >= m->instances)
                        return false;
        return true;
}

static uint64_t descriptors(const ModelVm *vm) {
        return vm->exists ? 2 + (uint64_t)__builtin_popcount(vm->functions) : 0;
}

static uint64_t pinned(const ModelVm *vm) {
        uint64_t mapped = RAM_BYTES * (uint64_t)__builtin_popcount(vm->mapped);

        if (!vm->exists)
                return 0;
        if (vm->handover != HANDOVER_DAEMON)
                return vm->functions ? vm->memory : 0;
        return MAX(vm->memory, mapped);
}

uint64_t model_attach_memory(const ModelVm *vm, const ModelStep *s) {
        return vm->handover == HANDOVER_DAEMON ? 0 : s->b % 3 * RAM_BYTES;
}

static uint64_t domains(const ModelVm *vm) {
        unsigned viommus = (unsigned)__builtin_popcount(vm->viommus) + vm->unclear[0] +
                           vm->unclear[1];

        if (!vm->exists)
                return 0;
        return 1 + (vm->tier == TIER_HARDWARE ? 8 * (uint64_t)viommus
                                              : (uint64_t)__builtin_popcount(vm->functions));
}

static bool leash_is_good(const ModelVm *vm) {
        return vm->vmm < 0 || vm->vmm < VMMS;
}

/* ---- the verdict ---- */

static unsigned function_of(const ModelStep *s) {
        unsigned i = s->a % MODEL_FUNCTIONS;

        return i == 2 ? 1 : i; /* one of a group is not to be had alone */
}

/* Who confirmed has let go of all functions here, and a new vIOMMU wants them; and one that may be there may have them. */
static bool is_doubtful(const ModelVm *vm, unsigned iommu) {
        return vm->confirmed || vm->unclear[iommu] > 0;
}

ModelVerdict model_judge(const Model *m, const ModelStep *s) {
        const ModelVm *vm = m->vms + s->slot % MODEL_SLOTS;
        bool daemons = vm->exists && vm->handover == HANDOVER_DAEMON;
        unsigned bit = 1U << function_of(s), range = 1U << s->a % 4, iommu = s->a % 2;
        ModelVm new;

        switch (s->kind) {
        case DO_CREATE:
                new = model_vm_of(s);
                return !vm->exists && !(new.functions &held(m)) && has_room(m, new.viommus) &&
                       leash_is_good(&new);
        case DO_CREATE_RESERVED:
                if (vm->exists || !m->reserved)
                        return MODEL_NO;
                /* It was reserved on what was known of the host then. */
                return m->unplugged && m->reservation.functions & 1U << (MODEL_FUNCTIONS - 1)
                               ? MODEL_MAYBE
                               : MODEL_YES;
        case DO_ATTACH:
                if (!vm->exists || held(m) & bit)
                        return MODEL_NO;
                if (vm->tier != TIER_HARDWARE)
                        return MODEL_YES;
                if (vm->viommus & iommus_of(bit)) /* what is missing of others is made as well */
                        return vm->confirmed && vm->bare ? MODEL_MAYBE : MODEL_YES;
                return !has_room(m, iommus_of(bit))                ? MODEL_NO
                       : is_doubtful(vm, iommu_of(function_of(s))) ? MODEL_MAYBE
                                                                   : MODEL_YES;
        case DO_DETACH:
                return vm->exists && vm->functions & bit && !vm->confirmed;
        case DO_VIOMMU_CREATE:
                return daemons && iommus_of(vm->functions) & 1U << iommu &&
                                       !(vm->viommus & 1U << iommu) && has_room(m, 1U << iommu)
                               ? is_doubtful(vm, iommu) ? MODEL_MAYBE : MODEL_YES
                               : MODEL_NO;
        case DO_VIOMMU_DESTROY:
                return daemons && vm->viommus & 1U << iommu;
        case DO_MAP:
                return daemons && !(vm->mapped & range);
        case DO_UNMAP:
                return daemons && vm->mapped & range;
        case DO_OPEN:
                return vm->exists && vm->handover != HANDOVER_NONE;
        case DO_CONFIRM:
                if (!daemons || vm->leash == LEASH_NONE)
                        return MODEL_NO;
                return vm->shared ? MODEL_YES : vm->maybe_shared ? MODEL_MAYBE : MODEL_NO;
        case DO_LEASH:
                return vm->exists;
        case DO_DESTROY:
                if (!vm->exists)
                        return MODEL_NO;
                if (s->a % 2 || vm->leash == LEASH_NONE)
                        return MODEL_YES;
                return !daemons || vm->shared ? MODEL_NO
                       : vm->maybe_shared     ? MODEL_MAYBE
                                              : MODEL_YES;
        case DO_RESERVE:
                return m->reserved ? MODEL_NO
                                   : MODEL_MAYBE; /* the kernel's level may not be known */
        case DO_UNRESERVE:
                return m->reserved;
        case DO_PREPARE:
                return !vm->exists;
        default:
                return MODEL_YES;
        }
}

/* ---- the effect ---- */

static void end_vms(Model *m, LeashKind leash, int vmm) {
        for (unsigned i = 0; i < MODEL_SLOTS; i++)
                if (m->vms[i].exists && m->vms[i].leash == leash && m->vms[i].vmm == vmm)
                        m->vms[i] = (ModelVm){};
}

static void create(Model *m, unsigned slot, const ModelVm *new) {
        m->vms[slot] = *new;
        if (new->handover == HANDOVER_DAEMON)
                return;
        /* Without a handover it may be in use, and is given up. */
        m->vms[slot].shared = new->handover == HANDOVER_VMM && m->prepared[slot];
        m->prepared[slot] = false;
}

void model_apply(Model *m, const ModelStep *s) {
        unsigned slot = s->slot % MODEL_SLOTS, function = function_of(s), range = 1U << s->a % 4;
        ModelVm *vm = m->vms + slot, new = model_vm_of(s);

        switch (s->kind) {
        case DO_CREATE:
                create(m, slot, &new);
                break;
        case DO_CREATE_RESERVED:
                m->reserved = false;
                new = m->reservation;
                new.memory = m->reservation.memory;
                create(m, slot, &new);
                break;
        case DO_ATTACH:
                vm->functions |= 1U << function;
                vm->memory = MAX(vm->memory, model_attach_memory(vm, s));
                if (vm->tier == TIER_HARDWARE)
                        vm->viommus |= 1U << iommu_of(function);
                break;
        case DO_DETACH:
                vm->functions &= ~(1U << function);
                vm->viommus &= iommus_of(vm->functions);
                break;
        case DO_VIOMMU_CREATE:
                vm->viommus |= 1U << s->a % 2;
                vm->bare &= ~(1U << s->a % 2);
                break;
        case DO_VIOMMU_DESTROY:
                vm->viommus &= ~(1U << s->a % 2);
                break;
        case DO_MAP:
                vm->mapped |= range;
                break;
        case DO_UNMAP:
                vm->mapped &= ~range;
                break;
        case DO_OPEN:
                vm->shared = true;
                break;
        case DO_CONFIRM:
                vm->shared = vm->confirmed = true;
                break;
        case DO_LEASH:
                vm->leash = LEASH_PIDFD;
                vm->vmm = (int)(s->a % VMMS);
                break;
        case DO_DESTROY:
                *vm = (ModelVm){};
                break;
        case DO_RESERVE:
                m->reserved = true;
                m->reservation = new;
                m->reservation.leash = LEASH_NONE;
                m->reservation.vmm = -1;
                break;
        case DO_UNRESERVE:
                m->reserved = false;
                break;
        case DO_PREPARE:
                m->prepared[slot] = true;
                break;
        case DO_VMM_ENDS:
                end_vms(m, LEASH_PIDFD, (int)(s->a % VMMS));
                break;
        case DO_CALLER_LEAVES:
                end_vms(m, LEASH_CALLER, -1);
                memset(m->prepared, 0, sizeof(m->prepared));
                break;
        case DO_PLUG:
                if (m->unplugged || !(held(m) & 1U << (MODEL_FUNCTIONS - 1)))
                        m->unplugged = !m->unplugged;
                break;
        case DO_LIMIT:
                m->instances = 2 + s->a % 3;
                break;
        default:
                break;
        }
}

bool model_apply_unclear(Model *m, const ModelStep *s) {
        ModelVm *vm = m->vms + s->slot % MODEL_SLOTS;
        unsigned iommu = s->kind == DO_ATTACH ? iommu_of(function_of(s)) : s->a % 2;

        if ((s->kind != DO_ATTACH && s->kind != DO_VIOMMU_CREATE) || !vm->shared ||
            vm->tier != TIER_HARDWARE || vm->viommus & 1U << iommu)
                return false;
        vm->unclear[iommu]++;
        return true;
}

/* ---- comparing ---- */

static char difference[1024];

#define DIFFERS(...)                                                                               \
        do {                                                                                       \
                (void)snprintf(difference, sizeof(difference), __VA_ARGS__);                       \
                return difference;                                                                 \
        } while (0)

static uint64_t used(const Manager *manager, ResourceKind kind, uint32_t scope) {
        size_t n;
        const LedgerAccount *a = ledger_get_accounts(manager->ledger, &n);

        for (size_t i = 0; i < n; i++)
                if (a[i].kind == kind && a[i].scope == scope)
                        return a[i].used;
        return 0;
}

static unsigned functions_of(const Vm *vm) {
        unsigned mask = 0;

        for (unsigned i = 0; i < MODEL_FUNCTIONS; i++) {
                PciAddress a = fn(functions[i]);

                if (context_find_function(&vm->context, &a))
                        mask |= 1U << i;
        }
        return mask;
}

static const char *compare_vm(const World *w, unsigned slot, const ModelVm *m) {
        const char *name = model_slot_name(slot);
        const Vm *vm = daemon_vm(w, name);
        unsigned viommus = 0;
        int pid;

        if (!vm != !m->exists)
                DIFFERS("%s %s", name, vm ? "is still there" : "is gone");
        if (!vm)
                return NULL;
        for (size_t i = 0; i < vm->context.n_viommus; i++)
                viommus |= 1U << vm->context.viommus[i].host_iommu;
        if (!vm_is_alive(vm))
                DIFFERS("%s is %s: %s", name, vm_state_to_string(vm->state), vm->state_reason);
        for (size_t i = 0; i < vm->context.n_functions; i++)
                if (vm->context.functions[i].draining) /* it will be gone yet */
                        DIFFERS("%s has a function that drains", name);
        if (functions_of(vm) != m->functions ||
            vm->context.n_functions != (size_t)__builtin_popcount(m->functions))
                DIFFERS("%s has the functions %x, not %x", name, functions_of(vm), m->functions);
        if (viommus != m->viommus)
                DIFFERS("%s has the vIOMMUs %x, not %x", name, viommus, m->viommus);
        if (vm->context.n_mappings != (size_t)__builtin_popcount(m->mapped))
                DIFFERS("%s has %zu mappings, not those of %x", name, vm->context.n_mappings,
                        m->mapped);
        if (vm->leash.kind != m->leash || vm->context.confirmed != m->confirmed)
                DIFFERS("%s has another leash, or is not confirmed", name);
        if (m->leash == LEASH_PIDFD &&
            (pidfd_get_pid(vm->leash.pidfd, &pid) < 0 || pid != w->vmms[m->vmm].pid))
                DIFFERS("%s hangs on another VMM than %i", name, m->vmm);
        if (vm->context.shared < m->shared) /* it may count as shared, to be safe */
                DIFFERS("%s is not shared", name);
        return NULL;
}

const char *model_compare(const World *w, const Model *m) {
        const Manager *manager = w->manager;
        uint64_t n_descriptors = 0, n_pinned = 0, n_domains = 0;
        const ModelVm *all[MODEL_SLOTS + 1];

        for (unsigned i = 0; i < MODEL_SLOTS; i++) {
                const char *is = compare_vm(w, i, m->vms + i);

                if (is)
                        return is;
                all[i] = m->vms + i;
        }
        all[MODEL_SLOTS] = m->reserved ? &m->reservation : &(ModelVm){};
        for (size_t i = 0; i <= MODEL_SLOTS; i++) {
                n_descriptors += descriptors(all[i]);
                n_pinned += pinned(all[i]);
                n_domains += domains(all[i]);
        }
        for (unsigned i = 0; i < 2; i++)
                if (used(manager, RESOURCE_INSTANCES, i) != n_instances(m, i))
                        DIFFERS("%lu instances of ivhd%u are charged, not %lu",
                                used(manager, RESOURCE_INSTANCES, i), i, n_instances(m, i));
        if (used(manager, RESOURCE_DESCRIPTORS, 0) != n_descriptors)
                DIFFERS("%lu descriptors are charged, not %lu",
                        used(manager, RESOURCE_DESCRIPTORS, 0), n_descriptors);
        if (used(manager, RESOURCE_PINNED_MEMORY, 0) != n_pinned)
                DIFFERS("%lu bytes are charged as pinned, not %lu",
                        used(manager, RESOURCE_PINNED_MEMORY, 0), n_pinned);
        if (used(manager, RESOURCE_DOMAIN_IDS, 0) != n_domains)
                DIFFERS("%lu domain ids are charged, not %lu",
                        used(manager, RESOURCE_DOMAIN_IDS, 0), n_domains);
        if ((manager->n_reservations > 0) != m->reserved)
                DIFFERS("%zu reservations", manager->n_reservations);
        for (unsigned i = 0; i < MODEL_SLOTS; i++) {
                int ignored;

                if ((manager_get_prepared(manager, vm_uuid(model_slot_name(i)), &ignored) >= 0) !=
                    m->prepared[i])
                        DIFFERS("%s has %s prepared context", model_slot_name(i),
                                m->prepared[i] ? "no" : "a");
        }
        return NULL;
}

/* ---- as text ---- */

void model_print_step(const ModelStep *s, size_t i) {
        (void)printf("    %-16s %u %u %u %u %u   # %zu\n", kind_names[s->kind], s->slot, s->a, s->b,
                     s->fault, s->nth, i);
}

bool model_parse_step(const char *line, ModelStep *ret) {
        char kind[32];

        if (sscanf(line, "%31s %u %u %u %u %u", kind, &ret->slot, &ret->a, &ret->b, &ret->fault,
                   &ret->nth) != 6)
                return false;
        for (ret->kind = 0; ret->kind < _STEP_KIND_MAX; ret->kind++)
                if (streq(kind, kind_names[ret->kind]))
                        return true;
        return false;
}
