/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The parser of the ACPI IVRS table on tables made by hand. Each is handed over in a heap block of exactly its size, so
 * that the address sanitizer sees any read outside.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "kernel/linux/ivrs.h"

typedef struct Table {
        uint8_t data[1024];
        size_t size;
        size_t block; /* where the current block starts */
} Table;

typedef struct Seen {
        size_t n;
        struct {
                uint16_t segment, first, last, alias;
        } entries[16];
        int answer; /* of the handler */
} Seen;

static void put(Table *t, size_t n, ...) {
        va_list ap;

        va_start(ap, n);
        for (size_t i = 0; i < n; i++)
                t->data[t->size++] = (uint8_t)va_arg(ap, int);
        va_end(ap);
}

static void set_le(Table *t, size_t at, size_t n, uint64_t v) {
        for (size_t i = 0; i < n; i++)
                t->data[at + i] = (uint8_t)(v >> (8 * i));
}

static void table_start(Table *t) {
        *t = (Table){ .size = 48 };
        memcpy(t->data, "IVRS", 4);
}

static void block_start(Table *t, uint8_t type, uint16_t segment) {
        t->block = t->size;
        t->data[t->size] = type;
        set_le(t, t->size + 16, 2, segment);
        t->size += type == 0x10 ? 24 : 40;
}

static void block_end(Table *t) {
        set_le(t, t->block + 2, 2, t->size - t->block);
}

static void table_end(Table *t) {
        set_le(t, 4, 4, t->size);
}

/* The source id sits in the middle of the second half of an 8-byte entry. */
static void put_alias(Table *t, uint8_t type, uint16_t id, uint16_t alias) {
        put(t, 8, type, id & 0xff, id >> 8, 0, 0, alias & 0xff, alias >> 8, 0);
}

static void put_entry(Table *t, uint8_t type, uint16_t id) {
        put(t, 4, type, id & 0xff, id >> 8, 0);
}

static void put_acpi_hid(Table *t, uint8_t uid_length) {
        put_entry(t, 0xf0, 0x00a5);
        t->size += 17;
        t->data[t->size++] = uid_length;
        t->size += uid_length;
}

static int see(uint16_t segment, uint16_t first, uint16_t last, uint16_t alias, void *userdata) {
        Seen *seen = userdata;

        assert_true(seen->n < ELEMENTSOF(seen->entries));
        seen->entries[seen->n].segment = segment;
        seen->entries[seen->n].first = first;
        seen->entries[seen->n].last = last;
        seen->entries[seen->n].alias = alias;
        seen->n++;
        return seen->answer;
}

static int parse(const uint8_t *data, size_t size, Seen *seen) {
        uint8_t *copy = malloc(size > 0 ? size : 1);
        int r;

        assert_non_null(copy);
        memcpy(copy, data, size);
        seen->n = 0;
        r = ivrs_for_each_alias(copy, size, see, seen);
        free(copy);
        return r;
}

static void assert_seen(const Seen *seen, size_t i, uint16_t segment, uint16_t first, uint16_t last,
                        uint16_t alias) {
        assert_true(i < seen->n);
        assert_int_equal(seen->entries[i].segment, segment);
        assert_int_equal(seen->entries[i].first, first);
        assert_int_equal(seen->entries[i].last, last);
        assert_int_equal(seen->entries[i].alias, alias);
}

/* Every kind of block and entry, three aliases. */
static void make_full(Table *t) {
        table_start(t);

        block_start(t, 0x10, 0);
        put_entry(t, 0x01, 0);
        put_entry(t, 0x02, 0x0010);
        put_entry(t, 0x03, 0x0100);
        put_entry(t, 0x04, 0x01ff);
        put_alias(t, 0x42, 0x0508, 0x0500);
        put_alias(t, 0x48, 0, 0x00a0);
        block_end(t);

        block_start(t, 0x20, 0); /* memory: not of interest, and of a length of its own */
        block_end(t);

        block_start(t, 0x11, 2);
        put_alias(t, 0x43, 0x0600, 0x0200);
        put_entry(t, 0x02, 0x0010); /* one in between changes nothing */
        put_entry(t, 0x04, 0x06ff);
        put_entry(t, 0x04, 0x07ff); /* an end without a start */
        block_end(t);

        block_start(t, 0x40, 3);
        put_alias(t, 0x46, 0x0018, 0);
        put_acpi_hid(t, 0);
        put_acpi_hid(t, 9);
        put_alias(t, 0x42, 0x0708, 0x0700);
        block_end(t);

        table_end(t);
}

