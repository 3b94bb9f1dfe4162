/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this libvirt and QEMU can of what the tiers want: pure, from their versions and what libvirt says of itself. */

#include "lib/version.h"

#include "ctl/libvirt-connection.h"

typedef enum Verdict {
        VERDICT_NO,
        VERDICT_YES,
        VERDICT_UNKNOWN,
} Verdict;

typedef struct Ability {
        Verdict verdict;
        char reason[192]; /* "" where there is nothing to say */
} Ability;

typedef enum AbilityKind {
        ABILITY_VIRTIO,    /* <iommu model='virtio'> */
        ABILITY_AMD,       /* <iommu model='amd'> */
        ABILITY_DMA_REMAP, /* amd-iommu.dma-remap=on */
        ABILITY_IOMMUFD,   /* <hostdev> on an iommufd */
        ABILITY_FDGROUP,   /* ... that somebody else has opened */
        _ABILITY_MAX,
} AbilityKind;

const char *ability_to_string(AbilityKind kind);

/* @capabilities: NULL where libvirt gives none. */
void abilities_find(const LibvirtVersions *versions, const char *capabilities,
                    Ability ret[static _ABILITY_MAX]);
