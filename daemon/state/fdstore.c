/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/fdstore.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "base/fd-util.h"
#include "base/hash.h"
#include "state/fd-name.h"

#define BARRIER_TIMEOUT_USEC UINT64_C(10000000)

/* The longest name that the service manager takes. */
#define NAME_MAX_LENGTH 255

/* What the manager keeps under one name. One descriptor; more only if the manager says so at the
 * start. */
typedef struct StoredName {
        size_t n;
        UT_hash_handle hh;
        char name[];
} StoredName;

/* The counters and names are behind the mutex, which is never held while a message is sent. */
struct FdStore {
        bool is_there;
        uint64_t max;
        uint64_t barrier_timeout_usec;
        StoredFd *found; /* until fdstore_take() */
        size_t n_found;
        pthread_mutex_t mutex;
        StoredName *names;
        uint64_t count;
        uint32_t last_id;      /* given last by fdstore_add_new(): others come first */
        atomic_bool unsettled; /* the last barrier failed */
};

/* ---- the names, with the mutex held ---- */

static StoredName *name_find(FdStore *store, const char *name) {
        StoredName *n;

        HASH_FIND_STR(store->names, name, n);
        return n;
}

static int name_add(FdStore *store, const char *name) {
        size_t length = strlen(name);
        StoredName *n = name_find(store, name);

        if (!n) {
                n = calloc(1, sizeof(StoredName) + length + 1);
                if (!n)
                        return -ENOMEM;
                memcpy(n->name, name, length + 1);
                HASH_ADD_STR(store->names, name, n);
                if (!n->hh.tbl) {
                        free(n);
                        return -ENOMEM;
                }
        }
        n->n++;
        store->count++;
        return 0;
}

/* All that is kept under it. A name that is not there is fine. */
static void name_drop(FdStore *store, const char *name) {
        StoredName *n = name_find(store, name);

        if (!n)
                return;
        store->count -= n->n;
        HASH_DEL(store->names, n);
        free(n);
}

/* ---- what was passed at the start ---- */

/* $FDSTORE, or @otherwise if it is not there or no number. */
static uint64_t max_from_environment(uint64_t otherwise) {
        const char *s = getenv("FDSTORE");
        unsigned long long v;
        char *end;

        if (!s || *s < '0' || *s > '9')
                return otherwise;
        errno = 0;
        v = strtoull(s, &end, 10);
        return errno != 0 || *end ? otherwise : v;
}

/* sd_listen_fds_with_names() gives nothing if there are not as many names as descriptors, and drops
 * backslashes. Here each descriptor comes out, with its name as it is; one that has none is of the
 * name "". */
static int take_listen_fds(FdStore *store) {
        const char *e = getenv("LISTEN_FDNAMES");
        _cleanup_free_ char *names = e ? strdup(e) : NULL;
        char *rest = names;
        int n, r = 0;

        if (e && !names)
                return -ENOMEM;
        n = sd_listen_fds(true); /* sets close-on-exec */
        if (n <= 0)
                return n;

        store->found = new0(StoredFd, (size_t)n);
        for (int i = 0; i < n; i++) {
                const char *name = strempty(strsep(&rest, ":"));
                int fd = SD_LISTEN_FDS_START + i;

                if (!store->found) {
                        (void)fd_close(fd);
                        continue;
                }
                store->found[store->n_found++] = (StoredFd){ .name = strdup(name), .fd = fd };
                RET_GATHER(r, store->found[i].name ? name_add(store, name) : -ENOMEM);
        }
        return store->found ? r : -ENOMEM;
}

int fdstore_new(uint64_t default_max, FdStore **ret) {
        _cleanup_(fdstore_freep) FdStore *store = new0(FdStore, 1);
        const char *socket = getenv("NOTIFY_SOCKET");
        int r;

        if (!store)
                return -ENOMEM;
        (void)pthread_mutex_init(&store->mutex, NULL);
        store->barrier_timeout_usec = BARRIER_TIMEOUT_USEC;
        store->max = socket ? MIN(max_from_environment(default_max), FD_NAMES_MAX) : 0;
        store->is_there = store->max > 0;

        r = take_listen_fds(store);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(store);
        return 0;
}

FdStore *fdstore_free(FdStore *store) {
        StoredName *n, *next;

        if (!store)
                return NULL;

        HASH_ITER (hh, store->names, n, next) {
                HASH_DEL(store->names, n);
                free(n);
        }
        stored_fds_free(store->found, store->n_found);
        (void)pthread_mutex_destroy(&store->mutex);
        free(store);
        return NULL;
}

void fdstore_take(FdStore *store, StoredFd **ret, size_t *ret_n) {
        *ret = TAKE_PTR(store->found);
        *ret_n = store->n_found;
        store->n_found = 0;
}

void stored_fds_free(StoredFd *fds, size_t n) {
        for (size_t i = 0; i < n; i++) {
                (void)fd_close(fds[i].fd);
                free(fds[i].name);
        }
        free(fds);
}

/* ---- the manager ---- */

