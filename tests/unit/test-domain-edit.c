/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A tier applied to a domain's XML: what is new is there, and every other byte is as it was. */

#include "unit.h"

#include "domain/decide.h"
#include "domain/edit.h"
#include "oom.h"

#define EMULATED DOMAIN_TIER_EMULATED
#define VIRTIO   DOMAIN_TIER_VIRTIO

#define XMLNS "xmlns:aviommu=\"" DOMAIN_XMLNS "\""
#define QEMU  "http://libvirt.org/schemas/domain/qemu/1.0"

static int apply(const char *xml, DomainTier tier, FdgroupEdit fdgroup, char **ret,
                 DomainChanges *changes, char **reterr) {
        return domain_apply(xml, strlen(xml), tier, fdgroup, ret, changes, reterr);
}

/* Applied: to @expected, with @n_changes sentences; and once more, which changes nothing. */
static void assert_applied(const char *xml, DomainTier tier, FdgroupEdit fdgroup,
                           const char *expected, size_t n_changes) {
        _cleanup_(domain_changes_done) DomainChanges changes = {}, none = {};
        _cleanup_free_ char *result = NULL, *again = NULL, *error = NULL;
        _cleanup_(domain_done) Domain domain = { .id = -1 };
        char reason[DOMAIN_REASON_SIZE] = "";

        if (apply(xml, tier, fdgroup, &result, &changes, &error) < 0)
                fail_msg("%s\n%s", error, xml);
        assert_string_equal(result, expected);
        for (size_t i = 0; i < changes.n; i++) {
                size_t n = strlen(changes.sentences[i]);

                assert_true(n > 0 && changes.sentences[i][n - 1] == '.');
        }
        if (changes.n != n_changes)
                fail_msg("%zu changes in %s", changes.n, result);

        assert_ok(domain_parse(result, strlen(result), &domain, &error));
        assert_true(domain.asks);
        assert_true(domain_has_tier(&domain, tier, reason));

        assert_ok(apply(result, tier, fdgroup, &again, &none, &error));
        assert_string_equal(again, result);
        assert_int_equal(none.n, 0);
}

static void assert_refused(const char *xml, DomainTier tier, FdgroupEdit fdgroup,
                           const char *says) {
        _cleanup_free_ char *result = NULL, *error = NULL;
        DomainChanges changes = {};

        if (apply(xml, tier, fdgroup, &result, &changes, &error) != -EINVAL)
                fail_msg("taken: %s", xml);
        assert_contains(error, says);
        assert_null(result);
        assert_null(changes.sentences);
}

/* As libvirt prints it, with what a writer of trees would not keep. */
#define HEAD                                                                                       \
        "<?xml version='1.0'  encoding='utf-8'?>\n"                                                \
        "<!-- > not <a tag> -->\n"
#define NAME                                                                                       \
        "  <name>web &amp; m\xc3\xa4il</name>\n"                                                   \
        "  <uuid>6f2c1e0a-4f6b-4c0e-9a53-0d4c3a5be201</uuid>\n"                                    \
        "  <title a=\"x > y\" b = 'it&apos;s'><![CDATA[<devices>]]></title>"
#define MEMORY                                                                                     \
        "\n  <memory unit='KiB'>8388608</memory>\n"                                                \
        "  <vcpu placement='static'>4</vcpu>\n"                                                    \
        "  <os>\n"                                                                                 \
        "    <type arch='x86_64' machine='pc-q35-11.1'>hvm</type>\n"                               \
        "  </os>"
#define DEVICES                                                                                    \
        "    <emulator   >/usr/bin/qemu-system-x86_64</emulator>\n"                                \
        "\t<hostdev mode='subsystem' type='pci' managed='yes'>\n"                                  \
        "      <source><address domain='0' bus='0x41' slot='0' function='0'/></source>\n"          \
        "    </hostdev>\n"                                                                         \
        "    <memballoon model=\"none\"/>"

