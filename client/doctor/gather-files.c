/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fd-util.h"
#include "lib/alloc.h"

#define STEP_SIZE ((size_t)64 * 1024)

/* Reads on: bytes read, 0 at the end, or a negative errno. */
typedef ssize_t (*ReadFunction)(void *source, void *buf, size_t size);

static int open_file(int root_fd, const char *path) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0)
                return negative_errno();
        return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static void blob_take(Blob *b, ReadFunction read_some, void *source) {
        ssize_t n;

        do {
                b->data = alloc_check(realloc(b->data, b->size + STEP_SIZE + 1));
                n = read_some(source, b->data + b->size, STEP_SIZE);
                if (n > 0)
                        b->size += (size_t)n;
                if (b->size > BLOB_SIZE_MAX)
                        n = -EFBIG;
        } while (n > 0);
        if (n < 0) {
                blob_done(b);
                b->error = (int)n;
                return;
        }
        b->data[b->size] = '\0';
}

static ssize_t read_plain(void *source, void *buf, size_t size) {
        const int *fd = source;
        ssize_t n;

        do
                n = read(*fd, buf, size);
        while (n < 0 && errno == EINTR);
        return n < 0 ? negative_errno() : n;
}

typedef struct Head {
        int fd;
        size_t left;
} Head;

static ssize_t read_head(void *source, void *buf, size_t size) {
        Head *h = source;
        ssize_t n = read_plain(&h->fd, buf, MIN(size, h->left));

        if (n > 0)
                h->left -= (size_t)n;
        return n;
}

static void read_file(int root_fd, const char *path, bool is_head, Blob *ret) {
        _cleanup_close_ int fd = -1;

        *ret = (Blob){};
        fd = open_file(root_fd, path);
        if (fd < 0)
                ret->error = fd;
        else if (is_head)
                blob_take(ret, read_head, &(Head){ fd, BLOB_SIZE_MAX });
        else
                blob_take(ret, read_plain, &fd);
}

void blob_read(int root_fd, const char *path, Blob *ret) {
        read_file(root_fd, path, false, ret);
}

void blob_read_head(int root_fd, const char *path, Blob *ret) {
        read_file(root_fd, path, true, ret);
}

static ssize_t read_gzip(void *source, void *buf, size_t size) {
        gzFile f = source;
        int n = gzread(f, buf, (unsigned)size), error = 0;

        /* The end of the file within a stream is no failure of gzread(), but told by gzerror(). */
        if (n >= 0)
                (void)gzerror(f, &error);
        return n < 0 || error == Z_BUF_ERROR ? -EBADMSG : n;
}

void blob_read_gzip(int root_fd, const char *path, Blob *ret) {
        _cleanup_close_ int fd = -1;
        gzFile f;

        *ret = (Blob){};
        fd = open_file(root_fd, path);
        if (fd < 0) {
                ret->error = fd;
                return;
        }
        f = alloc_check(gzdopen(fd, "rb"));
        fd = -1; /* the stream's now */
        blob_take(ret, read_gzip, f);
        (void)gzclose(f);
}

void blob_done(Blob *b) {
        free(b->data);
        *b = (Blob){};
}
