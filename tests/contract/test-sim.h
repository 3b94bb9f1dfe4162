/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests of the simulated kernel's own parts share. The contract cases say what it does as a kernel. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/sim.h"

#ifndef PROFILES_DIR
#define PROFILES_DIR "policy/profiles"
#endif

#define assert_ok(call)          assert_int_equal((call), 0)
#define assert_error(call, name) assert_int_equal((call), -(name))

/* The functions of small.json. */
#define FN_NIC   address("0000:41:00.0")
#define FN_NVME  address("0000:42:00.0")
#define FN_GPU   address("0000:43:00.0")
#define FN_AUDIO address("0000:43:00.1")
#define FN_HOST  address("0000:44:00.0") /* on its host driver */

PciAddress address(const char *s);

/* A fresh host of a shipped profile. */
Kernel *host_new(const char *profile);

/* A function bound in a new context, with an IOAS, a nest parent and, if wanted, a vIOMMU. */
typedef struct Vm {
        int iommufd, cdev;
        uint32_t device, ioas, hwpt;
        KernelViommu viommu;
} Vm;

Vm vm_new(Kernel *k, PciAddress function, bool viommu);
int vm_add_viommu(Kernel *k, Vm *vm);
void vm_close(Vm *vm);

void assert_nothing_left(Kernel *k);

int test_sim_profile(void);
int test_sim_state(void);
int test_sim_host(void);
int test_sim_trouble(void);
