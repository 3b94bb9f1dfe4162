/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the hook is to do for an operation of libvirt's, and whether the domain may go on after what came of it: pure. Documented in
 * aviommu-libvirt-hook(8).
 */

#include "domain/config.h"

typedef enum HookTask {
        HOOK_NOTHING,
        HOOK_ASK, /* it may come to run here: refuse what cannot be admitted, and change nothing */
        HOOK_ADMIT, /* before it runs: admit it, or refuse it */
        HOOK_COMPLETE, /* libvirt knows by now what it has: admit what was not there before, or refuse it */
        HOOK_LEASH,     /* it runs: its life hangs on its process */
        HOOK_TAKE_BACK, /* its process is gone */
        HOOK_RELEASE,   /* and so is all that libvirt had for it */
        _HOOK_TASK_MAX,
} HookTask;

/* Whatever is not known here is HOOK_NOTHING: libvirt has more operations with every year. */
HookTask hook_task(const char *operation, const char *suboperation);

static inline bool hook_task_may_refuse(HookTask task) {
        return task == HOOK_ASK || task == HOOK_ADMIT || task == HOOK_COMPLETE;
}

typedef enum HookOutcome {
        HOOK_DONE,       /* or there was nothing to do */
        HOOK_REFUSED,    /* nothing that it asks for can be had; or it may not run */
        HOOK_NO_CONTEXT, /* what libvirt has for it, if anything, was used already */
        HOOK_DOWN,       /* no answer from the daemon */
        HOOK_DENIED,     /* this user may not have one */
        HOOK_UNREADABLE, /* the domain, its request or the configuration cannot be read */
        _HOOK_OUTCOME_MAX,
} HookOutcome;

typedef enum HookAsks {
        HOOK_ASKS_NOT,
        HOOK_ASKS,
        HOOK_ASKS_UNKNOWN, /* counts as asking */
        _HOOK_ASKS_MAX,
} HookAsks;

typedef struct HookCase {
        HookTask task;
        HookOutcome outcome;
        HookAsks asks;
        bool runs_otherwise; /* the domain says so */
        const LibvirtConfig *config;
} HookCase;

/* Documented, and libvirt goes by them. */
enum {
        HOOK_EXIT_RUN = 0,
        HOOK_EXIT_REFUSED = 1,
        HOOK_EXIT_USAGE = 2, /* never when called as libvirt does */
};

/* Only what has not begun yet is ever refused: libvirt kills a running domain when its hook fails. */
int hook_judge(const HookCase *c);
