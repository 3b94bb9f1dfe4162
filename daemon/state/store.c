/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd-util.h"

#define DAMAGED "damaged"

/* "." in front, the longest kind, "-", 32 digits and the final 0. */
#define NAME_SIZE sizeof(".reservation-00112233445566778899aabbccddeeff")

struct StateStore {
        char *path;
        int fd;
        uid_t uid;          /* whose everything in it has to be */
        sd_id128_t boot_id; /* null: what is in it belongs to no boot */
        bool lasting;
};

const char *record_kind_to_string(RecordKind kind) {
        switch (kind) {
        case RECORD_VM:
                return "vm";
        case RECORD_PREPARED:
                return "prepared";
        case RECORD_LEVEL:
                return "level";
        case RECORD_BUS:
                return "bus";
        case RECORD_STARTED:
                return "started";
        case RECORD_DEFINITION:
                return "definition";
        default:
                return "reservation";
        }
}

/* ---- names ---- */

/* Writes the temporary name of a record; its own starts at the second byte. */
static const char *name_format(RecordKind kind, sd_id128_t id, char buf[static NAME_SIZE]) {
        (void)snprintf(buf, NAME_SIZE, ".%s-%s", record_kind_to_string(kind),
                       SD_ID128_TO_STRING(id));
        return buf;
}

/* Exactly what name_format() writes, from its second byte on. */
static bool name_parse(const char *name, RecordKind *ret_kind, sd_id128_t *ret_id) {
        const char *dash = strchr(name, '-');
        char again[NAME_SIZE];

        if (!dash || sd_id128_from_string(dash + 1, ret_id) < 0)
                return false;
        for (*ret_kind = 0; *ret_kind < _RECORD_KIND_MAX; (*ret_kind)++)
                if (streq(name_format(*ret_kind, *ret_id, again) + 1, name))
                        return true;
        return false;
}

/* ---- the directory ---- */

