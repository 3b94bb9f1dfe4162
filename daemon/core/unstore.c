/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Descriptors that go out of the fd store without anybody waiting for it. If the daemon dies first, the next one finds that no record names them. */

#include <errno.h>

#include "core/manager-private.h"

struct Unstore {
        Job job;
        Manager *manager;
        uint32_t stored;
        int result;
        Unstore *next; /* of those that failed */
};

static void unstore_run(Job *job) {
        Unstore *unstore = container_of(job, Unstore, job);

        unstore->result = fdstore_remove_id(unstore->manager->fdstore, unstore->stored);
}

static void unstore_done(Job *job) {
        Unstore *unstore = container_of(job, Unstore, job);
        Manager *m = unstore->manager;

        if (unstore->result >= 0 || m->stopping) {
                unstore_free(unstore);
                return;
        }
        log_event(LOG_WARNING, MESSAGE_DESCRIPTORS_KEPT, NULL,
                  "The service manager does not let go of a descriptor: %s",
                  strerror(-unstore->result));
        unstore->next = m->failed_unstores;
        m->failed_unstores = unstore;
        records_try_again(m);
}

void unstore_try_again(Manager *m) {
        for (Unstore *unstore = TAKE_PTR(m->failed_unstores), *next; unstore; unstore = next) {
                next = unstore->next;
                workers_submit(m->workers, &unstore->job);
        }
}

void unstore_free_all(Manager *m) {
        for (Unstore *unstore = TAKE_PTR(m->failed_unstores), *next; unstore; unstore = next) {
                next = unstore->next;
                unstore_free(unstore);
        }
}

Unstore *unstore_new(void) {
        return new0(Unstore, 1);
}

Unstore *unstore_free(Unstore *unstore) {
        free(unstore);
        return NULL;
}

void unstore_submit(Unstore **unstore, Manager *m, uint32_t stored) {
        Unstore *mine = TAKE_PTR(*unstore);

        assert(mine);
        mine->job = (Job){ .run = unstore_run, .done = unstore_done };
        mine->manager = m;
        mine->stored = stored;
        mine->result = -ECANCELED; /* if the pool stops before it comes to this */
        if (stored == 0)
                unstore_free(mine);
        else
                workers_submit(m->workers, &mine->job);
}
