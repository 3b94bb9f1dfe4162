/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Guest memory that is pinned. MapMemory and UnmapMemory: in the VM's IOAS, and charged where it goes beyond the request. Where the VMM
 * maps: charged with the functions.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/guest-memory.h"
#include "vm/kernel-refusal.h"

typedef struct MemoryOperation {
        Operation op;
        KernelMapping mapping; /* fd: a duplicate of the operation's own, -1 when unmapping */
} MemoryOperation;

/* What of @mapped_bytes is not covered by the memory that the VM asked for. */
static uint64_t excess(const Vm *vm, uint64_t mapped_bytes) {
        return mapped_bytes > vm->memory ? mapped_bytes - vm->memory : 0;
}

int memory_charge_excess(DemandSet *set, const Vm *vm, uint64_t less_bytes, uint64_t mapped_bytes) {
        return demand_set_add(set, RESOURCE_PINNED_MEMORY, 0,
                              excess(vm, mapped_bytes) - excess(vm, less_bytes));
}

/* VFIO pins all of the guest's memory with the first function and lets go of it with the last. So what is charged is all or nothing;
 * what a CreateVm without functions has asked for is charged from the start. */
uint64_t memory_uncharged(const Vm *vm, uint64_t memory) {
        uint64_t charged = receipt_get_amount(vm->receipt, RESOURCE_PINNED_MEMORY, 0);

        return vm->context.handover != HANDOVER_DAEMON && memory > charged ? memory - charged : 0;
}

void memory_settle(Vm *vm) {
        uint64_t charged = receipt_get_amount(vm->receipt, RESOURCE_PINNED_MEMORY, 0),
                 due = vm->context.n_functions > 0 ? vm->memory : 0;
        Demand unpinned = { .kind = RESOURCE_PINNED_MEMORY };

        /* What drains may have come with an attach that died with its daemon, and with memory of its own. */
        for (size_t i = 0; i < vm->context.n_functions; i++)
                if (vm->context.functions[i].draining)
                        return;
        if (vm->context.handover == HANDOVER_DAEMON || charged <= due)
                return;
        unpinned.amount = charged - due;
        receipt_give_back(vm->receipt, &(DemandSet){ &unpinned, 1 });
}

static int check_daemon_handover(const Operation *op, Problem *p) {
        if (op->work.handover == HANDOVER_DAEMON)
                return 0;
        return problem_set(p, PROBLEM_WRONG_STATE,
                           "VM %s has handover \"%s\": its VMM maps memory itself.", op->vm->name,
                           vm_handover_to_string(op->work.handover));
}

static int check_range(const KernelMapping *m, Problem *p) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end;

        if (m->length == 0 || m->length % page || m->iova % page || m->offset % page)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "offset 0x%" PRIx64 ", length 0x%" PRIx64 " and iova 0x%" PRIx64
                                   " have to be multiples of the page size, %" PRIu64
                                   ", and the length not 0.",
                                   m->offset, m->length, m->iova, page);
        if (__builtin_add_overflow(m->iova, m->length - 1, &end) ||
            __builtin_add_overflow(m->offset, m->length, &end))
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "The range of 0x%" PRIx64 " bytes at 0x%" PRIx64
                                   " leaves the address space.",
                                   m->length, m->iova);
        return 0;
}

static int map_decide(Operation *op, Problem *p) {
        MemoryOperation *map = container_of(op, MemoryOperation, op);
        Vm *vm = op->vm;
        Manager *m = vm->manager;
        const AdmissionView view = manager_get_view(m);
        const QuotaSubject subject = vm_quota_subject(vm);
        _cleanup_(demand_set_done) DemandSet demands = {};
        char where[24];
        int r;

        r = check_daemon_handover(op, p);
        if (r < 0)
                return r;
        if (op->work.n_mappings >= m->config.max_mappings_per_vm)
                return problem_set_amounts(
                        p, PROBLEM_LIMITS_EXCEEDED, op->work.n_mappings + 1,
                        m->config.max_mappings_per_vm,
                        "VM %s has %zu mappings, MaxMappingsPerVm= allows no more.", vm->name,
                        op->work.n_mappings);
        if (op->work.mapped_bytes + map->mapping.length < map->mapping.length)
                return -EOVERFLOW;

        r = memory_charge_excess(&demands, vm, op->work.mapped_bytes,
                                 op->work.mapped_bytes + map->mapping.length);
        if (r >= 0)
                r = quotas_decide(&view, &subject, &(QuotaWish){ .demands = &demands }, p);
        if (r >= 0)
                r = ledger_charge(m->ledger, &demands, &op->receipt, p);
        if (r >= 0)
                r = context_add_mapping(&op->work, map->mapping.iova, map->mapping.length);
        if (r == -EEXIST) {
                (void)snprintf(where, sizeof(where), "0x%" PRIx64, map->mapping.iova);
                r = kernel_refusal(p, STEP_MAP, where, r);
        }
        return r;
}

