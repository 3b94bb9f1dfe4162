/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has /dev/iommu open, as far as this user may see, and for which VM.
 */
#include "doctor/gather.h"

#include <stdio.h>
#include <sys/stat.h>

#include "doctor/parse.h"
#include "lib/alloc.h"
#include "lib/directory.h"
#include "lib/holders.h"

static void add_holder(HolderFacts *f, int proc_fd, const Holder *holder) {
        FoundHolder x = { .holder = *holder };
        char path[32];
        Blob b;

        (void)snprintf(path, sizeof(path), "%i/cmdline", holder->pid);
        blob_read(proc_fd, path, &b);
        if (b.error < 0 || !arguments_find_uuid(b.data, b.size, x.uuid, sizeof(x.uuid)))
                *x.uuid = '\0';
        blob_done(&b);
        f->items = alloc_grow(f->items, f->n, sizeof(FoundHolder));
        f->items[f->n++] = x;
}

void gather_holders(int root_fd, bool is_this_host, uint32_t daemon, HolderFacts *ret) {
        _cleanup_(holder_scan_done) HolderScan scan = {};
        _cleanup_(directory_closep) DIR *proc = NULL;
        HolderScope scope = {
                .node = "/dev/iommu",
                .daemon = is_this_host ? (pid_t)daemon : 0,
                .service_manager = is_this_host ? HOLDERS_SERVICE_MANAGER : 0,
        };
        struct stat st;

        *ret = (HolderFacts){};
        ret->error = directory_open(root_fd, "proc", &proc);
        if (ret->error < 0)
                return;
        assert(proc);
        if (fstatat(root_fd, "dev/iommu", &st, 0) >= 0 && S_ISCHR(st.st_mode))
                scope.device = st.st_rdev;
        scope.proc_fd = directory_fd(proc);
        ret->error = holders_scan(&scope, &scan);
        for (size_t i = 0; i < scan.n; i++)
                add_holder(ret, scope.proc_fd, &scan.items[i]);
        ret->n_hidden = scan.n_unread;
}
