/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/kernel.h"

HostScan *host_scan_free(HostScan *scan) {
        if (!scan)
                return NULL;

        free(scan->iommus);
        free(scan->functions);
        free(scan->nodes);
        free(scan);
        return NULL;
}
