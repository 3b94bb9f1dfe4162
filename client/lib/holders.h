/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who has a device node open: the processes' descriptors in /proc, and whether each is one that aviommud gave out. It is when it
 * stands for the same open file as one that the daemon, or the service manager for it, has.
 */

#include <sys/types.h>

#include "base/macro.h"

typedef enum HolderKind {
        HOLDER_DAEMON,
        HOLDER_SERVICE_MANAGER, /* keeps descriptors for the daemon */
        HOLDER_GRANTED,         /* has what it was given, and nothing else */
        HOLDER_OTHER,           /* has opened it otherwise: what it takes there is in no account */
        HOLDER_UNKNOWN,         /* its descriptors could not be compared */
} HolderKind;

typedef struct Holder {
        pid_t pid;
        uid_t uid;
        char command[16];
        unsigned n_open, n_granted, n_unclear; /* descriptors of the device; of these */
        HolderKind kind;
} Holder;

typedef struct HolderScan {
        Holder *items; /* by their process ids */
        size_t n;
        size_t n_unread; /* processes whose descriptors may not be looked at */
} HolderScan;

/* Decides what a process is from its counts. @daemon: 0 when it does not run. */
HolderKind holder_decide(const Holder *holder, pid_t daemon, pid_t service_manager);
const char *holder_kind_to_string(HolderKind kind);

/* That of the system's service manager, which has the daemon's fd store. */
#define HOLDERS_SERVICE_MANAGER 1

/* What is looked for, and where. */
typedef struct HolderScope {
        int proc_fd;      /* /proc; of a tree that was copied from another host as well */
        const char *node; /* such as "/dev/iommu" */
        dev_t device;     /* its numbers; 0: not known, only what has it under this name is found */
        pid_t daemon, service_manager; /* 0: it does not run, or not in this PID namespace */
} HolderScope;

/* Looks at all processes there. One that ends meanwhile is left out. Returns 0 or a negative errno; holder_scan_done() is due in
 * either case, @ret has to be zeroed. */
int holders_scan(const HolderScope *scope, HolderScan *ret);
void holder_scan_done(HolderScan *s);
