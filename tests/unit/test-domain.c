/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is read of a libvirt domain's XML, and what is refused of it. */

#include "unit.h"

#include "domain/decide.h"
#include "domain/domain.h"
#include "oom.h"

#define UUID    "6f2c1e0a-4f6b-4c0e-9a53-0d4c3a5be201"
#define XMLNS   "xmlns:aviommu='" DOMAIN_XMLNS "'"
#define QEMU_NS "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"

/* A domain with @inner in it, beside its name. */
#define DOMAIN(inner)  "<domain type='kvm'><name>web</name>" inner "</domain>"
#define DEVICES(inner) DOMAIN("<devices>" inner "</devices>")
#define SOURCE(d, b, s, f)                                                                         \
        "<source><address domain='" d "' bus='" b "' slot='" s "' function='" f "'/></source>"
#define HOSTDEV(attributes, bus)                                                                   \
        "<hostdev type='pci'" attributes ">" SOURCE("0", bus, "0", "0") "</hostdev>"

/* A domain with the functions 41:00.0 and 42:00.0, and this in its <metadata>. */
#define METADATA(inner)                                                                            \
        DOMAIN("<metadata>" inner "</metadata><devices>" HOSTDEV("", "0x41")                       \
                       HOSTDEV("", "0x42") "</devices>")
#define REQUEST(attributes, inner)                                                                 \
        METADATA("<aviommu:viommu " XMLNS " " attributes ">" inner "</aviommu:viommu>")

static int parse(const char *xml, Domain *ret, char **reterr) {
        return domain_parse(xml, strlen(xml), ret, reterr);
}

/* Taken; the caller gives it back. */
static Domain taken(const char *xml) {
        _cleanup_free_ char *error = NULL;
        Domain domain;

        if (parse(xml, &domain, &error) < 0)
                fail_msg("%s\n%s", error, xml);
        assert_null(error);
        return domain;
}

static void assert_refused(const char *xml, const char *says) {
        _cleanup_free_ char *error = NULL;
        Domain domain, before;

        memset(&domain, 0x5a, sizeof(domain));
        memcpy(&before, &domain, sizeof(domain));
        if (parse(xml, &domain, &error) != -EINVAL)
                fail_msg("taken: %s", xml);
        assert_non_null(error);
        assert_contains(error, says);
        assert_memory_equal(&domain, &before, sizeof(domain));
}

static const char whole[] =
        "<?xml version='1.0'?>\n"
        "<!-- a domain -->\n"
        "<domain type='kvm' id='7' " QEMU_NS ">\n"
        "  <name>web &amp; mail</name>\n"
        "  <uuid>" UUID "</uuid>\n"
        "  <metadata>\n"
        "    <other:viommu xmlns:other='https://example.org/' tier='none'/>\n"
        "    <aviommu:viommu " XMLNS " tier='emulated' otherwise='run' tenant='acme.eu'>\n"
        "      <!-- in this order -->\n"
        "      <aviommu:fallback tier='virtio'/>\n"
        "      <aviommu:function address='41:00.0' guest-device-id='01:00.0'/>\n"
        "      <aviommu:fallback tier='hardware'/>\n"
        "    </aviommu:viommu>\n"
        "  </metadata>\n"
        "  <maxMemory slots='16' unit='GiB'>16</maxMemory>\n"
        "  <memory unit='KiB'>8388608</memory>\n"
        "  <vcpu placement='static' current='2'>300</vcpu>\n"
        "  <os><type arch='x86_64' machine='pc-q35-11.1'>hvm</type></os>\n"
        "  <features><acpi/></features>\n"
        "  <iommufd enabled='yes' fdgroup='aviommu'/>\n"
        "  <devices>\n"
        "    <iommu model='amd'><driver intremap='on' xtsup='on' passthrough='off'/></iommu>\n"
        "    <hostdev mode='subsystem' type='pci' managed='yes'>\n"
        "      <driver name='vfio'/>\n"
        "      <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x0'/></source>\n"
        "      <alias name='hostdev0'/>\n"
        "      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>\n"
        "    </hostdev>\n"
        "    <hostdev mode='subsystem' type='usb'><source><vendor "
        "id='0x1d6b'/></source></hostdev>\n"
        "    <hostdev mode='subsystem' type='mdev'/>\n"
        "    <hostdev mode='capabilities' type='pci'/>\n"
        "    <interface type='network'><source network='default'/></interface>\n"
        "    <interface type='hostdev' managed='no'>\n"
        "      <driver name='vfio' iommufd='no'/>\n"
        "      <source><address type='pci' domain='0x1' bus='65' slot='0x1f' "
        "function='07'/></source>\n"
        "    </interface>\n"
        "  </devices>\n"
        "  <qemu:commandline>\n"
        "    <qemu:arg value='-global'/>\n"
        "    <qemu:arg value='amd-iommu.dma-remap=on'/>\n"
        "  </qemu:commandline>\n"
        "</domain>\n";

