/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The names under which descriptors lie in the fd store. A name says whose and what a descriptor
 * is, so that what belongs to a damaged record can be told; what it means is the record's to say.
 * Pure.
 *
 *      vm-<uuid, 32 lower-case hex digits>-iommufd
 *      vm-<uuid>-leash, vm-<uuid>-second-leash
 *      vm-<uuid>-cdev-SSSS.BB.DD.F         (FDNAME= takes no colon)
 *      prepared-<uuid>
 */

#include <systemd/sd-id128.h>

#include "base/macro.h"
#include "base/pci-address.h"

typedef enum FdRole {
        FD_ROLE_IOMMUFD,
        FD_ROLE_LEASH,
        FD_ROLE_LEASH2, /* of a leash that takes another one's place: both are there for a moment */
        FD_ROLE_CDEV,
        FD_ROLE_PREPARED,
        _FD_ROLE_MAX,
} FdRole;

typedef struct FdName {
        FdRole role;
        sd_id128_t uuid;
        PciAddress function; /* FD_ROLE_CDEV */
} FdName;

#define FD_NAME_SIZE 64

/* Returns @buf. */
char *fd_name_format(const FdName *name, char buf[static FD_NAME_SIZE]);
#define FD_NAME_STRING(name) fd_name_format((name), (char[FD_NAME_SIZE]){})

/* How the names of all but the prepared descriptors of a VM begin. Returns @buf. */
char *fd_name_format_prefix(sd_id128_t uuid, char buf[static FD_NAME_SIZE]);

/* Exactly what fd_name_format() writes, or -EINVAL. */
int fd_name_parse(const char *s, FdName *ret);
