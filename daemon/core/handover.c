/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Passing the context on: OpenContext, OpenDevice, ConfirmContext, and the leash. */

#include <errno.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/context-store.h"

typedef struct OpenOperation {
        Operation op;
        bool has_function;
        PciAddress function;
} OpenOperation;

static int open_decide(Operation *op, Problem *p) {
        OpenOperation *open = container_of(op, OpenOperation, op);
        const ContextFunction *f;

        if (op->work.iommufd < 0)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s has handover \"none\": there is no context to open.",
                                   op->vm->name);
        if (open->has_function) {
                f = context_find_function(&op->work, &open->function);
                if (!f)
                        return problem_set(p, PROBLEM_NO_SUCH_FUNCTION, "VM %s has no function %s.",
                                           op->vm->name, PCI_ADDRESS_STRING(&open->function));
                if (f->cdev < 0)
                        return problem_set(p, PROBLEM_WRONG_STATE,
                                           "The daemon holds no descriptor of %s: %s.",
                                           PCI_ADDRESS_STRING(&f->address),
                                           f->handed_over ? "ConfirmContext has passed it on"
                                                          : "the VMM opens it itself");
        }

        op->work.shared = true;
        return 0;
}

static int open_undo(Operation *op, Kernel *k) {
        (void)k;
        op->work.shared = op->vm->context.shared;
        return 0;
}

static void nothing_more(Operation *op) {
        (void)op;
}

int vm_open_context(Vm *vm, const PciAddress *function, const char *caller, OperationAnswer answer,
                    void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        OpenOperation *open;
        int r;

        r = operation_new(sizeof(OpenOperation), vm, "open", caller, &op);
        if (r < 0)
                return r;

        open = container_of(op, OpenOperation, op);
        open->has_function = function;
        if (function)
                open->function = *function;
        op->decide = open_decide;
        op->undo = open_undo;
        op->done = nothing_more;
        op->grants = true;
        return operation_submit_for(&op, answer, userdata, p);
}

static int confirm_decide(Operation *op, Problem *p) {
        const Vm *vm = op->vm;

        if (op->work.handover != HANDOVER_DAEMON)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s has handover \"%s\": there is nothing to confirm.",
                                   vm->name, vm_handover_to_string(op->work.handover));
        if (!leash_holds(&vm->leash))
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s has no leash: call SetLeash with a pidfd of the VMM "
                                   "first, or nobody would notice its "
                                   "end.",
                                   vm->name);
        if (!op->work.shared)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "Nobody has opened the context of VM %s: call OpenContext, and "
                                   "OpenDevice for each function, "
                                   "first.",
                                   vm->name);
        op->work.confirming = true;
        return 0;
}

/* A descriptor kept here, or in the fd store, would leave the function bound, with DMA into a dead VM's pages. */
static int confirm_run(Operation *op, Kernel *k, Problem *p) {
        int r;

        (void)k;
        r = context_unstore_functions(op->vm->manager->fdstore, &op->work, p);
        if (r < 0)
                return r;

        for (size_t i = 0; i < op->work.n_functions; i++) {
                ContextFunction *f = op->work.functions + i;

                if (f->cdev < 0)
                        continue;
                f->cdev = fd_close(f->cdev);
                f->unplug_fd = fd_close(f->unplug_fd);
                f->handed_over = true;
        }
        op->work.confirming = false;
        op->work.confirmed = true;
        return 0;
}

/* Nothing has been closed: what is out of the fd store goes back. */
static int confirm_undo(Operation *op, Kernel *k) {
        (void)k;
        op->work.confirming = false;
        return op->ran ? context_store(op->vm->manager->fdstore, &op->work, -1, NULL, NULL) : 0;
}

int vm_confirm_context(Vm *vm, const char *caller, OperationAnswer answer, void *userdata,
                       Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        r = operation_new(sizeof(Operation), vm, "confirm", caller, &op);
        if (r < 0)
                return r;

        op->decide = confirm_decide;
        op->run = confirm_run;
        op->undo = confirm_undo;
        op->done = nothing_more;
        return operation_submit_for(&op, answer, userdata, p);
}

/* ---- the leash ---- */

typedef struct LeashOperation {
        Operation op;
        int pidfd;        /* a duplicate */
        Unstore *unstore; /* for the leash that is not wanted in the end */
} LeashOperation;

static int leash_problem(int r, Problem *p) {
        if (r == -ESRCH)
                return problem_set(p, PROBLEM_VMM_GONE,
                                   "The process behind the pidfd has ended already.");
        if (r == -EINVAL || r == -EBADF)
                return problem_set(p, PROBLEM_NOT_A_PIDFD,
                                   "The descriptor is no pidfd: make one with pidfd_open(2).");
        return r;
}

/* The fd store keeps an open file only once, and two VMs may have the same VMM. */
static int leash_decide(Operation *op, Problem *p) {
        int r = pidfd_reopen(container_of(op, LeashOperation, op)->pidfd);

        if (r < 0)
                return leash_problem(r, p);
        op->leash = LEASH_PIDFD;
        op->leash_pidfd = r;
        return 0;
}

static void leash_set(Operation *op) {
        Unstore **unstore = &container_of(op, LeashOperation, op)->unstore;
        Vm *vm = op->vm;
        int r;

        if (op->result < 0)
                return;
        /* Also when the leash before it has ended meanwhile: the VM goes, and nobody is to count on it. */
        r = atomic_load(&op->cancelled)
                    ? problem_set(&op->problem, PROBLEM_CANCELLED,
                                  "The operation was cancelled; the leash has not been set.")
                    : leash_problem(leash_set_pidfd(&vm->leash, op->leash_pidfd), &op->problem);
        if (r < 0) { /* the VM keeps the leash that it has */
                unstore_submit(unstore, vm->manager, op->leash_stored);
                op->result = r;
                return;
        }
        unstore_submit(unstore, vm->manager, vm->leash_stored);
        vm->leash_stored = op->leash_stored;
        vm_move(vm, VM_EVENT_LEASHED);
}

static int leash_undo(Operation *op, Kernel *k) {
        (void)k;
        return op->ran ? descriptor_unstore(op->vm->manager->fdstore, &op->leash_stored, NULL) : 0;
}

static void leash_forget(Operation *op) {
        unstore_free(container_of(op, LeashOperation, op)->unstore);
        fd_close(container_of(op, LeashOperation, op)->pidfd);
}

int vm_set_leash(Vm *vm, int pidfd, const char *caller, OperationAnswer answer, void *userdata,
                 Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int copy, r;

        if (!vm_is_alive(vm))
                return problem_set(p, PROBLEM_WRONG_STATE, "VM %s is %s, so it takes no leash.",
                                   vm->name, vm_state_to_string(vm->state));
        r = fd_verify_pidfd(pidfd);
        if (r < 0)
                return leash_problem(r, p);
        copy = fd_dup(pidfd);
        if (copy < 0)
                return copy;
        r = operation_new(sizeof(LeashOperation), vm, "leash", caller, &op);
        if (r < 0) {
                fd_close(copy);
                return r;
        }

        container_of(op, LeashOperation, op)->pidfd = copy;
        container_of(op, LeashOperation, op)->unstore = unstore_new();
        op->destroy = leash_forget;
        if (!container_of(op, LeashOperation, op)->unstore)
                return -ENOMEM;
        op->decide = leash_decide;
        op->undo = leash_undo;
        op->grants = true;
        op->done = leash_set;
        return operation_submit_for(&op, answer, userdata, p);
}
