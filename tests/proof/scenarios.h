/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a daemon can be in the midst of when it dies: each scenario has a setup, which succeeds, and one act. A snapshot is taken before
 * the act and after it, and whatever goes wrong in between, it ends as one of these two.
 */

#include "proof/world.h"

typedef enum ActKind {
        ACT_REQUEST, /* somebody waits for the answer: after a failure all is as before; after a death as before or as after */
        ACT_TAKE,    /* likewise, but what it takes away may be gone after a failure as well */
        ACT_EVENT,   /* something happens to the daemon: in the end it is always as after */
} ActKind;

typedef struct Scenario {
        const char *name;
        ActKind kind;
        void (*setup)(World *w);
        int (*act)(World *w); /* 0 or a negative errno */
        void (*finish)(
                World *w); /* what still happens when the daemon that lived through the act has died; NULL: nothing */
        void (*restore)(World *w); /* puts the host back, in the parent; NULL: nothing to do */
        uint64_t admission_timeout_usec;
        /* Beginnings of lines that may be other than before and after when the daemon has died: what cannot be known then is taken for
         * what is worse. */
        const char *lenient[4];
        /* Likewise after a fault. */
        const char *lenient_fault[4];
} Scenario;

extern const Scenario scenarios[];
extern const size_t n_scenarios;

/* From now on scenario_matches() is lenient about what a fault may leave. */
void scenario_expect_faults(void);

/* Whether @now is as @wanted, but for lines that the scenario is lenient about. */
bool scenario_matches(const Scenario *s, const char *now, const char *wanted);

/* Whether what is in @now is as before the act or as after it (ACT_EVENT: as after). */
bool scenario_is_whole(const Scenario *s, const World *w, const char *now);

/* In a daemon. Each flunks when something is not as it should be. */

/* A whole life without trouble; what it finds before and after the act is what later ones are measured by. */
void scenario_run_dry(const Scenario *s, World *w);

/* Starts the daemon, and sets up. */
void scenario_begin(const Scenario *s, World *w);

/* Takes a snapshot of what the setup has made to @ret. */
void scenario_set_up(const Scenario *s, World *w, char ret[static SNAPSHOT_SIZE]);

/* Runs the loop until all is whole; false: it does not come to that. */
bool scenario_settle(const Scenario *s, World *w);

/* Starts the daemon on what another has left; all has to become whole. */
void scenario_recover(const Scenario *s, World *w);

/* What a daemon flunks for when it is not whole. */
#define NEITHER "it stands as neither before nor after"

/* Prints what a daemon flunked for. */
void scenario_print_failure(const World *w);