static int store_open(const char *path, bool lasting, StateStore **ret) {
        _cleanup_(state_store_freep) StateStore *store = new0(StateStore, 1);
        struct stat st;
        int r;

        if (!store)
                return -ENOMEM;
        store->fd = -1;
        store->lasting = lasting;

        store->path = strdup(path);
        if (!store->path)
                return -ENOMEM;
        r = lasting ? 0 : sd_id128_get_boot(&store->boot_id);
        if (r < 0)
                return r;
        store->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (store->fd < 0 || fstat(store->fd, &st) < 0)
                return -errno;
        store->uid = geteuid();
        if (st.st_uid != store->uid || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
                return -EPERM;
        /* A second daemon would take the first one's VMs for its own, and let go of them. */
        if (flock(store->fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EBUSY : -errno;

        *ret = TAKE_PTR(store);
        return 0;
}

int state_store_open(const char *path, StateStore **ret) {
        return store_open(path, false, ret);
}

int state_store_open_lasting(const char *path, StateStore **ret) {
        return store_open(path, true, ret);
}

StateStore *state_store_free(StateStore *store) {
        if (!store)
                return NULL;

        (void)fd_close(store->fd);
        free(store->path);
        free(store);
        return NULL;
}

const char *state_store_get_path(const StateStore *store) {
        return store->path;
}

/* ---- writing ---- */

/* Makes the temporary file. One that is left over may be anything, so it is never written to. */
static int create(const StateStore *store, const char *name) {
        const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
        int fd;

        fd = openat(store->fd, name, flags, 0600);
        if (fd < 0 && errno == EEXIST && unlinkat(store->fd, name, 0) >= 0)
                fd = openat(store->fd, name, flags, 0600);
        return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const char *p, size_t length) {
        while (length > 0) {
                ssize_t n = write(fd, p, length);

                if (n < 0)
                        return -errno;
                p += n;
                length -= (size_t)n;
        }
        return 0;
}

/* What a lasting store has been told is on the disk. */
static int synchronize(const StateStore *store, int fd) {
        return store->lasting && fsync(fd) < 0 ? -errno : 0;
}

int state_store_write(StateStore *store, RecordKind kind, sd_id128_t id, const char *body) {
        char buf[NAME_SIZE];
        const char *name = name_format(kind, id, buf);
        _cleanup_free_ char *text = NULL;
        size_t length;
        int fd, r;

        r = record_seal(store->boot_id, body, &text, &length);
        if (r < 0)
                return r;
        if (length > RECORD_SIZE_MAX)
                return -EFBIG;

        fd = create(store, name);
        if (fd < 0)
                return fd;
        r = write_all(fd, text, length);
        if (r >= 0)
                r = synchronize(store, fd);
        (void)fd_close(fd);
        if (r >= 0 && renameat(store->fd, name, store->fd, name + 1) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(store->fd, name, 0);
                return r;
        }
        return synchronize(store, store->fd);
}

int state_store_remove(StateStore *store, RecordKind kind, sd_id128_t id) {
        char buf[NAME_SIZE];

        if (unlinkat(store->fd, name_format(kind, id, buf) + 1, 0) < 0 && errno != ENOENT)
                return -errno;
        return synchronize(store, store->fd);
}

int state_store_set_aside(StateStore *store, RecordKind kind, sd_id128_t id) {
        char buf[NAME_SIZE];
        const char *name = name_format(kind, id, buf) + 1;
        _cleanup_close_ int fd = -1;

        if (mkdirat(store->fd, DAMAGED, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(store->fd, DAMAGED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (renameat(store->fd, name, fd, name) >= 0)
                return 0;
        /* A directory does not take the place of a file, nor a file that of a directory. */
        if (errno != EISDIR && errno != ENOTDIR)
                return -errno;
        if (unlinkat(fd, name, errno == EISDIR ? AT_REMOVEDIR : 0) < 0 ||
            renameat(store->fd, name, fd, name) < 0)
                return -errno;
        return 0;
}

/* ---- reading ---- */

typedef struct Found {
        RecordKind kind;
        sd_id128_t id;
} Found;

typedef struct FoundList {
        Found *items;
        size_t n;
} FoundList;

static void found_list_done(FoundList *list) {
        free(list->items);
}

static int found_list_append(FoundList *list, RecordKind kind, sd_id128_t id) {
        /* It has room for a power of two of them: at each of these it is full. */
        if ((list->n & (list->n - 1)) == 0) {
                Found *grown = reallocarray(list->items, list->n > 0 ? list->n * 2 : 1,
                                            sizeof(Found));

                if (!grown)
                        return -ENOMEM;
                list->items = grown;
        }
        list->items[list->n++] = (Found){ .kind = kind, .id = id };
        return 0;
}

static void closedirp(DIR **d) {
        if (*d)
                (void)closedir(*d);
}

/* Lists the records before anything is done about one: what is written meanwhile does not turn up
 * twice. */
static int list_records(const StateStore *store, FoundList *list) {
        _cleanup_(closedirp) DIR *d = NULL;
        struct dirent *e;
        int fd;

        fd = openat(store->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                (void)fd_close(fd);
                return -errno;
        }

        while ((errno = 0, e = readdir(d))) {
                bool temporary = e->d_name[0] == '.';
                RecordKind kind;
                sd_id128_t id;
                int r;

                if (!name_parse(e->d_name + temporary, &kind, &id))
                        continue;
                if (temporary) {
                        (void)unlinkat(store->fd, e->d_name, 0);
                        continue;
                }
                r = found_list_append(list, kind, id);
                if (r < 0)
                        return r;
        }
        return -errno;
}

typedef struct Buffer {
        char *data;
        size_t size;
} Buffer;

static void buffer_done(Buffer *buffer) {
        free(buffer->data);
}

/* Reads what @fd is a file of, which is to be @owner's. Returns 0, -ENOMEM, or another errno for what is no readable
 * record. */
static int read_file(int fd, uid_t owner, Buffer *buffer, size_t *ret_length) {
        struct stat st;
        size_t length = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_uid != owner || st.st_size > (off_t)RECORD_SIZE_MAX)
                return -EBADMSG;

        if ((size_t)st.st_size > buffer->size) {
                char *grown = realloc(buffer->data, (size_t)st.st_size);

                if (!grown)
                        return -ENOMEM;
                buffer->data = grown;
                buffer->size = (size_t)st.st_size;
        }

        while (length < (size_t)st.st_size) {
                ssize_t n = read(fd, buffer->data + length, (size_t)st.st_size - length);

                if (n <= 0)
                        return -EIO;
                length += (size_t)n;
        }
        *ret_length = length;
        return 0;
}

/* Reads one record. Returns 0, or what says nothing about the record: -ENOMEM, -EMFILE, -ENFILE,
 * and -ENOENT for one that is gone. */
static int read_record(const StateStore *store, const Found *found, Buffer *buffer,
                       StateEntry *ret) {
        char buf[NAME_SIZE];
        _cleanup_close_ int fd = -1;
        size_t length = 0;
        int r;

        *ret = (StateEntry){ .kind = found->kind, .id = found->id, .verdict = RECORD_DAMAGED };

        fd = openat(store->fd, name_format(found->kind, found->id, buf) + 1,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        r = fd < 0 ? -errno : read_file(fd, store->uid, buffer, &length);
        if (r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOENT)
                return r;
        if (r >= 0)
                ret->verdict = record_open(buffer->data, length, store->boot_id, &ret->body,
                                           &ret->body_length);
        return 0;
}

int state_store_read(StateStore *store, StateEntryFound found, void *userdata) {
        _cleanup_(found_list_done) FoundList list = {};
        _cleanup_(buffer_done) Buffer buffer = {};
        int r;

        r = list_records(store, &list);
        if (r < 0)
                return r;

        for (size_t i = 0; i < list.n; i++) {
                StateEntry entry;

                r = read_record(store, list.items + i, &buffer, &entry);
                if (r == -ENOENT)
                        continue;
                if (r >= 0)
                        r = found(userdata, &entry);
                if (r < 0)
                        return r;
        }
        return 0;
}