static const char plain[] = HEAD "<domain type='kvm'>\n" NAME MEMORY "\n"
                                 "  <features>\n"
                                 "    <acpi/>\n"
                                 "  </features>\n"
                                 "  <devices>\n" DEVICES "\n"
                                 "  </devices>\n"
                                 "</domain>\n"
                                 "<!-- end -->";

static const char plain_virtio[] = HEAD "<domain type='kvm'>\n" NAME "\n"
                                        "  <metadata>\n"
                                        "    <aviommu:viommu " XMLNS " tier=\"virtio\"/>\n"
                                        "  </metadata>" MEMORY "\n"
                                        "  <features>\n"
                                        "    <acpi/>\n"
                                        "  </features>\n"
                                        "  <devices>\n" DEVICES "\n"
                                        "    <iommu model='virtio'/>\n"
                                        "  </devices>\n"
                                        "</domain>\n"
                                        "<!-- end -->";

static const char plain_emulated[] = HEAD "<domain type='kvm' xmlns:qemu='" QEMU "'>\n" NAME "\n"
                                          "  <metadata>\n"
                                          "    <aviommu:viommu " XMLNS " tier=\"emulated\"/>\n"
                                          "  </metadata>" MEMORY "\n"
                                          "  <features>\n"
                                          "    <acpi/>\n"
                                          "    <ioapic driver='qemu'/>\n"
                                          "  </features>\n"
                                          "  <devices>\n" DEVICES "\n"
                                          "    <iommu model='amd'>\n"
                                          "      <driver intremap='on'/>\n"
                                          "    </iommu>\n"
                                          "  </devices>\n"
                                          "  <qemu:commandline>\n"
                                          "    <qemu:arg value='-global'/>\n"
                                          "    <qemu:arg value='amd-iommu.dma-remap=on'/>\n"
                                          "  </qemu:commandline>\n"
                                          "</domain>\n"
                                          "<!-- end -->";

static void fresh(void **state) {
        (void)state;
        assert_applied(plain, VIRTIO, FDGROUP_KEEP, plain_virtio, 2);
        assert_applied(plain, EMULATED, FDGROUP_KEEP, plain_emulated, 4);
}

/* A domain with little in it: parts before its <devices>, parts in them, parts after. */
#define SMALL(attributes, machine, before, devices, after)                                         \
        "<domain" attributes ">\n"                                                                 \
        "  <name>a</name>\n"                                                                       \
        "  <os><type machine='" machine "'>hvm</type></os>\n" before "  <devices>\n" devices       \
        "  </devices>\n" after "</domain>\n"

#define REQUEST(tier)                                                                              \
        "  <metadata>\n    <aviommu:viommu " XMLNS " tier=\"" tier "\"/>\n  </metadata>\n"
#define ACPI    "  <features>\n    <acpi/>\n  </features>\n"
#define BOTH    "  <features>\n    <acpi/>\n    <ioapic driver='qemu'/>\n  </features>\n"
#define QEMU_NS " xmlns:qemu='" QEMU "'"
#define AMD     "    <iommu model='amd'>\n      <driver intremap='on'/>\n    </iommu>\n"
#define REMAP                                                                                      \
        "  <qemu:commandline>\n"                                                                   \
        "    <qemu:arg value='-global'/>\n"                                                        \
        "    <qemu:arg value='amd-iommu.dma-remap=on'/>\n"                                         \
        "  </qemu:commandline>\n"

