/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd-util.h"

typedef struct JobQueue {
        Job *head, **tail;
} JobQueue;

struct Workers {
        pthread_mutex_t mutex;
        pthread_cond_t wanted;
        JobQueue waiting, finished;
        bool stopping;
        int eventfd;
        sd_event_source *source;
        size_t n_pending; /* loop only */
        pthread_t *threads;
        unsigned n_threads;
};

static void job_queue_init(JobQueue *q) {
        q->head = NULL;
        q->tail = &q->head;
}

static void job_queue_push(JobQueue *q, Job *job) {
        job->next = NULL;
        *q->tail = job;
        q->tail = &job->next;
}

static Job *job_queue_pop(JobQueue *q) {
        Job *job = q->head;

        if (job) {
                q->head = job->next;
                if (!q->head)
                        q->tail = &q->head;
        }
        return job;
}

static void *worker_main(void *userdata) {
        Workers *w = userdata;

        (void)pthread_mutex_lock(&w->mutex);
        for (;;) {
                const uint64_t one = 1;
                Job *job;

                while (!w->stopping && !w->waiting.head)
                        (void)pthread_cond_wait(&w->wanted, &w->mutex);
                if (w->stopping)
                        break;
                job = job_queue_pop(&w->waiting);
                (void)pthread_mutex_unlock(&w->mutex);

                job->run(job);

                (void)pthread_mutex_lock(&w->mutex);
                job_queue_push(&w->finished, job);
                (void)!write(w->eventfd, &one,
                             sizeof(one)); /* cannot fail: the counter cannot overflow */
        }
        (void)pthread_mutex_unlock(&w->mutex);
        return NULL;
}

static void deliver(Workers *w, JobQueue *q) {
        for (;;) {
                Job *job;

                (void)pthread_mutex_lock(&w->mutex);
                job = job_queue_pop(q);
                (void)pthread_mutex_unlock(&w->mutex);
                if (!job)
                        return;
                w->n_pending--;
                job->done(job);
        }
}

static int on_finished(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Workers *w = userdata;
        uint64_t count;

        (void)s;
        (void)revents;
        (void)!read(fd, &count, sizeof(count));
        deliver(w, &w->finished);
        return 0;
}

/* Signals belong to the loop's thread alone. */
static int start_threads(Workers *w, unsigned n_threads) {
        sigset_t all, before;
        int r = 0;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        while (w->n_threads < n_threads && r == 0) {
                r = pthread_create(w->threads + w->n_threads, NULL, worker_main, w);
                w->n_threads += r == 0;
        }
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

int workers_new(sd_event *event, unsigned n_threads, Workers **ret) {
        _cleanup_(workers_freep) Workers *w = new0(Workers, 1);
        int r;

        if (!w)
                return -ENOMEM;

        (void)pthread_mutex_init(&w->mutex, NULL);
        (void)pthread_cond_init(&w->wanted, NULL);
        job_queue_init(&w->waiting);
        job_queue_init(&w->finished);
        w->eventfd = -1;

        w->threads = new0(pthread_t, n_threads);
        if (!w->threads)
                return -ENOMEM;
        w->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (w->eventfd < 0)
                return -errno;
        r = sd_event_add_io(event, &w->source, w->eventfd, EPOLLIN, on_finished, w);
        if (r < 0)
                return r;
        r = start_threads(w, n_threads);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(w);
        return 0;
}

Workers *workers_free(Workers *w) {
        if (!w)
                return NULL;

        (void)pthread_mutex_lock(&w->mutex);
        w->stopping = true;
        (void)pthread_cond_broadcast(&w->wanted);
        (void)pthread_mutex_unlock(&w->mutex);
        for (unsigned i = 0; i < w->n_threads; i++)
                (void)pthread_join(w->threads[i], NULL);

        deliver(w, &w->finished);
        deliver(w, &w->waiting);

        sd_event_source_disable_unref(w->source);
        fd_close(w->eventfd);
        (void)pthread_cond_destroy(&w->wanted);
        (void)pthread_mutex_destroy(&w->mutex);
        free(w->threads);
        free(w);
        return NULL;
}

void workers_submit(Workers *w, Job *job) {
        w->n_pending++;
        (void)pthread_mutex_lock(&w->mutex);
        job_queue_push(&w->waiting, job);
        (void)pthread_cond_signal(&w->wanted);
        (void)pthread_mutex_unlock(&w->mutex);
}

size_t workers_get_pending(const Workers *w) {
        return w->n_pending;
}
