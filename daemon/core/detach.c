/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * DetachDevice: one function less, and the vIOMMU that it leaves empty. What the VMM holds it has to close; until then the
 * function is draining, and stays charged.
 */

#include <errno.h>
#include <time.h>

#include "core/manager-private.h"
#include "vm/context-store.h"

#define DRAIN_RETRY_USEC UINT64_C(5000000)

typedef struct DetachOperation {
        Operation op;
        PciAddress function;
        bool gone;
        DemandSet freed; /* what the run made free */
} DetachOperation;

static int detach_decide(Operation *op, Problem *p) {
        DetachOperation *detach = container_of(op, DetachOperation, op);
        ContextFunction *f = context_find_function(&op->work, &detach->function);
        uint64_t now;

        if (!f)
                return problem_set(p, PROBLEM_NO_SUCH_FUNCTION, "VM %s has no function %s.",
                                   op->vm->name, PCI_ADDRESS_STRING(&detach->function));

        f->draining = true;
        /* Somebody waits for the answer; what the daemon asks by itself it asks again later, without holding up others. */
        if (op->answer) {
                (void)sd_event_now(op->vm->manager->event, CLOCK_MONOTONIC, &now);
                op->retry_until_usec = now + op->vm->manager->config.detach_timeout_usec;
        }
        return 0;
}

/* The vIOMMU goes with the last function on it, if it can; a VMM that has its page mapped keeps it, and its charge, until it lets go. */
static int release_viommu_if_unused(VmContext *work, Kernel *k, uint32_t host_iommu,
                                    uint32_t guest_domains, DemandSet *freed) {
        ContextViommu *v = context_find_viommu(work, host_iommu);
        DemandSet part = {};
        int r;

        if (!v || !context_viommu_is_unused(work, v))
                return 0;

        r = demand_set_add_all(&part, freed);
        if (r >= 0)
                r = charge_for_viommu(&part, v, guest_domains);
        if (r >= 0 && context_unrealize_viommu(k, work, v, NULL) >= 0) {
                context_remove_viommu(work, host_iommu);
                demand_set_done(freed);
                *freed = part;
                part = (DemandSet){};
        }
        demand_set_done(&part);
        return r;
}

static int detach_run(Operation *op, Kernel *k, Problem *p) {
        DetachOperation *detach = container_of(op, DetachOperation, op);
        ContextFunction *f = context_find_function(&op->work, &detach->function);
        uint32_t host_iommu = f->host_iommu;
        int r;

        demand_set_done(&detach->freed); /* of an earlier try */
        r = charge_for_function(&detach->freed, op->work.tier);
        if (r >= 0)
                r = context_unstore_function(op->vm->manager->fdstore, f, p);
        if (r >= 0)
                r = context_unrealize_function(k, &op->work, f, p);
        if (r < 0)
                return r;

        detach->gone = true;
        context_remove_function(&op->work, (size_t)(f - op->work.functions));
        return release_viommu_if_unused(&op->work, k, host_iommu, op->vm->guest_domains,
                                        &detach->freed);
}

static bool has_draining_functions(const VmContext *ctx) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].draining)
                        return true;
        return false;
}

/* Functions that their VMM has not let go of in time are asked about again from time to time, and so are vIOMMUs; and what an earlier daemon
 * left half done is put right once they do not keep it any more. */
static int on_drain_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        Vm *vm = userdata;

        (void)s;
        (void)usec;
        vm->retry = sd_event_source_disable_unref(vm->retry);
        if (vm_is_alive(vm) && repair_has_failed(vm)) { /* first of all; its end sees to the rest */
                if (vm_repair(vm) < 0)
                        detach_retry_later(vm);
                return 0;
        }
        for (size_t i = 0; i < vm->context.n_functions && vm_is_alive(vm); i++)
                if (vm->context.functions[i].draining)
                        (void)vm_detach_function(vm, &vm->context.functions[i].address, NULL, NULL,
                                                 NULL, NULL);
        for (size_t i = 0; i < vm->context.n_viommus && vm_is_alive(vm); i++)
                if (context_viommu_is_unused(&vm->context, vm->context.viommus + i))
                        (void)vm_destroy_viommu(vm, vm->context.viommus[i].host_iommu, NULL, NULL,
                                                NULL, NULL);
        if (vm->unrepaired && vm_is_alive(vm) && !has_draining_functions(&vm->context))
                (void)vm_repair(vm);
        detach_retry_later(vm);
        return 0;
}

static bool has_remains(const Vm *vm) {
        const VmContext *ctx = &vm->context;

        if (vm->unrepaired || has_draining_functions(ctx))
                return true;
        for (size_t i = 0; i < ctx->n_viommus; i++)
                if (context_viommu_is_unused(ctx, ctx->viommus + i))
                        return true;
        return false;
}

void detach_retry_later(Vm *vm) {
        if (has_remains(vm) && vm_is_alive(vm) && !vm->retry && !vm->manager->stopping)
                (void)sd_event_add_time_relative(vm->manager->event, &vm->retry, CLOCK_MONOTONIC,
                                                 DRAIN_RETRY_USEC, 0, on_drain_retry, vm);
}

static void detach_done(Operation *op) {
        DetachOperation *detach = container_of(op, DetachOperation, op);
        Vm *vm = op->vm;
        ContextFunction *f = context_find_function(&vm->context, &detach->function);

        /* Nobody else asks again for what the daemon wants by itself, even if it has not come to a decision. */
        if (f && !op->answer)
                f->draining = true;
        if (detach->gone) {
                claims_remove(vm->manager, &detach->function);
                receipt_give_back(vm->receipt, &detach->freed);
                memory_settle(vm);
                log_event(LOG_INFO, MESSAGE_FUNCTION_DETACHED,
                          &(LogFields){ .vm = VM_UUID_STRING(vm),
                                        .name = vm->name,
                                        .function = PCI_ADDRESS_STRING(&detach->function) },
                          "Detached %s.", PCI_ADDRESS_STRING(&detach->function));
        }
        detach_retry_later(vm);
        demand_set_done(&detach->freed);
}

int vm_detach_function(Vm *vm, const PciAddress *function, const char *caller,
                       OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        r = operation_new(sizeof(DetachOperation), vm, "detach", caller, &op);
        if (r < 0)
                return r;

        container_of(op, DetachOperation, op)->function = *function;
        op->decide = detach_decide;
        op->run = detach_run;
        op->done = detach_done;
        return operation_submit_for(&op, answer, userdata, p);
}
