/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Prepared contexts: a configured iommufd for a VM that is not admitted yet, for whoever has to hand it to a VMM's manager
 * before the VM can start. Single use, bounded in number, and gone with the caller that asked for it. They are on record and in the fd
 * store, so that a restart of the daemon does not make stale what has been handed out.
 */

#include <errno.h>
#include <inttypes.h>

#include "base/fd-util.h"
#include "core/manager-private.h"
#include "vm/context-store.h"
#include "state/prepared-record.h"

typedef enum PreparedState {
        PREPARED_MAKING,
        PREPARED_READY,
        PREPARED_LENT, /* to a CreateVm in flight */
} PreparedState;

struct PreparedContext {
        Job job;
        Manager *manager;
        sd_id128_t uuid;
        char *caller;
        uid_t uid; /* of the caller */
        PreparedState state;
        int iommufd;      /* -1: there is none yet */
        uint32_t stored;  /* its number in the fd store, 0: it is not there */
        Unstore *unstore; /* for its end */
        struct {
                char *caller;
                uid_t uid;
                int iommufd;
                uint32_t stored;
                bool unwanted;    /* its caller has left meanwhile */
                Unstore *unstore; /* for whichever of the two is not wanted in the end */
        } next_one;               /* being made, to take its place */
        int result;
        Problem problem; /* with a result that is an error */
        bool unwanted;   /* its caller has left while something was being done with it */
        OperationAnswer answer;
        void *userdata;
        PreparedContext *next;
};

static PreparedContext *prepared_find(const Manager *m, sd_id128_t uuid) {
        for (PreparedContext *pc = m->prepared; pc; pc = pc->next)
                if (sd_id128_equal(pc->uuid, uuid))
                        return pc;
        return NULL;
}

static PreparedContext *prepared_free(PreparedContext *pc) {
        for (PreparedContext **p = &pc->manager->prepared; *p; p = &(*p)->next)
                if (*p == pc) {
                        *p = pc->next;
                        pc->manager->n_prepared--;
                        break;
                }
        fd_close(pc->iommufd);
        fd_close(pc->next_one.iommufd);
        unstore_free(pc->next_one.unstore);
        unstore_free(pc->unstore);
        free(pc->next_one.caller);
        free(pc->caller);
        free(pc);
        return NULL;
}

static int prepared_new(Manager *m, sd_id128_t uuid, const char *caller, uid_t uid,
                        PreparedContext **ret) {
        PreparedContext *pc = new0(PreparedContext, 1);

        if (!pc)
                return -ENOMEM;
        *pc = (PreparedContext){ .manager = m, .uuid = uuid, .uid = uid, .iommufd = -1 };
        pc->next_one.iommufd = -1;
        pc->caller = strdup(caller);
        pc->unstore = unstore_new();
        if (!pc->caller || !pc->unstore) {
                unstore_free(pc->unstore);
                free(pc->caller);
                free(pc);
                return -ENOMEM;
        }

        pc->next = m->prepared;
        m->prepared = pc;
        m->n_prepared++;
        *ret = pc;
        return 0;
}

/* ---- the record ---- */

static int prepared_write(const PreparedContext *pc) {
        Manager *m = pc->manager;
        _cleanup_free_ char *body = NULL;
        PreparedRecord record = { .uid = pc->uid, .stored = pc->stored };
        size_t n = strlen(pc->caller);
        int r;

        if (!m->records)
                return 0;
        if (n >= sizeof(record.caller))
                return -EINVAL;
        memcpy(record.caller, pc->caller, n + 1);
        r = prepared_record_format(&record, &body);
        return r < 0 ? r : record_store(m, RECORD_PREPARED, pc->uuid, body);
}

/* ---- its end ---- */

static void prepared_drop(PreparedContext *pc) {
        pc->iommufd = fd_close(pc->iommufd);
        unstore_submit(&pc->unstore, pc->manager, pc->stored);
        record_forget(pc->manager, RECORD_PREPARED, pc->uuid);
        prepared_free(pc);
}

/* ---- its making ---- */

static void make_run(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);
        FdStore *fdstore = pc->manager->fdstore;
        Kernel *k = pc->manager->kernel;
        int *iommufd = &pc->next_one.iommufd;
        int r;

        r = k->ops->iommufd_open(k, iommufd);
        if (r >= 0)
                r = k->ops->iommufd_account_process(k, *iommufd);
        if (r >= 0)
                r = fdstore_add_new(fdstore, *iommufd, &pc->next_one.stored);
        if (r >= 0)
                r = fdstore_barrier(fdstore);
        pc->result = r;
}

