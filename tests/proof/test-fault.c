/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Fails every kernel call, write of a record, message to the service manager and allocation of every scenario's act in turn, and then those
 * of a recovery. A request is answered; if it failed, all is as before, records included, and the next one works; a daemon that starts on what
 * that one has left finds the same. At the end all is ended, and nothing may be left anywhere.
 *
 *      test-fault [--short] [--each=N] [--scenario=NAME] [--fault=NAME] [--nth=N] [--recovery]
 *
 * --short: one errno or a few of each class, and only the first calls of one kind in an act. --each: only each N-th fault.
 */

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proof/scenarios.h"
#include "unit/oom.h"

#define FLAWS_MAX 100

#define ALLOCATION ((StepClass)0)

typedef struct Fault {
        const char *name;
        StepClass class; /* ALLOCATION: none */
        int error;
        bool brief; /* in the short form as well */
} Fault;

static const Fault faults[] = {
        { "kernel-ENOMEM", STEP_KERNEL, ENOMEM, true },
        { "kernel-EBUSY", STEP_KERNEL, EBUSY, true },
        { "kernel-EIO", STEP_KERNEL, EIO },
        { "kernel-EINTR", STEP_KERNEL, EINTR },
        { "kernel-ENODEV", STEP_KERNEL, ENODEV, true },
        { "kernel-EPERM", STEP_KERNEL, EPERM },
        { "kernel-ENOSPC", STEP_KERNEL, ENOSPC },
        { "record-ENOSPC", STEP_RECORD, ENOSPC, true },
        { "record-EIO", STEP_RECORD, EIO },
        { "record-EROFS", STEP_RECORD, EROFS },
        { "notify-EAGAIN", STEP_NOTIFY, EAGAIN, true },
        { "notify-ECONNREFUSED", STEP_NOTIFY, ECONNREFUSED },
        { "memory", ALLOCATION, ENOMEM, true },
};

typedef struct Sweep {
        World world;
        const Scenario *scenario;
        const Fault *fault;
        uint64_t *nth; /* shared with the daemons: the fault to come */
        uint64_t *n_failed;
        const char *only, *only_fault;
        uint64_t only_nth;
        bool only_recovery, brief;
        uint64_t each;
        unsigned n_faults, n_flaws;
} Sweep;

/* How a daemon ends besides STEPS_DEATH and DAEMON_FLUNKED. */
#define LIFE_OVER    80 /* go on with the next fault in another life */
#define LIFE_LAST    81 /* the fault was not reached any more */
#define LIFE_REFUSED 82 /* it did not start, for the fault */

/* In the short form: of one kernel call, in one act. */
#define CALLS_MAX 24

/* ---- the fault ---- */

static void arm(const Fault *fault, uint64_t nth) {
        if (fault->class == ALLOCATION)
                oom_arm(nth, 1);
        else
                steps_fail(fault->class, nth, fault->error);
}

/* Returns whether it has come to it. */
static bool disarm(const Fault *fault) {
        bool failed;

        if (fault->class == ALLOCATION)
                return oom_disarm();
        (void)steps_end(&failed);
        return failed;
}

/* ---- the records, to the letter ---- */

static uint64_t digest_records(const World *w) {
        DIR *d = opendir(w->records);
        struct dirent *e;
        uint64_t sum = 0;

        assert(d);
        while ((e = readdir(d))) {
                int fd = is_record_of_vms(e->d_name)
                                 ? openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC)
                                 : -1;
                char text[65536];
                ssize_t n = fd >= 0 ? read(fd, text, sizeof(text)) : -1;

                if (n > 0)
                        sum += record_checksum(text, (size_t)n);
                if (fd >= 0)
                        (void)close(fd);
        }
        (void)closedir(d);
        return sum;
}

/* ---- what runs in a daemon ---- */

static void run_dry(World *w, void *userdata) {
        scenario_run_dry(((Sweep *)userdata)->scenario, w);
}

/* After a failure all is as it was, to the letter where the records could be written. */
static void check_undone(const Sweep *sweep, World *w, uint64_t digest) {
        const Scenario *s = sweep->scenario;

        if (!scenario_settle(s, w))
                flunk(w, NEITHER);
        if (!streq(w->shared->now, w->shared->before))
                flunk(w, "a request that failed has done something:\n%s\ninstead of\n%s",
                      w->shared->now, w->shared->before);
        if (digest_records(w) != digest)
                flunk(w, "a request that failed has changed a record");
}

