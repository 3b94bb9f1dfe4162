/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A piece of work for a thread of the pool, embedded in whatever it works on. */

typedef struct Job Job;

struct Job {
        void (*run)(Job *job); /* on a worker: touches nothing that the loop touches */
        void (*done)(
                Job *job); /* on the loop, exactly once; without run when the pool stops first */
        Job *next;
};
