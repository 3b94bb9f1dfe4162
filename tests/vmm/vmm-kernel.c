/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a VMM asks of the kernel itself. The structures are the project's own declarations of the kernel's user interface.
 */

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/linux/iommufd-uapi.h"
#include "kernel/linux/vfio-uapi.h"
#include "vmm.h"

/* A guest's device table entry, to be nested on stage 2. Source: include/uapi/linux/iommufd.h of Linux 7.3-rc7,
 * IOMMU_HWPT_DATA_AMD_GUEST and struct iommu_hwpt_amd_guest */
#define HWPT_DATA_AMD_GUEST 3
struct hwpt_amd_guest {
        uint64_t dte[4];
};

#define VIOMMU_TYPE_AMD 3

/* The command buffer's tail pointer in the VF MMIO page. Spec: 48882, Command Buffer Tail Pointer Register */
#define MMIO_COMMAND_TAIL (0x8 / sizeof(uint64_t))

bool vmm_make_memory(Vmm *vmm) {
        vmm->memory_fd = memfd_create("guest-memory", MFD_CLOEXEC);
        if (vmm->memory_fd < 0 || ftruncate(vmm->memory_fd, (off_t)vmm->memory_size) < 0)
                return fail(errno, "making %zu bytes of guest memory", vmm->memory_size);

        vmm->memory = mmap(NULL, vmm->memory_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                           vmm->memory_fd, 0);
        if (vmm->memory == MAP_FAILED) {
                vmm->memory = NULL;
                return fail(errno, "mapping guest memory");
        }
        return true;
}

/* ---- handover "vmm" ---- */

/* The node of a function's VFIO device is named in sysfs. It belongs to aviommud's user; a VMM that opens it itself runs
 * as root, or gets the descriptor from who started it. */
static int open_cdev(const char *address) {
        char path[300];
        struct dirent *entry;
        int fd = -1;
        DIR *dir;

        (void)snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", address);
        dir = opendir(path);
        if (!dir)
                return -1;
        while ((entry = readdir(dir)))
                if (strncmp(entry->d_name, "vfio", 4) == 0) {
                        (void)snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
                        fd = open(path, O_RDWR | O_CLOEXEC);
                        break;
                }
        (void)closedir(dir);
        return fd;
}

static bool bind_function(Vmm *vmm, VmmFunction *f) {
        struct kvfio_device_bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = vmm->iommufd };

        f->fd = open_cdev(f->address);
        if (f->fd < 0)
                return fail(errno, "opening the VFIO device of %s", f->address);
        if (ioctl(f->fd, KVFIO_DEVICE_BIND_IOMMUFD, &bind) < 0)
                return fail(errno, "VFIO_DEVICE_BIND_IOMMUFD of %s", f->address);
        f->device_id = bind.out_devid;
        say("function %s bound, device %u", f->address, f->device_id);
        return true;
}

static bool attach(const VmmFunction *f, uint32_t pt_id) {
        struct kvfio_device_attach_iommufd_pt request = { .argsz = sizeof(request),
                                                          .pt_id = pt_id };

        if (ioctl(f->fd, KVFIO_DEVICE_ATTACH_IOMMUFD_PT, &request) < 0)
                return fail(errno, "VFIO_DEVICE_ATTACH_IOMMUFD_PT of %s to %u", f->address, pt_id);
        return true;
}

static bool detach(const VmmFunction *f) {
        struct kvfio_device_detach_iommufd_pt request = { .argsz = sizeof(request) };

        if (ioctl(f->fd, KVFIO_DEVICE_DETACH_IOMMUFD_PT, &request) < 0)
                return fail(errno, "VFIO_DEVICE_DETACH_IOMMUFD_PT of %s", f->address);
        return true;
}

static void destroy(const Vmm *vmm, uint32_t id) {
        struct kiommu_destroy request = { .size = sizeof(request), .id = id };

        if (id != 0 && ioctl(vmm->iommufd, KIOMMU_DESTROY, &request) < 0)
                (void)fail(errno, "IOMMU_DESTROY of %u", id);
}

