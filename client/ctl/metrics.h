/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What aviommuctl metrics tells, as OpenMetrics text that Prometheus' older text format can read too: gauges alone, since the two
 * differ in everything else. Names and labels are listed in aviommu-metrics(7); they stay.
 */

#include <stdio.h>

#include "ctl/survey.h"

typedef struct StateCount {
        const char *state;
        size_t n;
} StateCount;

typedef struct Metrics {
        const Status *status; /* NULL: the daemon cannot be reached */
        const HostIommuList *hosts;
        const VmRows *vms;
        const ChargeList *charges; /* of each of @vms; NULL: nothing about single VMs */
        const StateCount *functions, *definitions;
        size_t n_functions, n_definitions;
} Metrics;

/* Writes all of it, with the end mark. */
void metrics_write(const Metrics *m, FILE *f);
