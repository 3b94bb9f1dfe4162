/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Random steps on a daemon and on a model of it (model.h), with faults, deaths in the midst of a step, and restarts; they have to agree
 * after each. Steps come in episodes, each of which begins and ends with nothing. One that fails is shrunk and printed.
 *
 *      test-model [--steps=N] [--seed=N] [--replay=FILE]
 */

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "proof/model.h"
#include "unit/oom.h"

#define EPISODE_STEPS 400
#define SHRINK_MAX    300 /* runs */

#define LIFE_OVER 80 /* of a daemon, not of the episode */

/* What daemons and parent share. */
typedef struct Episode {
        ModelStep steps[EPISODE_STEPS];
        size_t n, at;
        bool pending; /* a step has begun and is not done */
        Model model, after;
} Episode;

typedef struct Test {
        World world;
        Episode *episode;
        uint64_t n_refused, n_faults, n_deaths, n_lives;
} Test;

/* ---- what goes wrong ---- */

static const struct {
        StepClass class;
        int error;
} faults[] = {
        { 0, 0 }, /* none */
        { STEP_KERNEL, ENOMEM },
        { STEP_KERNEL, EBUSY },
        { STEP_KERNEL, EIO },
        { STEP_KERNEL, ENODEV },
        { STEP_KERNEL, ENOSPC },
        { STEP_RECORD, ENOSPC },
        { STEP_NOTIFY, EAGAIN },
        { 0, ENOMEM }, /* an allocation */
        { 0, 0 },      /* the daemon dies */
};

#define FAULT_MEMORY (ELEMENTSOF(faults) - 2)
#define FAULT_DEATH  (ELEMENTSOF(faults) - 1)

static void arm(World *w, const ModelStep *s) {
        if (s->fault == FAULT_MEMORY)
                oom_arm(s->nth, 1);
        else if (s->fault == FAULT_DEATH)
                steps_begin(s->nth, w->shared->step);
        else if (s->fault > 0)
                steps_fail(faults[s->fault].class, s->nth, faults[s->fault].error);
}

static bool disarm(const ModelStep *s) {
        bool failed = false;

        if (s->fault == FAULT_MEMORY)
                return oom_disarm();
        if (s->fault > 0)
                (void)steps_end(&failed);
        return failed;
}

/* ---- what runs in a daemon ---- */

/* What may have come of a step. */
typedef struct Outcomes {
        Model models[4];
        size_t n, found;
        char difference[1024]; /* to the first */
} Outcomes;

static bool is_one(World *w, void *userdata) {
        Outcomes *o = userdata;

        for (size_t i = 0; i < w->manager->n_vms; i++)
                if (w->manager->vms[i]->retry) {
                        (void)snprintf(o->difference, sizeof(o->difference),
                                       "what %s has is asked about for too long",
                                       w->manager->vms[i]->name);
                        return false; /* something is to go yet */
                }
        for (o->found = 0; o->found < o->n; o->found++) {
                const char *difference = model_compare(w, o->models + o->found);

                if (!difference)
                        return true;
                if (o->found == 0)
                        (void)snprintf(o->difference, sizeof(o->difference), "%s", difference);
        }
        return false;
}

static void settle(World *w, Episode *e, Outcomes *o) {
        if (!daemon_settle(w, is_one, o)) {
                char now[SNAPSHOT_SIZE];

                memcpy(now, w->shared->now, sizeof(now));
                flunk(w, "step %zu: %s\n%s", e->at, o->difference, now);
        }
        e->model = o->models[o->found];
}

/* It goes, or goes only in part and says that it failed. */
static bool takes_away(StepKind kind) {
        return kind == DO_DETACH || kind == DO_VIOMMU_DESTROY || kind == DO_UNMAP ||
               kind == DO_DESTROY || kind == DO_CONFIRM || kind == DO_UNRESERVE;
}

/* A vIOMMU that was to be destroyed and stays. */
static void note_bare(Episode *e, const ModelStep *s) {
        ModelVm *vm = e->model.vms + s->slot % MODEL_SLOTS;

        if (s->kind == DO_VIOMMU_DESTROY)
                vm->bare |= vm->viommus & 1U << s->a % 2;
}

