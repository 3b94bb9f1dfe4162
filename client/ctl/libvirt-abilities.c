/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/libvirt-abilities.h"

#include <stdio.h>
#include <stdarg.h>

#include "domain/capabilities.h"

const char *ability_to_string(AbilityKind kind) {
        static const char *const names[_ABILITY_MAX] = {
                [ABILITY_VIRTIO] = "virtio",       [ABILITY_AMD] = "amd",
                [ABILITY_DMA_REMAP] = "dma-remap", [ABILITY_IOMMUFD] = "iommufd",
                [ABILITY_FDGROUP] = "fdgroup",
        };

        return names[kind];
}

static void set(Ability *a, Verdict verdict, const char *format, ...) _printf_(3, 4);

static void set(Ability *a, Verdict verdict, const char *format, ...) {
        va_list ap;

        a->verdict = verdict;
        va_start(ap, format);
        (void)vsnprintf(a->reason, sizeof(a->reason), format, ap);
        va_end(ap);
}

/* By the version of one of the two; 0 says nothing. */
static void by_version(Ability *a, const char *who, uint64_t version, uint64_t since) {
        if (version == 0)
                set(a, VERDICT_UNKNOWN, "The version of %s is not known; %s and later can.", who,
                    VERSION_STRING(since));
        else if (version < since)
                set(a, VERDICT_NO, "%s is %s; %s and later can.", who, VERSION_STRING(version),
                    VERSION_STRING(since));
        else
                set(a, VERDICT_YES, "%s", "");
}

/* What libvirt says of a device goes before what is known of its versions. */
static void by_enumeration(Ability *a, const char *capabilities, const char *device,
                           const char *name, const char *value, const char *reason) {
        bool has;

        if (!capabilities || capabilities_enumerate(capabilities, device, name, value, &has) < 0)
                return;
        if (has)
                set(a, VERDICT_YES, "%s", "");
        else if (a->verdict != VERDICT_NO)
                set(a, VERDICT_NO, "%s", reason);
}

void abilities_find(const LibvirtVersions *versions, const char *capabilities,
                    Ability ret[static _ABILITY_MAX]) {
        bool is_qemu = streq(versions->hypervisor, "QEMU");
        uint64_t libvirt = versions->libvirt, qemu = is_qemu ? versions->version : 0;

        by_version(ret + ABILITY_VIRTIO, "libvirt", libvirt, LIBVIRT_WITH_VIRTIO);
        by_version(ret + ABILITY_AMD, "libvirt", libvirt, LIBVIRT_WITH_AMD);
        by_version(ret + ABILITY_DMA_REMAP, "QEMU", qemu, QEMU_WITH_DMA_REMAP);
        by_version(ret + ABILITY_IOMMUFD, "libvirt", libvirt, LIBVIRT_WITH_IOMMUFD);
        by_version(ret + ABILITY_FDGROUP, "libvirt", libvirt, LIBVIRT_WITH_FDGROUP);

        by_enumeration(ret + ABILITY_VIRTIO, capabilities, "iommu", "model", "virtio",
                       "This QEMU has no virtio-iommu-pci.");
        by_enumeration(ret + ABILITY_AMD, capabilities, "iommu", "model", "amd",
                       "This QEMU has no amd-iommu.");
        by_enumeration(ret + ABILITY_IOMMUFD, capabilities, "hostdev", "iommufd", "yes",
                       "This host has no /dev/iommu (CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV of "
                       "its kernel), or QEMU no iommufd.");
        if (ret[ABILITY_IOMMUFD].verdict == VERDICT_NO &&
            ret[ABILITY_FDGROUP].verdict != VERDICT_NO)
                ret[ABILITY_FDGROUP] = ret[ABILITY_IOMMUFD];
}
