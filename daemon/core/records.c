/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is written down of VMs, so that the next daemon can take them on: one record each, in place of the one before.
 *
 * Records are small and on /run, so they are written from the loop. One that says what the last one said is not written again.
 */

#include <errno.h>
#include <time.h>

#include "core/manager-private.h"
#include "vm/vm-saved.h"

#define RECORD_RETRY_USEC UINT64_C(10000000)

/* Never 0, which stands for no record, nor 1, which stands for one that is not known. */
static uint64_t body_hash(const char *body) {
        return record_checksum(body, strlen(body)) | 2;
}

static int record_write(const VmSnapshot *snapshot, uint64_t *recorded) {
        Manager *m = snapshot->vm->manager;
        _cleanup_(vm_record_done) VmRecord record = {};
        _cleanup_free_ char *body = NULL;
        uint64_t hash;
        int r;

        r = vm_save(snapshot, &record);
        if (r >= 0)
                r = vm_record_format(&record, &body);
        if (r < 0)
                return r;
        hash = body_hash(body);
        if (hash == *recorded)
                return 0;

        r = record_store(m, RECORD_VM, record.uuid, body);
        if (r >= 0)
                *recorded = hash;
        return r;
}

int record_refuse(const Manager *m, int r, Problem *p) {
        if (r < 0 && r != -ENOMEM)
                (void)problem_set(p, PROBLEM_STORAGE,
                                  "The state of the VM cannot be written down in %s (%s), and "
                                  "without that it would not "
                                  "survive the daemon: make room there and try again.",
                                  state_store_get_path(m->records), strerror(-r));
        return r;
}

static int on_record_timer(sd_event_source *s, uint64_t usec, void *userdata);

void records_try_again(Manager *m) {
        m->records_failing = true;
        if (!m->stopping && !m->record_timer)
                (void)sd_event_add_time_relative(m->event, &m->record_timer, CLOCK_MONOTONIC,
                                                 RECORD_RETRY_USEC, 0, on_record_timer, m);
}

/* What has the name of a record and is a folder is no record, and would never be removed. */
static int remove_record(Manager *m, RecordKind kind, sd_id128_t id) {
        int r = state_store_remove(m->records, kind, id);

        return r == -EISDIR ? state_store_set_aside(m->records, kind, id) : r;
}

void record_forget(Manager *m, RecordKind kind, sd_id128_t id) {
        int r = m->records ? remove_record(m, kind, id) : 0;
        StaleRecord *grown;

        if (r >= 0)
                return;
        log_event(LOG_WARNING, MESSAGE_RECORDS_FAILING, &(LogFields){ .reason = strerror(-r) },
                  "Cannot remove the record %s of %s: %s", record_kind_to_string(kind),
                  SD_ID128_TO_UUID_STRING(id), strerror(-r));
        grown = reallocarray(m->stale, m->n_stale + 1, sizeof(StaleRecord));
        if (!grown)
                return; /* the next daemon finds that it says nothing */
        m->stale = grown;
        grown[m->n_stale++] = (StaleRecord){ kind, id };
        records_try_again(m);
}

/* There is a new record of that name. */
static void unstale(Manager *m, RecordKind kind, sd_id128_t id) {
        for (size_t i = m->n_stale; i-- > 0;)
                if (m->stale[i].kind == kind && sd_id128_equal(m->stale[i].id, id))
                        m->stale[i] = m->stale[--m->n_stale];
}

static void remove_stale(Manager *m) {
        for (size_t i = m->n_stale; i-- > 0;)
                if (remove_record(m, m->stale[i].kind, m->stale[i].id) >= 0)
                        m->stale[i] = m->stale[--m->n_stale];
        if (m->n_stale > 0)
                records_try_again(m);
}

int record_store(Manager *m, RecordKind kind, sd_id128_t id, const char *body) {
        int r = state_store_write(m->records, kind, id, body);

        if (r >= 0)
                unstale(m, kind, id);
        return r;
}

