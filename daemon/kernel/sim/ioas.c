/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "kernel/sim/sim-internal.h"

/*
 * IOASes and their mappings. A mapping's file is looked at when it is made, for it may be closed by the time that a
 * HWPT pins it; what pinning would say then is kept with the mapping.
 */

#define PAGE_MASK UINT64_C(4095)

/* Where no mapping may be once a function is attached. Spec: 48882, reserved address ranges; x86 MSI window */
static const struct {
        uint64_t first, last;
        bool amd_only;
} reserved[] = {
        { UINT64_C(0xfee00000), UINT64_C(0xfeefffff), false },
        { UINT64_C(0xfd00000000), UINT64_C(0xffffffffff), true }, /* HyperTransport */
};

#define EFR2_HT_RANGE_IGNORE (UINT64_C(1) << 11)

static bool reserved_applies(const SimIommu *iommu, size_t i) {
        return !reserved[i].amd_only || (iommu->info.vendor == IOMMU_VENDOR_AMD &&
                                         !(iommu->info.efr2 & EFR2_HT_RANGE_IGNORE));
}

/* A host's IOMMUs are all of one vendor. */
static bool is_reserved(SimState *st, uint64_t first, uint64_t last) {
        for (size_t i = 0; i < ELEMENTSOF(reserved); i++)
                if (first <= reserved[i].last && last >= reserved[i].first &&
                    reserved_applies(&st->iommus[0], i))
                        return true;

        return false;
}

int sim_ioas_alloc(SimKernel *s, int fd, uint32_t *ret) {
        uint32_t context, o;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        r = sim_object_new(s->state, context, SIM_OBJECT_IOAS, &o);
        if (r < 0)
                return r;

        *ret = s->state->objects[o].id;
        return 0;
}

/* What pinning the range would say: only memory files are pinned, and only within their size. */
static int file_check(int fd, uint64_t offset, uint64_t length, int *ret_pin_error) {
        struct statfs fs;
        struct stat stat;
        uint64_t end;
        bool memory;

        if (fstat(fd, &stat) < 0 || fstatfs(fd, &fs) < 0)
                return negative_errno();

        memory = S_ISREG(stat.st_mode) &&
                 (fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC);
        *ret_pin_error = memory && !__builtin_add_overflow(offset, length, &end) &&
                                         end <= (uint64_t)stat.st_size
                                 ? 0
                                 : -EINVAL;
        return 0;
}

/* IOVAs are in units of bytes until a page table stands on the IOAS. */
static uint64_t alignment_mask(const SimObject *ioas) {
        return ioas->ioas.n_hwpts > 0 ? PAGE_MASK : 0;
}

static int range_check(SimState *st, const SimObject *ioas, uint64_t iova, uint64_t length) {
        uint64_t last;

        if ((iova & alignment_mask(ioas)) != 0 || (length & alignment_mask(ioas)) != 0)
                return -EINVAL;
        if (__builtin_add_overflow(iova, length - 1, &last))
                return -EOVERFLOW;
        if (ioas->ioas.n_attached > 0 && is_reserved(st, iova, last))
                return -EINVAL;

        for (uint32_t m = ioas->ioas.first_mapping; m != SIM_NIL; m = st->mappings[m].next) {
                const SimMapping *other = &st->mappings[m];

                if (iova <= other->iova + (other->length - 1) && last >= other->iova)
                        return -EEXIST;
        }

        return 0;
}

static int mapping_add(SimState *st, SimObject *ioas, const KernelMapping *map, int pin_error) {
        SimMapping *mapping;
        uint32_t m;

        if (ioas->ioas.n_hwpts > 0) {
                if (pin_error < 0)
                        return pin_error;
                if (st->pinned_bytes + map->length > st->pinned_limit)
                        return -ENOMEM;
        }

        m = POOL_TAKE(&st->mapping_pool, st->mappings, SIM_MAPPINGS_MAX);
        if (m == SIM_NIL)
                return -ENOMEM;

        mapping = &st->mappings[m];
        mapping->pin_error = pin_error;
        mapping->is_aligned = ((map->iova | map->length | map->offset) & PAGE_MASK) == 0;
        mapping->iova = map->iova;
        mapping->length = map->length;
        mapping->next = ioas->ioas.first_mapping;
        ioas->ioas.first_mapping = m;

        st->mapped_bytes += map->length;
        if (ioas->ioas.n_hwpts > 0)
                st->pinned_bytes += map->length;
        return 0;
}

int sim_ioas_map_file(SimKernel *s, int fd, uint32_t ioas_id, const KernelMapping *map) {
        SimState *st = s->state;
        uint32_t context, o;
        int r, pin_error;
        uint64_t end;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        if (map->iova == UINT64_MAX || map->length == UINT64_MAX)
                return -EOVERFLOW;

        o = sim_object_find_type(st, context, ioas_id, SIM_OBJECT_IOAS);
        if (o == SIM_NIL)
                return -ENOENT;

        if (map->length == 0)
                return -EINVAL;
        if (__builtin_add_overflow(map->offset, map->length - 1, &end))
                return -EOVERFLOW;
        r = file_check(map->fd, map->offset, map->length, &pin_error);
        if (r < 0)
                return r;
        r = range_check(st, &st->objects[o], map->iova, map->length);
        if (r < 0)
                return r;
        if ((map->offset & alignment_mask(&st->objects[o])) != 0)
                return -EINVAL;

        return mapping_add(st, &st->objects[o], map, pin_error);
}

