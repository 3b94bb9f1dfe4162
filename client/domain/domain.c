/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/domain.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "domain/request.h"
#include "domain/xml.h"

static const char *const tier_names[_DOMAIN_TIER_MAX] = {
        [DOMAIN_TIER_HARDWARE] = "hardware",
        [DOMAIN_TIER_EMULATED] = "emulated",
        [DOMAIN_TIER_VIRTIO] = "virtio",
};

const char *domain_tier_to_string(DomainTier tier) {
        assert(tier < _DOMAIN_TIER_MAX);
        return tier_names[tier];
}

int domain_tier_from_string(const char *word, DomainTier *ret) {
        for (size_t i = 0; i < ELEMENTSOF(tier_names); i++)
                if (streq(word, tier_names[i])) {
                        *ret = (DomainTier)i;
                        return 0;
                }
        return -EINVAL;
}

void domain_done(Domain *domain) {
        free(domain->name);
        free(domain->type);
        free(domain->machine);
        free(domain->iommu_model);
        free(domain->fdgroup);
        for (size_t i = 0; i < domain->n_functions; i++)
                free(domain->functions[i].alias);
        free(domain->functions);
        free(domain->tenant);
        free(domain->bad_request);
        *domain = (Domain){ .id = -1 };
}

bool domain_takes_context(const Domain *domain) {
        if (!domain->iommufd || !domain->fdgroup || !streq(domain->fdgroup, DOMAIN_FDGROUP))
                return false;
        for (size_t i = 0; i < domain->n_functions; i++)
                if (!domain->functions[i].iommufd)
                        return false;
        return true;
}

/* Reads a number as libvirt does: decimal, 0x hexadecimal or 0 octal. Returns 0, -EINVAL, -ERANGE. */
static int parse_number(const char *s, unsigned base, uint64_t max, uint64_t *ret) {
        uint64_t v = 0;

        if (base == 0) {
                base = 10;
                if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
                        base = 16;
                        s += 2;
                } else if (s[0] == '0' && s[1])
                        base = 8;
        }
        if (!*s)
                return -EINVAL;
        for (; *s; s++) {
                unsigned digit = isdigit((unsigned char)*s)    ? (unsigned)(*s - '0')
                                 : isxdigit((unsigned char)*s) ? (unsigned)((*s | 0x20) - 'a') + 10
                                                               : base;

                if (digit >= base)
                        return -EINVAL;
                if (__builtin_mul_overflow(v, (uint64_t)base, &v) ||
                    __builtin_add_overflow(v, (uint64_t)digit, &v) || v > max)
                        return -ERANGE;
        }
        *ret = v;
        return 0;
}

/* The bytes of a unit of libvirt's: "KiB", "k" are 1024; "KB" is 1000. Returns 0 or -EINVAL. */
static int parse_unit(const char *unit, uint64_t *ret) {
        static const char letters[] = "kmgtpe";
        const char *letter;
        uint64_t base, v = 1;

        if (streq(unit, "b") || streq(unit, "byte") || streq(unit, "bytes")) {
                *ret = 1;
                return 0;
        }
        letter = *unit ? strchr(letters, *unit | 0x20) : NULL;
        if (!letter)
                return -EINVAL;
        if (!unit[1] || strcasecmp(unit + 1, "ib") == 0)
                base = 1024;
        else if (strcasecmp(unit + 1, "b") == 0)
                base = 1000;
        else
                return -EINVAL;

        for (const char *l = letters; l <= letter; l++)
                v *= base; /* 1024^6 at most */
        *ret = v;
        return 0;
}

static int read_memory(const XmlNode *node, uint64_t *ret, char **reterr) {
        const char *unit = xml_attribute(node, "unit");
        _cleanup_free_ char *text = NULL;
        uint64_t n, bytes;
        int r;

        r = xml_text_copy(node, &text);
        if (r < 0)
                return r;
        if (parse_unit(unit ?: "KiB", &bytes) < 0)
                return xml_refuse(reterr, node, "\"%s\" is no unit of memory.", XML_SHOWN(unit));
        if (parse_number(text, 10, UINT64_MAX, &n) < 0 || __builtin_mul_overflow(n, bytes, ret))
                return xml_refuse(reterr, node, "\"%s\" is no amount of memory.", XML_SHOWN(text));
        return 0;
}

/* <memory> is what it starts with, <maxMemory> what it can grow to. */
static int read_memories(const XmlNode *root, Domain *domain, char **reterr) {
        const XmlNode *memory = xml_child(root, NULL, "memory"),
                      *most = xml_child(root, NULL, "maxMemory");
        uint64_t v = 0;
        int r;

        if (memory) {
                r = read_memory(memory, &domain->memory, reterr);
                if (r < 0)
                        return r;
        }
        if (most) {
                r = read_memory(most, &v, reterr);
                if (r < 0)
                        return r;
                domain->memory = MAX(domain->memory, v);
        }
        return 0;
}

