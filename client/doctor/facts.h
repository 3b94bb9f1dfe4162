/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the doctor has seen: plain data, gathered by gather-*.c from the daemon, from files below a root directory and from
 * programs' versions. The deciders, check-*.c, read it and nothing else.
 */

#include "base/pci-address.h"
#include "lib/failure.h"
#include "lib/holders.h"
#include "lib/reply.h"

/* A file's contents, or why there are none. */
typedef struct Blob {
        int error;  /* 0, or a negative errno: then the rest is empty */
        char *data; /* with a NUL byte behind it */
        size_t size;
} Blob;

/* ---- files ---- */

typedef struct ModuleParameter {
        const char *module, *name; /* static */
        char value[32];            /* "" where it is not known */
} ModuleParameter;

typedef enum KernelModule {
        MODULE_IOMMUFD,
        MODULE_VFIO_PCI,
        _MODULE_MAX,
} KernelModule;

#define N_MODULE_PARAMETERS 4

typedef struct KernelFacts {
        char release[96]; /* "" where it is not known */
        Blob config;      /* of this kernel */
        char config_path[128];
        Blob command_line;
        bool is_loaded[_MODULE_MAX]; /* in the kernel, or loaded */
        ModuleParameter parameters[N_MODULE_PARAMETERS];
} KernelFacts;

/* The PCI configuration space of a host IOMMU: 64 bytes of it for who is not root. */
typedef struct IommuSpace {
        const char *name, *address; /* of the BusFacts */
        Blob config;
} IommuSpace;

typedef struct FirmwareFacts {
        Blob processors; /* /proc/cpuinfo */
        Blob ivrs;
        IommuSpace *spaces;
        size_t n_spaces;
} FirmwareFacts;

typedef struct Node {
        char name[32]; /* "/dev/iommu", "vfio3" */
        int error;     /* 0, or why it cannot be looked at */
        unsigned mode, uid;
} Node;

typedef struct NodeFacts {
        Node iommu;
        int vfio_error; /* of /dev/vfio/devices */
        Node *vfio;
        size_t n_vfio;
        int users_error; /* of /etc/passwd */
        int64_t user;    /* uid of aviommu; -1: there is none */
} NodeFacts;

/* What a program says of its version. */
typedef struct Program {
        char path[64]; /* "" where there is none */
        int error;     /* 0, or why it could not be run */
        char *output;
} Program;

typedef struct LibvirtFacts {
        Program qemu, libvirt;
        int hook_error;      /* 0: it is there and can be run */
        bool is_hook_hidden; /* a folder above it may not be looked into: it may be there */
} LibvirtFacts;

/* A process with /dev/iommu open. */
typedef struct FoundHolder {
        Holder holder; /* its command is not escaped */
        char uuid[40]; /* of -uuid on its command line; "" */
} FoundHolder;

typedef struct HolderFacts {
        int error; /* of /proc */
        FoundHolder *items;
        size_t n;
        size_t n_hidden; /* processes whose descriptors may not be seen */
} HolderFacts;

/* ---- the daemon ---- */

typedef struct BusTier {
        const char *name, *reason;
        bool is_available;
} BusTier;

typedef struct BusHost {
        const char *name, *vendor, *pci_address, *kernel_level, *kernel_level_reason;
        uint64_t efr;
        StringList features;
} BusHost;

typedef struct BusFunction {
        const char *address, *driver, *host_iommu, *state, *uuid, *cdev;
        uint32_t group;
        uint16_t vendor_id, device_id; /* 0: not known */
} BusFunction;

typedef struct BusQuarantined {
        const char *uuid, *kind, *reason;
} BusQuarantined;

typedef struct BusFacts {
        Failure failure; /* of the first question; its exit code is 0 where it was answered */
        const char *version, *kernel;
        BusTier *tiers;
        size_t n_tiers;
        StringList problems;
        ResourceList resources;
        uint32_t pid; /* of the daemon; 0: not known */

        /* Lists, each with the failure of asking for it: the daemon does not let everybody look. */
        Failure hosts_failure, functions_failure, quarantined_failure, vms_failure;
        BusHost *hosts;
        size_t n_hosts;
        BusFunction *functions;
        size_t n_functions;
        BusQuarantined *quarantined;
        size_t n_quarantined;
        const char **vms; /* UUIDs */
        size_t n_vms;

        char agent
                [64]; /* state of the agent's unit: "active", "not-found"; "": systemd does not tell */

        sd_bus_message **messages; /* the strings are in them */
        size_t n_messages;
} BusFacts;

/* ---- all of it ---- */

typedef struct Facts {
        const char *client_version;
        BusFacts bus;
        KernelFacts kernel;
        FirmwareFacts firmware;
        NodeFacts nodes;
        Blob interrupts;    /* what /proc/interrupts begins with */
        Blob daemon_limits; /* /proc/PID/limits of the daemon; -ENODATA: its PID is not known */
        LibvirtFacts libvirt;
        HolderFacts holders;
        StringList overrides; /* addresses that driverctl has a driver for; allocated strings */
        Blob vfio_ids;        /* vfio-pci's parameter "ids" */
} Facts;

static inline bool bus_is_reachable(const BusFacts *b) {
        return b->failure.exit_code == CLIENT_EXIT_OK;
}

void facts_done(Facts *f);