/* Fails one thing after the other, as long as nothing comes of it. */
static void run_faults(World *w, void *userdata) {
        const Sweep *sweep = userdata;
        const Scenario *s = sweep->scenario;
        uint64_t digest;

        scenario_begin(s, w);
        digest = digest_records(w);
        for (;;) {
                uint64_t nth = *sweep->nth;
                bool fired;
                int r;

                *sweep->nth += sweep->each;

                arm(sweep->fault, nth);
                r = s->act(w);
                daemon_run_until_idle(w);
                w->shared->n_beyond = MAX(w->shared->n_beyond, steps_get_beyond());
                fired = disarm(sweep->fault);
                if (r < 0 && !fired)
                        flunk(w, "the act fails without a fault: %s", strerror(-r));
                *sweep->n_failed += r < 0;
                if (r < 0 && s->kind == ACT_REQUEST) {
                        check_undone(sweep, w, digest);
                        continue;
                }
                if (r < 0 && s->finish)
                        s->finish(w);
                if (!scenario_settle(s, w))
                        flunk(w, NEITHER);
                if (r >= 0 && !scenario_matches(s, w->shared->now, w->shared->after))
                        flunk(w, "a request that succeeded has done nothing:\n%s\ninstead of\n%s",
                              w->shared->now, w->shared->after);
                _exit(fired ? LIFE_OVER : LIFE_LAST);
        }
}

/* What comes after it has to be as well, and can be done again if it was not. */
static void run_again(World *w, void *userdata) {
        const Scenario *s = ((Sweep *)userdata)->scenario;

        scenario_recover(s, w);
        if (!scenario_matches(s, w->shared->now, w->shared->after) && s->kind != ACT_EVENT) {
                int r = s->act(w);

                if (r < 0)
                        flunk(w, "the next request fails: %s", strerror(-r));
                if (!scenario_settle(s, w) ||
                    !scenario_matches(s, w->shared->now, w->shared->after))
                        flunk(w, "the next request does not do it:\n%s\ninstead of\n%s",
                              w->shared->now, w->shared->after);
        }
        daemon_end_all(w);
}

static void run_act(World *w, void *userdata) {
        const Scenario *s = ((Sweep *)userdata)->scenario;

        scenario_begin(s, w);
        (void)s->act(w);
        daemon_run_until_idle(w);
        _exit(0);
}

/* A daemon that starts in trouble either does not, or takes all on. */
static void run_recovery_with_fault(World *w, void *userdata) {
        const Sweep *sweep = userdata;
        const Scenario *s = sweep->scenario;
        bool fired;
        int r;

        w->admission_timeout_usec = s->admission_timeout_usec;
        arm(sweep->fault, *sweep->nth);
        r = daemon_start(w);
        fired = disarm(sweep->fault);
        if (r < 0)
                _exit(fired ? LIFE_REFUSED : LIFE_LAST);
        if (s->finish)
                s->finish(w);
        if (!scenario_settle(s, w) || !scenario_matches(s, w->shared->now, w->shared->after))
                flunk(w, NEITHER);
        _exit(fired ? LIFE_OVER : LIFE_LAST);
}

static void run_recovery(World *w, void *userdata) {
        scenario_recover(((Sweep *)userdata)->scenario, w);
        _exit(0);
}

static void run_end(World *w, void *userdata) {
        scenario_recover(((Sweep *)userdata)->scenario, w);
        daemon_end_all(w);
}

/* ---- the sweep ---- */

static void flaw(Sweep *sweep, uint64_t nth, bool recovery, int code, const char *left) {
        World *w = &sweep->world;

        sweep->n_flaws++;
        (void)printf("FLAW --scenario=%s --fault=%s --nth=%lu%s\n", sweep->scenario->name,
                     sweep->fault ? sweep->fault->name : "", nth, recovery ? " --recovery" : "");
        if (left)
                (void)printf("      %s\n", left);
        else if (code == DAEMON_FLUNKED)
                scenario_print_failure(w);
        else
                (void)printf("      a daemon ended with %d\n", code);
        (void)fflush(stdout);
        world_purge(w);
}

static void end_life(Sweep *sweep, uint64_t nth, bool recovery, int code) {
        World *w = &sweep->world;
        const char *left;

        world_end(w);
        if (code != 0)
                world_purge(w); /* or what it holds could not be put back */
        if (sweep->scenario->restore)
                sweep->scenario->restore(w);
        left = code == 0 ? world_check_empty(w) : NULL;
        if (left || code != 0)
                flaw(sweep, nth, recovery, code, left);
}

/* One fault of each act after the other, in as many lives as it takes. */
static void sweep_act(Sweep *sweep) {
        World *w = &sweep->world;

        *sweep->nth = MAX(sweep->only_nth, (uint64_t)1);
        for (bool more = true; more && sweep->n_flaws < FLAWS_MAX;) {
                uint64_t first = *sweep->nth;
                int code;

                world_begin(w);
                code = world_run(w, run_faults, sweep);
                more = code != LIFE_LAST && !sweep->only_nth;
                sweep->n_faults += (unsigned)((*sweep->nth - first) / sweep->each) -
                                   (code == LIFE_LAST);
                if (code == LIFE_LAST || code == LIFE_OVER)
                        code = world_run(w, run_again, sweep);
                end_life(sweep, *sweep->nth - sweep->each, false, code);
                if (code != 0)
                        return; /* the next ones would say the same */
        }
}

