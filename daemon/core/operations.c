/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Carries operations through their steps (vm/operation.h): one at a time for each VM, any number of VMs at once. */

#include <errno.h>
#include <inttypes.h>
#include <time.h>

#include "core/manager-private.h"
#include "vm/context-store.h"
#include "vm/kernel-refusal.h"

#define BUSY_RETRY_USEC UINT64_C(100000)

static void operations_go_on(Vm *vm);

void operation_answer(Operation *op, int r, const Problem *problem) {
        OperationAnswer answer = TAKE_PTR(op->answer);

        if (answer)
                answer(op->userdata, r, problem);
}

/* The last step: the operation leaves the queue, and the next one begins. */
static void operation_finish(Operation *op, int r) {
        Vm *vm = op->vm;
        Manager *m = vm->manager;

        op->result = r;
        op->done(op);
        record_vm(vm);
        operation_answer(op, op->result, &op->problem);

        assert(vm->operation == op);
        vm->operation = op->next;
        vm->n_operations--;
        operation_free(op);

        r = m->stopping ? 0 : unplug_watches_sync(vm, m->event, hotplug_unplug_wanted);
        if (r < 0)
                log_vm(LOG_WARNING, VM_UUID_STRING(vm), "Cannot watch for unplug requests: %s",
                       strerror(-r));
        manager_notify_capacity(m);
        manager_notify_vm(vm);

        operations_go_on(vm);
}

/* ---- undo ---- */

static void adopt_work(Operation *op);

static void on_undo(Job *job) {
        Operation *op = container_of(job, Operation, job);

        op->stuck = op->undo(op, op->vm->manager->kernel) < 0;
}

static void on_undo_done(Job *job) {
        Operation *op = container_of(job, Operation, job);

        adopt_work(op);
        operation_finish(op, op->result);
}

/* The operation has failed after its decision: what that added is taken back. */
static void operation_undo(Operation *op, int r) {
        op->result = r;
        op->job = (Job){ .run = on_undo, .done = on_undo_done };
        if (op->undo && op->ran) {
                op->stuck = true; /* if the pool stops before it comes to this */
                workers_submit(op->vm->manager->workers, &op->job);
                return;
        }
        if (op->undo) /* nothing has been asked for, so it asks nobody */
                on_undo(&op->job);
        on_undo_done(&op->job);
}

/* ---- run ---- */

static void on_run(Job *job) {
        Operation *op = container_of(job, Operation, job);
        const Vm *vm = op->vm;

        op->ran = true;
        op->result = op->run ? op->run(op, vm->manager->kernel, &op->problem) : 0;
        if (op->result >= 0)
                op->result = context_store(vm->manager->fdstore, &op->work, op->leash_pidfd,
                                           &op->leash_stored, &op->problem);
}

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        Operation *op = userdata;

        (void)usec;
        (void)s;
        op->retry = sd_event_source_disable_unref(op->retry);
        op->problem = (Problem){};
        workers_submit(op->vm->manager->workers, &op->job);
        return 0;
}

/* Whether a run that said "busy" is to be repeated; then a timer has been set. */
static bool retry_later(Operation *op) {
        Manager *m = op->vm->manager;
        uint64_t now;

        if (op->result != -EBUSY || op->retry_until_usec == 0 || atomic_load(&op->cancelled) ||
            m->stopping)
                return false;
        if (sd_event_now(m->event, CLOCK_MONOTONIC, &now) < 0 || now >= op->retry_until_usec)
                return false;
        return sd_event_add_time_relative(m->event, &op->retry, CLOCK_MONOTONIC, BUSY_RETRY_USEC, 0,
                                          on_retry, op) >= 0;
}

/* What the worker left is the VM's context from here on, also when it failed. */
static void adopt_work(Operation *op) {
        context_done(&op->vm->context);
        op->vm->context = op->work;
        context_init(&op->work, op->vm->context.tier, op->vm->context.handover);
}

static void on_run_done(Job *job) {
        Operation *op = container_of(job, Operation, job);
        int r = op->result;

        if (retry_later(op))
                return;
        if (r >= 0) {
                context_settle(&op->work);
                if (op->clock_usec > 0) {
                        (void)sd_event_now(op->vm->manager->event, CLOCK_MONOTONIC,
                                           &op->deadline_usec);
                        op->deadline_usec += op->clock_usec;
                }
                if (op->grants)
                        r = record_result(op);
        }
        if (r < 0) {
                operation_undo(op, r);
                return;
        }
        adopt_work(op);
        operation_finish(op, r);
}

