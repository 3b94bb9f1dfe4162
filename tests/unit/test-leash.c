/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a VM's life hangs on: with real processes, and a real event loop. */

#include "unit.h"

#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <time.h>

#include "oom.h"
#include "vm/leash.h"

typedef struct World {
        Leash leash; /* first, for that is what the callback gets */
        sd_event *event;
        unsigned n_ended;
        char reason[32];
} World;

static void on_ended(Leash *leash, const char *reason) {
        World *w = container_of(leash, World, leash);

        /* When the owner hears, nothing is left of it. */
        assert_false(leash_holds(leash));
        assert_int_equal(leash->pidfd, -1);
        assert_null(leash->source);
        assert_null(leash->caller);
        w->n_ended++;
        (void)snprintf(w->reason, sizeof(w->reason), "%s", reason);
}

static void world_init(World *w) {
        *w = (World){};
        assert_true(sd_event_new(&w->event) >= 0);
        leash_init(&w->leash, w->event, on_ended);
        assert_false(leash_holds(&w->leash));
}

static void world_done(World *w) {
        leash_done(&w->leash);
        leash_done(&w->leash); /* twice is once */
        sd_event_unref(w->event);
}

/* Lets the loop run as long as there is something to do, and a while longer. */
static void run(World *w, uint64_t usec) {
        while (sd_event_run(w->event, usec) > 0)
                ;
}

static pid_t child_new(int *ret_pidfd) {
        pid_t pid = fork();

        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)pause();
                _exit(0);
        }
        *ret_pidfd = pidfd_open(pid, 0);
        assert_true(*ret_pidfd >= 0);
        return pid;
}

static void child_end(pid_t pid) {
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void clock_runs_out(void **state) {
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_start_clock(&w.leash, now_usec() + 20000));
        assert_true(w.leash.deadline_usec > 0);
        assert_false(leash_holds(&w.leash));
        run(&w, 0);
        assert_int_equal(w.n_ended, 0);
        run(&w, 200000);
        assert_int_equal(w.n_ended, 1);
        assert_string_equal(w.reason, "no-leash");
        assert_int_equal(w.leash.deadline_usec, 0);
        run(&w, 50000);
        assert_int_equal(w.n_ended, 1); /* once */
        world_done(&w);
}

static void clock_starts_once(void **state) {
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_start_clock(&w.leash, now_usec() + 20000));
        assert_aborts((void)leash_start_clock(&w.leash, now_usec() + 20000));
        assert_ok(leash_set_caller(&w.leash, ":1.5"));
        assert_aborts((void)leash_start_clock(&w.leash, now_usec() + 20000));
        world_done(&w);
}

static void process_ends(void **state) {
        int pidfd;
        pid_t child = child_new(&pidfd);
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_start_clock(&w.leash, now_usec() + 20000));
        assert_ok(leash_set_pidfd(&w.leash, pidfd));
        fd_close(pidfd); /* duplicated */
        assert_true(leash_holds(&w.leash));
        assert_int_equal(w.leash.kind, LEASH_PIDFD);
        assert_int_equal(w.leash.deadline_usec, 0);
        run(&w, 100000); /* the clock has stopped */
        assert_int_equal(w.n_ended, 0);

        child_end(child);
        run(&w, 100000);
        assert_int_equal(w.n_ended, 1);
        assert_string_equal(w.reason, "vmm-exited");
        world_done(&w);
}

/* Also one that nobody reaps: a zombie does not serve a VM. */
static void process_is_a_zombie(void **state) {
        int pidfd;
        pid_t child = child_new(&pidfd);
        siginfo_t info;
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_set_pidfd(&w.leash, pidfd));
        (void)kill(child, SIGKILL);
        assert_ok(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
        run(&w, 100000);
        assert_int_equal(w.n_ended, 1);

        assert_error(leash_set_pidfd(&w.leash, pidfd), ESRCH);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_error(leash_set_pidfd(&w.leash, pidfd), ESRCH);
        fd_close(pidfd);
        world_done(&w);
}

static void caller_leaves(void **state) {
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_start_clock(&w.leash, now_usec() + 20000));
        assert_ok(leash_set_caller(&w.leash, ":1.5"));
        assert_true(leash_holds(&w.leash));
        assert_false(leash_name_vanished(&w.leash, ":1.50"));
        assert_false(leash_name_vanished(&w.leash, ":1."));
        run(&w, 50000);
        assert_int_equal(w.n_ended, 0);
        assert_true(leash_name_vanished(&w.leash, ":1.5"));
        assert_int_equal(w.n_ended, 1);
        assert_string_equal(w.reason, "caller-gone");
        assert_false(leash_name_vanished(&w.leash, ":1.5"));
        assert_int_equal(w.n_ended, 1);
        world_done(&w);
}

static void leashes_are_exchanged(void **state) {
        int first, second;
        pid_t children[] = { child_new(&first), child_new(&second) };
        World w;

        (void)state;
        world_init(&w);
        assert_ok(leash_set_pidfd(&w.leash, first));
        assert_ok(leash_set_pidfd(&w.leash, second));
        child_end(children[0]); /* no matter any more */
        run(&w, 50000);
        assert_int_equal(w.n_ended, 0);

        assert_ok(leash_set_caller(&w.leash, ":1.5"));
        assert_int_equal(w.leash.kind, LEASH_CALLER);
        child_end(children[1]);
        run(&w, 50000);
        assert_int_equal(w.n_ended, 0);

        fd_close(first);
        first = pidfd_open(getpid(), 0);
        assert_ok(leash_set_pidfd(&w.leash, first));
        assert_false(leash_name_vanished(&w.leash, ":1.5"));
        fd_close(first);
        fd_close(second);
        world_done(&w);
        assert_int_equal(w.n_ended, 0);
}

/* What cannot be a leash changes nothing. */
static void no_leash(void **state) {
        int pidfd, dead;
        pid_t child = child_new(&pidfd), corpse = child_new(&dead);
        int pipes[2], held;
        World w;

        (void)state;
        child_end(corpse);
        assert_ok(pipe(pipes));
        world_init(&w);
        assert_ok(leash_set_pidfd(&w.leash, pidfd));
        held = w.leash.pidfd;
        assert_error(leash_set_pidfd(&w.leash, pipes[0]), EINVAL);
        assert_error(leash_set_pidfd(&w.leash, -1), EBADF);
        assert_error(leash_set_pidfd(&w.leash, 1 << 20), EBADF);
        assert_error(leash_set_pidfd(&w.leash, dead), ESRCH);
        assert_int_equal(w.leash.pidfd, held);
        assert_int_equal(w.leash.kind, LEASH_PIDFD);

        oom_arm(1, 1);
        assert_error(leash_set_caller(&w.leash, ":1.5"), ENOMEM);
        assert_true(oom_disarm());
        assert_int_equal(w.leash.kind, LEASH_PIDFD);

        child_end(child);
        run(&w, 100000);
        assert_int_equal(w.n_ended, 1);
        fd_close(pidfd);
        fd_close(dead);
        fd_close(pipes[0]);
        fd_close(pipes[1]);
        world_done(&w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(clock_runs_out), cmocka_unit_test(clock_starts_once),
                cmocka_unit_test(process_ends),   cmocka_unit_test(process_is_a_zombie),
                cmocka_unit_test(caller_leaves),  cmocka_unit_test(leashes_are_exchanged),
                cmocka_unit_test(no_leash),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