static void assert_whole(const Domain *d) {
        char uuid[SD_ID128_UUID_STRING_MAX];

        assert_string_equal(sd_id128_to_uuid_string(d->uuid, uuid), UUID);
        assert_string_equal(d->name, "web & mail");
        assert_string_equal(d->type, "kvm");
        assert_int_equal(d->id, 7);
        assert_string_equal(d->machine, "pc-q35-11.1");
        assert_int_equal(d->n_vcpus, 300);
        assert_true(d->acpi);
        assert_int_equal(d->memory, UINT64_C(16) << 30);

        assert_int_equal(d->iommu, DOMAIN_IOMMU_AMD);
        assert_string_equal(d->iommu_model, "amd");
        assert_true(d->intremap && d->xtsup && d->has_passthrough && d->dma_remap);
        assert_true(d->iommufd);
        assert_string_equal(d->fdgroup, "aviommu");

        assert_int_equal(d->n_functions, 2);
        assert_string_equal(PCI_ADDRESS_STRING(&d->functions[0].address), "0000:41:00.0");
        assert_true(d->functions[0].managed && d->functions[0].iommufd);
        assert_string_equal(d->functions[0].alias, "hostdev0");
        assert_true(d->functions[0].has_guest_id);
        assert_int_equal(d->functions[0].guest_id.bdf, 0x100);
        assert_string_equal(PCI_ADDRESS_STRING(&d->functions[1].address), "0001:41:1f.7");
        assert_false(d->functions[1].managed || d->functions[1].iommufd ||
                     d->functions[1].has_guest_id);
        assert_null(d->functions[1].alias);

        assert_true(d->asks && !d->is_auto && d->runs_otherwise);
        assert_int_equal(d->n_tiers, 3);
        assert_int_equal(d->tiers[0], DOMAIN_TIER_EMULATED);
        assert_int_equal(d->tiers[1], DOMAIN_TIER_VIRTIO);
        assert_int_equal(d->tiers[2], DOMAIN_TIER_HARDWARE);
        assert_string_equal(d->tenant, "acme.eu");
}

static void all_of_it(void **state) {
        Domain d = taken(whole);

        (void)state;
        assert_whole(&d);
        domain_done(&d);
        domain_done(&d); /* twice is as good */
}

static void next_to_nothing(void **state) {
        Domain d = taken("<domain><name>\n a \t</name></domain>");

        (void)state;
        assert_string_equal(d.name, "a");
        assert_true(sd_id128_is_null(d.uuid));
        assert_int_equal(d.id, -1);
        assert_int_equal(d.iommu, DOMAIN_IOMMU_NONE);
        assert_null(d.type);
        assert_null(d.machine);
        assert_null(d.iommu_model);
        assert_null(d.fdgroup);
        assert_null(d.tenant);
        assert_null(d.functions);
        assert_false(d.asks || d.is_auto || d.runs_otherwise || d.iommufd || d.dma_remap);
        assert_int_equal(d.n_tiers + d.n_functions + d.n_vcpus + d.memory, 0);
        domain_done(&d);
}

static void encodings(void **state) {
        static const char *const cases[] = {
                "<?xml version='1.0'?><domain><name>\xc3\xa4</name></domain>",
                "<?xml version='1.0' encoding='UTF-8'?><domain><name>\xc3\xa4</name></domain>",
                ("\xef\xbb\xbf<?xml version=\"1.0\"\nencoding = \"utf-8\" "
                 "?><domain><name>\xc3\xa4</name></domain>"),
                "<?xml version='1.0' encoding='US-ASCII'?><domain><name>&#228;</name></domain>",
                "<?xml-encoding x?><domain><name>&#xe4;</name></domain>",
        };

        (void)state;
        for_each_case(xml, cases) {
                Domain d = taken(*xml);

                assert_string_equal(d.name, "\xc3\xa4");
                domain_done(&d);
        }
}