static void test_full(void **state _unused_) {
        Seen seen = {};
        Table t;

        make_full(&t);
        assert_int_equal(parse(t.data, t.size, &seen), 0);
        assert_int_equal(seen.n, 3);
        assert_seen(&seen, 0, 0, 0x0508, 0x0508, 0x0500);
        assert_seen(&seen, 1, 2, 0x0600, 0x06ff, 0x0200);
        assert_seen(&seen, 2, 3, 0x0708, 0x0708, 0x0700);
}

static void test_empty(void **state _unused_) {
        Seen seen = {};
        Table t;

        table_start(&t);
        table_end(&t);
        assert_int_equal(parse(t.data, t.size, &seen), 0);
        assert_int_equal(seen.n, 0);

        t.data[3] = 'T';
        assert_int_equal(parse(t.data, t.size, &seen), -EBADMSG);
        assert_int_equal(parse(t.data, 0, &seen), -EBADMSG);
}

static void test_ranges_do_not_mix(void **state _unused_) {
        static const uint8_t starts[] = { 0x03, 0x47 };

        for (size_t i = 0; i < ELEMENTSOF(starts); i++) {
                Seen seen = {};
                Table t;

                table_start(&t);
                block_start(&t, 0x11, 0);
                put_alias(&t, 0x43, 0x0600, 0x0200);
                if (starts[i] == 0x03)
                        put_entry(&t, 0x03, 0x0700); /* a plain range takes the place */
                else
                        put_alias(&t, 0x47, 0x0700, 0);
                put_entry(&t, 0x04, 0x07ff);
                block_end(&t);
                /* A range ends with its block. */
                block_start(&t, 0x11, 0);
                put_alias(&t, 0x43, 0x0600, 0x0200);
                block_end(&t);
                block_start(&t, 0x11, 0);
                put_entry(&t, 0x04, 0x07ff);
                block_end(&t);
                table_end(&t);
                assert_int_equal(parse(t.data, t.size, &seen), 0);
                assert_int_equal(seen.n, 0);
        }
}

static void test_range_backwards(void **state _unused_) {
        Seen seen = {};
        Table t;

        table_start(&t);
        block_start(&t, 0x11, 0);
        put_alias(&t, 0x43, 0x0600, 0x0200);
        put_entry(&t, 0x04, 0x05ff);
        block_end(&t);
        table_end(&t);
        assert_int_equal(parse(t.data, t.size, &seen), -EBADMSG);
        assert_int_equal(seen.n, 0);
}

static void test_range_of_one(void **state _unused_) {
        Seen seen = {};
        Table t;

        table_start(&t);
        block_start(&t, 0x11, 0);
        put_alias(&t, 0x43, 0x0600, 0x0200);
        put_entry(&t, 0x04, 0x0600);
        block_end(&t);
        table_end(&t);
        assert_int_equal(parse(t.data, t.size, &seen), 0);
        assert_seen(&seen, 0, 0, 0x0600, 0x0600, 0x0200);
}

static void test_whole_segment(void **state _unused_) {
        Seen seen = {};
        Table t;

        table_start(&t);
        block_start(&t, 0x40, UINT16_MAX);
        put_alias(&t, 0x43, 0, UINT16_MAX);
        put_entry(&t, 0x04, UINT16_MAX);
        block_end(&t);
        table_end(&t);
        assert_int_equal(parse(t.data, t.size, &seen), 0);
        assert_seen(&seen, 0, UINT16_MAX, 0, UINT16_MAX, UINT16_MAX);
}

