/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a libvirt domain's XML says that matters for a vIOMMU: the request in its <metadata>, its PCI hostdevs, its <iommu> and
 * <iommufd>. Text in, plain data out; nothing is asked of libvirt.
 */

#include <systemd/sd-id128.h>

#include "base/pci-address.h"

#define DOMAIN_XMLNS "https://aviommu.org/xmlns/domain/1"

/* The iommufd group of libvirt that the agent associates a context with. */
#define DOMAIN_FDGROUP "aviommu"

/* Bytes of XML that are read at most; libvirt's protocol allows half of that for a string. */
#define DOMAIN_XML_SIZE_MAX ((size_t)8 << 20)

#define DOMAIN_FUNCTIONS_MAX 1024

typedef enum DomainTier {
        DOMAIN_TIER_HARDWARE,
        DOMAIN_TIER_EMULATED,
        DOMAIN_TIER_VIRTIO,
        _DOMAIN_TIER_MAX,
} DomainTier;

const char *domain_tier_to_string(DomainTier tier);

/* Returns 0, or -EINVAL for what is no tier ("auto" among it). */
int domain_tier_from_string(const char *word, DomainTier *ret);

typedef enum DomainIommu {
        DOMAIN_IOMMU_NONE,
        DOMAIN_IOMMU_AMD,
        DOMAIN_IOMMU_VIRTIO,
        DOMAIN_IOMMU_OTHER, /* intel, smmuv3, or one that is not known here */
        DOMAIN_IOMMU_SEVERAL,
} DomainIommu;

/* A PCI <hostdev>. */
typedef struct DomainFunction {
        PciAddress address; /* on the host */
        bool managed;       /* libvirt binds it to vfio-pci itself */
        bool iommufd;       /* by its own <driver iommufd=>, or the domain's default */
        char *alias;        /* "hostdev0"; NULL: none yet */
        bool has_guest_id;  /* the request names one */
        GuestDeviceId guest_id;
} DomainFunction;

typedef struct Domain {
        sd_id128_t uuid;
        char *name;
        char *type;       /* "kvm", "qemu" */
        int32_t id;       /* of a running one; -1: none */
        char *machine;    /* "pc-q35-11.1"; NULL: not said */
        uint32_t n_vcpus; /* at most; 0: not said */
        uint64_t memory;  /* bytes at most: <maxMemory>, else <memory>; 0: not said */
        bool acpi;        /* <features><acpi/> */

        DomainIommu iommu;
        char *iommu_model;    /* the word; NULL: none */
        bool intremap, xtsup; /* of <iommu><driver> */
        bool has_passthrough; /* <driver passthrough=> is there at all */
        bool dma_remap;       /* -global amd-iommu.dma-remap=on on QEMU's command line */

        bool iommufd;  /* <iommufd enabled='yes'> */
        char *fdgroup; /* NULL: none */

        DomainFunction *functions; /* in the order of the XML */
        size_t n_functions;
        bool has_interfaces; /* some are <interface>s, which libvirt may have taken from a network's pool */

        /* The request; without one all of it is 0. */
        bool asks;
        bool is_auto;                       /* tier="auto" */
        DomainTier tiers[_DOMAIN_TIER_MAX]; /* the tier and its fallbacks; empty with auto */
        size_t n_tiers;
        bool runs_otherwise; /* otherwise="run" */
        char *tenant;        /* NULL: none */
        char *bad_request; /* of a started one: why it cannot be read; it asks then, for nothing that is known. NULL: it can */
} Domain;

/* Reads a <domain>. Entities and includes are not followed, and nothing is fetched. *ret is set on success only; domain_done()
 * gives back what it has. Returns 0; -EINVAL with a sentence in *reterr (allocated, names the element and, if known, the line) for
 * what is no domain, or has a request that is not one; -E2BIG; -ENOMEM. */
int domain_parse(const char *xml, size_t length, Domain *ret, char **reterr);

/* The same for one that has been started: of the functions that its request names, some may have been unplugged; and what it has, it has
 * whatever its request has become. */
int domain_parse_started(const char *xml, size_t length, Domain *ret, char **reterr);
void domain_done(Domain *domain);

/* Whether every PCI hostdev is on the iommufd that the agent associates: then the VMM takes over a context of aviommud's. */
bool domain_takes_context(const Domain *domain);
