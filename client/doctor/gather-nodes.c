/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/directory.h"
#include "doctor/parse.h"
#include "lib/alloc.h"

static void look(int dir_fd, const char *path, Node *n) {
        struct stat st;

        if (fstatat(dir_fd, path, &st, 0) < 0) {
                n->error = negative_errno();
                return;
        }
        n->mode = st.st_mode & 07777;
        n->uid = st.st_uid;
}

static void read_vfio(int root_fd, NodeFacts *f) {
        _cleanup_(directory_closep) DIR *d = NULL;
        const struct dirent *e;

        f->vfio_error = directory_open(root_fd, "dev/vfio/devices", &d);
        if (f->vfio_error < 0)
                return;
        assert(d);
        while ((e = readdir(d))) {
                Node n = {};

                if (strncmp(e->d_name, "vfio", 4) != 0)
                        continue;
                (void)snprintf(n.name, sizeof(n.name), "%.*s", (int)sizeof(n.name) - 1, e->d_name);
                look(directory_fd(d), e->d_name, &n);
                f->vfio = alloc_grow(f->vfio, f->n_vfio, sizeof(Node));
                f->vfio[f->n_vfio++] = n;
        }
}

void gather_nodes(int root_fd, NodeFacts *ret) {
        Blob users;

        *ret = (NodeFacts){ .iommu = { .name = "/dev/iommu" }, .user = -1 };
        look(root_fd, "dev/iommu", &ret->iommu);
        read_vfio(root_fd, ret);

        blob_read(root_fd, "etc/passwd", &users);
        ret->users_error = users.error;
        if (users.error == 0)
                ret->user = users_find(users.data, "aviommu");
        blob_done(&users);
}