static void memory(void **state) {
        static const struct {
                const char *xml;
                uint64_t bytes;
        } cases[] = {
                { DOMAIN("<memory>1024</memory>"), 1 << 20 },
                { DOMAIN("<memory unit='KiB'>1</memory>"), 1024 },
                { DOMAIN("<memory unit='k'>1</memory>"), 1024 },
                { DOMAIN("<memory unit='KB'>1</memory>"), 1000 },
                { DOMAIN("<memory unit='b'>7</memory>"), 7 },
                { DOMAIN("<memory unit='byte'>7</memory>"), 7 },
                { DOMAIN("<memory unit='bytes'>7</memory>"), 7 },
                { DOMAIN("<memory unit='M'>3</memory>"), 3 << 20 },
                { DOMAIN("<memory unit='mib'>3</memory>"), 3 << 20 },
                { DOMAIN("<memory unit='GB'>3</memory>"), UINT64_C(3000000000) },
                { DOMAIN("<memory unit='TiB'>2</memory>"), UINT64_C(2) << 40 },
                { DOMAIN("<memory unit='PiB'>2</memory>"), UINT64_C(2) << 50 },
                { DOMAIN("<memory unit='EiB'>15</memory>"), UINT64_C(15) << 60 },
                { DOMAIN("<memory unit='EB'>18</memory>"), UINT64_C(18000000000000000000) },
                { DOMAIN("<maxMemory unit='MiB'>4</maxMemory>"), 4 << 20 },
                { DOMAIN("<maxMemory unit='MiB'>1</maxMemory><memory unit='MiB'>2</memory>"),
                  2 << 20 },
        };
        static const char *const bad[] = {
                DOMAIN("<memory unit='KiB'></memory>"),
                DOMAIN("<memory unit=''>1</memory>"),
                DOMAIN("<memory unit='KiBi'>1</memory>"),
                DOMAIN("<memory unit='x'>1</memory>"),
                DOMAIN("<memory unit='KiB'>-1</memory>"),
                DOMAIN("<memory unit='KiB'>0x10</memory>"),
                DOMAIN("<memory unit='KiB'>1 2</memory>"),
                DOMAIN("<memory unit='EiB'>16</memory>"),
                DOMAIN("<memory unit='b'>18446744073709551616</memory>"),
                DOMAIN("<maxMemory unit='KiB'>a</maxMemory>"),
        };

        (void)state;
        for_each_case(c, cases) {
                Domain d = taken(c->xml);

                if (d.memory != c->bytes)
                        fail_msg("%llu: %s", (unsigned long long)d.memory, c->xml);
                domain_done(&d);
        }
        for_each_case(xml, bad) assert_refused(*xml, "emory> in line 1 of the domain's XML: \"");
}

static void iommus(void **state) {
        static const struct {
                const char *xml;
                DomainIommu iommu;
        } cases[] = {
                { DEVICES(""), DOMAIN_IOMMU_NONE },
                { DEVICES("<iommu model='amd'/>"), DOMAIN_IOMMU_AMD },
                { DEVICES("<iommu model='virtio'/>"), DOMAIN_IOMMU_VIRTIO },
                { DEVICES("<iommu model='intel'/>"), DOMAIN_IOMMU_OTHER },
                { DEVICES("<iommu model='smmuv3'/>"), DOMAIN_IOMMU_OTHER },
                { DEVICES("<iommu model='Amd'/>"), DOMAIN_IOMMU_OTHER },
                { DEVICES("<iommu/>"), DOMAIN_IOMMU_OTHER },
                { DEVICES("<iommu model='amd'/><iommu model='amd'/>"), DOMAIN_IOMMU_SEVERAL },
                /* not libvirt's */
                { DEVICES("<iommu xmlns='urn:x' model='amd'/>"), DOMAIN_IOMMU_NONE },
                { DEVICES("<x:iommu xmlns:x='urn:x' model='amd'/>"), DOMAIN_IOMMU_NONE },
                { DEVICES("<iommu xmlns:x='urn:x' x:model='amd'/>"), DOMAIN_IOMMU_OTHER },
                { DOMAIN("<iommu model='amd'/>"), DOMAIN_IOMMU_NONE },
                { DEVICES("<!-- <iommu model='amd'/> -->"), DOMAIN_IOMMU_NONE },
        };

        (void)state;
        for_each_case(c, cases) {
                Domain d = taken(c->xml);

                if (d.iommu != c->iommu)
                        fail_msg("%i: %s", (int)d.iommu, c->xml);
                domain_done(&d);
        }
}

#define ARG(value) "<qemu:arg value='" value "'/>"
#define COMMANDLINE(args)                                                                          \
        "<domain " QEMU_NS "><name>a</name><qemu:commandline>" args "</qemu:commandline></domain>"

