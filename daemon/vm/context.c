/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The lists of a VmContext: plain data, no kernel. */

#include "vm/context.h"

#include <errno.h>

#include "base/fd-util.h"

void context_init(VmContext *ctx, VmTier tier, VmHandover handover) {
        *ctx = (VmContext){ .tier = tier, .handover = handover, .iommufd = -1 };
}

void context_done(VmContext *ctx) {
        free(ctx->functions);
        free(ctx->viommus);
        free(ctx->mappings);
        context_init(ctx, ctx->tier, ctx->handover);
}

void context_settle(VmContext *ctx) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                ctx->functions[i].pending = false;
        for (size_t i = 0; i < ctx->n_viommus; i++)
                ctx->viommus[i].pending = false;
        for (size_t i = 0; i < ctx->n_mappings; i++)
                ctx->mappings[i].pending = false;
}

void context_close(VmContext *ctx) {
        for (size_t i = 0; i < ctx->n_functions; i++) {
                ctx->functions[i].cdev = fd_close(ctx->functions[i].cdev);
                ctx->functions[i].unplug_fd = fd_close(ctx->functions[i].unplug_fd);
        }
        ctx->iommufd = fd_close(ctx->iommufd);
}

/* Copies @n items of @size; NULL for none is no error. */
static int list_copy(const void *items, size_t n, size_t size, void *ret) {
        void *copy = NULL;

        if (n > 0) {
                copy = calloc(n, size);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, items, n * size);
        }
        *(void **)ret = copy;
        return 0;
}

int context_copy(const VmContext *ctx, VmContext *ret) {
        VmContext copy = *ctx;
        int r;

        copy.functions = NULL;
        copy.viommus = NULL;
        copy.mappings = NULL;
        r = list_copy(ctx->functions, ctx->n_functions, sizeof(ContextFunction), &copy.functions);
        if (r >= 0)
                r = list_copy(ctx->viommus, ctx->n_viommus, sizeof(ContextViommu), &copy.viommus);
        if (r >= 0)
                r = list_copy(ctx->mappings, ctx->n_mappings, sizeof(ContextMapping),
                              &copy.mappings);
        if (r < 0) {
                context_done(&copy);
                return r;
        }

        *ret = copy;
        return 0;
}

/* Makes room for one more item in a list and returns it, zeroed; NULL without memory. */
static void *list_append(void *list, size_t *n, size_t size) {
        void **items = list, *grown = reallocarray(*items, *n + 1, size), *item;

        if (!grown)
                return NULL;
        *items = grown;
        item = (char *)grown + *n * size;
        memset(item, 0, size);
        (*n)++;
        return item;
}

int context_add_function(VmContext *ctx, const ContextFunction *function) {
        ContextFunction *f = list_append(&ctx->functions, &ctx->n_functions,
                                         sizeof(ContextFunction));

        if (!f)
                return -ENOMEM;
        *f = *function;
        return 0;
}

void context_remove_function(VmContext *ctx, size_t i) {
        assert(i < ctx->n_functions);
        ctx->n_functions--;
        memmove(ctx->functions + i, ctx->functions + i + 1,
                (ctx->n_functions - i) * sizeof(ContextFunction));
}

ContextFunction *context_find_function(const VmContext *ctx, const PciAddress *address) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (pci_address_equal(&ctx->functions[i].address, address))
                        return ctx->functions + i;
        return NULL;
}

int context_add_viommu(VmContext *ctx, const ContextViommu *viommu) {
        ContextViommu *v = list_append(&ctx->viommus, &ctx->n_viommus, sizeof(ContextViommu));

        if (!v)
                return -ENOMEM;
        *v = *viommu;
        return 0;
}

void context_remove_viommu(VmContext *ctx, uint32_t host_iommu) {
        ContextViommu *v = context_find_viommu(ctx, host_iommu);
        size_t i = (size_t)(v - ctx->viommus);

        assert(v);
        ctx->n_viommus--;
        memmove(v, v + 1, (ctx->n_viommus - i) * sizeof(ContextViommu));
}

ContextViommu *context_find_viommu(const VmContext *ctx, uint32_t host_iommu) {
        for (size_t i = 0; i < ctx->n_viommus; i++)
                if (ctx->viommus[i].host_iommu == host_iommu)
                        return ctx->viommus + i;
        return NULL;
}

bool context_viommu_is_unused(const VmContext *ctx, const ContextViommu *v) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].host_iommu == v->host_iommu)
                        return false;
        return ctx->handover == HANDOVER_DAEMON;
}

int context_add_mapping(VmContext *ctx, uint64_t iova, uint64_t length) {
        ContextMapping *mapping;

        for (size_t i = 0; i < ctx->n_mappings; i++) {
                const ContextMapping *m = ctx->mappings + i;

                if (iova < m->iova + m->length && m->iova < iova + length)
                        return -EEXIST;
        }

        mapping = list_append(&ctx->mappings, &ctx->n_mappings, sizeof(ContextMapping));
        if (!mapping)
                return -ENOMEM;
        *mapping = (ContextMapping){ .iova = iova, .length = length, .pending = true };
        return 0;
}

ContextMapping *context_find_mapping(const VmContext *ctx, uint64_t iova, uint64_t length) {
        for (size_t i = 0; i < ctx->n_mappings; i++)
                if (ctx->mappings[i].iova == iova && ctx->mappings[i].length == length)
                        return ctx->mappings + i;
        return NULL;
}