static void do_step(World *w, Episode *e, const ModelStep *s) {
        ModelVerdict verdict = model_judge(&e->model, s);
        Outcomes o = { .n = 1 };
        bool fired;
        int r;

        e->after = e->model;
        if (verdict != MODEL_NO)
                model_apply(&e->after, s);
        e->pending = true;
        arm(w, s);
        r = model_do(w, &e->model, s);
        daemon_run_until_idle(w);
        fired = disarm(s);

        if (r >= 0 && verdict == MODEL_NO)
                flunk(w, "step %zu succeeds, and cannot", e->at);
        if (r < 0 && verdict == MODEL_YES && !fired)
                flunk(w, "step %zu fails, and should not: %s: %s", e->at, strerror(-r),
                      w->problem.text);
        o.models[0] = r >= 0 ? e->after : e->model;
        if (fired && (takes_away(s->kind) || s->kind == DO_PREPARE))
                o.models[o.n++] = r >= 0 ? e->model : e->after;
        if (fired && s->kind == DO_PREPARE) { /* the one before is gone already */
                o.models[o.n] = e->model;
                o.models[o.n++].prepared[s->slot % MODEL_SLOTS] = false;
        }
        /* What could not be made, for the VMM's part in it, is taken back; and that fails: it stays, and is listed. */
        if (fired && r < 0 && verdict == MODEL_MAYBE &&
            (s->kind == DO_ATTACH || s->kind == DO_VIOMMU_CREATE)) {
                unsigned slot = s->slot % MODEL_SLOTS;

                o.models[o.n] = e->model;
                o.models[o.n].vms[slot].viommus = e->after.vms[slot].viommus;
                o.models[o.n].vms[slot].bare |= e->after.vms[slot].viommus &
                                                ~e->model.vms[slot].viommus;
                o.n++;
        }
        settle(w, e, &o);
        if (fired)
                note_bare(e, s);
        e->pending = false;
}

/* Nobody was told the token of a reservation whose maker died; here its record tells. */
static void find_token(World *w) {
        static const char prefix[] = "reservation-";
        DIR *d = opendir(w->records);

        assert(d);
        for (struct dirent *e; (e = readdir(d));)
                if (strncmp(e->d_name, prefix, strlen(prefix)) == 0)
                        (void)snprintf(w->shared->token, sizeof(w->shared->token), "%s",
                                       e->d_name + strlen(prefix));
        (void)closedir(d);
}

/* The daemon died in a step: it has been done, or has not. */
static void take_up(World *w, Episode *e) {
        const ModelStep *s = e->steps + e->at;
        Outcomes o = { .n = 1, .models = { e->model } };

        if (e->pending) {
                o.n = 2;
                o.models[1] = e->after;
                if (s->kind == DO_CALLER_LEAVES)
                        manager_name_vanished(w->manager, CALLER);
                if (s->kind == DO_PREPARE) {
                        o.n = 3;
                        o.models[2] = e->model;
                        o.models[2].prepared[s->slot % MODEL_SLOTS] = false;
                }
                o.models[o.n] = e->model;
                if (model_apply_unclear(o.models + o.n, s))
                        o.n++;
                e->at++;
        }
        settle(w, e, &o);
        if (e->pending) {
                note_bare(e, s);
                if (s->kind == DO_RESERVE)
                        find_token(w);
                if (s->kind == DO_OPEN)
                        e->model.vms[s->slot % MODEL_SLOTS].maybe_shared = true;
        }
        e->pending = false;
}

static void run_steps(World *w, void *userdata) {
        Episode *e = ((Test *)userdata)->episode;
        int r;

        w->instances = e->model.instances;
        r = daemon_start(w);
        if (r < 0)
                flunk(w, "cannot start: %s", strerror(-r));
        take_up(w, e);
        while (e->at < e->n) {
                const ModelStep *s = e->steps + e->at;

                do_step(w, e, s);
                e->at++;
                if (s->kind == DO_RESTART && s->a % 2)
                        daemon_stop(w);
                if (s->kind == DO_RESTART || s->kind == DO_VMM_ENDS)
                        _exit(LIFE_OVER);
        }
        daemon_end_all(w);
}

/* ---- episodes ---- */

/* Puts the function that may be missing back. */
static void replug(World *w) {
        SimCounters ignored;
        const PciFunctionInfo info = { .address = fn(model_function(MODEL_FUNCTIONS - 1)),
                                       .host_iommu = 1,
                                       .group = KERNEL_NONE,
                                       .numa_node = 1,
                                       .driver = "vfio-pci",
                                       .vendor_id = 0x8086,
                                       .device_id = 0x1533,
                                       .class_code = 0x020000 };

        sim_get_counters(w->look, &ignored); /* an unplug that waited for a holder is done now */
        (void)sim_plug(w->look, &info);
}

/* Returns NULL, or what went wrong. */
static const char *run_episode(Test *test) {
        Episode *e = test->episode;
        World *w = &test->world;
        static char text[64];
        const char *left = NULL;
        int code;

        e->at = 0;
        e->pending = false;
        model_init(&e->model);
        world_begin(w);
        for (;;) {
                code = world_run(w, run_steps, test);
                test->n_lives++;
                test->n_deaths += code == STEPS_DEATH;
                if (code != STEPS_DEATH && code != LIFE_OVER)
                        break;
                world_revive(w);
        }
        world_end(w);
        replug(w);

        if (code == 0)
                left = world_check_empty(w);
        else if (code == DAEMON_FLUNKED)
                left = w->shared->failure;
        else {
                (void)snprintf(text, sizeof(text), "step %zu: the daemon ended with %d", e->at,
                               code);
                left = text;
        }
        if (left)
                world_purge(w);
        return left;
}

static uint64_t rng;

static unsigned random_below(unsigned n) {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        return (unsigned)(rng >> 20) % n;
}

