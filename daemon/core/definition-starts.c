/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Starting what is defined: at boot one after the other, in the order in which they were defined, and whenever somebody asks for one.
 *
 * At boot means once in a boot. What came of a definition's start, or that it was made in this boot, is on record beside the VMs' records,
 * which end with the boot: a daemon that is started again starts nothing twice, and nothing that has been taken down since. Only what was
 * refused because the host's functions were not yet as it needs them is tried again, when they change: VFs are made and drivers bound by
 * others, who may come later.
 */

#include <errno.h>
#include <stdio.h>

#include "core/manager-private.h"

/* ---- the record of it ---- */

#define AWAITS_FUNCTIONS "functions"

static int write_start(Manager *m, const Definition *d) {
        StartedRecord record = { .refused = d->reason[0] };
        _cleanup_free_ char *body = NULL;
        int r;

        memcpy(record.reason, d->reason, sizeof(record.reason));
        if (d->awaits_functions)
                (void)strcpy(record.awaits, AWAITS_FUNCTIONS);
        r = started_record_format(&record, &body);
        return r < 0 ? r : record_store(m, RECORD_STARTED, d->vm.uuid, body);
}

static void record_start(Manager *m, const Definition *d) {
        int r;

        if (!m->records)
                return;
        r = write_start(m, d);
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_RECORDS_FAILING,
                          &(LogFields){ .vm = SD_ID128_TO_UUID_STRING(d->vm.uuid),
                                        .reason = strerror(-r) },
                          "It cannot be written down in %s that the definition has been started in "
                          "this boot (%s): a daemon that starts now would start it again.",
                          state_store_get_path(m->records), strerror(-r));
}

void definition_changed(Manager *m, Definition *d) {
        d->reason[0] = '\0';
        d->awaits_functions = d->retry = false;
        if (!d->autostart && !d->started)
                return;
        d->started = true; /* what is defined now is started at the next boot, or by its user */
        record_start(m, d);
}

void definition_forget_start(Manager *m, const Definition *d) {
        if (d->started)
                record_forget(m, RECORD_STARTED, d->vm.uuid);
}

void definition_recover_start(Manager *m, const StateEntry *entry) {
        StartedRecord record = {};
        Definition *d;

        if (!m->definition_files) /* they could not be read: they may be there all the same */
                return;
        d = definition_find(m, entry->id);
        if (entry->verdict == RECORD_OTHER_BOOT || !d) {
                record_forget(m, RECORD_STARTED, entry->id);
                return;
        }
        d->started = true; /* also where it cannot be read what came of it */
        if (entry->verdict != RECORD_GOOD ||
            started_record_parse(entry->body, entry->body_length, &record) < 0 || !record.refused)
                return;
        memcpy(d->reason, record.reason, sizeof(d->reason));
        /* They may have come while there was no daemon. */
        d->awaits_functions = d->retry = streq(record.awaits, AWAITS_FUNCTIONS);
}

/* ---- one start ---- */

typedef struct Start {
        Manager *m;
        sd_id128_t uuid;
        bool at_boot;
        OperationAnswer answer; /* may be NULL */
        void *userdata;
} Start;

/* Refusals that end with what becomes of the host's functions, and with nothing that another VM does. */
static bool awaits_functions(const Problem *problem) {
        switch (problem->kind) {
        case PROBLEM_NO_SUCH_FUNCTION:
        case PROBLEM_FUNCTION_NOT_BOUND:
        case PROBLEM_GROUP_NOT_WHOLE:
        case PROBLEM_LEVEL_UNKNOWN: /* no function was there to find it out with */
                return true;
        default:
                return false;
        }
}

static void say_refused(const Definition *d) {
        char buf[SD_ID128_UUID_STRING_MAX];
        const char *name = definition_get_name(d, buf);

        log_event(LOG_ERR, MESSAGE_DEFINITION_REFUSED,
                  &(LogFields){ .vm = SD_ID128_TO_UUID_STRING(d->vm.uuid),
                                .name = name,
                                .reason = d->reason },
                  "VM \"%s\" is defined to be admitted at boot, and is refused: %s", name,
                  d->reason);
}

/* What came of it, for the definition if that is still there. */
static void start_note(const Start *start, int r, const Problem *problem) {
        Manager *m = start->m;
        Definition *d = definition_find(m, start->uuid);
        char before[sizeof(d->reason)];

        /* A daemon that is stopping has not decided anything: the next one will. */
        if (!d || (r < 0 && m->stopping))
                return;
        d->started = true;
        memcpy(before, d->reason, sizeof(before));
        (void)snprintf(d->reason, sizeof(d->reason), "%s",
                       r >= 0                               ? ""
                       : problem && problem_is_set(problem) ? problem->text
                                                            : strerror(-r));
        d->awaits_functions = r < 0 && d->autostart && problem && awaits_functions(problem);
        if (r < 0 && streq(before, d->reason)) /* tried again, and nothing new */
                return;
        record_start(m, d);
        if (r < 0 && start->at_boot)
                say_refused(d);
}

