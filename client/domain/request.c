/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/request.h"

#include <errno.h>

#include "base/tenant.h"

const XmlNode *domain_request_find(const XmlNode *domain) {
        return xml_child(xml_child(domain, NULL, "metadata"), DOMAIN_XMLNS, "viommu");
}

static bool in_list(const char *word, const char *const *list) {
        for (; *list; list++)
                if (streq(word, *list))
                        return true;
        return false;
}

/* Whether @node has no other attributes than @known, all in no namespace. */
static int check_attributes(const XmlNode *node, const char *const *known, char **reterr) {
        for (const XmlAttribute *a = node->attributes; a; a = a->next)
                if (a->xmlns || !in_list(a->name, known))
                        return xml_refuse(reterr, node, "There is no attribute \"%s%s%s\" here.",
                                          XML_SHOWN(strempty(a->prefix)), a->xmlns ? ":" : "",
                                          XML_SHOWN(a->name));
        return 0;
}

/* Whether @node has no other children than the elements @known of the request's namespace. */
static int check_children(const XmlNode *node, const char *const *known, char **reterr) {
        for (const XmlNode *child = node->children; child; child = child->next)
                switch (child->kind) {
                case XML_ELEMENT:
                        if (!child->xmlns || !streq(child->xmlns, DOMAIN_XMLNS) ||
                            !in_list(child->name, known))
                                return xml_refuse(reterr, child,
                                                  "There is no such element in <%s>, of the "
                                                  "namespace " DOMAIN_XMLNS ".",
                                                  node->name);
                        break;
                case XML_TEXT:
                        if (!xml_is_blank(child))
                                return xml_refuse(reterr, node, "There is no text here.");
                        break;
                case XML_OTHER:
                        break;
                }
        return 0;
}

static int read_tier(const XmlNode *node, Domain *domain, char **reterr) {
        const char *word = xml_attribute(node, "tier");
        bool is_first = xml_is(node, DOMAIN_XMLNS, "viommu");
        DomainTier tier;

        if (!word)
                return xml_refuse(reterr, node, "The attribute tier= is missing.");
        if (is_first && streq(word, "auto")) {
                domain->is_auto = true;
                return 0;
        }
        if (domain_tier_from_string(word, &tier) < 0)
                return xml_refuse(reterr, node, "tier= wants %s, not \"%s\".",
                                  is_first ? "auto, hardware, emulated or virtio"
                                           : "hardware, emulated or virtio",
                                  XML_SHOWN(word));
        if (domain->is_auto)
                return xml_refuse(reterr, node,
                                  "tier=\"auto\" takes any tier already: it has no fallbacks.");
        for (size_t i = 0; i < domain->n_tiers; i++)
                if (domain->tiers[i] == tier)
                        return xml_refuse(reterr, node,
                                          "The tier %s is asked for already; name it once.", word);

        /* Each tier once: no more than there are. */
        assert(domain->n_tiers < ELEMENTSOF(domain->tiers));
        domain->tiers[domain->n_tiers++] = tier;
        return 0;
}

static int read_fallback(const XmlNode *node, Domain *domain, char **reterr) {
        int r;

        r = check_attributes(node, (const char *const[]){ "tier", NULL }, reterr);
        if (r < 0)
                return r;
        r = check_children(node, (const char *const[]){ NULL }, reterr);
        if (r < 0)
                return r;
        return read_tier(node, domain, reterr);
}

static DomainFunction *function_find(Domain *domain, const PciAddress *address) {
        for (size_t i = 0; i < domain->n_functions; i++)
                if (pci_address_equal(&domain->functions[i].address, address))
                        return domain->functions + i;
        return NULL;
}

