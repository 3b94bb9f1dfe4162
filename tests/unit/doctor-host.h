/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A host as the doctor sees it that lacks nothing, for tests to take something from. */

#include "doctor/check.h"

#define UUID "11111111-2222-3333-4444-555555555555"

static char config[] = "CONFIG_IOMMUFD=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_DEVICE_CDEV=y\n"
                       "CONFIG_AMD_IOMMU=y\nCONFIG_AMD_IOMMU_IOMMUFD=y\nCONFIG_IRQ_REMAP=y\n";
static char command_line[] = "root=/dev/sda iommu=pt\n";
static char processors[] = "vendor_id\t: AuthenticAMD\n";
static char interrupts[] = " 24: 1 IR-PCI-MSIX-0000:00:01.0 0-edge nvme\n";
static char limits[] = "Max locked memory  unlimited  unlimited  bytes\n";
static char ivrs[80], space[256];
static char qemu[] = "QEMU emulator version 11.1.3\n", libvirt[] = "libvirtd (libvirt) 12.8.0\n";

static const char *features[] = { "gt", "gio", "viommu", "gcr3trp" };
static const char *overrides[] = { "0000:41:00.1" };

/* Everything that a test may change. */
typedef struct Host {
        Facts facts;
        BusTier tiers[3];
        BusHost hosts[2];
        BusFunction functions[4];
        BusQuarantined quarantined[1];
        Resource resources[3];
        Node vfio[2];
        FoundHolder holders[3];
        IommuSpace spaces[1];
        const char *vms[1];
        const char *problems[2];
} Host;

static inline Blob blob(char *data, size_t size) {
        return (Blob){ .data = data, .size = size };
}

static inline void make_binaries(void) {
        uint8_t sum = 0;

        memset(ivrs, 0, sizeof(ivrs));
        memcpy(ivrs, "IVRS", 4);
        ivrs[4] = sizeof(ivrs);
        ivrs[48] = 0x11;
        ivrs[50] = 32;
        for (size_t i = 0; i < sizeof(ivrs); i++)
                sum = (uint8_t)(sum + (uint8_t)ivrs[i]);
        ivrs[9] = (char)-sum;

        memset(space, 0, sizeof(space));
        space[0x06] = 0x10;
        space[0x34] = 0x40;
        space[0x40] = 0x09;
        space[0x48] = space[0x50] = 1;
}

/* A host that lacks nothing. */
static inline void host_init(Host *h) {
        Facts *f = &h->facts;

        make_binaries();
        *h = (Host){};
        f->client_version = "1.0";
        h->tiers[0] = (BusTier){ "hardware", "", true };
        h->tiers[1] = (BusTier){ "emulated", "", true };
        h->tiers[2] = (BusTier){ "virtio", "", true };
        h->hosts[0] = (BusHost){ .name = "ivhd0",
                                 .vendor = "amd",
                                 .pci_address = "0000:00:00.2",
                                 .kernel_level = "accelerated",
                                 .kernel_level_reason = "Probed.",
                                 .efr = 1,
                                 .features = { features, 4 } };
        h->functions[0] = (BusFunction){ "0000:41:00.0", "vfio-pci", "ivhd0", "assigned",
                                         UUID,           "vfio0",    1 };
        h->functions[1] = (BusFunction){
                "0000:41:00.1", "vfio-pci", "ivhd0", "idle", "", "vfio1", 2
        };
        h->functions[2] = (BusFunction){ "0000:42:00.0", "nvme", "ivhd0", "host", "", "", 3 };
        h->functions[3] = (BusFunction){ "0000:43:00.0", "", "", "unbound", "", "", UINT32_MAX };
        h->quarantined[0] = (BusQuarantined){ UUID, "vm", "It is alive." };
        h->resources[0] = (Resource){ "instances", "ivhd0", 10, 1 };
        h->resources[1] = (Resource){ "contiguous-memory", "node0", UINT64_C(1) << 30, 0 };
        h->resources[2] = (Resource){ "domain-ids", "host", 100, 1 };
        h->vms[0] = UUID;
        h->holders[0] = (FoundHolder){ { .pid = 1, .command = "systemd" } };
        h->holders[1] = (FoundHolder){ { .pid = 77, .command = "anything" } };
        h->holders[2] = (FoundHolder){
                { .pid = 99, .command = "qemu-system-x86", .kind = HOLDER_OTHER }, UUID
        };
        h->vfio[0] = (Node){ "vfio0", 0, 0600, 998 };
        h->vfio[1] = (Node){ "vfio1", 0, 0600, 998 };
        h->spaces[0] = (IommuSpace){ "ivhd0", "0000:00:00.2", blob(space, sizeof(space)) };
        f->bus = (BusFacts){ .version = "1.0",
                             .kernel = "linux",
                             .tiers = h->tiers,
                             .n_tiers = 3,
                             .resources = { h->resources, 3 },
                             .pid = 77,
                             .hosts = h->hosts,
                             .n_hosts = 1,
                             .functions = h->functions,
                             .n_functions = 4,
                             .quarantined = h->quarantined,
                             .vms = h->vms,
                             .n_vms = 1,
                             .agent = "active" };
        f->kernel = (KernelFacts){ .release = "7.0",
                                   .config = blob(config, strlen(config)),
                                   .config_path = "/boot/config-7.0",
                                   .command_line = blob(command_line, strlen(command_line)),
                                   .is_loaded = { true, true } };
        f->kernel.parameters[0] = (ModuleParameter){ "iommufd", "allow_unsafe_interrupts", "N" };
        f->firmware = (FirmwareFacts){ blob(processors, strlen(processors)),
                                       blob(ivrs, sizeof(ivrs)), h->spaces, 1 };
        f->nodes = (NodeFacts){
                .iommu = { "/dev/iommu", 0, 0600, 998 }, .vfio = h->vfio, .n_vfio = 2, .user = 998
        };
        f->interrupts = blob(interrupts, strlen(interrupts));
        f->daemon_limits = blob(limits, strlen(limits));
        f->libvirt.qemu = (Program){ "/usr/bin/qemu-system-x86_64", 0, qemu };
        f->libvirt.libvirt = (Program){ "/usr/sbin/libvirtd", 0, libvirt };
        f->holders = (HolderFacts){ .items = h->holders, .n = 3 };
        f->overrides = (StringList){ overrides, 1 };
        f->vfio_ids = blob((char *)"\n", 1);
}

/* The first line of a check with a level; NULL: there is none. */
static inline const Finding *find(const Findings *f, FindingId id, FindingLevel level) {
        for (size_t i = 0; i < f->n; i++)
                if (f->items[i].id == id && f->items[i].level == level)
                        return &f->items[i];
        return NULL;
}