static void on_started(void *userdata, int r, const Problem *problem) {
        Start *start = userdata;
        OperationAnswer answer = start->answer;

        start_note(start, r, problem);
        userdata = start->userdata;
        free(start);
        answer(userdata, r, problem);
}

/* Takes over the leash in *leash (NULL: that of a definition). */
static int start(Manager *m, const Definition *d, VmRequest *leash, bool at_boot,
                 const char *caller, OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(vm_request_done) VmRequest request;
        Start *s = new0(Start, 1);
        int r;

        vm_request_init(&request);
        if (!s)
                return -ENOMEM;
        *s = (Start){ m, d->vm.uuid, at_boot, answer, userdata };
        r = vm_request_copy(&d->vm, &request);
        request.leash = leash ? leash->leash : LEASH_DEFINITION;
        if (leash)
                request.leash_pidfd = TAKE_FD(leash->leash_pidfd);
        if (r >= 0)
                r = manager_create_vm(m, &request, d->vm.uid, caller, on_started, s, p);
        if (r < 0) {
                start_note(s, r, p);
                free(s);
        }
        return r;
}

int manager_start_definition(Manager *m, sd_id128_t uuid, VmRequest *leash, const char *caller,
                             OperationAnswer answer, void *userdata, Problem *p) {
        Definition *d;
        const Vm *vm;
        int r;

        r = definition_find_readable(m, uuid, &d, p);
        if (r < 0)
                return r;
        vm = manager_find_vm(m, uuid);
        if (vm) /* that says nothing against the definition */
                return problem_set(p, PROBLEM_VM_EXISTS,
                                   "VM %s (%s) is admitted already, and is %s; destroy it first.",
                                   VM_UUID_STRING(vm), vm->name, vm_state_to_string(vm->state));
        return start(m, d, leash, false, caller, answer, userdata, p);
}

/* ---- at boot ---- */

/* The next one to be started: of those that are not yet, or to be tried again, the one that was defined first. */
static Definition *next_due(const Manager *m) {
        Definition *due = NULL;

        for (size_t i = 0; i < m->n_definitions; i++) {
                Definition *d = m->definitions[i];

                if (d->autostart && (!d->started || d->retry) && !d->is_new &&
                    d->verdict == RECORD_GOOD && (!due || d->number < due->number))
                        due = d;
        }
        return due;
}

static void all_started(Manager *m) {
        void (*done)(void *) = m->autostart_done;

        m->all_started = true;
        m->autostart_done = NULL;
        if (done)
                done(m->autostart_userdata);
}

static void start_due(Manager *m);

static void on_due_started(void *userdata, int r, const Problem *problem) {
        Manager *m = userdata;

        (void)r;
        (void)problem;
        if (!m->stopping)
                start_due(m);
}

/* One after the other: the first that is not refused at once goes on when it is answered. */
static void start_due(Manager *m) {
        Definition *d;

        m->all_started = false;
        while ((d = next_due(m))) {
                Problem p = {};

                d->started = true; /* whatever comes of it */
                d->retry = false;
                if (manager_find_vm(m, d->vm.uuid)) /* the last daemon came so far */
                        record_start(m, d);
                else if (start(m, d, NULL, true, NULL, on_due_started, m, &p) >= 0)
                        return;
        }
        all_started(m);
}

static int on_start_due(sd_event_source *s, void *userdata) {
        Manager *m = userdata;

        (void)s;
        m->autostart = sd_event_source_disable_unref(m->autostart);
        start_due(m);
        return 0;
}

int manager_autostart(Manager *m, void (*done)(void *userdata), void *userdata) {
        int r;

        assert(!m->autostart && !m->autostart_done);
        r = sd_event_add_defer(m->event, &m->autostart, on_start_due, m);
        if (r < 0)
                return r;
        m->autostart_done = done;
        m->autostart_userdata = userdata;
        return 0;
}

void definitions_look_again(Manager *m) {
        for (size_t i = 0; i < m->n_definitions; i++)
                m->definitions[i]->retry = m->definitions[i]->awaits_functions;
        if (m->all_started && !m->stopping)
                start_due(m);
}

int manager_warn_of_definition(Manager *m, const Definition *d, Problem *ret) {
        _cleanup_(admission_done) Admission admission = ADMISSION_NULL;
        _cleanup_(vm_request_done) VmRequest copy;
        int r;

        *ret = (Problem){};
        vm_request_init(&copy);
        if (d->verdict != RECORD_GOOD || manager_find_vm(m, d->vm.uuid))
                return 0;
        r = vm_request_copy(&d->vm, &copy);
        if (r >= 0)
                r = manager_plan_vm(m, &copy, d->vm.uid, &admission, NULL, ret);
        if (ret->kind == PROBLEM_LEVEL_UNKNOWN) /* a start finds it out */
                *ret = (Problem){};
        return r < 0 && r != -ENOMEM ? 0 : r;
}
