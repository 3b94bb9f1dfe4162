/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * QEMU's `edu` function has a DMA engine that user space can drive: what it reads and writes goes through the tables like the
 * DMA of any function. Source: docs/specs/edu.rst of QEMU.
 *
 * A VMM gives the BARs to its guest instead, whose driver does this.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/linux/vfio-uapi.h"
#include "vmm.h"

#define EDU_ID UINT32_C(0x11e81234) /* device and vendor */

#define EDU_DMA_SOURCE      (0x80 / sizeof(uint64_t))
#define EDU_DMA_DESTINATION (0x88 / sizeof(uint64_t))
#define EDU_DMA_COUNT       (0x90 / sizeof(uint64_t))
#define EDU_DMA_COMMAND     (0x98 / sizeof(uint64_t))
#define EDU_DMA_RUN         UINT64_C(1)
#define EDU_DMA_FROM_DEVICE UINT64_C(2)
#define EDU_BUFFER          UINT64_C(0x40000) /* the engine's own 4 KiB, in its address space */

#define COUNT 256U

#define COMMAND            4 /* in the configuration space */
#define COMMAND_MEMORY     2
#define COMMAND_BUS_MASTER 4

static bool get_region(const VmmFunction *f, uint32_t index, struct vfio_region_info *ret) {
        *ret = (struct vfio_region_info){ .argsz = sizeof(*ret), .index = index };
        return ioctl(f->fd, VFIO_DEVICE_GET_REGION_INFO, ret) >= 0;
}

bool edu_is(const VmmFunction *f) {
        struct vfio_region_info config;
        uint32_t id;

        return get_region(f, VFIO_PCI_CONFIG_REGION_INDEX, &config) &&
               pread(f->fd, &id, sizeof(id), (off_t)config.offset) == sizeof(id) && id == EDU_ID;
}

/* Lets the function answer and do DMA, and maps its registers. */
static bool edu_open(const VmmFunction *f, volatile uint64_t **ret_registers, size_t *ret_size) {
        struct vfio_region_info config, bar;
        uint16_t command;
        void *p;

        if (!get_region(f, VFIO_PCI_CONFIG_REGION_INDEX, &config) ||
            !get_region(f, VFIO_PCI_BAR0_REGION_INDEX, &bar))
                return fail(errno, "VFIO_DEVICE_GET_REGION_INFO of %s", f->address);
        if (pread(f->fd, &command, sizeof(command), (off_t)config.offset + COMMAND) < 0)
                return fail(errno, "reading the configuration of %s", f->address);
        command |= COMMAND_MEMORY | COMMAND_BUS_MASTER;
        if (pwrite(f->fd, &command, sizeof(command), (off_t)config.offset + COMMAND) < 0)
                return fail(errno, "writing the configuration of %s", f->address);

        p = mmap(NULL, bar.size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, (off_t)bar.offset);
        if (p == MAP_FAILED)
                return fail(errno, "mapping BAR 0 of %s", f->address);
        *ret_registers = p;
        *ret_size = bar.size;
        return true;
}

static bool edu_run(volatile uint64_t *registers, uint64_t source, uint64_t destination,
                    uint64_t command) {
        registers[EDU_DMA_SOURCE] = source;
        registers[EDU_DMA_DESTINATION] = destination;
        registers[EDU_DMA_COUNT] = COUNT;
        registers[EDU_DMA_COMMAND] = command | EDU_DMA_RUN;
        for (int i = 0; i < 1000; i++) {
                if (!(registers[EDU_DMA_COMMAND] & EDU_DMA_RUN))
                        return true;
                (void)usleep(10000);
        }
        return fail(ETIMEDOUT, "the function's DMA engine");
}

bool edu_check_reaches(Vmm *vmm, const VmmFunction *f, const char *when) {
        static uint8_t seed;
        volatile uint64_t *registers;
        uint8_t *from = vmm->memory, *to = vmm->memory + vmm->memory_size / 2;
        size_t size;
        bool ok;

        if (!edu_open(f, &registers, &size))
                return false;

        /* Other bytes each time, so that none can be left over from the time before. */
        seed += 0x35;
        for (size_t i = 0; i < COUNT; i++)
                from[i] = (uint8_t)(i ^ seed);
        memset(to, 0, COUNT);

        ok = edu_run(registers, vmm->memory_iova, EDU_BUFFER, 0) &&
             edu_run(registers, EDU_BUFFER, vmm->memory_iova + vmm->memory_size / 2,
                     EDU_DMA_FROM_DEVICE);
        for (size_t i = 0; i < COUNT && ok; i++)
                if (to[i] != (uint8_t)(i ^ seed))
                        ok = fail(
                                0,
                                "DMA of %s %s: byte %zu went out as 0x%02x and came back as 0x%02x",
                                f->address, when, i, (uint8_t)(i ^ seed), to[i]);
        (void)munmap((void *)registers, size);
        if (ok)
                say("DMA of %s %s: %u bytes there and back, all as they were", f->address, when,
                    COUNT);
        return ok;
}

bool edu_check_does_not_reach(Vmm *vmm, const VmmFunction *f, uint64_t iova, const char *what) {
        volatile uint64_t *registers;
        uint8_t *before;
        size_t size;
        bool ok;

        before = malloc(vmm->memory_size);
        if (!before || !edu_open(f, &registers, &size)) {
                free(before);
                return false;
        }
        memcpy(before, vmm->memory, vmm->memory_size);

        ok = edu_run(registers, EDU_BUFFER, iova, EDU_DMA_FROM_DEVICE);
        if (ok && memcmp(before, vmm->memory, vmm->memory_size) != 0)
                ok = fail(0, "DMA of %s to %s has changed guest memory", f->address, what);
        (void)munmap((void *)registers, size);
        free(before);
        if (ok)
                say("DMA of %s to %s: does not reach", f->address, what);
        return ok;
}
