/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pool: who runs where, in which order, and what becomes of jobs when it ends. */

#include "unit.h"

#include <pthread.h>
#include <stdatomic.h>

#include "core/workers.h"
#include "oom.h"

typedef struct World {
        sd_event *event;
        Workers *workers;
        pthread_t loop;
        atomic_uint n_running, n_most, n_run;
        unsigned n_done;
        atomic_bool gate; /* jobs that wait go on when it opens */
} World;

typedef struct TestJob {
        Job job;
        World *world;
        unsigned order, usec;
        bool waits, ran;
        unsigned n_done, n_run;
        struct TestJob *then; /* is submitted by done */
} TestJob;

static void world_init(World *w, unsigned n_threads) {
        *w = (World){ .loop = pthread_self() };
        assert_true(sd_event_new(&w->event) >= 0);
        assert_ok(workers_new(w->event, n_threads, &w->workers));
}

static void world_done(World *w) {
        w->workers = workers_free(w->workers);
        assert_null(w->workers);
        sd_event_unref(w->event);
}

static void job_run(Job *job) {
        TestJob *t = container_of(job, TestJob, job);
        World *w = t->world;
        unsigned now = atomic_fetch_add(&w->n_running, 1) + 1, most = atomic_load(&w->n_most);

        while (now > most && !atomic_compare_exchange_weak(&w->n_most, &most, now))
                ;
        assert_false(pthread_equal(pthread_self(), w->loop));
        t->order = atomic_fetch_add(&w->n_run, 1);
        t->n_run++;
        if (t->usec)
                (void)usleep(t->usec);
        while (t->waits && !atomic_load(&w->gate))
                (void)usleep(1000);
        t->ran = true;
        atomic_fetch_sub(&w->n_running, 1);
}

static void job_done(Job *job) {
        TestJob *t = container_of(job, TestJob, job);
        World *w = t->world;

        assert_true(pthread_equal(pthread_self(), w->loop));
        t->n_done++;
        w->n_done++;
        if (t->then)
                workers_submit(w->workers, &t->then->job);
}

static TestJob job_of(World *w) {
        return (TestJob){ .job = { .run = job_run, .done = job_done }, .world = w };
}

static void run_until(World *w, unsigned n_done) {
        for (unsigned i = 0; i < 2000 && w->n_done < n_done; i++)
                assert_true(sd_event_run(w->event, 10000) >= 0);
        assert_int_equal(w->n_done, n_done);
}

static void jobs_are_run(void **state) {
        TestJob jobs[100];
        World w;

        (void)state;
        world_init(&w, 4);
        for_each_case(t, jobs) {
                *t = job_of(&w);
                t->usec = 1000;
                workers_submit(w.workers, &t->job);
        }
        assert_int_equal(workers_get_pending(w.workers), 100);
        assert_int_equal(w.n_done, 0); /* only the loop hears of it */
        run_until(&w, 100);
        assert_int_equal(workers_get_pending(w.workers), 0);
        for_each_case(t, jobs) assert_true(t->ran && t->n_done == 1);
        assert_true(atomic_load(&w.n_most) > 1 && atomic_load(&w.n_most) <= 4);
        world_done(&w);
}

static void one_thread_keeps_the_order(void **state) {
        TestJob jobs[50];
        World w;

        (void)state;
        world_init(&w, 1);
        for_each_case(t, jobs) {
                *t = job_of(&w);
                workers_submit(w.workers, &t->job);
        }
        run_until(&w, 50);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++)
                assert_int_equal(jobs[i].order, i);
        assert_int_equal(atomic_load(&w.n_most), 1);
        world_done(&w);
}

static void done_submits_the_next(void **state) {
        TestJob jobs[10];
        World w;

        (void)state;
        world_init(&w, 4);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++) {
                jobs[i] = job_of(&w);
                jobs[i].then = i + 1 < ELEMENTSOF(jobs) ? jobs + i + 1 : NULL;
        }
        workers_submit(w.workers, &jobs[0].job);
        run_until(&w, 10);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++)
                assert_int_equal(jobs[i].order, i);
        world_done(&w);
}

/* The one that runs is waited for, those that wait get their done alone. */
static void freed_while_busy(void **state) {
        TestJob jobs[6];
        World w;

        (void)state;
        world_init(&w, 2);
        for_each_case(t, jobs) {
                *t = job_of(&w);
                t->usec = 50000;
                workers_submit(w.workers, &t->job);
        }
        while (atomic_load(&w.n_running) < 2)
                (void)usleep(1000);
        world_done(&w);
        assert_int_equal(w.n_done, 6);
        for (unsigned i = 0; i < ELEMENTSOF(jobs); i++) {
                assert_int_equal(jobs[i].ran, i < 2);
                assert_int_equal(jobs[i].n_done, 1);
        }
}

/* Even what a done submits while the pool ends. */
static void submitted_while_it_ends(void **state) {
        TestJob first, second;
        World w;

        (void)state;
        world_init(&w, 1);
        first = job_of(&w);
        second = job_of(&w);
        first.then = &second;
        workers_submit(w.workers, &first.job);
        while (atomic_load(&w.n_run) < 1)
                (void)usleep(1000);
        world_done(&w);
        assert_int_equal(w.n_done, 2);
        assert_true(first.ran && !second.ran && second.n_done == 1);
}

static void freed_idle(void **state) {
        World w;

        (void)state;
        assert_null(workers_free(NULL));
        for (unsigned n = 1; n < 20; n += 6) {
                world_init(&w, n);
                world_done(&w);
        }
}

/* Signals are the loop's: a worker never takes one. */
static void on_signal(int number) {
        (void)number;
}

static void signal_run(Job *job) {
        TestJob *t = container_of(job, TestJob, job);
        sigset_t mask;

        (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
        t->ran = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGINT) &&
                 sigismember(&mask, SIGUSR1);
}

static void no_signals_on_workers(void **state) {
        sigset_t before, after;
        TestJob job;
        World w;

        (void)state;
        (void)signal(SIGUSR1, on_signal);
        (void)pthread_sigmask(SIG_SETMASK, NULL, &before);
        world_init(&w, 1);
        (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
        for (int n = 1; n < SIGRTMAX; n++)
                assert_int_equal(sigismember(&before, n), sigismember(&after, n));
        job = job_of(&w);
        job.job.run = signal_run;
        workers_submit(w.workers, &job.job);
        run_until(&w, 1);
        assert_true(job.ran);
        world_done(&w);
}

static void want_of_memory(void **state) {
        unsigned n_fds;
        World w = {};

        (void)state;
        assert_true(sd_event_new(&w.event) >= 0);
        n_fds = count_fds();
        OOM_SWEEP(nth, {
                int r = workers_new(w.event, 2, &w.workers);

                assert_true(r == 0 || r == -ENOMEM);
                if (r < 0)
                        assert_int_equal(count_fds(), n_fds);
        });
        world_done(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(jobs_are_run),
                cmocka_unit_test(one_thread_keeps_the_order),
                cmocka_unit_test(done_submits_the_next),
                cmocka_unit_test(freed_while_busy),
                cmocka_unit_test(submitted_while_it_ends),
                cmocka_unit_test(freed_idle),
                cmocka_unit_test(no_signals_on_workers),
                cmocka_unit_test(want_of_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