/* From one tier to the other: what went with the first goes with it. */
static void back_and_forth(void **state) {
        (void)state;
        assert_applied(
                SMALL(QEMU_NS, "q35", REQUEST("emulated") BOTH, AMD, REMAP), VIRTIO, FDGROUP_KEEP,
                SMALL(QEMU_NS, "q35", REQUEST("virtio") BOTH, "    <iommu model='virtio'/>\n", ""),
                3);
        assert_applied(
                SMALL(QEMU_NS, "q35", REQUEST("virtio") BOTH, "    <iommu model='virtio'/>\n", ""),
                EMULATED, FDGROUP_KEEP, SMALL(QEMU_NS, "q35", REQUEST("emulated") BOTH, AMD, REMAP),
                3);
        /* another's IOMMU, with all that was in it */
        assert_applied(
                SMALL("", "q35", REQUEST("auto") ACPI,
                      "    <iommu model='intel'>\n      <driver eim='on'/>\n    </iommu>\n", ""),
                VIRTIO, FDGROUP_KEEP,
                SMALL("", "q35", REQUEST("auto") ACPI, "    <iommu model='virtio'/>\n", ""), 1);
}

static void requests(void **state) {
        static const struct {
                const char *before, *after;
                size_t n_changes;
        } cases[] = {
                /* one that is there stays where it fits */
                { REQUEST("virtio"), REQUEST("virtio"), 1 },
                { REQUEST("auto"), REQUEST("auto"), 1 },
                { "  <metadata><viommu xmlns='" DOMAIN_XMLNS
                  "' tier='virtio'><fallback tier='emulated'/></viommu></metadata>\n",
                  "  <metadata><viommu xmlns='" DOMAIN_XMLNS
                  "' tier='virtio'><fallback tier='emulated'/></viommu></metadata>\n",
                  1 },
                /* and is changed where it does not */
                { "  <metadata>\n    <v:viommu xmlns:v='" DOMAIN_XMLNS
                  "' tenant='x'   tier = 'emulated' otherwise='run'>\n"
                  "      <v:fallback tier='virtio'/>\n      <v:fallback tier='hardware'/>\n    "
                  "</v:viommu>\n  </metadata>\n",
                  "  <metadata>\n    <v:viommu xmlns:v='" DOMAIN_XMLNS
                  "' tenant='x'   tier = 'virtio' otherwise='run'>\n"
                  "      <v:fallback tier='hardware'/>\n    </v:viommu>\n  </metadata>\n",
                  2 },
                /* beside what others have there */
                { "  <metadata>\n    <x:y xmlns:x='urn:x'>\n      <x:z/>\n    </x:y>\n  "
                  "</metadata>\n",
                  "  <metadata>\n    <x:y xmlns:x='urn:x'>\n      <x:z/>\n    </x:y>\n    "
                  "<aviommu:viommu " XMLNS " tier=\"virtio\"/>\n  </metadata>\n",
                  2 },
                { "  <metadata/>\n", REQUEST("virtio"), 2 },
                { "  <metadata a='1' />\n",
                  "  <metadata a='1'>\n    <aviommu:viommu " XMLNS
                  " tier=\"virtio\"/>\n  </metadata>\n",
                  2 },
                { "  <metadata></metadata>\n", REQUEST("virtio"), 2 },
                { "  <metadata>\n  </metadata>\n", REQUEST("virtio"), 2 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before), SMALL("", "q35", "%s" ACPI, "", ""),
                               c->before);
                (void)snprintf(after, sizeof(after),
                               SMALL("", "q35", "%s" ACPI, "    <iommu model='virtio'/>\n", ""),
                               c->after);
                assert_applied(before, VIRTIO, FDGROUP_KEEP, after, c->n_changes);
        }
}

