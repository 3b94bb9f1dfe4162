/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Want of memory to order. The unit tests are linked with --wrap for the allocators that the project calls, so what its own
 * objects allocate passes by here; what libraries allocate for themselves does not. Counts over all threads.
 */

#include <stdint.h>

#include "base/macro.h"

/* Lets the @nth allocation from now (1: the next) fail, and the @n_more - 1 after it. */
void oom_arm(uint64_t nth, uint64_t n_more);

/* Ends that. Returns whether any allocation has failed. */
bool oom_disarm(void);

/* Runs @statement again and again, with the first, the second... allocation in it failing, until none fails any more.
 * @nth is declared by it. */
#define OOM_SWEEP(nth, statement)                                                                  \
        for (uint64_t nth = 1, _failed = 1; _failed; nth++) {                                      \
                oom_arm(nth, 1);                                                                   \
                statement;                                                                         \
                _failed = oom_disarm();                                                            \
        }