/* Puts the new one in the place of the old one, or leaves everything as it was. */
static int make_finish(PreparedContext *pc, Problem *p) {
        PreparedContext before = *pc;
        int r;

        pc->caller = pc->next_one.caller;
        pc->uid = pc->next_one.uid;
        pc->iommufd = pc->next_one.iommufd;
        pc->stored = pc->next_one.stored;
        r = record_refuse(pc->manager, prepared_write(pc), p);
        if (r < 0) {
                pc->caller = before.caller;
                pc->uid = before.uid;
                pc->iommufd = before.iommufd;
                pc->stored = before.stored;
                return r;
        }

        pc->next_one.caller = before.caller;
        pc->next_one.iommufd = before.iommufd;
        pc->next_one.stored = before.stored;
        pc->unwanted = false; /* it was the caller before who has left, if any */
        return 0;
}

/* What was being made is in its place, or gone. */
static void next_one_done(PreparedContext *pc) {
        pc->next_one.unstore = unstore_free(pc->next_one.unstore);
        free(pc->next_one.caller);
        pc->next_one.caller = NULL;
        if (pc->unwanted || pc->iommufd < 0)
                prepared_drop(pc);
        else
                pc->state = PREPARED_READY;
}

/* Nothing of what was made is left when the answer comes. */
static void abandon_run(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);

        pc->next_one.iommufd = fd_close(pc->next_one.iommufd);
        (void)descriptor_unstore(pc->manager->fdstore, &pc->next_one.stored, NULL);
}

static void abandon_done(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);
        OperationAnswer answer = TAKE_PTR(pc->answer);
        void *userdata = pc->userdata;
        Problem p = pc->problem;
        int r = pc->result;

        pc->next_one.iommufd = fd_close(pc->next_one.iommufd);
        unstore_submit(&pc->next_one.unstore, pc->manager,
                       pc->next_one.stored); /* if it is there still */
        pc->next_one.stored = 0;
        next_one_done(pc);
        answer(userdata, r, &p);
}

static void make_done(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);
        void *userdata = pc->userdata;
        OperationAnswer answer;

        pc->problem = (Problem){};
        if (pc->next_one.unwanted)
                pc->result = problem_set(&pc->problem, PROBLEM_CANCELLED,
                                         "The caller of the prepared context has left.");
        else if (pc->result < 0 && pc->result != -ENOMEM)
                (void)problem_set(&pc->problem, PROBLEM_KERNEL,
                                  "There is no iommufd to be had: %s.", strerror(-pc->result));
        if (pc->result >= 0)
                pc->result = make_finish(pc, &pc->problem);
        if (pc->result < 0) {
                pc->job = (Job){ .run = abandon_run, .done = abandon_done };
                workers_submit(pc->manager->workers, &pc->job);
                return;
        }

        answer = TAKE_PTR(pc->answer);
        unstore_submit(&pc->next_one.unstore, pc->manager, pc->next_one.stored);
        pc->next_one.stored = 0;
        pc->next_one.iommufd = fd_close(pc->next_one.iommufd);
        next_one_done(pc);
        answer(userdata, 0, NULL);
}

int manager_prepare_context(Manager *m, sd_id128_t uuid, const char *caller, uid_t uid,
                            OperationAnswer answer, void *userdata, Problem *p) {
        PreparedContext *pc = prepared_find(m, uuid);
        const Vm *vm = manager_find_vm(m, uuid);
        Unstore *unstore;
        char *copy;
        int r;

        if (m->stopping)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (vm)
                return problem_set(
                        p, PROBLEM_VM_EXISTS,
                        "VM %s is admitted already; its context is to be had with OpenContext.",
                        vm->name);
        if (pc && pc->state != PREPARED_READY)
                return problem_set(p, PROBLEM_BUSY,
                                   "The VM's prepared context is being made or given up: try again "
                                   "in a moment.");
        if (!pc && m->n_prepared >= m->config.max_prepared_contexts)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, m->n_prepared + 1,
                                           m->config.max_prepared_contexts,
                                           "%zu prepared contexts wait for their VMs, "
                                           "MaxPreparedContexts= allows %" PRIu64 ".",
                                           m->n_prepared, m->config.max_prepared_contexts);
        r = record_check_newer(m, p);
        if (r < 0)
                return r;

        copy = strdup(caller);
        unstore = unstore_new();
        r = copy && unstore ? 0 : -ENOMEM;
        if (r >= 0 && !pc)
                r = prepared_new(m, uuid, caller, uid, &pc);
        if (r < 0) {
                unstore_free(unstore);
                free(copy);
                return r;
        }
        pc->state = PREPARED_MAKING;
        pc->next_one.caller = copy;
        pc->next_one.uid = uid;
        pc->next_one.unstore = unstore;
        pc->next_one.unwanted = false;
        pc->result = -ECANCELED; /* if the pool stops before it comes to this */
        pc->answer = answer;
        pc->userdata = userdata;
        pc->job = (Job){ .run = make_run, .done = make_done };
        workers_submit(m->workers, &pc->job);
        return 0;
}

