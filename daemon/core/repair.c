/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What an operation that died with its daemon has left half done: what it was adding is taken back, for nobody was answered, and what it was
 * taking away is taken away. The first operation of a VM that is adopted, if it needs one.
 */

#include <errno.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/context-store.h"

typedef struct RepairOperation {
        Operation op;
        DemandSet freed;
        bool unclear; /* the kernel may have objects that nobody knows the ids of */
        bool waits;   /* something that drains is held still, and may keep the rest */
} RepairOperation;

bool repair_is_needed(const VmContext *ctx) {
        bool is = ctx->confirming;

        for (size_t i = 0; i < ctx->n_functions; i++) {
                const ContextFunction *f = ctx->functions + i;

                is |= f->pending || f->draining || (f->handed_over && f->cdev >= 0);
        }
        for (size_t i = 0; i < ctx->n_viommus; i++)
                is |= ctx->viommus[i].pending || ctx->viommus[i].draining;
        for (size_t i = 0; i < ctx->n_mappings; i++)
                is |= ctx->mappings[i].pending || ctx->mappings[i].draining;
        return is;
}

bool repair_has_failed(const Vm *vm) {
        return vm->unrepaired < 0 && vm->unrepaired != -EBUSY;
}

static int decide(Operation *op, Problem *p) {
        VmContext *work = &op->work;

        (void)p;
        for (size_t i = 0; i < work->n_functions; i++) {
                ContextFunction *f = work->functions + i;

                if (f->pending) {
                        f->pending = false;
                        f->draining = true;
                }
        }
        return 0;
}

/* The VMM has these; only ours were left. */
static int hand_over(Operation *op, Problem *p) {
        for (size_t i = 0; i < op->work.n_functions; i++) {
                ContextFunction *f = op->work.functions + i;
                int r;

                if (!f->handed_over)
                        continue;
                r = context_unstore_function(op->vm->manager->fdstore, f, p);
                if (r < 0)
                        return r;
                f->cdev = fd_close(f->cdev);
                f->unplug_fd = fd_close(f->unplug_fd);
        }
        op->work.confirmed |= op->work.confirming;
        op->work.confirming = false;
        return 0;
}

static int take_back_mappings(Operation *op, Kernel *k) {
        VmContext *work = &op->work;

        for (size_t i = work->n_mappings; i-- > 0;) {
                ContextMapping *m = work->mappings + i;
                uint64_t before = work->mapped_bytes;
                int r;

                if (!m->pending && !m->draining)
                        continue;
                r = k->ops->ioas_unmap(k, work->iommufd, work->ioas_id, m->iova, m->length);
                if (r < 0 && r != -ENOENT)
                        return r;

                /* A pending one was charged as if it were mapped. */
                if (m->pending)
                        before += m->length;
                r = memory_charge_excess(&container_of(op, RepairOperation, op)->freed, op->vm,
                                         before - m->length, before);
                if (r < 0)
                        return r;
                if (!m->pending)
                        work->mapped_bytes -= m->length;
                *m = work->mappings[--work->n_mappings];
        }
        return 0;
}

/* A vIOMMU whose id nobody knows stays charged as long as the VMM has the iommufd: it may be there, and cannot be told from the
 * VMM's own objects. It is the VM's end that takes it. */
static int take_back_viommus(Operation *op, Kernel *k) {
        RepairOperation *repair = container_of(op, RepairOperation, op);
        VmContext *work = &op->work;
        int r;

        for (size_t i = work->n_viommus; i-- > 0;) {
                ContextViommu *v = work->viommus + i;
                bool known = !v->pending || !work->shared;

                if (!v->pending && !v->draining)
                        continue;
                r = context_unrealize_viommu(k, work, v, NULL);
                if (r == -EBUSY && v->draining) {
                        repair->waits = true;
                        continue;
                }
                if (r >= 0 && known)
                        r = charge_for_viommu(&repair->freed, v, op->vm->guest_domains);
                if (r < 0)
                        return r;
                repair->unclear |= !known;
                context_remove_viommu(work, v->host_iommu);
        }
        return 0;
}

/* What is half attached is out of the way before its leftovers are looked for; that it goes is another operation's to see to. What is held
 * still may keep the leftovers as well: they are taken back when it has gone. */
static int let_go_of_draining(Operation *op, Kernel *k, Problem *p) {
        RepairOperation *repair = container_of(op, RepairOperation, op);
        VmContext *work = &op->work;

        for (size_t i = 0; i < work->n_functions; i++) {
                ContextFunction *f = work->functions + i;
                int r;

                if (!f->draining || work->handover != HANDOVER_DAEMON)
                        continue;
                r = context_unstore_function(op->vm->manager->fdstore, f, p);
                if (r < 0)
                        return r;
                repair->waits |= context_unrealize_function(k, work, f, NULL) < 0;
        }
        return 0;
}

static int run(Operation *op, Kernel *k, Problem *p) {
        VmContext *work = &op->work;
        int r;

        r = hand_over(op, p);
        if (r >= 0)
                r = let_go_of_draining(op, k, p);
        if (r >= 0)
                r = take_back_mappings(op, k);
        if (r >= 0)
                r = take_back_viommus(op, k);
        if (r >= 0 && work->iommufd >= 0 && !work->shared && work->handover == HANDOVER_DAEMON)
                r = context_destroy_unlisted(k, work);
        return r;
}

static void done(Operation *op) {
        const RepairOperation *repair = container_of(op, RepairOperation, op);
        Vm *vm = op->vm;
        bool waits = repair->waits && (op->result >= 0 || op->result == -EBUSY),
             news = op->result < 0 && op->result != vm->unrepaired;

        vm->unrepaired = waits ? -EBUSY : op->result;
        if (news && !waits && vm_is_alive(vm)) {
                const char *why = problem_is_set(&op->problem) ? op->problem.text
                                                               : strerror(-op->result);

                log_event(LOG_ERR, MESSAGE_VM_UNREPAIRED,
                          &(LogFields){ .vm = VM_UUID_STRING(vm), .name = vm->name, .reason = why },
                          "What an earlier daemon left half done for VM \"%s\" cannot be put "
                          "right: %s",
                          vm->name, why);
        }
        if (repair->unclear)
                log_event(LOG_WARNING, MESSAGE_VIOMMU_UNCLEAR,
                          &(LogFields){ .vm = VM_UUID_STRING(vm), .name = vm->name },
                          "An earlier daemon died while it made a vIOMMU for VM \"%s\": whether it "
                          "is there cannot be told, so it stays charged until the VM ends.",
                          vm->name);
        receipt_give_back(vm->receipt, &repair->freed);
        for (size_t i = 0; i < vm->context.n_functions && vm_is_alive(vm) && !repair_has_failed(vm);
             i++)
                if (vm->context.functions[i].draining)
                        (void)vm_detach_function(vm, &vm->context.functions[i].address, NULL, NULL,
                                                 NULL, NULL);
        detach_retry_later(vm);
}

static void destroy(Operation *op) {
        demand_set_done(&container_of(op, RepairOperation, op)->freed);
}

int vm_repair(Vm *vm) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        r = operation_new(sizeof(RepairOperation), vm, "repair", NULL, &op);
        if (r < 0)
                return r;

        op->decide = decide;
        op->run = run;
        op->done = done;
        op->destroy = destroy;
        op->takes_down = true; /* not to be cancelled */
        return operation_submit(&op, NULL);
}
