/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What could not be shown to be gone, and what could not be read: it stands until an administrator gives it up. Giving up takes nothing from
 * whoever may still hold it; it ends the account of it, and the daemon's own hold.
 */

#include <errno.h>

#include "core/manager-private.h"
#include "vm/context-store.h"

void manager_list_quarantined(const Manager *m, void (*found)(void *userdata, const Quarantined *q),
                              void *userdata) {
        for (size_t i = 0; i < m->n_vms; i++) {
                const Vm *vm = m->vms[i];

                if (vm->state == VM_QUARANTINED)
                        found(userdata, &(Quarantined){ vm->uuid, "vm", vm->state_reason });
        }
        for (size_t i = 0; i < m->n_kept; i++)
                found(userdata,
                      m->kept[i].verdict == RECORD_NEWER
                              ? &(Quarantined){ m->kept[i].id, "newer-record",
                                                "A newer aviommud has written its record, which "
                                                "cannot be read: "
                                                "nothing is granted as long as it is there." }
                              : &(Quarantined){ m->kept[i].id, "damaged-record",
                                                "Its record was damaged and is set aside: what a "
                                                "VMM may still hold of it is not "
                                                "counted." });
}

/* ---- a VM ---- */

static int decide(Operation *op, Problem *p) {
        Vm *vm = op->vm;

        if (vm->state == VM_RELEASED)
                return problem_set(p, PROBLEM_NO_SUCH_VM,
                                   "VM %s has gone meanwhile: there is nothing to give up.",
                                   vm->name);
        if (vm->state != VM_QUARANTINED)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s is %s, not quarantined: destroy it instead.", vm->name,
                                   vm_state_to_string(vm->state));
        vm->retry = sd_event_source_disable_unref(vm->retry);
        op->leash_stored = vm->leash_stored;
        vm->end_reason = VM_END_RECLAIMED;
        vm_move(vm, VM_EVENT_DRAIN);
        return 0;
}

static int run(Operation *op, Kernel *k, Problem *p) {
        const Vm *vm = op->vm;

        (void)k;
        /* Out of the fd store first, or it comes back with the next daemon. A release that failed may have left the leash there as well. */
        if (descriptor_unstore(vm->manager->fdstore, &op->leash_stored, p) < 0 ||
            context_unstore(vm->manager->fdstore, &op->work, p) < 0)
                return -EBUSY;
        context_close(&op->work);
        return 0;
}

static void done(Operation *op) {
        Vm *vm = op->vm;

        if (vm->state != VM_DRAINING)
                return;
        if (op->ran)
                vm->leash_stored = op->leash_stored;
        if (op->result < 0)
                release_quarantine(op);
        else
                release_finish(vm);
}

int vm_reclaim(Vm *vm, const char *caller, OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(operation_freep) Operation *op = NULL;
        int r;

        /* One that is tried again at this moment will be quarantined again, or gone. */
        if (vm->state != VM_QUARANTINED && vm->state != VM_DRAINING)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s is %s, not quarantined: destroy it instead.", vm->name,
                                   vm_state_to_string(vm->state));
        r = operation_new(sizeof(Operation), vm, "reclaim", caller, &op);
        if (r < 0)
                return r;

        op->decide = decide;
        op->run = run;
        op->done = done;
        op->urgent = op->takes_down = true;
        return operation_submit_for(&op, answer, userdata, p);
}

/* ---- a record ---- */

typedef struct LetGo {
        Job job;
        Manager *manager;
        char **names; /* in the fd store */
        size_t n_names;
        int result;
        OperationAnswer answer;
        void *userdata;
} LetGo;

static void let_go_run(Job *job) {
        LetGo *let_go = container_of(job, LetGo, job);
        FdStore *fdstore = let_go->manager->fdstore;
        int r = 0;

        for (size_t i = 0; i < let_go->n_names; i++)
                RET_GATHER(r, fdstore_remove(fdstore, let_go->names[i]));
        RET_GATHER(r, fdstore_barrier(fdstore));
        let_go->result = r;
}

static void let_go_done(Job *job) {
        LetGo *let_go = container_of(job, LetGo, job);
        Problem p = {};

        if (let_go->result < 0)
                (void)problem_set(&p, PROBLEM_STORAGE,
                                  "The service manager does not let go of its descriptors: %s.",
                                  strerror(-let_go->result));
        let_go->answer(let_go->userdata, let_go->result, &p);
        for (size_t i = 0; i < let_go->n_names; i++)
                free(let_go->names[i]);
        free(let_go->names);
        free(let_go);
}

static KeptRecord *find_kept(const Manager *m, sd_id128_t uuid) {
        for (size_t i = 0; i < m->n_kept; i++)
                if (sd_id128_equal(m->kept[i].id, uuid))
                        return m->kept + i;
        return NULL;
}

bool manager_has_kept_record(const Manager *m, sd_id128_t uuid) {
        return find_kept(m, uuid);
}

int manager_give_up_record(Manager *m, sd_id128_t uuid, OperationAnswer answer, void *userdata,
                           Problem *p) {
        KeptRecord *kept = find_kept(m, uuid);
        bool is_newer = kept && kept->verdict == RECORD_NEWER;
        LetGo *let_go;
        int r;

        if (!kept)
                return problem_set(
                        p, PROBLEM_NO_SUCH_VM,
                        "Nothing of %s is quarantined: \"aviommuctl reclaim\" lists what is.",
                        SD_ID128_TO_UUID_STRING(uuid));
        let_go = new0(LetGo, 1);
        if (!let_go)
                return -ENOMEM;

        r = is_newer ? state_store_set_aside(m->records, kept->kind, uuid) : 0;
        if (r < 0) {
                free(let_go);
                return record_refuse(m, r, p);
        }
        log_event(LOG_NOTICE, MESSAGE_RECORD_GIVEN_UP,
                  &(LogFields){ .record = SD_ID128_TO_UUID_STRING(uuid),
                                .reason = record_verdict_to_string(kept->verdict) },
                  "The %s record of %s is given up, on an administrator's word.",
                  record_verdict_to_string(kept->verdict), SD_ID128_TO_UUID_STRING(uuid));
        *kept = m->kept[--m->n_kept];

        *let_go = (LetGo){ .job = { .run = let_go_run, .done = let_go_done },
                           .manager = m,
                           .answer = answer,
                           .userdata = userdata };
        /* Which of them the last newer record was about, nobody can tell; what a damaged one had was let go at the start. */
        if (record_check_newer(m, NULL) >= 0) {
                let_go->names = TAKE_PTR(m->kept_names);
                let_go->n_names = m->n_kept_names;
                m->n_kept_names = 0;
        }
        if (let_go->n_names > 0)
                let_go->result = -ECANCELED, workers_submit(m->workers, &let_go->job);
        else
                let_go_done(&let_go->job);
        return 0;
}
