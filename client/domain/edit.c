/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/edit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "domain/decide.h"
#include "domain/edit-private.h"
#include "domain/request.h"

#define DMA_REMAP "amd-iommu.dma-remap"

static void edit_done(Edit *e) {
        domain_done(&e->domain);
        splicer_free(e->splicer);
        xml_free(e->root);
        domain_changes_done(&e->changes);
}

void domain_changes_done(DomainChanges *changes) {
        for (size_t i = 0; i < changes->n; i++)
                free(changes->sentences[i]);
        free(changes->sentences);
        *changes = (DomainChanges){};
}

int edit_changed(Edit *e, const char *format, ...) {
        char **more, *sentence = NULL;
        va_list ap;
        int r;

        more = reallocarray(e->changes.sentences, e->changes.n + 1, sizeof(*more));
        if (!more)
                return -ENOMEM;
        e->changes.sentences = more;

        va_start(ap, format);
        r = vasprintf(&sentence, format, ap);
        va_end(ap);
        if (r < 0)
                return -ENOMEM;
        e->changes.sentences[e->changes.n++] = sentence;
        return 0;
}

static int refuse(char **reterr, const char *format, ...) _printf_(2, 3);

static int refuse(char **reterr, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(reterr, format, ap);
        va_end(ap);
        if (r < 0) {
                *reterr = NULL;
                return -ENOMEM;
        }
        return -EINVAL;
}

/* What stands against the tier and is not for a program to change. */
static int check(const Edit *e, char **reterr) {
        const Domain *domain = &e->domain;
        char reason[DOMAIN_REASON_SIZE];

        if (e->tier == DOMAIN_TIER_HARDWARE) {
                (void)domain_has_tier(domain, e->tier, reason);
                return refuse(reterr, "%s", reason);
        }
        if (!domain->machine || (!streq(domain->machine, "q35") &&
                                 strncmp(domain->machine, "pc-q35-", strlen("pc-q35-")) != 0))
                return refuse(reterr,
                              "The domain's machine is %s%s%s, and an <iommu> wants q35. That "
                              "moves every PCI device of the "
                              "guest, so it is yours to change: <os><type machine='q35'>.",
                              domain->machine ? "\"" : "",
                              XML_SHOWN(domain->machine ?: "libvirt's default"),
                              domain->machine ? "\"" : "");
        if (!xml_child(e->root, NULL, "devices"))
                return refuse(reterr, "The domain has no <devices>.");
        if (domain->iommu == DOMAIN_IOMMU_SEVERAL)
                return refuse(reterr, "The domain has several <iommu>, and an x86 VM can have one. "
                                      "Remove all but one.");
        if (e->tier == DOMAIN_TIER_VIRTIO && domain_has_too_many_vcpus(domain, reason))
                return refuse(reterr, "%s", reason);
        return 0;
}

/* The last of the elements that begin a domain: <metadata> comes after it. */
static const XmlNode *end_of_head(const XmlNode *root) {
        static const char *const head[] = { "name", "uuid", "genid", "title", "description" };
        const XmlNode *last = NULL;

        for (const XmlNode *n = root->children; n; n = n->next)
                for (size_t i = 0; i < ELEMENTSOF(head); i++)
                        if (xml_is(n, NULL, head[i]))
                                last = n;
        assert(last); /* the reader insists on a name */
        return last;
}

static int change_request(Edit *e, const XmlNode *request, const char *tier) {
        int r;

        if (e->domain.is_auto || e->domain.tiers[0] == e->tier)
                return 0;
        r = splicer_attribute(e->splicer, request, "tier", tier);
        if (r < 0)
                return r;
        XML_FOR_EACH(fallback, request, DOMAIN_XMLNS, "fallback")
        if (xml_attribute_is(fallback, "tier", tier)) {
                r = splicer_remove(e->splicer, fallback);
                if (r < 0)
                        return r;
        }
        return edit_changed(e, "The request in <metadata> asks for the tier %s, no longer for %s.",
                            tier, domain_tier_to_string(e->domain.tiers[0]));
}

