/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the doctor reads in files of kernel and firmware, well-formed and otherwise. */

#include "unit.h"

#include "doctor/parse.h"
#include "lib/version.h"

static void test_kconfig(void **state) {
        static const char text[] = "# CONFIG_VFIO is not set\nCONFIG_IOMMUFD=m\nCONFIG_VFIO_PCI=y\n"
                                   "CONFIG_IOMMUFD_DRIVER=y\nCONFIG_NAME=\"y\"\nCONFIG_NR=64\n"
                                   " CONFIG_LEFT=y\nCONFIG_YES=yes\nCONFIG_LAST=m";
        static const struct {
                const char *symbol;
                char value;
        } cases[] = {
                { "IOMMUFD", 'm' }, { "VFIO_PCI", 'y' },
                { "VFIO", 'n' },    { "IOMMU", 'n' },
                { "NAME", 'n' },    { "NR", 'n' },
                { "LEFT", 'n' },    { "YES", 'n' },
                { "LAST", 'm' },    { "VFIO_DEVICE_CDEV", 'n' },
        };

        (void)state;
        for_each_case(c, cases) assert_int_equal(kconfig_get(text, c->symbol), c->value);
        assert_int_equal(kconfig_get("", "IOMMUFD"), 'n');
        assert_true(kconfig_is_one(text));
        assert_true(kconfig_is_one("# CONFIG_X is not set\n"));
        assert_false(kconfig_is_one(""));
        assert_false(kconfig_is_one("<html>CONFIG_IOMMUFD=y\n"));
}

typedef struct Words {
        char text[256];
} Words;

static void on_word(const char *word, void *userdata) {
        Words *w = userdata;
        size_t n = strlen(w->text);

        (void)snprintf(w->text + n, sizeof(w->text) - n, "[%s]", word);
}

static void test_command_line(void **state) {
        static const struct {
                const char *line, *words;
        } cases[] = {
                { "", "" },
                { "\n", "" },
                { "root=/dev/sda ro\n", "[root=/dev/sda][ro]" },
                { "  a\t b  ", "[a][b]" },
                { "dyndbg=\"file a +p\" iommu=pt", "[dyndbg=file a +p][iommu=pt]" },
                { "quiet -- iommu=off", "[quiet]" },
                { "\"open iommu=off", "[open iommu=off]" },
        };
        static const struct {
                const char *word, *name, *value;
                bool has;
        } values[] = {
                { "iommu=off", "iommu", "off", true },
                { "iommu=pt,off", "iommu", "off", true },
                { "iommu=off,pt", "iommu", "off", true },
                { "iommu=offset", "iommu", "off", false },
                { "amd_iommu=off", "iommu", "off", false },
                { "iommu", "iommu", "off", false },
                { "iommu=", "iommu", "off", false },
                { "iommu=,", "iommu", "off", false },
        };

        (void)state;
        for_each_case(c, cases) {
                Words w = {};

                command_line_for_each(c->line, on_word, &w);
                assert_string_equal(w.text, c->words);
        }
        for_each_case(c, values)
                assert_int_equal(command_line_has(c->word, c->name, c->value), c->has);
}

static void test_long_word(void **state) {
        char line[4096];
        Words w = {};

        (void)state;
        memset(line, 'x', sizeof(line) - 1);
        line[sizeof(line) - 1] = '\0';
        command_line_for_each(line, on_word, &w);
        assert_int_equal(w.text[0], '[');
}

static void test_limits(void **state) {
        static const struct {
                const char *text;
                int result;
                uint64_t bytes;
        } cases[] = {
                { "Limit  Soft Limit  Hard Limit  Units\nMax locked memory         8388608"
                  "              8388608              bytes\n",
                  0, 8388608 },
                { "Max locked memory         unlimited            unlimited            bytes\n", 0,
                  UINT64_MAX },
                { "Max locked memory", -EINVAL, 0 },
                { "Max locked memory  12", -EINVAL, 0 },
                { "Max locked memory  99999999999999999999999 1 bytes", -EINVAL, 0 },
                { "Max locked memory  -1 1 bytes", -EINVAL, 0 },
                { "Max open files 1 1 files\n", -EINVAL, 0 },
                { "", -EINVAL, 0 },
        };

        (void)state;
        for_each_case(c, cases) {
                uint64_t bytes = 0;

                assert_int_equal(limits_get_memlock(c->text, &bytes), c->result);
                assert_int_equal(bytes, c->bytes);
        }
}

static void test_users(void **state) {
        static const char text[] = "root:x:0:0:root:/root:/bin/sh\naviommu-agent:x:997:997::/:\n"
                                   "aviommu:x:998:998:IOMMU arbiter:/:/usr/sbin/nologin\n";

        (void)state;
        assert_int_equal(users_find(text, "aviommu"), 998);
        assert_int_equal(users_find(text, "root"), 0);
        assert_int_equal(users_find(text, "nobody"), -1);
        assert_int_equal(users_find("aviommu:x:", "aviommu"), -1);
        assert_int_equal(users_find("aviommu:x", "aviommu"), -1);
        assert_int_equal(users_find("aviommu:x:-1:1", "aviommu"), -1);
        assert_int_equal(users_find("aviommu:x:4294967295:1", "aviommu"), -1);
        assert_int_equal(users_find("", "aviommu"), -1);
}

