/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The iommufd user interface as far as it is used here, declared anew: the oldest headers that this builds with have no
 * linux/iommufd.h. The prefix KIOMMU_ keeps it apart from one that is installed.
 *
 * Source: include/uapi/linux/iommufd.h of Linux 7.3-rc7, looked at in November 2026. What is marked "AMD" is not in it:
 * it is from the HW-vIOMMU series, version 3 (June 2026), and from AMD's tree. Kernels up to 7.3-rc7 lack it.
 *
 * Every request starts with its own size, and the kernel fills or checks what is beyond the structs that it knows.
 */

#include <linux/ioctl.h>
#include <stdint.h>

#define KIOMMU_IO(nr) _IO(';', (nr))

#define KIOMMU_DESTROY         KIOMMU_IO(0x80)
#define KIOMMU_IOAS_ALLOC      KIOMMU_IO(0x81)
#define KIOMMU_IOAS_UNMAP      KIOMMU_IO(0x86)
#define KIOMMU_OPTION          KIOMMU_IO(0x87)
#define KIOMMU_HWPT_ALLOC      KIOMMU_IO(0x89)
#define KIOMMU_GET_HW_INFO     KIOMMU_IO(0x8a)
#define KIOMMU_HWPT_INVALIDATE KIOMMU_IO(0x8d)
#define KIOMMU_IOAS_MAP_FILE   KIOMMU_IO(0x8f)
#define KIOMMU_VIOMMU_ALLOC    KIOMMU_IO(0x90)
#define KIOMMU_VDEVICE_ALLOC   KIOMMU_IO(0x91)
#define KIOMMU_HW_QUEUE_ALLOC  KIOMMU_IO(0x94)

struct kiommu_destroy {
        uint32_t size;
        uint32_t id;
};
_Static_assert(sizeof(struct kiommu_destroy) == 8, "layout");

struct kiommu_ioas_alloc {
        uint32_t size;
        uint32_t flags; /* none exist */
        uint32_t out_ioas_id;
};
_Static_assert(sizeof(struct kiommu_ioas_alloc) == 12, "layout");

#define KIOMMU_MAP_FIXED_IOVA (UINT32_C(1) << 0)
#define KIOMMU_MAP_WRITEABLE  (UINT32_C(1) << 1)
#define KIOMMU_MAP_READABLE   (UINT32_C(1) << 2)

struct kiommu_ioas_map_file {
        uint32_t size;
        uint32_t flags;
        uint32_t ioas_id;
        int32_t fd;
        uint64_t start; /* offset in the file */
        uint64_t length;
        uint64_t iova;
};
_Static_assert(sizeof(struct kiommu_ioas_map_file) == 40, "layout");

struct kiommu_ioas_unmap {
        uint32_t size;
        uint32_t ioas_id;
        uint64_t iova;
        uint64_t length; /* comes back as the length that was unmapped */
};
_Static_assert(sizeof(struct kiommu_ioas_unmap) == 24, "layout");

#define KIOMMU_OPTION_RLIMIT_MODE UINT32_C(0)
#define KIOMMU_OPTION_HUGE_PAGES  UINT32_C(1)
#define KIOMMU_OPTION_OP_SET      UINT16_C(0)
#define KIOMMU_OPTION_OP_GET      UINT16_C(1)

struct kiommu_option {
        uint32_t size;
        uint32_t option_id;
        uint16_t op;
        uint16_t reserved;
        uint32_t object_id;
        uint64_t val64;
};
_Static_assert(sizeof(struct kiommu_option) == 24, "layout");

#define KIOMMU_HWPT_ALLOC_NEST_PARENT (UINT32_C(1) << 0)

struct kiommu_hwpt_alloc {
        uint32_t size;
        uint32_t flags;
        uint32_t dev_id;
        uint32_t pt_id;
        uint32_t out_hwpt_id;
        uint32_t reserved;
        uint32_t data_type; /* 0: none */
        uint32_t data_len;
        uint64_t data_uptr;
        uint32_t fault_id;
        uint32_t reserved2;
};
_Static_assert(sizeof(struct kiommu_hwpt_alloc) == 48, "layout");

struct kiommu_hw_info {
        uint32_t size;
        uint32_t flags;
        uint32_t dev_id;
        uint32_t data_len;
        uint64_t data_uptr;
        uint32_t data_type;
        uint8_t out_max_pasid_log2;
        uint8_t reserved[3];
        uint64_t out_capabilities;
};
_Static_assert(sizeof(struct kiommu_hw_info) == 40, "layout");

struct kiommu_hwpt_invalidate {
        uint32_t size;
        uint32_t hwpt_id; /* any object's: the kernel looks it up before it checks the kind */
        uint64_t data_uptr;
        uint32_t data_type;
        uint32_t entry_len;
        uint32_t entry_num;
        uint32_t reserved;
};
_Static_assert(sizeof(struct kiommu_hwpt_invalidate) == 32, "layout");

struct kiommu_viommu_alloc {
        uint32_t size;
        uint32_t flags;
        uint32_t type;
        uint32_t dev_id;
        uint32_t hwpt_id;
        uint32_t out_viommu_id;
        uint32_t data_len;
        uint32_t reserved;
        uint64_t data_uptr;
};
_Static_assert(sizeof(struct kiommu_viommu_alloc) == 40, "layout");

/* AMD: the user data of a vIOMMU, output only. Version 3 has the first 8 bytes; a 16-byte variant adds a reserved field.
 * Both start with the offset. */
struct kiommu_viommu_amd {
        uint64_t out_vfmmio_mmap_offset;
        uint64_t reserved;
};
_Static_assert(sizeof(struct kiommu_viommu_amd) == 16, "layout");

struct kiommu_vdevice_alloc {
        uint32_t size;
        uint32_t viommu_id;
        uint32_t dev_id;
        uint32_t out_vdevice_id;
        uint64_t virt_id;
};
_Static_assert(sizeof(struct kiommu_vdevice_alloc) == 24, "layout");

#define KIOMMU_HW_QUEUE_TYPE_AMD_CMD UINT32_C(2) /* AMD */

struct kiommu_hw_queue_alloc {
        uint32_t size;
        uint32_t flags;
        uint32_t viommu_id;
        uint32_t type;
        uint32_t index;
        uint32_t out_hw_queue_id;
        uint64_t nesting_parent_iova;
        uint64_t length;
};
_Static_assert(sizeof(struct kiommu_hw_queue_alloc) == 40, "layout");
