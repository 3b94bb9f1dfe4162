/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a kernel and a configuration to the exit code: what both programs have in common. */

#include "bus/bus.h"
#include "kernel/kernel.h"

/* The configuration that a program starts with: defaults, then @path, or /etc/aviommu/aviommud.conf if there is one when
 * @path is NULL and @system says so. Logs what is wrong. Returns 0 or a negative errno. */
int load_config(const char *path, bool system, Config *ret);

/* Takes @kernel over and runs until SIGTERM or SIGINT. @address and @extra as for bus_start(). Tells systemd READY when the
 * name is owned. Returns 0 or a negative errno, logged. */
int run(Kernel *kernel, const Config *config, const char *address, int (*extra)(Bus *bus));
