/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The contract between aviommud and a kernel: the same cases on the simulated kernel and on the real one. A case knows
 * only KernelOps and what a scan of the host found; where the host or the kernel lacks what it needs, it is skipped with
 * the reason on the standard error.
 *
 * Every case starts from nothing and leaves nothing; contract_teardown() checks that as far as the kernel can tell.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/kernel.h"

#define CONTRACT_FUNCTIONS_MAX 4
#define CONTRACT_RAM_BYTES     ((uint64_t)1 << 20)

typedef struct ContractHost {
        Kernel *kernel;
        HostScan *scan;
        bool simulated;

        /* Idle functions on vfio-pci, each alone in its group; all behind the host IOMMU of the first. */
        PciAddress functions[CONTRACT_FUNCTIONS_MAX];
        size_t n_functions;
        /* One behind another host IOMMU; two that share a group; one whose group a host driver is in. */
        PciAddress elsewhere, pair[2], shared;
        bool has_elsewhere, has_pair, has_shared;
        /* A VF on vfio-pci whose PF is too, and that PF. */
        PciAddress guarded, guard;
        bool has_guarded;

        /* What the kernel does for the first of them, found by asking as kernel-uapi facts say. */
        bool nests;         /* nest parents */
        bool checks_type;   /* VIOMMU_ALLOC tells AMD's type from others */
        bool any_type;      /* VIOMMU_ALLOC takes every type */
        bool has_hw_queues; /* accelerated */
        uint32_t data_len;  /* of VIOMMU_ALLOC's user data */

        uint32_t max_guest_ids;     /* told by option; 0: not known, or too many to use up */
        const char *instances_file; /* reads as 0 when the kernel holds no vIOMMU; may be NULL */
        const char
                *unplug_command; /* takes out unplug_function, which it then does not give back */
        PciAddress unplug_function;
} ContractHost;

extern ContractHost contract_host;

/* Takes @function out of the host, if that can be done here. Returns 0 or -EOPNOTSUPP. */
int contract_unplug(const PciAddress *function);

/* Lets at most @bytes be pinned, or as much as one likes (UINT64_MAX). Returns 0 or a negative errno. */
int contract_limit_pinned(uint64_t bytes);

/* Scans and probes; leaves nothing. Returns 0 or a negative errno. */
int contract_discover(ContractHost *host);

int contract_teardown(void **state);

/* Skips the case that runs, loudly. */
#define contract_skip(reason)                                                                      \
        do {                                                                                       \
                print_error("SKIPPED, as %s:\n", (reason));                                        \
                skip();                                                                            \
        } while (0)

#define contract_case(f) cmocka_unit_test_teardown(f, contract_teardown)

#define assert_ok(call)          assert_int_equal((call), 0)
#define assert_error(call, name) assert_int_equal((call), -(name))

/* One VM's worth of kernel objects. -1 and 0 stand for what is not there. */
typedef struct Context {
        int iommufd, cdev, ram;
        uint32_t device, ioas, hwpt;
        KernelViommu viommu;
} Context;

#define CONTEXT_NONE (Context){ .iommufd = -1, .cdev = -1, .ram = -1 }

/* Build up to the step that they are named after, asserting all along; skip the case where the host cannot. */
Context context_open(void);
Context context_bind(size_t function);        /* and a bound function, an IOAS */
Context context_nest(size_t function);        /* and a nest parent */
Context context_viommu(size_t function);      /* and a vIOMMU of AMD's type; any level */
Context context_viommu_real(size_t function); /* the same where it means something */

/* Closes what is open, cdev first. */
void context_close(Context *c);

int memory_new(uint64_t bytes);
int bind_to(const PciAddress *function, int iommufd, int *ret_cdev, uint32_t *ret_device);

#define K  (contract_host.kernel)
#define OP (contract_host.kernel->ops)

int contract_run_iommufd(void);
int contract_run_ioas(void);
int contract_run_vfio(void);
int contract_run_viommu(void);
int contract_run_lifetime(void);
int contract_run_unplug(void);