/* Every function on the table under which guest physical addresses are host memory: in the hardware tier a nest parent, on
 * which the guest's own tables can stand later; else the address space itself. */
static bool make_stage2(Vmm *vmm) {
        struct kiommu_ioas_alloc ioas = { .size = sizeof(ioas) };
        bool nests = strcmp(vmm->tier, "hardware") == 0;

        if (ioctl(vmm->iommufd, KIOMMU_IOAS_ALLOC, &ioas) < 0)
                return fail(errno, "IOMMU_IOAS_ALLOC");
        vmm->ioas_id = ioas.out_ioas_id;

        if (nests && vmm->n_functions > 0) {
                struct kiommu_hwpt_alloc hwpt = {
                        .size = sizeof(hwpt),
                        .flags = KIOMMU_HWPT_ALLOC_NEST_PARENT,
                        .dev_id = vmm->functions[0].device_id,
                        .pt_id = vmm->ioas_id,
                };

                if (ioctl(vmm->iommufd, KIOMMU_HWPT_ALLOC, &hwpt) < 0)
                        return fail(errno, "IOMMU_HWPT_ALLOC of a nest parent");
                vmm->stage2_id = hwpt.out_hwpt_id;
        }
        say("IOAS %u, stage 2 %u", vmm->ioas_id, vmm->stage2_id);
        return true;
}

/* The vIOMMU on @f's host IOMMU, made through @f if there is none yet. v3 takes 8 bytes of user data, others 16. */
static const VmmViommu *find_viommu(Vmm *vmm, const VmmFunction *f) {
        struct kiommu_viommu_amd data = {};
        struct kiommu_viommu_alloc request = {
                .size = sizeof(request),
                .type = VIOMMU_TYPE_AMD,
                .dev_id = f->device_id,
                .hwpt_id = vmm->stage2_id,
                .data_len = 8,
                .data_uptr = (uintptr_t)&data,
        };
        VmmViommu *v;
        int r;

        for (size_t i = 0; i < vmm->n_viommus; i++)
                if (strcmp(vmm->viommus[i].host_iommu, f->host_iommu) == 0)
                        return vmm->viommus + i;
        assert(vmm->n_viommus < VMM_VIOMMUS_MAX);

        r = ioctl(vmm->iommufd, KIOMMU_VIOMMU_ALLOC, &request);
        if (r < 0 && errno == EINVAL) {
                request.data_len = 16;
                r = ioctl(vmm->iommufd, KIOMMU_VIOMMU_ALLOC, &request);
        }
        if (r < 0) {
                (void)fail(errno, "IOMMU_VIOMMU_ALLOC on %s", f->host_iommu);
                return NULL;
        }

        v = vmm->viommus + vmm->n_viommus++;
        *v = (VmmViommu){
                .viommu_id = request.out_viommu_id,
                .mmio_offset = data.out_vfmmio_mmap_offset,
                .mmio_size = 4096,
        };
        memcpy(v->host_iommu, f->host_iommu, sizeof(v->host_iommu));
        /* A kernel without AMD's type says yes all the same, but gives no page. */
        if (v->mmio_offset == 0) {
                (void)fail(0, "the kernel made a vIOMMU with nothing behind it");
                return NULL;
        }
        say("vIOMMU %u on %s, VF MMIO at offset 0x%" PRIx64, v->viommu_id, v->host_iommu,
            v->mmio_offset);
        return v;
}

/* "BB:DD.F" as the 16 bits that the guest's IOMMU knows. */
static uint64_t parse_guest_id(const char *guest_id) {
        unsigned bus = 0, device = 0, function = 0;

        (void)sscanf(guest_id, "%x:%x.%x", &bus, &device, &function);
        return (bus & 0xff) << 8 | (device & 0x1f) << 3 | (function & 7);
}

