/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Aliases as bridges and the IVRS table make them, on hosts made of files. */

#include <errno.h>

#include "test-linux-tree.h"

#define ROOT "pci0000:00"

static void add(Tree *t, const char *under, const char *address, bool express) {
        tree_add_function(t, under, address, "0x020000\n");
        if (express)
                tree_put(t, "8.0 GT/s PCIe\n", "sys/bus/pci/devices/%s/max_link_speed", address);
}

static void assert_aliases(Tree *t, const char *address, size_t n, const uint16_t *aliases) {
        _cleanup_(host_scan_freep) HostScan *scan = tree_scan(t, NULL, 0);
        const PciFunctionInfo *f = tree_find(scan, address);

        assert_non_null(f);
        assert_int_equal(f->n_aliases, n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(f->aliases[i], aliases[i]);
}

#define ALIASES(t, address, ...)                                                                   \
        assert_aliases((t), (address), ELEMENTSOF(((const uint16_t[]){ __VA_ARGS__ })),            \
                       (const uint16_t[]){ __VA_ARGS__ })

static void test_express(void **state) {
        Tree *t = *state;

        add(t, ROOT, "0000:00:01.1", true);
        add(t, ROOT "/0000:00:01.1", "0000:01:00.0", true); /* a switch */
        add(t, ROOT "/0000:00:01.1/0000:01:00.0", "0000:02:01.0", true);
        add(t, ROOT "/0000:00:01.1/0000:01:00.0/0000:02:01.0", "0000:03:00.0", true);
        add(t, ROOT, "0000:00:1f.3", false); /* integrated, conventional */

        assert_aliases(t, "0000:03:00.0", 0, NULL);
        assert_aliases(t, "0000:00:1f.3", 0, NULL);
}

static void test_express_to_pci(void **state) {
        Tree *t = *state;

        add(t, ROOT, "0000:00:01.1", true);
        add(t, ROOT "/0000:00:01.1", "0000:01:00.0", true); /* the PCIe-to-PCI bridge */
        add(t, ROOT "/0000:00:01.1/0000:01:00.0", "0000:02:05.0", false);
        add(t, ROOT "/0000:00:01.1/0000:01:00.0", "0000:02:00.0", false); /* is the alias itself */

        ALIASES(t, "0000:02:05.0", 0x0200);
        assert_aliases(t, "0000:02:00.0", 0, NULL);
}

static void test_conventional_bridge(void **state) {
        Tree *t = *state;

        /* On the root bus, and another below it. */
        add(t, ROOT, "0000:00:14.4", false);
        add(t, ROOT "/0000:00:14.4", "0000:05:01.0", false);
        add(t, ROOT "/0000:00:14.4", "0000:05:02.0", false);
        add(t, ROOT "/0000:00:14.4/0000:05:02.0", "0000:06:03.0", false);
        /* Below a PCIe-to-PCI bridge. */
        add(t, ROOT, "0000:00:02.0", true);
        add(t, ROOT "/0000:00:02.0", "0000:08:04.0", false);
        add(t, ROOT "/0000:00:02.0/0000:08:04.0", "0000:09:01.0", false);

        ALIASES(t, "0000:05:01.0", 0x00a4);
        ALIASES(t, "0000:06:03.0", 0x0510, 0x00a4);
        ALIASES(t, "0000:09:01.0", 0x0820, 0x0800);
}

static void test_many(void **state) {
        char under[TREE_PATH_MAX] = ROOT, address[PCI_ADDRESS_STRING_SIZE + 8];
        Tree *t = *state;

        for (unsigned bus = 0; bus < 8; bus++) {
                (void)snprintf(address, sizeof(address), "0000:%02x:01.0", bus);
                add(t, under, address, false);
                strcat(strcat(under, "/"), address);
        }
        ALIASES(t, "0000:07:01.0", 0x0608, 0x0508, 0x0408, 0x0308);
}

/* A table with one block of IVHD 0x11 for @segment: 00:14.0 to 00:14.7 and 01:00.0 appear as 00:14.4. */
static void put_ivrs(Tree *t, uint16_t segment, const char *name, size_t missing) {
        uint8_t table[48 + 40 + 8 + 4 + 8] = { 'I', 'V', 'R', 'S', sizeof(table) };
        static const uint8_t entries[] = {
                0x43, 0xa0, 0x00, 0, 0, 0xa4, 0x00, 0, /* range start */
                0x04, 0xa7, 0x00, 0,                   /* range end */
                0x42, 0x00, 0x01, 0, 0, 0xa4, 0x00, 0, /* select */
        };

        table[48] = 0x11;
        table[50] = sizeof(table) - 48;
        table[64] = (uint8_t)segment;
        memcpy(table + 88, entries, sizeof(entries));
        tree_put_bytes(t, table, sizeof(table) - missing, "%s", name);
}

static void test_ivrs(void **state) {
        Tree *t = *state;

        add(t, ROOT, "0000:00:14.0", true);
        add(t, ROOT, "0000:00:14.4", true);
        add(t, ROOT, "0000:00:15.0", true);
        add(t, ROOT "/0000:00:14.4", "0000:01:00.0", true);
        add(t, "pci0001:00", "0001:00:14.0", true);

        /* The second file serves where the first is not there. */
        put_ivrs(t, 0, "ivrs-2", 0);
        ALIASES(t, "0000:00:14.0", 0x00a4);
        assert_aliases(t, "0000:00:14.4", 0, NULL);
        assert_aliases(t, "0000:00:15.0", 0, NULL);
        ALIASES(t, "0000:01:00.0", 0x00a4);
        assert_aliases(t, "0001:00:14.0", 0, NULL);

        put_ivrs(t, 1, "ivrs-1", 0);
        assert_aliases(t, "0000:00:14.0", 0, NULL);
        ALIASES(t, "0001:00:14.0", 0x00a4);
}

static void test_ivrs_broken(void **state) {
        Tree *t = *state;
        uint8_t *large = new0(uint8_t, 2 * 1024 * 1024);

        assert_non_null(large);
        add(t, ROOT, "0000:00:14.0", true);
        put_ivrs(t, 0, "ivrs-1", 1);
        assert_aliases(t, "0000:00:14.0", 0, NULL);
        tree_put(t, "", "ivrs-1");
        assert_aliases(t, "0000:00:14.0", 0, NULL);
        /* One beyond all size is passed over. */
        tree_put_bytes(t, large, 2 * 1024 * 1024, "ivrs-1");
        put_ivrs(t, 0, "ivrs-2", 0);
        ALIASES(t, "0000:00:14.0", 0x00a4);
        free(large);
}

/* What bridges and the table both tell is told once. */
static void test_both(void **state) {
        Tree *t = *state;

        add(t, ROOT, "0000:00:14.4", false);
        add(t, ROOT "/0000:00:14.4", "0000:01:00.0", false);
        put_ivrs(t, 0, "ivrs-1", 0);
        ALIASES(t, "0000:01:00.0", 0x00a4);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_express), TEST(test_express_to_pci), TEST(test_conventional_bridge),
                TEST(test_many),    TEST(test_ivrs),           TEST(test_ivrs_broken),
                TEST(test_both),
        };
#undef TEST

        return cmocka_run_group_tests(tests, NULL, NULL);
}
