/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Listens for the host wanting a function back that the daemon holds (hot unplug, driver unbind). The kernel waits with
 * the removal until every descriptor of the function is closed, so the daemon has to let go.
 */

#include "vm/vm.h"

typedef struct UnplugWatch UnplugWatch;

/* Called on the event loop, any number of times; again after a while when it returns a negative errno. */
typedef int (*UnplugWanted)(Vm *vm, const PciAddress *function);

struct UnplugWatch {
        Vm *vm;
        PciAddress function;
        int fd; /* a duplicate of the function's unplug_fd, so that a worker can close the other */
        sd_event_source *source, *retry;
        UnplugWanted wanted;
        UnplugWatch *next;
};

/* Makes the VM's watches fit its context: one for each function with an unplug_fd. Returns 0 or the first error. */
int unplug_watches_sync(Vm *vm, sd_event *event, UnplugWanted wanted);

/* Unlinks and frees. */
UnplugWatch *unplug_watch_free(UnplugWatch *watch);

/* An eventfd for ContextFunction.unplug_fd. Returns 0 or a negative errno. */
int unplug_eventfd_new(int *ret);
