/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which polkit actions a method of the D-Bus API takes, by who calls and whose it is. Plain data, no polkit in it: the one
 * table of all methods. A method that is not in it is refused to everybody.
 */

#include <sys/types.h>

#include "base/macro.h"

typedef enum AccessAction {
        ACCESS_LOOK,
        ACCESS_MANAGE_OWN,
        ACCESS_MANAGE_OTHERS,
        ACCESS_HAND_OUT_CONTEXTS,
        ACCESS_MANAGE_POLICY,
        ACCESS_RECLAIM,
        _ACCESS_ACTION_MAX,
} AccessAction;

/* What a method takes. */
typedef enum AccessRule {
        ACCESS_TO_SEE,     /* look */
        ACCESS_TO_MAKE,    /* manage-own: what is made belongs to who makes it */
        ACCESS_TO_CHANGE,  /* manage-own or manage-others, by whose it is */
        ACCESS_TO_DEFINE,  /* manage-own, or manage-others where there is one of somebody else's */
        ACCESS_TO_PREPARE, /* hand-out-contexts, and manage-others to replace somebody else's */
        ACCESS_TO_OPEN,    /* as for a change, and hand-out-contexts */
        ACCESS_TO_SPEAK_FOR,  /* manage-others: for VMs of all owners */
        ACCESS_TO_ADMINISTER, /* manage-policy */
        ACCESS_TO_GIVE_UP,    /* reclaim */
} AccessRule;

/* What the owner of is asked about. */
typedef enum AccessSubject {
        ACCESS_OF_HOST,        /* nobody's */
        ACCESS_OF_VM,          /* the VM in the object's path */
        ACCESS_OF_PREPARED,    /* the prepared context of the UUID that is the first argument */
        ACCESS_OF_DEFINITION,  /* the definition of the UUID that is the first argument */
        ACCESS_OF_RESERVATION, /* the reservation whose token or id is the first argument */
} AccessSubject;

typedef struct AccessMethod {
        const char *interface; /* without what is before its last dot */
        const char *member;    /* NULL: each of the interface */
        AccessRule rule;
        AccessSubject subject;
} AccessMethod;

/* The owner of what is nobody's, or not there. */
#define ACCESS_NO_OWNER ((uid_t) - 1)

/* Actions that a caller is to have, all of them. */
#define ACCESS_DEMAND_MAX 2
typedef struct AccessDemand {
        uid_t owner; /* ACCESS_NO_OWNER: of nobody */
        size_t n_actions;
        AccessAction actions[ACCESS_DEMAND_MAX];
} AccessDemand;

/* The row of a method, NULL when there is none. @interface without "org.aviommu1.". */
const AccessMethod *access_find(const char *interface, const char *member);

/* The n-th row, NULL after the last. */
const AccessMethod *access_get(size_t n);

/* What @caller is to have for @method on what is @owner's. What is not there is only seen not to be. */
AccessDemand access_decide(const AccessMethod *method, uid_t caller, uid_t owner);

/* "org.aviommu1.look" */
const char *access_action_to_id(AccessAction action);

/* What a refusal begins with: who may not do what, whose it is, and which action it takes. @size: of @ret, which is cut. */
void access_describe(const AccessDemand *demand, AccessAction action, const char *member,
                     uid_t caller, char *ret, size_t size);
