/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/sim-internal.h"

/*
 * Notices of change, from whichever process they come. A thread, started when somebody first wants to hear anything,
 * sleeps on a futex in the state and makes the descriptors of its own process readable. It also is what notices that a
 * cdev was closed that a removal waits for: closing makes no call.
 */

#define REMOVAL_POLL_NSEC (20 * 1000 * 1000)

void sim_watcher_init(SimWatcher *w) {
        *w = (SimWatcher){ .mutex = PTHREAD_MUTEX_INITIALIZER, .changed_fd = -1 };
}

static void signal_eventfd(int fd) {
        uint64_t one = 1;

        (void)!write(fd, &one, sizeof(one)); /* EAGAIN: it is readable already */
}

/* Whether the cdev that a request stands for is still there, and is wanted back. */
static bool request_is_due(SimKernel *s, const SimRequest *request, bool *ret_gone) {
        const SimCdev *cdev = &s->state->cdevs[request->cdev];

        *ret_gone = !cdev->in_use || cdev->generation != request->generation;
        return !*ret_gone && s->state->functions[cdev->function].removal != SIM_REMOVAL_NONE;
}

static void requests_look(SimKernel *s) {
        SimWatcher *w = &s->watcher;

        for (size_t i = 0; i < w->n_requests;) {
                SimRequest *request = &w->requests[i];
                bool due, gone;

                {
                        SIM_LOCKED(s);
                        due = request_is_due(s, request, &gone);
                }

                if (gone) {
                        (void)fd_close(request->eventfd);
                        *request = w->requests[--w->n_requests];
                        continue;
                }
                if (due && !request->asked)
                        signal_eventfd(request->eventfd);
                request->asked = due;
                i++;
        }
}

/* Lets removals go on whose cdevs were closed. Returns whether some still wait. */
static bool removals_look(SimKernel *s) {
        SimState *st = s->state;

        SIM_LOCKED(s);

        if (st->n_removals > 0)
                for (uint32_t f = 1; f <= st->function_pool.high; f++)
                        if (st->functions[f].in_use && st->functions[f].removal != SIM_REMOVAL_NONE)
                                sim_function_reap(s, f);

        return st->n_removals > 0;
}

static void *watcher_run(void *userdata) {
        static const struct timespec poll_interval = { .tv_nsec = REMOVAL_POLL_NSEC };
        SimKernel *s = userdata;
        SimWatcher *w = &s->watcher;

        for (;;) {
                uint32_t seen = __atomic_load_n(&s->state->wake_seq, __ATOMIC_SEQ_CST);
                bool waiting, stop;

                waiting = removals_look(s);

                (void)pthread_mutex_lock(&w->mutex);
                requests_look(s);
                stop = w->stop;
                if (w->changed_fd >= 0) {
                        uint32_t now = __atomic_load_n(&s->state->change_seq, __ATOMIC_SEQ_CST);

                        if (now != w->change_seq)
                                signal_eventfd(w->changed_fd);
                        w->change_seq = now;
                }
                (void)pthread_mutex_unlock(&w->mutex);

                if (stop)
                        return NULL;
                (void)syscall(SYS_futex, &s->state->wake_seq, FUTEX_WAIT, seen,
                              waiting ? &poll_interval : NULL, NULL, 0);
        }
}

/* With the watcher's mutex held. */
static int watcher_start(SimKernel *s) {
        sigset_t all, old;
        int r;

        if (s->watcher.running)
                return 0;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&s->watcher.thread, NULL, watcher_run, s);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (r != 0)
                return -r;

        s->watcher.running = true;
        return 0;
}

void sim_watcher_stop(SimKernel *s) {
        SimWatcher *w = &s->watcher;

        if (w->running) {
                (void)pthread_mutex_lock(&w->mutex);
                w->stop = true;
                (void)pthread_mutex_unlock(&w->mutex);
                sim_wake(s->state, false);
                (void)pthread_join(w->thread, NULL);
        }

        for (size_t i = 0; i < w->n_requests; i++)
                (void)fd_close(w->requests[i].eventfd);
        free(w->requests);
        (void)fd_close(w->changed_fd);
        (void)pthread_mutex_destroy(&w->mutex);
}

static int watch_locked(SimKernel *s, int *ret_fd) {
        SimWatcher *w = &s->watcher;

        if (w->changed_fd < 0) {
                w->changed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (w->changed_fd < 0)
                        return -errno;
                w->change_seq = __atomic_load_n(&s->state->change_seq, __ATOMIC_SEQ_CST);
        }

        *ret_fd = w->changed_fd;
        return watcher_start(s);
}

int sim_watch(SimKernel *s, int *ret_fd) {
        int r;

        (void)pthread_mutex_lock(&s->watcher.mutex);
        r = watch_locked(s, ret_fd);
        (void)pthread_mutex_unlock(&s->watcher.mutex);
        return r;
}

int sim_watch_drain(SimKernel *s, bool *ret_changed) {
        uint64_t n = 0;

        if (s->watcher.changed_fd < 0)
                return -EBADF;
        if (read(s->watcher.changed_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
                return -errno;

        *ret_changed = n > 0;
        return 0;
}

static int request_set(SimWatcher *w, uint32_t cdev, uint32_t generation, int fd) {
        SimRequest *requests;

        for (size_t i = 0; i < w->n_requests; i++)
                if (w->requests[i].cdev == cdev && w->requests[i].generation == generation) {
                        (void)fd_close(w->requests[i].eventfd);
                        if (fd >= 0)
                                w->requests[i] = (SimRequest){ cdev, generation, fd, false };
                        else
                                w->requests[i] = w->requests[--w->n_requests];
                        return 0;
                }

        if (fd < 0)
                return 0;
        requests = reallocarray(w->requests, w->n_requests + 1, sizeof(*requests));
        if (!requests)
                return -ENOMEM;

        w->requests = requests;
        w->requests[w->n_requests++] = (SimRequest){ cdev, generation, fd, false };
        return 0;
}

int sim_watcher_register(SimKernel *s, uint32_t cdev, uint32_t generation, int eventfd) {
        SimWatcher *w = &s->watcher;
        int r, fd = -1;

        if (eventfd >= 0) {
                fd = fd_dup(eventfd);
                if (fd < 0)
                        return fd;
        }

        (void)pthread_mutex_lock(&w->mutex);
        r = request_set(w, cdev, generation, fd);
        if (r < 0)
                (void)fd_close(fd);
        else if (fd >= 0)
                r = watcher_start(s);
        (void)pthread_mutex_unlock(&w->mutex);

        if (r >= 0)
                sim_wake(s->state, false); /* it may be wanted back already */
        return r;
}
