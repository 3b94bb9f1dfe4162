/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What `aviommuctl libvirt` makes of versions and capabilities of libvirt and QEMU that are not here, of domains that libvirt does not
 * show, and its differences.
 */

#include "unit.h"

#include <libvirt/libvirt.h>

#include "ctl/libvirt.h"

#define V(major, minor, release) ((uint64_t)(major) * 1000000 + (minor) * 1000 + (release))

static void find(const char *hypervisor, uint64_t libvirt, uint64_t qemu, const char *capabilities,
                 Ability ret[static _ABILITY_MAX]) {
        LibvirtVersions versions = { .hypervisor = (char *)hypervisor,
                                     .libvirt = libvirt,
                                     .version = qemu };

        memset(ret, 0xff, sizeof(Ability) * _ABILITY_MAX);
        abilities_find(&versions, capabilities, ret);
        for (size_t i = 0; i < _ABILITY_MAX; i++) {
                assert_true(memchr(ret[i].reason, '\0', sizeof(ret[i].reason)));
                assert_true((ret[i].verdict == VERDICT_YES) == streq(ret[i].reason, ""));
        }
}

/* One letter for each ability: y, n, ? */
static void expect(const Ability a[static _ABILITY_MAX], const char *expected) {
        char got[_ABILITY_MAX + 1] = "";

        for (size_t i = 0; i < _ABILITY_MAX; i++)
                got[i] = "ny?"[a[i].verdict];
        assert_string_equal(got, expected);
}

static void test_versions(void **state) {
        static const struct {
                uint64_t libvirt, qemu;
                const char *expected; /* virtio, amd, dma-remap, iommufd, fdgroup */
        } cases[] = {
                { V(8, 2, 0), V(6, 2, 0), "nnnnn" },
                { V(9, 0, 0), V(7, 2, 0), "ynnnn" },
                { V(11, 3, 0), V(10, 0, 2), "ynnnn" },
                { V(11, 4, 999), V(10, 1, 9), "ynnnn" },
                { V(11, 5, 0), V(10, 2, 0), "yyynn" },
                { V(12, 1, 0), V(11, 1, 3), "yyyyn" },
                { V(12, 2, 0), V(11, 1, 3), "yyyyy" },
                { V(12, 8, 0), V(11, 1, 2), "yyyyy" },
                { V(12, 8, 0), V(10, 0, 0), "yynyy" },
                { V(12, 8, 0), 0, "yy?yy" },
                { 0, 0, "?????" },
        };
        Ability a[_ABILITY_MAX];

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                find("QEMU", cases[i].libvirt, cases[i].qemu, NULL, a);
                expect(a, cases[i].expected);
        }
        find("QEMU", V(9, 0, 0), V(7, 2, 0), NULL, a);
        assert_string_equal(a[ABILITY_AMD].reason, "libvirt is 9.0.0; 11.5.0 and later can.");
        assert_string_equal(a[ABILITY_DMA_REMAP].reason, "QEMU is 7.2.0; 10.2.0 and later can.");

        /* The version of something else says nothing of QEMU. */
        find("TEST", V(12, 8, 0), V(99, 0, 0), NULL, a);
        expect(a, "yy?yy");
        assert_string_equal(VERSION_STRING(0), "-");
        assert_string_equal(VERSION_STRING(V(12, 8, 1)), "12.8.1");
}

#define CAPABILITIES(devices)                                                                      \
        "<domainCapabilities><devices>" devices "</devices></domainCapabilities>"
#define HOSTDEV(values)                                                                            \
        "<hostdev supported='yes'><enum name='mode'><value>yes</value></enum>" values "</hostdev>"

/* What libvirt says goes before its version. */
static void test_capabilities(void **state) {
        Ability a[_ABILITY_MAX];

        (void)state;
        /* No /dev/iommu on the host. */
        find("QEMU", V(12, 8, 0), V(11, 1, 3),
             CAPABILITIES(HOSTDEV("<enum name='iommufd'><value>no</value></enum>")), a);
        expect(a, "yyynn");
        assert_true(strstr(a[ABILITY_IOMMUFD].reason, "CONFIG_IOMMUFD"));
        assert_string_equal(a[ABILITY_FDGROUP].reason, a[ABILITY_IOMMUFD].reason);

        find("QEMU", V(12, 8, 0), V(11, 1, 3),
             CAPABILITIES(
                     HOSTDEV("<enum name='iommufd'><value>no</value><value>yes</value></enum>")),
             a);
        expect(a, "yyyyy");
        find("QEMU", V(12, 8, 0), V(11, 1, 3), CAPABILITIES(HOSTDEV("<enum name='iommufd'/>")), a);
        expect(a, "yyynn");
        find("QEMU", V(12, 8, 0), V(11, 1, 3), CAPABILITIES(HOSTDEV("")), a);
        expect(a, "yyyyy");

        /* A QEMU that is built without amd-iommu. */
        find("QEMU", V(12, 8, 0), V(11, 1, 3),
             CAPABILITIES("<iommu supported='yes'><enum "
                          "name='model'><value>virtio</value></enum></iommu>"),
             a);
        expect(a, "ynyyy");

        /* What cannot be read says nothing. */
        find("QEMU", V(12, 8, 0), V(11, 1, 3), "", a);
        expect(a, "yyyyy");
        find("QEMU", V(12, 8, 0), V(11, 1, 3), "<domainCapabilities><devices>", a);
        expect(a, "yyyyy");
        find("QEMU", V(12, 8, 0), V(11, 1, 3), "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", a);
        expect(a, "yyyyy");
}