/* Likewise of the recovery after the act. */
static void sweep_recovery(Sweep *sweep) {
        World *w = &sweep->world;
        int code;

        world_begin(w);
        code = world_run(w, run_act, sweep);
        *sweep->nth = MAX(sweep->only_nth, (uint64_t)1);
        for (bool more = code == 0; more; *sweep->nth += sweep->each) {
                code = world_run(w, run_recovery_with_fault, sweep);
                more = (code == LIFE_OVER || code == LIFE_REFUSED) && !sweep->only_nth;
                sweep->n_faults += more;
                if (code == LIFE_REFUSED)
                        code = world_run(w, run_recovery, sweep);
                more = more && (code == LIFE_OVER || code == 0);
        }
        if (code == LIFE_OVER || code == LIFE_LAST || code == 0)
                code = world_run(w, run_end, sweep);
        end_life(sweep, *sweep->nth - sweep->each, true, code);
}

/* Recoveries that find much. */
static bool recovers_much(const Scenario *s) {
        static const char *const names[] = { "create-hardware", "create-prepared", "confirm",
                                             "prepare", "reserve" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(s->name, names[i]))
                        return true;
        return false;
}

static void sweep_scenario(Sweep *sweep) {
        unsigned before = sweep->n_faults;
        World *w = &sweep->world;
        int code;

        *sweep->n_failed = 0;
        w->shared->n_beyond = 0;
        sweep->fault = NULL;
        world_begin(w);
        code = world_run(w, run_dry, sweep);
        end_life(sweep, 0, false, code);
        for (size_t i = 0; i < ELEMENTSOF(faults) && code == 0; i++) {
                sweep->fault = faults + i;
                if (sweep->only_fault && !streq(sweep->only_fault, faults[i].name))
                        continue;
                if (sweep->brief && !faults[i].brief)
                        continue;
                if (!sweep->only_recovery)
                        sweep_act(sweep);
                if (recovers_much(sweep->scenario) && sweep->n_flaws < FLAWS_MAX)
                        sweep_recovery(sweep);
        }
        (void)printf("%-24s %5u faults, %5lu requests failed", sweep->scenario->name,
                     sweep->n_faults - before, *sweep->n_failed);
        if (w->shared->n_beyond > 0)
                (void)printf(", %lu kernel calls of one act left out", w->shared->n_beyond);
        (void)printf("\n");
        (void)fflush(stdout);
}

static bool parse(Sweep *sweep, int argc, char **argv) {
        static const struct option options[] = {
                { "short", no_argument, NULL, 'b' },
                { "each", required_argument, NULL, 'e' },
                { "scenario", required_argument, NULL, 's' },
                { "fault", required_argument, NULL, 'f' },
                { "nth", required_argument, NULL, 'n' },
                { "recovery", no_argument, NULL, 'r' },
                {},
        };

        sweep->each = 1;
        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (c) {
                case 'b':
                        sweep->brief = true;
                        steps_limit_calls(CALLS_MAX);
                        break;
                case 'e':
                        sweep->each = MAX(strtoull(optarg, NULL, 10), 1ULL);
                        break;
                case 's':
                        sweep->only = optarg;
                        break;
                case 'f':
                        sweep->only_fault = optarg;
                        break;
                case 'n':
                        sweep->only_nth = strtoull(optarg, NULL, 10);
                        break;
                case 'r':
                        sweep->only_recovery = true;
                        break;
                default:
                        return false;
                }
        return optind == argc;
}

int main(int argc, char **argv) {
        static Sweep sweep;
        time_t began = time(NULL);

        if (!parse(&sweep, argc, argv))
                return 2;
        world_init(&sweep.world, PROOF_DIR "/proof.json");
        scenario_expect_faults();
        sweep.nth = &sweep.world.shared->nth;
        sweep.n_failed = &sweep.world.shared->n_failed;
        for (size_t i = 0; i < n_scenarios && sweep.n_flaws < FLAWS_MAX; i++) {
                sweep.scenario = scenarios + i;
                if (!sweep.only || streq(sweep.only, scenarios[i].name))
                        sweep_scenario(&sweep);
        }
        (void)printf(
                "%u faults in %zu scenarios, %u flaws; the kernel was not asked for %lu ids in "
                "the midst of sweeps; %lld s\n",
                sweep.n_faults, n_scenarios, sweep.n_flaws, sweep.world.shared->n_unasked,
                (long long)(time(NULL) - began));
        world_done(&sweep.world);

        return sweep.n_flaws > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