static void amd_iommus(void **state) {
        static const struct {
                const char *before, *after;
                size_t n_changes;
        } cases[] = {
                { AMD, AMD, 0 },
                { "    <iommu model='amd'/>\n", AMD, 1 },
                { "    <iommu model='amd'></iommu>\n", AMD, 1 },
                { "    <iommu model='amd'><alias name='ua-1'/></iommu>\n",
                  "    <iommu model='amd'><alias name='ua-1'/>\n      <driver intremap='on'/>\n    "
                  "</iommu>\n",
                  1 },
                { "    <iommu model='amd'>\n      <driver/>\n    </iommu>\n",
                  "    <iommu model='amd'>\n      <driver intremap='on'/>\n    </iommu>\n", 1 },
                { "    <iommu model='amd'>\n      <driver iotlb=\"on\"/>\n    </iommu>\n",
                  "    <iommu model='amd'>\n      <driver iotlb=\"on\" intremap=\"on\"/>\n    "
                  "</iommu>\n",
                  1 },
                { "    <iommu model='amd'>\n      <driver intremap='off' />\n    </iommu>\n",
                  "    <iommu model='amd'>\n      <driver intremap='on' />\n    </iommu>\n", 1 },
                { "    <iommu model='amd'>\n      <driver passthrough='on'/>\n      <address "
                  "type='pci'/>\n    </iommu>\n",
                  "    <iommu model='amd'>\n      <driver intremap='on'/>\n      <address "
                  "type='pci'/>\n    </iommu>\n",
                  2 },
                { "    <iommu model='amd'>\n      <driver passthrough='off'\n intremap='on' "
                  "xtsup='off'></driver>\n    </iommu>\n",
                  "    <iommu model='amd'>\n      <driver\n intremap='on' xtsup='off'></driver>\n  "
                  "  </iommu>\n",
                  1 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL(QEMU_NS, "q35", REQUEST("emulated") BOTH, "%s", REMAP),
                               c->before);
                (void)snprintf(after, sizeof(after),
                               SMALL(QEMU_NS, "q35", REQUEST("emulated") BOTH, "%s", REMAP),
                               c->after);
                assert_applied(before, EMULATED, FDGROUP_KEEP, after, c->n_changes);
        }
}

/* Over 255 vCPUs. */
static void many_vcpus(void **state) {
#define VCPUS(n) "  <vcpu>" n "</vcpu>\n"
#define BIG      "    <iommu model='amd'>\n      <driver intremap='on' xtsup='on'/>\n    </iommu>\n"
        (void)state;
        assert_applied(SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("255") BOTH, "", REMAP),
                       EMULATED, FDGROUP_KEEP,
                       SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("255") BOTH, AMD, REMAP), 1);
        assert_applied(SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH, "", REMAP),
                       EMULATED, FDGROUP_KEEP,
                       SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH, BIG, REMAP), 1);
        assert_applied(SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH, AMD, REMAP),
                       EMULATED, FDGROUP_KEEP,
                       SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH, BIG, REMAP), 1);
        assert_applied(SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH,
                             "    <iommu model='amd'/>\n", REMAP),
                       EMULATED, FDGROUP_KEEP,
                       SMALL(QEMU_NS, "q35", REQUEST("auto") VCPUS("256") BOTH, BIG, REMAP), 2);
        assert_applied(SMALL("", "q35", REQUEST("auto") VCPUS("255") ACPI, "", ""), VIRTIO,
                       FDGROUP_KEEP,
                       SMALL("", "q35", REQUEST("auto") VCPUS("255") ACPI,
                             "    <iommu model='virtio'/>\n", ""),
                       1);
        assert_refused(SMALL("", "q35", VCPUS("256"), "", ""), VIRTIO, FDGROUP_KEEP, "256 vCPUs");
}

static void features(void **state) {
        static const struct {
                const char *before, *after;
                size_t n_changes;
        } cases[] = {
                { BOTH, BOTH, 0 },
                { ACPI, BOTH, 1 },
                { "  <features/>\n", BOTH, 2 },
                { "  <features><acpi/><ioapic driver='kvm'/></features>\n",
                  "  <features><acpi/><ioapic driver='qemu'/></features>\n", 1 },
                { "  <features>\n    <ioapic driver='kvm'/>\n  </features>\n",
                  "  <features>\n    <ioapic driver='qemu'/>\n    <acpi/>\n  </features>\n", 2 },
                { "", BOTH, 2 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL(QEMU_NS, "q35", "%s" REQUEST("auto"), AMD, REMAP), c->before);
                (void)snprintf(after, sizeof(after),
                               SMALL(QEMU_NS, "q35", "%s" REQUEST("auto"), AMD, REMAP), c->after);
                assert_applied(before, EMULATED, FDGROUP_KEEP, after, c->n_changes);
        }
        assert_applied(SMALL("", "q35", REQUEST("auto"), "    <iommu model='virtio'/>\n", ""),
                       VIRTIO, FDGROUP_KEEP,
                       SMALL("", "q35", ACPI REQUEST("auto"), "    <iommu model='virtio'/>\n", ""),
                       1);
}