static void expect_diff(const char *before, const char *after, const char *expected) {
        _cleanup_free_ char *got = diff_texts(before, after);

        assert_string_equal(got, expected);
}

static void test_diff(void **state) {
        (void)state;
        expect_diff("", "", "");
        expect_diff("a\nb\n", "a\nb\n", "");
        expect_diff("a\nb\n", "a\nb", "");
        expect_diff("", "a\n", "@@ -0,0 +1,1 @@\n+a\n");
        expect_diff("a\n", "", "@@ -1,1 +0,0 @@\n-a\n");
        expect_diff("a\nb\nc\n", "a\nx\nc\n", "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
        expect_diff("a\nb\nc\nd\ne\nf\ng\nh\n", "a\nb\nc\nd\ne\nf\nX\nh\n",
                    "@@ -4,5 +4,5 @@\n d\n e\n f\n-g\n+X\n h\n");
        /* Two far apart are two hunks, and the second counts what the first has added. */
        expect_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n", "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n",
                    "@@ -1,3 +1,4 @@\n+0\n 1\n 2\n 3\n@@ -7,4 +8,3 @@\n 7\n 8\n 9\n-10\n");
        /* What moves is taken out and put in. */
        expect_diff("a\nb\n", "b\na\n", "@@ -1,2 +1,2 @@\n-a\n b\n+a\n");
}

/* Larger than can be compared line by line: still a difference, in one piece. */
static void test_diff_of_much(void **state) {
        size_t n = 6000, size = n * 8 + 1;
        _cleanup_free_ char *a = malloc(size), *b = malloc(size), *got = NULL;
        char *p, *q;

        (void)state;
        assert_non_null(a);
        assert_non_null(b);
        p = a;
        q = b;
        for (size_t i = 0; i < n; i++) {
                p += sprintf(p, "a%zu\n", i % 1000);
                q += sprintf(q, "b%zu\n", i % 1000);
        }
        got = diff_texts(a, b);
        assert_memory_equal(got, "@@ -1,6000 +1,6000 @@\n-a0\n", 26);
        assert_non_null(strstr(got, "-a999\n+b0\n"));
}

/* ---- domains ---- */

char *__real_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags);
char *__wrap_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags);

/* Of one domain it is too much for libvirt; in its stead there is a flag that it does not know. */
char *__wrap_virDomainGetXMLDesc(virDomainPtr domain, unsigned flags) {
        return __real_virDomainGetXMLDesc(
                domain, streq(virDomainGetName(domain), "picky") ? 1U << 31 : flags);
}

typedef struct Seen {
        unsigned n, n_unreadable;
} Seen;

static int on_domain(const LibvirtDomain *d, void *userdata) {
        Seen *seen = userdata;

        seen->n++;
        assert_true(!d->xml == streq(d->name, "picky"));
        assert_true(!d->xml == !!d->error);
        assert_int_equal(strlen(d->uuid), 36);
        if (d->error) {
                seen->n_unreadable++;
                assert_non_null(strstr(d->error, "Cannot read the domain's XML: "));
        }
        return 0;
}

static void test_unreadable_domain(void **state) {
        Ctl ctl = { .uri = "test://" LIBVIRT_DIR "/node.xml" };
        _cleanup_(libvirt_closep) Libvirt *lv = NULL;
        LibvirtDomain d;
        Seen seen = {};

        (void)state;
        assert_int_equal(libvirt_open(&ctl, false, &lv), 0);
        assert_int_equal(libvirt_for_each(&ctl, lv, on_domain, &seen), 0);
        assert_int_equal(seen.n_unreadable, 1);
        assert_true(seen.n > 3);

        /* Who asks for that one is told. */
        assert_int_equal(libvirt_find(&ctl, lv, "picky", &d), -EIO);
        assert_int_equal(libvirt_find(&ctl, lv, "web", &d), 0);
        libvirt_domain_done(&d);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_versions),          cmocka_unit_test(test_capabilities),
                cmocka_unit_test(test_unreadable_domain), cmocka_unit_test(test_diff),
                cmocka_unit_test(test_diff_of_much),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
