/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the Manager's Plan answers to a request. */

#include "ctl/ctl.h"
#include "lib/reply.h"

/* a(sssttt): a quota or reserve of the configuration that applies */
typedef struct PlanLimit {
        const char *section, *key, *scope;
        uint64_t limit, used, wanted;
} PlanLimit;

typedef struct PlanLimitList {
        PlanLimit *items;
        size_t n;
} PlanLimitList;

typedef struct Plan {
        sd_bus_message *message; /* the strings are in it */
        bool is_admitted;
        const char *error, *text, *tier, *handover;
        uint64_t wanted, available;
        VmFunctionList functions;
        StringList viommus;
        ChargeList charges;
        PlanLimitList limits;
} Plan;

/* Calls CreateVm, Plan and the like: a UUID and ctl->request. Returns 0 or a negative errno (failure set). */
int ctl_call_with_request(Ctl *ctl, const char *member, const CallOptions *options,
                          sd_bus_message **ret_reply);

/* Asks what CreateVm of ctl->request would do. The caller gives *ret back with plan_done(). Returns 0, also for a refusal, or a
 * negative errno (failure set). */
int plan_ask(Ctl *ctl, const char *uuid, Plan *ret);
void plan_done(Plan *p);

/* The plan, as a table or as JSON. */
void plan_show(const Plan *p, const char *uuid, Output *o);

/* "NoFreeInstance" of a plan that is refused. */
const char *plan_error(const Plan *p);

/* Makes the refusal the failure. Returns a negative errno. */
int plan_refused(Ctl *ctl, const Plan *p, const char *uuid);
