/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The time that the hook has in all. libvirt waits for a hook without a limit, and nothing else happens to the domain meanwhile: so the
 * work is done in a second thread, while the first waits for it no longer than that, and then ends the process with what was said to be
 * its last word.
 *
 * Every call in the work is limited by watch_left(), which ends a little earlier: then there is time for a better sentence.
 */

#include <pthread.h>

#include "base/macro.h"

typedef struct Watch {
        pthread_mutex_t lock;
        pthread_cond_t news;
        uint64_t start_usec, timeout_usec;
        bool is_finished;
        int exit_code;
        char last_word[512];
} Watch;

/* Starts the clock. Returns 0 or a negative errno. */
int watch_start(Watch *w, uint64_t timeout_usec);

/* Another limit, counted from the start. */
void watch_set_timeout(Watch *w, uint64_t timeout_usec);

/* What to exit with and, if it is not "", to say when the time runs out. */
void watch_set_last_word(Watch *w, int exit_code, const char *format, ...) _printf_(3, 4);

/* Microseconds that the work has left; 0: none. */
uint64_t watch_left(Watch *w);

/* The limit as it is now. */
uint64_t watch_get_timeout(Watch *w);

/* Of the work, at its end. */
void watch_finish(Watch *w, int exit_code);

/* Waits for the work. Returns its exit code; or ends the process. */
int watch_wait(Watch *w);
