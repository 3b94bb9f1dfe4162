/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/doctor.h"

#include <fcntl.h>

#include "base/fd-util.h"
#include "doctor/check.h"
#include "doctor/gather.h"

int doctor_run(Client *c, const DoctorOptions *options, Output *o, bool *ret_has_fault,
               Failure *reterr) {
        _cleanup_(findings_done) Findings findings = {};
        _cleanup_(facts_done) Facts facts = {};
        _cleanup_close_ int root_fd = -1;

        root_fd = open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0) {
                int r = negative_errno();

                return failure_set(reterr, CLIENT_EXIT_NOT_FOUND, r,
                                   "Give a folder that has the host's proc, sys and etc, or leave "
                                   "--root= out.",
                                   "Cannot look below %s: %s", options->root, strerror(-r));
        }
        gather_facts(c, root_fd, options->root, &facts);
        check_all(&facts, &findings);
        if (options->tier != 0)
                findings_select_tier(&findings, options->tier);
        *ret_has_fault = findings_count(&findings, LEVEL_FAULT) > 0;

        if (o->json != JSON_OFF)
                findings_json(&findings, options, o);
        else
                findings_print(&findings, options, o);
        return 0;
}