static int read_identity(const XmlNode *root, Domain *domain, char **reterr) {
        const XmlNode *uuid = xml_child(root, NULL, "uuid"), *name = xml_child(root, NULL, "name");
        const char *id = xml_attribute(root, "id");
        _cleanup_free_ char *text = NULL;
        uint64_t n;
        int r;

        r = xml_text_copy(uuid, &text);
        if (r < 0)
                return r;
        if (text && sd_id128_from_string(text, &domain->uuid) < 0)
                return xml_refuse(reterr, uuid, "\"%s\" is no UUID.", XML_SHOWN(text));

        r = xml_text_copy(name, &domain->name);
        if (r < 0)
                return r;
        if (!domain->name || !*domain->name)
                return xml_refuse(reterr, name ?: root, "The domain has no name.");

        if (id) {
                if (parse_number(id, 10, INT32_MAX, &n) < 0)
                        return xml_refuse(reterr, root, "\"%s\" is no id of a domain.",
                                          XML_SHOWN(id));
                domain->id = (int32_t)n;
        }
        return xml_attribute_copy(root, "type", &domain->type);
}

static int read_machine(const XmlNode *root, Domain *domain, char **reterr) {
        const XmlNode *os_type = xml_child(xml_child(root, NULL, "os"), NULL, "type"),
                      *vcpu = xml_child(root, NULL, "vcpu");
        _cleanup_free_ char *text = NULL;
        uint64_t n;
        int r;

        r = xml_attribute_copy(os_type, "machine", &domain->machine);
        if (r < 0)
                return r;
        domain->acpi = xml_child(xml_child(root, NULL, "features"), NULL, "acpi");
        r = xml_text_copy(vcpu, &text);
        if (r < 0)
                return r;
        if (text && *text) {
                if (parse_number(text, 10, UINT32_MAX, &n) < 0)
                        return xml_refuse(reterr, vcpu, "\"%s\" is no number of vCPUs.",
                                          XML_SHOWN(text));
                domain->n_vcpus = (uint32_t)n;
        }
        return read_memories(root, domain, reterr);
}

static int read_iommu(const XmlNode *devices, Domain *domain) {
        const XmlNode *iommu = xml_child(devices, NULL, "iommu"),
                      *driver = xml_child(iommu, NULL, "driver");
        int r;

        if (!iommu)
                return 0;
        r = xml_attribute_copy(iommu, "model", &domain->iommu_model);
        if (r < 0)
                return r;

        if (xml_next(iommu, NULL, "iommu"))
                domain->iommu = DOMAIN_IOMMU_SEVERAL;
        else if (xml_attribute_is(iommu, "model", "amd"))
                domain->iommu = DOMAIN_IOMMU_AMD;
        else if (xml_attribute_is(iommu, "model", "virtio"))
                domain->iommu = DOMAIN_IOMMU_VIRTIO;
        else
                domain->iommu = DOMAIN_IOMMU_OTHER;
        domain->intremap = xml_attribute_is(driver, "intremap", "on");
        domain->xtsup = xml_attribute_is(driver, "xtsup", "on");
        domain->has_passthrough = xml_attribute(driver, "passthrough");
        return 0;
}

static int read_iommufd(const XmlNode *root, Domain *domain) {
        const XmlNode *iommufd = xml_child(root, NULL, "iommufd");

        domain->iommufd = xml_attribute_is(iommufd, "enabled", "yes");
        return xml_attribute_copy(iommufd, "fdgroup", &domain->fdgroup);
}

/* Sets *value to what a -global says of amd-iommu.dma-remap, if it does. */
static void read_global(const char *arg, bool *value) {
        static const char *const forms[] = {
                "amd-iommu.dma-remap=",
                "driver=amd-iommu,property=dma-remap,value=",
        };
        static const char *const on[] = { "on", "yes", "true", "y" };

        for (size_t i = 0; i < ELEMENTSOF(forms); i++) {
                size_t n = strlen(forms[i]);

                if (strncmp(arg, forms[i], n) != 0)
                        continue;
                *value = false;
                for (size_t k = 0; k < ELEMENTSOF(on); k++)
                        if (streq(arg + n, on[k]))
                                *value = true;
        }
}

/* QEMU takes an option and its value as two arguments, and of a property that is set twice the last value. */
static void read_command_line(const XmlNode *root, Domain *domain) {
        bool global = false;

        XML_FOR_EACH(line, root, XML_QEMU_XMLNS, "commandline")
        XML_FOR_EACH(arg, line, XML_QEMU_XMLNS, "arg") {
                const char *value = strempty(xml_attribute(arg, "value"));

                if (global)
                        read_global(value, &domain->dma_remap);
                global = !global && (streq(value, "-global") || streq(value, "--global"));
        }
}