/* The link to the lowest mapping that touches [first, last], or NULL. */
static uint32_t *mapping_lowest(SimState *st, SimObject *ioas, uint64_t first, uint64_t last) {
        uint32_t *lowest = NULL;

        for (uint32_t *link = &ioas->ioas.first_mapping; *link != SIM_NIL;
             link = &st->mappings[*link].next) {
                const SimMapping *m = &st->mappings[*link];

                if (m->iova <= last && m->iova + (m->length - 1) >= first &&
                    (!lowest || m->iova < st->mappings[*lowest].iova))
                        lowest = link;
        }

        return lowest;
}

static void mapping_remove(SimState *st, SimObject *ioas, uint32_t *link) {
        uint32_t m = *link;

        st->mapped_bytes -= st->mappings[m].length;
        if (ioas->ioas.n_hwpts > 0)
                st->pinned_bytes -= st->mappings[m].length;

        *link = st->mappings[m].next;
        POOL_GIVE(&st->mapping_pool, st->mappings, m);
}

/* Takes whole mappings, the lowest first, and stops at one that it would have to split. */
static int unmap_range(SimState *st, SimObject *ioas, uint64_t first, uint64_t last) {
        size_t n = 0;
        uint32_t *link;

        while ((link = mapping_lowest(st, ioas, first, last))) {
                const SimMapping *m = &st->mappings[*link];

                if (m->iova < first || m->iova + (m->length - 1) > last)
                        return -ENOENT;

                mapping_remove(st, ioas, link);
                n++;
        }

        return n > 0 ? 0 : -ENOENT;
}

int sim_ioas_unmap(SimKernel *s, int fd, uint32_t ioas_id, uint64_t iova, uint64_t length) {
        SimState *st = s->state;
        uint32_t context, o;
        uint64_t last;
        int r;

        SIM_LOCKED(s);

        r = sim_context_get(s, fd, &context);
        if (r < 0)
                return r;
        o = sim_object_find_type(st, context, ioas_id, SIM_OBJECT_IOAS);
        if (o == SIM_NIL)
                return -ENOENT;

        if (iova == 0 && length == UINT64_MAX) { /* everything, of which there may be nothing */
                (void)unmap_range(st, &st->objects[o], 0, UINT64_MAX);
                return 0;
        }
        if (iova == UINT64_MAX || length == UINT64_MAX)
                return -EOVERFLOW;
        if (length == 0)
                return -EINVAL;
        if (__builtin_add_overflow(iova, length - 1, &last))
                return -EOVERFLOW;

        return unmap_range(st, &st->objects[o], iova, last);
}

void sim_ioas_release(SimState *st, SimObject *ioas) {
        assert(ioas->ioas.n_hwpts == 0 && ioas->ioas.n_attached == 0);

        while (ioas->ioas.first_mapping != SIM_NIL)
                mapping_remove(st, ioas, &ioas->ioas.first_mapping);
}

static uint64_t mapped_bytes(SimState *st, const SimObject *ioas) {
        uint64_t sum = 0;

        for (uint32_t m = ioas->ioas.first_mapping; m != SIM_NIL; m = st->mappings[m].next)
                sum += st->mappings[m].length;
        return sum;
}

int sim_ioas_pin(SimState *st, SimObject *ioas) {
        if (ioas->ioas.n_hwpts == 0) {
                uint64_t bytes = mapped_bytes(st, ioas);

                for (uint32_t m = ioas->ioas.first_mapping; m != SIM_NIL; m = st->mappings[m].next)
                        if (!st->mappings[m].is_aligned)
                                return -EADDRINUSE;
                for (uint32_t m = ioas->ioas.first_mapping; m != SIM_NIL; m = st->mappings[m].next)
                        if (st->mappings[m].pin_error < 0)
                                return st->mappings[m].pin_error;
                if (st->pinned_bytes + bytes > st->pinned_limit)
                        return -ENOMEM;

                st->pinned_bytes += bytes;
        }

        ioas->ioas.n_hwpts++;
        return 0;
}

void sim_ioas_unpin(SimState *st, SimObject *ioas) {
        assert(ioas->ioas.n_hwpts > 0);

        if (--ioas->ioas.n_hwpts == 0)
                st->pinned_bytes -= mapped_bytes(st, ioas);
}

int sim_ioas_check_reserved(SimState *st, const SimObject *ioas, const SimFunction *fn) {
        if (fn->iommu == KERNEL_NONE)
                return 0;

        for (uint32_t n = ioas->ioas.first_mapping; n != SIM_NIL; n = st->mappings[n].next) {
                const SimMapping *m = &st->mappings[n];

                for (size_t i = 0; i < ELEMENTSOF(reserved); i++)
                        if (m->iova <= reserved[i].last &&
                            m->iova + (m->length - 1) >= reserved[i].first &&
                            reserved_applies(&st->iommus[fn->iommu], i))
                                return -EADDRINUSE;
        }

        return 0;
}