bool fdstore_is_there(const FdStore *store) {
        return store && store->is_there;
}

uint64_t fdstore_get_max(const FdStore *store) {
        return fdstore_is_there(store) ? store->max : UINT64_MAX;
}

uint64_t fdstore_get_count(FdStore *store) {
        uint64_t count;

        if (!store)
                return 0;

        (void)pthread_mutex_lock(&store->mutex);
        count = store->count;
        (void)pthread_mutex_unlock(&store->mutex);
        return count;
}

void fdstore_set_barrier_timeout(FdStore *store, uint64_t usec) {
        store->barrier_timeout_usec = usec;
}

/* Whether the manager takes a name; another one would end the message early or say something else
 * in it. */
static bool name_is_valid(const char *name) {
        size_t n = 0;

        for (; name[n]; n++)
                if (name[n] < ' ' || name[n] > '~' || name[n] == ':')
                        return false;
        return n > 0 && n <= NAME_MAX_LENGTH;
}

/* Sends @what about @name, with @fd if that is one. */
static int send_about(const char *what, const char *name, int fd) {
        char message[sizeof("FDSTOREREMOVE=1\nFDNAME=\nFDPOLL=0") + NAME_MAX_LENGTH];
        int r;

        (void)snprintf(message, sizeof(message), "%s\nFDNAME=%s", what, name);
        r = sd_pid_notify_with_fds(0, false, message, &fd, fd >= 0);
        return r < 0 ? r : 0;
}

bool fdstore_has(FdStore *store, const char *name) {
        bool known;

        if (!store)
                return false;

        (void)pthread_mutex_lock(&store->mutex);
        known = name_find(store, name);
        (void)pthread_mutex_unlock(&store->mutex);
        return known;
}

static int reserve(FdStore *store, const char *name) {
        int r;

        (void)pthread_mutex_lock(&store->mutex);
        if (name_find(store, name))
                r = -EEXIST;
        else if (store->count >= store->max)
                r = -ENOSPC;
        else
                r = name_add(store, name);
        (void)pthread_mutex_unlock(&store->mutex);
        return r;
}

static void give_back(FdStore *store, const char *name) {
        (void)pthread_mutex_lock(&store->mutex);
        name_drop(store, name);
        (void)pthread_mutex_unlock(&store->mutex);
}

int fdstore_add(FdStore *store, const char *name, int fd) {
        int r;

        if (!fdstore_is_there(store))
                return 0;
        if (fd < 0)
                return -EBADF;
        if (!name_is_valid(name))
                return -EINVAL;

        /* The place is taken before the message is sent, so that many threads do not send more than
         * fits. */
        r = reserve(store, name);
        if (r < 0)
                return r;
        r = send_about("FDSTORE=1\nFDPOLL=0", name, fd);
        if (r < 0)
                give_back(store, name);
        return r;
}

/* A number whose name is free, with its name taken. Not one of those that were given a moment ago. */
static int reserve_new(FdStore *store, uint32_t *ret_id) {
        int r = -ENOSPC;

        (void)pthread_mutex_lock(&store->mutex);
        for (uint32_t i = 0; store->count < store->max && i < FD_ID_MAX; i++) {
                uint32_t id = (store->last_id + i) % FD_ID_MAX + 1;

                if (name_find(store, FD_NAME_STRING(id)))
                        continue;
                r = name_add(store, FD_NAME_STRING(id));
                store->last_id = id;
                *ret_id = id;
                break;
        }
        (void)pthread_mutex_unlock(&store->mutex);
        return r;
}

int fdstore_add_new(FdStore *store, int fd, uint32_t *ret_id) {
        uint32_t id;
        int r;

        *ret_id = 0;
        if (!fdstore_is_there(store))
                return 0;
        if (fd < 0)
                return -EBADF;

        r = reserve_new(store, &id);
        if (r < 0)
                return r;
        r = send_about("FDSTORE=1\nFDPOLL=0", FD_NAME_STRING(id), fd);
        if (r < 0) {
                give_back(store, FD_NAME_STRING(id));
                return r;
        }
        *ret_id = id;
        return 0;
}

int fdstore_remove_id(FdStore *store, uint32_t id) {
        return id == 0 ? 0 : fdstore_remove(store, FD_NAME_STRING(id));
}

int fdstore_remove(FdStore *store, const char *name) {
        int r = 0;

        if (!fdstore_has(store, name))
                return 0;

        if (name_is_valid(name))
                r = send_about("FDSTOREREMOVE=1", name, -1);
        /* Only now: before it is sent, the place in the manager is not free. */
        if (r >= 0)
                give_back(store, name);
        return r;
}

int fdstore_barrier(FdStore *store) {
        int r;

        if (!fdstore_is_there(store))
                return 0;

        do
                r = sd_notify_barrier(false, store->barrier_timeout_usec);
        while (r == -EINTR);
        atomic_store(&store->unsettled, r < 0);
        return r < 0 ? r : 0;
}

bool fdstore_is_unsettled(FdStore *store) {
        return store && atomic_load(&store->unsettled);
}
