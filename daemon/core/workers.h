/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A small pool of threads for kernel calls, which may take a minute. Jobs are run in the order of submission by whichever
 * thread is free; their `done` runs on the event loop. Who wants an order among jobs submits the next from `done`.
 */

#include <systemd/sd-event.h>

#include "base/job.h"
#include "base/macro.h"

typedef struct Workers Workers;

/* Starts @n_threads threads. Returns 0 or a negative errno. */
int workers_new(sd_event *event, unsigned n_threads, Workers **ret);

/* Waits for the jobs that run, runs the `done` of all that were finished, and stops the threads. Jobs that had not
 * begun get their `done` without their `run`. */
Workers *workers_free(Workers *workers);
DEFINE_CLEANUP(Workers, workers_free);

/* Hands over @job until its `done`. Cannot fail. */
void workers_submit(Workers *workers, Job *job);

/* Jobs submitted whose `done` has not run. */
size_t workers_get_pending(const Workers *workers);