#define ARGS(prefix, value)                                                                        \
        "    <" prefix "arg value='-global'/>\n    <" prefix "arg value='" value "'/>\n"

static void command_lines(void **state) {
        static const struct {
                const char *ns_before, *before, *ns_after, *after;
                size_t n_changes;
        } cases[] = {
                { "", "", QEMU_NS, REMAP, 1 },
                { QEMU_NS, "", QEMU_NS, REMAP, 1 },
                { QEMU_NS, REMAP, QEMU_NS, REMAP, 0 },
                /* declared under another name, or the name is another's */
                { " xmlns:q='" QEMU "'", "", " xmlns:q='" QEMU "'",
                  "  <q:commandline>\n" ARGS("q:", "amd-iommu.dma-remap=on") "  </q:commandline>\n",
                  1 },
                { " xmlns:qemu='urn:x'", "", " xmlns:qemu='urn:x'",
                  "  <qemu:commandline xmlns:qemu='" QEMU
                  "'>\n" ARGS("qemu:", "amd-iommu.dma-remap=on") "  </qemu:commandline>\n",
                  1 },
                /* one that is there gets more, under its own name */
                { QEMU_NS,
                  "  <qemu:commandline>\n    <qemu:arg value='-S'/>\n  </qemu:commandline>\n",
                  QEMU_NS,
                  "  <qemu:commandline>\n    <qemu:arg value='-S'/>\n" ARGS(
                          "qemu:", "amd-iommu.dma-remap=on") "  </qemu:commandline>\n",
                  1 },
                { QEMU_NS, "  <qemu:commandline/>\n", QEMU_NS, REMAP, 1 },
                { "", "  <commandline xmlns='" QEMU "'>\n    <arg value='-S'/>\n  </commandline>\n",
                  "",
                  "  <commandline xmlns='" QEMU "'>\n    <arg value='-S'/>\n" ARGS(
                          "", "amd-iommu.dma-remap=on") "  </commandline>\n",
                  1 },
                /* off */
                { QEMU_NS,
                  "  <qemu:commandline>\n" ARGS(
                          "qemu:", "amd-iommu.dma-remap=off") "  </qemu:commandline>\n",
                  QEMU_NS, REMAP, 1 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL("%s", "q35", REQUEST("auto") BOTH, AMD, "%s"), c->ns_before,
                               c->before);
                (void)snprintf(after, sizeof(after),
                               SMALL("%s", "q35", REQUEST("auto") BOTH, AMD, "%s"), c->ns_after,
                               c->after);
                assert_applied(before, EMULATED, FDGROUP_KEEP, after, c->n_changes);
        }
}

