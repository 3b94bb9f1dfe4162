/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An operation on a VM, from the wish to the answer. Its steps:
 *
 *      scan (worker)     refreshes what the inventory knows of the functions it names, if it names any
 *      decide (loop)     admits or refuses, charges, and writes what is wanted into op->work, a copy of the VM's context
 *      (loop)            the intent goes on record
 *      run (worker)      asks the kernel; then what is new in op->work goes into the fd store
 *      (loop)            the result of what grants something goes on record
 *      undo (worker)     only when one of these three has failed: takes back what decide added to op->work. When run has not
 *                        begun (op->ran), it comes on the loop, and asks neither the kernel nor the service manager
 *      done (loop)       op->work has become the VM's context; settles charges and state, and answers
 *      (loop)            the VM goes on record as it is now
 *
 * done is called exactly once, whatever happened before. An operation may be a larger struct that begins with this one; what
 * else that holds is let go of by `destroy`.
 *
 * A daemon that dies on the way leaves the intent, in which what is added is marked `pending`; the next one undoes it, as nobody was
 * answered. What takes something away marks it `draining`, and is finished by the next daemon.
 */

#include "base/job.h"
#include "vm/vm.h"

typedef int (*OperationDecide)(Operation *op, Problem *reterr_problem);
typedef int (*OperationRun)(Operation *op, Kernel *k, Problem *reterr_problem);
typedef int (*OperationUndo)(Operation *op, Kernel *k);
typedef void (*OperationDone)(Operation *op);

/* How the answer gets back: @r 0 or a negative errno, @problem set for refusals. Called once; may be NULL. */
typedef void (*OperationAnswer)(void *userdata, int r, const Problem *problem);

struct Operation {
        Job job; /* how it gets to a worker */
        Vm *vm;
        const char *name; /* for people: "create", "attach" */
        OperationDecide decide;
        OperationRun run;   /* NULL: nothing to ask the kernel for */
        OperationUndo undo; /* NULL: it adds nothing; a negative errno leaves op->stuck */
        OperationDone done;
        void (*destroy)(Operation *op); /* NULL: nothing more to let go of */
        bool urgent;     /* runs whatever the VM's state: making it, taking it down */
        bool takes_down; /* ends the VM: cannot be cancelled */
        bool begun;      /* its turn has come */
        bool decided;    /* decide has been called */
        bool ran;        /* the kernel has been asked */
        bool grants;     /* gives something: not without a record of it */
        bool stuck;      /* it failed, and could not be undone */

        PciAddress *scan;         /* functions to look at first */
        uint8_t (*vf_tokens)[16]; /* for each of them; all zero: none */
        size_t n_scan;
        HostScan *scanned; /* what that saw */
        const char *token; /* of a reservation, whose functions it may probe; NULL: none */

        OperationAnswer answer;
        void *userdata;
        char *caller; /* unique bus name, NULL for the daemon's own */

        /* CLOCK_MONOTONIC: until then run is repeated as long as it says -EBUSY; 0: never */
        uint64_t retry_until_usec;
        sd_event_source *retry;

        uint64_t started_usec; /* CLOCK_MONOTONIC, when it came to the head of the queue */
        atomic_bool cancelled;
        VmContext work;

        /* The leash that the VM will have when this has succeeded; LEASH_NONE: the one that it has. */
        LeashKind leash;
        int leash_pidfd;        /* the operation's own, -1: none */
        uint32_t leash_stored;  /* its number in the fd store */
        uint64_t clock_usec;    /* a VM that will have none gets so long for it; 0: no clock */
        uint64_t deadline_usec; /* CLOCK_MONOTONIC, when that will be over */

        uint64_t
                memory; /* bytes that the VM will have when this has succeeded; 0: as many as now */
        Receipt *receipt; /* charged by decide, merged into the VM's or given back by done */
        int result;
        Problem problem;
        Operation *next;
};

/* Allocates @size zeroed bytes that begin with an Operation. @caller may be NULL. Returns 0 or -ENOMEM. */
int operation_new(size_t size, Vm *vm, const char *name, const char *caller, void *ret);
Operation *operation_free(Operation *op);
DEFINE_CLEANUP(Operation, operation_free);

/* Adds a function to those scanned first. @vf_token: 16 bytes, or NULL. */
int operation_add_scan(Operation *op, const PciAddress *address, const uint8_t *vf_token);
