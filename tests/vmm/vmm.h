/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The parts of the reference VMM: what it knows of its VM, and its four subjects, each in a file of its own.
 *
 *   vmm-bus.c     talking to aviommud: who am I, what did I get, I have it
 *   vmm-kernel.c  iommufd and VFIO: the requests that a VMM makes itself
 *   vmm-edu.c     a function that can do DMA, and what DMA must and must not reach
 *   reference-vmm.c   the order of things
 *
 * Every step says on stdout what it did. A step that fails says what and why on stderr and returns false; the caller then
 * gives up: when a VMM ends, aviommud takes everything back.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#define VMM_FUNCTIONS_MAX 64
#define VMM_VIOMMUS_MAX   32

typedef struct VmmFunction {
        char address[13];    /* on the host: SSSS:BB:DD.F */
        char host_iommu[24]; /* ivhdN: a function belongs to the vIOMMU on its own host IOMMU */
        char guest_id[8];    /* BB:DD.F, where the guest sees it; "" outside the hardware tier */
        int fd;              /* its VFIO descriptor */
        uint32_t device_id;  /* what the iommufd calls it */
        uint32_t vdevice_id; /* the function on its vIOMMU; 0: none */
        uint32_t nested_id;  /* nested HWPT, while it is attached to one */
} VmmFunction;

typedef struct VmmViommu {
        char host_iommu[24];
        uint32_t viommu_id;
        uint64_t mmio_offset, mmio_size; /* for mmap() of the iommufd */
        volatile uint64_t *mmio;
} VmmViommu;

typedef struct Vmm {
        sd_bus *bus;
        char uuid[40];
        char *path; /* of the VM's object */
        char handover[8], tier[16];

        int iommufd;
        uint32_t ioas_id;
        uint32_t
                stage2_id; /* the nest parent; 0 outside the hardware tier, functions are on the IOAS then */
        VmmFunction functions[VMM_FUNCTIONS_MAX];
        size_t n_functions;
        VmmViommu viommus[VMM_VIOMMUS_MAX];
        size_t n_viommus;

        int memory_fd; /* guest memory: a memfd */
        uint8_t *memory;
        size_t memory_size;
        uint64_t memory_iova; /* its guest physical address */
} Vmm;

/* ---- vmm-bus.c ---- */

/* Finds the VM by its UUID and reads what was admitted. */
bool vmm_find_vm(Vmm *vmm);

/* Reads which functions the VM has now, after some were attached. */
bool vmm_find_functions(Vmm *vmm);

/* From here on aviommud takes the VM down when this process ends, however it ends. */
bool vmm_set_leash(Vmm *vmm);

/* Fetches the iommufd and, with handover "daemon", the ids of all that is on it. */
bool vmm_open_context(Vmm *vmm);

/* Fetches the descriptor of a function: bound and attached already. Handover "daemon". */
bool vmm_open_device(Vmm *vmm, VmmFunction *f);

/* Has aviommud map or unmap the guest memory. Handover "daemon". */
bool vmm_map_by_daemon(Vmm *vmm);
bool vmm_unmap_by_daemon(Vmm *vmm);

/* Says that nothing more is needed: aviommud closes its own descriptors of the functions. */
bool vmm_confirm(Vmm *vmm);

/* ---- vmm-kernel.c ---- */

/* Guest memory is a file without a name, so that it can be passed on. */
bool vmm_make_memory(Vmm *vmm);

/* With handover "vmm", what aviommud does otherwise: open and bind the functions, address space, nest parent, attach,
 * vIOMMUs, vDEVICEs. */
bool vmm_build_context(Vmm *vmm);
bool vmm_map_by_self(Vmm *vmm);
bool vmm_unmap_by_self(Vmm *vmm);

/* Maps the VF MMIO page of a vIOMMU, which the guest is to see in its IOMMU's register space, and tries it. */
bool vmm_map_mmio(Vmm *vmm, VmmViommu *v);

/* Tries a page that is mapped. */
bool vmm_try_mmio(const VmmViommu *v);

/* What a guest's device table entry becomes. *ret_supported: whether this kernel can. */
bool vmm_attach_nested(Vmm *vmm, VmmFunction *f, bool *ret_supported);

/* Puts all functions on stage 2, or on the IOAS in the other tiers; nested tables go. */
bool vmm_attach_stage2(Vmm *vmm);

/* Lets go of the last function: what a VMM does when its guest has given it back. */
void vmm_close_function(Vmm *vmm);

/* In the order in which the kernel wants it. */
void vmm_close(Vmm *vmm);

/* ---- vmm-edu.c ---- */

/* Whether the function is QEMU's `edu`, the one kind of which this program knows the DMA engine. */
bool edu_is(const VmmFunction *f);

/* Moves bytes from guest memory into the function and back to another place, and compares. */
bool edu_check_reaches(Vmm *vmm, const VmmFunction *f, const char *when);

/* Has the function write to where nothing is mapped: guest memory must stay as it is. @iova: bytes */
bool edu_check_does_not_reach(Vmm *vmm, const VmmFunction *f, uint64_t iova, const char *what);

/* ---- words ---- */

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Reports @error (a positive errno; 0: none); returns false, so that a step can `return fail(...)`. */
bool fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