/* What goes with the emulated tier goes, and nothing else does. */
static void command_lines_removed(void **state) {
        static const struct {
                const char *before, *after;
                size_t n_changes;
        } cases[] = {
                { REMAP, "", 1 },
                { "  <qemu:commandline/>\n", "  <qemu:commandline/>\n", 0 },
                { "  <qemu:commandline>\n    <qemu:arg value='-S'/>\n" ARGS(
                          "qemu:", "amd-iommu.dma-remap=on")
                          ARGS("qemu:", "a.b=c") "  </qemu:commandline>\n",
                  "  <qemu:commandline>\n    <qemu:arg value='-S'/>\n" ARGS(
                          "qemu:", "a.b=c") "  </qemu:commandline>\n",
                  1 },
                { "  <qemu:commandline><!-- why --><qemu:arg value='-global'/><qemu:arg "
                  "value='amd-iommu.dma-remap=off'/>"
                  "</qemu:commandline>\n",
                  "  <qemu:commandline><!-- why --></qemu:commandline>\n", 1 },
                { REMAP "  <qemu:commandline/>\n", "  <qemu:commandline/>\n", 1 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL(QEMU_NS, "q35", REQUEST("auto") BOTH,
                                     "    <iommu model='virtio'/>\n", "%s"),
                               c->before);
                (void)snprintf(after, sizeof(after),
                               SMALL(QEMU_NS, "q35", REQUEST("auto") BOTH,
                                     "    <iommu model='virtio'/>\n", "%s"),
                               c->after);
                assert_applied(before, VIRTIO, FDGROUP_KEEP, after, c->n_changes);
        }
}

#define IOMMUFD "  <iommufd enabled='yes' fdgroup='aviommu'/>\n"
#define HOSTDEV(bus, inner)                                                                        \
        "    <hostdev type='pci'>" inner "<source><address bus='" bus "'/></source></hostdev>\n"

static void iommufds(void **state) {
        static const struct {
                const char *before, *devices, *after, *devices_after;
                size_t n_changes;
        } cases[] = {
                { "", "", IOMMUFD, "", 1 },
                { IOMMUFD, "", IOMMUFD, "", 0 },
                { "  <iommufd enabled='yes'/>\n", "", IOMMUFD, "", 1 },
                { "  <iommufd enabled='no'/>\n", "", IOMMUFD, "", 1 },
                { "  <iommufd fdgroup=\"other\" enabled=\"no\"/>\n", "",
                  "  <iommufd fdgroup=\"aviommu\" enabled=\"yes\"/>\n", "", 1 },
                { IOMMUFD,
                  HOSTDEV("1", "<driver name='vfio' iommufd='no'/>")
                          HOSTDEV("2", "<driver iommufd='yes'/>"),
                  IOMMUFD,
                  HOSTDEV("1", "<driver name='vfio' iommufd='yes'/>")
                          HOSTDEV("2", "<driver iommufd='yes'/>"),
                  1 },
        };

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL("", "q35", "%s" ACPI REQUEST("auto"),
                                     "%s    <iommu model='virtio'/>\n", ""),
                               c->before, c->devices);
                (void)snprintf(after, sizeof(after),
                               SMALL("", "q35", "%s" ACPI REQUEST("auto"),
                                     "%s    <iommu model='virtio'/>\n", ""),
                               c->after, c->devices_after);
                assert_applied(before, VIRTIO, FDGROUP_ADD, after, c->n_changes);
        }
        /* unasked for it stays as it is */
        assert_applied(SMALL("", "q35", "  <iommufd enabled='no'/>\n" ACPI REQUEST("auto"),
                             "    <iommu model='virtio'/>\n", ""),
                       VIRTIO, FDGROUP_KEEP,
                       SMALL("", "q35", "  <iommufd enabled='no'/>\n" ACPI REQUEST("auto"),
                             "    <iommu model='virtio'/>\n", ""),
                       0);
}

