/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What others leave in a domain's <metadata>, as libvirt bears it: it is in nobody's way, and a request beside it is read strictly. */

#include "unit.h"

#include "domain/domain.h"
#include "oom.h"

#define XMLNS "xmlns:aviommu='" DOMAIN_XMLNS "'"

/* A domain with a PCI hostdev, and this in it. */
#define DOMAIN(inner)                                                                              \
        "<domain type='kvm'><name>web</name>" inner                                                \
        "<devices><hostdev type='pci'><source><address bus='0x41'/></source></hostdev></devices>"  \
        "</domain>"
#define METADATA(inner) DOMAIN("<metadata>" inner "</metadata>")
#define REQUEST         "<aviommu:viommu " XMLNS " tier='virtio' tenant='acme'/>"

/* However much it is, it takes no memory. */
static void much(void **state) {
        static const char head[] = "<domain type='kvm'><name>web</name><metadata>\n"
                                   "<o:info xmlns:o='urn:o'>",
                          part[] = "<o:a b='1'>t<!-- c --><?p i?><metadata xmlns='urn:p'>"
                                   "<aviommu:viommu " XMLNS " tier='none'/></metadata></o:a>",
                          tail[] = "</o:info> <plain><name>x</name></plain>\n" REQUEST
                                   "</metadata></domain>";
        size_t n_parts = 20000;
        _cleanup_free_ char *xml = malloc(sizeof(head) + n_parts * sizeof(part) + sizeof(tail)),
                            *error = NULL;
        char *end = stpcpy(xml, head);
        Domain d;

        (void)state;
        for (size_t i = 0; i < n_parts; i++)
                end = stpcpy(end, part);
        (void)stpcpy(end, tail);
        oom_arm(1000, UINT64_MAX);
        assert_ok(domain_parse(xml, strlen(xml), &d, &error));
        assert_false(oom_disarm());
        assert_string_equal(d.name, "web");
        assert_string_equal(d.tenant, "acme");
        assert_int_equal(d.n_tiers, 1);
        domain_done(&d);
}

static void assert_counted(const char *xml, bool asks) {
        _cleanup_free_ char *error = NULL;
        Domain d;

        if (domain_parse(xml, strlen(xml), &d, &error) < 0)
                fail_msg("%s\n%s", error, xml);
        assert_int_equal(d.n_functions, 1);
        assert_int_equal(d.asks, asks);
        if (asks)
                assert_string_equal(d.tenant, "acme");
        domain_done(&d);
}

/* libvirt's parser goes on where a namespace is wrong, and "virsh metadata --set" puts prefixes before prefixes. */
static void odd_names(void **state) {
        static const char *const cases[] = {
                METADATA("<a:x xmlns:a='urn:a'><b:y/></a:x>"),
                METADATA("<a:x xmlns:a='urn:a' b:c='1' b:d='2'/>"),
                METADATA("<k:x xmlns:k='urn:k'><k:b:y/><k:/><:k/><b: c:d:e='1'/></k:x>"),
                METADATA("<k:b:x xmlns:k='urn:k'/>"),
                METADATA("<k:x xmlns:k='urn:k' xmlns:l='urn:k' k:a='1' l:a='2'/>"),
                METADATA("<k:x xmlns:k='urn:k' xmlns:l=''><y xmlns:xml='urn:x' "
                         "xmlns:xmlns='urn:y'/></k:x>"),
                DOMAIN("<metadata b:c='1' xmlns:l=''><k:x xmlns:k='urn:k'/></metadata>"),
                METADATA("<k:x xmlns:k='urn:k'><k:b:y/></k:x>" REQUEST
                         "<l:x xmlns:l='urn:l' m:a=''><m:b/></l:x>"),
        };

        (void)state;
        for_each_case(xml, cases) assert_counted(*xml, strstr(*xml, DOMAIN_XMLNS));
}

/* libvirt has a limit for what it is given, and nests that in more. */
static void deep(void **state) {
        enum { DEPTH = 100000 };
        _cleanup_free_ char *xml = malloc(DEPTH * strlen("<a></a>") + 4096);

        (void)state;
        for (int i = 0; i < 2; i++) {
                char *end = stpcpy(xml, "<domain><name>web</name><metadata><k:x xmlns:k='urn:k'>");

                for (int k = 0; k < DEPTH; k++)
                        end = stpcpy(end, "<a>");
                for (int k = 0; k < DEPTH; k++)
                        end = stpcpy(end, "</a>");
                end = stpcpy(end, "</k:x>");
                if (i == 1)
                        end = stpcpy(end, REQUEST);
                (void)stpcpy(end, "</metadata><devices><hostdev type='pci'><source>"
                                  "<address bus='0x41'/></source></hostdev></devices></domain>");
                assert_counted(xml, i == 1);
        }
}