static void command_lines(void **state) {
        static const struct {
                const char *xml;
                bool dma_remap;
        } cases[] = {
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=on")), true },
                { COMMANDLINE(ARG("--global") ARG("amd-iommu.dma-remap=yes")), true },
                { COMMANDLINE(ARG("-global") ARG("driver=amd-iommu,property=dma-remap,value=true")),
                  true },
                { COMMANDLINE(ARG("-S") ARG("-global") ARG("x.y=z") ARG("-global")
                                      ARG("amd-iommu.dma-remap=on")),
                  true },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=off") ARG("-global")
                                      ARG("amd-iommu.dma-remap=on")),
                  true },
                { COMMANDLINE(ARG("-global") "</qemu:commandline><qemu:commandline>" ARG(
                          "amd-iommu.dma-remap=on")),
                  true },
                { COMMANDLINE(""), false },
                { COMMANDLINE(ARG("-global")), false },
                { COMMANDLINE(ARG("amd-iommu.dma-remap=on")), false },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=off")), false },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=on") ARG("-global")
                                      ARG("amd-iommu.dma-remap=off")),
                  false },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=")), false },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-remap=on ")), false },
                { COMMANDLINE(ARG("-global") ARG("amd-iommu.dma-translation=on")), false },
                /* QEMU takes no option with its value in one argument. */
                { COMMANDLINE(ARG("-global amd-iommu.dma-remap=on")), false },
                { COMMANDLINE(ARG("-global=amd-iommu.dma-remap=on")), false },
                /* the value of another option */
                { COMMANDLINE(ARG("-global") ARG("-global") ARG("amd-iommu.dma-remap=on")), false },
                { COMMANDLINE("<qemu:arg/><qemu:env name='-global' value='-global'/>"), false },
                /* another namespace, or none */
                { "<domain xmlns:qemu='urn:x'><name>a</name><qemu:commandline>" ARG("-global")
                          ARG("amd-iommu.dma-remap=on") "</qemu:commandline></domain>",
                  false },
                { DOMAIN("<commandline><arg value='-global'/><arg value='amd-iommu.dma-remap=on'/>"
                         "</commandline>"),
                  false },
        };

        (void)state;
        for_each_case(c, cases) {
                Domain d = taken(c->xml);

                if (d.dma_remap != c->dma_remap)
                        fail_msg("%i: %s", (int)d.dma_remap, c->xml);
                domain_done(&d);
        }
}

static void contexts(void **state) {
        static const struct {
                const char *iommufd, *driver, *other;
                bool takes;
        } cases[] = {
                { "", "", "", false },
                { "<iommufd enabled='yes'/>", "", "", false },
                { "<iommufd enabled='yes' fdgroup=''/>", "", "", false },
                { "<iommufd enabled='yes' fdgroup='other'/>", "", "", false },
                { "<iommufd enabled='no' fdgroup='aviommu'/>", "", "", false },
                { "<iommufd fdgroup='aviommu'/>", "", "", false },
                { "<iommufd enabled='yes' fdgroup='aviommu'/>", "", "", true },
                { "<iommufd enabled='yes' fdgroup='aviommu'/>", "<driver iommufd='yes'/>", "",
                  true },
                { "<iommufd enabled='yes' fdgroup='aviommu'/>", "<driver name='vfio'/>", "", true },
                { "<iommufd enabled='yes' fdgroup='aviommu'/>", "<driver iommufd='no'/>", "",
                  false },
                { "<iommufd enabled='yes' fdgroup='aviommu'/>", "", "<driver iommufd='no'/>",
                  false },
                { "", "<driver iommufd='yes'/>", "<driver iommufd='yes'/>", false },
        };

        (void)state;
        for_each_case(c, cases) {
                char xml[2048];
                Domain d;

                (void)snprintf(
                        xml, sizeof(xml),
                        DOMAIN("%s<devices><hostdev type='pci'>%s" SOURCE(
                                "0", "1", "0",
                                "0") "</hostdev><hostdev type='pci'>%s" SOURCE("0", "2", "0",
                                                                               "0") "</hostdev></"
                                                                                    "devices>"),
                        c->iommufd, c->driver, c->other);
                d = taken(xml);
                if (domain_takes_context(&d) != c->takes)
                        fail_msg("not %i: %s", (int)c->takes, xml);
                domain_done(&d);
        }
}

