/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/context-store.h"

#include <errno.h>

static int refuse(int r, Problem *p) {
        if (r < 0)
                (void)problem_set(p, PROBLEM_STORAGE,
                                  r == -ETIMEDOUT
                                          ? "The service manager has not answered in time about "
                                            "the descriptors that it keeps: %s."
                                          : "The service manager does not keep the VM's "
                                            "descriptors: %s.",
                                  strerror(-r));
        return r;
}

static int add(FdStore *store, int fd, uint32_t *stored, bool *news) {
        int r;

        if (fd < 0 || *stored != 0)
                return 0;
        r = fdstore_add_new(store, fd, stored);
        *news |= *stored != 0;
        return r;
}

/* Without waiting. */
static int drop(FdStore *store, uint32_t *stored, bool *news) {
        int r;

        if (*stored == 0)
                return 0;
        r = fdstore_remove_id(store, *stored);
        if (r < 0)
                return r;
        *stored = 0;
        *news = true;
        return 0;
}

static int drop_functions(FdStore *store, VmContext *ctx, bool *news) {
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions; i++)
                RET_GATHER(r, drop(store, &ctx->functions[i].stored, news));
        return r;
}

/* Waits until the service manager has seen the news. */
static int finish(FdStore *store, int r, bool news, Problem *p) {
        if (news)
                RET_GATHER(r, fdstore_barrier(store));
        return refuse(r, p);
}

/* The same of what was taken out: also by an earlier try, which it has not answered. */
static int finish_drop(FdStore *store, int r, bool news, Problem *p) {
        return finish(store, r, news || fdstore_is_unsettled(store), p);
}

int context_store(FdStore *store, VmContext *ctx, int leash_pidfd, uint32_t *ret_leash_stored,
                  Problem *reterr_problem) {
        bool news = false;
        int r;

        r = add(store, ctx->iommufd, &ctx->iommufd_stored, &news);
        for (size_t i = 0; i < ctx->n_functions && r >= 0; i++)
                r = add(store, ctx->functions[i].cdev, &ctx->functions[i].stored, &news);
        if (r >= 0)
                r = add(store, leash_pidfd, ret_leash_stored, &news);
        return r < 0 ? refuse(r, reterr_problem) : finish(store, 0, news, reterr_problem);
}

int context_unstore_function(FdStore *store, ContextFunction *function, Problem *reterr_problem) {
        bool news = false;
        int r = drop(store, &function->stored, &news);

        return finish_drop(store, r, news, reterr_problem);
}

int context_unstore_functions(FdStore *store, VmContext *ctx, Problem *reterr_problem) {
        bool news = false;
        int r = drop_functions(store, ctx, &news);

        return finish_drop(store, r, news, reterr_problem);
}

int context_unstore(FdStore *store, VmContext *ctx, Problem *reterr_problem) {
        bool news = false;
        int r = drop_functions(store, ctx, &news);

        RET_GATHER(r, drop(store, &ctx->iommufd_stored, &news));
        return finish_drop(store, r, news, reterr_problem);
}

int descriptor_unstore(FdStore *store, uint32_t *stored, Problem *reterr_problem) {
        bool news = false;
        int r = drop(store, stored, &news);

        return finish_drop(store, r, news, reterr_problem);
}
