/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * THE SEAM. Everything that aviommud asks of a kernel, as a table of calls with plain data in and out.
 *
 * Two tables exist: kernel/linux (the real one, the only one in aviommud) and kernel/sim (a host in memory, the only
 * one in aviommud-sim). Each call is one kernel request: no policy, no logging, no retry beyond EINTR. The same
 * contract cases (tests/contract) run on both.
 *
 * Every call is thread-safe as long as no two threads work on the same iommufd at once (the daemon orders the requests
 * of a VM). All return 0 or a negative errno and write their ret_ arguments on success only. Descriptors that come back
 * are close-on-exec and belong to the caller, who closes them with close(2): that is how a kernel learns of it.
 */

#include "base/macro.h"
#include "base/pci-address.h"

#define KERNEL_BYTES_UNKNOWN UINT64_MAX
#define KERNEL_NONE          UINT32_MAX /* "no such number": group, host IOMMU, cdev, NUMA node */

/* Who made the host's IOMMUs. Only AMD's can serve a vIOMMU; the others are listed so that a refusal can name them. */
typedef enum IommuVendor {
        IOMMU_VENDOR_AMD,
        IOMMU_VENDOR_INTEL,
        IOMMU_VENDOR_OTHER,
} IommuVendor;

typedef struct HostIommuInfo {
        uint32_t
                index; /* N of ivhdN for AMD; the order of appearance for others; unique in a scan */
        char name[32]; /* the class device's name: "ivhd0", "dmar1", "smmu3.0x000000002b400000" */
        IommuVendor vendor;
        bool has_address;
        PciAddress
                address; /* the IOMMU's own PCI function; where there is none, only .segment means something */
        uint32_t numa_node; /* KERNEL_NONE: not told */
        /* EFR and EFR2 as the driver shows them: global to the host, so alike for every AMD IOMMU. 0 if unknown.
         * Spec: 48882, Extended Feature Register (MMIO 0x30), Extended Feature 2 (MMIO 0x1A0) */
        uint64_t efr, efr2;
} HostIommuInfo;

/* Bits of EFR and EFR2 that decide something here. Spec: 48882 */
#define EFR_GT            (UINT64_C(1) << 4)  /* guest translation */
#define EFR_GIO           (UINT64_C(1) << 48) /* guest I/O protection */
#define EFR_VIOMMU        (UINT64_C(1) << 55) /* HW-vIOMMU */
#define EFR2_GCR3TRP_MODE (UINT64_C(1) << 3)

#define PCI_FUNCTION_ALIASES_MAX 4

typedef struct PciFunctionInfo {
        PciAddress address;
        bool is_bridge;  /* counts for no group's wholeness, cannot be assigned */
        bool is_virtual; /* an SR-IOV VF; physical_function is then meant */
        PciAddress physical_function;
        uint32_t host_iommu; /* HostIommuInfo.index, KERNEL_NONE when behind none */
        uint32_t group;      /* IOMMU group, KERNEL_NONE when in none. Not stable over reboots */
        char group_type
                [16]; /* as /sys/kernel/iommu_groups/G/type says: "DMA", "identity"; "" unknown */
        uint32_t numa_node;
        uint32_t cdev;   /* N of /dev/vfio/devices/vfioN, KERNEL_NONE without one */
        char driver[32]; /* "" when none is bound */
        char host_use
                [64]; /* what the host itself needs it for now, "nvme0n1p2 is mounted on /"; "": nothing known */
        uint16_t vendor_id, device_id;
        uint32_t class_code; /* 24 bits */
        /* Further requester ids under which its DMA may appear (PCI aliases, IVRS aliases), in its own segment. */
        size_t n_aliases;
        uint16_t aliases[PCI_FUNCTION_ALIASES_MAX];
} PciFunctionInfo;

/* Whether a 24-bit class code is a bridge's. "Other" bridges (0680) are not meant: NVSwitches and NTBs say that they are such, and are functions
 * like any other, which vfio-pci takes. */
static inline bool pci_class_is_bridge(uint32_t class_code) {
        return class_code >> 16 == 0x06 && class_code >> 8 != 0x0680;
}

typedef struct NodeInfo {
        uint32_t node;
        uint64_t total_bytes;
        uint64_t
                free_contiguous_bytes; /* free memory in blocks of order 8 (1 MiB) and more, or KERNEL_BYTES_UNKNOWN */
        uint64_t iommu_bytes; /* nr_iommu_pages, as bytes */
        uint32_t
                memory_node; /* whose memory its allocations come from: its own, or the nearest's if it has none; KERNEL_NONE if that is not told */
} NodeInfo;

