/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/follow.h"

FollowAction follow_next(const Follow *f, const FollowWorld *world) {
        if (!world->libvirt)
                return FOLLOW_NOTHING;
        if (f->running && f->leftover && world->aviommud)
                return FOLLOW_FORGET;
        if (f->running)
                return f->changed && f->functions_known && !f->comparing && world->aviommud
                               ? FOLLOW_COMPARE
                               : FOLLOW_NOTHING;
        if (f->under_way != FOLLOW_NOTHING || f->refused || !world->can_associate)
                return FOLLOW_NOTHING;

        /* Not while it is being started: QEMU is to get what is associated now. */
        if (f->context == FOLLOW_SPENT)
                return f->admitted ? FOLLOW_NOTHING : FOLLOW_RETIRE;
        if (!f->wants_context || !f->persistent)
                return f->context == FOLLOW_FRESH       ? FOLLOW_RETIRE
                       : f->prepared && world->aviommud ? FOLLOW_FORGET
                                                        : FOLLOW_NOTHING;
        if (f->context == FOLLOW_FRESH)
                return f->to_start ? FOLLOW_START : FOLLOW_NOTHING;
        return world->aviommud && !f->admitted ? FOLLOW_PREPARE : FOLLOW_NOTHING;
}

/* What is associated, or about to be, is good no more. */
static void spoil(Follow *f) {
        if (f->context == FOLLOW_FRESH)
                f->context = FOLLOW_SPENT;
        if (f->under_way == FOLLOW_PREPARE || f->under_way == FOLLOW_ASSOCIATE)
                f->spoiled = true;
}

void follow_started(Follow *f) {
        if (!f->running) {
                f->leftover = f->context == FOLLOW_FRESH;
                spoil(f);
        }
        f->running = true;
        f->to_start = false;
        f->refused = false;
}

void follow_stopped(Follow *f) {
        spoil(f);
        f->running = false;
        f->leftover = false; /* another takes its place */
        f->changed = false;
        f->unsettled = false;
        f->functions_known = false;
        f->refused = false;
        /* If its VM is there still, aviommud says so when it is asked for a context. */
        f->admitted = false;
}

/* A dead end first, as for whatever is not known to be good: a domain that was renamed is told of like this, too, and has what it had. */
void follow_undefined(Follow *f) {
        spoil(f);
}

void follow_facts(Follow *f, bool running, bool persistent, bool wants_context) {
        if (running && !f->running)
                follow_started(f);
        else if (!running && f->running)
                follow_stopped(f);
        f->persistent = persistent;
        f->wants_context = wants_context;
}

void follow_functions(Follow *f, bool known, bool changed) {
        f->functions_known = known;
        f->changed |= known && changed;
}

void follow_libvirt_lost(Follow *f) {
        f->context = FOLLOW_NONE;
        if (f->under_way == FOLLOW_PREPARE)
                f->spoiled = true; /* aviommud's answer is still to come */
        else {
                f->under_way = FOLLOW_NOTHING;
                f->spoiled = false;
        }
        f->refused = false;
        f->functions_known = false;
}

void follow_aviommud_came(Follow *f) {
        spoil(f);
        f->admitted = false;
        f->refused = false;
        f->changed |= f->running;
}

void follow_vm_added(Follow *f) {
        spoil(f);
        f->prepared = false;
        f->leftover = false;
        f->admitted = true;
        f->changed |= f->running;
}

void follow_vm_removed(Follow *f, bool ended) {
        f->admitted = false;
        f->refused = false;
        f->changed |= f->running && !ended;
}

void follow_again(Follow *f) {
        f->refused = false;
        if (f->unsettled) {
                f->unsettled = false;
                f->changed = true;
        }
}

void follow_begin(Follow *f, FollowAction action) {
        assert(action != FOLLOW_NOTHING && action != FOLLOW_ASSOCIATE);

        if (action == FOLLOW_COMPARE) {
                assert(!f->comparing);
                f->comparing = true;
                f->changed = false;
                return;
        }
        if (action == FOLLOW_FORGET) {
                f->leftover = f->prepared = false;
                return;
        }
        assert(f->under_way == FOLLOW_NOTHING);
        f->under_way = action;
        f->spoiled = false;
        if (action == FOLLOW_START)
                f->to_start = false; /* once */
}

bool follow_prepared(Follow *f, FollowPrepared answer) {
        bool spoiled = f->spoiled;

        assert(f->under_way == FOLLOW_PREPARE);

        f->under_way = FOLLOW_NOTHING;
        f->spoiled = false;
        if (answer != FOLLOW_PREPARED) {
                /* A VM that exists may only be in the making: when that fails, nobody is told that it is no more. */
                f->refused = !spoiled;
                return false;
        }
        f->prepared = true;
        if (spoiled)
                return false;
        f->under_way = FOLLOW_ASSOCIATE;
        return true;
}

void follow_done(Follow *f, bool ok) {
        FollowAction action = f->under_way;
        bool spoiled = f->spoiled;

        assert(action != FOLLOW_NOTHING && action != FOLLOW_PREPARE);

        f->under_way = FOLLOW_NOTHING;
        f->spoiled = false;
        if (action == FOLLOW_START)
                return; /* its event says that it runs; the reason why not has been said */
        if (!ok) {
                f->refused = true;
                return;
        }
        if (action == FOLLOW_RETIRE)
                f->context = FOLLOW_DEAD;
        else
                f->context = spoiled ? FOLLOW_SPENT : FOLLOW_FRESH;
}

void follow_forgotten(Follow *f, bool heard) {
        f->prepared |= !heard;
}

void follow_compared(Follow *f, bool settled) {
        f->comparing = false;
        f->unsettled = !settled && f->running;
}
