/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "base/problem.h"

#define BUS_ERROR_PREFIX "org.aviommu1.Error."

/* Makes a D-Bus error of a refusal, or of a plain errno when @problem is NULL or not set. Returns @r. */
int bus_error_set(sd_bus_error *error, int r, const Problem *problem);

/* "org.aviommu1.Error.NoFreeInstance" */
#define BUS_ERROR_NAME_SIZE 64
const char *bus_error_name(ProblemKind kind, char buf[static BUS_ERROR_NAME_SIZE]);
