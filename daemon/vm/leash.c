/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/leash.h"

#include <errno.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/fd-util.h"

void leash_init(Leash *leash, sd_event *event, LeashEnded ended) {
        *leash = (Leash){ .pidfd = -1, .event = event, .ended = ended };
}

void leash_done(Leash *leash) {
        leash->source = sd_event_source_disable_unref(leash->source);
        leash->pidfd = fd_close(leash->pidfd);
        free(leash->caller);
        leash->caller = NULL;
        leash->kind = LEASH_NONE;
        leash->deadline_usec = 0;
}

/* Ends the leash: nothing is left of it when the owner hears. */
static void leash_end(Leash *leash, const char *reason) {
        leash_done(leash);
        leash->ended(leash, reason);
}

static int on_clock(sd_event_source *s, uint64_t usec, void *userdata) {
        (void)s;
        (void)usec;
        leash_end(userdata, VM_END_NO_LEASH);
        return 0;
}

static int on_pidfd(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        (void)s;
        (void)fd;
        (void)revents;
        leash_end(userdata, VM_END_VMM_EXITED);
        return 0;
}

int leash_start_clock(Leash *leash, uint64_t deadline_usec) {
        int r;

        assert(leash->kind == LEASH_NONE && !leash->source);

        r = sd_event_add_time(leash->event, &leash->source, CLOCK_MONOTONIC, deadline_usec, 0,
                              on_clock, leash);
        if (r < 0)
                return r;

        leash->deadline_usec = deadline_usec;
        return 0;
}

int leash_adopt_pidfd(Leash *leash, int pidfd) {
        sd_event_source *source;
        int r;

        r = sd_event_add_io(leash->event, &source, pidfd, EPOLLIN, on_pidfd, leash);
        if (r < 0) {
                fd_close(pidfd);
                return r;
        }

        leash_done(leash);
        leash->kind = LEASH_PIDFD;
        leash->pidfd = pidfd;
        leash->source = source;
        return 0;
}

int leash_set_pidfd(Leash *leash, int pidfd) {
        bool ended;
        int copy, r;

        r = fd_verify_pidfd(pidfd);
        if (r < 0)
                return r;
        r = pidfd_has_ended(pidfd, &ended);
        if (r < 0)
                return r;
        if (ended)
                return -ESRCH;

        copy = fd_dup(pidfd);
        return copy < 0 ? copy : leash_adopt_pidfd(leash, copy);
}

int leash_set_caller(Leash *leash, const char *caller) {
        char *copy = strdup(caller);

        if (!copy)
                return -ENOMEM;

        leash_done(leash);
        leash->kind = LEASH_CALLER;
        leash->caller = copy;
        return 0;
}

void leash_set_agent(Leash *leash) {
        leash_done(leash);
        leash->kind = LEASH_AGENT;
}

void leash_set_definition(Leash *leash) {
        leash_done(leash);
        leash->kind = LEASH_DEFINITION;
}

bool leash_name_vanished(Leash *leash, const char *name) {
        if (leash->kind != LEASH_CALLER || !streq(leash->caller, name))
                return false;

        leash_end(leash, VM_END_CALLER_GONE);
        return true;
}
