/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The steps at which a daemon can die or be failed: each kernel call, each write of a record (making the file, writing,
 * renaming, removing) and each message to the service manager, before and after. The programs are linked with --wrap for the
 * calls that these are made of; kernel calls come by the simulated kernel's hook.
 *
 * Of a call that is made many times in a row, as a sweep over object ids does, the first few count.
 *
 * Time passes faster here: what waits for a while waits for a fraction of it.
 */

#include <stdint.h>

#include "base/macro.h"
#include "kernel/sim/sim.h"

/* With this code a process ends that died at a step. */
#define STEPS_DEATH 77

#define STEPS_NAME_SIZE 64

typedef enum StepClass {
        STEP_RECORD = 1 << 0, /* of the directory of records */
        STEP_NOTIFY = 1 << 1, /* of the service manager */
        STEP_KERNEL = 1 << 2,
} StepClass;

/* To be set as the simulated kernel's hook, with the Kernel itself as userdata. */
void steps_hook(void *userdata, const char *op, bool before);

/* From here on steps are counted. At the @nth (1: the next; 0: never) the process ends at once, and leaves the step's name in
 * @name (memory that others see). */
void steps_begin(uint64_t nth, char name[static STEPS_NAME_SIZE]);

/* From here on the @nth call of @class fails with @error, without doing anything. Reading a record does not count, nor does a kernel call
 * that cannot fail (taking a mapping off). */
void steps_fail(StepClass class, uint64_t nth, int error);

/* Of one kernel call at most so many can fail after a steps_fail(), the first ones; at first all of them. */
void steps_limit_calls(unsigned max);

/* Waits until the service manager has heard all that was sent; no step. */
void steps_barrier(void);

/* How many calls were beyond the limit since the last steps_fail(). */
uint64_t steps_get_beyond(void);

/* Ends both. Returns how many steps there were; *ret_failed: whether a call has failed. */
uint64_t steps_end(bool *ret_failed);
