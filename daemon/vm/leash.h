/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a VM's life hangs on: a pidfd of its VMM, the bus name of its caller, or an agent's reports. Until one of them is set a clock runs,
 * but for a VM that its definition has started: that one waits for its VMM.
 * No process id is ever kept: it may be another process tomorrow.
 */

#include <systemd/sd-event.h>

#include "vm/vm-types.h"

typedef struct Leash Leash;

/* The leash has ended: @reason is "vmm-exited", "caller-gone" or "no-leash". Called once, from the event loop. */
typedef void (*LeashEnded)(Leash *leash, const char *reason);

struct Leash {
        LeashKind kind;
        int pidfd;
        char *caller;           /* unique bus name */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC; 0: no clock runs */
        sd_event *event;
        sd_event_source *source;
        LeashEnded ended;
};

/* @event is borrowed. */
void leash_init(Leash *leash, sd_event *event, LeashEnded ended);
void leash_done(Leash *leash);

/* Starts the clock of a VM that has no leash yet: it ends at @deadline_usec (CLOCK_MONOTONIC). Returns 0 or a negative errno. */
int leash_start_clock(Leash *leash, uint64_t deadline_usec);

/* Hangs the VM on the process behind @pidfd (duplicated). Replaces what was there, stops the clock. A process that has
 * ended already is -ESRCH and changes nothing; no pidfd is -EINVAL or -EBADF. */
int leash_set_pidfd(Leash *leash, int pidfd);

/* The same for a pidfd that is known to be one, and taken over; a process that has ended already is noticed by the loop. Returns 0 or a negative errno;
 * @pidfd is closed then. */
int leash_adopt_pidfd(Leash *leash, int pidfd);

/* Hangs the VM on a bus name; leash_name_vanished() has to be told. */
int leash_set_caller(Leash *leash, const char *caller);

/* Hangs the VM on an agent's reports, which are the owner's to weigh. */
void leash_set_agent(Leash *leash);

/* Has the VM wait for another leash without a clock. */
void leash_set_definition(Leash *leash);

/* Whether the leash is on that name; then it ends now. */
bool leash_name_vanished(Leash *leash, const char *name);

/* Whether something is known to be alive at the other end. */
static inline bool leash_holds(const Leash *leash) {
        return leash->kind != LEASH_NONE && leash->kind != LEASH_DEFINITION;
}