static void no_domains(void **state) {
        static const struct {
                const char *xml, *says;
        } cases[] = {
                { "", "domain's XML" },
                { "hello", "Line 1 of the domain's XML: syntax error." },
                { "<domain", "Line 1 of the domain's XML: " },
                { "<domain><name>a</name>", "Line 1 of the domain's XML: " },
                { "<domain>\n\n</doman>", "Line 3 of the domain's XML: mismatched tag." },
                { "<domain><name>a</name></domain><domain/>", "junk after document element" },
                { "<domain><name>&e;</name></domain>", "undefined entity" },
                { "<domain><name>a\x01</name></domain>", "Line 1 of the domain's XML: " },
                { "<domain><name>\xff</name></domain>", "Line 1 of the domain's XML: " },
                { "<q:domain><name>a</name></q:domain>",
                  "Line 1 of the domain's XML: unbound prefix." },
                { "<q:domain xmlns:q='urn:x'><name>a</name></q:domain>",
                  "A domain's XML begins with <domain>." },
                { "<network><name>a</name></network>",
                  "<network> in line 1 of the domain's XML: A domain's XML begins with <domain>." },
                { "<domain xmlns='urn:x'><name>a</name></domain>", "begins with <domain>" },
                { "<?xml version='1.0' encoding='ISO-8859-1'?><domain><name>a</name></domain>",
                  "not in UTF-8" },
                { "\xef\xbb\xbf<?xml version='1.0' encoding = "
                  "\"UTF-16\"?><domain><name>a</name></domain>",
                  "not in UTF-8" },
                { "<?xml version='1.0' encoding='UTF-80'?><domain><name>a</name></domain>",
                  "not in UTF-8" },
                { "<domain/>", "<domain> in line 1 of the domain's XML: The domain has no name." },
                { "<domain><name> </name></domain>", "has no name" },
                { "<domain><name/></domain>", "has no name" },
                { DOMAIN("\n<uuid>1</uuid>"),
                  "<uuid> in line 2 of the domain's XML: \"1\" is no UUID." },
                { DOMAIN("<uuid/>"), "is no UUID" },
                { "<domain id='x'><name>a</name></domain>", "\"x\" is no id of a domain" },
                { "<domain id='-1'><name>a</name></domain>", "no id" },
                { "<domain id='2147483648'><name>a</name></domain>", "no id" },
                { DOMAIN("<vcpu>many</vcpu>"), "\"many\" is no number of vCPUs" },
                { DOMAIN("<vcpu>4294967296</vcpu>"), "no number" },
                /* functions */
                { DEVICES("<hostdev type='pci'/>"), "no <source> with an <address>" },
                { DEVICES("<hostdev type='pci'><source/></hostdev>"), "no <source> with" },
                { DEVICES("<interface type='hostdev'/>"), "<interface> in line 1" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0x10000", "0", "0", "0") "</hostdev>"),
                  "domain=\"0x10000\" is no part of a PCI address" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "256", "0", "0") "</hostdev>"),
                  "bus=\"256\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "0", "0x20", "0") "</hostdev>"),
                  "slot=\"0x20\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "0", "0", "8") "</hostdev>"),
                  "function=\"8\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "4g", "0", "0") "</hostdev>"),
                  "bus=\"4g\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "08", "0", "0") "</hostdev>"),
                  "bus=\"08\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("0", "0x", "0", "0") "</hostdev>"),
                  "bus=\"0x\"" },
                { DEVICES("<hostdev type='pci'>" SOURCE("", "0", "0", "0") "</hostdev>"),
                  "domain=\"\"" },
                { DEVICES(HOSTDEV("", "1") HOSTDEV("", "0x1")), "0000:01:00.0 is there twice" },
                /* shown without what a terminal would obey, and not in full */
                { DOMAIN("<uuid>a&#10;b</uuid>"), "\"a b\" is no UUID" },
                { DOMAIN("<uuid>"
                         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                         "\xc3\xa4"
                         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                         "\xc3\xa4"
                         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                         "\xc3\xa4"
                         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                         "\xc3\xa4"
                         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                         "\xc3\xa4</uuid>"),
                  "\xc3\xa4...\" is no UUID" },
        };

        (void)state;
        for_each_case(c, cases) assert_refused(c->xml, c->says);
}

/* Nothing is fetched, nothing is expanded: a declaration is as far as it gets. */
static void declarations(void **state) {
        static const char *const cases[] = {
                "<!DOCTYPE domain><domain><name>a</name></domain>",
                "<!DOCTYPE domain SYSTEM "
                "'http://127.0.0.1:1/x.dtd'><domain><name>a</name></domain>",
                "<!DOCTYPE domain SYSTEM '/etc/passwd'><domain><name>a</name></domain>",
                "<!DOCTYPE domain [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
                "<domain><name>&e;</name></domain>",
                "<!DOCTYPE domain [<!ENTITY % p SYSTEM '/etc/passwd'> "
                "%p;]><domain><name>a</name></domain>",
                "<!DOCTYPE domain [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b "
                "'&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
                "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d "
                "'&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>"
                "<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;'>]><domain><name "
                "a='&e;'>&e;</name></domain>",
        };

        (void)state;
        for_each_case(xml, cases) assert_refused(*xml, "a document type declaration");
}