static void operation_decide(Operation *op) {
        int r;

        r = atomic_load(&op->cancelled)
                    ? problem_set(&op->problem, PROBLEM_CANCELLED,
                                  "The operation was cancelled; nothing has been taken.")
                    : context_copy(&op->vm->context, &op->work);
        if (r >= 0) {
                op->decided = true;
                r = op->decide(op, &op->problem);
        }
        if (r < 0) {
                operation_finish(op, r);
                return;
        }
        r = record_intent(op);
        if (r < 0) {
                operation_undo(op, r);
                return;
        }

        if (op->run || op->leash_pidfd >= 0) {
                op->result = -ECANCELED; /* if the pool stops before it comes to this */
                op->job = (Job){ .run = on_run, .done = on_run_done };
                workers_submit(op->vm->manager->workers, &op->job);
        } else {
                context_settle(&op->work);
                adopt_work(op);
                operation_finish(op, 0);
        }
}

/* What kept a probe from an answer would keep the operation from its function as well. */
static int check_probe(Operation *op, const ProbeTarget *t) {
        const HostIommu *iommu = inventory_find_iommu(op->vm->manager->inventory, t->host_iommu);

        if (t->error < 0 || !iommu || iommu->level != KERNEL_LEVEL_UNKNOWN)
                return 0;
        if (t->result.open == 0 && t->result.bind < 0)
                return kernel_refusal(&op->problem, STEP_BIND, PCI_ADDRESS_STRING(&t->function),
                                      t->result.bind);
        if (t->result.alloc == -ENOSPC || t->result.alloc == -ENOMEM)
                return kernel_refusal(&op->problem, STEP_VIOMMU_ALLOC, iommu->info.name,
                                      t->result.alloc);
        return 0;
}

/* The functions named may be behind IOMMUs whose level nobody has asked for yet; now they are looked at anyway. */
static void on_probed(void *userdata, const ProbeTarget *targets, size_t n_targets) {
        Operation *op = userdata;
        int r = 0;

        for (size_t i = 0; i < n_targets && r >= 0; i++)
                r = check_probe(op, targets + i);
        if (r < 0)
                operation_finish(op, r);
        else
                operation_decide(op);
}

static bool start_probe(Operation *op) {
        Manager *m = op->vm->manager;
        Reservation *reservation = reservation_look(m, op->token, op->vm->owner_uid);
        AdmissionView view = manager_get_view(m);
        ProbeTarget *targets = new0(ProbeTarget, MAX(op->n_scan, (size_t)1));
        bool started;
        size_t n = 0;

        for (size_t i = 0; targets && i < op->n_scan; i++) {
                uint32_t host_iommu;
                bool seen = false;

                if (!admission_wants_probe(&view, op->vm->context.tier, op->scan + i, &host_iommu))
                        continue;
                for (size_t j = 0; j < n; j++)
                        seen |= targets[j].host_iommu == host_iommu;
                if (seen)
                        continue;
                targets[n] = (ProbeTarget){ .host_iommu = host_iommu, .function = op->scan[i] };
                memcpy(targets[n].vf_token, op->vf_tokens[i], sizeof(targets[n].vf_token));
                targets[n].has_vf_token = memcmp(op->vf_tokens[i], (uint8_t[16]){}, 16) != 0;
                n++;
        }

        /* Without a probe the decision says what is missing. */
        started = n > 0 && probing_start(m, op->vm, targets, n, on_probed, op) >= 0;
        reservation_decided(reservation);
        if (!started)
                free(targets);
        return started;
}

static void on_scan(Job *job) {
        Operation *op = container_of(job, Operation, job);
        Kernel *k = op->vm->manager->kernel;

        op->result = k->ops->scan(k, op->scan, op->n_scan, &op->scanned);
}