static int read_function(const XmlNode *node, bool started, Domain *domain, char **reterr) {
        const char *address = xml_attribute(node, "address"),
                   *guest_id = xml_attribute(node, "guest-device-id");
        DomainFunction *f;
        GuestDeviceId id;
        PciAddress a;
        int r;

        r = check_attributes(node, (const char *const[]){ "address", "guest-device-id", NULL },
                             reterr);
        if (r < 0)
                return r;
        r = check_children(node, (const char *const[]){ NULL }, reterr);
        if (r < 0)
                return r;

        if (!address || !guest_id)
                return xml_refuse(reterr, node, "The attribute %s= is missing.",
                                  address ? "guest-device-id" : "address");
        if (pci_address_parse(address, &a) < 0)
                return xml_refuse(reterr, node,
                                  "address= wants a PCI function, SSSS:BB:DD.F, not \"%s\".",
                                  XML_SHOWN(address));
        if (guest_device_id_parse(guest_id, &id) < 0)
                return xml_refuse(reterr, node, "guest-device-id= wants BB:DD.F, not \"%s\".",
                                  XML_SHOWN(guest_id));

        f = function_find(domain, &a);
        if (!f && started)
                return 0;
        if (!f)
                return xml_refuse(reterr, node, "%s is no PCI <hostdev> of this domain.",
                                  PCI_ADDRESS_STRING(&a));
        if (f->has_guest_id)
                return xml_refuse(reterr, node, "%s is there twice.", PCI_ADDRESS_STRING(&a));
        for (size_t i = 0; i < domain->n_functions; i++)
                if (domain->functions[i].has_guest_id &&
                    domain->functions[i].guest_id.bdf == id.bdf)
                        return xml_refuse(reterr, node,
                                          "The guest device id %s is that of %s already.",
                                          GUEST_DEVICE_ID_STRING(id),
                                          PCI_ADDRESS_STRING(&domain->functions[i].address));

        f->guest_id = id;
        f->has_guest_id = true;
        return 0;
}

static int read_otherwise(const XmlNode *node, Domain *domain, char **reterr) {
        const char *word = xml_attribute(node, "otherwise");

        if (!word || streq(word, "refuse"))
                return 0;
        if (!streq(word, "run"))
                return xml_refuse(reterr, node, "otherwise= wants refuse or run, not \"%s\".",
                                  XML_SHOWN(word));
        domain->runs_otherwise = true;
        return 0;
}

static int read_tenant(const XmlNode *node, Domain *domain, char **reterr) {
        int r;

        r = xml_attribute_copy(node, "tenant", &domain->tenant);
        if (r < 0)
                return r;
        if (domain->tenant && !tenant_is_valid(domain->tenant))
                return xml_refuse(
                        reterr, node,
                        "tenant= wants 1 to %i characters of A-Z, a-z, 0-9, '.', '_' and '-', "
                        "not \"%s\".",
                        TENANT_MAX, XML_SHOWN(domain->tenant));
        return 0;
}

static int read_children(const XmlNode *node, bool started, Domain *domain, char **reterr) {
        int r;

        XML_FOR_EACH(fallback, node, DOMAIN_XMLNS, "fallback") {
                r = read_fallback(fallback, domain, reterr);
                if (r < 0)
                        return r;
        }
        XML_FOR_EACH(function, node, DOMAIN_XMLNS, "function") {
                r = read_function(function, started, domain, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_viommu(const XmlNode *node, bool started, Domain *domain, char **reterr) {
        int r;

        r = check_attributes(node, (const char *const[]){ "tier", "otherwise", "tenant", NULL },
                             reterr);
        if (r < 0)
                return r;
        r = check_children(node, (const char *const[]){ "fallback", "function", NULL }, reterr);
        if (r < 0)
                return r;

        domain->asks = true;
        r = read_tier(node, domain, reterr);
        if (r < 0)
                return r;
        r = read_otherwise(node, domain, reterr);
        if (r < 0)
                return r;
        r = read_tenant(node, domain, reterr);
        if (r < 0)
                return r;
        return read_children(node, started, domain, reterr);
}

int domain_request_read(const XmlNode *root, bool started, Domain *domain, char **reterr) {
        const XmlNode *metadata = xml_child(root, NULL, "metadata"), *request;

        request = domain_request_find(root);
        /* What is in this namespace and no request is one that was mistyped. */
        for (const XmlNode *n = metadata ? metadata->children : NULL; n; n = n->next) {
                if (n->kind != XML_ELEMENT || !n->xmlns || n == request ||
                    !streq(n->xmlns, DOMAIN_XMLNS))
                        continue;
                if (xml_is(n, DOMAIN_XMLNS, "viommu"))
                        return xml_refuse(reterr, n, "There is a request already; one is enough.");
                return xml_refuse(
                        reterr, n,
                        "There is no such element in <metadata>, of the namespace " DOMAIN_XMLNS
                        "; a request is <viommu>.");
        }
        return request ? read_viommu(request, started, domain, reterr) : 0;
}
