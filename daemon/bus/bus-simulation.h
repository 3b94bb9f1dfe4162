/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* /org/aviommu1/simulation: what happens to the simulated host. In aviommud-sim only. */

#include "bus/bus.h"

/* Registers the object; @bus's manager runs on a kernel made by sim_kernel_new(). For
 * bus_start(). */
int bus_simulation_register(Bus *bus);