static void test_vfio_ids(void **state) {
        static const struct {
                const char *ids;
                bool has;
        } cases[] = {
                { "8086:1521\n", true },
                { "8086:1521:ffff:ffff\n", true },
                { "10de:1eb8,8086:1521", true },
                { "8086:1520", false },
                { "8086", false },
                { "8086:", false },
                { "\n", false },
                { "", false },
                { ",", false },
                { "(null)\n", false },
        };

        (void)state;
        for_each_case(c, cases) assert_int_equal(vfio_ids_have(c->ids, 0x8086, 0x1521), c->has);
}

static void test_uuid(void **state) {
        static const struct {
                const char *arguments;
                size_t size;
                const char *uuid; /* NULL: none */
        } cases[] = {
#define ARGUMENTS(s) s, sizeof(s)
                { ARGUMENTS("qemu\0-name\0a\0-uuid\0"
                            "1234"),
                  "1234" },
                { ARGUMENTS("qemu\0--uuid\0"
                            "1234\0-x"),
                  "1234" },
                { ARGUMENTS("qemu\0--uuid=1234"), "1234" },
                { ARGUMENTS("qemu\0-uuid"), NULL },
                { ARGUMENTS("qemu\0-uuid\0"), NULL },
                { ARGUMENTS("qemu\0-uuidx\0"
                            "1234"),
                  NULL },
                { "qemu\0-uuid\0001234", 15, "1234" }, /* the last one not ended */
                { "qemu\0-uu", 8, NULL },
                { "", 0, NULL },
                { ARGUMENTS("qemu\0-uuid\0"
                            "0123456789012345678901234567890123456789"),
                  NULL },
        };

        (void)state;
        for_each_case(c, cases) {
                char uuid[40] = "";

                assert_int_equal(arguments_find_uuid(c->arguments, c->size, uuid, sizeof(uuid)),
                                 c->uuid != NULL);
                if (c->uuid)
                        assert_string_equal(uuid, c->uuid);
        }
}

static void test_processor(void **state) {
        char vendor[16];

        (void)state;
        assert_true(processor_vendor("processor\t: 0\nvendor_id\t: AuthenticAMD\n", vendor, 16));
        assert_string_equal(vendor, "AuthenticAMD");
        assert_false(processor_vendor("processor : 0\n", vendor, 16));
        assert_false(processor_vendor("vendor_id\n", vendor, 16));
        assert_false(processor_vendor("vendor_id\t: \n", vendor, 16));
        assert_false(processor_vendor("vendor_id\t: 0123456789abcdef\n", vendor, 16));
        assert_false(processor_vendor("", vendor, 16));
}

static void test_interrupts(void **state) {
        (void)state;
        assert_true(interrupts_are_remapped(" 24: 0  IR-PCI-MSIX-0000:00:01.0 0-edge nvme0q0\n"));
        assert_true(interrupts_are_remapped(" 1: 0  IR-IO-APIC 1-edge i8042\n"));
        assert_false(interrupts_are_remapped(" 24: 0  PCI-MSIX-0000:00:01.0 0-edge\n"));
        assert_false(interrupts_are_remapped(""));
}

/* ---- IVRS ---- */

typedef struct Table {
        uint8_t data[256];
        size_t size;
} Table;

static void table_block(Table *t, uint8_t type, uint8_t size, uint16_t id, uint16_t segment) {
        uint8_t *p = t->data + t->size;

        p[0] = type;
        p[2] = size;
        p[4] = (uint8_t)id;
        p[5] = (uint8_t)(id >> 8);
        p[16] = (uint8_t)segment;
        t->size += size;
}

static void table_end(Table *t) {
        uint8_t sum = 0;

        memcpy(t->data, "IVRS", 4);
        t->data[4] = (uint8_t)t->size;
        t->data[9] = 0;
        for (size_t i = 0; i < t->size; i++)
                sum = (uint8_t)(sum + t->data[i]);
        t->data[9] = (uint8_t)-sum;
}

static void test_ivrs(void **state) {
        Table t = { .size = 48 };
        IvrsSummary s;

        (void)state;
        table_block(&t, 0x10, 24, 0x02, 0);
        table_block(&t, 0x20, 32, 0, 0); /* memory that is to be mapped as it is */
        table_block(&t, 0x11, 40, 0x02, 0);
        table_block(&t, 0x11, 40, 0x02, 1);
        table_end(&t);
        assert_ok(ivrs_summarize(t.data, t.size, &s));
        assert_false(s.is_damaged);
        assert_int_equal(s.n_iommus, 2);
        assert_true(s.has_features);

        t.data[60]++; /* another sum */
        assert_ok(ivrs_summarize(t.data, t.size, &s));
        assert_true(s.is_damaged);

        for (size_t size = 0; size < t.size; size++) {
                int r = ivrs_summarize(t.data, size, &s);

                assert_int_equal(r, size < 4 ? -EBADMSG : 0);
                assert_true(r < 0 || s.is_damaged);
        }
        memcpy(t.data, "DMAR", 4);
        assert_error(ivrs_summarize(t.data, t.size, &s), EBADMSG);
}

