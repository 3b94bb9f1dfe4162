/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Taking a VM down: kernel first, then the ledger, then the word to the world. Whoever wishes it or whatever ended, it goes
 * this way. What cannot be shown to be gone is quarantined: charged, visible, and tried again from time to time.
 */

#include <errno.h>
#include <time.h>

#include "core/manager-private.h"
#include "vm/context-store.h"

#define RETRY_USEC UINT64_C(10000000)

typedef struct DestroyOperation {
        Operation op;
        const char *reason;
        bool gently; /* nobody's word says that the VMM is gone or is to be cut off: what it may hold is left alone */
} DestroyOperation;

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        Vm *vm = userdata;

        (void)s;
        (void)usec;
        vm->retry = sd_event_source_disable_unref(vm->retry);
        vm_drain(vm, vm->end_reason);
        return 0;
}

void release_try_again(Vm *vm) {
        if (vm->manager->stopping)
                return;
        vm->retry = sd_event_source_disable_unref(vm->retry);
        (void)sd_event_add_time_relative(vm->manager->event, &vm->retry, CLOCK_MONOTONIC,
                                         RETRY_USEC, 0, on_retry, vm);
}

static int decide(Operation *op, Problem *p) {
        DestroyOperation *destroy = container_of(op, DestroyOperation, op);
        Vm *vm = op->vm;

        (void)p;
        if (vm->state == VM_RELEASED) {
                op->run = NULL; /* a second wish: nothing is left to wait for */
                return 0;
        }
        vm->end_reason = destroy->reason;
        destroy->gently = streq(vm->end_reason, VM_END_NO_LEASH) ||
                          streq(vm->end_reason, VM_END_LOST);
        vm->retry = sd_event_source_disable_unref(vm->retry);
        leash_done(&vm->leash);
        op->leash_stored = vm->leash_stored;
        op->work.confirming = false;
        vm_move(vm, VM_EVENT_DRAIN);
        manager_notify_vm(vm);
        return 0;
}

static int run(Operation *op, Kernel *k, Problem *p) {
        const Vm *vm = op->vm;
        FdStore *fdstore = vm->manager->fdstore;
        VmContext *work = &op->work;
        int r;

        r = descriptor_unstore(fdstore, &op->leash_stored, p);
        if (r >= 0)
                r = context_unstore_functions(fdstore, work, p);
        if (r >= 0 && work->shared && work->handover != HANDOVER_NONE &&
            (work->iommufd < 0 || container_of(op, DestroyOperation, op)->gently))
                r = context_check_let_go(k, work, p);
        if (r >= 0)
                r = context_teardown(k, work, p);
        if (r >= 0)
                r = context_unstore(fdstore, work, p);
        return r;
}

void release_quarantine(Operation *op) {
        Vm *vm = op->vm;
        bool news = !streq(vm->state_reason, op->problem.text);

        memcpy(vm->state_reason, op->problem.text, sizeof(vm->state_reason));
        vm_move(vm, VM_EVENT_STUCK);
        if (news) {
                const char *why = vm->state_reason[0] ? vm->state_reason : strerror(-op->result);

                log_event(LOG_ERR, MESSAGE_VM_QUARANTINED,
                          &(LogFields){ .vm = VM_UUID_STRING(vm), .name = vm->name, .reason = why },
                          "Quarantined, it could not be taken down: %s", why);
        }
        release_try_again(vm);
}

void release_finish(Vm *vm) {
        Manager *m = vm->manager;

        claims_remove_all(m, &vm->context);
        vm->receipt = receipt_done(vm->receipt);
        vm_move(vm, VM_EVENT_GONE);
        log_event(LOG_INFO, MESSAGE_VM_RELEASED,
                  &(LogFields){
                          .vm = VM_UUID_STRING(vm), .name = vm->name, .reason = vm->end_reason },
                  "Released VM \"%s\" (%s).", vm->name, vm->end_reason);
        if (vm->announced && m->observer.vm_removed)
                m->observer.vm_removed(m->observer.userdata, vm, vm->end_reason);
        vm->announced = false;
}

static void done(Operation *op) {
        Vm *vm = op->vm;

        if (op->ran)
                vm->leash_stored = op->leash_stored; /* 0, or still there */
        if (vm->state == VM_RELEASED)                /* a second wish, behind the one that did it */
                op->result = 0;
        if (vm->state != VM_DRAINING) {
                /* It has not even begun. Who has asked for it hears that nothing has come of it. */
                if (op->result < 0 && !op->answer)
                        release_try_again(vm);
                return;
        }
        if (op->result < 0) {
                release_quarantine(op);
                return;
        }

        release_finish(vm);
}

/* Queues the taking down, and cancels what is before it. */
static int submit(Vm *vm, const char *reason, OperationAnswer answer, void *userdata, Problem *p) {
        Operation *op;
        int r;

        r = operation_new(sizeof(DestroyOperation), vm, "destroy", NULL, &op);
        if (r < 0)
                return r;

        container_of(op, DestroyOperation, op)->reason = reason;
        op->decide = decide;
        op->run = run;
        op->done = done;
        op->urgent = op->takes_down = true;
        vm_cancel_operations(vm, NULL);
        return operation_submit_for(&op, answer, userdata, p);
}

void vm_drain(Vm *vm, const char *reason) {
        int r;

        vm->end_reason = reason;
        r = submit(vm, reason, NULL, NULL, NULL);
        if (r < 0) {
                log_event(LOG_ERR, MESSAGE_VM_STAYS,
                          &(LogFields){ .vm = VM_UUID_STRING(vm),
                                        .name = vm->name,
                                        .reason = strerror(-r) },
                          "Cannot take the VM down now (%s), trying again.", strerror(-r));
                release_try_again(vm);
        }
}

void vm_on_leash_ended(Leash *leash, const char *reason) {
        Vm *vm = container_of(leash, Vm, leash);

        log_event(LOG_INFO, MESSAGE_LEASH_ENDED,
                  &(LogFields){ .vm = VM_UUID_STRING(vm), .name = vm->name, .reason = reason },
                  "The leash of VM \"%s\" has ended (%s).", vm->name, reason);
        vm_drain(vm, reason);
}

int vm_destroy(Vm *vm, bool force, const char *caller, OperationAnswer answer, void *userdata,
               Problem *p) {
        (void)caller; /* taking down goes on when the one who asked leaves */

        if (!force && leash_holds(&vm->leash) &&
            (vm->context.shared || vm->context.handover != HANDOVER_DAEMON))
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "The VMM of VM %s is alive and has its context: end the VMM, "
                                   "which takes the VM down, or "
                                   "insist with option \"force\".",
                                   vm->name);
        return submit(vm, VM_END_DESTROYED, answer, userdata, p);
}
