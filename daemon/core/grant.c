/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* CreateVm: decide and charge everything at once, then the kernel, then a VM that waits for its leash. */

#include <errno.h>
#include <inttypes.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/context-store.h"

typedef struct CreateOperation {
        Operation op;
        VmRequest request;
        Reservation *reservation; /* taken by decide */
        bool prepared;            /* the iommufd is a prepared one, lent by decide */
} CreateOperation;

/* What the VM's life will hang on, if all goes well. */
static int choose_leash(CreateOperation *create, Problem *p) {
        const VmRequest *request = &create->request;
        Operation *op = &create->op;
        int r;

        if (request->leash == LEASH_CALLER && op->caller)
                op->leash = LEASH_CALLER;
        else if (request->leash == LEASH_AGENT || request->leash == LEASH_DEFINITION)
                op->leash = request->leash;
        else if (request->leash_pidfd >= 0) {
                r = pidfd_reopen(request->leash_pidfd);
                if (r == -ESRCH)
                        return problem_set(p, PROBLEM_VMM_GONE,
                                           "The process of leash-pidfd has ended already.");
                if (r < 0)
                        return r;
                op->leash = LEASH_PIDFD;
                op->leash_pidfd = r;
        } else
                op->clock_usec = op->vm->manager->config.admission_timeout_usec;
        return 0;
}

/* The part that may count on a reservation. */
static int admit(CreateOperation *create, Admission *a, Problem *p) {
        Operation *op = &create->op;
        Manager *m = op->vm->manager;
        AdmissionView view = manager_get_view(m);
        int r;

        r = admission_decide_vm(&view, &create->request, a, p);
        if (r >= 0)
                r = ledger_charge(m->ledger, &a->demands, &op->receipt, p);
        for (size_t i = 0; r >= 0 && i < a->additions.n_functions; i++)
                if (a->additions.handover == HANDOVER_DAEMON)
                        r = unplug_eventfd_new(&a->additions.functions[i].unplug_fd);
        if (r >= 0)
                r = choose_leash(create, p);
        if (r >= 0)
                r = claims_add(m, op->vm, create->reservation, &a->additions);
        if (r < 0) {
                context_close(&a->additions);
                op->receipt = receipt_done(op->receipt);
        }
        return r;
}

static int decide(Operation *op, Problem *p) {
        CreateOperation *create = container_of(op, CreateOperation, op);
        Vm *vm = op->vm;
        _cleanup_(admission_done) Admission a = ADMISSION_NULL;
        int r;

        r = prepared_check(vm->manager, &create->request, vm->owner_uid, p);
        if (r < 0)
                return r;
        r = reservation_take(vm->manager, create->request.reservation, vm->owner_uid,
                             &create->reservation, p);
        if (r >= 0)
                r = admit(create, &a, p);
        reservation_decided(create->reservation);
        if (r < 0)
                return r;
        vm->reservation = reservation_get_token(create->reservation);

        context_done(&op->work);
        op->work = a.additions;
        context_init(&a.additions, op->work.tier, op->work.handover);
        if (op->work.handover == HANDOVER_VMM) {
                op->work.iommufd = prepared_lend(vm->manager, vm->uuid, &op->work.iommufd_stored);
                op->work.shared = create->prepared = op->work.iommufd >= 0;
        }
        vm->guest_domains = a.guest_domains;
        return 0;
}

static int run(Operation *op, Kernel *k, Problem *p) {
        return context_realize(k, &op->work, &op->cancelled, p);
}

static int undo(Operation *op, Kernel *k) {
        const CreateOperation *create = container_of(op, CreateOperation, op);
        FdStore *fdstore = op->vm->manager->fdstore;
        int r, q;

        /* Still its caller's; a VMM makes everything on it himself, so nothing has been made. */
        if (create->prepared) {
                op->work.iommufd = -1;
                op->work.iommufd_stored = 0;
                op->work.shared = false;
        }
        if (!op->ran)
                return 0;
        r = descriptor_unstore(fdstore, &op->leash_stored, NULL);
        q = context_unstore(fdstore, &op->work, NULL);
        RET_GATHER(r, q);
        q = context_teardown(k, &op->work, NULL);
        RET_GATHER(r, q);
        return r;
}