static void test_handler_stops(void **state _unused_) {
        Seen seen = { .answer = -ENOMEM };
        Table t;

        make_full(&t);
        assert_int_equal(parse(t.data, t.size, &seen), -ENOMEM);
        assert_int_equal(seen.n, 1);
}

/* Cut at every byte, first with the length that the table tells, then with one that fits the cut. */
static void test_truncated(void **state _unused_) {
        size_t ends = 0;
        Table full;

        make_full(&full);
        for (size_t size = 0; size < full.size; size++) {
                Table t = full;
                Seen seen = {};
                int r;

                assert_int_equal(parse(t.data, size, &seen), -EBADMSG);
                assert_int_equal(seen.n, 0);

                set_le(&t, 4, 4, size);
                r = parse(t.data, size, &seen);
                assert_true(r == 0 || r == -EBADMSG);
                ends += r == 0;
        }
        /* Whole only behind the header and behind each of the first three blocks. */
        assert_int_equal(ends, 4);
}

/* The last block cut at every byte, with both lengths to match: whole only where an entry ends. */
static void test_truncated_block(void **state _unused_) {
        size_t ends = 0;
        Table full;

        make_full(&full);
        for (size_t size = full.block + 4; size < full.size; size++) {
                Table t = full;
                Seen seen = {};
                int r;

                set_le(&t, 4, 4, size);
                set_le(&t, t.block + 2, 2, size - t.block);
                r = parse(t.data, size, &seen);
                assert_true(r == 0 || r == -EBADMSG);
                assert_int_equal(seen.n, 2);
                ends += r == 0;
        }
        assert_int_equal(ends, 4);
}

static void test_bad_lengths(void **state _unused_) {
        Table full;

        make_full(&full);
        /* What lies behind the table in its file is no part of it. */
        {
                Table t = full;
                Seen seen = {};

                t.size += 5;
                assert_int_equal(parse(t.data, t.size, &seen), 0);
                assert_int_equal(seen.n, 3);
        }
        for (unsigned length = 0; length < 4; length++) {
                Table t = full;
                Seen seen = {};

                set_le(&t, 50, 2, length); /* the first block */
                assert_int_equal(parse(t.data, t.size, &seen), -EBADMSG);
                assert_int_equal(seen.n, 0);
        }
        for (unsigned uid = 0; uid < 256; uid++) {
                Table t;
                Seen seen = {};

                table_start(&t);
                block_start(&t, 0x40, 0);
                put_acpi_hid(&t, 7);
                t.data[t.size - 8] = (uint8_t)uid;
                block_end(&t);
                table_end(&t);
                /* Shorter ones leave bytes behind that are entries of type 0, four bytes each. */
                assert_int_equal(parse(t.data, t.size, &seen), uid == 7 || uid == 3 ? 0 : -EBADMSG);
        }
}

/* Any byte turned into any of a few others: nothing outside is read. */
static void test_flipped(void **state _unused_) {
        static const uint8_t values[] = { 0x00, 0x04, 0x10, 0x40, 0x43, 0x7f, 0x80, 0xf0, 0xff };
        Table full;

        make_full(&full);
        for (size_t at = 0; at < full.size; at++)
                for (size_t v = 0; v < ELEMENTSOF(values); v++) {
                        Table t = full;
                        Seen seen = {};
                        int r;

                        t.data[at] = values[v];
                        r = parse(t.data, t.size, &seen);
                        assert_true(r == 0 || r == -EBADMSG);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_full),
                cmocka_unit_test(test_empty),
                cmocka_unit_test(test_ranges_do_not_mix),
                cmocka_unit_test(test_range_backwards),
                cmocka_unit_test(test_range_of_one),
                cmocka_unit_test(test_whole_segment),
                cmocka_unit_test(test_handler_stops),
                cmocka_unit_test(test_truncated),
                cmocka_unit_test(test_truncated_block),
                cmocka_unit_test(test_bad_lengths),
                cmocka_unit_test(test_flipped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