/* Declared beside what they are for, in whatever number. */
static void many_namespaces(void **state) {
        enum { N = 2000 };
        _cleanup_free_ char *xml = malloc(N * 64);
        char *end = stpcpy(xml, "<domain><name>web</name><metadata><k:x xmlns:k='urn:k'");

        (void)state;
        for (int i = 0; i < N; i++)
                end += sprintf(end, " xmlns:n%i='urn:n'", i);
        end = stpcpy(end, "/>" REQUEST "</metadata><devices><hostdev type='pci'><source><address "
                          "bus='0x41'/></source></hostdev></devices></domain>");
        assert_counted(xml, true);
}

/* In a request it is a mistake in the request: what the domain has is counted all the same, once it runs. */
static void in_request(void **state) {
#define OPEN "<aviommu:viommu " XMLNS " tier='virtio' tenant='acme'"
        static const struct {
                const char *xml, *says;
        } cases[] = {
                { METADATA(OPEN " b:otherwise='run'/>"), "no attribute \"b:otherwise\"" },
                { METADATA(OPEN " aviommu:otherwise='run'/>"),
                  "no attribute \"aviommu:otherwise\"" },
                { METADATA(OPEN " xml:lang='en'/>"), "no attribute \"xml:lang\"" },
                { METADATA(OPEN "><b:fallback tier='emulated'/></aviommu:viommu>"),
                  "<b:fallback> in line 1 of the domain's XML: There is no such element" },
                { METADATA(OPEN "><b:x><c:y><d:z/></c:y></b:x></aviommu:viommu>"),
                  "<b:x> in line 1 of the domain's XML: There is no such element" },
                { METADATA(OPEN "><aviommu:b:fallback tier='emulated'/></aviommu:viommu>"),
                  "<b:fallback> in line 1 of the domain's XML: There is no such element" },
                { METADATA(OPEN "><aviommu:fallback tier='emulated'><aviommu:a/></aviommu:fallback>"
                                "</aviommu:viommu>"),
                  "<a> in line 1 of the domain's XML: There is no such element" },
                { METADATA("<aviommu:b:viommu " XMLNS " tier='virtio'/>"),
                  "<b:viommu> in line 1 of the domain's XML: There is no such element" },
        };
        _cleanup_free_ char *xml = malloc(1 << 20);
        char *end = stpcpy(xml, "<domain><name>web</name><metadata>" OPEN ">");

        (void)state;
        for_each_case(c, cases) {
                _cleanup_free_ char *error = NULL;
                Domain d;

                assert_error(domain_parse(c->xml, strlen(c->xml), &d, &error), EINVAL);
                assert_contains(error, c->says);
                free(TAKE_PTR(error));
                assert_ok(domain_parse_started(c->xml, strlen(c->xml), &d, &error));
                assert_contains(d.bad_request, c->says);
                assert_int_equal(d.n_functions, 1);
                domain_done(&d);
        }

        for (int i = 0; i < 1000; i++)
                end = stpcpy(end, "<aviommu:viommu>");
        for (int i = 0; i < 1001; i++)
                end = stpcpy(end, "</aviommu:viommu>");
        (void)stpcpy(end, "</metadata><devices><hostdev type='pci'><source><address bus='0x41'/>"
                          "</source></hostdev></devices></domain>");
        {
                _cleanup_free_ char *error = NULL;
                Domain d;

                assert_ok(domain_parse_started(xml, strlen(xml), &d, &error));
                assert_contains(d.bad_request, "There is no such element in <viommu>");
                assert_int_equal(d.n_functions, 1);
                domain_done(&d);
        }
}

/* Where libvirt would not leave it, it is still an error: a request with a prefix that was mistyped would go unnoticed. */
static void unbound(void **state) {
        static const char *const cases[] = {
                METADATA("<aviommu:viommu tier='virtio'/>"),
                METADATA("<aviommu:viommu xmlns:aviommu='' tier='virtio'/>"),
                METADATA("<xmlns:viommu tier='virtio'/>"),
                METADATA(REQUEST "<aviommu:viommu tier='virtio'/>"),
                DOMAIN("<a:b/>"),
        };

        (void)state;
        for_each_case(xml, cases) {
                _cleanup_free_ char *error = NULL;
                Domain d;

                assert_error(domain_parse(*xml, strlen(*xml), &d, &error), EINVAL);
                assert_contains(error, "Line 1 of the domain's XML: unbound prefix.");
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(much),       cmocka_unit_test(odd_names),
                cmocka_unit_test(deep),       cmocka_unit_test(many_namespaces),
                cmocka_unit_test(in_request), cmocka_unit_test(unbound),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