static int map_undo(Operation *op, Kernel *k) {
        const KernelMapping *m = &container_of(op, MemoryOperation, op)->mapping;
        ContextMapping *listed = context_find_mapping(&op->work, m->iova, m->length);

        if (!listed)
                return 0;
        if (listed->pending) {
                *listed = op->work.mappings[--op->work.n_mappings];
                return 0;
        }
        return context_unmap(k, &op->work, m->iova, m->length, NULL);
}

static int map_run(Operation *op, Kernel *k, Problem *p) {
        const KernelMapping *m = &container_of(op, MemoryOperation, op)->mapping;
        int r;

        r = guest_memory_check(m->fd, m->offset, m->length, m->writable, p);
        return r < 0 ? r : context_map(k, &op->work, m, p);
}

static void map_done(Operation *op) {
        if (op->result >= 0 || op->stuck)
                receipt_merge(op->vm->receipt, &op->receipt);
        else
                op->receipt = receipt_done(op->receipt);
}

static int unmap_decide(Operation *op, Problem *p) {
        const KernelMapping *m = &container_of(op, MemoryOperation, op)->mapping;
        ContextMapping *listed = context_find_mapping(&op->work, m->iova, m->length);

        if (listed)
                listed->draining = true;
        return check_daemon_handover(op, p);
}

static int unmap_run(Operation *op, Kernel *k, Problem *p) {
        const KernelMapping *m = &container_of(op, MemoryOperation, op)->mapping;

        return context_unmap(k, &op->work, m->iova, m->length, p);
}

static void unmap_done(Operation *op) {
        const KernelMapping *m = &container_of(op, MemoryOperation, op)->mapping;
        Vm *vm = op->vm;
        Demand beyond = { .kind = RESOURCE_PINNED_MEMORY };
        ContextMapping *left = context_find_mapping(&vm->context, m->iova, m->length);

        if (left && op->decided)
                left->draining = false;
        if (op->result < 0)
                return;
        beyond.amount = excess(vm, vm->context.mapped_bytes + m->length) -
                        excess(vm, vm->context.mapped_bytes);
        receipt_give_back(vm->receipt, &(DemandSet){ &beyond, 1 });
}

static void forget(Operation *op) {
        fd_close(container_of(op, MemoryOperation, op)->mapping.fd);
}

int vm_map_memory(Vm *vm, const KernelMapping *mapping, const char *caller, OperationAnswer answer,
                  void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        MemoryOperation *map;
        int r;

        r = check_range(mapping, p);
        if (r >= 0)
                r = operation_new(sizeof(MemoryOperation), vm, "map", caller, &op);
        if (r < 0)
                return r;

        map = container_of(op, MemoryOperation, op);
        map->mapping = *mapping;
        map->mapping.fd = fd_dup(mapping->fd);
        op->decide = map_decide;
        op->run = map_run;
        op->undo = map_undo;
        op->grants = true;
        op->done = map_done;
        op->destroy = forget;
        if (map->mapping.fd < 0)
                return map->mapping.fd;
        return operation_submit_for(&op, answer, userdata, p);
}

int vm_unmap_memory(Vm *vm, uint64_t iova, uint64_t length, const char *caller,
                    OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        r = operation_new(sizeof(MemoryOperation), vm, "unmap", caller, &op);
        if (r < 0)
                return r;

        container_of(op, MemoryOperation, op)->mapping = (KernelMapping){ .fd = -1,
                                                                          .iova = iova,
                                                                          .length = length };
        op->decide = unmap_decide;
        op->run = unmap_run;
        op->done = unmap_done;
        return operation_submit_for(&op, answer, userdata, p);
}
