/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* SIGINT and SIGTERM as a descriptor to poll, for what must end in an orderly way. */

#include "base/macro.h"

/* From now on SIGINT and SIGTERM come through the returned descriptor only. Returns it, or a negative errno. */
int interrupt_open(void);

/* Takes what has come. Returns the signal's number, 0 when there was none. */
int interrupt_read(int fd);

/* Signals do again what they did before interrupt_open(). Returns -1. */
int interrupt_close(int fd);

static inline void interrupt_closep(int *fd) {
        *fd = interrupt_close(*fd);
}

/* Ends the process by signal @signo, so that a shell sees what ended it. */
_Noreturn void interrupt_die(int signo);
