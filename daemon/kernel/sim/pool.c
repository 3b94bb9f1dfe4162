/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/sim/sim-internal.h"

/* Tables that grow up to a limit and reuse what was given back, and bitmaps for numbers whose value matters. */

static uint32_t *entry_link(void *table, size_t size, uint32_t entry) {
        return (uint32_t *)((char *)table + size * entry);
}

uint32_t sim_pool_take(SimPool *pool, void *table, size_t size, uint32_t max) {
        uint32_t entry = pool->free_head;

        if (entry != SIM_NIL)
                pool->free_head = *entry_link(table, size, entry);
        else if (pool->high < max)
                entry = ++pool->high;
        else
                return SIM_NIL;

        memset(entry_link(table, size, entry), 0, size);
        pool->used++;
        return entry;
}

void sim_pool_give(SimPool *pool, void *table, size_t size, uint32_t entry) {
        assert(entry != SIM_NIL && entry <= pool->high && pool->used > 0);

        memset(entry_link(table, size, entry), 0, size);
        *entry_link(table, size, entry) = pool->free_head;
        pool->free_head = entry;
        pool->used--;
}

bool sim_bit_test(const uint64_t *bits, uint32_t n) {
        return bits[n / 64] & UINT64_C(1) << n % 64;
}

void sim_bit_set(uint64_t *bits, uint32_t n) {
        bits[n / 64] |= UINT64_C(1) << n % 64;
}

void sim_bit_clear(uint64_t *bits, uint32_t n) {
        bits[n / 64] &= ~(UINT64_C(1) << n % 64);
}

uint32_t sim_bit_lowest_clear(const uint64_t *bits, uint32_t from, uint32_t to) {
        for (uint32_t n = from; n <= to; n = (n / 64 + 1) * 64) {
                uint64_t clear = ~bits[n / 64] & ~UINT64_C(0) << n % 64;

                if (clear) {
                        n = n / 64 * 64 + (uint32_t)__builtin_ctzll(clear);
                        return n <= to ? n : KERNEL_NONE;
                }
        }

        return KERNEL_NONE;
}

uint32_t sim_bit_highest_clear(const uint64_t *a, const uint64_t *b) {
        for (uint32_t word = 65536 / 64; word-- > 0;) {
                uint64_t clear = ~(a[word] | b[word]);

                if (clear)
                        return word * 64 + 63 - (uint32_t)__builtin_clzll(clear);
        }

        return KERNEL_NONE;
}