static int apply_request(Edit *e) {
        const XmlNode *metadata = xml_child(e->root, NULL, "metadata"),
                      *request = domain_request_find(e->root);
        const char *tier = domain_tier_to_string(e->tier);
        int r;

        if (request)
                return change_request(e, request, tier);
        if (metadata)
                r = splicer_append(
                        e->splicer, metadata,
                        "<aviommu:viommu xmlns:aviommu=\"" DOMAIN_XMLNS "\" tier=\"%s\"/>", tier);
        else
                r = splicer_insert_after(e->splicer, end_of_head(e->root),
                                         "<metadata>\n"
                                         "  <aviommu:viommu xmlns:aviommu=\"" DOMAIN_XMLNS
                                         "\" tier=\"%s\"/>\n"
                                         "</metadata>",
                                         tier);
        if (r < 0)
                return r;
        return edit_changed(e, "<metadata> has a request for the tier %s.", tier);
}

/* One that is of the tier's model already: what is wrong with its <driver>. */
static int change_driver(Edit *e, const XmlNode *iommu, bool xtsup) {
        const XmlNode *driver = xml_child(iommu, NULL, "driver");
        const struct {
                const char *name, *value;
                bool wrong;
        } attributes[] = {
                { "intremap", "on", !e->domain.intremap },
                { "xtsup", "on", xtsup && !e->domain.xtsup },
                { "passthrough", NULL, e->domain.has_passthrough },
        };
        int r;

        if (!driver) {
                r = splicer_append(e->splicer, iommu, "<driver intremap='on'%s/>",
                                   xtsup ? " xtsup='on'" : "");
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++) {
                if (!attributes[i].wrong)
                        continue;
                if (driver) {
                        r = splicer_attribute(e->splicer, driver, attributes[i].name,
                                              attributes[i].value);
                        if (r < 0)
                                return r;
                }
                r = attributes[i].value ? edit_changed(e, "<iommu><driver> has %s='%s'.",
                                                       attributes[i].name, attributes[i].value)
                                        : edit_changed(e, "<iommu><driver> has no %s= any more.",
                                                       attributes[i].name);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int apply_iommu(Edit *e) {
        const XmlNode *devices = xml_child(e->root, NULL, "devices"),
                      *iommu = xml_child(devices, NULL, "iommu");
        bool emulated = e->tier == DOMAIN_TIER_EMULATED,
             xtsup = emulated && e->domain.n_vcpus > VCPUS_WITHOUT_X2APIC;
        const char *model = emulated ? "amd" : "virtio", *text = "<iommu model='virtio'/>";
        int r;

        if (xml_attribute_is(iommu, "model", model))
                return emulated ? change_driver(e, iommu, xtsup) : 0;

        if (emulated)
                text = xtsup ? "<iommu model='amd'>\n  <driver intremap='on' xtsup='on'/>\n</iommu>"
                             : "<iommu model='amd'>\n  <driver intremap='on'/>\n</iommu>";
        if (iommu) {
                r = splicer_replace(e->splicer, iommu, text);
                if (r < 0)
                        return r;
                return edit_changed(e, "<iommu model='%s'> takes the place of model='%s'.", model,
                                    XML_SHOWN(strempty(e->domain.iommu_model)));
        }
        r = splicer_append(e->splicer, devices, "%s", text);
        if (r < 0)
                return r;
        return edit_changed(e, "<devices> has an <iommu model='%s'>%s.", model,
                            xtsup      ? " with intremap='on' and xtsup='on'"
                            : emulated ? " with intremap='on'"
                                       : "");
}

/* A guest finds its IOMMU in ACPI's tables, and interrupt remapping wants the I/O APIC in QEMU. */
static int apply_features(Edit *e) {
        const XmlNode *features = xml_child(e->root, NULL, "features"),
                      *ioapic = xml_child(features, NULL, "ioapic");
        bool no_acpi = !xml_child(features, NULL, "acpi"),
             no_ioapic = e->tier == DOMAIN_TIER_EMULATED &&
                         !xml_attribute_is(ioapic, "driver", "qemu");
        const char *acpi_text = no_acpi ? "<acpi/>" : "",
                   *ioapic_text = no_ioapic && !ioapic ? "<ioapic driver='qemu'/>" : "",
                   *between = *acpi_text && *ioapic_text ? "\n" : "";
        int r = 0;

        if (no_ioapic && ioapic)
                r = splicer_attribute(e->splicer, ioapic, "driver", "qemu");
        if (r >= 0 && (*acpi_text || *ioapic_text))
                r = features
                            ? splicer_append(e->splicer, features, "%s%s%s", acpi_text, between,
                                             ioapic_text)
                            : splicer_insert_after(e->splicer, xml_child(e->root, NULL, "os"),
                                                   "<features>\n  %s%s%s%s\n</features>", acpi_text,
                                                   between, *between ? "  " : "", ioapic_text);
        if (r >= 0 && no_acpi)
                r = edit_changed(
                        e, "<features> has <acpi/>, whose tables tell the guest of its IOMMU.");
        if (r >= 0 && no_ioapic)
                r = edit_changed(
                        e, "<features> has <ioapic driver='qemu'/>, for interrupt remapping.");
        return r;
}

/* Whether @arg is the value of a -global about DMA remapping. */
static bool is_dma_remap(const XmlNode *arg) {
        const char *value = strempty(xml_attribute(arg, "value"));
        const XmlNode *before = xml_element_before(arg);

        return strncmp(value, DMA_REMAP "=", strlen(DMA_REMAP "=")) == 0 && before &&
               xml_is(before, XML_QEMU_XMLNS, "arg") &&
               xml_attribute_is(before, "value", "-global");
}

/* A <commandline> of QEMU's with the option, under a prefix that is declared or can be. */
static int add_command_line(Edit *e) {
        const char *prefix = NULL, *declaration = "";
        bool taken = false;
        int r;

        for (const XmlNamespace *ns = e->root->namespaces; ns; ns = ns->next) {
                if (ns->prefix && streq(ns->xmlns, XML_QEMU_XMLNS))
                        prefix = ns->prefix;
                taken = taken || (ns->prefix && streq(ns->prefix, "qemu"));
        }
        if (!prefix && taken)
                declaration = " xmlns:qemu='" XML_QEMU_XMLNS "'";
        else if (!prefix) {
                r = splicer_attribute(e->splicer, e->root, "xmlns:qemu", XML_QEMU_XMLNS);
                if (r < 0)
                        return r;
        }
        prefix = prefix ?: "qemu";
        return splicer_append(e->splicer, e->root,
                              "<%s:commandline%s>\n"
                              "  <%s:arg value='-global'/>\n"
                              "  <%s:arg value='" DMA_REMAP "=on'/>\n"
                              "</%s:commandline>",
                              prefix, declaration, prefix, prefix, prefix);
}

static int add_dma_remap(Edit *e) {
        const XmlNode *line = xml_child(e->root, XML_QEMU_XMLNS, "commandline");
        bool is_there = false;
        int r;

        if (e->domain.dma_remap)
                return 0;
        XML_FOR_EACH(l, e->root, XML_QEMU_XMLNS, "commandline")
        XML_FOR_EACH(arg, l, XML_QEMU_XMLNS, "arg")
        if (is_dma_remap(arg)) {
                is_there = true;
                r = splicer_attribute(e->splicer, arg, "value", DMA_REMAP "=on");
                if (r < 0)
                        return r;
        }

        if (!is_there && !line) {
                r = add_command_line(e);
                if (r < 0)
                        return r;
        } else if (!is_there) {
                const char *prefix = strempty(line->prefix), *colon = line->prefix ? ":" : "";

                r = splicer_append(e->splicer, line,
                                   "<%s%sarg value='-global'/>\n"
                                   "<%s%sarg value='" DMA_REMAP "=on'/>",
                                   prefix, colon, prefix, colon);
                if (r < 0)
                        return r;
        }
        return edit_changed(e, "QEMU's command line has -global " DMA_REMAP
                               "=on, for which libvirt has no element.");
}

/* Whether there is more in @line than what is_dma_remap() takes out. */
static bool has_more(const XmlNode *line) {
        for (const XmlNode *n = line->children; n; n = n->next) {
                const XmlNode *next = xml_element_after(n);

                if (xml_is_blank(n))
                        continue;
                if (n->kind == XML_ELEMENT && (is_dma_remap(n) || (next && is_dma_remap(next))))
                        continue;
                return true;
        }
        return false;
}

static int remove_dma_remap(Edit *e) {
        bool was_there = false;
        int r;

        XML_FOR_EACH(line, e->root, XML_QEMU_XMLNS, "commandline") {
                bool keep = has_more(line), is_here = false;

                XML_FOR_EACH(arg, line, XML_QEMU_XMLNS, "arg") {
                        if (!is_dma_remap(arg))
                                continue;
                        is_here = was_there = true;
                        if (!keep)
                                continue;
                        r = splicer_remove(e->splicer, xml_element_before(arg));
                        if (r >= 0)
                                r = splicer_remove(e->splicer, arg);
                        if (r < 0)
                                return r;
                }
                if (is_here && !keep) {
                        r = splicer_remove(e->splicer, line);
                        if (r < 0)
                                return r;
                }
        }
        return was_there ? edit_changed(e, "QEMU's command line has no -global " DMA_REMAP
                                           "= any more.")
                         : 0;
}

/* Reads the domain and finds its places. */
static int edit_begin(Edit *e, const char *xml, size_t length, char **reterr) {
        int r;

        r = domain_parse(xml, length, &e->domain, reterr);
        if (r < 0)
                return r;
        r = xml_read(xml, length, &e->root, reterr);
        if (r < 0)
                return r;
        r = check(e, reterr);
        if (r < 0)
                return r;
        return splicer_new(xml, length, &e->splicer);
}

static int edit_apply(Edit *e, FdgroupEdit fdgroup) {
        int r;

        r = apply_request(e);
        if (r < 0)
                return r;
        r = apply_iommu(e);
        if (r < 0)
                return r;
        r = apply_features(e);
        if (r < 0)
                return r;
        r = e->tier == DOMAIN_TIER_EMULATED ? add_dma_remap(e) : remove_dma_remap(e);
        if (r < 0)
                return r;
        return fdgroup == FDGROUP_ADD      ? edit_add_iommufd(e)
               : fdgroup == FDGROUP_REMOVE ? edit_remove_iommufd(e)
                                           : 0;
}

/* Whether the result is what was meant: it is read as any other. */
static int edit_verify(const Edit *e, const char *xml, FdgroupEdit fdgroup, char **reterr) {
        _cleanup_(domain_done) Domain domain = { .id = -1 };
        char reason[DOMAIN_REASON_SIZE];
        int r;

        r = domain_parse(xml, strlen(xml), &domain, reterr);
        if (r < 0)
                return r;
        if (!domain_has_tier(&domain, e->tier, reason))
                return refuse(reterr, "This XML cannot be edited by a program: %s", reason);
        if (fdgroup == FDGROUP_ADD && !domain_takes_context(&domain))
                return refuse(reterr, "This XML cannot be edited by a program: a <hostdev> stays "
                                      "without iommufd.");
        return 0;
}

int domain_apply(const char *xml, size_t length, DomainTier tier, FdgroupEdit fdgroup,
                 char **ret_xml, DomainChanges *ret_changes, char **reterr) {
        _cleanup_(edit_done) Edit e = { .domain = { .id = -1 }, .tier = tier };
        _cleanup_free_ char *text = NULL;
        int r;

        assert(tier < _DOMAIN_TIER_MAX);
        assert(fdgroup < _FDGROUP_EDIT_MAX);

        r = edit_begin(&e, xml, length, reterr);
        if (r < 0)
                return r;
        r = edit_apply(&e, fdgroup);
        if (r < 0)
                return r;
        r = splicer_finish(e.splicer, &text);
        if (r < 0)
                return r;
        r = edit_verify(&e, text, fdgroup, reterr);
        if (r < 0)
                return r;

        *ret_xml = TAKE_PTR(text);
        *ret_changes = e.changes;
        e.changes = (DomainChanges){};
        return 0;
}