int record_check_newer(const Manager *m, Problem *p) {
        for (size_t i = 0; i < m->n_kept; i++)
                if (m->kept[i].verdict == RECORD_NEWER)
                        return problem_set(
                                p, PROBLEM_NEWER_RECORD,
                                "There is a record of %s that a newer aviommud has written in %s, "
                                "and what it holds cannot be "
                                "told: run that version again, or give the record up with "
                                "\"aviommuctl reclaim %s\".",
                                SD_ID128_TO_UUID_STRING(m->kept[i].id),
                                state_store_get_path(m->records),
                                SD_ID128_TO_UUID_STRING(m->kept[i].id));
        return 0;
}

int record_intent(Operation *op) {
        Vm *vm = op->vm;
        const Manager *m = vm->manager;
        int r;

        if (op->receipt) {
                r = record_check_newer(m, &op->problem);
                if (r < 0)
                        return r;
        }
        if (!m->records ||
            vm->state ==
                    VM_RELEASED) /* what waited behind its end: no record says anything of it */
                return 0;

        r = record_write(&(VmSnapshot){ .vm = vm,
                                        .context = &op->work,
                                        .more = op->receipt,
                                        .state = vm->state,
                                        .leash = vm->leash.kind,
                                        .leash_caller = vm->leash.caller,
                                        .leash_stored = vm->leash_stored,
                                        .deadline_usec = vm->leash.deadline_usec },
                         &vm->recorded);
        return op->grants ? record_refuse(m, r, &op->problem) : 0;
}

int record_result(Operation *op) {
        Vm *vm = op->vm;
        const Manager *m = vm->manager;
        bool leashed = op->leash != LEASH_NONE;
        VmSnapshot snapshot = { .vm = vm,
                                .context = &op->work,
                                .more = op->receipt,
                                .memory = op->memory,
                                .state = vm->state,
                                .leash = leashed ? op->leash : vm->leash.kind,
                                .leash_caller = leashed ? op->caller : vm->leash.caller,
                                .leash_stored = leashed ? op->leash_stored : vm->leash_stored,
                                .deadline_usec = op->deadline_usec ?: vm->leash.deadline_usec };

        if (!m->records)
                return 0;
        if (snapshot.leash != LEASH_CALLER)
                snapshot.leash_caller = NULL;
        if (vm->state == VM_ADMITTED || leashed)
                snapshot.state = leashed ? VM_BOUND : VM_REALIZED;
        return record_refuse(m, record_write(&snapshot, &vm->recorded), &op->problem);
}

/* An operation in flight has written down what it is about, and what is known here would take that away: the VM is written when it ends. */
static void record_again(Vm *vm) {
        if (!vm->unrecorded)
                return;
        if (vm->operation)
                records_try_again(vm->manager);
        else
                record_vm(vm);
}

static int on_record_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        (void)s;
        (void)usec;
        m->record_timer = sd_event_source_disable_unref(m->record_timer);
        m->records_failing = false;
        for (size_t i = 0; i < m->n_vms; i++)
                record_again(m->vms[i]);
        remove_stale(m);
        unstore_try_again(m);
        if (!m->records_failing)
                log_event(LOG_NOTICE, MESSAGE_RECORDS_WORKING, NULL,
                          "What could not be written down before now is.");
        return 0;
}

void record_vm(Vm *vm) {
        Manager *m = vm->manager;
        bool was_failing = m->records_failing;
        int r;

        if (!m->records)
                return;
        if (vm->state == VM_RELEASED) {
                if (vm->recorded)
                        record_forget(m, RECORD_VM, vm->uuid);
                vm->recorded = 0;
                return;
        }

        r = record_write(&(VmSnapshot){ .vm = vm,
                                        .context = &vm->context,
                                        .state = vm->state,
                                        .leash = vm->leash.kind,
                                        .leash_caller = vm->leash.caller,
                                        .leash_stored = vm->leash_stored,
                                        .deadline_usec = vm->leash.deadline_usec },
                         &vm->recorded);
        vm->unrecorded = r < 0;
        if (r >= 0)
                return;
        records_try_again(m);
        if (!was_failing)
                log_event(LOG_ERR, MESSAGE_RECORDS_FAILING,
                          &(LogFields){ .vm = VM_UUID_STRING(vm),
                                        .name = vm->name,
                                        .reason = strerror(-r) },
                          "What has become of VM \"%s\" cannot be written down in %s: %s. A daemon "
                          "that starts now would not know.",
                          vm->name, state_store_get_path(m->records), strerror(-r));
}