/* What a scan saw: arrays sorted by index, address and node. Free with host_scan_free(). */
typedef struct HostScan {
        int iommufd_error; /* 0: /dev/iommu can be opened; otherwise the negative errno that stands in the way */
        bool has_vfio_cdev; /* VFIO device nodes exist or vfio could make them (/dev/vfio) */
        uint64_t total_memory_bytes;
        HostIommuInfo *iommus;
        size_t n_iommus;
        PciFunctionInfo *functions;
        size_t n_functions;
        NodeInfo *nodes;
        size_t n_nodes;
} HostScan;

HostScan *host_scan_free(HostScan *scan);
DEFINE_CLEANUP(HostScan, host_scan_free);

/* Kinds of object whose existence can be probed. Spec: kernel iommufd, object types */
typedef enum KernelObjectKind {
        KERNEL_OBJECT_DEVICE,
        KERNEL_OBJECT_IOAS,
        KERNEL_OBJECT_ANY, /* any other: HWPT, vIOMMU, vDEVICE. Until Linux 6.13 only nested HWPTs are told of */
} KernelObjectKind;

/* One range of guest memory. */
typedef struct KernelMapping {
        int fd;          /* memfd, shmem or hugetlbfs file */
        uint64_t offset; /* in the file, bytes, page aligned */
        uint64_t length; /* bytes, page aligned, not 0 */
        uint64_t iova;   /* guest physical address, page aligned */
        bool writable;   /* the functions may write; reading is always allowed */
} KernelMapping;

/* Values of VIOMMU_ALLOC's type. Spec: enum iommu_viommu_type; AMD's from the v3 series of June 2026 */
#define KERNEL_VIOMMU_TYPE_AMD UINT32_C(3)
#define KERNEL_VIOMMU_TYPE_BOGUS                                                                   \
        UINT32_C(0x7fffffff) /* no driver has it: tells a type check from none */

typedef struct KernelViommuRequest {
        uint32_t type;
        uint32_t device_id; /* of a bound function behind the wanted host IOMMU */
        uint32_t hwpt_id;   /* nest parent; 0 probes the type without consuming anything */
        uint32_t data_len;  /* 8 (v3) or 16 bytes of user data */
} KernelViommuRequest;

typedef struct KernelViommu {
        uint32_t viommu_id;
        uint64_t
                vfmmio_offset; /* mmap offset on the iommufd: a cookie, no address. 0: the kernel gave none */
} KernelViommu;

#define KERNEL_VFMMIO_SIZE ((size_t)4096) /* Spec: 48882, VF MMIO aperture, 4 KiB per Guest ID */

typedef struct Kernel Kernel;