/* The end of a request that failed: as if it had never come, unless something could not be undone. */
static void fail(Operation *op, Reservation *reservation) {
        Vm *vm = op->vm;

        vm_move(vm, VM_EVENT_DRAIN);
        if (op->stuck) {
                vm->end_reason = VM_END_FAILED;
                vm->receipt = TAKE_PTR(op->receipt);
                vm->leash_stored = op->leash_stored; /* 0, or it could not be taken out */
                reservation_use_up(reservation);
                vm->announced = true;
                memcpy(vm->state_reason, op->problem.text, sizeof(vm->state_reason));
                vm_move(vm, VM_EVENT_STUCK);
                log_event(LOG_ERR, MESSAGE_VM_QUARANTINED,
                          &(LogFields){ .vm = VM_UUID_STRING(vm),
                                        .name = vm->name,
                                        .reason = vm->state_reason },
                          "Creating failed and could not be undone, quarantined: %s",
                          vm->state_reason);
                release_try_again(vm);
                if (vm->manager->observer.vm_added)
                        vm->manager->observer.vm_added(vm->manager->observer.userdata, vm);
                return;
        }

        claims_remove_all(vm->manager, &vm->context);
        op->receipt = receipt_done(op->receipt);
        reservation_put_back(reservation);
        vm_move(vm, VM_EVENT_GONE);
}

static int start_leash(Operation *op) {
        Vm *vm = op->vm;
        int r;

        if (op->leash == LEASH_NONE)
                return leash_start_clock(&vm->leash, op->deadline_usec);

        if (op->leash == LEASH_AGENT || op->leash == LEASH_DEFINITION) {
                if (op->leash == LEASH_AGENT)
                        leash_set_agent(&vm->leash);
                else
                        leash_set_definition(&vm->leash);
                r = 0;
        } else
                r = op->leash == LEASH_CALLER ? leash_set_caller(&vm->leash, op->caller)
                                              : leash_set_pidfd(&vm->leash, op->leash_pidfd);
        if (r >= 0)
                vm_move(vm, VM_EVENT_LEASHED);
        return r == -ESRCH ? problem_set(&op->problem, PROBLEM_VMM_GONE,
                                         "The process of leash-pidfd has ended meanwhile.")
                           : r;
}

static void done(Operation *op) {
        CreateOperation *create = container_of(op, CreateOperation, op);
        Vm *vm = op->vm;
        Manager *m = vm->manager;
        int r;

        if (op->result < 0) {
                if (create->prepared)
                        prepared_give_back(m, vm->uuid);
                fail(op, create->reservation);
                return;
        }

        vm->receipt = TAKE_PTR(op->receipt);
        vm->leash_stored = op->leash_stored;
        reservation_use_up(create->reservation);
        if (create->prepared)
                prepared_use_up(m, vm->uuid);
        vm_move(vm, VM_EVENT_REALIZED);
        r = atomic_load(&op->cancelled)
                    ? problem_set(&op->problem, PROBLEM_CANCELLED, "The operation was cancelled.")
                    : start_leash(op);
        if (r < 0) {
                op->result = r;
                vm_drain(vm, VM_END_FAILED);
                return;
        }

        if (vm->context.handover == HANDOVER_NONE)
                prepared_forgo(m, vm->uuid, vm->owner_uid);
        vm->announced = true;
        log_event(LOG_INFO, MESSAGE_VM_ADMITTED,
                  &(LogFields){ .vm = VM_UUID_STRING(vm), .name = vm->name },
                  "Admitted VM \"%s\": tier %s, handover %s, %zu function(s), %zu vIOMMU(s).",
                  vm->name, vm_tier_to_string(vm->context.tier),
                  vm_handover_to_string(vm->context.handover), vm->context.n_functions,
                  vm->context.n_viommus);
        if (m->observer.vm_added)
                m->observer.vm_added(m->observer.userdata, vm);
}