static bool make_vdevice(Vmm *vmm, VmmFunction *f) {
        struct kiommu_vdevice_alloc request = { .size = sizeof(request), .dev_id = f->device_id };
        const VmmViommu *v = find_viommu(vmm, f);

        if (!v)
                return false;
        request.viommu_id = v->viommu_id;
        request.virt_id = parse_guest_id(f->guest_id);
        if (ioctl(vmm->iommufd, KIOMMU_VDEVICE_ALLOC, &request) < 0)
                return fail(errno, "IOMMU_VDEVICE_ALLOC of %s as %s", f->address, f->guest_id);
        f->vdevice_id = request.out_vdevice_id;
        say("function %s is vDEVICE %u, %s in the guest", f->address, f->vdevice_id, f->guest_id);
        return true;
}

bool vmm_build_context(Vmm *vmm) {
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (!bind_function(vmm, vmm->functions + i))
                        return false;
        if (!make_stage2(vmm))
                return false;
        if (!vmm_attach_stage2(vmm))
                return false;
        for (size_t i = 0; i < vmm->n_functions && vmm->stage2_id != 0; i++)
                if (!make_vdevice(vmm, vmm->functions + i))
                        return false;
        return true;
}

bool vmm_map_by_self(Vmm *vmm) {
        struct kiommu_ioas_map_file map = {
                .size = sizeof(map),
                .flags = KIOMMU_MAP_FIXED_IOVA | KIOMMU_MAP_READABLE | KIOMMU_MAP_WRITEABLE,
                .ioas_id = vmm->ioas_id,
                .fd = vmm->memory_fd,
                .length = vmm->memory_size,
                .iova = vmm->memory_iova,
        };

        if (ioctl(vmm->iommufd, KIOMMU_IOAS_MAP_FILE, &map) < 0)
                return fail(errno, "IOMMU_IOAS_MAP_FILE");
        say("%zu KiB of guest memory mapped at 0x%" PRIx64, vmm->memory_size >> 10,
            vmm->memory_iova);
        return true;
}

bool vmm_unmap_by_self(Vmm *vmm) {
        struct kiommu_ioas_unmap unmap = {
                .size = sizeof(unmap),
                .ioas_id = vmm->ioas_id,
                .iova = vmm->memory_iova,
                .length = vmm->memory_size,
        };

        if (ioctl(vmm->iommufd, KIOMMU_IOAS_UNMAP, &unmap) < 0)
                return fail(errno, "IOMMU_IOAS_UNMAP");
        say("guest memory unmapped");
        return true;
}

/* ---- either handover ---- */

bool vmm_map_mmio(Vmm *vmm, VmmViommu *v) {
        void *page;

        /* Shared, and exactly this offset and size. A VMM puts the page at 0x2000 of its IOMMU's register space in the guest,
         * where head and tail of the rings are. */
        page = mmap(NULL, v->mmio_size, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->iommufd,
                    (off_t)v->mmio_offset);
        if (page == MAP_FAILED)
                return fail(errno, "mapping the VF MMIO page on %s", v->host_iommu);
        v->mmio = page;
        if (!vmm_try_mmio(v))
                return false;
        say("VF MMIO page on %s mapped, written and read back", v->host_iommu);
        return true;
}

bool vmm_try_mmio(const VmmViommu *v) {
        const uint64_t tail = 0x40;

        /* No command buffer is enabled, so moving its tail starts nothing. */
        v->mmio[MMIO_COMMAND_TAIL] = tail;
        if (v->mmio[MMIO_COMMAND_TAIL] != tail)
                return fail(0, "VF MMIO on %s: wrote 0x%" PRIx64 ", read 0x%" PRIx64, v->host_iommu,
                            tail, v->mmio[MMIO_COMMAND_TAIL]);
        v->mmio[MMIO_COMMAND_TAIL] = 0;
        return true;
}

static const VmmViommu *viommu_of(const Vmm *vmm, const VmmFunction *f) {
        for (size_t i = 0; i < vmm->n_viommus; i++)
                if (strcmp(vmm->viommus[i].host_iommu, f->host_iommu) == 0)
                        return vmm->viommus + i;
        return NULL;
}