static void test_ivrs_short_block(void **state) {
        Table t = { .size = 48 };
        IvrsSummary s;

        (void)state;
        table_block(&t, 0x10, 24, 0x02, 0);
        t.size -= 4;
        t.data[50] = 20;
        table_end(&t);
        assert_ok(ivrs_summarize(t.data, t.size, &s));
        assert_true(s.is_damaged);
        assert_int_equal(s.n_iommus, 0);
}

/* ---- VSC ---- */

/* A space with an IOMMU's own capability at 40h, which leads to @vsc; its BARs are enabled as told. */
static void space_make(uint8_t space[static 256], uint8_t vsc, uint8_t vf, uint8_t control) {
        memset(space, 0, 256);
        space[0x06] = 0x10;
        space[0x34] = 0x40;
        space[0x40] = 0x0f;
        space[0x41] = vsc;
        if (vsc) {
                space[vsc] = 0x09;
                space[vsc + 0x08] = vf;
                space[vsc + 0x10] = control;
        }
}

static void test_vsc(void **state) {
        static const struct {
                uint8_t vsc, vf, control;
                size_t size;
                VscState expected;
        } cases[] = {
                { 0x70, 1, 1, 256, VSC_PRESENT },  { 0x70, 0x01, 0x00, 256, VSC_DISABLED },
                { 0x70, 0, 1, 256, VSC_DISABLED }, { 0x70, 2, 3, 256, VSC_DISABLED },
                { 0, 0, 0, 256, VSC_ABSENT },      { 0x70, 1, 1, 64, VSC_HIDDEN },
                { 0x70, 1, 1, 0x70, VSC_HIDDEN },  { 0x70, 1, 1, 0x80, VSC_HIDDEN },
                { 0x70, 1, 1, 0x88, VSC_PRESENT }, { 0x70, 1, 1, 0, VSC_HIDDEN },
                { 0x70, 1, 1, 63, VSC_HIDDEN },    { 0xe8, 1, 1, 256, VSC_PRESENT },
        };
        uint8_t space[256];

        (void)state;
        for_each_case(c, cases) {
                space_make(space, c->vsc, c->vf, c->control);
                assert_int_equal(vsc_find(space, c->size), c->expected);
        }

        space_make(space, 0x40, 0, 0); /* in a circle */
        space[0x40] = 0x0f;
        assert_int_equal(vsc_find(space, 256), VSC_ABSENT);
        space_make(space, 0xec, 1, 1); /* too near the end to be whole */
        assert_int_equal(vsc_find(space, 256), VSC_ABSENT);
        space_make(space, 0x70, 1, 1);
        space[0x06] = 0; /* no list */
        assert_int_equal(vsc_find(space, 256), VSC_ABSENT);
        space[0x06] = 0x10;
        space[0x34] = 0x04; /* into the header */
        assert_int_equal(vsc_find(space, 256), VSC_ABSENT);
}

/* ---- versions ---- */

static void test_versions(void **state) {
        static const struct {
                const char *text;
                uint64_t version; /* 0: none */
        } cases[] = {
                { "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c) 2003-2025\n",
                  10000002 },
                { "QEMU emulator version 11.1.3\n", 11001003 },
                { "libvirtd (libvirt) 12.8.0\n", 12008000 },
                { "/usr/sbin/virtqemud (libvirt) 11.3\n", 11003000 },
                { "QEMU emulator version 10.2.50 (v10.2.0-123-gabc)\n", 10002050 },
                { "qemu-kvm 9.1.", 9001000 },
                { "7.2rc1", 7002000 },
                { "version 10", 0 },
                { "version 1000.1", 0 },
                { "version 1.1000", 0 },
                { "v10.1", 0 },
                { "", 0 },
        };

        (void)state;
        for_each_case(c, cases) {
                uint64_t version = 0;

                assert_int_equal(version_parse(c->text, &version), c->version ? 0 : -EINVAL);
                assert_int_equal(version, c->version);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kconfig),
                cmocka_unit_test(test_command_line),
                cmocka_unit_test(test_long_word),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_users),
                cmocka_unit_test(test_uuid),
                cmocka_unit_test(test_vfio_ids),
                cmocka_unit_test(test_processor),
                cmocka_unit_test(test_interrupts),
                cmocka_unit_test(test_ivrs),
                cmocka_unit_test(test_ivrs_short_block),
                cmocka_unit_test(test_vsc),
                cmocka_unit_test(test_versions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