static void destroy(Operation *op) {
        vm_request_done(&container_of(op, CreateOperation, op)->request);
}

/* What can be said without looking at the host. */
static int check_request(Manager *m, VmRequest *request, Problem *p) {
        bool ended;
        int r;

        r = admission_complete_request(request, &m->config, p);
        if (r < 0)
                return r;
        if (m->stopping)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (m->n_vms >= m->config.max_vms)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, m->n_vms + 1,
                                           m->config.max_vms,
                                           "There are %zu VMs, MaxVms= allows %" PRIu64 ".",
                                           m->n_vms, m->config.max_vms);
        if (request->leash_pidfd < 0)
                return 0;

        if (fd_verify_pidfd(request->leash_pidfd) < 0)
                return problem_set(p, PROBLEM_NOT_A_PIDFD,
                                   "leash-pidfd is no pidfd: make one with pidfd_open(2).");
        r = pidfd_has_ended(request->leash_pidfd, &ended);
        if (r < 0)
                return r;
        return ended ? problem_set(p, PROBLEM_VMM_GONE,
                                   "The process of leash-pidfd has ended already.")
                     : 0;
}

static int new_vm(Manager *m, const VmRequest *request, uid_t owner_uid, Vm **ret, Problem *p) {
        _cleanup_(vm_freep) Vm *vm = NULL;
        const char *uuid = SD_ID128_TO_UUID_STRING(request->uuid);
        const Vm *other;
        int r;

        r = vm_new(m, m->event, request->uuid, request->name ?: uuid, vm_on_leash_ended, &vm);
        if (r < 0)
                return r;

        vm->owner_uid = owner_uid;
        memcpy(vm->tenant, request->tenant, sizeof(vm->tenant));
        vm->memory = request->memory;
        context_init(&vm->context, request->tier, request->handover);
        r = manager_link_vm(m, vm);
        if (r == -EEXIST) {
                other = manager_find_vm(m, request->uuid);
                if (other)
                        return problem_set(
                                p, PROBLEM_VM_EXISTS,
                                "VM %s (%s) is admitted already, and is %s; destroy it first.",
                                uuid, other->name, vm_state_to_string(other->state));
                return problem_set(p, PROBLEM_VM_EXISTS,
                                   "Another VM is named \"%s\"; give this one another name.",
                                   vm->name);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(vm);
        return 0;
}

int manager_create_vm(Manager *m, VmRequest *request, uid_t owner_uid, const char *caller,
                      OperationAnswer answer, void *userdata, Problem *p) {
        CreateOperation *create;
        Operation *op = NULL;
        Vm *vm = NULL;
        int r;

        request->uid = owner_uid;
        r = user_groups_complete(m, request);
        if (r >= 0)
                r = check_request(m, request, p);
        if (r >= 0)
                r = new_vm(m, request, owner_uid, &vm, p);
        if (r < 0)
                return r;

        r = operation_new(sizeof(CreateOperation), vm, "create", caller, &op);
        for (size_t i = 0; i < request->n_functions && r >= 0; i++)
                r = operation_add_scan(
                        op, &request->functions[i].address,
                        request->functions[i].has_vf_token ? request->functions[i].vf_token : NULL);
        if (r < 0) {
                operation_free(op);
                manager_remove_vm(m, vm);
                return r;
        }

        create = container_of(op, CreateOperation, op);
        create->request = *request;
        vm_request_init(request);
        op->token = create->request.reservation;
        op->decide = decide;
        op->run = run;
        op->undo = undo;
        op->done = done;
        op->destroy = destroy;
        op->grants = true;
        op->urgent = true; /* the VM is not alive yet */
        return operation_submit_for(&op, answer, userdata, p);
}
