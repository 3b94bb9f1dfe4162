/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-error.h"

#include <errno.h>
#include <stdio.h>

const char *bus_error_name(ProblemKind kind, char buf[static BUS_ERROR_NAME_SIZE]) {
        (void)snprintf(buf, BUS_ERROR_NAME_SIZE, BUS_ERROR_PREFIX "%s", problem_kind_to_name(kind));
        return buf;
}

int bus_error_set(sd_bus_error *error, int r, const Problem *problem) {
        char name[BUS_ERROR_NAME_SIZE];

        assert(r < 0);
        if (problem && problem_is_set(problem))
                (void)sd_bus_error_set(error, bus_error_name(problem->kind, name), problem->text);
        else
                (void)sd_bus_error_set_errno(error, r);
        return r;
}