/* An include is an element like any other. */
static void includes(void **state) {
        Domain d = taken(DOMAIN("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' "
                                "href='/etc/passwd' parse='text'/>"));

        (void)state;
        assert_string_equal(d.name, "web");
        domain_done(&d);
}

static void sizes(void **state) {
        _cleanup_free_ char *xml = malloc(DOMAIN_XML_SIZE_MAX + 2), *error = NULL;
        size_t n = strlen("<domain><name>a</name></domain>");
        Domain d = {};

        (void)state;
        assert_non_null(xml);
        memset(xml, '\n', DOMAIN_XML_SIZE_MAX + 1);
        memcpy(xml, "<domain><name>a</name></domain>", n);
        assert_ok(domain_parse(xml, DOMAIN_XML_SIZE_MAX, &d, &error));
        domain_done(&d);
        assert_error(domain_parse(xml, DOMAIN_XML_SIZE_MAX + 1, &d, &error), E2BIG);
        assert_contains(error, "8388609 bytes");
        free(TAKE_PTR(error));

        /* deeper than anything is */
        n = 0;
        for (size_t i = 0; i < 100000; i++)
                n += (size_t)sprintf(xml + n, "<domain>");
        assert_error(domain_parse(xml, n, &d, &error), EINVAL);
        assert_contains(error, "Line 1 of the domain's XML: elements are nested deeper than 256.");
        free(TAKE_PTR(error));

        /* looked up in more than anything declares */
        for (int i = 64; i <= 65; i++) {
                n = (size_t)sprintf(xml, "<domain");
                for (int k = 0; k < i; k++)
                        n += (size_t)sprintf(xml + n, " xmlns:a%i='urn:a'", k);
                n += (size_t)sprintf(xml + n, "><name>a</name></domain>");
                if (i == 64) {
                        assert_ok(domain_parse(xml, n, &d, &error));
                        domain_done(&d);
                        continue;
                }
                assert_error(domain_parse(xml, n, &d, &error), EINVAL);
                assert_contains(error, "Line 1 of the domain's XML: more namespaces than 64");
                free(TAKE_PTR(error));
        }

        /* as deep as anything may be */
        n = (size_t)sprintf(xml, "<domain><name>a</name>");
        for (size_t i = 1; i < 256; i++)
                n += (size_t)sprintf(xml + n, "<a>");
        for (size_t i = 1; i < 256; i++)
                n += (size_t)sprintf(xml + n, "</a>");
        n += (size_t)sprintf(xml + n, "</domain>");
        assert_ok(domain_parse(xml, n, &d, &error));
        domain_done(&d);
}

static void many_functions(void **state) {
        enum { SIZE = (DOMAIN_FUNCTIONS_MAX + 1) * 200 };
        _cleanup_free_ char *xml = malloc(SIZE), *error = NULL;
        Domain d = {};

        (void)state;
        assert_non_null(xml);
        for (unsigned count = DOMAIN_FUNCTIONS_MAX; count <= DOMAIN_FUNCTIONS_MAX + 1; count++) {
                size_t n = (size_t)sprintf(xml, "<domain><name>a</name><devices>");

                for (unsigned i = 0; i < count; i++)
                        n += (size_t)sprintf(
                                xml + n,
                                "<hostdev type='pci'><source><address bus='%u' slot='%u' "
                                "function='%u'/></source></hostdev>",
                                i / 256, i / 8 % 32, i % 8);
                n += (size_t)sprintf(xml + n, "</devices></domain>");
                if (count == DOMAIN_FUNCTIONS_MAX) {
                        assert_ok(domain_parse(xml, n, &d, &error));
                        assert_int_equal(d.n_functions, count);
                        domain_done(&d);
                } else
                        assert_error(domain_parse(xml, n, &d, &error), E2BIG);
        }
        assert_contains(error, "1025 PCI hostdevs");
}

static void tiers(void **state) {
        static const char *const words[] = { "hardware", "emulated", "virtio" };
        DomainTier tier = DOMAIN_TIER_VIRTIO;

        (void)state;
        assert_int_equal(ELEMENTSOF(words), _DOMAIN_TIER_MAX);
        for (unsigned i = 0; i < ELEMENTSOF(words); i++) {
                assert_ok(domain_tier_from_string(words[i], &tier));
                assert_int_equal(tier, i);
                assert_string_equal(domain_tier_to_string(tier), words[i]);
        }
        assert_error(domain_tier_from_string("auto", &tier), EINVAL);
        assert_error(domain_tier_from_string("", &tier), EINVAL);
        assert_error(domain_tier_from_string("Virtio", &tier), EINVAL);
        assert_int_equal(tier, DOMAIN_TIER_VIRTIO);
}

