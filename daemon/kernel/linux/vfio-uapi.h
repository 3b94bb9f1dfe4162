/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What VFIO offers on its character devices, declared anew where the oldest linux/vfio.h that this builds with lacks it.
 * The prefix KVFIO_ keeps it apart; the rest is taken from that header.
 *
 * Source: include/uapi/linux/vfio.h of Linux 7.3-rc7, looked at in November 2026.
 */

#include <linux/ioctl.h>
#include <linux/vfio.h>
#include <stdint.h>

#define KVFIO_DEVICE_BIND_IOMMUFD      _IO(VFIO_TYPE, VFIO_BASE + 18)
#define KVFIO_DEVICE_ATTACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 19)
#define KVFIO_DEVICE_DETACH_IOMMUFD_PT _IO(VFIO_TYPE, VFIO_BASE + 20)

#define KVFIO_DEVICE_BIND_FLAG_TOKEN (UINT32_C(1) << 0)

#define KVFIO_VF_TOKEN_SIZE 16

struct kvfio_device_bind_iommufd {
        uint32_t argsz;
        uint32_t flags;
        int32_t iommufd;
        uint32_t out_devid;
        uint64_t
                token_uuid_ptr; /* with KVFIO_DEVICE_BIND_FLAG_TOKEN only: KVFIO_VF_TOKEN_SIZE bytes */
};
_Static_assert(sizeof(struct kvfio_device_bind_iommufd) == 24, "layout");

/* The first layouts of attach and detach, without a PASID: a later kernel takes them by their argsz. */
struct kvfio_device_attach_iommufd_pt {
        uint32_t argsz;
        uint32_t flags;
        uint32_t pt_id; /* comes back as the IOAS or the HWPT that is now attached */
};
_Static_assert(sizeof(struct kvfio_device_attach_iommufd_pt) == 12, "layout");

struct kvfio_device_detach_iommufd_pt {
        uint32_t argsz;
        uint32_t flags;
};
_Static_assert(sizeof(struct kvfio_device_detach_iommufd_pt) == 8, "layout");
