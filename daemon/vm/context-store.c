/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/context-store.h"

#include <errno.h>

#include "state/fd-name.h"

static int refuse(int r, Problem *p) {
        if (r < 0 && r != -ENOMEM)
                (void)problem_set(p, PROBLEM_STORAGE,
                                  r == -ETIMEDOUT
                                          ? "The service manager has not answered in time about "
                                            "the descriptors that it keeps: %s."
                                          : "The service manager does not keep the VM's "
                                            "descriptors: %s.",
                                  strerror(-r));
        return r;
}

/* What is kept already is fine: a name means one descriptor. */
static int add(FdStore *store, const FdName *name, int fd, bool *news) {
        int r = fd < 0 ? -EEXIST : fdstore_add(store, FD_NAME_STRING(name), fd);

        if (r == -EEXIST)
                return 0;
        if (r >= 0)
                *news = true;
        return r;
}

/* The new one is there before the old one goes, so that there is one at any moment. */
static int replace_leash(FdStore *store, sd_id128_t uuid, int pidfd, bool *news) {
        const FdName names[] = { { FD_ROLE_LEASH, uuid, {} }, { FD_ROLE_LEASH2, uuid, {} } };
        bool other = fdstore_has(store, FD_NAME_STRING(names));
        int r;

        r = fdstore_remove(store, FD_NAME_STRING(names + other)); /* left by an earlier failure */
        if (r >= 0)
                r = add(store, names + other, pidfd, news);
        return r < 0 ? r : fdstore_remove(store, FD_NAME_STRING(names + !other));
}

int context_store(FdStore *store, sd_id128_t uuid, const VmContext *ctx, int leash_pidfd,
                  Problem *reterr_problem) {
        bool news = false;
        int r = 0;

        /* A prepared context's is kept already, under that name. */
        if (!fdstore_has(store, FD_NAME_STRING((&(FdName){ FD_ROLE_PREPARED, uuid, {} }))))
                r = add(store, &(FdName){ FD_ROLE_IOMMUFD, uuid, {} }, ctx->iommufd, &news);
        for (size_t i = 0; i < ctx->n_functions && r >= 0; i++)
                r = add(store, &(FdName){ FD_ROLE_CDEV, uuid, ctx->functions[i].address },
                        ctx->functions[i].cdev, &news);
        if (leash_pidfd >= 0 && r >= 0)
                r = replace_leash(store, uuid, leash_pidfd, &news);
        if (r >= 0 && news)
                r = fdstore_barrier(store);
        return refuse(r, reterr_problem);
}

int context_unstore_function(FdStore *store, sd_id128_t uuid, const PciAddress *function,
                             Problem *reterr_problem) {
        const FdName name = { FD_ROLE_CDEV, uuid, *function };
        int r;

        if (!fdstore_has(store, FD_NAME_STRING(&name)))
                return 0;
        r = fdstore_remove(store, FD_NAME_STRING(&name));
        if (r >= 0)
                r = fdstore_barrier(store);
        return refuse(r, reterr_problem);
}

/* Removes without waiting. */
static int remove_functions(FdStore *store, sd_id128_t uuid, const VmContext *ctx, bool *news) {
        int r = 0;

        for (size_t i = 0; i < ctx->n_functions; i++) {
                const FdName name = { FD_ROLE_CDEV, uuid, ctx->functions[i].address };

                if (!fdstore_has(store, FD_NAME_STRING(&name)))
                        continue;
                *news = true;
                RET_GATHER(r, fdstore_remove(store, FD_NAME_STRING(&name)));
        }
        return r;
}

int context_unstore_functions(FdStore *store, sd_id128_t uuid, const VmContext *ctx,
                              Problem *reterr_problem) {
        bool news = false;
        int r;

        r = remove_functions(store, uuid, ctx, &news);
        if (news)
                RET_GATHER(r, fdstore_barrier(store));
        return refuse(r, reterr_problem);
}

int context_unstore(FdStore *store, sd_id128_t uuid, const VmContext *ctx,
                    Problem *reterr_problem) {
        static const FdRole roles[] = { FD_ROLE_IOMMUFD, FD_ROLE_PREPARED, FD_ROLE_LEASH,
                                        FD_ROLE_LEASH2 };
        bool news = false;
        int r;

        r = remove_functions(store, uuid, ctx, &news);
        for (size_t i = 0; i < ELEMENTSOF(roles); i++) {
                const FdName name = { roles[i], uuid, {} };

                if (!fdstore_has(store, FD_NAME_STRING(&name)))
                        continue;
                news = true;
                RET_GATHER(r, fdstore_remove(store, FD_NAME_STRING(&name)));
        }
        if (news)
                RET_GATHER(r, fdstore_barrier(store));
        return refuse(r, reterr_problem);
}
