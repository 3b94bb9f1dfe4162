/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* AttachDevice: a function more, or several of one group at once, with the vIOMMUs that they need and the memory that they pin. */

#include <errno.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/context-store.h"

typedef struct AttachOperation {
        Operation op;
        FunctionRequest *requests;
        size_t n_requests;
        uint64_t memory;               /* bytes of the VM, 0: not said */
        size_t n_functions, n_viommus; /* what the VM had before */
} AttachOperation;

/* Adds what was admitted to the copy of the context. */
static int attach_add(Operation *op, const VmContext *additions) {
        int r = 0;

        for (size_t i = 0; i < additions->n_viommus && r >= 0; i++) {
                r = context_add_viommu(&op->work, additions->viommus + i);
                if (r >= 0)
                        op->work.viommus[op->work.n_viommus - 1].pending = true;
        }
        for (size_t i = 0; i < additions->n_functions && r >= 0; i++) {
                r = context_add_function(&op->work, additions->functions + i);
                if (r >= 0)
                        op->work.functions[op->work.n_functions - 1].pending = true;
        }
        return r;
}

static int attach_decide(Operation *op, Problem *p) {
        AttachOperation *attach = container_of(op, AttachOperation, op);
        Manager *m = op->vm->manager;
        AdmissionView view = manager_get_view(m);
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        int r;

        view.subject = vm_quota_subject(op->vm);
        attach->n_functions = op->work.n_functions;
        attach->n_viommus = op->work.n_viommus;
        op->memory = MAX(op->vm->memory, attach->memory);
        r = admission_decide_functions(&view, &op->work, op->vm->guest_domains, attach->requests,
                                       attach->n_requests, memory_uncharged(op->vm, op->memory), &a,
                                       p);
        if (r >= 0)
                r = ledger_charge(m->ledger, &a.demands, &op->receipt, p);
        for (size_t i = 0; r >= 0 && i < a.additions.n_functions; i++)
                if (op->work.handover == HANDOVER_DAEMON)
                        r = unplug_eventfd_new(&a.additions.functions[i].unplug_fd);
        if (r >= 0)
                r = attach_add(op, &a.additions);
        if (r >= 0)
                r = claims_add(m, op->vm, NULL, &a.additions);
        if (r < 0)
                context_close(&a.additions);
        return r;
}

/* Undoes what an attach added. Returns 0 when nothing of it is left. */
static int attach_undo(Operation *op, Kernel *k) {
        const AttachOperation *attach = container_of(op, AttachOperation, op);
        VmContext *work = &op->work;
        int r = 0;

        for (size_t i = attach->n_functions; i < work->n_functions; i++) {
                ContextFunction *f = work->functions + i;

                f->pending = false;
                f->draining = true;
                if (!op->ran) { /* asking whether it has been let go of would bind it */
                        f->unplug_fd = fd_close(f->unplug_fd);
                        continue;
                }
                RET_GATHER(r, context_unstore_function(op->vm->manager->fdstore, f, NULL));
                RET_GATHER(r, context_unrealize_function(k, work, f, NULL));
        }
        for (size_t i = attach->n_viommus; i < work->n_viommus; i++)
                RET_GATHER(r, context_unrealize_viommu(k, work, work->viommus + i, NULL));
        if (r < 0)
                return r;

        work->n_functions = attach->n_functions;
        work->n_viommus = attach->n_viommus;
        return 0;
}

static int attach_run(Operation *op, Kernel *k, Problem *p) {
        return context_realize(k, &op->work, &op->cancelled, p);
}

static void attach_done(Operation *op) {
        AttachOperation *attach = container_of(op, AttachOperation, op);
        Vm *vm = op->vm;

        for (size_t i = 0; i < attach->n_requests; i++) {
                const PciAddress *function = &attach->requests[i].address;
                const Claim *claim = claims_find(vm->manager, function);

                if (op->result >= 0)
                        log_event(LOG_INFO, MESSAGE_FUNCTION_ATTACHED,
                                  &(LogFields){ .vm = VM_UUID_STRING(vm),
                                                .name = vm->name,
                                                .function = PCI_ADDRESS_STRING(function) },
                                  "Attached %s.", PCI_ADDRESS_STRING(function));
                else if (op->stuck)
                        log_event(LOG_ERR, MESSAGE_FUNCTION_STUCK,
                                  &(LogFields){ .vm = VM_UUID_STRING(vm),
                                                .name = vm->name,
                                                .function = PCI_ADDRESS_STRING(function),
                                                .reason = op->problem.text },
                                  "Attaching %s failed and could not be undone: it stays charged.",
                                  PCI_ADDRESS_STRING(function));
                else if (claim && claim->vm == vm && !context_find_function(&vm->context, function))
                        claims_remove(vm->manager, function);
        }

        if (op->result >= 0 || op->stuck) {
                receipt_merge(vm->receipt, &op->receipt);
                vm->memory = MAX(vm->memory, op->memory);
        } else
                op->receipt = receipt_done(op->receipt);
        detach_retry_later(vm);
}

static void attach_destroy(Operation *op) {
        free(container_of(op, AttachOperation, op)->requests);
}

int vm_attach_functions(Vm *vm, const FunctionRequest *functions, size_t n_functions,
                        uint64_t memory, const char *caller, OperationAnswer answer, void *userdata,
                        Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        const Config *config = &vm->manager->config;
        AttachOperation *attach;
        int r;

        /* More than it may ever have: not one of them is looked at. */
        if (n_functions > config->max_functions_per_vm)
                return admission_check_number(config, vm->context.n_functions, n_functions, p);
        if (memory > 0 && vm->context.handover == HANDOVER_DAEMON)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "VM %s has handover \"daemon\": what of its memory is pinned is "
                                   "charged by MapMemory. Attach without \"memory\".",
                                   vm->name);
        r = operation_new(sizeof(AttachOperation), vm, "attach", caller, &op);
        for (size_t i = 0; i < n_functions && r >= 0; i++)
                r = operation_add_scan(op, &functions[i].address,
                                       functions[i].has_vf_token ? functions[i].vf_token : NULL);
        if (r < 0)
                return r;

        attach = container_of(op, AttachOperation, op);
        attach->requests = new0(FunctionRequest, n_functions);
        if (!attach->requests)
                return -ENOMEM;
        memcpy(attach->requests, functions, n_functions * sizeof(FunctionRequest));
        attach->n_requests = n_functions;
        attach->memory = memory;
        op->decide = attach_decide;
        op->run = attach_run;
        op->undo = attach_undo;
        op->grants = true;
        op->done = attach_done;
        op->destroy = attach_destroy;
        return operation_submit_for(&op, answer, userdata, p);
}