static ModelStep random_step(void) {
        static const unsigned char weights[_STEP_KIND_MAX] = {
                [DO_CREATE] = 30,  [DO_CREATE_RESERVED] = 4, [DO_ATTACH] = 16,
                [DO_DETACH] = 14,  [DO_VIOMMU_CREATE] = 10,  [DO_VIOMMU_DESTROY] = 8,
                [DO_MAP] = 14,     [DO_UNMAP] = 10,          [DO_OPEN] = 8,
                [DO_CONFIRM] = 5,  [DO_LEASH] = 8,           [DO_DESTROY] = 14,
                [DO_RESERVE] = 5,  [DO_UNRESERVE] = 2,       [DO_PREPARE] = 8,
                [DO_VMM_ENDS] = 1, [DO_CALLER_LEAVES] = 2,   [DO_PLUG] = 3,
                [DO_LIMIT] = 3,    [DO_RESTART] = 1,
        };
        unsigned sum = 0, pick;
        ModelStep s = { .slot = random_below(MODEL_SLOTS),
                        .a = random_below(1024),
                        .b = random_below(1024) };

        for (unsigned i = 0; i < _STEP_KIND_MAX; i++)
                sum += weights[i];
        pick = random_below(sum);
        for (; pick >= weights[s.kind]; s.kind++)
                pick -= weights[s.kind];
        if (random_below(10) == 0) {
                s.fault = 1 + random_below(ELEMENTSOF(faults) - 1);
                s.nth = 1 + random_below(s.fault == FAULT_MEMORY ? 60 : 20);
        }
        return s;
}

/* ---- telling ---- */

/* Leaves out what is not needed to fail: halves, quarters, and so on. */
static void shrink(Test *test) {
        Episode *e = test->episode;
        unsigned n_runs = 0;

        for (size_t chunk = (e->n + 1) / 2; chunk > 0 && n_runs < SHRINK_MAX;) {
                bool any = false;

                for (size_t at = 0; at < e->n && n_runs < SHRINK_MAX;) {
                        ModelStep before[EPISODE_STEPS];
                        size_t n = e->n, less = MIN(chunk, n - at);

                        memcpy(before, e->steps, sizeof(before));
                        memmove(e->steps + at, e->steps + at + less,
                                (n - at - less) * sizeof(ModelStep));
                        e->n = n - less;
                        n_runs++;
                        if (run_episode(test)) {
                                any = true;
                                continue;
                        }
                        memcpy(e->steps, before, sizeof(before));
                        e->n = n;
                        at += chunk;
                }
                if (!any || chunk > 1)
                        chunk /= 2;
        }
}

static int fail(Test *test, uint64_t seed, const char *what) {
        Episode *e = test->episode;
        Episode original;

        (void)printf("seed %lu: %s\nshrinking...\n", seed, what);
        (void)fflush(stdout);
        e->n = MIN(e->n, e->at + 1);
        original = *e;
        shrink(test);
        what = run_episode(test);
        if (!what)
                *e = original;
        (void)printf("%s\nThe steps, for --replay:\n", what ?: "it does not fail every time");
        for (size_t i = 0; i < e->n; i++)
                model_print_step(e->steps + i, i);
        return EXIT_FAILURE;
}

static int replay(Test *test, const char *path) {
        FILE *f = fopen(path, "re");
        const char *what;
        char line[256];

        if (!f)
                return 2;
        while (test->episode->n < EPISODE_STEPS && fgets(line, sizeof(line), f))
                test->episode->n += model_parse_step(line, test->episode->steps + test->episode->n);
        (void)fclose(f);
        what = run_episode(test);
        (void)printf("%zu steps: %s\n", test->episode->n, what ?: "all is well");
        return what ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        static const struct option options[] = { { "steps", required_argument, NULL, 'n' },
                                                 { "seed", required_argument, NULL, 's' },
                                                 { "replay", required_argument, NULL, 'r' },
                                                 {} };
        uint64_t n_steps = 100000, seed = 0, done = 0;
        time_t began = time(NULL);
        const char *file = NULL;
        static Test test;
        int r = EXIT_SUCCESS;

        for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;)
                switch (c) {
                case 'n':
                        n_steps = strtoull(optarg, NULL, 10);
                        break;
                case 's':
                        seed = strtoull(optarg, NULL, 10);
                        break;
                case 'r':
                        file = optarg;
                        break;
                default:
                        return 2;
                }
        if (seed == 0 && getrandom(&seed, 4, 0) != 4)
                return 2;
        rng = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;

        world_init(&test.world, PROOF_DIR "/proof.json");
        test.episode = mmap(NULL, sizeof(Episode), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert(test.episode != MAP_FAILED);
        if (file)
                r = replay(&test, file);
        while (!file && r == EXIT_SUCCESS && done < n_steps) {
                const char *what;

                test.episode->n = EPISODE_STEPS;
                for (size_t i = 0; i < EPISODE_STEPS; i++)
                        test.episode->steps[i] = random_step();
                what = run_episode(&test);
                done += test.episode->at;
                if (what)
                        r = fail(&test, seed, what);
        }
        world_done(&test.world);
        (void)printf("%lu steps of seed %lu: %lu lives of a daemon, %lu died in a step; %lld s\n",
                     done, seed, test.n_lives, test.n_deaths, (long long)(time(NULL) - began));
        return r;
}
