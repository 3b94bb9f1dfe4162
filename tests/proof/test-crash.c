/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Dies at every step of every scenario, and again at a step of the recovery; then the next daemon takes on what there is, and has to stand
 * as before the act or as after it. At the end all is ended, and nothing may be left anywhere.
 *
 *      test-crash [--long | --recoveries=N] [--scenario=NAME] [--point=N [--again=M]]
 *
 * For each step it dies again at two of the recovery's, or at N of them; with --long at every one.
 */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "proof/scenarios.h"

#define POINTS_MIN 2000
#define FLAWS_MAX  25

typedef struct Sweep {
        World world;
        const Scenario *scenario;
        uint64_t point, again; /* at which to die now; 0: not at all */
        const char *only;
        uint64_t only_point, only_again;
        uint64_t recoveries; /* for each step, UINT64_MAX: all */
        unsigned n_points, n_again, n_flaws;
        unsigned n_before, n_after; /* how it ended */
} Sweep;

/* ---- what runs in a daemon ---- */

static void run_dry(World *w, void *userdata) {
        scenario_run_dry(((Sweep *)userdata)->scenario, w);
}

static void run_to_death(World *w, void *userdata) {
        const Sweep *sweep = userdata;

        scenario_begin(sweep->scenario, w);
        steps_begin(sweep->point, w->shared->step);
        (void)sweep->scenario->act(w);
        daemon_run_until_idle(w);
        w->shared->n_steps = steps_end(NULL);
        daemon_end_all(w);
}

static void run_recovery(World *w, void *userdata) {
        const Sweep *sweep = userdata;

        steps_begin(sweep->again, w->shared->step);
        scenario_recover(sweep->scenario, w);
        w->shared->n_steps = steps_end(NULL);
        daemon_end_all(w);
}

/* ---- what is said ---- */

void __real_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) _printf_(4, 5);
void __wrap_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) _printf_(4, 5);

/* Nothing fails here, so there is nothing that could not be put right. */
void __wrap_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) {
        char text[1024];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        __real_log_event(level, message_id, fields, "%s", text);
        if (message_id && streq(message_id, MESSAGE_VM_UNREPAIRED)) {
                (void)fprintf(stderr, "%s\n", text);
                abort();
        }
}

/* ---- the sweep ---- */

static void flaw(Sweep *sweep, int code, const char *left) {
        World *w = &sweep->world;

        sweep->n_flaws++;
        (void)printf("FLAW --scenario=%s --point=%lu", sweep->scenario->name, sweep->point);
        if (sweep->again > 0)
                (void)printf(" --again=%lu", sweep->again);
        (void)printf(", died %s\n", w->shared->step);
        if (left)
                (void)printf("      %s\n", left);
        else if (code == DAEMON_FLUNKED)
                scenario_print_failure(w);
        else
                (void)printf("      a daemon ended with %d\n", code);
        (void)fflush(stdout);
        world_purge(w);
}

/* One life after the other until one has not died. Returns the exit code of the last. */
static int live(Sweep *sweep, bool *ret_died) {
        World *w = &sweep->world;
        int code;

        code = world_run(w, sweep->point > 0 ? run_to_death : run_dry, sweep);
        *ret_died = code == STEPS_DEATH;
        if (!*ret_died)
                return code;

        code = world_run(w, run_recovery, sweep);
        if (sweep->again > 0 && code == STEPS_DEATH) {
                uint64_t again = sweep->again;

                sweep->again = 0;
                code = world_run(w, run_recovery, sweep);
                sweep->again = again;
        }
        return code;
}

/* Returns whether the point was there. */
static bool die_at(Sweep *sweep, uint64_t point, uint64_t again) {
        World *w = &sweep->world;
        const char *left;
        bool died;
        int code;

        sweep->point = point;
        sweep->again = again;
        world_begin(w);
        code = live(sweep, &died);
        world_end(w);
        if (code != 0)
                world_purge(w); /* or what it holds could not be put back */
        if (sweep->scenario->restore)
                sweep->scenario->restore(w);
        left = code == 0 ? world_check_empty(w) : NULL;
        if (left || code != 0)
                flaw(sweep, code, left);
        else if (died) {
                bool before = scenario_matches(sweep->scenario, w->shared->now, w->shared->before);

                sweep->n_before += before;
                sweep->n_after += !before;
        }
        return died;
}

static void sweep_scenario(Sweep *sweep) {
        unsigned n_points = sweep->n_points, n_again = sweep->n_again;

        sweep->n_before = sweep->n_after = 0;
        (void)die_at(sweep, 0, 0);
        for (uint64_t point = MAX(sweep->only_point, (uint64_t)1);; point++) {
                uint64_t n;

                if (!die_at(sweep, point, 0))
                        break;
                sweep->n_points++;
                n = sweep->world.shared->n_steps;
                for (uint64_t m = 1; m <= MIN(n, sweep->recoveries) && sweep->n_flaws < FLAWS_MAX;
                     m++) {
                        uint64_t again = sweep->only_again
                                                 ?: sweep->recoveries >= n
                                                    ? m
                                                    : 1 + (point + m * n / 2) * 7919 % n;

                        sweep->n_again += die_at(sweep, point, again);
                        if (sweep->only_again)
                                break;
                }
                if (sweep->only_point || sweep->n_flaws >= FLAWS_MAX)
                        break;
        }
        (void)printf("%-24s %4u steps, %5u recoveries; %u ended as before, %u as after\n",
                     sweep->scenario->name, sweep->n_points - n_points, sweep->n_again - n_again,
                     sweep->n_before, sweep->n_after);
        (void)fflush(stdout);
}

static bool parse(Sweep *sweep, int argc, char **argv) {
        static const struct option options[] = {
                { "long", no_argument, NULL, 'l' },
                { "recoveries", required_argument, NULL, 'r' },
                { "scenario", required_argument, NULL, 's' },
                { "point", required_argument, NULL, 'p' },
                { "again", required_argument, NULL, 'a' },
                {},
        };

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (c) {
                case 'l':
                        sweep->recoveries = UINT64_MAX;
                        break;
                case 'r':
                        sweep->recoveries = strtoull(optarg, NULL, 10);
                        break;
                case 's':
                        sweep->only = optarg;
                        break;
                case 'p':
                        sweep->only_point = strtoull(optarg, NULL, 10);
                        break;
                case 'a':
                        sweep->only_again = strtoull(optarg, NULL, 10);
                        break;
                default:
                        return false;
                }
        return optind == argc;
}

int main(int argc, char **argv) {
        static Sweep sweep = { .recoveries = 2 };
        time_t began = time(NULL);
        unsigned n;

        if (!parse(&sweep, argc, argv))
                return 2;
        world_init(&sweep.world, PROOF_DIR "/proof.json");
        for (size_t i = 0; i < n_scenarios && sweep.n_flaws < FLAWS_MAX; i++) {
                sweep.scenario = scenarios + i;
                if (!sweep.only || streq(sweep.only, scenarios[i].name))
                        sweep_scenario(&sweep);
        }
        world_done(&sweep.world);

        n = sweep.n_points + sweep.n_again;
        (void)printf(
                "%u crash points: %u steps of %zu scenarios, %u of recoveries; %u flaws; %lld s\n",
                n, sweep.n_points, n_scenarios, sweep.n_again, sweep.n_flaws,
                (long long)(time(NULL) - began));
        if (!sweep.only && n < POINTS_MIN) {
                (void)printf("fewer than %d crash points\n", POINTS_MIN);
                return EXIT_FAILURE;
        }
        return sweep.n_flaws > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
