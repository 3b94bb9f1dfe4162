/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Prepared contexts: a configured iommufd for a VM that is not admitted yet, for whoever has to hand it to a VMM's manager
 * before the VM can start. Single use, bounded in number, and gone with the caller that asked for it.
 */

#include <errno.h>
#include <inttypes.h>

#include "base/fd-util.h"
#include "core/manager-private.h"

struct PreparedContext {
        Job job;
        Manager *manager;
        sd_id128_t uuid;
        char *caller;
        int iommufd;
        int result;
        bool dropped; /* replaced, or its caller has vanished, while it was being made */
        OperationAnswer answer;
        void *userdata;
        PreparedContext *next;
};

static PreparedContext *prepared_free(PreparedContext *pc) {
        fd_close(pc->iommufd);
        free(pc->caller);
        free(pc);
        return NULL;
}

static void prepared_unlink(PreparedContext *pc) {
        for (PreparedContext **p = &pc->manager->prepared; *p; p = &(*p)->next)
                if (*p == pc) {
                        *p = pc->next;
                        pc->manager->n_prepared--;
                        return;
                }
}

/* Takes it out of the list; one that is still being made is freed when it is. */
static void prepared_drop(PreparedContext *pc) {
        prepared_unlink(pc);
        if (pc->answer)
                pc->dropped = true;
        else
                prepared_free(pc);
}

static PreparedContext *prepared_find(const Manager *m, sd_id128_t uuid) {
        for (PreparedContext *pc = m->prepared; pc; pc = pc->next)
                if (sd_id128_equal(pc->uuid, uuid))
                        return pc;
        return NULL;
}

static void prepared_run(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);
        Kernel *k = pc->manager->kernel;

        pc->result = k->ops->iommufd_open(k, &pc->iommufd);
        if (pc->result >= 0)
                pc->result = k->ops->iommufd_account_process(k, pc->iommufd);
}

static void prepared_done(Job *job) {
        PreparedContext *pc = container_of(job, PreparedContext, job);
        OperationAnswer answer = TAKE_PTR(pc->answer);
        Problem p = {};

        if (pc->dropped) {
                (void)problem_set(
                        &p, PROBLEM_CANCELLED,
                        "The prepared context was asked for anew, or its caller has left.");
                answer(pc->userdata, -ECANCELED, &p);
                prepared_free(pc);
        } else if (pc->result < 0) {
                (void)problem_set(&p, PROBLEM_KERNEL, "The kernel gave no iommufd: %s.",
                                  strerror(-pc->result));
                answer(pc->userdata, pc->result, &p);
                prepared_drop(pc);
        } else
                answer(pc->userdata, 0, NULL);
}

int manager_prepare_context(Manager *m, sd_id128_t uuid, const char *caller, OperationAnswer answer,
                            void *userdata, Problem *p) {
        PreparedContext *pc = prepared_find(m, uuid);
        const Vm *vm = manager_find_vm(m, uuid);

        if (m->stopping)
                return problem_set(p, PROBLEM_CANCELLED, "The daemon is stopping.");
        if (vm)
                return problem_set(
                        p, PROBLEM_VM_EXISTS,
                        "VM %s is admitted already; its context is to be had with OpenContext.",
                        vm->name);
        if (pc)
                prepared_drop(pc);
        else if (m->n_prepared >= m->config.max_prepared_contexts)
                return problem_set_amounts(p, PROBLEM_LIMITS_EXCEEDED, m->n_prepared + 1,
                                           m->config.max_prepared_contexts,
                                           "%zu prepared contexts wait for their VMs, "
                                           "MaxPreparedContexts= allows %" PRIu64 ".",
                                           m->n_prepared, m->config.max_prepared_contexts);

        pc = new0(PreparedContext, 1);
        if (!pc)
                return -ENOMEM;
        *pc = (PreparedContext){
                .job = { .run = prepared_run, .done = prepared_done },
                .manager = m,
                .uuid = uuid,
                .caller = strdup(caller),
                .iommufd = -1,
                .result = -ECANCELED,
                .answer = answer,
                .userdata = userdata,
        };
        if (!pc->caller) {
                prepared_free(pc);
                return -ENOMEM;
        }

        pc->next = m->prepared;
        m->prepared = pc;
        m->n_prepared++;
        workers_submit(m->workers, &pc->job);
        return 0;
}

int manager_get_prepared(const Manager *m, sd_id128_t uuid, int *ret_iommufd) {
        const PreparedContext *pc = prepared_find(m, uuid);

        if (!pc || pc->iommufd < 0)
                return -ENOENT;
        *ret_iommufd = pc->iommufd;
        return 0;
}

int prepared_take(Manager *m, sd_id128_t uuid) {
        PreparedContext *pc = prepared_find(m, uuid);
        int fd;

        if (!pc || pc->answer)
                return -1;
        fd = TAKE_FD(pc->iommufd);
        prepared_drop(pc);
        return fd;
}

void prepared_name_vanished(Manager *m, const char *name) {
        for (PreparedContext *pc = m->prepared, *next; pc; pc = next) {
                next = pc->next;
                if (streq(pc->caller, name))
                        prepared_drop(pc);
        }
}

void prepared_free_all(Manager *m) {
        while (m->prepared)
                prepared_drop(m->prepared);
}
