/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A tier applied to a domain's XML: the request in <metadata>, the <iommu> of that tier and what goes with it. The text is edited where
 * it has to be; every other byte of it stays as it is. Applied to its own result it changes nothing.
 */

#include "domain/domain.h"

typedef struct DomainChanges {
        char **sentences; /* what is different now, one each; none: nothing is */
        size_t n;
} DomainChanges;

void domain_changes_done(DomainChanges *changes);

/* What becomes of <iommufd fdgroup='aviommu'>, with which QEMU takes over a context of the daemon's. */
typedef enum FdgroupEdit {
        FDGROUP_KEEP, /* there or not, as it is */
        FDGROUP_ADD,  /* which wants libvirt 12.2 and a host with /dev/iommu */
        FDGROUP_REMOVE,
        _FDGROUP_EDIT_MAX,
} FdgroupEdit;

/* Gives the inactive XML @xml of a domain the tier @tier: DOMAIN_TIER_EMULATED or DOMAIN_TIER_VIRTIO, the other is refused.
 * Another group than the agent's is not removed, and functions that have an iommufd='yes' of their own keep it.
 * *ret_xml (NUL-terminated) and *ret_changes are the caller's. Returns 0; -EINVAL with a sentence in *reterr (allocated) for what
 * cannot be read or cannot have this tier, -E2BIG likewise; -ENOMEM. */
int domain_apply(const char *xml, size_t length, DomainTier tier, FdgroupEdit fdgroup,
                 char **ret_xml, DomainChanges *ret_changes, char **reterr);
