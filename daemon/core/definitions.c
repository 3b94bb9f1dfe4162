/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The definitions there are, in memory and as files that outlive the boot. A change is written by a worker, as it waits for the
 * disk, and counts when that is done: until then the old definition stands, and a second change is refused.
 *
 * A file that cannot be read stays where it is, and so does what it stands for in the list: it can be defined anew or taken back.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/manager-private.h"

#define DEFINITIONS_MAX          4096
#define DEFINITIONS_PER_USER_MAX 1024 /* for users other than root */

/* ---- the list, sorted by UUID ---- */

static size_t lower_bound(const Manager *m, sd_id128_t uuid) {
        size_t low = 0, high = m->n_definitions;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (memcmp(&m->definitions[middle]->vm.uuid, &uuid, sizeof(uuid)) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

Definition *definition_find(const Manager *m, sd_id128_t uuid) {
        size_t i = lower_bound(m, uuid);

        return i < m->n_definitions && sd_id128_equal(m->definitions[i]->vm.uuid, uuid)
                       ? m->definitions[i]
                       : NULL;
}

static int link_definition(Manager *m, Definition *d) {
        size_t i = lower_bound(m, d->vm.uuid);
        Definition **grown = reallocarray(m->definitions, m->n_definitions + 1,
                                          sizeof(Definition *));

        if (!grown)
                return -ENOMEM;
        m->definitions = grown;
        memmove(grown + i + 1, grown + i, (m->n_definitions - i) * sizeof(Definition *));
        grown[i] = d;
        m->n_definitions++;
        return 0;
}

static void unlink_definition(Manager *m, Definition *d) {
        size_t i = lower_bound(m, d->vm.uuid);

        assert(i < m->n_definitions && m->definitions[i] == d);
        m->n_definitions--;
        memmove(m->definitions + i, m->definitions + i + 1,
                (m->n_definitions - i) * sizeof(Definition *));
        definition_free(d);
}

const Definition *manager_find_definition(const Manager *m, sd_id128_t uuid) {
        const Definition *d = definition_find(m, uuid);

        return d && !d->is_new ? d : NULL;
}

uid_t manager_get_definition_owner(const Manager *m, sd_id128_t uuid) {
        const Definition *d = definition_find(m, uuid);

        return d ? d->vm.uid : (uid_t)-1;
}

const Definition *manager_next_definition(const Manager *m, const sd_id128_t *after) {
        size_t i = after ? lower_bound(m, *after) : 0;

        if (after && i < m->n_definitions && sd_id128_equal(m->definitions[i]->vm.uuid, *after))
                i++;
        while (i < m->n_definitions && m->definitions[i]->is_new)
                i++;
        return i < m->n_definitions ? m->definitions[i] : NULL;
}

void definitions_free_all(Manager *m) {
        for (size_t i = 0; i < m->n_definitions; i++)
                definition_free(m->definitions[i]);
        free(m->definitions);
        m->definitions = NULL;
        m->n_definitions = 0;
}

/* ---- refusals ---- */

static int refuse_unknown(sd_id128_t uuid, Problem *p) {
        return problem_set(p, PROBLEM_NO_SUCH_DEFINITION,
                           "There is no definition of %s: 'aviommuctl definitions' shows those "
                           "there are.",
                           SD_ID128_TO_UUID_STRING(uuid));
}

static int refuse_unreadable(const Manager *m, const Definition *d, Problem *p) {
        const char *uuid = SD_ID128_TO_UUID_STRING(d->vm.uuid),
                   *folder = state_store_get_path(m->definition_files);

        if (d->verdict == RECORD_NEWER)
                return problem_set(
                        p, PROBLEM_NEWER_RECORD,
                        "The definition of %s in %s was written by a newer aviommud: run "
                        "that version again, or take it back with 'aviommuctl undefine'.",
                        uuid, folder);
        return problem_set(
                p, PROBLEM_DEFINITION_DAMAGED,
                "The file of the definition of %s in %s is damaged: define it again with "
                "--replace, or take it back with 'aviommuctl undefine'.",
                uuid, folder);
}

static int refuse_busy(sd_id128_t uuid, Problem *p) {
        return problem_set(p, PROBLEM_BUSY,
                           "The definition of %s is being written at this moment: try again.",
                           SD_ID128_TO_UUID_STRING(uuid));
}

int definition_find_readable(const Manager *m, sd_id128_t uuid, Definition **ret, Problem *p) {
        Definition *d = definition_find(m, uuid);

        if (!d)
                return refuse_unknown(uuid, p);
        if (d->is_new)
                return refuse_busy(uuid, p);
        if (d->verdict != RECORD_GOOD)
                return refuse_unreadable(m, d, p);
        *ret = d;
        return 0;
}

int manager_get_definition(const Manager *m, sd_id128_t uuid, const Definition **ret, Problem *p) {
        Definition *d = NULL;
        int r;

        r = definition_find_readable(m, uuid, &d, p);
        if (r >= 0)
                *ret = d;
        return r;
}

/* Whether anything can be changed now. */
static int check_writable(const Manager *m, const Definition *d, Problem *p) {
        if (m->stopping)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (!m->definition_files)
                return problem_set(p, PROBLEM_STORAGE,
                                   "The daemon has no folder for definitions: its journal says "
                                   "why (aviommud.service has one by StateDirectory=, aviommud-sim "
                                   "by --definitions=).");
        return d && d->busy ? refuse_busy(d->vm.uuid, p) : 0;
}

static const Definition *find_named(const Manager *m, const Definition *wanted) {
        char buf[SD_ID128_UUID_STRING_MAX], other[SD_ID128_UUID_STRING_MAX];
        const char *name = definition_get_name(wanted, buf);

        for (size_t i = 0; i < m->n_definitions; i++) {
                const Definition *d = m->definitions[i];

                if (sd_id128_equal(d->vm.uuid, wanted->vm.uuid))
                        continue;
                if (streq(definition_get_name(d, other), name) ||
                    (d->next && streq(definition_get_name(d->next, other), name)))
                        return d;
        }
        return NULL;
}

static int check_name(const Manager *m, const Definition *d, Problem *p) {
        const Definition *other = find_named(m, d);

        if (!other)
                return 0;
        return problem_set(p, PROBLEM_DEFINITION_EXISTS,
                           "The definition of %s is named \"%s\" too, and two VMs cannot be: give "
                           "this one another name.",
                           SD_ID128_TO_UUID_STRING(other->vm.uuid), strempty(d->vm.name));
}

/* There are not too many yet for one more of that user's. */
static int check_count(const Manager *m, uid_t uid, Problem *p) {
        size_t n = 0;

        for (size_t i = 0; i < m->n_definitions; i++)
                n += m->definitions[i]->vm.uid == uid;
        if (m->n_definitions >= DEFINITIONS_MAX)
                return problem_set_amounts(
                        p, PROBLEM_LIMITS_EXCEEDED, m->n_definitions + 1, DEFINITIONS_MAX,
                        "There are %zu definitions, no more are taken.", m->n_definitions);
        if (uid != 0 && n >= DEFINITIONS_PER_USER_MAX)
                return problem_set_amounts(
                        p, PROBLEM_LIMITS_EXCEEDED, n + 1, DEFINITIONS_PER_USER_MAX,
                        "uid %u has %zu definitions, no more are taken.", uid, n);
        return 0;
}

/* ---- writing ---- */

typedef struct FileJob {
        Job job;
        Manager *m;
        sd_id128_t uuid;
        char *body; /* NULL: the file goes */
        int result;
        OperationAnswer answer;
        void *userdata;
} FileJob;

static void file_job_free(FileJob *job) {
        free(job->body);
        free(job);
}

static void on_file(Job *j) {
        FileJob *job = container_of(j, FileJob, job);
        StateStore *files = job->m->definition_files;

        job->result = job->body ? state_store_write(files, RECORD_DEFINITION, job->uuid, job->body)
                                : state_store_remove(files, RECORD_DEFINITION, job->uuid);
}

static int refuse_file(const FileJob *job, Problem *p) {
        if (job->result == -ECANCELED)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (job->result == -ENOMEM)
                return job->result;
        return problem_set(p, PROBLEM_STORAGE,
                           "The definition of %s cannot be %s in %s (%s), and stays as it was: "
                           "make room there and try again.",
                           SD_ID128_TO_UUID_STRING(job->uuid), job->body ? "written" : "removed",
                           state_store_get_path(job->m->definition_files), strerror(-job->result));
}

/* The file says it: now it is so. */
static void settle(Manager *m, Definition *d, bool stays) {
        Definition *next = TAKE_PTR(d->next);
        size_t i = lower_bound(m, d->vm.uuid);

        if (!stays) {
                definition_forget_start(m, d);
                unlink_definition(m, d);
                return;
        }
        if (!next) {
                d->is_new = d->busy = false;
                definition_changed(m, d);
                return;
        }
        next->started = d->started;
        m->definitions[i] = next;
        definition_free(d);
        definition_changed(m, next);
}

static void on_file_done(Job *j) {
        FileJob *job = container_of(j, FileJob, job);
        Definition *d = definition_find(job->m, job->uuid);
        Problem p = {};
        int r = job->result;

        assert(d && d->busy);
        if (r >= 0)
                settle(job->m, d, job->body);
        else {
                r = refuse_file(job, &p);
                d->busy = false;
                d->next = definition_free(d->next);
                if (d->is_new)
                        unlink_definition(job->m, d);
        }
        job->answer(job->userdata, r, &p);
        file_job_free(job);
}

/* Has the file of @d written, as @now has it, or removed (NULL). Returns 0 or -ENOMEM. */
static int submit(Manager *m, Definition *d, const Definition *now, OperationAnswer answer,
                  void *userdata) {
        FileJob *job = new0(FileJob, 1);
        int r = 0;

        if (!job)
                return -ENOMEM;
        *job = (FileJob){ .m = m,
                          .uuid = d->vm.uuid,
                          .result = -ECANCELED, /* if the pool stops before it comes to this */
                          .answer = answer,
                          .userdata = userdata };
        if (now) {
                _cleanup_(definition_record_done) DefinitionRecord record = {};

                r = definition_save(now, &record);
                if (r >= 0)
                        r = definition_record_format(&record, &job->body);
        }
        if (r < 0) {
                file_job_free(job);
                return r;
        }
        job->job = (Job){ .run = on_file, .done = on_file_done };
        d->busy = true;
        workers_submit(m->workers, &job->job);
        return 0;
}

/* Takes @next, which is written in place of @d. */
static int submit_next(Manager *m, Definition *d, Definition **next, OperationAnswer answer,
                       void *userdata) {
        int r;

        (*next)->number = d->verdict == RECORD_GOOD ? d->number : ++m->definition_number;
        r = submit(m, d, *next, answer, userdata);
        if (r >= 0)
                d->next = TAKE_PTR(*next);
        return r;
}

static int submit_new(Manager *m, Definition **definition, OperationAnswer answer, void *userdata) {
        Definition *d = *definition;
        int r;

        d->is_new = true;
        d->number = m->definition_number + 1;
        r = link_definition(m, d);
        if (r < 0)
                return r;
        TAKE_PTR(*definition);
        r = submit(m, d, d, answer, userdata);
        if (r < 0)
                unlink_definition(m, d);
        else
                m->definition_number++;
        return r;
}

/* ---- what is asked ---- */

static int check_define(const Manager *m, const Definition *d, bool replace, Problem *p) {
        if (d && d->verdict == RECORD_NEWER)
                return refuse_unreadable(m, d, p);
        if (d && !replace)
                return problem_set(
                        p, PROBLEM_DEFINITION_EXISTS,
                        "There is a definition of %s already: change it with 'aviommuctl "
                        "modify', or define it again with --replace.",
                        SD_ID128_TO_UUID_STRING(d->vm.uuid));
        return 0;
}

int manager_define_vm(Manager *m, const DefinitionRequest *request, bool replace, uid_t uid,
                      OperationAnswer answer, void *userdata, Problem *p) {
        _cleanup_(definition_freep) Definition *made = NULL;
        Definition *d = definition_find(m, request->vm.uuid);
        int r;

        r = check_writable(m, d, p);
        if (r >= 0)
                r = check_define(m, d, replace, p);
        if (r >= 0 && !d)
                r = check_count(m, uid, p);
        if (r >= 0)
                r = definition_from_request(request, d ? d->vm.uid : uid, &m->config, &made, p);
        if (r >= 0)
                r = check_name(m, made, p);
        if (r < 0)
                return r;
        return d ? submit_next(m, d, &made, answer, userdata)
                 : submit_new(m, &made, answer, userdata);
}

int manager_modify_definition(Manager *m, const DefinitionRequest *changes, OperationAnswer answer,
                              void *userdata, Problem *p) {
        _cleanup_(definition_freep) Definition *made = NULL;
        Definition *d = NULL;
        int r;

        r = definition_find_readable(m, changes->vm.uuid, &d, p);
        if (r < 0)
                return r;
        assert(d);
        r = check_writable(m, d, p);
        if (r >= 0)
                r = definition_change(d, changes, &m->config, &made, p);
        if (r >= 0)
                r = check_name(m, made, p);
        if (r < 0)
                return r;
        return submit_next(m, d, &made, answer, userdata);
}

int manager_undefine_vm(Manager *m, sd_id128_t uuid, OperationAnswer answer, void *userdata,
                        Problem *p) {
        Definition *d = definition_find(m, uuid);
        int r;

        if (!d)
                return refuse_unknown(uuid, p);
        r = check_writable(m, d, p);
        return r < 0 ? r : submit(m, d, NULL, answer, userdata);
}

/* ---- what the last daemon left ---- */

static int load(const StateEntry *entry, Definition **ret) {
        _cleanup_(definition_record_done) DefinitionRecord record = {};
        int r;

        if (entry->verdict != RECORD_GOOD)
                return -EBADMSG;
        r = definition_record_parse(entry->body, entry->body_length, &record);
        if (r >= 0 && !sd_id128_equal(record.uuid, entry->id))
                r = -EBADMSG;
        return r < 0 ? r : definition_load(&record, ret);
}

static void say_unreadable(const Manager *m, const Definition *d) {
        Problem p = {};

        (void)refuse_unreadable(m, d, &p);
        log_event(LOG_ERR, MESSAGE_DEFINITION_UNREAD,
                  &(LogFields){ .vm = SD_ID128_TO_UUID_STRING(d->vm.uuid), .reason = p.text }, "%s",
                  p.text);
}

static int on_entry(void *userdata, const StateEntry *entry) {
        _cleanup_(definition_freep) Definition *d = NULL;
        Manager *m = userdata;
        int r;

        if (entry->kind != RECORD_DEFINITION)
                return 0;
        r = load(entry, &d);
        if (r == -EBADMSG) {
                d = definition_new(entry->id);
                if (!d)
                        return -ENOMEM;
                d->verdict = entry->verdict == RECORD_NEWER ? RECORD_NEWER : RECORD_DAMAGED;
                r = 0; /* whose it is is not known: root's */
        }
        if (r >= 0)
                r = link_definition(m, d);
        if (r < 0)
                return r;

        m->definition_number = MAX(m->definition_number, d->number);
        if (d->verdict != RECORD_GOOD)
                say_unreadable(m, d);
        TAKE_PTR(d);
        return 0;
}

int definitions_recover(Manager *m) {
        int r;

        if (!m->definition_files)
                return 0;
        r = state_store_read(m->definition_files, on_entry, m);
        if (r >= 0 || r == -ENOMEM)
                return r;

        log_event(LOG_ERR, MESSAGE_DEFINITION_UNREAD, &(LogFields){ .reason = strerror(-r) },
                  "The definitions in %s cannot be read (%s): none is started, and none can be "
                  "made or changed before the daemon is started again.",
                  state_store_get_path(m->definition_files), strerror(-r));
        definitions_free_all(m);
        m->definition_files = state_store_free(m->definition_files);
        return 0;
}
