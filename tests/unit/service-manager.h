/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A stand-in for the service manager: a $NOTIFY_SOCKET, served by a thread of the test, with an fd
 * store of systemd's manners. What is refused is dropped without a word, and in this order: when
 * the store is full, when the descriptor is of the same open file as a stored one (kcmp). A name
 * that is not valid becomes "stored". Unless FDPOLL=0 came with it, a descriptor goes when it hangs
 * up. FDSTOREREMOVE=1 drops all of a name. BARRIER=1 counts only when it comes alone.
 *
 * It outlives what it manages: a child that is forked enters it and finds what is stored, as after
 * a restart; what a child has sent before it died is still heard. The thread does not allocate.
 */

#include "base/macro.h"

#define SERVICE_MANAGER_FDS_MAX 256
/* Numbers from here on are not touched by service_manager_enter(). */
#define SERVICE_MANAGER_FD_MIN 300

typedef struct ServiceManager ServiceManager;

typedef struct ManagedFd {
        char name[256];
        int fd; /* the manager's own */
        bool polled;
} ManagedFd;

/* Starts a manager that keeps @max descriptors, SERVICE_MANAGER_FDS_MAX at most. One at a time. */
ServiceManager *service_manager_start(size_t max);
/* Ends it and closes what is stored; the variables of the environment go too. NULL is fine. */
ServiceManager *service_manager_stop(ServiceManager *m);

/* Sets $NOTIFY_SOCKET and $FDSTORE in this process, and passes nothing. */
void service_manager_set_environment(ServiceManager *m);

/* To be called in a child that was forked: passes it all that is stored, from descriptor 3 on, with
 * the variables that say so. What the process had at these numbers is closed: descriptors that it
 * needs are moved up before, by service_manager_move_fd(). The manager's own copies are closed in
 * the child, and so nothing but what was passed keeps anything open there. After that no other
 * call may be made in the child. */
void service_manager_enter(ServiceManager *m);

/* Moves a descriptor to a number that service_manager_enter() does not touch. Returns the new
 * one. */
int service_manager_move_fd(int fd);

/* What is stored, in the order in which it came; valid until something changes. All that was sent
 * before the call counts, unless the manager is stalled. */
const ManagedFd *service_manager_list(ServiceManager *m, size_t *ret_n);
/* The manager's descriptor of a name, -1 if there is none. */
int service_manager_find(ServiceManager *m, const char *name);

/* While it is stalled, nothing that is sent is looked at. */
void service_manager_stall(ServiceManager *m, bool stall);

/* A socket connected to the manager's, as a service has it. The caller's. */
int service_manager_connect(ServiceManager *m);

/* What has been heard since the start. */
typedef struct ManagerNews {
        unsigned n_messages, n_barriers;
        unsigned n_ready, n_stopping;
        unsigned n_refused; /* descriptors that were dropped: full, or there already */
        char status[256];   /* the last one */
} ManagerNews;

ManagerNews service_manager_get_news(ServiceManager *m);

/* Tampering. Each applies to the first of a name; false: there is none. */
bool service_manager_drop(ServiceManager *m, const char *name);
bool service_manager_rename(ServiceManager *m, const char *name, const char *to);
/* Puts in a duplicate of @fd, without the checks. */
void service_manager_insert(ServiceManager *m, const char *name, int fd);
/* Forgets all, as when the service is stopped for good. */
void service_manager_clear(ServiceManager *m);