/* What was put there is taken out, with its line; what else there is stays. */
static void iommufds_removed(void **state) {
        static const struct {
                const char *before, *after;
                size_t n_changes;
        } cases[] = {
                { IOMMUFD, "", 1 },
                { "", "", 0 },
                { "  <iommufd fdgroup=\"aviommu\">\n  </iommufd>\n", "", 1 },
                { "  <iommufd enabled='no' fdgroup='aviommu'/>\n", "", 1 },
                { "  <iommufd enabled='yes'/>\n", "  <iommufd enabled='yes'/>\n", 0 },
                { "  <iommufd enabled='yes' fdgroup='other'/>\n",
                  "  <iommufd enabled='yes' fdgroup='other'/>\n", 0 },
                { "  <iommufd enabled='yes' fdgroup='aviommu' more='1'/>\n",
                  "  <iommufd enabled='yes' more='1'/>\n", 1 },
                { "  <iommufd enabled='yes' fdgroup='aviommu'><!-- ours --></iommufd>\n",
                  "  <iommufd enabled='yes'><!-- ours --></iommufd>\n", 1 },
        };
        const char *devices = HOSTDEV("1",
                                      "<driver iommufd='yes'/>") "    <iommu model='virtio'/>\n";

        (void)state;
        for_each_case(c, cases) {
                char before[2048], after[2048];

                (void)snprintf(before, sizeof(before),
                               SMALL("", "q35", "%s" ACPI REQUEST("auto"), "%s", ""), c->before,
                               devices);
                (void)snprintf(after, sizeof(after),
                               SMALL("", "q35", "%s" ACPI REQUEST("auto"), "%s", ""), c->after,
                               devices);
                assert_applied(before, VIRTIO, FDGROUP_REMOVE, after, c->n_changes);
        }
}

/* Given and taken again: the text is what it was. */
static void iommufd_there_and_back(void **state) {
        static const char *const texts[] = { plain_virtio, plain_emulated };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                DomainTier tier = i == 0 ? VIRTIO : EMULATED;
                _cleanup_(domain_changes_done) DomainChanges changes = {}, back = {};
                _cleanup_free_ char *with = NULL, *without = NULL, *error = NULL;

                assert_ok(apply(texts[i], tier, FDGROUP_ADD, &with, &changes, &error));
                assert_contains(with, "<iommufd enabled='yes' fdgroup='aviommu'/>");
                assert_ok(apply(with, tier, FDGROUP_REMOVE, &without, &back, &error));
                assert_string_equal(without, texts[i]);
                assert_int_equal(back.n, 1);
        }
}

/* A text without a newline in it, or with those of another system. */
static void other_lines(void **state) {
        (void)state;
        assert_applied(
                "<domain><name>a</name><metadata><x xmlns='urn:x'/></metadata><os><type "
                "machine='q35'/></os>"
                "<features><acpi/></features><devices><disk/></devices></domain>",
                VIRTIO, FDGROUP_KEEP,
                "<domain><name>a</name><metadata><x xmlns='urn:x'/>\n  <aviommu:viommu " XMLNS
                " tier=\"virtio\"/>\n</metadata><os><type "
                "machine='q35'/></os><features><acpi/></features>"
                "<devices><disk/>\n  <iommu model='virtio'/>\n</devices></domain>",
                2);
        assert_applied("\xef\xbb\xbf<domain>\r\n<name>a</name>\r\n<os><type "
                       "machine='q35'/></os>\r\n<features><acpi/></features>\r\n"
                       "<metadata><viommu xmlns='" DOMAIN_XMLNS
                       "' tier='auto'/></metadata>\r\n<devices>\r\n</devices>\r\n</domain>\r\n",
                       VIRTIO, FDGROUP_KEEP,
                       "\xef\xbb\xbf<domain>\r\n<name>a</name>\r\n<os><type "
                       "machine='q35'/></os>\r\n<features><acpi/></features>\r\n"
                       "<metadata><viommu xmlns='" DOMAIN_XMLNS
                       "' tier='auto'/></metadata>\r\n<devices>\n  <iommu model='virtio'/>\r\n"
                       "</devices>\r\n</domain>\r\n",
                       1);
}