static void on_scan_done(Job *job) {
        Operation *op = container_of(job, Operation, job);
        Manager *m = op->vm->manager;
        int r = op->result;

        if (r < 0 && r != -ENOMEM && r != -ECANCELED)
                (void)problem_set(&op->problem, PROBLEM_KERNEL,
                                  "What the host says of the functions cannot be read: %s.",
                                  strerror(-r));
        if (r >= 0)
                r = inventory_apply_partial(m->inventory, op->scan, op->n_scan, op->scanned);
        if (r >= 0 && atomic_load(&op->cancelled))
                r = problem_set(&op->problem, PROBLEM_CANCELLED,
                                "The operation was cancelled; nothing has been taken.");
        if (r < 0)
                operation_finish(op, r);
        else if (!start_probe(op))
                operation_decide(op);
}

/* Whether an operation may begin now that its turn has come. */
static int check_turn(Operation *op) {
        Vm *vm = op->vm;

        if (vm->manager->stopping)
                return problem_set(&op->problem, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (atomic_load(&op->cancelled))
                return problem_set(&op->problem, PROBLEM_CANCELLED,
                                   "The operation was cancelled before it began.");
        if (!op->urgent && !vm_is_alive(vm))
                return problem_set(&op->problem, PROBLEM_WRONG_STATE,
                                   "VM %s is %s, so it takes no more requests.", vm->name,
                                   vm_state_to_string(vm->state));
        /* It would take for its own what is not known to be there. */
        if (!op->urgent && !op->takes_down && repair_has_failed(vm))
                return problem_set(&op->problem, PROBLEM_BUSY,
                                   "What an earlier daemon left half done for VM %s cannot be put "
                                   "right yet (%s): try again in a while.",
                                   vm->name, strerror(-vm->unrepaired));
        return 0;
}

static void operation_begin(Operation *op) {
        Manager *m = op->vm->manager;
        int r;

        (void)sd_event_now(m->event, CLOCK_MONOTONIC, &op->started_usec);
        r = check_turn(op);
        if (r < 0) {
                operation_finish(op, r);
                return;
        }

        if (op->n_scan == 0) {
                operation_decide(op);
                return;
        }
        op->result = -ECANCELED;
        op->job = (Job){ .run = on_scan, .done = on_scan_done };
        workers_submit(m->workers, &op->job);
}

/* Begins what comes next. It may end as it begins, and many may wait: one call begins them all, and those from within leave it to that. */
static void operations_go_on(Vm *vm) {
        if (vm->beginning)
                return;
        vm->beginning = true;
        while (vm->operation && !vm->operation->begun) {
                vm->operation->begun = true;
                operation_begin(vm->operation);
        }
        vm->beginning = false;
        if (!vm->operation && vm->state == VM_RELEASED)
                manager_remove_vm(vm->manager, vm);
}

int operation_submit(Operation **op, Problem *reterr_problem) {
        Operation *mine = *op, **tail;
        Vm *vm = mine->vm;
        uint64_t limit = vm->manager->config.max_operations_per_vm;

        if (!mine->urgent && vm->n_operations > limit)
                return problem_set_amounts(
                        reterr_problem, PROBLEM_BUSY, vm->n_operations, limit,
                        "%zu operations of VM %s wait already (MaxOperationsPerVm=%" PRIu64
                        "): try again "
                        "when they are done.",
                        vm->n_operations, vm->name, limit);

        for (tail = &vm->operation; *tail; tail = &(*tail)->next)
                ;
        *tail = TAKE_PTR(*op);
        vm->n_operations++;
        operations_go_on(vm);
        return 0;
}

int operation_submit_for(Operation **op, OperationAnswer answer, void *userdata,
                         Problem *reterr_problem) {
        Operation *mine = *op;
        int r;

        mine->answer = answer;
        mine->userdata = userdata;
        r = operation_submit(op, reterr_problem);
        if (r < 0)
                mine->answer = NULL;
        return r;
}

void vm_cancel_operations(Vm *vm, const char *caller) {
        for (Operation *op = vm->operation; op; op = op->next)
                if (!op->takes_down && (!caller || (op->caller && streq(op->caller, caller))))
                        atomic_store(&op->cancelled, true);
}

int vm_cancel(Vm *vm, Problem *reterr_problem) {
        if (!vm->operation || vm->operation->takes_down)
                return problem_set(reterr_problem, PROBLEM_WRONG_STATE,
                                   "VM %s has no operation in flight to cancel.", vm->name);
        atomic_store(&vm->operation->cancelled, true);
        return 0;
}
