/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* aviommuctl top: whose share is the largest, and what is shown where there is little room. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ctl/top.h"

static Resource accounts[] = {
        { "instances", "ivhd0", 64, 1 },      { "instances", "ivhd1", 0, 0 },
        { "trans-devids", "0000", 65204, 1 }, { "pinned-memory", "host", UINT64_MAX, 4096 },
        { "domain-ids", "host", 100, 100 },
};
static Status status = { .kernel_level = "plumbing",
                         .version = "1",
                         .resources = { accounts, ELEMENTSOF(accounts) },
                         .n_vms = 3 };

static unsigned share(const char *kind, const char *scope, uint64_t amount) {
        return top_permille(&status.resources, &(Charge){ kind, scope, amount });
}

static void shares(void **state) {
        (void)state;
        assert_int_equal(share("instances", "ivhd0", 0), 0);
        assert_int_equal(share("instances", "ivhd0", 1), 15);
        assert_int_equal(share("instances", "ivhd0", 64), 1000);
        /* More than there is, since a limit has fallen. */
        assert_int_equal(share("instances", "ivhd0", 65), 1000);
        assert_int_equal(share("instances", "ivhd1", 1), 1000);
        assert_int_equal(share("instances", "ivhd1", 0), 0);
        /* No limit, or one that is not listed. */
        assert_int_equal(share("pinned-memory", "host", UINT64_MAX), 0);
        assert_int_equal(share("instances", "ivhd7", 1), 0);
        assert_int_equal(share("something-new", "host", 1), 0);
        /* Does not overflow. */
        accounts[4].capacity = UINT64_MAX - 1;
        assert_int_equal(share("domain-ids", "host", UINT64_MAX / 2), 500);
        accounts[4].capacity = 100;
}

static const VmRow rows[] = {
        { .uuid = "a", .name = "small", .tier = "virtio", .state = "bound" },
        { .uuid = "c", .name = "large", .tier = "hardware", .state = "bound" },
        { .uuid = "b", .name = "", .tier = "hardware", .state = "bound" },
};
static Charge one[] = { { "instances", "ivhd0", 1 } },
              half[] = { { "instances", "ivhd0", 1 }, { "domain-ids", "host", 50 } };
static const ChargeList few = { one, 1 }, many = { half, 2 };

static void order(void **state) {
        TopVm vms[] = { { &rows[0], &few, 0 }, { &rows[1], &many, 0 }, { &rows[2], &many, 7 } };
        TopPage page = { .status = &status, .vms = vms, .n_vms = 3 };

        (void)state;
        top_sort(&page);
        /* Of the same share in the order of their UUIDs. */
        assert_string_equal(vms[0].row->uuid, "b");
        assert_string_equal(vms[1].row->uuid, "c");
        assert_string_equal(vms[2].row->uuid, "a");
        assert_int_equal(vms[0].permille, 500);
        assert_int_equal(vms[2].permille, 15);
        page.n_vms = 0;
        top_sort(&page);
}

static void assert_page(TopPage *page, unsigned columns, unsigned n_lines, const char *text) {
        Output o = {};
        _cleanup_free_ char *written = NULL;
        unsigned n = 0;
        size_t size;

        output_open(&o);
        o.columns = columns;
        o.is_tty = true;
        o.has_colour = false;
        o.legend = true;
        top_print(page, &o);
        written = output_take(&o, &size);
        output_done(&o);
        for (const char *p = written; *p; p++)
                n += *p == '\n';
        if (n != n_lines || !strstr(written, text))
                fail_msg("%u lines, wanted %u with \"%s\":\n%s", n, n_lines, text, written);
}

static void room(void **state) {
        TopVm vms[] = { { &rows[0], &few, 0 }, { &rows[1], &many, 0 }, { &rows[2], &many, 0 } };
        TopPage page = { .when = "12:00:00", .status = &status, .vms = vms, .n_vms = 3 };

        (void)state;
        top_sort(&page);
        assert_page(&page, 60, 11, "VM");     /* 1 + 5 bars + 2 + 3 */
        assert_page(&page, 110, 9, "ivhd1 "); /* 3 lines of bars */
        page.rows = 11;
        assert_page(&page, 60, 11, "small");
        page.rows = 10; /* the bar that is empty goes */
        assert_page(&page, 60, 10, "and 1 of which nothing is in use");
        page.rows = 9;
        assert_page(&page, 60, 7, "and 3 more"); /* no room for one and for what says so */
        page.n_vms_left = 500;
        page.rows = 24;
        assert_page(&page, 60, 12, "and 500 more");
        page.n_vms_left = 0;
        status.n_quarantined = 1;
        assert_page(&page, 60, 12, "1 quarantined, see `aviommuctl reclaim`");
        status.n_quarantined = 0;
        page.status = NULL;
        page.failure = "It is \033[31mgone";
        assert_page(&page, 60, 2, "It is \\u001b[31mgone");
        assert_page(&page, 10, 2, "\nIt is \\u00\n");
}

/* However many amounts are in use, the head stays on the screen. */
static void crowd(void **state) {
        static Resource all[24];
        static Status crowded = { .kernel_level = "plumbing",
                                  .version = "1",
                                  .resources = { all, ELEMENTSOF(all) },
                                  .n_vms = 3,
                                  .n_quarantined = 1 };
        static char scopes[ELEMENTSOF(all)][16];
        TopVm vms[] = { { &rows[0], &few, 0 }, { &rows[1], &many, 0 }, { &rows[2], &many, 0 } };
        TopPage page = { .when = "12:00:00", .status = &crowded, .vms = vms, .n_vms = 3 };

        (void)state;
        for (unsigned i = 0; i < ELEMENTSOF(all); i++) {
                (void)snprintf(scopes[i], sizeof(scopes[i]), "ivhd%u", i);
                all[i] = (Resource){ "instances", scopes[i], 64, i };
        }
        page.rows = 10; /* 2 + 6 bars and what says that there are more + the same of the VMs */
        assert_page(&page, 40, 10, "ivhd23 inst ");
        assert_page(&page, 40, 10, "ivhd18 inst ");
        assert_page(&page, 40, 10, "\nand 18 more resources\nand 3 more\n");
        assert_page(&page, 110, 10, "\nand 12 more resources\nand 3 more\n");
        page.rows = 4;
        assert_page(&page, 40, 4, "see `aviommuctl reclaim`\nand 24 more resources\nand 3 more\n");
        page.rows = 3;
        assert_page(&page, 40, 3, "see `aviommuctl reclaim`\nand 3 more\n");
        page.rows = 2;
        assert_page(&page, 40, 2, "see `aviommuctl reclaim`\n");
        /* Those in use fit, and what says so of the rest. */
        page.rows = 27;
        page.n_vms = 0;
        assert_page(&page, 60, 26, "ivhd23 ");
        page.rows = 26;
        assert_page(&page, 60, 26, "\nand 1 of which nothing is in use\n");
        page.rows = 25;
        assert_page(&page, 60, 25, "\nand 2 more resources\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(shares),
                cmocka_unit_test(order),
                cmocka_unit_test(room),
                cmocka_unit_test(crowd),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
