/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a kernel request's errno means to the person who asked. */

#include "base/problem.h"
#include "vm/context.h"

typedef enum KernelStep {
        STEP_IOMMUFD_OPEN,
        STEP_ACCOUNTING,
        STEP_IOAS_ALLOC,
        STEP_CDEV_OPEN,
        STEP_BIND,
        STEP_NEST_PARENT,
        STEP_ATTACH,
        STEP_VIOMMU_ALLOC,
        STEP_VFMMIO,
        STEP_VDEVICE_ALLOC,
        STEP_MAP,
        STEP_UNMAP,
        STEP_DESTROY,
        _STEP_MAX,
} KernelStep;

/* Sets the problem for @error (negative errno) of @step on @subject: an address, an IOMMU, an IOVA.
 * Returns @error itself, so that callers can tell the errnos apart. */
int kernel_refusal(Problem *p, KernelStep step, const char *subject, int error);