int prepared_recover(Manager *m, sd_id128_t uuid, const PreparedRecord *record, int *iommufd) {
        PreparedContext *pc;
        int r = prepared_new(m, uuid, record->caller, record->uid, &pc);

        if (r < 0)
                return r;
        pc->state = PREPARED_READY;
        pc->iommufd = TAKE_FD(*iommufd);
        pc->stored = record->stored;
        return 0;
}

/* ---- its use ---- */

int manager_get_prepared(const Manager *m, sd_id128_t uuid, int *ret_iommufd) {
        const PreparedContext *pc = prepared_find(m, uuid);

        if (!pc || pc->state != PREPARED_READY)
                return -ENOENT;
        *ret_iommufd = pc->iommufd;
        return 0;
}

uid_t manager_get_prepared_owner(const Manager *m, sd_id128_t uuid) {
        const PreparedContext *pc = prepared_find(m, uuid);

        return pc ? pc->uid : (uid_t)-1;
}

int prepared_check(const Manager *m, const VmRequest *request, uid_t uid, Problem *p) {
        uid_t owner = manager_get_prepared_owner(m, request->uuid);
        int iommufd;

        if (!request->prepared && request->handover != HANDOVER_VMM)
                return 0;
        if (manager_get_prepared(m, request->uuid, &iommufd) >= 0) {
                /* Its descriptor is with whoever had it prepared, and would be the VM's: only root takes another's. */
                if (uid == owner || uid == 0)
                        return 0;
                return problem_set(p, PROBLEM_NO_PREPARED_CONTEXT,
                                   "The context prepared for %s is uid %u's, not uid %u's: who "
                                   "creates the VM prepares it (PrepareContext), or root does.",
                                   SD_ID128_TO_UUID_STRING(request->uuid), owner, uid);
        }
        if (!request->prepared)
                return 0;
        return problem_set(p, PROBLEM_NO_PREPARED_CONTEXT,
                           "There is no context prepared for %s, or it was used already: each is "
                           "good for one start, and a fresh one has to be prepared and given to "
                           "the VMM before the next (PrepareContext).",
                           SD_ID128_TO_UUID_STRING(request->uuid));
}

int prepared_lend(Manager *m, sd_id128_t uuid, uint32_t *ret_stored) {
        PreparedContext *pc = prepared_find(m, uuid);

        if (!pc || pc->state != PREPARED_READY)
                return -1;
        pc->state = PREPARED_LENT;
        *ret_stored = pc->stored;
        return pc->iommufd;
}

void prepared_give_back(Manager *m, sd_id128_t uuid) {
        PreparedContext *pc = prepared_find(m, uuid);

        assert(pc && pc->state == PREPARED_LENT);
        pc->state = PREPARED_READY;
        if (pc->unwanted)
                prepared_drop(pc);
}

void prepared_use_up(Manager *m, sd_id128_t uuid) {
        PreparedContext *pc = prepared_find(m, uuid);

        assert(pc && pc->state == PREPARED_LENT);
        pc->iommufd = -1;
        pc->stored = 0;
        record_forget(pc->manager, RECORD_PREPARED, pc->uuid);
        prepared_free(pc);
}

void prepared_forgo(Manager *m, sd_id128_t uuid, uid_t uid) {
        PreparedContext *pc = prepared_find(m, uuid);

        /* One that is being made nobody has had. Another user's VM does not have it. */
        if (pc && pc->state == PREPARED_READY && (uid == pc->uid || uid == 0))
                prepared_drop(pc);
}

int manager_forget_context(Manager *m, sd_id128_t uuid, Problem *p) {
        PreparedContext *pc = prepared_find(m, uuid);

        if (!pc)
                return problem_set(p, PROBLEM_NO_PREPARED_CONTEXT,
                                   "There is no context prepared for %s.",
                                   SD_ID128_TO_UUID_STRING(uuid));
        if (pc->state != PREPARED_READY)
                return problem_set(p, PROBLEM_BUSY,
                                   "The VM's prepared context is being made, taken over or given "
                                   "up: try again in a moment.");
        prepared_drop(pc);
        return 0;
}

void prepared_name_vanished(Manager *m, const char *name) {
        for (PreparedContext *pc = m->prepared, *next; pc; pc = next) {
                next = pc->next;
                if (pc->next_one.caller && streq(pc->next_one.caller, name))
                        pc->next_one.unwanted = true;
                if (!streq(pc->caller, name))
                        continue;
                if (pc->state == PREPARED_READY)
                        prepared_drop(pc);
                else
                        pc->unwanted = true;
        }
}

void prepared_list_callers(const Manager *m, void (*found)(void *userdata, const char *name),
                           void *userdata) {
        for (const PreparedContext *pc = m->prepared; pc; pc = pc->next)
                found(userdata, pc->caller);
}

void prepared_free_all(Manager *m) {
        for (PreparedContext *pc = m->prepared, *next; pc; pc = next) {
                next = pc->next;
                prepared_free(pc);
        }
}