static int read_address(const XmlNode *node, PciAddress *ret, char **reterr) {
        static const struct {
                const char *name;
                uint64_t max;
        } parts[] = {
                { "domain", UINT16_MAX }, { "bus", 0xff }, { "slot", 0x1f }, { "function", 7 }
        };
        uint64_t v[ELEMENTSOF(parts)] = {};

        for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
                const char *value = xml_attribute(node, parts[i].name);

                if (value && parse_number(value, 0, parts[i].max, v + i) < 0)
                        return xml_refuse(reterr, node, "%s=\"%s\" is no part of a PCI address.",
                                          parts[i].name, XML_SHOWN(value));
        }
        *ret = (PciAddress){
                .segment = (uint16_t)v[0],
                .bus = (uint8_t)v[1],
                .devfn = (uint8_t)(v[2] << 3 | v[3]),
        };
        return 0;
}

static int read_function(const XmlNode *node, Domain *domain, char **reterr) {
        const XmlNode *address = xml_child(xml_child(node, NULL, "source"), NULL, "address"),
                      *driver = xml_child(node, NULL, "driver");
        DomainFunction *f = domain->functions + domain->n_functions;
        const char *iommufd = xml_attribute(driver, "iommufd");
        int r;

        if (!address)
                return xml_refuse(reterr, node, "It has no <source> with an <address>.");
        *f = (DomainFunction){
                .managed = xml_attribute_is(node, "managed", "yes"),
                .iommufd = iommufd ? streq(iommufd, "yes") : domain->iommufd,
        };
        r = read_address(address, &f->address, reterr);
        if (r < 0)
                return r;
        for (size_t i = 0; i < domain->n_functions; i++)
                if (pci_address_equal(&domain->functions[i].address, &f->address))
                        return xml_refuse(reterr, node, "%s is there twice.",
                                          PCI_ADDRESS_STRING(&f->address));
        r = xml_attribute_copy(xml_child(node, NULL, "alias"), "name", &f->alias);
        if (r < 0)
                return r;
        domain->n_functions++;
        domain->has_interfaces |= xml_is(node, NULL, "interface");
        return 0;
}

static int read_functions(const XmlNode *devices, Domain *domain, char **reterr) {
        size_t n = 0;
        int r;

        for (const XmlNode *node = devices ? devices->children : NULL; node; node = node->next)
                n += xml_is_function(node);
        if (n == 0)
                return 0;
        if (n > DOMAIN_FUNCTIONS_MAX) {
                r = xml_refuse(reterr, devices, "It has %zu PCI hostdevs; at most %i are read.", n,
                               DOMAIN_FUNCTIONS_MAX);
                return r == -EINVAL ? -E2BIG : r;
        }

        domain->functions = new0(DomainFunction, n);
        if (!domain->functions)
                return -ENOMEM;
        for (const XmlNode *node = devices->children; node; node = node->next) {
                if (!xml_is_function(node))
                        continue;
                r = read_function(node, domain, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What has been read of a bad request counts for nothing; @why, which is taken, says what is wrong. */
static void forget_request(Domain *domain, char *why) {
        for (size_t i = 0; i < domain->n_functions; i++)
                domain->functions[i].has_guest_id = false;
        domain->asks = true;
        domain->is_auto = domain->runs_otherwise = false;
        domain->n_tiers = 0;
        free(TAKE_PTR(domain->tenant));
        domain->bad_request = why;
}

static int domain_read(const XmlNode *root, bool started, Domain *domain, char **reterr) {
        const XmlNode *devices = xml_child(root, NULL, "devices");
        int r;

        if (!xml_is(root, NULL, "domain"))
                return xml_refuse(reterr, root, "A domain's XML begins with <domain>.");
        r = read_identity(root, domain, reterr);
        if (r < 0)
                return r;
        r = read_machine(root, domain, reterr);
        if (r < 0)
                return r;
        r = read_iommu(devices, domain);
        if (r < 0)
                return r;
        r = read_iommufd(root, domain);
        if (r < 0)
                return r;
        read_command_line(root, domain);
        r = read_functions(devices, domain, reterr);
        if (r < 0)
                return r;
        r = domain_request_read(root, started, domain, reterr);
        if (r != -EINVAL || !started)
                return r;
        forget_request(domain, TAKE_PTR(*reterr));
        return 0;
}

static int parse(const char *xml, size_t length, bool started, Domain *ret, char **reterr) {
        _cleanup_(domain_done) Domain domain = { .id = -1 };
        _cleanup_(xml_freep) XmlNode *root = NULL;
        int r;

        r = xml_read(xml, length, &root, reterr);
        if (r < 0)
                return r;
        r = domain_read(root, started, &domain, reterr);
        if (r < 0)
                return r;
        *ret = domain;
        domain = (Domain){};
        return 0;
}

int domain_parse(const char *xml, size_t length, Domain *ret, char **reterr) {
        return parse(xml, length, false, ret, reterr);
}

int domain_parse_started(const char *xml, size_t length, Domain *ret, char **reterr) {
        return parse(xml, length, true, ret, reterr);
}