typedef struct KernelOps {
        const char *name; /* "linux", "simulated" */

        void (*free)(Kernel *k);

        /* ---- the host ---- */

        /* Reads host IOMMUs, nodes and PCI functions. With @only (n > 0) the functions are limited to those named and
         * the other members of their groups; an address that does not exist is simply not in the result.
         * Errors: -ENOMEM, -EIO. */
        int (*scan)(Kernel *k, const PciAddress *only, size_t n_only, HostScan **ret);

        /* Starts to watch for PCI functions and drivers that come and go. *ret_fd polls readable when something may
         * have changed; it stays the kernel's, one per Kernel. */
        int (*watch)(Kernel *k, int *ret_fd);

        /* Takes what made the fd readable. *ret_changed: a rescan is due. */
        int (*watch_drain)(Kernel *k, bool *ret_changed);

        /* ---- iommufd: one per VM ---- */

        /* Opens /dev/iommu. Errors: -ENOENT (no such node), -EACCES, -ENODEV, -EMFILE. */
        int (*iommufd_open)(Kernel *k, int *ret_iommufd);

        /* Accounts pinned pages to the mapping process rather than the user (OPTION RLIMIT_MODE = 1).
         * Errors: -EPERM without CAP_SYS_RESOURCE, -EBUSY once any object exists, -EBADF not an iommufd.
         * Spec: struct iommu_option */
        int (*iommufd_account_process)(Kernel *k, int iommufd);

        /* Spec: struct iommu_ioas_alloc. Errors: -ENOMEM */
        int (*ioas_alloc)(Kernel *k, int iommufd, uint32_t *ret_ioas_id);

        /* Maps at a fixed IOVA and pins, if a HWPT is there; without one the kernel checks little, and the attach
         * fails later: the caller sees to alignment, kind and size of the file. -EEXIST overlap, -EINVAL bad range or file, -EBADF, -ENOMEM
         * over the memlock limit, -ENOENT bad id, -EOVERFLOW. Spec: struct iommu_ioas_map_file */
        int (*ioas_map_file)(Kernel *k, int iommufd, uint32_t ioas_id,
                             const KernelMapping *mapping);

        /* -ENOENT: nothing mapped there, or the range would split a mapping. Spec: struct iommu_ioas_unmap */
        int (*ioas_unmap)(Kernel *k, int iommufd, uint32_t ioas_id, uint64_t iova, uint64_t length);

        /* Stage-2 table on which vIOMMUs can stand. -EOPNOTSUPP: no nesting here. Spec: struct iommu_hwpt_alloc with
         * IOMMU_HWPT_ALLOC_NEST_PARENT */
        int (*hwpt_alloc_nest_parent)(Kernel *k, int iommufd, uint32_t device_id, uint32_t ioas_id,
                                      uint32_t *ret_hwpt_id);

        /* -EOPNOTSUPP type; -ENOENT hwpt or device; -EINVAL hwpt no nest parent, or data_len; -ENOSPC Guest IDs or
         * TransDevIDs exhausted (the kernel does not say which); -ENOMEM. Spec: struct iommu_viommu_alloc */
        int (*viommu_alloc)(Kernel *k, int iommufd, const KernelViommuRequest *request,
                            KernelViommu *ret);

        /* Asks for an AMD command-buffer hw queue that cannot work. -EOPNOTSUPP: this kernel has no AMD hw queues; 0:
         * it has (whatever it said to the request). Nothing is left behind. Spec: struct iommu_hw_queue_alloc */
        int (*hw_queue_probe)(Kernel *k, int iommufd, uint32_t viommu_id);

        /* Maps the VF MMIO page. While a mapping exists, in any process, the vIOMMU cannot be destroyed (-EBUSY).
         * -ENXIO wrong offset. Undone by vfmmio_unmap. */
        int (*vfmmio_map)(Kernel *k, int iommufd, uint64_t offset, volatile void **ret_page);
        int (*vfmmio_unmap)(Kernel *k, int iommufd, uint64_t offset, volatile void *page);

        /* -EEXIST: the device has one already, or the guest id is taken on that vIOMMU; -EINVAL: behind another host
         * IOMMU; -ENOENT. Spec: struct iommu_vdevice_alloc */
        int (*vdevice_alloc)(Kernel *k, int iommufd, uint32_t viommu_id, uint32_t device_id,
                             GuestDeviceId guest_id, uint32_t *ret_vdevice_id);

        /* -ENOENT; -EBUSY in use (may take up to a minute to say so). Spec: struct iommu_destroy */
        int (*object_destroy)(Kernel *k, int iommufd, uint32_t object_id);

        /* Whether an id is in use: 0 yes, -ENOENT no (or of another kind). Proves existence, not identity: freed ids
         * are used again. */
        int (*object_probe)(Kernel *k, int iommufd, KernelObjectKind kind, uint32_t object_id);

        /* ---- VFIO: one per function ---- */

        /* Opens the function's VFIO character device. -ENOENT: no such function or none bound to a vfio driver;
         * -EACCES; -EMFILE. */
        int (*cdev_open)(Kernel *k, const PciAddress *function, int *ret_cdev);

        /* Binds to the iommufd; @vf_token: 16 bytes, or NULL for none. -EINVAL: bound already, here or through another
         * file, or a token where none belongs; -EPERM: the group belongs to another iommufd, another function of it is
         * on a host driver, or MSIs are not isolated; -EBUSY: the group is in use the old way; -EACCES: token wanted or
         * wrong; -EAGAIN: the function is being removed; -ENODEV: it is gone. Spec: struct vfio_device_bind_iommufd */
        int (*cdev_bind)(Kernel *k, int cdev, int iommufd, const uint8_t *vf_token,
                         uint32_t *ret_device_id);

        /* A second attach replaces the first. -ENOENT, -EINVAL, -EADDRINUSE reserved region under a mapping, -EBUSY
         * during a reset or TransDevID clash. Spec: struct vfio_device_attach_iommufd_pt */
        int (*cdev_attach)(Kernel *k, int cdev, uint32_t pt_id);
        int (*cdev_detach)(Kernel *k, int cdev);

        /* Has @eventfd signalled when the host wants the function back (hot unplug, driver unbind): the holder must then
         * close the cdev, or the removal waits for ever. -1 takes it off. Spec: VFIO_PCI_REQ_IRQ_INDEX */
        int (*cdev_notify_request)(Kernel *k, int cdev, int eventfd);

        /* Whether @cdev is that function's, asked without touching it: 0 it is, -EXDEV it is another's, -EBADF no VFIO character device.
         * -ENOENT: its function is being removed, and has no number any more, nor has @function: it may be that one's.
         * Spec: kernel ABI, /sys/dev/char; /sys/.../vfio-dev */
        int (*cdev_is)(Kernel *k, int cdev, const PciAddress *function);
} KernelOps;

struct Kernel {
        const KernelOps *ops;
};

/* As ops->cdev_open. A node that has just appeared belongs to root until udev has given it to the daemon's user: that is waited for, a second at
 * most. */
int kernel_open_cdev(Kernel *k, const PciAddress *function, int *ret_cdev);

static inline Kernel *kernel_free(Kernel *k) {
        if (k)
                k->ops->free(k);
        return NULL;
}
DEFINE_CLEANUP(Kernel, kernel_free);