bool vmm_attach_nested(Vmm *vmm, VmmFunction *f, bool *ret_supported) {
        /* What the guest writes into its device table. All zero: not valid yet, as after a guest's reset. The vDEVICE has to be
         * there first: it tells the driver under which id the guest knows the function. */
        struct hwpt_amd_guest guest = {};
        const VmmViommu *v = viommu_of(vmm, f);
        struct kiommu_hwpt_alloc request = {
                .size = sizeof(request),
                .dev_id = f->device_id,
                .data_type = HWPT_DATA_AMD_GUEST,
                .data_len = sizeof(guest),
                .data_uptr = (uintptr_t)&guest,
        };

        *ret_supported = false;
        if (!v)
                return fail(0, "%s has no vIOMMU", f->address);
        request.pt_id = v->viommu_id;
        if (ioctl(vmm->iommufd, KIOMMU_HWPT_ALLOC, &request) < 0) {
                if (errno != EOPNOTSUPP)
                        return fail(errno, "IOMMU_HWPT_ALLOC of a nested table for %s", f->address);
                say("this kernel has no nested tables: %s stays on stage 2", f->address);
                return true;
        }

        *ret_supported = true;
        f->nested_id = request.out_hwpt_id;
        if (!attach(f, f->nested_id))
                return false;
        say("function %s attached to nested table %u", f->address, f->nested_id);
        return true;
}

bool vmm_attach_stage2(Vmm *vmm) {
        uint32_t pt_id = vmm->stage2_id != 0 ? vmm->stage2_id : vmm->ioas_id;

        /* Attaching anew replaces what was. But Linux up to 7.3-rc7 takes the nest parent to be attached still while a nested
         * table is, answers 0 and leaves that in place (amd_iommu_attach_device): hence detach first. All of them, because the
         * functions of a group are attached to the same table. DMA is blocked in between. */
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (vmm->functions[i].nested_id != 0 && !detach(vmm->functions + i))
                        return false;

        for (size_t i = 0; i < vmm->n_functions; i++) {
                VmmFunction *f = vmm->functions + i;

                if (!attach(f, pt_id))
                        return false;
                say("function %s attached to %s %u", f->address,
                    vmm->stage2_id != 0 ? "stage 2" : "IOAS", pt_id);
        }
        for (size_t i = 0; i < vmm->n_functions; i++) {
                destroy(vmm, vmm->functions[i].nested_id);
                vmm->functions[i].nested_id = 0;
        }
        return true;
}

void vmm_close_function(Vmm *vmm) {
        VmmFunction *f;

        if (vmm->n_functions == 0)
                return;
        f = vmm->functions + --vmm->n_functions;

        /* That unbinds it, and aviommud sees that it is free. (With handover "daemon" the vDEVICE is aviommud's to destroy, in
         * DetachDevice.) */
        (void)close(f->fd);
        destroy(vmm, f->nested_id);
        say("function %s closed", f->address);
}

/* An orderly end. Whoever just exits gets the same from the kernel and from aviommud. */
void vmm_close(Vmm *vmm) {
        bool nested = false;

        for (size_t i = 0; i < vmm->n_functions; i++)
                nested |= vmm->functions[i].nested_id != 0;
        if (nested)
                (void)vmm_attach_stage2(vmm);

        /* As long as the page is mapped anywhere, the vIOMMU cannot go. */
        for (size_t i = 0; i < vmm->n_viommus; i++)
                if (vmm->viommus[i].mmio)
                        (void)munmap((void *)vmm->viommus[i].mmio, vmm->viommus[i].mmio_size);

        if (strcmp(vmm->handover, "vmm") == 0) { /* otherwise they are aviommud's to destroy */
                for (size_t i = 0; i < vmm->n_functions; i++)
                        destroy(vmm, vmm->functions[i].vdevice_id);
                for (size_t i = 0; i < vmm->n_viommus; i++)
                        destroy(vmm, vmm->viommus[i].viommu_id);
        }

        /* Closing the last descriptor of a function unbinds it. The iommufd comes last. */
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (vmm->functions[i].fd >= 0)
                        (void)close(vmm->functions[i].fd);
        if (vmm->iommufd >= 0)
                (void)close(vmm->iommufd);
        if (vmm->memory)
                (void)munmap(vmm->memory, vmm->memory_size);
        if (vmm->memory_fd >= 0)
                (void)close(vmm->memory_fd);
        say("closed");
}
