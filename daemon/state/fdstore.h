/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The service manager's store of descriptors, which outlives the daemon. The only door to
 * sd-daemon's fd store.
 *
 * Messages to the manager have no answer, and sending one may have to wait for the manager: adding,
 * removing and the barrier belong on a worker, and may be done from any number of them at once;
 * calls about the same name come one after the other. A barrier says when the manager has seen what
 * was sent before it. A stored descriptor keeps its kernel objects alive: closing one's own frees
 * nothing until it has been removed here and the barrier has passed.
 *
 * Every descriptor is pushed with FDPOLL=0, or the manager would drop a dead process's pidfd by
 * itself. What the manager refuses (store full, or a descriptor of the same open file as one that
 * it keeps) it drops silently, so this counts, never sends more than fits, and wants each open file
 * to be added once.
 *
 * A NULL store keeps nothing, as one without a manager: adding, removing and the barrier do nothing
 * and succeed.
 */

#include "base/macro.h"

typedef struct FdStore FdStore;

typedef struct StoredFd {
        char *name;
        int fd;
} StoredFd;

/* Takes what the service manager passed at the start: $LISTEN_FDS with their names, which are
 * unset, $NOTIFY_SOCKET, and how many it keeps, $FDSTORE (absent before systemd 254: @default_max).
 * Without $NOTIFY_SOCKET, or if it keeps none, nothing is kept; adding then does nothing and
 * succeeds. Close-on-exec is set. Once in a process, before there are threads.
 * Returns 0 or a negative errno, with what was passed closed. */
int fdstore_new(uint64_t default_max, FdStore **ret);
/* Closes what fdstore_take() has not taken; the manager keeps its own. */
FdStore *fdstore_free(FdStore *store);
DEFINE_CLEANUP(FdStore, fdstore_free);

/* Hands over what was stored when the daemon started, once: the list and the descriptors are the
 * caller's. They all count as stored until they are removed by name. A name can be anything, also
 * "" or one that comes twice. */
void fdstore_take(FdStore *store, StoredFd **ret, size_t *ret_n);
void stored_fds_free(StoredFd *fds, size_t n); /* closes those that are not -1 */

/* Whether there is a manager that keeps descriptors. */
bool fdstore_is_there(const FdStore *store);

/* How many descriptors may be kept at all; UINT64_MAX without a manager. */
uint64_t fdstore_get_max(const FdStore *store);
uint64_t fdstore_get_count(FdStore *store);

/* How long fdstore_barrier() waits; 10 s at first. Before the store is used by another thread. */
void fdstore_set_barrier_timeout(FdStore *store, uint64_t usec);

/* Whether something is kept under @name. NULL: no. */
bool fdstore_has(FdStore *store, const char *name);

/* Keeps a duplicate of @fd under @name (state/fd-name.h), which must not be in use.
 * Returns 0, -EEXIST (the name is in use), -ENOSPC (full), -EBADF, -EINVAL (no name that a manager
 * takes), -ENOMEM, or what sending gave. */
int fdstore_add(FdStore *store, const char *name, int fd);

/* Keeps a duplicate of @fd under a name of its own choice (state/fd-name.h) and says which; 0 when there is no manager.
 * Returns 0 or as fdstore_add(). */
int fdstore_add_new(FdStore *store, int fd, uint32_t *ret_id);

/* Drops what is kept under the name of @id, 0: nothing. As fdstore_remove(). */
int fdstore_remove_id(FdStore *store, uint32_t id);

/* Drops all that is kept under @name. A name that is not there is fine. Returns 0, or what sending
 * gave: then it counts as kept. */
int fdstore_remove(FdStore *store, const char *name);

/* Waits until the manager has seen all of the above. Returns 0, -ETIMEDOUT, or what sending
 * gave. */
int fdstore_barrier(FdStore *store);

/* Whether the last barrier failed: what was removed before it may still be kept, and keep its kernel objects alive. */
bool fdstore_is_unsettled(FdStore *store);
