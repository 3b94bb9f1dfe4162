/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who may do what: asks the bus for the caller's uid and polkit for the rest, both without waiting.
 *
 * The uid and the groups are those that the bus daemon saw when the caller connected, never ones read from /proc (sd-bus calls such
 * credentials augmented), and polkit is asked about the connection, not about a process. uid 0 passes, and so
 * does the daemon's own uid (which matters only to aviommud-sim, run by a plain user). Where polkit is not there, nobody
 * else passes. What waits for polkit is bounded, for each user and in all; uid 0 never waits for it.
 */

#include <systemd/sd-bus.h>

#include "base/problem.h"
#include "policy/access.h"

typedef struct Authz Authz;

/* Who calls. Of very many groups the first ones only. */
#define AUTHZ_GROUPS_MAX 1024
typedef struct AuthzCaller {
        uid_t uid; /* (uid_t)-1: not known */
        gid_t *groups;
        size_t n_groups;
} AuthzCaller;

/* The verdict: @r is 0, -EACCES or that of LimitsExceeded with @problem, or a negative errno. Called once, from the event loop.
 * @caller and its groups live until it returns. */
typedef void (*AuthzDone)(void *userdata, int r, const AuthzCaller *caller, const Problem *problem);

int authz_new(sd_bus *bus, Authz **ret);
Authz *authz_free(Authz *authz);
DEFINE_CLEANUP(Authz, authz_free);

/* Which actions the sender is to have, now that his uid is known. Called once, and not for those who pass without polkit. */
typedef AccessDemand (*AuthzChoose)(void *userdata, uid_t uid);

/* Asks whether the sender of @m has every action that @choose names. Whether polkit may ask the user is the message's
 * allow-interactive flag. Returns 0 when @done will be or has been called, else a negative errno. */
int authz_check(Authz *authz, sd_bus_message *m, AuthzChoose choose, AuthzDone done,
                void *userdata);

/* The bus name has vanished: what is known of it is forgotten. */
void authz_name_vanished(Authz *authz, const char *name);
