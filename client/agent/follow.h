/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is to be done for one domain, from what is known of it: pure. Events change what is known, follow_next() says what comes
 * next, and whoever carries that out says first that it is under way and then how it went.
 *
 * The context. Libvirt gives QEMU whatever iommufd is associated with the domain, and the same one again at the next start. A
 * context that was used, or of which aviommud may know nothing any more, is therefore replaced by a dead end before aviommud is
 * asked for another: whichever start comes in between fails, and none gets an iommufd that is not the one that aviommud would
 * take over. One that is not wanted any more is replaced likewise, before aviommud lets go of it.
 *
 * The functions. What the running domain has is compared with what aviommud charges for it when one of the two may have changed.
 */

#include "base/macro.h"

/* What libvirt has of ours for the domain, on the connection that there is. */
typedef enum FollowContext {
        FOLLOW_NONE,
        FOLLOW_DEAD,  /* a dead end */
        FOLLOW_FRESH, /* good for one start */
        FOLLOW_SPENT, /* used, or not known to be good */
        _FOLLOW_CONTEXT_MAX,
} FollowContext;

typedef enum FollowAction {
        FOLLOW_NOTHING,
        FOLLOW_RETIRE,    /* associate the dead end */
        FOLLOW_PREPARE,   /* ask aviommud for a context and associate it */
        FOLLOW_ASSOCIATE, /* the second half of it */
        FOLLOW_START,
        FOLLOW_COMPARE, /* what the domain has with what is charged */
        FOLLOW_FORGET,  /* have aviommud let go of a context that was used or is not wanted */
        _FOLLOW_ACTION_MAX,
} FollowAction;

typedef struct FollowWorld {
        bool libvirt;       /* it can be reached */
        bool aviommud;      /* it is on the bus */
        bool can_associate; /* this libvirt takes file descriptors for domains */
} FollowWorld;

typedef struct Follow {
        bool running, persistent;
        bool wants_context; /* the next start needs one */
        bool to_start;

        FollowContext context;
        FollowAction under_way; /* RETIRE, PREPARE, ASSOCIATE, START, or NOTHING */
        bool spoiled;           /* what is being prepared will not be good when it comes */
        bool admitted; /* aviommud has a VM of it, and prepares nothing as long as it has */
        bool refused;  /* something failed: again at the next report */
        bool prepared; /* aviommud may keep one for it that no VM has taken over */
        bool leftover; /* and it runs on that one, or so it seems */

        bool functions_known;
        bool changed; /* the functions may be others than those that are charged */
        bool comparing;
        bool unsettled; /* they are others: again at the next report */
} Follow;

FollowAction follow_next(const Follow *f, const FollowWorld *world);

/* ---- what happens ---- */

/* What libvirt says of the domain. @changed: its functions may have changed. */
void follow_facts(Follow *f, bool running, bool persistent, bool wants_context);
void follow_functions(Follow *f, bool known, bool changed);
void follow_started(Follow *f);
void follow_stopped(Follow *f);

/* Libvirt has forgotten it, and what was associated with it. One that it has under that UUID afterwards is another. */
void follow_undefined(Follow *f);

/* Associations go with the connection; what is under way over it comes to nothing. */
void follow_libvirt_lost(Follow *f);

/* aviommud is on the bus, and it is another one than before. */
void follow_aviommud_came(Follow *f);

void follow_vm_added(Follow *f);

/* @ended: because it runs no more, which libvirt may tell later. */
void follow_vm_removed(Follow *f, bool ended);

/* The time has come to try again what was refused. */
void follow_again(Follow *f);

/* ---- what is done about it ---- */

/* @action, which follow_next() has said, is under way. */
void follow_begin(Follow *f, FollowAction action);

typedef enum FollowPrepared {
        FOLLOW_PREPARED,
        FOLLOW_PREPARED_VM_EXISTS,
        FOLLOW_PREPARED_REFUSED,
} FollowPrepared;

/* aviommud has answered. Returns whether what it gave is to be associated, which is under way then. */
bool follow_prepared(Follow *f, FollowPrepared answer);

/* Libvirt has answered to ASSOCIATE, RETIRE or START. */
void follow_done(Follow *f, bool ok);

/* The answer to FORGET. @heard: it is aviommud's. */
void follow_forgotten(Follow *f, bool heard);

void follow_compared(Follow *f, bool settled);
