/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the doctor says: a line for each thing it looked at. The ids are documented in aviommu-doctor(7) and stay; a test
 * compares that page with the table here.
 */

#include "base/macro.h"

typedef enum Tiers {
        TIER_HARDWARE = 1 << 0,
        TIER_EMULATED = 1 << 1,
        TIER_VIRTIO = 1 << 2,
        TIERS_ALL = TIER_HARDWARE | TIER_EMULATED | TIER_VIRTIO,
        TIERS_QEMU = TIER_EMULATED | TIER_VIRTIO, /* those that a released QEMU makes */
} Tiers;

/* Symbol, id, and the tiers that what is looked at can matter to. */
#define FINDING_IDS(X)                                                                             \
        X(DAEMON_REACHABLE, "daemon.reachable", TIERS_ALL)                                         \
        X(DAEMON_VERSION, "daemon.version", 0)                                                     \
        X(DAEMON_SIMULATED, "daemon.simulated", TIERS_ALL)                                         \
        X(DAEMON_PROBLEMS, "daemon.problems", 0)                                                   \
        X(DAEMON_HARDWARE, "daemon.hardware", TIER_HARDWARE)                                       \
        X(DAEMON_EMULATED, "daemon.emulated", TIER_EMULATED)                                       \
        X(DAEMON_VIRTIO, "daemon.virtio", TIER_VIRTIO)                                             \
        X(FIRMWARE_PROCESSOR, "firmware.processor", TIER_HARDWARE)                                 \
        X(FIRMWARE_IVRS, "firmware.ivrs", TIERS_ALL)                                               \
        X(FIRMWARE_IOMMUS, "firmware.iommus", TIERS_ALL)                                           \
        X(FIRMWARE_NESTING, "firmware.nesting", TIER_HARDWARE)                                     \
        X(FIRMWARE_VIOMMU, "firmware.viommu", TIER_HARDWARE)                                       \
        X(FIRMWARE_VSC, "firmware.vsc", TIER_HARDWARE)                                             \
        X(KERNEL_CONFIG, "kernel.config", TIERS_ALL)                                               \
        X(KERNEL_IOMMUFD, "kernel.iommufd", TIER_HARDWARE)                                         \
        X(KERNEL_VFIO_PCI, "kernel.vfio-pci", TIERS_ALL)                                           \
        X(KERNEL_VFIO_CDEV, "kernel.vfio-cdev", TIER_HARDWARE)                                     \
        X(KERNEL_AMD_IOMMU, "kernel.amd-iommu", TIERS_ALL)                                         \
        X(KERNEL_AMD_IOMMUFD, "kernel.amd-iommufd", TIER_HARDWARE)                                 \
        X(KERNEL_IRQ_REMAP, "kernel.irq-remap", TIERS_ALL)                                         \
        X(KERNEL_MODULES, "kernel.modules", TIER_HARDWARE)                                         \
        X(KERNEL_COMMAND_LINE, "kernel.command-line", TIERS_ALL)                                   \
        X(KERNEL_PARAMETERS, "kernel.parameters", 0)                                               \
        X(KERNEL_LEVEL, "kernel.level", TIER_HARDWARE)                                             \
        X(NODES_USER, "nodes.user", 0)                                                             \
        X(NODES_IOMMU, "nodes.iommu", TIER_HARDWARE)                                               \
        X(NODES_VFIO, "nodes.vfio", TIER_HARDWARE)                                                 \
        X(FUNCTIONS_BOUND, "functions.bound", TIERS_ALL)                                           \
        X(FUNCTIONS_GROUPS, "functions.groups", TIERS_ALL)                                         \
        X(INTERRUPTS_REMAPPING, "interrupts.remapping", TIERS_ALL)                                 \
        X(MEMORY_LOCK, "memory.lock", TIERS_ALL)                                                   \
        X(MEMORY_CONTIGUOUS, "memory.contiguous", TIER_HARDWARE)                                   \
        X(RESOURCES_LEFT, "resources.left", TIERS_ALL)                                             \
        X(QEMU_VERSION, "qemu.version", TIERS_QEMU)                                                \
        X(LIBVIRT_VERSION, "libvirt.version", 0)                                                   \
        X(LIBVIRT_HOOK, "libvirt.hook", 0)                                                         \
        X(LIBVIRT_AGENT, "libvirt.agent", 0)                                                       \
        X(LEFTOVERS_VMS, "leftovers.vms", 0)                                                       \
        X(LEFTOVERS_RECORDS, "leftovers.records", 0)                                               \
        X(LEFTOVERS_FUNCTIONS, "leftovers.functions", 0)                                           \
        X(LEFTOVERS_HOLDERS, "leftovers.holders", 0)

typedef enum FindingId {
#define X(symbol, id, tiers) FINDING_##symbol,
        FINDING_IDS(X)
#undef X
                _FINDING_MAX,
} FindingId;

typedef enum FindingLevel {
        LEVEL_FINE,
        LEVEL_UNCHECKED, /* could not be looked at */
        LEVEL_WARNING,
        LEVEL_FAULT,
        _LEVEL_MAX,
} FindingLevel;

typedef struct Finding {
        FindingId id;
        FindingLevel level;
        unsigned keeps_from; /* the tiers that cannot be had as long as it is so */
        char *text;          /* what is there and what it means; not escaped */
        char *command;       /* that mends it; NULL: none does */
} Finding;

typedef struct Findings {
        Finding *items;
        size_t n;
} Findings;

const char *finding_id_to_string(FindingId id);

/* The tiers that @id can matter to. */
unsigned finding_id_tiers(FindingId id);

const char *finding_level_to_string(FindingLevel level);

/* "hardware", "emulated", "virtio"; @tier is one of them. */
const char *tier_name(unsigned tier);

/* Returns the tier, or 0 for another word. */
unsigned tier_from_string(const char *s);

/* Adds a line. */
void finding_add(Findings *f, FindingId id, FindingLevel level, const char *format, ...)
        _printf_(4, 5);

/* Of the line added last: the command, and the tiers that it keeps the host from, which are among those of its id. */
void finding_mend(Findings *f, const char *format, ...) _printf_(2, 3);
void finding_keeps_from(Findings *f, unsigned tiers);

/* What matters to one tier: lines about other things go, and what keeps the host from the tier becomes a fault, whatever
 * it is otherwise. A fault that does not keep from it becomes a warning. */
void findings_select_tier(Findings *f, unsigned tier);

size_t findings_count(const Findings *f, FindingLevel level);

void findings_done(Findings *f);