static void refusals(void **state) {
        static const struct {
                const char *xml;
                DomainTier tier;
                FdgroupEdit fdgroup;
                const char *says;
        } cases[] = {
                { SMALL("", "q35", "", "", ""), DOMAIN_TIER_HARDWARE, FDGROUP_KEEP,
                  "Ask for emulated or virtio" },
                { SMALL("", "pc-i440fx-11.1", "", "", ""), VIRTIO, FDGROUP_KEEP,
                  "\"pc-i440fx-11.1\", and an <iommu> wants q35" },
                { SMALL("", "pc", "", "", ""), EMULATED, FDGROUP_KEEP, "machine='q35'" },
                { SMALL("", "pc-q3", "", "", ""), EMULATED, FDGROUP_KEEP, "machine='q35'" },
                { "<domain><name>a</name><devices/></domain>", VIRTIO, FDGROUP_KEEP,
                  "libvirt's default, and" },
                { "<domain><name>a</name><os><type machine='q35'/></os></domain>", VIRTIO,
                  FDGROUP_KEEP, "no <devices>" },
                { SMALL("", "q35", "", "<iommu model='amd'/><iommu model='amd'/>", ""), EMULATED,
                  FDGROUP_KEEP, "several <iommu>" },
                /* what is there has to be readable */
                { SMALL("", "q35", REQUEST("none"), "", ""), VIRTIO, FDGROUP_KEEP, "tier= wants" },
                { "<domain>", VIRTIO, FDGROUP_KEEP, "Line 1 of the domain's XML" },
                { "<?xml version='1.0' encoding='ISO-8859-1'?>" SMALL("", "q35", "", "", ""),
                  VIRTIO, FDGROUP_KEEP, "not in UTF-8" },
                /* a word too many at the end of QEMU's command line */
                { SMALL(QEMU_NS, "q35", "", "",
                        "<qemu:commandline><qemu:arg value='-global'/></qemu:commandline>"),
                  EMULATED, FDGROUP_KEEP, "cannot be edited by a program" },
        };

        (void)state;
        for_each_case(c, cases) assert_refused(c->xml, c->tier, c->fdgroup, c->says);
}

static void without_memory(void **state) {
        static const struct {
                const char *xml;
                DomainTier tier;
                FdgroupEdit fdgroup;
        } cases[] = {
                { plain, EMULATED, FDGROUP_ADD },
                { plain_emulated, VIRTIO, FDGROUP_ADD },
                { SMALL(QEMU_NS, "q35", "<iommufd/><features><ioapic/></features>",
                        "<iommu model='amd'><driver passthrough='on'/></iommu>"
                        "<hostdev type='pci'><driver "
                        "iommufd='no'/><source><address/></source></hostdev>",
                        "<qemu:commandline><qemu:arg value='-S'/></qemu:commandline>"),
                  EMULATED, FDGROUP_ADD },
                { SMALL("", "pc", "", "", ""), EMULATED, FDGROUP_ADD },
                { SMALL("", "q35", IOMMUFD, "", ""), VIRTIO, FDGROUP_REMOVE },
        };

        (void)state;
        for_each_case(c, cases) OOM_SWEEP(nth, {
                _cleanup_(domain_changes_done) DomainChanges changes = {};
                _cleanup_free_ char *result = NULL;
                _cleanup_free_ char *error = NULL;
                int r = apply(c->xml, c->tier, c->fdgroup, &result, &changes, &error);

                if (r == -ENOMEM)
                        assert_true(!result && !error && !changes.sentences);
                else
                        assert_true(r == 0 ? result && !error : error && !result);
        });
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(fresh),
                cmocka_unit_test(back_and_forth),
                cmocka_unit_test(requests),
                cmocka_unit_test(amd_iommus),
                cmocka_unit_test(many_vcpus),
                cmocka_unit_test(features),
                cmocka_unit_test(command_lines),
                cmocka_unit_test(command_lines_removed),
                cmocka_unit_test(iommufds),
                cmocka_unit_test(iommufds_removed),
                cmocka_unit_test(iommufd_there_and_back),
                cmocka_unit_test(other_lines),
                cmocka_unit_test(refusals),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