static void no_requests(void **state) {
        static const char *const cases[] = {
                METADATA(""),
                METADATA("<viommu tier='none'/>"),
                METADATA("<aviommu:viommu xmlns:aviommu='https://aviommu.org/xmlns/domain/2' "
                         "tier='none'/>"),
                METADATA("<aviommu:viommu xmlns:aviommu='" DOMAIN_XMLNS "/' tier='none'/>"),
                METADATA("<x:y xmlns:x='urn:x' " XMLNS "><aviommu:viommu tier='none'/></x:y>"),
                DOMAIN("<aviommu:viommu " XMLNS " tier='none'/>"),
                DOMAIN("<x:metadata xmlns:x='urn:x'><aviommu:viommu " XMLNS
                       " tier='none'/></x:metadata>"),
        };

        (void)state;
        for_each_case(xml, cases) {
                Domain d = taken(*xml);

                assert_false(d.asks);
                domain_done(&d);
        }
}

/* The prefix does not matter, nor where it is declared. */
static void prefixes(void **state) {
        static const char *const cases[] = {
                METADATA("<viommu xmlns='" DOMAIN_XMLNS
                         "' tier='emulated'><fallback tier='virtio'/></viommu>"),
                METADATA("<a:viommu xmlns:a='" DOMAIN_XMLNS "' xmlns:b='" DOMAIN_XMLNS
                         "' tier='emulated'><b:fallback tier='virtio'/></a:viommu>"),
                "<domain xmlns:v='" DOMAIN_XMLNS
                "'><name>a</name><metadata><v:viommu tier='emulated'>"
                "<v:fallback tier='virtio'/></v:viommu></metadata></domain>",
        };

        (void)state;
        for_each_case(xml, cases) {
                Domain d = taken(*xml);

                assert_true(d.asks);
                assert_int_equal(d.n_tiers, 2);
                domain_done(&d);
        }
}

#define FUNCTION(address, id) "<aviommu:function address='" address "' guest-device-id='" id "'/>"

/* What the schema cannot say, and where a sentence points; the form is in the examples (domain-requests). */
static void bad_requests(void **state) {
        static const struct {
                const char *xml, *says;
        } cases[] = {
                { REQUEST("tier='auto'", FUNCTION("43:00.0", "01:00.0")),
                  "<function> in line 1 of the domain's XML: 0000:43:00.0 is no PCI <hostdev>" },
                { REQUEST("tier='auto'",
                          FUNCTION("41:00.0", "01:00.0") FUNCTION("0000:41:00.0", "02:00.0")),
                  "0000:41:00.0 is there twice" },
                { REQUEST("tier='auto'",
                          FUNCTION("41:00.0", "01:00.0") FUNCTION("42:00.0", "01:00.0")),
                  "The guest device id 01:00.0 is that of 0000:41:00.0 already" },
                { METADATA("<aviommu:viommu " XMLNS " tier='auto'/><aviommu:viommu " XMLNS
                           " tier='auto'/>"),
                  "There is a request already" },
                { METADATA("<aviommu:request " XMLNS "/>"), "a request is <viommu>" },
                { REQUEST("", ""),
                  "<viommu> in line 1 of the domain's XML: The attribute tier= is missing." },
                { REQUEST("tier='best'", ""),
                  "tier= wants auto, hardware, emulated or virtio, not \"best\"" },
                { REQUEST("tier='auto' vtom='1'", ""), "no attribute \"vtom\"" },
                { REQUEST("tier='auto' aviommu:tenant='1'", ""),
                  "no attribute \"aviommu:tenant\"" },
                { REQUEST("tier='auto'", "<aviommu:fallback tier='virtio'/>"),
                  "it has no fallbacks" },
                { REQUEST("tier='virtio'", "<aviommu:fallback tier='virtio'/>"),
                  "The tier virtio is asked for already" },
                { REQUEST("tier='virtio'", "<aviommu:fallback tier='auto'/>"),
                  "tier= wants hardware, emulated or virtio, not \"auto\"" },
                { REQUEST("tier='virtio'", "<fallback tier='emulated'/>"),
                  "<fallback> in line 1 of the domain's XML: There is no such element in "
                  "<viommu>" },
                { REQUEST("tier='virtio'", "emulated"), "There is no text here" },
                { REQUEST("tier='virtio' otherwise='start'", ""),
                  "otherwise= wants refuse or run, not \"start\"" },
                { REQUEST("tier='virtio' tenant='a b'", ""), "not \"a b\"" },
                { REQUEST("tier='auto'", FUNCTION("41:00", "01:00.0")),
                  "address= wants a PCI function" },
                { REQUEST("tier='auto'", FUNCTION("41:00.0", "1:0.0")),
                  "guest-device-id= wants BB:DD.F" },
                { REQUEST("tier='auto'", "<aviommu:function address='41:00.0'/>"),
                  "guest-device-id= is missing" },
                { REQUEST("tier='auto'", "<aviommu:function guest-device-id='01:00.0'/>"),
                  "address= is missing" },
        };

        (void)state;
        for_each_case(c, cases) assert_refused(c->xml, c->says);
}

