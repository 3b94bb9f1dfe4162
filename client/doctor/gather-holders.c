/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has /dev/iommu open, as far as this user may see: processes come and go while one looks, and those that are gone
 * count for nothing.
 */
#include "doctor/gather.h"

#include <stdio.h>
#include <unistd.h>

#include "doctor/directory.h"
#include "doctor/parse.h"
#include "lib/alloc.h"

#define NODE "/dev/iommu"

/* Whether the process has it open; -EACCES: that may not be seen. */
static int process_holds(int process_fd, bool *ret) {
        _cleanup_(directory_closep) DIR *d = NULL;
        const struct dirent *e;
        int r;

        *ret = false;
        r = directory_open(process_fd, "fd", &d);
        if (r < 0)
                return r;
        assert(d);
        while (!*ret && (e = readdir(d))) {
                char target[sizeof(NODE) + 1];
                ssize_t n = readlinkat(directory_fd(d), e->d_name, target, sizeof(target));

                *ret = n == (ssize_t)strlen(NODE) && strncmp(target, NODE, (size_t)n) == 0;
        }
        return 0;
}

static void add_holder(HolderFacts *f, int process_fd, int pid) {
        Holder h = { .pid = pid };
        Blob b;

        blob_read(process_fd, "comm", &b);
        if (b.error == 0)
                (void)snprintf(h.name, sizeof(h.name), "%.*s",
                               (int)MIN(strcspn(b.data, "\n"), sizeof(h.name) - 1), b.data);
        blob_done(&b);
        blob_read(process_fd, "cmdline", &b);
        if (b.error < 0 || !arguments_find_uuid(b.data, b.size, h.uuid, sizeof(h.uuid)))
                *h.uuid = '\0';
        blob_done(&b);
        f->items = alloc_grow(f->items, f->n, sizeof(Holder));
        f->items[f->n++] = h;
}

static void look_at_process(HolderFacts *f, int proc_fd, const char *name) {
        _cleanup_close_ int fd = -1;
        bool holds;
        char *end;
        long pid;
        int r;

        if (*name < '1' || *name > '9')
                return;
        pid = strtol(name, &end, 10);
        if (*end || pid > INT32_MAX)
                return;
        fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return;
        r = process_holds(fd, &holds);
        if (r == -EACCES || r == -EPERM)
                f->n_hidden++;
        else if (r >= 0 && holds)
                add_holder(f, fd, (int)pid);
}

static int compare(const void *a, const void *b) {
        int x = ((const Holder *)a)->pid, y = ((const Holder *)b)->pid;

        return (x > y) - (x < y);
}

void gather_holders(int root_fd, HolderFacts *ret) {
        _cleanup_(directory_closep) DIR *d = NULL;
        const struct dirent *e;

        *ret = (HolderFacts){};
        ret->error = directory_open(root_fd, "proc", &d);
        if (ret->error < 0)
                return;
        assert(d);
        while ((e = readdir(d)))
                look_at_process(ret, directory_fd(d), e->d_name);
        if (ret->n > 0)
                qsort(ret->items, ret->n, sizeof(Holder), compare);
}