/* What was unplugged since it was started is still in its request. */
static void started(void **state) {
        static const char xml[] = REQUEST("tier='auto'", FUNCTION("43:00.0", "01:00.0")
                                                                 FUNCTION("42:00.0", "01:00.0"));
        _cleanup_free_ char *error = NULL;
        Domain d;

        (void)state;
        assert_ok(domain_parse_started(xml, strlen(xml), &d, &error));
        assert_int_equal(d.n_functions, 2);
        assert_false(d.functions[0].has_guest_id);
        assert_true(d.functions[1].has_guest_id);
        domain_done(&d);
        assert_error(domain_parse_started("<a/>", 4, &d, &error), EINVAL);
        free(TAKE_PTR(error));
}

/* What it has, it has, whatever its request has become meanwhile. */
static void started_with_bad_request(void **state) {
        static const char *const bad[] = {
                REQUEST("tier='fastest' tenant='acme'", ""),
                REQUEST("tier='auto' otherwise='run' tenant='acme'",
                        FUNCTION("42:00.0", "01:00.0") "<nothing xmlns=''/>"),
                REQUEST("tier='virtio' otherwise='run' tenant='a b'", ""),
                REQUEST("tier='virtio' otherwise='run' tenant='acme'",
                        FUNCTION("42:00.0", "01:00.0") FUNCTION("42:00.0", "02:00.0")),
        };

        (void)state;
        for_each_case(xml, bad) {
                _cleanup_free_ char *error = NULL;
                LibvirtConfig config;
                DomainLate late;
                Domain d;

                assert_ok(domain_parse_started(*xml, strlen(*xml), &d, &error));
                assert_null(error);
                assert_contains(d.bad_request, "line 1");
                assert_int_equal(d.n_functions, 2);
                assert_true(d.asks);
                assert_false(d.is_auto || d.n_tiers > 0 || d.runs_otherwise || d.tenant ||
                             d.functions[1].has_guest_id);
                libvirt_config_init(&config);
                config.unasked = UNASKED_IGNORE;
                domain_decide_late(&d, &config, &late);
                assert_true(late.is_counted);
                assert_string_equal(late.tenant, "");
                domain_done(&d);
        }
}

static void without_memory(void **state) {
        static const char *const refused[] = { "", "<domain/>", REQUEST("tier='none'", ""),
                                               DOMAIN("<vcpu>x</vcpu>"), "<!DOCTYPE a><a/>" };

        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_free_ char *error = NULL;
                Domain d = {};
                int r = parse(whole, &d, &error);

                assert_null(error);
                if (r < 0)
                        assert_error(r, ENOMEM);
                else
                        assert_whole(&d);
                domain_done(&d);
        });
        for_each_case(xml, refused) OOM_SWEEP(nth, {
                _cleanup_free_ char *error = NULL;
                Domain d = {};
                int r = parse(*xml, &d, &error);

                assert_true(r == -ENOMEM ? !error : r == -EINVAL && error);
        });
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(all_of_it),      cmocka_unit_test(next_to_nothing),
                cmocka_unit_test(encodings),      cmocka_unit_test(memory),
                cmocka_unit_test(iommus),         cmocka_unit_test(command_lines),
                cmocka_unit_test(contexts),       cmocka_unit_test(no_domains),
                cmocka_unit_test(declarations),   cmocka_unit_test(includes),
                cmocka_unit_test(sizes),          cmocka_unit_test(many_functions),
                cmocka_unit_test(tiers),          cmocka_unit_test(no_requests),
                cmocka_unit_test(prefixes),       cmocka_unit_test(bad_requests),
                cmocka_unit_test(started),        cmocka_unit_test(started_with_bad_request),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
